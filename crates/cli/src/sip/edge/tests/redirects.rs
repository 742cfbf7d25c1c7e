//! Redirects: the called user, the targets of each domain, and those that loop or are not allowed.

use proptest::prelude::*;
use sip_authz::model::{
    Account, Commit, Domain, IpAccessControlList, IpAddress, Mapping, NextHop, NextHopSet, Trunk,
};
use sip_authz::{AccountSid, DomainSid, IpAccessControlListSid, IpAddressSid, TrunkSid};

use super::*;

const DOMAINS: [(&str, Option<&str>); 5] = [
    ("plain.example", None),
    ("own.example", Some("redirect:sip:{user}@gw.own.example;q=1.0,gw2.own.example;q=0.5")),
    ("ok.example", Some("ok")),
    ("outside.example", Some("redirect:gw.own.example,sip:{user}@gw.outside.example")),
    (
        "loop.example",
        Some("redirect:sip:{user}@loop.example,gw.own.example,sip:{user}@LOOP.example."),
    ),
];

fn account() -> AccountSid {
    AccountSid::from_name(&["a"])
}

/// An edge whose domains admit every address.
fn edge_with(default: &str, allowed: Option<&[&str]>) -> Edge {
    let acl = IpAccessControlListSid::from_name(&["l"]);
    let mut commit = Commit::new();
    commit.put(Account::new(account()).into());
    commit.put(IpAccessControlList::new(acl, account()).into());
    let any = IpAddress::new(IpAddressSid::from_name(&["any"]), acl, "0.0.0.0/0".parse().unwrap());
    commit.put(any.into());
    for (host, on_accept) in DOMAINS {
        let sid = DomainSid::from_name(&[host]);
        let on_accept = on_accept.map(|text| text.parse().unwrap());
        let new = Domain::new(sid, account(), host.parse().unwrap());
        commit.put(Domain { on_accept, ..new }.into());
        commit.put(Mapping::IpAccessControlList(sid.into(), acl).into());
    }
    let sid = TrunkSid::from_name(&["t"]);
    let new = Trunk::new(sid, account(), Some("trunk.example".parse().unwrap()));
    let on_accept = Some("redirect:sip:{account}@gw.own.example".parse().unwrap());
    commit.put(Trunk { on_accept, ..new }.into());
    commit.put(Mapping::IpAccessControlList(sid.into(), acl).into());
    let snapshot = Snapshot::empty().apply(&commit).unwrap();
    let default: OnAccept = default.parse().unwrap();
    let allowed = allowed.map(|hops| {
        NextHopSet::new(hops.iter().map(|hop| hop.parse::<NextHop>().unwrap()))
            .with_default(default.clone())
    });
    let answers = Answers::new(default, allowed);
    let (tags, observers) = (TagKey::random().unwrap(), DecisionObservers::default());
    let authorizer = Arc::new(Authorizer::new(snapshot).unwrap());
    Edge::new(authorizer, tags, answers, ReplyPort::Auto, observers)
}

const ALLOWED: Option<&[&str]> = Some(&[".own.example", "loop.example"]);

/// Status, Contacts and outcome of an INVITE.
fn call(edge: &Edge, uri: &str) -> (u16, Vec<String>, Outcome) {
    let request = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>\r\n\
         To: <sip:a@b>\r\nCall-ID: c{pad}\r\nCSeq: 1 INVITE\r\n\r\n",
        pad = "x".repeat(600)
    );
    let mut out = Vec::new();
    let peer = peer("192.0.2.1:9", "192.0.2.2:5060");
    let outcome = edge.answer(request.as_bytes(), peer, Instant::now(), &mut out).outcome;
    let text = String::from_utf8(out).unwrap();
    let contacts = text.lines().filter_map(|line| line.strip_prefix("Contact: "));
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, contacts.map(str::to_owned).collect(), outcome)
}

#[test]
fn the_called_user_is_kept_and_each_domain_has_its_targets() {
    let edge = edge_with("redirect:sip:gw.example.net", ALLOWED);
    for (uri, contacts) in [
        ("sip:14155550100@plain.example", &["<sip:14155550100@gw.example.net>"][..]),
        (
            "sip:+1;phone-context=x:pw@PLAIN.example:5070;user=phone",
            &["<sip:+1;phone-context=x@gw.example.net>"],
        ),
        ("sip:%61%3Cb@plain.example", &["<sip:%61%3Cb@gw.example.net>"]),
        ("sip:*21#@plain.example", &["<sip:*21%23@gw.example.net>"]),
        ("sip:plain.example", &["<sip:gw.example.net>"]),
        ("sip:1@own.example", &["<sip:1@gw.own.example>;q=1.0", "<sip:1@gw2.own.example>;q=0.5"]),
        ("sip:1@trunk.example", &[&format!("<sip:{}@gw.own.example>", account())]),
        ("sip:1@loop.example", &["<sip:1@gw.own.example>"]),
    ] {
        let expected: Vec<_> = contacts.iter().map(ToString::to_string).collect();
        assert_eq!(call(&edge, uri), (302, expected, Outcome::Accepted), "{uri}");
    }
    let (status, contacts, _) = call(&edge, "sip:1@ok.example");
    assert_eq!((status, contacts), (200, vec!["<sip:1@192.0.2.2:5060>".to_owned()]));
    let edge = edge_with("ok", ALLOWED);
    assert_eq!(call(&edge, "sip:1@plain.example").0, 200);
    assert_eq!(call(&edge, "sip:1@own.example").0, 302);
}

