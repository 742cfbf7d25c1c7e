//! The targets of redirects: always a valid URI with the caller's user part, whatever the Request-URI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use rsip::headers::UntypedHeader as _;
use sip_authz::model::{Commit, OnAccept, Record, RedirectValues};
use sip_authz::uri::SipUri;
use sip_authz::{AccountSid, Snapshot};
use sip_authz_testing::kit::*;

/// A template, and whether its user part is that of the Request-URI.
const TEMPLATES: [(&str, bool); 7] = [
    ("gw.example.net", true),
    ("sip:{user}@gw.example.net;transport=tcp", true),
    ("sips:{user}@[2001:db8::1]:5080", true),
    ("sip:{user}@{host}", true),
    ("sip:{user}@{domain};tgrp={account}", true),
    ("sip:{account}-{user}@gw.example.net?X-Host={host}", false),
    ("sip:{username}{host}@gw.example.net", false),
];

/// Texts over the characters that mean something in a URI or a header.
fn user() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[0-9a-zA-Z]{1,4}",
        2 => "[-_.!~*'()&=+$,;?/#]",
        1 => "%[0-9a-fA-F]{2}",
        // refused by the edge, except by chance
        1 => "[@:<> \"\r\n\\\\{}%\u{e4}]",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Sip.Example.com".to_owned()),
        Just("192.0.2.1".to_owned()),
        Just("[2001:DB8::1]".to_owned()),
        Just("sip.example.com.".to_owned()),
        "[a-zA-Z][a-zA-Z0-9_-]{0,8}[a-z]",
    ]
}

fn tail() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(":5070".to_owned()),
        Just(";user=phone".to_owned()),
        Just(";;x=%zz?a".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_target_is_a_valid_uri_with_the_user_of_the_request(
        user in user(),
        host in host(),
        tail in tail(),
        username in "\\PC{0,12}|[a-z;,?@<>\r\n%]{0,8}",
    ) {
        let at = if user.is_empty() { "" } else { "@" };
        let sent = format!("sip:{user}{at}{host}{tail}");
        let Ok(request) = SipUri::parse_request_uri(&sent) else { return Ok(()) };
        let values = RedirectValues::new(AccountSid::from_bytes([7; 16]), "sip.example.com")
            .with_user(request.user.unwrap_or_default())
            .with_host(request.host)
            .with_username(&username);
        for (template, keeps_user) in TEMPLATES {
            let OnAccept::Redirect(redirect) = format!("redirect:{template}").parse().unwrap() else {
                panic!("{template}")
            };
            let uri = redirect.targets()[0].uri(&values).unwrap();
            let escaped = uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte));
            prop_assert!(escaped, "{uri}");
            let read = SipUri::parse(&uri).unwrap();
            if keeps_user {
                prop_assert!(read.same_user(&request), "{sent} {uri}");
            }
            prop_assert_eq!(read.password, None);
            // nothing of the caller ends up behind the host
            let known = ["", "transport=tcp", "tgrp=AC07070707070707070707070707070707"];
            prop_assert!(known.contains(&read.params), "{}", uri);
            let headers = format!("X-Host={}", request.host);
            prop_assert!(read.headers.is_empty() || read.headers == headers, "{uri}");
            // rsip 0.4 parses no IPv6 literals, and takes a user with a dot for a part of the host
            if uri.contains('[') || read.user.is_some_and(|user| user.contains('.')) {
                continue;
            }
            let with_rsip = rsip::Uri::try_from(uri.as_str()).unwrap();
            let user = with_rsip.auth.as_ref().map(|auth| auth.user.as_str());
            prop_assert_eq!(user, read.user, "{}", uri);
            // in a header, between the brackets
            let contact = rsip::headers::Contact::new(format!("<{uri}>;q=0.5"));
            let contact = rsip::typed::Contact::try_from(contact).unwrap();
            prop_assert_eq!(contact.uri.to_string(), with_rsip.to_string());
            prop_assert_eq!(contact.params.len(), 1);
        }
    }
}

#[test]
fn a_snapshot_has_the_answer_of_each_target() {
    let on_accept: OnAccept = "redirect:gw.example.net".parse().unwrap();
    let world = World::new();
    let before = world.authorizer.snapshot();
    let view = before.target_view(domain(HOST).into()).unwrap();
    assert_eq!(
        (view.name.unwrap().as_str(), view.account, view.on_accept),
        (HOST, account(), None)
    );

    let mut commit = Commit::new();
    let new = sip_authz::model::Domain::new(domain(HOST), account(), HOST.parse().unwrap());
    let changed = sip_authz::model::Domain { on_accept: Some(on_accept.clone()), ..new };
    commit.put(Record::Domain(changed));
    let after = before.apply(&commit).unwrap();
    assert_eq!(after.target_view(domain(HOST).into()).unwrap().on_accept, Some(&on_accept));
    assert_eq!(after.target_views().filter(|view| view.on_accept.is_some()).count(), 1);
    assert!(after.target_view(domain("unknown").into()).is_none());
    for host in [HOST.to_owned(), HOST.to_ascii_uppercase(), format!("{HOST}.")] {
        assert_eq!(after.target_named(&host).unwrap().target, domain(HOST).into(), "{host}");
    }
    assert!(after.target_named("unknown.example").is_none() && after.target_named("a b").is_none());
    assert!(after.is_active(account()) && !Snapshot::empty().is_active(account()));
    // back to the default
    commit = Commit::new();
    commit.put(Record::Domain(sip_authz::model::Domain {
        on_accept: None,
        ..sip_authz::model::Domain::new(domain(HOST), account(), HOST.parse().unwrap())
    }));
    let last = after.apply(&commit).unwrap();
    assert_eq!(last.target_view(domain(HOST).into()).unwrap().on_accept, None);
}
