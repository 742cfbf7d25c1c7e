//! Hostile cases 1 to 7: parsing of a credentials header.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::digest::MalformedCredentials::{
    Backslash, BadUserhash, Duplicate, Missing, TwoUsernames, UnknownAlgorithm, UnknownQop,
};
use sip_authz::digest::{Algorithm, Parameter};
use sip_authz::message::{Defect, Header as Name, Message};
use sip_authz::model::Record;
use sip_authz::{CredentialsField, Decision, Invite, InviteError, Reason, Transport};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::*;

const QUOTED: [&str; 6] = ["username", "realm", "nonce", "uri", "response", "cnonce"];

/// The parameters of a header, with this one moved to the end.
fn with_last(header: &Header, last: &str) -> Vec<(String, String)> {
    let mut parameters = header.parameters();
    parameters.sort_by_key(|(name, _)| name == last);
    parameters
}

/// A header value that starts with these parameters.
fn headed_by(header: &Header, first: &[(&str, &str)], without: &str) -> String {
    let first = first.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let rest = header.parameters().into_iter().filter(|(name, _)| name != without);
    join(&first.chain(rest).collect::<Vec<_>>())
}

#[test]
fn case_01_a_parameter_name_cut_off_at_the_end_of_the_header() {
    let world = World::with_policy(counting());
    let cuts = ["user", "real", "nonc", "resp", "algo", "opaq", "cnon", "username", "n", "ur"];
    for cut in cuts {
        for tail in ["", " ", "=", " = ", "=\"", "=\"x"] {
            let decision = spoiled(&world, |header| format!("{}, {cut}{tail}", header.text()));
            absent(decision);
            let decision = spoiled(&world, |_| format!("Digest {cut}{tail}"));
            assert!(!challenged(decision), "{cut}{tail}: no realm, so not ours");
        }
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_01_a_parameter_name_cut_short_is_another_parameter() {
    let world = World::new();
    for (whole, cut, missing) in [
        ("username", "user", Some(Parameter::Username)),
        ("nonce", "nonc", None),
        ("response", "resp", None),
        ("uri", "ur", Some(Parameter::Uri)),
        ("cnonce", "cnon", Some(Parameter::Cnonce)),
        ("nc", "n", Some(Parameter::Nc)),
    ] {
        let decision = spoiled(&world, |header| {
            header.text().replace(&format!(" {whole}="), &format!(" {cut}="))
        });
        match missing {
            Some(missing) => assert_eq!(malformed(decision), Missing(missing), "{cut}"),
            None => absent(decision),
        }
    }
    assert!(!challenged(spoiled(&world, |header| header.text().replace("realm=", "real="))));
    // algorithm is optional: without it the default is MD5
    let request = new_request();
    let text = answer(&world, &request, OUTSIDE).text().replace("algorithm=MD5", "algo=SHA-256");
    accepted(world.send(&request.with(&format!("{text}, opaq=\"\"")), OUTSIDE));
}

#[test]
fn case_01_a_message_cut_off_at_any_byte_is_not_decided() {
    let world = World::new();
    let request = new_request();
    let header = answer(&world, &request, OUTSIDE);
    let bytes = request.with(&header.text()).bytes();
    let message = bytes.len() - b"Content-Length: 0\r\n\r\n".len();
    for cut in message - header.text().len()..message {
        let outcome = world.try_send(&bytes[..cut], OUTSIDE);
        assert_eq!(outcome, Err(InviteError::Defect(Defect::NoBlankLine)), "at {cut}");
    }
    assert!(!accepted(world.try_send(&bytes, OUTSIDE).unwrap()).repeat);
}

#[test]
fn case_02_a_mandatory_parameter_that_is_missing() {
    let world = World::with_policy(counting());
    for (name, parameter) in [
        ("username", Parameter::Username),
        ("uri", Parameter::Uri),
        ("nc", Parameter::Nc),
        ("cnonce", Parameter::Cnonce),
    ] {
        let decision = spoiled(&world, |header| header.text_without(name));
        assert_eq!(malformed(decision), Missing(parameter), "{name}");
    }
    for name in ["nonce", "response", "realm"] {
        absent(spoiled(&world, |header| header.text_without(name)));
    }
    let decision = spoiled(&world, |header| header.text_without("qop"));
    assert_eq!((decision.status(), rejected(decision)), (400, Reason::QopMissing));
    assert_eq!(attempts(&world, OUTSIDE), 0);
    alice_passes(&world, "198.51.100.8:5060");
}

#[test]
fn case_02_empty_values() {
    let world = World::with_policy(counting());
    for (name, expected) in [
        ("username", Some(Missing(Parameter::Username))),
        ("nonce", None),
        ("uri", Some(Missing(Parameter::Uri))),
        ("response", None),
        ("algorithm", Some(UnknownAlgorithm)),
        ("qop", Some(UnknownQop)),
        ("nc", Some(Missing(Parameter::Nc))),
        ("cnonce", Some(Missing(Parameter::Cnonce))),
    ] {
        let decision = spoiled(&world, |header| header.text_with(name, "\"\""));
        match expected {
            Some(expected) => assert_eq!(malformed(decision), expected, "{name}"),
            None => absent(decision),
        }
        let decision = spoiled(&world, |header| {
            let mut parameters = with_last(header, name);
            parameters.last_mut().unwrap().1 = String::new();
            join(&parameters)
        });
        absent(decision);
    }
    assert!(!challenged(spoiled(&world, |header| header.text_with("realm", "\"\""))));
    assert!(!challenged(spoiled(&world, |header| header.text_with("realm", ""))));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_02_a_value_without_its_closing_quote() {
    let world = World::new();
    let unclosed = |header: &Header, name: &str| {
        let mut parameters = with_last(header, name);
        parameters.last_mut().unwrap().1.pop();
        join(&parameters)
    };
    for name in QUOTED {
        let last = spoiled(&world, |header| unclosed(header, name));
        let inside = spoiled(&world, |header| {
            let value = header.parameters().into_iter().find(|(n, _)| n == name).unwrap().1;
            header.text_with(name, value.strip_suffix('"').unwrap())
        });
        absent(last);
        absent(inside);
    }
}

#[test]
fn case_03_a_header_for_a_realm_that_is_not_ours() {
    let world = World::with_policy(counting());
    for realm in [
        "Example.com",
        "EXAMPLE.COM",
        "example.com.",
        " example.com",
        "example.com ",
        "example.co",
        "example.comm",
        "other.example",
        "sip:example.com",
    ] {
        let decision = spoiled(&world, |header| {
            let mut other = header.clone();
            other.inner.realm = realm.to_owned();
            other.sign();
            other.text()
        });
        assert_eq!(decision.status(), 407);
        assert!(!challenged(decision), "`{realm}`");
        // also with a digest over our realm
        let decision = spoiled(&world, |h| h.text_with("realm", &format!("\"{realm}\"")));
        assert!(!challenged(decision), "`{realm}`");
    }
    let request = new_request();
    assert!(!challenged(world.send(&request.clone().with("Basic YWxpY2U6eA=="), OUTSIDE)));
    assert!(!challenged(world.send(&request, OUTSIDE)));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_04_white_space_before_the_colon_is_the_same_header() {
    let world = World::new();
    for name in [
        "Proxy-Authorization :",
        "Proxy-Authorization\t:",
        "PROXY-authorization \t : ",
        "Proxy-Authorization:\r\n ",
        "Authorization :",
    ] {
        let request = new_request().with_line(b"X-Header : Proxy-Authorization: no");
        let header = answer(&world, &request, OUTSIDE);
        let line = format!("{name}{}", header.text());
        accepted(world.send(&request.with_line(line.as_bytes()), OUTSIDE));
        // the header is parsed, and therefore verified
        let line = format!("{name}{}", header.text_with("response", "\"0\""));
        wrong(world.send(&new_request().with_line(line.as_bytes()), OUTSIDE));
    }
}

#[test]
fn case_04_a_control_character_before_the_colon_is_not_that_header() {
    let world = World::with_policy(counting());
    let controls = (0..=0x1f).filter(|byte| *byte != b'\t').chain([0x7f]);
    for byte in controls.chain([0x80, 0xa0, 0xff, b'"', b'@', b',']) {
        let request = new_request();
        let header = answer(&world, &request, OUTSIDE);
        let line = [b"Proxy-Authorization", &[byte][..], b": ", header.text().as_bytes()].concat();
        let bytes = request.clone().with_line(&line).bytes();
        let expected = match byte {
            b'\r' | b'\n' => Defect::LineEnd,
            0..=0x1f | 0x7f => Defect::Control,
            _ => Defect::FieldName,
        };
        let outcome = world.try_send(&bytes, OUTSIDE);
        assert_eq!(outcome, Err(InviteError::Defect(expected)), "{byte:#x}");
        // code that ignores the defect and reads the fields does not find the header either
        let message = Message::scan(&bytes).unwrap();
        assert_eq!(message.first(Name::ProxyAuthorization), None, "{byte:#x}");
        assert!(message.fields().all(|field| field.header != Name::ProxyAuthorization));
        assert!(!accepted(world.send(&request.with(&header.text()), OUTSIDE)).repeat);
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_04_a_to_tag_exempts_from_nothing() {
    let world = World::new();
    let in_dialog = |host: &str| {
        let request = Request::to(host);
        Request { to: format!("{};tag=a6c85cf", request.to), ..new_request() }.at(host)
    };
    assert!(!challenged(world.send(&in_dialog(HOST), OUTSIDE)));
    let request = in_dialog(HOST);
    let header = answer(&world, &request, OUTSIDE);
    let junk = header.text_with("response", "\"0\"");
    wrong(world.send(&request.clone().with(&junk), OUTSIDE));
    let reason = rejected(world.send(&in_dialog(ACL_HOST), OUTSIDE));
    assert_eq!((reason.status(), reason.code()), (403, Some(32_201)));
    assert_eq!(rejected(world.send(&in_dialog(BOTH_HOST), OUTSIDE)), Reason::AddressNotListed);
    assert_eq!(rejected(world.send(&in_dialog(BARE_HOST), INSIDE)), Reason::NothingMapped);
    accepted(world.send(&request.with(&header.text()), OUTSIDE));
}

trait At {
    fn at(self, host: &str) -> Self;
}

impl At for Request {
    /// The same request to another host.
    fn at(self, host: &str) -> Self {
        Self { uri: format!("sip:100@{host}"), ..self }
    }
}

#[test]
fn case_05_the_same_parameter_twice() {
    let world = World::with_policy(counting());
    for (name, other, parameter) in [
        ("username", "\"bob\"", Parameter::Username),
        ("realm", "\"other.example\"", Parameter::Realm),
        ("uri", "\"sip:other@digest.example.com\"", Parameter::Uri),
        ("response", "\"0123456789abcdef0123456789abcdef\"", Parameter::Response),
        ("algorithm", "SHA-256", Parameter::Algorithm),
        ("qop", "auth-int", Parameter::Qop),
        ("nc", "00000002", Parameter::Nc),
        ("cnonce", "\"other\"", Parameter::Cnonce),
    ] {
        let upper = name.to_ascii_uppercase();
        let before = spoiled(&world, |header| headed_by(header, &[(name, other)], ""));
        let after = spoiled(&world, |header| format!("{}, {upper} = {other}", header.text()));
        // repeating the same value is no better
        let same = spoiled(&world, |header| {
            let value = header.parameters().into_iter().find(|(n, _)| n == name).unwrap().1;
            headed_by(header, &[(name, &value)], "")
        });
        for decision in [before, after, same] {
            assert_eq!(malformed(decision), Duplicate(parameter), "{name}");
        }
    }
    // of two nonces the last decides whether the header is judged; it is never accepted
    let dead = "\"AAAAAAAAAAAAAAAAAAAAAA\"";
    let before = spoiled(&world, |header| headed_by(header, &[("nonce", dead)], ""));
    assert_eq!(malformed(before), Duplicate(Parameter::Nonce));
    stale(spoiled(&world, |header| format!("{}, nonce={dead}", header.text())));
    for (first, second, expected) in [
        (("opaque", "\"a\""), ("opaque", "\"b\""), Duplicate(Parameter::Opaque)),
        (("userhash", "true"), ("userhash", "false"), Duplicate(Parameter::Userhash)),
        (("userhash", "false"), ("userhash", "true"), Duplicate(Parameter::Userhash)),
        (("username*", "UTF-8''alice"), ("x", "y"), TwoUsernames),
        (("username*", "UTF-8''bob"), ("x", "y"), TwoUsernames),
        (("userhash", "maybe"), ("x", "y"), BadUserhash),
    ] {
        let decision = spoiled(&world, |header| headed_by(header, &[first, second], ""));
        assert_eq!(malformed(decision), expected, "{first:?} {second:?}");
    }
    // an unknown parameter may be repeated
    let request = new_request();
    let text = headed_by(&answer(&world, &request, OUTSIDE), &[("x", "1"), ("x", "2")], "");
    accepted(world.send(&request.with(&text), OUTSIDE));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_06_separators_and_escapes_in_quoted_strings() {
    let world = World::new();
    for (name, sent) in [
        ("alice", r#""\a\l\i\c\e""#),
        ("a, response=0123456789abcdef", r#""a, response=0123456789abcdef""#),
        ("b=c; realm=x, nc=1", r#""b=c; realm=x, nc=1""#),
        (r"d\e", r#""d\\e""#),
        (r"f\", r#""f\\""#),
        ("<sip:g@h>", r#""\<sip\:g@h>""#),
    ] {
        // user names contain no colon, so no user has this one
        let known = !name.contains(':');
        if known && name != "alice" {
            world.put(Record::Credential(user(LIST, name, PASSWORD)));
        }
        let request = new_request();
        let challenge = world.challenge(&request, OUTSIDE);
        let header = Header::answer(&challenge.values[0], &request, name, PASSWORD);
        let text = header.text_with("username", sent);
        let decision = world.send(&request.clone().with(&text), OUTSIDE);
        if known {
            assert_eq!(&*accepted(decision).credential.unwrap().username, name);
        } else {
            wrong(decision);
        }
    }
    // the realm is unescaped too, for the comparison and the hash
    let request = new_request();
    let text = answer(&world, &request, OUTSIDE).text_with("realm", r#""ex\ample\.com""#);
    accepted(world.send(&request.with(&text), OUTSIDE));
    for name in ["nonce", "uri", "response", "cnonce"] {
        let decision = spoiled(&world, |header| {
            let value = header.parameters().into_iter().find(|(n, _)| n == name).unwrap().1;
            header.text_with(name, &value.replacen('"', "\"\\", 1))
        });
        match name {
            "nonce" => stale(decision),
            _ => assert!(matches!(malformed(decision), Backslash(_)), "{name}"),
        }
    }
}

#[test]
fn case_06_an_escaped_quote_does_not_end_the_string() {
    let world = World::with_policy(counting());
    for username in [
        r#""alice\""#,              // takes in the realm: a header for nobody's realm
        r#""alice\\\""#,            // the same behind an escaped backslash
        r#""alice", x="\""#,        // one parameter later
        r#""alice\", y=\"""#,       // ends in time: another user
        r#""alice\",realm=\"a\"""#, // another user, with our realm after it
    ] {
        let request = new_request();
        let header = answer(&world, &request, OUTSIDE);
        let decision = world.send(&request.with(&header.text_with("username", username)), OUTSIDE);
        match decision {
            Decision::Challenge(challenge) => {
                assert!(!challenge.stale && username.ends_with("\\\""), "{username}");
            }
            other => {
                wrong(other);
                assert!(username.ends_with("\\\"\""), "{username}");
            }
        }
    }
    assert_eq!(attempts(&world, OUTSIDE), 0, "none counted as a guess at alice");
}

#[test]
fn case_06_cr_lf_and_nul_in_a_quoted_string() {
    let world = World::new();
    let source = OUTSIDE.parse().unwrap();
    for name in QUOTED {
        for bytes in ["\0", "\r", "\n", "\r\n", "\r\n ", "\t", "\u{7f}", "\\\0", "\\\r", "\\\n"] {
            let request = new_request();
            let header = answer(&world, &request, OUTSIDE);
            let mut parameters = with_last(&header, name);
            parameters.last_mut().unwrap().1.insert_str(3, bytes);
            let text = join(&parameters);

            // in a datagram, a stray line end makes the message malformed, the others the header
            let outcome = world.try_send(&request.clone().with(&text).bytes(), OUTSIDE);
            let defect = match bytes {
                "\r" | "\n" | "\\\r" | "\\\n" => Some(Defect::LineEnd),
                "\r\n" => Some(Defect::FieldName),
                _ => None,
            };
            match outcome {
                Err(error) => assert_eq!(Some(error), defect.map(InviteError::Defect)),
                Ok(decision) => absent(decision),
            }
            // from a program whose own parser let it through
            let invite = Invite::new(request.uri.clone(), source, Transport::Udp)
                .with_credentials(CredentialsField::ProxyAuthorization, text.as_bytes());
            let decision = world.authorizer.authorize(&invite, world.start);
            absent(decision);
            accepted(world.send(&request.with(&header.text()), OUTSIDE));
        }
    }
}

/// The scan of a message leaves control characters in credentials to their own parser.
#[test]
fn case_06_a_control_character_anywhere_in_the_credentials_is_no_accept() {
    let world = World::new();
    let request = new_request();
    let text = answer(&world, &request, OUTSIDE).text();
    for at in 0..=text.len() {
        for byte in ["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f"] {
            let mut text = text.clone();
            text.insert_str(at, byte);
            let bytes = request.clone().with(&text).bytes();
            let decision = world.try_send(&bytes, OUTSIDE).unwrap();
            assert!(!decision.is_accept(), "{byte:?} at {at}: {decision:?}");
            let over_tcp = Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), Transport::Tcp);
            assert_eq!(over_tcp.err(), Some(InviteError::Defect(Defect::Control)));
        }
    }
    accepted(world.send(&request.with(&text), OUTSIDE));
}

#[test]
fn case_07_the_scheme_is_compared_whole_and_without_case() {
    let world = World::with_policy(counting());
    for scheme in ["digest ", "DIGEST ", "dIgEsT\t", "Digest\r\n ", " Digest   "] {
        let request = new_request();
        let text = answer(&world, &request, OUTSIDE).text().replacen("Digest ", scheme, 1);
        accepted(world.send(&request.with(&text), OUTSIDE));
    }
    for scheme in [
        "Digestx ",
        "Diges ",
        "Digest1 ",
        "xDigest ",
        "Digest-MD5 ",
        "Digest, ",
        "Digest=",
        "Digest",
        "\"Digest\" ",
        "",
        "Basic ",
        "Digest_ ",
    ] {
        let decision = spoiled(&world, |header| header.text().replacen("Digest ", scheme, 1));
        assert!(!challenged(decision), "`{scheme}`");
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_07_the_algorithm_is_compared_whole_and_without_case() {
    let world = World::with_policy(counting());
    for algorithm in ["md5", "\"MD5\"", "Md5"] {
        let request = new_request();
        let text = answer(&world, &request, OUTSIDE).text_with("algorithm", algorithm);
        accepted(world.send(&request.with(&text), OUTSIDE));
    }
    for algorithm in [
        "M",
        "MD",
        "MD55",
        "MD5x",
        "MD5-",
        "MD5-s",
        "MD5-ses",
        "MD5-sessx",
        "MD5sess",
        "\" MD5\"",
        "\"MD5,MD5-sess\"",
        "SHA",
        "SHA-1",
        "SHA-25",
        "SHA-2566",
        "SHA256",
        "SHA-512",
        "SHA-512-25",
        "AKAv1-MD5",
    ] {
        let decision = spoiled(&world, |header| header.text_with("algorithm", algorithm));
        assert_eq!(malformed(decision), UnknownAlgorithm, "{algorithm}");
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_07_a_session_algorithm_is_not_taken_for_its_plain_form() {
    for (plain, session) in [
        (Algorithm::Md5, Algorithm::Md5Sess),
        (Algorithm::Sha256, Algorithm::Sha256Sess),
        (Algorithm::Sha512_256, Algorithm::Sha512_256Sess),
    ] {
        let policy =
            |algorithms: &[Algorithm]| counting().with_algorithms(offering(algorithms).algorithms);
        let world = World::with_policy(policy(&[plain, session]));
        for (at, (signed, named)) in [(plain, session), (session, plain)].into_iter().enumerate() {
            let request = new_request();
            let values = world.challenge(&request, OUTSIDE).values;
            let header = Header::answer(&values[at], &request, "alice", PASSWORD);
            assert_eq!(header.inner.algorithm.to_string(), signed.name());
            let text = header.text_with("algorithm", named.name());
            wrong(world.send(&request.clone().with(&text), OUTSIDE));
            accepted(world.send(&request.next().with(&header.text()), OUTSIDE));
        }
        assert_eq!(attempts(&world, OUTSIDE), 2);

        // correct by its own algorithm, but not offered: wrong
        let world = World::with_policy(policy(&[plain]));
        let request = new_request();
        let mut header = answer(&world, &request, OUTSIDE);
        header.inner.algorithm.sess = true;
        header.sign();
        wrong(world.send(&request.with(&header.text()), OUTSIDE));
        assert_eq!(attempts(&world, OUTSIDE), 1);
    }
}
