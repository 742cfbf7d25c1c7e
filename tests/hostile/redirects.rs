//! Hostile case 41: redirects and forwards, whose targets an account or a caller would like to choose.

use sip_authz::AccountSid;
use sip_authz::model::{NextHop, NextHopSet, OnAccept, Redirect, RedirectValues};
use sip_authz::uri::{Host, SipUri};

const GATEWAY: &str = "gw.example.net";

fn redirect(targets: &str) -> Redirect {
    let OnAccept::Redirect(redirect) = format!("redirect:{targets}").parse().unwrap() else {
        panic!("{targets}")
    };
    redirect
}

/// Whether an account can set these targets.
fn is_allowed(hops: &[&str], targets: &str) -> bool {
    is_answer_allowed(hops, &format!("redirect:{targets}"))
}

fn is_answer_allowed(hops: &[&str], answer: &str) -> bool {
    let hops = NextHopSet::new(hops.iter().map(|hop| hop.parse::<NextHop>().unwrap()));
    let parsed = answer.parse::<OnAccept>();
    parsed.is_ok_and(|on_accept| hops.check(&on_accept).is_ok())
}

#[test]
fn case_41_a_target_of_an_account_names_an_allowed_host_only() {
    let hops = [GATEWAY, ".carrier.example", "192.0.2.0/24:5060", "2001:db8::/32"];
    for target in [
        "gw.example.net",
        "GW.Example.net.",
        "sips:{user}@gw.example.net:5061;transport=tls",
        "sip:9{user};tgrp=a@gw.example.net;user=phone;lr",
        "a.b.carrier.example,gw.example.net;q=0.5",
        "192.0.2.7:5060",
        "[::ffff:192.0.2.7]:5060",
        "[2001:DB8:0::7]",
    ] {
        assert!(is_allowed(&hops, target), "{target}");
    }
    for target in [
        // another host
        "evil.example",
        "gw.example.net,evil.example;q=0",
        "evil.example, gw.example.net",
        "carrier.example",
        "xcarrier.example",
        "x.carrier.example.evil.example",
        "gw.example.net.evil.example",
        "gw.example.net..",
        // userinfo and escapes that hide the host
        "sip:gw.example.net@evil.example",
        "sip:{user}:gw.example.net@evil.example",
        "sip:{user}@gw.example.net@evil.example",
        "sip:{user}@evil.example;x=@gw.example.net",
        "sip:{user}@evil.example?x=@gw.example.net",
        "sip:{user}@evil.example#@gw.example.net",
        "sip:evil.example%40gw.example.net",
        "sip:{user}@gw.example.net%2eevil.example",
        "sip:gw.example.net\\@evil.example",
        "sip://gw.example.net",
        "sip:gw.example.net/@evil.example",
        "b\u{fc}cher.carrier.example",
        // a port or an address in another form
        "192.0.2.7",
        "192.0.2.7:5061",
        "192.0.2.7:5060:5061",
        "192.0.2.007:5060",
        "3221225991:5060",
        "0xc0000207:5060",
        "[::192.0.2.7]:5060",
        "[2001:db8::7%25eth0]",
        "2001:db8::7",
        // another next hop beside the host
        "gw.example.net;maddr=192.0.2.66",
        "gw.example.net;M%41ddr=192.0.2.66",
        "gw.example.net;lr;maddr%20=192.0.2.66",
        "gw.example.net;alias=192.0.2.66~5060~1",
        "gw.example.net;fs_path=sip:192.0.2.66",
        "gw.example.net;q=0.1;received=sip:192.0.2.66",
        "gw.example.net?Route=%3Csip:evil.example%3E",
        "gw.example.net;q=0.1?Route=x",
        // the caller chooses
        "sip:{user}@{host}",
        "{domain}",
        "{account}.carrier.example",
        "gw.example.net;user={account}",
        // another Contact or header
        "gw.example.net>,<sip:evil.example",
        "<sip:gw.example.net>",
        "gw.example.net\r\nContact: <sip:evil.example>",
        "gw.example.net;q=0.5>;x=<",
        "tel:+14155550100",
        "http://gw.example.net",
    ] {
        assert!(!is_allowed(&hops, target), "{target:?}");
        assert!(!is_answer_allowed(&hops, &format!("forward:{target}")), "{target:?}");
    }
    for hop in ["gw.example.net", "sips:a.carrier.example;lr", "192.0.2.7:5060;transport=tcp"] {
        assert!(is_answer_allowed(&hops, &format!("forward:{hop}")), "{hop}");
        assert!(!is_answer_allowed(&[], &format!("forward:{hop}")), "{hop}");
    }
    for target in ["gw.example.net", "192.0.2.7", "sip:{user}@{host}"] {
        assert!(!is_allowed(&[], target), "nothing is allowed by default: {target}");
    }
}

/// User parts that a caller could send, and names that others could set.
const TEXTS: [&str; 16] = [
    "",
    "14155550100",
    "a@evil.example",
    "a%40evil.example",
    "evil.example;maddr=192.0.2.66",
    "evil.example?Route=%3Csip:evil.example%3E",
    "a>,<sip:evil.example",
    "a\r\nContact: <sip:evil.example>",
    "%0d%0aContact:%20x",
    "a:secret",
    "{host}",
    "%",
    "%4",
    "\"<>\\ \t\0",
    "\u{e4}\u{202e}",
    "/../#",
];

#[test]
fn case_41_no_request_adds_to_a_contact_or_chooses_its_host() {
    let account = AccountSid::from_bytes([7; 16]);
    for template in [
        "gw.example.net",
        "sip:{user}@gw.example.net;transport=tcp",
        "sip:9{user}-{username}@gw.example.net",
        "sip:{username}{host}{domain}@gw.example.net",
    ] {
        for user in TEXTS {
            for username in TEXTS {
                let values = RedirectValues::new(account, "sip.example.com")
                    .with_user(user)
                    .with_username(username)
                    .with_host("[2001:db8::1]");
                let redirect = redirect(template);
                let text = redirect.targets()[0].uri(&values).unwrap();
                let uri = SipUri::parse(&text).unwrap();
                let host = Host::parse(uri.host).unwrap();
                let tail = if template.ends_with("tcp") { "transport=tcp" } else { "" };
                assert_eq!((host.as_str(), uri.params, uri.headers), (GATEWAY, tail, ""), "{text}");
                assert_eq!((uri.port, uri.password), (None, None), "{text}");
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
                assert!(!text.contains(['<', '>', '"', '\\', '{', '}']), "{text}");
            }
        }
    }
}
