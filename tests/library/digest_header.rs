//! The parser of the credentials header: examples of each rule, and a comparison with a slow
//! reference parser over generated and damaged headers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sip_authz::digest::parse as parse_credentials;
use sip_authz_testing::digest_header_oracle;
use sip_authz_testing::digest_header_oracle::{OracleCredentials, OracleParsed};
use sip_authz_testing::fuzzing::in_oracle_terms;

const REALM: &str = "sip.example";

const HEADER: &str = concat!(
    r#"Digest username="bob",realm="sip.example",nonce="n0nce",uri="sip:100@sip.example","#,
    r#"response="0123456789abcdef0123456789abcdef",algorithm=MD5,qop=auth,nc=0000000A,"#,
    r#"cnonce="c",opaque="o""#,
);

/// The parser's result in the reference parser's type.
fn parsed(value: &[u8], realm: &str) -> OracleParsed {
    in_oracle_terms(&parse_credentials(value, realm))
}

fn credentials(header: &str) -> OracleCredentials {
    match parsed(header.as_bytes(), REALM) {
        OracleParsed::Credentials(credentials) => credentials,
        other => panic!("{header}: {other:?}"),
    }
}

fn malformed(header: &str) -> String {
    match parsed(header.as_bytes(), REALM) {
        OracleParsed::Malformed(fault, _) => fault,
        other => panic!("{header}: {other:?}"),
    }
}

#[test]
fn every_field_is_read() {
    let expected = OracleCredentials {
        username: "bob".to_owned(),
        is_hash: false,
        nonce: b"n0nce".to_vec(),
        uri: b"sip:100@sip.example".to_vec(),
        response: b"0123456789abcdef0123456789abcdef".to_vec(),
        algorithm: "MD5".to_owned(),
        qop: Some(("auth".to_owned(), b"c".to_vec(), 10, b"0000000A".to_vec())),
    };
    assert_eq!(credentials(HEADER), expected);
    assert_eq!(credentials(&HEADER.replace("algorithm=MD5,", "")), expected);

    let rfc_2069 = credentials(&HEADER.replace("qop=auth,", ""));
    assert_eq!(rfc_2069, OracleCredentials { qop: None, ..expected });
}

#[test]
fn spacing_case_quotes_and_order_are_free() {
    let expected = credentials(HEADER);
    let spaced = HEADER.replace(',', " ,\r\n\t, ").replace('=', "\t= ") + " , ,";
    assert_eq!(credentials(&spaced), expected);
    let (scheme, parameters) = HEADER.split_once(' ').unwrap();
    let mut parameters: Vec<&str> = parameters.split(',').collect();
    parameters.reverse();
    assert_eq!(credentials(&format!("{scheme}\r\n {}", parameters.join(","))), expected);
    let upper = HEADER.replace("Digest", "DIGEST").replace("nonce=", "NONCE=");
    assert_eq!(credentials(&upper), expected);
    let quoted = HEADER.replace("=auth", "=\"AUTH\"").replace("=MD5", "=\"md5\"");
    assert_eq!(
        credentials(&quoted.replace("\"c\"", "c").replace("=0000000A", "=\"0000000A\"")),
        expected
    );
}

#[test]
fn headers_for_other_realms_are_ignored() {
    let ignored = |header: &str| parsed(header.as_bytes(), REALM) == OracleParsed::Ignored;
    for scheme in ["Digestx", "Diges", "Basic", "Digest,", "Digest=", "\"Digest\"", ""] {
        assert!(ignored(&HEADER.replace("Digest", scheme)), "{scheme}");
    }
    for realm in ["SIP.example", "sip.exampl", "sip.example ", "", "sip.example\\"] {
        assert!(ignored(&HEADER.replacen(REALM, realm, 1)), "{realm}");
    }
    // parsing stops at a syntax error, so a realm after it is not found
    assert!(ignored(&HEADER.replace("username", "user@name")));
    assert!(ignored("Digest"));
    assert_eq!(credentials(&HEADER.replacen("sip.", r"s\i\p.", 1)), credentials(HEADER));
}

#[test]
fn unknown_parameters_are_ignored() {
    for len in 1..=12 {
        let name = "x".repeat(len);
        let header = format!("{HEADER},{name}=1,{name}=2");
        assert_eq!(credentials(&header), credentials(HEADER), "{name}");
    }
}

