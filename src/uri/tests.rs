use super::*;

/// Short texts over a small alphabet: the fast path agrees with the full parser.
#[test]
fn fast_and_full_parser_agree() {
    let mut texts = vec![String::from("sip:")];
    for byte in "a1+-.@:;?%&_ ".chars().cycle().take(13 * 3) {
        let longer: Vec<_> = texts.iter().map(|text| format!("{text}{byte}")).collect();
        texts.extend(longer.into_iter().filter(|text| text.len() < 11));
        texts.truncate(60_000);
    }
    let mut fast_ones = 0;
    for text in texts.iter().flat_map(|text| [text.clone(), format!("{text}@b.example")]) {
        if let Some((uri, HostKind::Name(name))) = read_fast(&text) {
            fast_ones += 1;
            let (closer, kind) = read_full(&text).unwrap();
            assert_eq!(uri, closer, "{text}");
            assert!(matches!(kind, HostKind::Name(other) if other == name), "{text}");
        }
    }
    assert!(fast_ones > 100, "{fast_ones}");
}

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (SipUri::parse(a).unwrap(), SipUri::parse(b).unwrap());
    assert_eq!(a.equivalent(&b), b.equivalent(&a), "{a:?} {b:?}");
    assert!(a.equivalent(&a) && b.equivalent(&b));
    a.equivalent(&b)
}

#[test]
fn the_examples_of_rfc_3261_19_1_4() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}

