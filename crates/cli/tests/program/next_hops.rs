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
    let own = Some("<sip:14155550100@gw.carrier.example>".to_owned());
    assert_eq!(contact(&ask(&server)), own);
    server.end("TERM");

    // the operator allows less: the call has no answer of another domain
    let server = Server::start(&default);
    server.stderr.wait_for(&format!(
        "warning: domain `{HOST}`: the next hop `gw.carrier.example` is not allowed"
    ));
    let answer = ask(&server);
    assert_eq!((status(&answer), contact(&answer)), (480, None), "{answer}");
    let http = Http::new(&server, sid, token);
    assert_eq!(http.post(&domain, &[("OnAccept", "")]).0, 200);
    assert_eq!(contact(&ask(&server)), by_default);
    server.end("TERM");
    let server = Server::start(&allowing);
    assert_eq!(contact(&ask(&server)), by_default);
}