#[test]
fn a_header_outside_the_grammar_is_unreadable() {
    for (from, to) in [
        ("opaque=\"o\"", "opaque=\"o"),
        ("opaque=\"o\"", "opaque=\"o\0\""),
        ("opaque=\"o\"", "opaque=\"o\t\""),
        ("opaque=\"o\"", "opaque=\"o\\\n\""),
        ("opaque=\"o\"", "opaque=\"o\r\n \""),
        ("opaque=\"o\"", "opaque="),
        ("opaque=\"o\"", "opaque"),
        ("opaque=\"o\"", "opaque=\"o\"\n"),
        (",uri", " uri"),
    ] {
        let header = HEADER.replacen(from, to, 1);
        assert_eq!(parsed(header.as_bytes(), REALM), OracleParsed::Unreadable, "{header}");
    }
}

#[test]
fn each_defect_has_its_kind() {
    let cases = [
        ("opaque", "realm", "duplicate-realm"),
        ("username=\"bob\"", "realm=\"other\"", "duplicate-realm"),
        ("opaque", "NONCE", "duplicate-nonce"),
        ("n0nce", "n0\\nce", "backslash-nonce"),
        ("sip:100", "sip:\\100", "backslash-uri"),
        ("\"c\"", "\"\\c\"", "backslash-cnonce"),
        ("sip:100@sip.example", "", "missing-uri"),
        ("bob", "", "missing-username"),
        ("bob", "bo\u{85}b", "bad-username"),
        ("opaque=\"o\"", "username*=UTF-8''b", "two-usernames"),
        ("opaque=\"o\"", "userhash=yes", "bad-userhash"),
        ("opaque=\"o\"", "userhash=true", "bad-userhash"),
        ("=MD5", "=MD5-ses", "unknown-algorithm"),
        ("=MD5", "=\"\"", "unknown-algorithm"),
        ("qop=auth", "qop=\"auth,auth-int\"", "unknown-qop"),
        ("nc=", "x=", "missing-nc"),
        ("cnonce", "x", "missing-cnonce"),
        ("0000000A", "00000000", "bad-nonce-count"),
        ("0000000A", "+000000A", "bad-nonce-count"),
        ("0000000A", "0000000A0", "bad-nonce-count"),
        ("MD5,qop=auth", "MD5-sess", "missing-qop"),
    ];
    for (from, to, kind) in cases {
        assert_eq!(malformed(&HEADER.replacen(from, to, 1)), kind, "{from} -> {to}");
    }
}

#[test]
fn length_bounds_are_exact() {
    let bounds = [
        ("username=\"bob", 64),
        ("nonce=\"n0nce", 256),
        ("uri=\"sip:100@sip.example", 1024),
        ("response=\"0123456789abcdef0123456789abcdef", 128),
        ("opaque=\"o", 256),
        ("cnonce=\"c", 256),
    ];
    for (field, max) in bounds {
        let (name, _) = field.split_once('=').unwrap();
        let of_len = |len| HEADER.replace(field, &format!("{name}=\"{}", "a".repeat(len)));
        credentials(&of_len(max));
        assert_eq!(malformed(&of_len(max + 1)), format!("too-long-{name}"));
    }
    let realm = "r".repeat(255);
    let header = HEADER.replacen(REALM, &realm, 1);
    assert!(matches!(parsed(header.as_bytes(), &realm), OracleParsed::Credentials(_)));
    let other = |len| format!("{HEADER},x={}", "a".repeat(len));
    credentials(&other(1024));
    assert_eq!(malformed(&other(1025)), "too-long-other");
    let escaped = |len| HEADER.replace("bob", &r"\a".repeat(len));
    assert_eq!(credentials(&escaped(64)).username, "a".repeat(64));
    assert_eq!(malformed(&escaped(65)), "too-long-username");
    let encoded = |len| {
        HEADER.replace("username=\"bob\"", &format!("username*=UTF-8''{}", "%61".repeat(len)))
    };
    assert_eq!(credentials(&encoded(64)).username, "a".repeat(64));
    assert_eq!(malformed(&encoded(65)), "too-long-username*");
    // beyond three bytes for each of a name, and 255 of a realm, the value is not unescaped: the
    // defect comes before those of later parameters
    let before = |from: &str, to: &str| {
        let header = HEADER.replacen("uri=\"", "uri=\"\\", 1);
        malformed(&header.replacen(from, to, 1))
    };
    for (length, kind) in [(192, "backslash-uri"), (193, "too-long-username")] {
        assert_eq!(before("bob", &"a".repeat(length)), kind);
    }
    for (length, kind) in [(192, "backslash-uri"), (193, "too-long-username*")] {
        let encoded = format!("username*=UTF-8''{}", "a".repeat(length));
        assert_eq!(before("username=\"bob\"", &encoded), kind);
    }
    let escaped_realm = |realm: &str| {
        let escaped = HEADER.replacen(REALM, &format!("\\{realm}"), 1);
        parsed(escaped.as_bytes(), realm)
    };
    assert!(matches!(escaped_realm(&realm[..254]), OracleParsed::Credentials(_)));
    assert!(
        matches!(escaped_realm(&realm), OracleParsed::Malformed(kind, _) if kind == "too-long-realm")
    );
}

