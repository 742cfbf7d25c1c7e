//! Listeners, the names that they give for themselves, and calls whose Request-URI names no domain.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use crate::support::{
    Caller, Lines, PATIENCE, Request, Server, file, free_port, header, outcome, run, status,
};

const CONFIG: &str = r#"
[[ip_access_control_lists]]
name = "here"
addresses = ["127.0.0.0/8", "::1"]
[[ip_access_control_lists]]
name = "nobody"
addresses = ["192.0.2.1"]
[[domains]]
name = "open.example"
ip_access_control_lists = ["here"]
[[domains]]
name = "closed.example"
ip_access_control_lists = ["nobody"]
"#;

/// Serves [`CONFIG`] with this table `[edge]` and these further options.
fn serve(edge: &str, args: &[&str]) -> Server {
    let path = file("edge.toml", &format!("{edge}\n{CONFIG}"));
    let always = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    Server::start(&[&always[..], args].concat())
}

/// The addresses of the lines `listening for SIP on ADDRESS (…)`, once the server has printed all.
fn addresses(stdout: &Lines) -> Vec<SocketAddr> {
    stdout.wait_for("serving ");
    let all = stdout.all();
    let lines = all.iter().filter(|line| line.starts_with("listening for SIP on "));
    lines.map(|line| line.split(' ').nth(4).unwrap().parse().unwrap()).collect()
}

