//! Records for a program that embeds the library.
#![allow(clippy::unwrap_used)]

use sip_authz::model::{Account, Domain, Mapping};
use sip_authz::{
    AccountSid, Authorizer, Decision, DomainSid, Invite, IpAccessControlListSid, Snapshot,
    Transport,
};
use sip_authz_config::{Options, parse, read};

/// The example of the documentation.
const EXAMPLE: &str = include_str!("../../../docs/edge.toml");

/// One list for one domain.
const SMALL: &str = r#"
ip_access_control_lists = [{ name = "offices", addresses = ["192.0.2.0/24"] }]
domains = [{ name = "sip.example.com", ip_access_control_lists = ["offices"] }]
"#;

fn targets(snapshot: &Snapshot) -> Vec<String> {
    let mut targets: Vec<_> = snapshot.target_views().map(|view| format!("{view:?}")).collect();
    targets.sort();
    targets
}

fn decide(snapshot: Snapshot, host: &str) -> Decision {
    let uri = format!("sip:100@{host}");
    let invite = Invite::new(uri, "192.0.2.7:5060".parse().unwrap(), Transport::Udp);
    Authorizer::new(snapshot).unwrap().authorize_now(&invite)
}

#[test]
fn the_records_are_those_of_the_whole_configuration() {
    for text in [EXAMPLE, SMALL, ""] {
        let (one, other) = (parse(text, &Options::new()).unwrap(), read(text).unwrap());
        let other = other.number(one.snapshot.number()).build().unwrap();
        assert_eq!(targets(&one.snapshot), targets(&other));
        assert_eq!(format!("{:?}", one.snapshot), format!("{other:?}"));
    }
    assert!(decide(read(SMALL).unwrap().build().unwrap(), "sip.example.com").is_accept());
}

#[test]
fn every_error_is_reported_as_for_the_whole_configuration() {
    for text in [
        "domains = [{ name = 'a b' }, { name = 'b.example', lists = [] }]\nnothing = 1",
        "domains = [",
        "[[domains]]\nname = 'a.example'\nip_access_control_lists = ['missing']",
        "[[domains]]\nname = 'a.example'\non_accept = 'redirect:gw.example.net'",
        "credential_lists = [{ name = 'a', credentials = [] }]",
        "[edge]\nsip = 1",
    ] {
        let expected = parse(text, &Options::new()).unwrap_err().to_string();
        assert_eq!(read(text).unwrap_err().to_string(), expected);
        assert!(expected.starts_with("config:"), "{expected}");
    }
}

#[test]
fn settings_of_the_program_have_no_effect() {
    let edge = "[edge]\nsip = ['127.0.0.1:5060']\n";
    let (with, without) = (format!("{SMALL}{edge}"), SMALL);
    let [with, without] = [&with, without].map(|text| read(text).unwrap().build().unwrap());
    assert_eq!(targets(&with), targets(&without));
}

#[test]
fn a_program_adds_records_and_the_builder_checks_them() {
    let account = AccountSid::from_name(&["default"]);
    let offices = IpAccessControlListSid::from_name(&["default", "offices"]);
    let own = DomainSid::from_name(&["own"]);
    let domain = |name: &str| Domain::new(own, account, name.parse().unwrap());
    let records = || read(SMALL).unwrap();
    let snapshot = records()
        .domain(domain("own.example"))
        .mapping(Mapping::IpAccessControlList(own.into(), offices))
        .number(7)
        .build()
        .unwrap();
    assert_eq!(snapshot.number(), 7);
    assert!(decide(snapshot, "own.example").is_accept());

    // a name or key of the text is taken
    let error = records().domain(domain("SIP.example.com")).build().unwrap_err().to_string();
    assert!(error.contains("the name `sip.example.com` is taken"), "{error}");
    let again = Account::new(account);
    assert!(records().account(again).build().is_err(), "the text has an account of that SID");
}