#[test]
fn usernames_are_unescaped_and_decoded() {
    let named = |text: &str| HEADER.replace("username=\"bob\"", text);
    let header = named(r#"username="a, response=\"\\""#);
    assert_eq!(credentials(&header).username, r#"a, response="\"#);
    assert_eq!(credentials(&named("username*=utf-8''J%C3%a4s%20.")).username, "Jäs .");
    for bad in [
        "UTF-8'en'J",
        "UTF-8'J",
        "UTF-8''J'n",
        "UTF-8''*",
        "UTF-8''%C3",
        "UTF-8''%0",
        "UTF-8''%+1",
        "UTF-8''%00",
        "ISO-8859-1''J",
        "x",
        "\"UTF-8''J\"",
    ] {
        assert_eq!(malformed(&named(&format!("username*={bad}"))), "bad-username", "{bad}");
    }
    let hash = "0123456789ABCDEF".repeat(2);
    let hashed = credentials(&named(&format!("userhash=\"TRUE\",username={hash}")));
    assert_eq!((hashed.username, hashed.is_hash), (hash.to_lowercase(), true));
    for not_hash in [
        "username=bob",
        &format!("username={}", &hash[1..]),
        "username*=UTF-8''b",
        &format!("username*=UTF-8''{hash}"),
    ] {
        assert_eq!(malformed(&named(&format!("userhash=true,{not_hash}"))), "bad-userhash");
    }
}

#[test]
fn without_nonce_or_response_credentials_are_incomplete() {
    for (from, to) in [("n0nce", ""), ("nonce", "x"), ("response", "x")] {
        for header in [HEADER.replacen(from, to, 1), HEADER.replacen(from, to, 1) + ",uri=x"] {
            assert_eq!(parsed(header.as_bytes(), REALM), OracleParsed::Incomplete, "{header}");
        }
    }
    let empty = r#"Digest username="bob",realm="sip.example",nonce="",uri="",response="""#;
    assert_eq!(parsed(empty.as_bytes(), REALM), OracleParsed::Incomplete);
    assert_eq!(parsed(format!("{empty},x").as_bytes(), REALM), OracleParsed::Unreadable);
}

#[test]
fn a_nonce_count_has_one_to_eight_digits() {
    for (text, count) in [("1", 1), ("0a", 10), ("00000001", 1), ("fffffff", 0xfff_ffff)] {
        let header = HEADER.replace("0000000A", text);
        let (.., nc, nc_text) = credentials(&header).qop.unwrap();
        assert_eq!((nc, &*nc_text), (count, text.as_bytes()));
    }
    for text in ["0", "000", "g", "000000001", "-1"] {
        assert_eq!(malformed(&HEADER.replace("0000000A", text)), "bad-nonce-count", "{text}");
    }
}

#[test]
fn debug_output_tells_nothing_of_user_or_number() {
    let debug = format!("{:?}", parse_credentials(HEADER.as_bytes(), REALM));
    for private in ["bob", "100", "0123456789abcdef"] {
        assert!(!debug.contains(private), "{debug}");
    }
}

/// Both parsers' results for a value, if they differ.
fn difference(value: &[u8], realm: &str) -> Option<String> {
    let (fast, slow) = (parsed(value, realm), digest_header_oracle::parse(value, realm));
    (fast != slow).then(|| format!("`{}`: {fast:?}, oracle {slow:?}", value.escape_ascii()))
}

#[test]
fn oracle_agrees_on_every_cut_and_on_every_byte_at_every_place() {
    let header = r#"digest realm=a,username="b\\",nonce="n", uri="u",response=r,nc=1,x="a\"b""#;
    let mut differences = Vec::new();
    for at in 0..=header.len() {
        let (before, after) = header.as_bytes().split_at(at);
        differences.extend(difference(before, "a"));
        differences.extend(difference(&[b"Digest ", after].concat(), "a"));
        for byte in 0..=u8::MAX {
            differences.extend(difference(&[before, &[byte], after].concat(), "a"));
            let replaced = [before, &[byte], after.get(1..).unwrap_or_default()].concat();
            differences.extend(difference(&replaced, "a"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A value as clients write it: mostly quoted, often bare where allowed, sometimes escaped.
fn written(content: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (content, 0..60_u8).prop_map(|(content, form)| {
        let escaped = |all: bool| {
            content.chars().fold(String::new(), |text, character| match character {
                '"' | '\\' => format!("{text}\\{character}"),
                _ if all && character.is_ascii() => format!("{text}\\{character}"),
                _ => format!("{text}{character}"),
            })
        };
        let is_plain = content.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match form {
            0 => content,
            1 => format!("\"{content}\""),
            2 => format!("\"{}\"", escaped(true)),
            3..=20 if is_plain && !content.is_empty() => content,
            _ => format!("\"{}\"", escaped(false)),
        }
        .into_bytes()
    })
}

/// Mostly a common value, else an unusual one or any text.
fn one_of(
    usual: &'static [&'static str],
    odd: &'static [&'static str],
) -> impl Strategy<Value = String> {
    prop_oneof![
        60 => select(usual).prop_map(str::to_owned),
        4 => select(odd).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => "\\PC{0,4}",
    ]
}

/// A value near the length limits.
fn long() -> impl Strategy<Value = String> {
    const BOUNDS: &[usize] = &[31, 32, 64, 128, 192, 199, 255, 256, 1024];
    (select(BOUNDS), 0..2_usize, select(vec!["a", "b", "%61", "ä"]))
        .prop_map(|(len, more, unit)| unit.repeat((len + more).div_ceil(unit.len())))
}

fn parameter(name: &'static str, realm: &'static str) -> BoxedStrategy<Vec<u8>> {
    let usual: BoxedStrategy<Vec<u8>> = match name {
        "realm" => {
            let realm = prop_oneof![30 => Just(realm.to_owned()), 1 => one_of(&["other"], &[""])];
            written(realm).boxed()
        }
        "username" => {
            let names = one_of(&["bob", "a, b=\"c\"", "back\\slash", "jäs"], &["c1\u{85}", ""]);
            written(prop_oneof![4 => names, 1 => "[0-9a-fA-F]{32,64}", 1 => "[0-9a-f]{31,66}"])
                .boxed()
        }
        "username*" => prop_oneof![
            8 => "(UTF|utf)-8''[a-c!#$&+.^_`|~-]{0,3}(%[2-6][0-9a-fA-F]|%[cC]3%[aA]4){1,3}",
            1 => "UTF-8''(a|%[01][0-9a-f]|%ff|%c3){0,2}",
            1 => "(UTF-8|x)?'?'?[a*%'-]{0,6}",
        ]
        .prop_map(String::into_bytes)
        .boxed(),
        "userhash" => written(one_of(&["true", "false", "False", "TRUE"], &["yes", ""])).boxed(),
        "algorithm" => {
            let usual = &["MD5", "md5", "MD5-sess", "SHA-256", "SHA-256-SESS", "SHA-512-256-sess"];
            written(one_of(usual, &["SHA-512", "SHA-512-256", "MD5-ses", ""])).boxed()
        }
        "qop" => written(one_of(&["auth", "AUTH-int"], &["auth,auth-int", "auth-", ""])).boxed(),
        "nc" => written(prop_oneof![30 => "[0-9a-fA-F]{7}[1-9]", 1 => "[0-9a-f+]{0,9}"]).boxed(),
        "nonce" => written(one_of(&["n0nce", "bm9uY2U-_w", "a/b+c=="], &[""])).boxed(),
        "response" => written(one_of(&["0123456789abcdef", "r"], &[""])).boxed(),
        _ => written(one_of(&["sip:100@sip.example;transport=udp", "c", "abc"], &[""])).boxed(),
    };
    let value = prop_oneof![150 => usual, 1 => written(long())];
    let case = prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)];
    (case, white_space(), white_space(), value)
        .prop_map(move |(case, before, after, value)| {
            let name = match case {
                0 => name.to_owned(),
                1 => name.to_uppercase(),
                _ => name.replace('n', "N"),
            };
            [name.as_bytes(), before.as_bytes(), b"=", after.as_bytes(), &value].concat()
        })
        .boxed()
}

fn white_space() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        40 => Just(""),
        8 => select(vec![" ", "\t", "\r\n ", "\r\n\t", " \r\n \t", "\r\n \r\n "]),
    ]
}

fn separator() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        200 => Just(","),
        40 => select(vec![", ", ",\r\n ", " ,", ",,", ", ,\t"]),
        1 => select(vec!["", " ", ";", ",\n", ",\r\n"]),
    ]
}

