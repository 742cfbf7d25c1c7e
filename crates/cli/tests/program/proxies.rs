//! Callers behind a trusted proxy: hostile case 34.

use crate::metrics::SLOW_REFILL;
use crate::support::{Caller, Lines, Request, Server, file, header, run, status, verdict};

const CONFIG: &str = r#"
realm = "example"
[[ip_access_control_lists]]
name = "office"
addresses = ["198.51.100.7", "2001:db8::/64"]
[[ip_access_control_lists]]
name = "everybody"
addresses = [
  { address = "0.0.0.0/0", allow_all = true },
  { address = "::/0", allow_all = true },
]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "correct horse" }]
[[domains]]
name = "office.example"
ip_access_control_lists = ["office"]
[[domains]]
name = "everybody.example"
ip_access_control_lists = ["everybody"]
[[domains]]
name = "staff.example"
credential_lists = ["staff"]
"#;

/// A server that trusts the proxy at 127.0.0.1, and its decision log.
fn behind(options: &[&str]) -> (Server, Lines) {
    let config = format!("{CONFIG}{SLOW_REFILL}");
    let (config, log) = (file("edge.toml", &config), file("decisions.json", ""));
    let mut args = vec!["--config", config.to_str().unwrap(), "--on-accept", "ok"];
    args.extend(["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "2001:db8:1::/48"]);
    args.extend(["--log", "decisions", "--log-names", "--decision-log", log.to_str().unwrap()]);
    args.extend(["--decision-log-names", "--decision-log-rate", "unlimited"]);
    args.extend(options);
    let server = Server::start(&args);
    let lines = server.stderr.clone();
    (server, lines)
}

fn invite(domain: &str) -> Request {
    Request::invite(&format!("sip:1@{domain}.example"))
}

fn refused() -> (u16, Option<String>) {
    (403, Some("32201 address-not-listed".to_owned()))
}

#[test]
fn case_34_the_header_of_a_trusted_proxy_names_the_source() {
    let (server, log) = behind(&[]);
    let (proxy, other) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    let named = |domain, source| invite(domain).header("X-Authz-Source", source).text();
    for source in ["198.51.100.7:5061", "198.51.100.7", "[2001:db8::9]:5061"] {
        assert_eq!(verdict(&proxy.ask(&named("office", source))).0, 200, "{source}");
        // from anybody else it counts for nothing
        assert_eq!(verdict(&other.ask(&named("office", source))), refused(), "{source}");
        assert_eq!(verdict(&other.ask(&named("everybody", source))).0, 200, "{source}");
    }
    assert_eq!(verdict(&proxy.ask(&named("office", "198.51.100.8:1"))), refused());
    for source in ["198.51.100.7:5061, 198.51.100.7:5061", "x", "", "2001:db8::9:5061"] {
        assert_eq!(verdict(&proxy.ask(&named("office", source))), refused(), "{source:?}");
        assert_eq!(verdict(&proxy.ask(&named("everybody", source))), refused(), "{source:?}");
    }
    for domain in ["office", "everybody"] {
        assert_eq!(verdict(&proxy.ask(&invite(domain).text())), refused());
        let twice = invite(domain)
            .header("x-authz-source ", "198.51.100.7:1")
            .header("X-Authz-Source", "198.51.100.7:5061");
        assert_eq!(verdict(&proxy.ask(&twice.text())), refused());
    }
    log.wait_for(" source=198.51.100.7:5061");
    log.wait_for(" source=198.51.100.7:0");
    log.wait_for(" source=[2001:db8::9]:5061");
    log.wait_for(&format!(" source=127.0.0.2:{}", other.port()));
    log.wait_for(" source=unknown");
    let own = format!("source=127.0.0.1:{}", proxy.port());
    assert!(!log.all().iter().any(|line| line.contains(&own)), "{:?}", log.all());
}

#[test]
fn case_34_another_header_can_name_the_source() {
    let (server, _) = behind(&["--source-header", "X-Caller"]);
    let proxy = Caller::new(&server);
    let request = invite("office").header("X-Authz-Source", "198.51.100.7:5061");
    assert_eq!(verdict(&proxy.ask(&request.text())), refused());
    let request = invite("office").header("X-CALLER", "198.51.100.7:5061");
    assert_eq!(status(&proxy.ask(&request.text())), 200);
}

#[test]
fn case_34_the_via_below_that_of_a_trusted_proxy_names_the_source() {
    let (server, log) = behind(&["--source-from", "via"]);
    let (proxy, other) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    let sent = |below: &str| {
        let own = "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKp;rport".to_owned();
        invite("office").via(&format!("{own}\r\nVia: {below}")).text()
    };
    let right = "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKa;received=198.51.100.7;rport=5061";
    assert_eq!(status(&proxy.ask(&sent(right))), 200);
    assert_eq!(verdict(&other.ask(&sent(right))), refused());
    let chained = format!("SIP/2.0/UDP p;received=2001:db8:1::9;rport=1\r\nv: {right}");
    assert_eq!(status(&proxy.ask(&sent(&chained))), 200);
    let elsewhere = "SIP/2.0/UDP 10.0.0.9;received=203.0.113.1;rport=1";
    assert_eq!(verdict(&proxy.ask(&sent(&format!("{elsewhere}\r\nVia: {right}")))), refused());
    assert_eq!(verdict(&proxy.ask(&sent("SIP/2.0/UDP phone.example"))), refused());
    // the header says nothing in this mode
    let header = invite("office").header("X-Authz-Source", "198.51.100.7:5061");
    assert_eq!(verdict(&proxy.ask(&header.text())), refused());
    for twice in [format!("{right};received=203.0.113.1"), format!("{right};RPORT")] {
        let answer = proxy.ask(&sent(&twice));
        let line = "SIP/2.0 400 Bad Request (repeated received or rport in via)\r\n";
        assert!(answer.starts_with(line), "{answer}");
        // other requests decide nothing
        let options = sent(&twice).replace("INVITE", "OPTIONS");
        assert_eq!(status(&proxy.ask(&options)), 200);
    }
    log.wait_for(" source=198.51.100.7:5061");
    log.wait_for(" source=203.0.113.1:1");
    let line = log.wait_for("repeated received or rport in via");
    assert!(line.contains(" source=unknown "), "{line}");
}

#[test]
fn case_34_guesses_of_one_caller_behind_a_proxy_leave_the_others_alone() {
    let (server, log) = behind(&[]);
    let proxy = Caller::new(&server);
    let attempt = |source: Option<&str>, password: &str| {
        let request = match source {
            Some(source) => invite("staff").header("X-Authz-Source", source),
            None => invite("staff"),
        };
        let challenge = proxy.ask(&request.text());
        assert_eq!(status(&challenge), 407, "{challenge}");
        status(&proxy.ask(&request.authorized(&challenge, "alice", password).text()))
    };
    for guesser in [Some("203.0.113.5:5060"), None] {
        for number in 0..14 {
            assert_eq!(attempt(guesser, &format!("guess {number}")), 403);
        }
        assert_eq!(attempt(guesser, "correct horse"), 403, "{guesser:?} is limited");
        assert_eq!(attempt(Some("203.0.113.6:5060"), "correct horse"), 200);
    }
    log.wait_for("reason=too-many-guesses");

    // a nonce is bound to the caller, not to the proxy
    let request = invite("staff").header("X-Authz-Source", "203.0.113.6:5060");
    let challenge = proxy.ask(&request.text());
    let answered = request.authorized(&challenge, "alice", "correct horse").text();
    let elsewhere = answered.replace("203.0.113.6", "203.0.113.7");
    let stale = proxy.ask(&elsewhere);
    assert!(header(&stale, "Proxy-Authenticate").unwrap().contains("stale=true"), "{stale}");
    assert_eq!(status(&proxy.ask(&answered)), 200);
}

#[test]
fn case_34_the_file_names_the_proxies_and_the_command_line_wins() {
    let serve = |edge: &str, args: &[&str]| {
        let path = file("edge.toml", &format!("{CONFIG}\n[edge]\n{edge}\n"));
        let always = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
        Server::start(&[&always[..], args].concat())
    };
    let asked = |server: &Server, from: &str, header: &str| {
        let named = invite("office").header(header, "198.51.100.7:5061");
        status(&Caller::from(from, server).ask(&named.text()))
    };
    let edge = "trusted_proxy = ['127.0.0.1', '2001:db8:1::/48']\nsource_header = 'X-Caller'";
    let server = serve(edge, &[]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 200);
    assert_eq!(asked(&server, "127.0.0.1", "X-Authz-Source"), 403);
    assert_eq!(asked(&server, "127.0.0.2", "X-Caller"), 403);
    // the option replaces the whole key
    let server = serve(edge, &["--trusted-proxy", "127.0.0.2"]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 403);
    assert_eq!(asked(&server, "127.0.0.2", "X-Caller"), 200);
    let server = serve(edge, &["--source-header", "X-Other"]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Other"), 200);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 403);
    let via = format!("{edge}\nsource_from = 'via'");
    assert_eq!(asked(&serve(&via, &[]), "127.0.0.1", "X-Caller"), 403);
    let server = serve(&via, &["--source-from", "header"]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 200);
    // an option completes the file, and the file an option
    let server = serve("source_header = 'X-Caller'", &["--trusted-proxy", "127.0.0.1"]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 200);
    let server = serve("trusted_proxy = ['127.0.0.1']", &["--source-header", "X-Caller"]);
    assert_eq!(asked(&server, "127.0.0.1", "X-Caller"), 200);
    for (edge, option) in
        [("source_from = 'via'", "--source-from"), ("source_header = 'X-A'", "--source-header")]
    {
        let path = file("edge.toml", &format!("{CONFIG}\n[edge]\n{edge}\n"));
        let path = path.to_str().unwrap();
        let output = run(&["serve", "--sip", "127.0.0.1:0", "--on-accept", "ok", "--config", path]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains(&format!("{option} needs --trusted-proxy, as an option or in [edge]"))
        );
    }
}

#[test]
fn the_options_of_trusted_proxies_are_checked() {
    for (args, part) in [
        (&["--trusted-proxy", "0.0.0.0/0"][..], "not every address"),
        (&["--trusted-proxy", "::/0"], "not every address"),
        (&["--trusted-proxy", "192.0.2.1/24"], "host bits are set"),
        (&["--trusted-proxy", "proxy.example"], "--trusted-proxy"),
        (&["--source-from", "via"], "--trusted-proxy"),
        (&["--source-header", "X-A"], "--trusted-proxy"),
        (&["--trusted-proxy", "192.0.2.1", "--source-header", "Via"], "without another meaning"),
        (&["--trusted-proxy", "192.0.2.1", "--source-header", "X-A:"], "expected a header name"),
        (&["--trusted-proxy", "192.0.2.1", "--source-from", "to"], "header, via"),
    ] {
        let output = run(&[&["serve", "--on-accept", "ok"], args].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}