#[test]
fn placeholders_of_the_default_have_the_values_of_the_call() {
    let edge = edge_with(
        "redirect:sip:{user}@gw;x={domain};y={account},sip:{username}@{host}:5080",
        ALLOWED,
    );
    let expected = vec![
        format!("<sip:1@gw;x=plain.example;y={}>", account()),
        "<sip:Plain.example.:5080>".to_owned(),
    ];
    assert_eq!(call(&edge, "sip:1@Plain.example."), (302, expected, Outcome::Accepted));
}

#[test]
fn a_target_that_is_no_longer_allowed_is_not_used() {
    for (allowed, uri, outcome) in [
        (ALLOWED, "sip:1@outside.example", Outcome::Other(Cause::NextHop)),
        (Some(&[][..]), "sip:1@own.example", Outcome::Other(Cause::NextHop)),
        (Some(&[][..]), "sip:1@plain.example", Outcome::Accepted),
        // a file was checked when it was read
        (None, "sip:1@outside.example", Outcome::Accepted),
    ] {
        let edge = edge_with("redirect:gw.default.example", allowed);
        let (status, contacts, found) = call(&edge, uri);
        assert_eq!(found, outcome, "{uri}");
        if outcome != Outcome::Accepted {
            assert_eq!((status, contacts.len()), (480, 0), "{uri}");
        }
    }
    let edge = edge_with("ok", ALLOWED);
    let warnings = edge.answers.warnings(&edge.authorizer.snapshot());
    assert_eq!(
        warnings,
        [
            "warning: domain `outside.example`: the next hop `gw.outside.example` is not allowed; its calls \
          are answered with 480 (see --next-hop-allow)"
        ]
    );
}

#[test]
fn a_redirect_to_itself_is_refused_only_if_all_targets_loop() {
    let edge = edge_with("redirect:sip:{user}@{host},sip:1@{domain}", ALLOWED);
    let looping = (404, Vec::new(), Outcome::Other(Cause::RedirectLoop));
    assert_eq!(call(&edge, "sip:1@plain.example"), looping);
    assert_eq!(call(&edge, "sip:%31@PLAIN.example"), looping);
    let other = (302, vec!["<sip:1@plain.example>".to_owned()], Outcome::Accepted);
    assert_eq!(call(&edge, "sip:2@plain.example"), other);
    let too_long = format!("sip:{}@plain.example", "1".repeat(2_000));
    let edge = edge_with("redirect:sip:{user}{user}@gw", ALLOWED);
    let refused = (414, Vec::new(), Outcome::Other(Cause::RedirectTooLong));
    assert_eq!(call(&edge, &too_long), refused);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever Request-URI the edge accepts, no part of it leaves the user part of a Contact.
    #[test]
    fn a_contact_is_a_valid_uri_with_the_user_of_the_request(
        user in "[0-9a-z+;,/?&=$#*%.~!()_'-]{1,12}|(%[0-9A-F]{2}){1,4}|[ -~]{1,8}",
        tail in "|;user=phone|;x=[a-z>,;=\"%]{0,6}|\\?[a-z=&%]{0,6}|:[0-9]{1,5}",
    ) {
        let edge = edge_with("redirect:gw.example.net;transport=tcp,sip:{user}@{host};q=0.1", ALLOWED);
        let uri = format!("sip:{user}@plain.example{tail}");
        let Ok(request) = SipUri::parse_request_uri(&uri) else { return Ok(()) };
        let (status, contacts, _) = call(&edge, &uri);
        prop_assert_eq!(status, 302, "{}", uri);
        for (contact, params) in contacts.iter().zip(["transport=tcp", ""]) {
            let (inner, behind) = contact.strip_prefix('<').unwrap().split_once('>').unwrap();
            let target = SipUri::parse(inner).unwrap();
            prop_assert!(target.same_user(&request), "{} {}", uri, contact);
            prop_assert_eq!((target.params, target.headers), (params, ""));
            prop_assert!(["", ";q=0.1"].contains(&behind));
        }
    }
}