/// Parameters in any order, some missing or repeated.
fn parameters(realm: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let some = |name, chance| weighted(chance, parameter(name, realm));
    let names = vec![
        "realm",
        "username",
        "username*",
        "userhash",
        "nonce",
        "uri",
        "response",
        "algorithm",
        "qop",
        "nc",
        "cnonce",
        "opaque",
        "x-other",
    ];
    let again = select(names).prop_flat_map(move |name| parameter(name, realm));
    let name = prop_oneof![
        16 => parameter("username", realm).prop_map(Some),
        6 => parameter("username*", realm).prop_map(Some),
        1 => Just(None),
    ];
    let needed = (
        name,
        some("realm", 0.98),
        some("nonce", 0.98),
        some("uri", 0.98),
        some("response", 0.98),
        some("qop", 0.7),
        some("nc", 0.9),
        some("cnonce", 0.9),
    );
    let free = (
        some("algorithm", 0.7),
        some("userhash", 0.2),
        some("opaque", 0.3),
        some("x-other", 0.3),
        weighted(0.1, again),
    );
    (needed, free)
        .prop_map(|((a, b, c, d, e, f, g, h), (i, j, k, l, m))| {
            [a, b, c, d, e, f, g, h, i, j, k, l, m].into_iter().flatten().collect::<Vec<_>>()
        })
        .prop_shuffle()
}