#[test]
fn more_equal_and_unequal() {
    for (a, b) in [
        ("sip:a@h", "SIP:a@H."),
        ("sip:a%2fb@h", "sip:a%2Fb@h"),
        ("sip:a:%70w@h", "sip:a:pw@h"),
        ("sip:[2001:DB8::1]", "sip:[2001:db8:0::0:1]"),
        ("sip:h;%74ransport=udp", "sip:h;transport=UDP"),
        ("sip:h;lr", "sip:h"),
        ("sip:h?a=1&a=2", "sip:h?A=2&a=1"),
        ("sip:a@h;x=%3b;y", "sip:a@h;Y;X=%3B"),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
    for (a, b) in [
        ("sip:a@h", "sips:a@h"),
        ("sip:a@h", "sip:h"),
        ("sip:a@h", "sip:a:@h"),
        ("sip:a:x@h", "sip:a:X@h"),
        ("sip:a%2fb@h", "sip:a/b@h"),
        ("sip:a%2541@h", "sip:a%41@h"),
        ("sip:h;user=phone", "sip:h"),
        ("sip:h;ttl=1", "sip:h"),
        ("sip:h;method=INVITE", "sip:h"),
        ("sip:h;m%61ddr=192.0.2.1", "sip:h"),
        ("sip:h;method=INVITE", "sip:h;method=invite"),
        ("sip:h;lr", "sip:h;lr=on"),
        ("sip:h?a=1&a=1", "sip:h?a=1&a=2"),
        ("sip:h?a=1", "sip:h?a=1&a=1"),
        ("sip:h?a=x", "sip:h?a=X"),
        ("sip:[::ffff:192.0.2.1]", "sip:192.0.2.1"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}

#[test]
fn anonymous_uris() {
    for uri in [
        "sip:anonymous@anonymous.invalid",
        "SIPS:Anonymous@ANONYMOUS.Invalid.",
        "sip:ANONYMOUS@anonymous.invalid:5061;transport=tls;user=phone?a=b",
        "sip:%61nonymou%53@anonymous.invalid",
        "sip:anonymous.invalid",
        "sip:anonymous.invalid;user=phone",
    ] {
        assert!(SipUri::parse(uri).unwrap().is_anonymous(), "{uri}");
    }
    for uri in [
        "sip:bob@anonymous.invalid",
        "sip:anonymous:bob@anonymous.invalid",
        "sip:anonymous2@anonymous.invalid",
        "sip:anonymou@anonymous.invalid",
        "sip:%00anonymous@anonymous.invalid",
        "sip:anonymous%2541@anonymous.invalid",
        "sip:anonymous;bob@anonymous.invalid",
        "sip:anonymous@example.com",
        "sip:anonymous@invalid",
        "sip:anonymous@xanonymous.invalid",
        "sip:anonymous@x.anonymous.invalid",
        "sip:anonymous@anonymous.invalid.example.com",
        "sip:anonymous@anonymous-invalid",
        "sip:anonymous@192.0.2.1",
        "sip:anonymous@[2001:db8::1]",
        "sip:example.com",
        "sip:anonymous",
    ] {
        assert!(!SipUri::parse(uri).unwrap().is_anonymous(), "{uri}");
    }
}

#[test]
fn parts_and_errors() {
    let uri = SipUri::parse("sips:a;b=c:p@[::1]:5061;x=[/];lr?to=%40&z=").unwrap();
    assert_eq!((uri.scheme, uri.user, uri.password), (Scheme::Sips, Some("a;b=c"), Some("p")));
    assert_eq!((uri.host, uri.port), ("[::1]", Some(5061)));
    assert_eq!((uri.params, uri.headers), ("x=[/];lr", "to=%40&z="));
    let rfc_4475 = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    for good in [rfc_4475, "sip:*21#@h", "sip:sips%3Auser%40example.com@example.net"] {
        assert!(SipUri::parse(good).is_ok(), "{good}");
    }
    let host = UriError::Host;
    for (error, texts) in [
        (UriError::NoScheme, &["", "sip", ":a", "1x:a", "a@b;c:d"][..]),
        (UriError::UnsupportedScheme, &["tel:+1", "http://a\\b", "si:a@b", "sipss:h"]),
        (UriError::Backslash, &["sip:a\\b@h", "sip:h\\"]),
        (UriError::Space, &["sip:a @h", "sip:h ", "sip: h"]),
        (UriError::Control, &["sip:a\0@h", "sip:h\t", "sip:h\r\nx", "sip:h\x7f"]),
        (UriError::Character, &["sip:a%4@h", "sip:a%zz@h", "sip:a[@h", "sip:\u{e4}@h"]),
        (UriError::Character, &["sip:a:b:c@h", "sip:h;a=%", "sip:h?a=;", "sip:a@b?c@d"]),
        (UriError::EmptyUser, &["sip:@h", "sip::p@h"]),
        (UriError::EmptyHost, &["sip:", "sip:a@", "sip:a@:5060", "sip:;lr", "sip:."]),
        (UriError::Brackets, &["sip:[::1", "sip:::1]", "sip:[::1]x", "sip:h]:1", "sip:h[1]"]),
        (UriError::Port, &["sip:h:", "sip:h:0", "sip:h:65536", "sip:h:+1", "sip:2001:db8::1"]),
        (UriError::Parameter, &["sip:h;", "sip:h;;a", "sip:h;=a", "sip:h;a=", "sip:h;a;%41=1"]),
        (UriError::Header, &["sip:h?", "sip:h?a", "sip:h?=a", "sip:h?a=1&", "sip:h?a=b=c"]),
        (host(HostError::Character), &["sip:a@b@c", "sip:a,b", "sip:%68"]),
        (host(HostError::Zone), &["sip:[fe80::1%25eth0]"]),
        (host(HostError::Ipv4), &["sip:127.1"]),
    ] {
        for text in texts {
            assert_eq!(SipUri::parse(text).err(), Some(error), "{text}");
        }
    }
    let many: String = (0..=MAX_PARAMS).map(|n| format!(";p{n}")).collect();
    assert_eq!(SipUri::parse(&format!("sip:h{many}")), Err(UriError::TooMany));
    let long = |len: usize| SipUri::parse(&format!("sip:{}@h", "a".repeat(len - 6))).err();
    assert_eq!((long(MAX_URI), long(MAX_URI + 1)), (None, Some(UriError::TooLong)));
    assert!(!format!("{uri:?}").contains("a;b"));
}
