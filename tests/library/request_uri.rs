//! The Request-URI decides by scheme, user, host and port; parameters and headers stay unread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use sip_authz::uri::{HostError, MAX_PARAMS, SipUri, UriError};
use sip_authz::{Invite, Reason, Step, Transport};
use sip_authz_testing::kit::*;

/// Malformed texts after host and port.
fn malformed_tails() -> Vec<String> {
    let mut tails: Vec<String> = [
        // doubled
        ";transport=udp;transport=udp",
        ";transport=udp;Transport=tcp",
        ";lr;lr",
        ";user=phone;%75ser=phone",
        // empty
        ";ob=",
        ";transport=",
        ";=y",
        ";=",
        ";;lr",
        ";lr;;x=1",
        "?=x",
        "?x",
        "?x&&y=1",
        "?&",
        // trailing
        ";",
        ";;;",
        ";lr;",
        "?",
        ";lr?",
        "?x=1&",
        ";?",
        // badly escaped, or a character outside the grammar
        ";x=%zz",
        ";x=%",
        ";%4=1",
        "?x=%zz",
        ";x=a=b",
        "?x=a=b",
        ";a,b",
        ";{x}=|^`",
        ";x=#",
        "?a=b?c=d",
        "?a=b;c=d",
        ";x=/?y",
    ]
    .map(str::to_owned)
    .to_vec();
    // too many
    tails.push((0..=MAX_PARAMS).map(|n| format!(";p{n}")).collect());
    tails.push(format!("?{}", vec!["a=b"; MAX_PARAMS + 1].join("&")));
    tails
}

#[test]
fn parameters_and_headers_neither_refuse_nor_hide_the_host() {
    let world = World::new();
    for tail in malformed_tails() {
        for host in ["digest.example.com", "DIGEST.example.com.", "digest.example.com:5060"] {
            let uri = format!("sip:100@{host}{tail}");
            assert!(SipUri::parse(&uri).is_err(), "{uri}");
            let parts = SipUri::parse_request_uri(&uri).unwrap();
            let bare = format!("sip:100@{host}");
            let plain = SipUri::parse(&bare).unwrap();
            assert_eq!((parts.scheme, parts.user), (plain.scheme, plain.user), "{uri}");
            assert_eq!((parts.host, parts.port), (plain.host, plain.port), "{uri}");

            let request = Request { uri: uri.clone(), ..Request::to(HOST) };
            let answered = world.answered(&request, OUTSIDE, "alice", PASSWORD);
            accepted(world.send(&answered, OUTSIDE));
        }
        let unknown =
            Request { uri: format!("sip:100@unknown.example{tail}"), ..Request::to(HOST) };
        assert_eq!(rejected(world.send(&unknown, OUTSIDE)), Reason::UnknownHost, "{tail}");
    }
}

#[test]
fn malformed_parameters_and_headers_equal_only_the_same_text() {
    for tail in malformed_tails() {
        let uri = format!("sip:100@h{tail}");
        let uri = SipUri::parse_request_uri(&uri).unwrap();
        let same = format!("SIP:%3100@H.{tail}");
        assert!(uri.equivalent(&SipUri::parse_request_uri(&same).unwrap()), "{same}");
        for other in ["sip:100@h", "sip:100@h;lr", "sip:100@h;transport=udp", "sip:100@h?x=1"] {
            let other = SipUri::parse(other).unwrap();
            assert!(!uri.equivalent(&other) && !other.equivalent(&uri), "{uri:?} {other:?}");
        }
        for (number, other) in malformed_tails().iter().enumerate() {
            let text = format!("sip:100@h{other}");
            let other_uri = SipUri::parse_request_uri(&text).unwrap();
            assert_eq!(uri.equivalent(&other_uri), *other == tail, "{number}: {tail} {other}");
        }
    }
}

