//! Starting, reloading, logging and ending.

use std::net::{TcpListener, UdpSocket};

use sip_authz_testing::loopback::unused_addresses;

use crate::support::{
    Caller, Lines, PATIENCE, Request, Server, file, header, outcome, run, set_mode, status,
};

const ONE: &str = "[[ip_access_control_lists]]\nname = 'l'\naddresses = ['127.0.0.1']\n\
                   [[domains]]\nname = 'one.example'\nip_access_control_lists = ['l']\n";

#[test]
fn the_demo_prints_its_records_and_commands_that_work() {
    let server = Server::demo();
    server.stdout.wait_for("  sipp ");
    let printed = server.stdout.all().join("\n");
    for part in [
        &format!("listening for SIP on {} (udp and tcp)", server.address),
        "nothing is stored",
        "by-address.example",
        "by-password.example",
        "127.0.0.1/32",
        &format!(
            "sipsak -vv -f crates/acceptance/interop/by-address.sip -s sip:100@{}",
            server.address
        ),
        "--password=wrong",
        "-sf crates/acceptance/interop/auth.xml -key domain by-password.example",
    ] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "colour in a pipe");
    // the files that the commands name exist
    for word in printed.split_whitespace().filter(|word| word.starts_with("crates/")) {
        assert!(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(word).exists(),
            "{word}"
        );
    }

    let password = server.stdout.wait_for("password ").rsplit(' ').next().unwrap().to_owned();
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:100@by-password.example");
    let challenge = caller.ask(&invite.text());
    assert_eq!(status(&challenge), 407);
    let right = invite.authorized(&challenge, "alice", &password);
    assert_eq!(status(&caller.ask(&right.text())), 200);
    let challenge = caller.ask(&invite.text());
    let wrong = invite.authorized(&challenge, "alice", "wrong");
    assert_eq!(status(&caller.ask(&wrong.text())), 403);

    let invite = Request::invite("sip:100@by-address.example").text();
    assert_eq!(status(&caller.ask(&invite)), 200);
    assert_eq!(status(&Caller::from("127.0.0.2", &server).ask(&invite)), 403);
    assert_eq!(
        server.end("INT"),
        "totals: received 6, accepted 2, challenged 2, rejected 2 (address-not-listed 1, \
         wrong-credentials 1), otherwise answered 0, ignored 0, dropped 0, not sent 0, shed 0, \
         connections closed 0"
    );
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    // of an address whose ports no other test uses
    let [udp, tcp] = unused_addresses(2)[..] else { panic!() };
    let (udp, tcp) = (UdpSocket::bind(udp).unwrap(), TcpListener::bind(tcp).unwrap());
    for (address, transport) in
        [(udp.local_addr().unwrap(), "udp"), (tcp.local_addr().unwrap(), "tcp")]
    {
        let output = run(&["serve", "--demo", "--api", "off", "--sip", &address.to_string()]);
        let message = format!("sip-authz: {address} ({transport}): address already in use\n");
        assert_eq!(outcome(&output), (Some(2), String::new(), message));
    }
    // the threads of one process share its port, another process cannot
    let server = Server::start(&["--demo", "--udp-workers", "3"]);
    let address = server.address.to_string();
    let serve = ["serve", "--demo", "--api", "off", "--sip"];
    let output = run(&[&serve[..], &[&address, "--udp-workers", "3"]].concat());
    let message = format!("sip-authz: {address} (udp): address already in use\n");
    assert_eq!(outcome(&output), (Some(2), String::new(), message));
    let output = run(&[&serve[..], &["192.0.2.1:5060"]].concat());
    let message = "sip-authz: 192.0.2.1:5060 (udp): not an address of this machine\n".to_owned();
    assert_eq!(outcome(&output), (Some(2), String::new(), message));
}