/// Sends a request to `to` over UDP from the loopback address of its family.
fn ask(to: SocketAddr, request: &Request) -> String {
    let from = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(request.text().as_bytes(), to).unwrap();
    let mut buffer = [0; 65_535];
    let (length, source) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(source.port(), to.port());
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn all_listeners_answer() {
    let server = serve("", &["--sip", "localhost:0", "--sip", "127.0.0.2:0"]);
    let addresses = addresses(&server.stdout);
    assert!(addresses.len() >= 3, "{addresses:?}");
    for address in &addresses {
        let answer = ask(*address, &Request::invite("sip:1@open.example"));
        assert_eq!(status(&answer), 200, "{address}: {answer}");
        let contact = header(&answer, "Contact").unwrap();
        assert_eq!(contact, format!("<sip:1@{address}>"));
        TcpStream::connect(address).unwrap();
    }
    assert!(server.end("TERM").contains("received 3") || addresses.len() > 3);
}

#[test]
fn both_wildcard_addresses_share_a_port() {
    for wildcards in
        [&["0.0.0.0", "[::]"][..], &["[::]", "0.0.0.0"], &["0.0.0.0", ""], &["[::]"], &[""]]
    {
        let port = free_port();
        let all: Vec<_> = wildcards.iter().map(|wildcard| format!("{wildcard}:{port}")).collect();
        let args: Vec<_> = all.iter().flat_map(|address| ["--sip", address]).collect();
        let server = serve("", &args);
        assert_eq!(addresses(&server.stdout).len(), 1 + wildcards.len(), "{wildcards:?}");
        for ip in ["127.0.0.1", "[::1]", "127.0.0.3"] {
            let to: SocketAddr = format!("{ip}:{port}").parse().unwrap();
            let answer = ask(to, &Request::invite("sip:1@open.example"));
            assert_eq!(status(&answer), 200, "{wildcards:?} {to}: {answer}");
            TcpStream::connect(to).unwrap();
        }
        let stdout = server.stdout.all();
        assert!(!stdout.iter().any(|line| line.contains("loopback only")), "{stdout:?}");
    }
}

#[test]
fn a_start_on_loopback_alone_says_how_to_change_it() {
    let server = Server::demo();
    let line = "listening on loopback only; callers on other machines need --sip :5060";
    assert_eq!(server.stdout.wait_for("loopback only"), line);
}

#[test]
fn callers_see_the_advertised_address() {
    let port = free_port();
    let listener = format!("127.0.0.2:{port}");
    let edge = format!(
        "[edge]\nsip = [\"{listener},advertise=edge.example.com:5080\", \"127.0.0.3:0\"]\n\
         advertise = \"203.0.113.7:5070\""
    );
    let path = file("edge.toml", &format!("{edge}\n{CONFIG}"));
    // no --sip: the file has the listeners
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["serve", "--api", "off", "--on-accept", "ok", "--config", path.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let [named, numbered] = addresses(&stdout)[..] else { panic!("{:?}", stdout.all()) };
    assert_eq!(named.to_string(), listener);
    stdout.wait_for(&format!("callers of {listener} see edge.example.com:5080"));
    let answer = ask(named, &Request::invite("sip:1@open.example"));
    assert_eq!(header(&answer, "Contact").unwrap(), "<sip:1@edge.example.com:5080>");
    assert!(answer.contains("c=IN IP4 127.0.0.2\r\n"), "{answer}");
    let answer = ask(numbered, &Request::invite("sip:1@open.example"));
    assert_eq!(header(&answer, "Contact").unwrap(), "<sip:1@203.0.113.7:5070>");
    assert!(answer.contains("o=- 0 0 IN IP4 203.0.113.7\r\n"), "{answer}");
    assert!(answer.contains("c=IN IP4 203.0.113.7\r\n"), "{answer}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_command_line_wins_over_the_file() {
    let edge = "[edge]\nsip = [\"192.0.2.1:1\"]\nadvertise = \"file.example\"\n\
                default_domain = [\"closed.example\"]";
    let args = ["--advertise", "203.0.113.9", "--default-domain", "open.example"];
    let server = serve(edge, &args);
    let answer = ask(server.address, &Request::invite("tel:911"));
    assert_eq!(status(&answer), 200, "{answer}");
    let contact = format!("<sip:203.0.113.9:{}>", server.address.port());
    assert_eq!(header(&answer, "Contact"), Some(contact));
}

#[test]
fn a_changed_table_needs_a_restart() {
    let path = file("edge.toml", &format!("[edge]\ndefault_domain = [\"to\"]\n{CONFIG}"));
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    let change = |text: &str| {
        let start = server.stderr.all().len();
        std::fs::write(&path, format!("{text}\n{CONFIG}")).unwrap();
        server.signal("HUP");
        server.stderr.wait_from(start, |line| line.contains("reloaded"));
        server.stderr.all()[start..].join("\n")
    };
    assert!(!change("[edge]\ndefault_domain = ['to'] # the same").contains("restart"));
    assert!(
        change("")
            .contains("[edge] of the configuration file has changed; it applies after a restart")
    );
    // until then the old one applies
    let answer = ask(server.address, &Request::invite("tel:911").to("<sip:911@open.example>"));
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn invalid_listeners_are_errors() {
    let (taken, port) = (UdpSocket::bind("127.0.0.1:0").unwrap(), free_port());
    let taken = taken.local_addr().unwrap().to_string();
    for (args, part) in [
        (&["--sip", "5060"][..], "found `5060`; write `:5060` for all addresses"),
        (&["--sip", "127.0.0.1:x"], "expected a port from 0 to 65535, found `x`"),
        (&["--sip", "::1:5060"], "needs brackets before a port: `[::1]:5060`"),
        (
            &["--sip", "no-such-host.invalid"],
            "--sip no-such-host.invalid: the name cannot be resolved",
        ),
        (&["--sip", "192.0.2.1:5060"], "192.0.2.1:5060 (udp): not an address of this machine"),
        (&["--sip", &taken], "(udp): address already in use"),
        (
            &["--sip", &format!("0.0.0.0:{port}"), "--sip", &format!("127.0.0.1:{port}")],
            "listens on this address too",
        ),
        (&["--sip", ":0,advertise=0.0.0.0"], "callers cannot reach `0.0.0.0`"),
        (&["--sip", ":0,port=1"], "expected `advertise=HOST[:PORT]`, `domain=NAME` or `inside`"),
        (&["--advertise", "a:0"], "expected a port from 1 to 65535, found `0`"),
        (&["--default-domain", "from "], "expected `listener`, `route`, `to` or a domain name"),
        (
            &["--default-domain", "a,b,c,d,e"],
            "--default-domain: expected at most 4 values, found 5",
        ),
    ] {
        let (code, stdout, stderr) = outcome(&run(&[&["serve", "--demo"], args].concat()));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
}

#[test]
fn a_call_that_names_no_domain_is_decided_by_the_sources_in_order() {
    let sip = "127.0.0.1:0,domain=closed.example";
    let server = serve("", &["--sip", sip, "--default-domain", "route,to,listener"]);
    let second = addresses(&server.stdout)[1];
    let (open, closed) = ("<sip:911@open.example>", "<sip:911@closed.example>");
    let route = |uri: &str| format!("<sip:{uri};lr>, <sip:open.example;lr>");
    for uri in ["tel:911", "urn:service:sos", "sip:911@203.0.113.7", "sip:911@127.0.0.1"] {
        let request = |to: &str| Request::invite(uri).to(to);
        for (request, expected) in [
            (request(open), 200),
            (request(closed), 403),
            (request(open).header("Route", &route("closed.example")), 403),
            (request(closed).header("Route", &route("p@open.example:5070")), 200),
            (request(open).header("Route", &route("127.0.0.1")), 200),
            (request(open).header("Route", "garbage"), 200),
        ] {
            for to in [server.address, second] {
                assert_eq!(status(&ask(to, &request)), expected, "{uri} {}", request.text());
            }
        }
        // nothing names a domain but the second listener
        let plain = if uri.starts_with("sip:") { 404 } else { 416 };
        let nothing = request("<tel:911>");
        assert_eq!(status(&ask(server.address, &nothing)), plain, "{uri}");
        assert_eq!(status(&ask(second, &nothing)), 403, "{uri}");
        // the connection belongs to the listener, whatever its local address is
        assert_eq!(status(&over_tcp(second, &nothing)), 403, "{uri}");
        assert_eq!(status(&over_tcp(server.address, &nothing)), plain, "{uri}");
    }
    // a host that names a domain is not replaced, and a malformed one not either
    let caller = Caller::new(&server);
    let call = |uri| status(&caller.ask(&Request::invite(uri).to(open).text()));
    assert_eq!(call("sip:911@closed.example"), 403);
    assert_eq!(call("sip:@203.0.113.7"), 400);
    assert_eq!(call("http://open.example/"), 416);
}

#[test]
fn a_redirect_keeps_the_number_of_a_call_without_a_host() {
    let path = file("edge.toml", CONFIG);
    let server = Server::start(&[
        "--config",
        path.to_str().unwrap(),
        "--default-domain",
        "open.example",
        "--on-accept",
        "redirect:gw.example.net,sip:{user}@{host}",
    ]);
    for (uri, contacts) in [
        (
            "tel:+1-415-555-0100;x=y",
            ["+1-415-555-0100@gw.example.net", "+1-415-555-0100@open.example"],
        ),
        ("tel:911", ["911@gw.example.net", "911@open.example"]),
        ("sip:100@203.0.113.7", ["100@gw.example.net", "100@203.0.113.7"]),
        ("urn:service:sos", ["gw.example.net", "open.example"]),
    ] {
        let answer = ask(server.address, &Request::invite(uri));
        assert_eq!(status(&answer), 302, "{answer}");
        let found: Vec<_> = answer.lines().filter(|line| line.starts_with("Contact:")).collect();
        let expected = contacts.map(|contact| format!("Contact: <sip:{contact}>"));
        let is_loop = uri.starts_with("sip:");
        assert_eq!(found, expected[..if is_loop { 1 } else { 2 }], "{uri}");
    }
}

/// Sends a request over TCP, and reads the head of its answer.
fn over_tcp(to: SocketAddr, request: &Request) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.text().as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut part = [0; 4_096];
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..length]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn credentials_for_a_call_without_a_host_cover_its_request_uri() {
    let config = r#"
        realm = "example"
        [edge]
        default_domain = ["to"]
        [[credential_lists]]
        name = "staff"
        credentials = [{ username = "alice", password = "secret word" }]
        [[domains]]
        name = "a.example"
        credential_lists = ["staff"]
        policy = { uri_check = "equivalent" }
    "#;
    let server = Server::config(config);
    let caller = Caller::new(&server);
    let request = Request::invite("tel:+14155550100").to("<sip:+14155550100@a.example>");
    let challenge = caller.ask(&request.text());
    assert_eq!(status(&challenge), 407, "{challenge}");
    let answered = request.authorized(&challenge, "alice", "secret word");
    let moved = answered.text().replace("INVITE tel:+14155550100 ", "INVITE tel:+19005550100 ");
    assert_eq!(status(&caller.ask(&moved)), 400, "another number");
    assert_eq!(status(&caller.ask(&answered.text())), 200);
}