#[test]
fn what_another_parser_could_read_as_another_host_is_refused_and_explained() {
    let world = World::new();
    let host = UriError::Host;
    for (uri, error) in [
        ("", UriError::NoScheme),
        ("100@digest.example.com", UriError::NoScheme),
        ("tel:100;phone-context=digest.example.com", UriError::UnsupportedScheme),
        ("urn:service:sos", UriError::UnsupportedScheme),
        // user and password
        ("sip:@digest.example.com", UriError::EmptyUser),
        ("sip:%zz@digest.example.com;lr", UriError::Character),
        ("sip:1%4@digest.example.com", UriError::Character),
        ("sip:[1]@digest.example.com", UriError::Character),
        ("sip:100:a:b@digest.example.com", UriError::Character),
        ("sip:100:%@digest.example.com", UriError::Character),
        // host and port
        ("sip:100@", UriError::EmptyHost),
        ("sip:100@;transport=udp", UriError::EmptyHost),
        ("sip:100@?x", UriError::EmptyHost),
        ("sip:100@digest..example.com;lr", host(HostError::Label)),
        ("sip:100@digest.example.com,other.example", host(HostError::Character)),
        ("sip:100@digest.example.com/x", host(HostError::Character)),
        ("sip:100@digest.example.com#x", host(HostError::Character)),
        ("sip:100@digest.example.com&x", host(HostError::Character)),
        ("sip:100@127.1;lr", host(HostError::Ipv4)),
        ("sip:100@[fe80::1%25eth0];lr", host(HostError::Zone)),
        ("sip:100@[::1;lr", UriError::Brackets),
        ("sip:100@digest.example.com:", UriError::Port),
        ("sip:100@digest.example.com:;lr", UriError::Port),
        ("sip:100@digest.example.com:99999?x", UriError::Port),
        // a further `@`
        ("sip:100@digest.example.com@other.example", host(HostError::Character)),
        ("sip:100@digest.example.com;x=a@other.example", UriError::Character),
        ("sip:100@digest.example.com;@other.example", UriError::Character),
        ("sip:100@digest.example.com?x=a@other.example", UriError::Character),
        ("sip:100@digest.example.com?@other.example", UriError::Character),
        // anywhere
        ("sip:100@digest.example.com;x=\\", UriError::Backslash),
        ("sip:100@digest.example.com?x=\\", UriError::Backslash),
        ("sip:100@digest.example.com;x= ", UriError::Space),
        ("sip:100@digest.example.com?x\0=1", UriError::Control),
        ("sip:100@digest.example.com;x=\t", UriError::Control),
        ("sip:100@digest.example.com;x\r\n=1", UriError::Control),
        ("sip:100@digest.example.com;x=\x7f", UriError::Control),
        ("sip:100@digest.example.com;x=\"a\"", UriError::Character),
        ("sip:100@digest.example.com;<x>", UriError::Character),
        ("sip:100@digest.example.com?x=\u{e4}", UriError::Character),
    ] {
        assert_eq!(SipUri::parse_request_uri(uri), Err(error), "{uri:?}");
        assert!(SipUri::parse(uri).is_err(), "{uri:?}");
        let invite = Invite::new(uri, INSIDE.parse().unwrap(), Transport::Udp);
        let explained = world.authorizer.explain(&invite, world.start);
        assert_eq!(explained.steps, [Step::UnreadableUri { error }], "{uri:?}");
        assert!(explained.to_string().starts_with(&format!("Request-URI: {error}\n")), "{uri:?}");
        let reason = match error {
            UriError::UnsupportedScheme => Reason::UnsupportedScheme,
            _ => Reason::BadRequestUri,
        };
        assert_eq!(rejected(explained.decision), reason);
        assert_eq!(rejected(world.authorizer.authorize(&invite, world.start)), reason);
    }
}

/// The same result, found with the strict parser: the text before the parameters must be a URI, and
/// the rest must have no odd byte.
fn slow(text: &str) -> Result<(Option<&str>, &str, Option<u16>), ()> {
    let after_user = text.find('@').map_or(0, |at| at + 1);
    let end = text[after_user..].find([';', '?']).map_or(text.len(), |at| after_user + at);
    let (uri, tail) = text.split_at(end);
    let odd = |c: char| !c.is_ascii_graphic() || "\\<>\"@".contains(c);
    let uri = SipUri::parse(uri).map_err(|_| ())?;
    if tail.contains(odd) {
        return Err(());
    }
    assert_eq!((uri.params, uri.headers), ("", ""));
    Ok((uri.user, uri.host, uri.port))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slow_parser_reads_the_same(
        text in "sips?:([a1.;?%:=\\[/]{0,4}@)?(h|a\\.b|\\[::1\\]|192\\.0\\.2\\.1|[a1.:@]{0,3})(:[0-9]{0,5})?[;?&=%a1@:/\\\\<\"é \t,#{]{0,8}",
    ) {
        let lenient = SipUri::parse_request_uri(&text);
        let found = lenient.map(|uri| (uri.user, uri.host, uri.port)).map_err(|_| ());
        prop_assert_eq!(found, slow(&text), "{:?}", text);
        match (SipUri::parse(&text), lenient) {
            (Ok(strict), Ok(lenient)) => prop_assert_eq!(strict, lenient),
            (Ok(_), Err(error)) => prop_assert!(false, "only the lenient parser refuses: {error}"),
            (Err(error), Ok(lenient)) => {
                use UriError::{Character, Header, Parameter, TooMany};
                prop_assert!(matches!(error, Character | Header | Parameter | TooMany), "{error}");
                prop_assert!(lenient.equivalent(&lenient));
            }
            (Err(_), Err(_)) => {}
        }
    }
}