#[test]
fn invalid_command_lines_are_errors() {
    for (args, part) in [
        (&["serve"][..], "--on-accept <ok|redirect:TARGET|forward:HOP>"),
        (&["serve", "--demo", "--api", "8080"], "expected an IP address and port, or `off`"),
        (&["serve", "--demo", "--cors-origin", "*"], "expected an origin such as"),
        (&["serve", "--demo", "--permission", "a b"], "--permission: `a b` is not a permission"),
        (&["serve", "--demo", "--realm", "a\"b"], "must not be in a realm"),
        (&["serve", "--demo", "--domain-suffix", "a b"], "`a b` is not a host name"),
        (&["serve", "--demo", "--config", "x"], "cannot be used with"),
        (&["serve", "--config", "x"], "--on-accept <ok|redirect:TARGET|forward:HOP>"),
        (&["serve", "--demo", "--on-accept", "redirect:tel:1"], "unsupported uri scheme"),
        (
            &["serve", "--demo", "--on-accept", "no"],
            "expected `ok`, or `redirect:` or `forward:` and a SIP URI or host",
        ),
        (
            &["serve", "--demo", "--on-accept", "redirect:sip:{nr}@gw"],
            "unknown placeholder `{nr}` at position 14",
        ),
        (
            &["serve", "--demo", "--on-accept", "forward:pbx1, pbx2;maddr=192.0.2.1"],
            "hop at position 15: unknown parameter `maddr`",
        ),
        (&["serve", "--demo", "--next-hop-allow", "gw:0"], "expected a port from 1 to 65535"),
        (&["serve", "--demo", "--udp-workers", "0"], "0 is not in 1..=1024"),
        (&["serve", "--demo", "--sip", "here:5060:x"], "`here:5060:x` is not an IPv6 address"),
        (&["serve", "--demo", "--log-names"], "--log <decisions|refused|1/N|none>"),
        (&["check", "--config", "x", "f"], "--source <IP>"),
        (&[], "Usage: sip-authz <COMMAND>"),
    ] {
        let (code, stdout, stderr) = outcome(&run(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
    for (args, part) in [
        (&["--version"][..], concat!("sip-authz ", env!("CARGO_PKG_VERSION"))),
        (&["--help"], "check"),
        (&["serve", "--help"], "SIGHUP"),
        (&["check", "--help"], "Exit code: 0 accepted"),
    ] {
        let (code, stdout, _) = outcome(&run(args));
        assert_eq!(code, Some(0), "{args:?}");
        assert!(stdout.contains(part), "{args:?}: {stdout}");
    }
}

#[test]
fn sighup_reloads_the_file_and_ignores_an_invalid_one() {
    let path = file("edge.toml", ONE);
    let name = path.to_str().unwrap();
    let server = Server::start(&["--config", name, "--on-accept", "ok"]);
    let caller = Caller::new(&server);
    let ask =
        |domain: &str| status(&caller.ask(&Request::invite(&format!("sip:1@{domain}")).text()));
    assert_eq!((ask("one.example"), ask("two.example")), (200, 404));

    std::fs::write(&path, ONE.replace("one.example", "two.example")).unwrap();
    server.signal("HUP");
    server.stderr.wait_for(&format!("sip-authz: reloaded {name}"));
    assert_eq!((ask("one.example"), ask("two.example")), (404, 200));

    std::fs::write(&path, ONE.replace("['l']", "['m']")).unwrap();
    server.signal("HUP");
    let line = server.stderr.wait_for("; the old state stays in use");
    assert_eq!(
        line,
        format!(
            "sip-authz: {name}:6:28: domains[0].ip_access_control_lists[0]: there is no IP access \
             control list `m`; the old state stays in use"
        )
    );
    assert_eq!((ask("one.example"), ask("two.example")), (404, 200));

    std::fs::write(&path, ONE.replace("['l']", "['m', 'n']")).unwrap();
    server.signal("HUP");
    let line = server.stderr.wait_for("errors in");
    assert_eq!(line, format!("sip-authz: 2 errors in {name}; the old state stays in use"));

    std::fs::remove_file(&path).unwrap();
    server.signal("HUP");
    server.stderr.wait_for(&format!("{name}: no such file; the old state stays in use"));
    assert_eq!(ask("two.example"), 200);
    server.end("TERM");
}

#[test]
fn captured_credentials_are_stale_after_a_restart() {
    let secret = "realm = 'r'\n[[credential_lists]]\nname = 'l'\n\
                  credentials = [{ username = 'u', password = 'p' }]\n\
                  [[domains]]\nname = 'one.example'\ncredential_lists = ['l']\n";
    let invite = Request::invite("sip:1@one.example");
    let first = Server::config(secret);
    let caller = Caller::new(&first);
    let challenge = caller.ask(&invite.text());
    let used = invite.authorized(&challenge, "u", "p");
    assert_eq!(status(&caller.ask(&used.text())), 200);
    let unused = invite.authorized(&caller.ask(&invite.text()), "u", "p");
    first.end("TERM");

    let second = Server::config(secret);
    let caller = Caller::new(&second);
    for captured in [used, unused] {
        let again = caller.ask(&captured.text());
        assert_eq!(status(&again), 407);
        assert!(header(&again, "Proxy-Authenticate").unwrap().contains("stale=true"), "{again}");
    }
    let challenge = caller.ask(&invite.text());
    assert_eq!(status(&caller.ask(&invite.authorized(&challenge, "u", "p").text())), 200);
}

#[test]
fn sighup_does_not_end_a_demo() {
    let server = Server::demo();
    server.signal("HUP");
    server.stderr.wait_for("SIGHUP: nothing to reload without --config");
    assert_eq!(status(&Caller::new(&server).ask(&Request::new("OPTIONS", "sip:a").text())), 200);
}

#[test]
fn a_readable_file_with_passwords_is_a_warning() {
    let secret = "realm = 'r'\n[[credential_lists]]\nname = 'l'\n\
                  credentials = [{ username = 'u', password = 'p' }]\n";
    for (text, mode, warned) in [(secret, 0o644, true), (secret, 0o640, false), (ONE, 0o644, false)]
    {
        let path = file("edge.toml", text);
        set_mode(&path, mode);
        let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
        let stderr = server.stderr.clone();
        server.end("TERM");
        let warning = format!("warning: {}: the file holds passwords", path.display());
        let warnings = stderr.all();
        let found = warnings.iter().filter(|line| line.contains(&warning)).count();
        assert_eq!(found, usize::from(warned), "{mode:o}: {warnings:?}");
    }
}

#[test]
fn decisions_and_names_are_logged_only_with_their_options() {
    let log = |args: &[&str]| {
        let server = Server::start(&[&["--demo"], args].concat());
        let password = server.stdout.wait_for("password ").rsplit(' ').next().unwrap().to_owned();
        let caller = Caller::new(&server);
        let invite = Request::invite("sip:100@by-password.example");
        let challenge = caller.ask(&invite.text());
        caller.ask(&invite.authorized(&challenge, "alice", &password).text());
        caller.ask(&Request::invite("sip:100@nowhere.example").text());
        if !args.is_empty() {
            server.stderr.wait_for("reason=unknown-host");
        }
        let stderr = server.stderr.clone();
        server.end("TERM");
        (stderr.all(), password)
    };
    assert!(log(&[]).0.is_empty());
    let (lines, password) = log(&["--log", "decisions"]);
    let [challenge, accept, reject] = &lines[..] else { panic!("{lines:?}") };
    assert!(challenge.starts_with("challenge target=SD"), "{challenge}");
    let end = " status=407 stale=false transport=udp cause=no-credentials \
               domain=by-password.example";
    assert!(challenge.ends_with(end), "{challenge}");
    assert!(accept.starts_with("accept target=SD") && accept.contains(" user=CR"), "{accept}");
    assert_eq!(reject, "reject target=- status=404 reason=unknown-host transport=udp");
    let all = lines.join("\n");
    for secret in ["alice", "127.0.0.1", password.as_str(), "nowhere", "caller"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let (lines, _) = log(&["--log", "refused"]);
    assert_eq!(lines, ["reject target=- status=404 reason=unknown-host transport=udp"]);
    let (lines, _) = log(&["--log", "1/2"]);
    assert!(lines.len() == 2 && lines[0].starts_with("challenge "), "{lines:?}");
    let (lines, password) = log(&["--log", "decisions", "--log-names"]);
    let all = lines.join("\n");
    assert!(all.contains("username=\"alice\"") && all.contains("source=127.0.0.1:"), "{all}");
    assert!(!all.contains(&password));
}

#[test]
fn a_blocked_stderr_delays_no_call() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["serve", "--demo", "--sip", "127.0.0.1:0", "--api", "off", "--log", "decisions"])
        .args(["--log-rate", "unlimited", "--udp-workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let address = stdout.wait_for("listening for SIP on ").split(' ').nth(4).unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // more lines than a pipe and the queue can hold
    for _ in 0..4_000 {
        socket.send(Request::invite("sip:1@nowhere.example").text().as_bytes()).unwrap();
        assert!(socket.recv(&mut [0; 2_048]).is_ok(), "no answer");
    }
    let stderr = Lines::of(child.stderr.take().unwrap());
    let lost = stderr.wait_for(" lines of --log are lost");
    let lost: usize = lost.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((1..4_000).contains(&lost), "{lost}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_closed_stdout_does_not_end_it() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["serve", "--demo", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_domain_that_many_phones_fail_at_is_named_at_the_start() {
    for (offer, warns) in [("md5-first", false), ("sha256-first", true)] {
        let server = Server::config(&format!("{ONE}policy = {{ algorithms = '{offer}' }}\n"));
        let stderr = server.stderr.clone();
        server.end("TERM");
        let lines = stderr.all();
        let found = lines.iter().any(|line| {
            line.contains("(one.example) offers several algorithms, SHA-256 first: many phones")
        });
        assert_eq!(found, warns, "{offer}: {lines:?}");
    }
}