#[derive(Clone, Debug)]
enum Damage {
    Replace(u8),
    Insert(u8),
    Remove,
    Cut,
}

fn damage() -> impl Strategy<Value = Vec<(Index, Damage)>> {
    let byte =
        || prop_oneof![2 => select(b"\",=\\ \t\r\n\0%*'/\x7f\xc3".to_vec()), 1 => any::<u8>()];
    let one = prop_oneof![
        4 => byte().prop_map(Damage::Replace),
        4 => byte().prop_map(Damage::Insert),
        2 => Just(Damage::Remove),
        1 => Just(Damage::Cut),
    ];
    prop_oneof![3 => Just(Vec::new()), 1 => vec((any::<Index>(), one), 1..4)]
}

fn header() -> impl Strategy<Value = (Vec<u8>, &'static str)> {
    let scheme = prop_oneof![
        60 => Just("Digest "),
        4 => select(vec!["digest ", " DIGEST\t", "Digest\r\n ", "Digest , "]),
        1 => select(vec!["Digest", "Digestx ", "Basic ", "Digest,", "Digest= ", ""]),
    ];
    let realm = prop_oneof![4 => Just(REALM), 1 => select(vec!["a\"b\\c, d", "é", "Realm"])];
    realm
        .prop_flat_map(move |realm| {
            let separators = vec(separator(), 14);
            (scheme.clone(), parameters(realm), separators, damage(), Just(realm))
        })
        .prop_map(|(scheme, parameters, separators, damage, realm)| {
            let mut header = scheme.as_bytes().to_vec();
            for (at, parameter) in parameters.iter().enumerate() {
                if at > 0 {
                    header.extend_from_slice(separators[at].as_bytes());
                }
                header.extend_from_slice(parameter);
            }
            for (at, damage) in damage {
                if header.is_empty() {
                    break;
                }
                let at = at.index(header.len());
                match damage {
                    Damage::Replace(byte) => header[at] = byte,
                    Damage::Insert(byte) => header.insert(at, byte),
                    Damage::Remove => drop(header.remove(at)),
                    Damage::Cut => header.truncate(at),
                }
            }
            (header, realm)
        })
}

/// `PROPTEST_CASES` cases, or few enough for a quick run.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(2_000))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn oracle_agrees_on_generated_headers((value, realm) in header()) {
        prop_assert_eq!(difference(&value, realm), None);
    }

    #[test]
    fn oracle_agrees_on_any_bytes(value in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(difference(&[b"Digest realm=a,", value.as_slice()].concat(), "a"), None);
    }
}
