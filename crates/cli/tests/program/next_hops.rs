//! `serve --next-hop-allow`: the targets that accounts can set, and those that are no longer allowed.

use crate::http::Http;
use crate::support::{Caller, Request, Server, file, header, status};

const HOST: &str = "sip.example.com";

#[test]
fn a_stored_target_that_is_no_longer_allowed_is_refused_with_a_warning() {
    let path = file("beside", "").with_file_name("data");
    let folder = path.to_str().unwrap();
    let default = ["--data", folder, "--on-accept", "redirect:default.example"];
    let allowing = [&default[..], &["--next-hop-allow", ".carrier.example"]].concat();
    let ask = |server: &Server| {
        Caller::new(server).ask(&Request::invite(&format!("sip:14155550100@{HOST}")).text())
    };

    let server = Server::start(&allowing);
    let (_, account) =
        Http::admin(&server).post("/2010-04-01/Accounts.json", &[("FriendlyName", "a")]);
    let (sid, token) = (account["sid"].as_str().unwrap(), account["auth_token"].as_str().unwrap());
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let http = Http::new(&server, sid, token);
    let domain = http.create(&format!("{sip}/Domains.json"), &[("DomainName", HOST)]);
    let list = http.create(&format!("{sip}/IpAccessControlLists.json"), &[("FriendlyName", "l")]);
    let addresses = format!("{sip}/IpAccessControlLists/{list}/IpAddresses.json");
    http.create(&addresses, &[("FriendlyName", "one"), ("IpAddress", "127.0.0.1")]);
    let mappings = format!("{sip}/Domains/{domain}/Auth/Calls/IpAccessControlListMappings.json");
    http.create(&mappings, &[("IpAccessControlListSid", &list)]);
    let contact = |answer: &str| header(answer, "Contact");
    let by_default = Some("<sip:14155550100@default.example>".to_owned());
    assert_eq!(contact(&ask(&server)), by_default);
    let domain = format!("{sip}/Domains/{domain}.json");
    for (target, code) in [("evil.example", 400), ("{host}", 400), ("gw.carrier.example", 200)] {
        let on_accept = format!("redirect:sip:{{user}}@{target}");
        let (status, body) = http.post(&domain, &[("OnAccept", &on_accept)]);
        assert_eq!(status, code, "{target}: {body}");
        let message = body["message"].as_str().unwrap_or("--next-hop-allow");
        assert!(message.contains("--next-hop-allow"), "{message}");
    }
    let forward = "forward:sip:pbx.carrier.example;transport=tcp";
    http.create("/v1/Trunks", &[("DomainName", "t.example"), ("OnAccept", forward)]);
    let own = Some("<sip:14155550100@gw.carrier.example>".to_owned());
    assert_eq!(contact(&ask(&server)), own);
    server.end("TERM");

    // the operator allows less: the call has no answer of another domain
    let server = Server::start(&default);
    server.stderr.wait_for(&format!(
        "warning: domain `{HOST}`: the next hop `gw.carrier.example` is not allowed"
    ));
    server
        .stderr
        .wait_for("warning: trunk `t.example`: the next hop `pbx.carrier.example` is not allowed");
    let answer = ask(&server);
    assert_eq!((status(&answer), contact(&answer)), (480, None), "{answer}");
    let http = Http::new(&server, sid, token);
    assert_eq!(http.post(&domain, &[("OnAccept", "")]).0, 200);
    assert_eq!(contact(&ask(&server)), by_default);
    server.end("TERM");
    let server = Server::start(&allowing);
    assert_eq!(contact(&ask(&server)), by_default);
}

#[test]
fn case_41_odd_request_uris_add_nothing_to_a_contact() {
    let config = "[[ip_access_control_lists]]\nname = 'here'\naddresses = ['127.0.0.1']\n\
                  [[domains]]\nname = 'sip.example.com'\nip_access_control_lists = ['here']\n";
    let path = file("edge.toml", config);
    let server = Server::start(&[
        "--config",
        path.to_str().unwrap(),
        "--default-domain",
        HOST,
        "--on-accept",
        "redirect:sip:{user}@gw.example;transport=tcp",
    ]);
    let caller = Caller::new(&server);
    for (uri, user) in [
        ("sip:1@sip.example.com;maddr=evil.example?Route=%3Csip:evil.example%3E", "1@"),
        ("sip:1:secret@sip.example.com:5080", "1@"),
        ("sip:a%3E%0d%0aContact:%20b@sip.example.com", "a%3E%0d%0aContact@"),
        (
            "sip:evil.example;maddr=evil.example?x@sip.example.com",
            "evil.example;maddr=evil.example?x@",
        ),
        ("sip:*21#@sip.example.com", "*21%23@"),
        ("sip:1@203.0.113.7;x=y", "1@"),
        ("tel:+1(415)555;phone-context=evil.example", "+1(415)555@"),
        ("tel:*21#;x=evil.example", "*21%23@"),
        ("urn:service:sos.police", ""),
    ] {
        let answer = caller.ask(&Request::invite(uri).to("<sip:1@there>").text());
        let contacts: Vec<_> =
            answer.lines().filter(|line| line.to_ascii_lowercase().contains("contact:")).collect();
        let expected = format!("Contact: <sip:{user}gw.example;transport=tcp>");
        assert_eq!((status(&answer), contacts), (302, vec![expected.as_str()]), "{uri}");
    }
    for uri in [
        "sip:1@evil.example@sip.example.com",
        "sip:1>@sip.example.com",
        "sip:1%@sip.example.com",
        "sip:{host}@sip.example.com",
        "sip:1@sip.example.com;x=\"",
        "tel:1@evil.example",
        "tel:1;x=<y>",
        "tel:%31",
        "urn:service:sos@evil.example",
    ] {
        let answer = caller.ask(&Request::invite(uri).to("<sip:1@there>").text());
        assert!([400, 416].contains(&status(&answer)), "{uri}: {answer}");
        assert_eq!(header(&answer, "Contact"), None, "{uri}");
    }
}
