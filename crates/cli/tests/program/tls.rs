//! SIP and HTTP over TLS, with the clients of OpenSSL and curl.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::connections::reserve_files;
use crate::support::{
    ADMIN_TOKEN, Caller, Lines, PATIENCE, Request, Server, file, header, outcome, run, status,
};
use crate::tcp;

const CONFIG: &str = r#"
realm = "example"
[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.1"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "correct horse" }]
[[domains]]
name = "secure.example"
secure = true
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
secure = true
credential_lists = ["staff"]
"#;

/// A certificate authority for one test.
struct Authority(PathBuf);

impl Authority {
    fn new() -> Self {
        let folder = file("edge.toml", CONFIG).parent().unwrap().to_owned();
        let authority = Self(folder);
        authority.make("ca", &["-subj", "/CN=the authority"]);
        authority
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Issues a certificate `edge.pem` with the key `edge.key` for this machine.
    fn issue(&self, subject: &str) {
        let (ca, key) = (self.path("ca.pem"), self.path("ca.key"));
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        let signed = ["-CA", &ca, "-CAkey", &key, "-addext", names];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-subj", subject];
        self.make("edge", &[&signed[..], &leaf].concat());
    }

    fn make(&self, name: &str, args: &[&str]) {
        let (pem, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-out", &pem, "-keyout", &key])
            .args(args)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
    }

    /// Starts a server with SIP over TLS, and returns it with its TLS address.
    fn serve(&self, more: &[&str]) -> (Server, SocketAddr) {
        let (config, pem, key) =
            (self.path("edge.toml"), self.path("edge.pem"), self.path("edge.key"));
        let args = ["--config", &config, "--on-accept", "ok", "--sips", "127.0.0.1:0"];
        let identity = ["--tls-cert", &pem, "--tls-key", &key];
        let server = Server::start(&[&args[..], &identity, more].concat());
        let line = server.stdout.wait_for("(tls)");
        let address = line.split(' ').nth(4).unwrap().parse().unwrap();
        (server, address)
    }
}

/// A connection of `openssl s_client`, which verifies the certificate.
struct Connection {
    child: Child,
    input: ChildStdin,
    output: Lines,
    lines: usize,
}

impl Connection {
    fn new(authority: &Authority, server: SocketAddr) -> Self {
        let ca = authority.path("ca.pem");
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &server.to_string(), "-CAfile", &ca])
            .args(["-verify_return_error", "-verify_ip", "127.0.0.1", "-quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: Lines::of(output), lines: 0 }
    }

    /// Waits for the end of the client, which ends with its connection.
    fn has_ended(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn ask(&mut self, request: &Request) -> String {
        self.input.write_all(request.text().as_bytes()).unwrap();
        self.input.flush().unwrap();
        // the head, up to the blank line
        let head = self.output.wait_from(self.lines, |line| line.is_empty());
        self.lines += head.len();
        let answer = head.join("\r\n");
        // the lines of the body
        let length: usize = header(&answer, "Content-Length").unwrap().parse().unwrap();
        let mut read = 0;
        while read < length {
            let body = self.output.wait_from(self.lines, |_| true);
            self.lines += 1;
            read += body.concat().len() + 2;
        }
        answer
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn domains_that_must_be_secure_are_reached() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (server, address) = authority.serve(&[]);
    let caller = Caller::new(&server);
    let via = format!("SIP/2.0/TLS {address};branch=z9hG4bK-tls");
    let request = |uri: &str| Request::invite(uri).via(&via);
    assert_eq!(status(&caller.ask(&Request::invite("sip:1@secure.example").text())), 488);

    let mut connection = Connection::new(&authority, address);
    let answer = connection.ask(&request("sip:1@secure.example"));
    assert_eq!(status(&answer), 200, "{answer}");
    let contact = format!("<sip:1@{address};transport=tls>");
    assert_eq!(header(&answer, "Contact"), Some(contact));
    // a SIPS Request-URI gets a SIPS Contact
    let answer = connection.ask(&request("sips:1@secure.example"));
    assert_eq!(header(&answer, "Contact"), Some(format!("<sips:1@{address}>")), "{answer}");

    let invite = request("sip:1@by-password.example");
    for (password, expected) in [("correct horse", 200), ("wrong", 403)] {
        let challenge = connection.ask(&invite);
        assert_eq!(status(&challenge), 407, "{challenge}");
        let answer = connection.ask(&invite.authorized(&challenge, "alice", password));
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

#[test]
fn plain_text_on_the_tls_port_gets_no_sip_answer() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (server, address) = authority.serve(&[]);
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(Request::new("OPTIONS", "sip:a").text().as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    // at most a TLS alert
    assert!(!answer.starts_with(b"SIP"), "{answer:?}");
    let mut connection = Connection::new(&authority, address);
    assert_eq!(status(&connection.ask(&Request::new("OPTIONS", "sip:a"))), 200);
    drop(connection);
    let totals = server.end("TERM");
    assert!(
        totals.contains("received 1, ") && totals.ends_with("connections closed 1"),
        "{totals}"
    );
}

#[test]
fn case_37_handshakes_take_places_that_newcomers_get() {
    let Some(_files) = reserve_files() else { return };
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (_server, address) = authority.serve(&[]);
    let request = Request::invite("sip:1@secure.example");
    let request = request.via(&format!("SIP/2.0/TLS {address};branch=z9hG4bK-tls"));
    let mut caller = Connection::new(&authority, address);
    assert_eq!(status(&caller.ask(&request)), 200);
    // they begin no handshake: from one address, then from many
    let one: Vec<_> = (0..1_100).map(|_| tcp::Connection::from([127, 3, 0, 1], address)).collect();
    let mut newcomer = Connection::new(&authority, address);
    assert_eq!(status(&newcomer.ask(&request)), 200);
    let many: Vec<_> = (0..1_100_u16)
        .map(|n| {
            tcp::Connection::from([127, 100 + n.to_be_bytes()[0], n.to_be_bytes()[1], 1], address)
        })
        .collect();
    let mut late = Connection::new(&authority, address);
    for connection in [&mut late, &mut newcomer, &mut caller] {
        assert_eq!(status(&connection.ask(&request)), 200);
    }
    drop((one, many));
}

#[test]
fn case_37_a_reload_closes_the_connections_of_a_removed_user() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (server, address) = authority.serve(&[]);
    let via = format!("SIP/2.0/TLS {address};branch=z9hG4bK-tls");
    let call = || {
        let mut connection = Connection::new(&authority, address);
        let invite = Request::invite("sip:1@by-password.example").via(&via);
        let challenge = connection.ask(&invite);
        let answer = connection.ask(&invite.authorized(&challenge, "alice", "correct horse"));
        assert_eq!(status(&answer), 200, "{answer}");
        connection
    };
    let mut alice = call();
    let mut stranger = Connection::new(&authority, address);
    let options = Request::new("OPTIONS", "sip:a").via(&via);
    assert_eq!(status(&stranger.ask(&options)), 200);
    // the same records: nothing is closed
    let config = authority.path("edge.toml");
    let mut lines = 0;
    let mut reload = |text: &str| {
        std::fs::write(&config, text).unwrap();
        server.signal("HUP");
        let line = format!("sip-authz: reloaded {config}: ");
        lines += server.stderr.wait_from(lines, |found| found.starts_with(&line)).len();
    };
    reload(CONFIG);
    assert_eq!(status(&alice.ask(&options)), 200);
    reload(&CONFIG.replace("correct horse", "another horse"));
    assert!(alice.has_ended());
    assert_eq!(status(&stranger.ask(&options)), 200);
}

#[test]
fn sighup_reloads_the_certificates_and_ignores_invalid_ones() {
    let authority = Authority::new();
    authority.issue("/CN=first");
    let (server, address) = authority.serve(&[]);
    let subject = || {
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let line = shown.lines().find(|line| line.starts_with("subject="));
        line.unwrap_or_else(|| panic!("{shown}")).replace([' '], "")
    };
    let mut connection = Connection::new(&authority, address);
    let mut asks = || status(&connection.ask(&Request::new("OPTIONS", "sip:a")));
    assert_eq!((subject(), asks()), ("subject=CN=first".to_owned(), 200));

    authority.issue("/CN=second");
    let pem = authority.path("edge.pem");
    server.signal("HUP");
    server.stderr.wait_for(&format!("sip-authz: reloaded {pem}"));
    // the open connection stays
    assert_eq!((subject(), asks()), ("subject=CN=second".to_owned(), 200));

    let key = Path::new(&authority.path("edge.key")).to_owned();
    let good = std::fs::read(&key).unwrap();
    for (content, part) in [
        (&b"no key"[..], "edge.key: expected a private key in PEM"),
        (
            &std::fs::read(authority.path("ca.key")).unwrap(),
            "edge.key: the key does not belong to the certificate in ",
        ),
    ] {
        std::fs::write(&key, content).unwrap();
        server.signal("HUP");
        let line = server.stderr.wait_for(part);
        assert!(line.ends_with("; the old certificate stays in use"), "{line}");
        assert_eq!((subject(), asks()), ("subject=CN=second".to_owned(), 200));
    }
    std::fs::write(&key, good).unwrap();
}

#[test]
fn http_over_tls() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (pem, key, ca) =
        (authority.path("edge.pem"), authority.path("edge.key"), authority.path("ca.pem"));
    // with a certificate a non-loopback address is allowed
    let args = ["--api-cert", &pem, "--api-key", &key, "--on-accept", "ok", "--api", "0.0.0.0:0"];
    let server = Server::start_at(None, ADMIN_TOKEN, &args);
    let port = server.api.port();
    let url = format!("https://localhost:{port}/2010-04-01/Accounts.json?PageSize=1");
    let user = format!("admin:{ADMIN_TOKEN}");
    let curl = |args: &[&str]| {
        let made = Command::new("curl").args(["-sS", "-u", &user]).args(args).output();
        let made = made.expect("curl");
        (made.status.success(), String::from_utf8(made.stdout).unwrap())
    };
    let api = format!("https://127.0.0.1:{port}");
    let command = |more: &[&str]| {
        let args = ["account", "create", "one", "--api", &api];
        outcome(&run(&[&args[..], more].concat()))
    };
    let (code, made, stderr) = command(&["--ca", &ca]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let account: Vec<_> = made.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    let (code, _, stderr) = command(&[]);
    assert!(code == Some(1) && stderr.contains("certificate"), "{stderr}");
    let (code, _, stderr) = command(&["--ca", &authority.path("edge.key")]);
    assert!(code == Some(2) && stderr.ends_with(", found a private key\n"), "{stderr}");

    let (done, listing) = curl(&["--cacert", &ca, &url]);
    assert!(done && listing.contains("\"accounts\""), "{listing}");
    // absolute links begin with the host of the request
    let user = account.join(":");
    let trunks = format!("https://localhost:{port}/v1/Trunks?PageSize=1");
    let (done, page) = curl(&["--cacert", &ca, "-u", &user, &trunks]);
    let base = format!("\"url\":\"https://localhost:{port}/v1/Trunks?");
    assert!(done && page.replace(": ", ":").contains(&base), "{page}");
    let (done, _) = curl(&[&url]);
    assert!(!done, "an untrusted certificate");
    let (done, _) = curl(&[&url.replace("https", "http")]);
    assert!(!done, "plain HTTP");
}

#[test]
fn old_versions_and_weak_ciphers_are_refused() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (server, sips) = authority.serve(&[]);
    let (pem, key) = (authority.path("edge.pem"), authority.path("edge.key"));
    let args = ["--api-cert", &pem, "--api-key", &key, "--on-accept", "ok"];
    let api = Server::start(&args);
    // whether the handshake succeeds; security level 0 disables OpenSSL's own checks
    let speaks = |address: SocketAddr, options: &[&str]| {
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains("CONNECTED"), "{options:?}: {shown:?}");
        shown.status.success() && !text.contains("Cipher is (NONE)")
    };
    for address in [sips, api.api] {
        for options in [
            &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
            &["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"],
        ] {
            assert!(!speaks(address, options), "{options:?}");
        }
        assert!(speaks(address, &["-tls1_2"]) && speaks(address, &["-tls1_3"]));
    }
    // a client that starts no handshake loses the connection
    let hasty = Server::start(&[&args[..], &["--api-head-timeout", "1s"]].concat());
    let mut silent = tcp::Connection::from([127, 0, 0, 1], hasty.api);
    assert!(silent.is_closed());
    drop(server);
}

#[test]
fn invalid_certificates_are_errors() {
    let authority = Authority::new();
    authority.issue("/CN=edge");
    let (pem, key) = (authority.path("edge.pem"), authority.path("edge.key"));
    let (other, missing) = (authority.path("ca.key"), authority.path("missing"));
    let serve = |args: &[&str]| {
        let all = ["serve", "--demo", "--sip", "127.0.0.1:0", "--api", "off"];
        outcome(&run(&[&all[..], args].concat()))
    };
    for (certificate, key, part) in [
        (&missing, &key, "missing: "),
        (&pem, &missing, "missing: "),
        (&key, &key, "found a private key"),
        (&pem, &pem, "edge.pem: "),
        (&pem, &other, "ca.key: the key does not belong to the certificate in "),
    ] {
        let (code, stdout, stderr) =
            serve(&["--sips", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{part}: {stderr}");
        assert!(stderr.starts_with("sip-authz: ") && stderr.contains(part), "{part}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    for args in [
        &["--sips", "127.0.0.1:0"][..],
        &["--tls-cert", &pem, "--tls-key", &key],
        &["--sips", "127.0.0.1:0", "--tls-cert", &pem],
        &["--api-cert", &pem],
    ] {
        assert_eq!(serve(args).0, Some(2), "{args:?}");
    }
}
