//! The commands about recent decisions: `why`, `tail` and `limits`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    ADMIN_TOKEN, Caller, Lines, PATIENCE, Request, Server, client, outcome, run, status,
};

const CONFIG: &str = "realm = 'r'\n\
    [[accounts]]\nname = 'acme'\nsid = 'AC11111111111111111111111111111111'\n\
    token_sha256 = '3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0'\n\
    [[accounts]]\nname = 'other'\n\
    [[credential_lists]]\nname = 'staff'\naccount = 'acme'\n\
    credentials = [{ username = 'alice', password = 'Correct-Horse-7' }]\n\
    [[domains]]\nname = 'a.example'\naccount = 'acme'\ncredential_lists = ['staff']\n\
    [[domains]]\nname = 'b.example'\naccount = 'other'\n";

/// Calls as alice with this password; returns the statuses.
fn call(server: &Server, password: &str) -> [u16; 2] {
    let caller = Caller::new(server);
    let invite = Request::invite("sip:100@a.example").header("User-Agent", "test phone");
    let first = caller.ask(&invite.text());
    let second = caller.ask(&invite.authorized(&first, "alice", password).text());
    [status(&first), status(&second)]
}

fn ask(server: &Server, host: &str) -> u16 {
    status(&Caller::new(server).ask(&Request::invite(&format!("sip:100@{host}")).text()))
}

/// Waits until a server has kept this number of decisions: a thread keeps them after it has answered.
fn wait_for_decisions(server: &Server, count: usize) {
    let fits = |rows: &[Value]| rows.len() == count;
    crate::recent::wait(&crate::http::Http::admin(server), "", fits);
}

/// Runs a command against a server.
fn asked(server: &Server, args: &[&str]) -> (Option<i32>, String, String) {
    let api = format!("http://{}", server.api);
    outcome(&run(&[args, &["--api", &api]].concat()))
}

/// The causes that `why --json` finds, newest first.
fn causes(server: &Server, args: &[&str]) -> Vec<String> {
    let (_, text, stderr) = asked(server, &[&["why", "--json"], args].concat());
    assert_eq!(stderr, "");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let refusals = answer["refusals"].as_array().unwrap();
    refusals.iter().map(|one| one["cause"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn why_explains_the_last_refusals_of_a_selection() {
    let server = Server::config(CONFIG);
    assert_eq!(ask(&server, "nowhere.example"), 404);
    assert_eq!(ask(&server, "b.example"), 403);
    assert_eq!(call(&server, "wrong"), [407, 403]);
    assert_eq!(call(&server, "Correct-Horse-7"), [407, 200]);
    wait_for_decisions(&server, 6);

    let (code, text, stderr) = asked(&server, &["why", "--domain", "A.example", "--user", "alice"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{text}");
    for line in [
        "  reject 403  a.example\n",
        "\n  call      user alice, From caller, sent INVITE for 100 at a.example from 127.0.0.1:",
        "\n  client    User-Agent \"test phone\", Call-ID ",
        "\n  answer    403 (wrong-credentials, code 32202)\n",
        "passed  the host is that of the domain a.example (SD",
        "passed  the user is enabled\n",
        "FAILED  the user exists, and the digest is wrong\n",
        "\n  cause     the user exists, and the digest is wrong (wrong-password)\n",
        "\n  to do     compare the password in the client, or set it again",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    // the accepted call and the challenges of both calls are no refusals
    assert_eq!(causes(&server, &[]), ["wrong-password", "nothing-mapped", "unknown-host"]);
    assert_eq!(causes(&server, &["--last", "1"]), ["wrong-password"]);
    assert_eq!(causes(&server, &["--domain", "nowhere.example"]), ["unknown-host"]);
    assert_eq!(causes(&server, &["--source", "192.0.2.0/24"]), [""; 0]);
    assert_eq!(causes(&server, &["--source", "127.0.0.0/8", "--last", "2"]).len(), 2);
}

#[test]
fn why_says_what_it_asked_if_it_finds_nothing() {
    let server = Server::config(CONFIG);
    let (code, text, _) = asked(&server, &["why", "--domain", "a.example", "--user", "bob"]);
    assert_eq!(code, Some(1));
    let start = format!(
        "no refusal is kept for domain a.example, user bob\nasked http://{} as the admin\n",
        server.api
    );
    assert!(text.starts_with(&start), "{text}");
    assert_eq!(call(&server, "Correct-Horse-7"), [407, 200]);
    wait_for_decisions(&server, 2);
    let (code, text, _) = asked(&server, &["why", "--domain", "a.example"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("- the call was accepted: the last accepted request was at "), "{text}");
    // a usage error
    assert_eq!(asked(&server, &["why", "--last", "0"]).0, Some(2));
}

#[test]
fn an_account_sees_its_own_refusals_only() {
    let server = Server::config(CONFIG);
    assert_eq!(ask(&server, "nowhere.example"), 404);
    assert_eq!(ask(&server, "b.example"), 403);
    assert_eq!(call(&server, "wrong"), [407, 403]);
    wait_for_decisions(&server, 4);
    let why = |args: &[&str]| {
        let api = format!("http://{}", server.api);
        let mut command = client(&[&["why", "--api", &api], args].concat());
        command.env("SIP_AUTHZ_ACCOUNT_SID", format!("AC{}", "1".repeat(32)));
        outcome(&command.env("SIP_AUTHZ_AUTH_TOKEN", "token").output().unwrap())
    };
    let (code, text, stderr) = why(&[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(text.contains("(wrong-password)") && !text.contains("(nothing-mapped)"), "{text}");
    assert!(!text.contains("nowhere.example"), "{text}");
    let (code, text, _) = why(&["--domain", "nowhere.example"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("only the admin sees requests for other hosts"), "{text}");
}

/// A running `sip-authz tail`.
struct Tail {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Tail {
    fn start(api: SocketAddr, args: &[&str]) -> Self {
        let mut command = client(&[&["tail", "--api", &format!("http://{api}")], args].concat());
        command.env("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Repeats `make` until the stream has a line with `part`: the stream begins at some time.
    fn line(&self, part: &str, make: impl Fn()) -> String {
        let start = Instant::now();
        loop {
            make();
            std::thread::sleep(Duration::from_millis(100));
            if let Some(line) = self.stdout.all().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            assert!(start.elapsed() < PATIENCE, "no {part} in {:?}", self.stderr.all());
        }
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(
            std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
        );
    }

    fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

#[test]
fn tail_prints_decisions_as_they_are_made_and_ends_on_signals() {
    let server = Server::config(CONFIG);
    for signal in ["INT", "TERM"] {
        let tail = Tail::start(server.api, &["--refused", "--domain", "a.example"]);
        let line = tail.line("a.example", || {
            assert_eq!(ask(&server, "nowhere.example"), 404);
            assert_eq!(call(&server, "wrong"), [407, 403]);
        });
        assert!(
            line.contains("  reject 403     a.example  alice -> 100  from 127.0.0.1:"),
            "{line}"
        );
        assert!(line.ends_with("  the user exists, and the digest is wrong"), "{line}");
        // no colours in a pipe, and neither challenges nor other hosts
        let all = tail.stdout.all().join("\n");
        assert!(!all.contains('\u{1b}') && !all.contains("challenge"), "{all}");
        assert!(!all.contains("nowhere"), "{all}");
        tail.signal(signal);
        assert_eq!(tail.ended().code(), Some(0), "{signal}");
    }
    let tail = Tail::start(server.api, &["--json"]);
    let line = tail.line("unknown-host", || assert_eq!(ask(&server, "nowhere.example"), 404));
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["host"], "nowhere.example");
    tail.signal("INT");
    assert_eq!(tail.ended().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn tail_ends_when_its_reader_has_gone() {
    let server = Server::config(CONFIG);
    let mut command = client(&["tail", "--api", &format!("http://{}", server.api)]);
    command.env("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // without any decision
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn tail_connects_again_after_a_restart_and_not_at_the_start() {
    let path = crate::support::file("edge.toml", CONFIG);
    let config = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    // the same before and after the restart
    let address = format!("127.0.0.1:{}", crate::support::free_port());
    let server = Server::start_at(Some(&address), ADMIN_TOKEN, &config);
    let api = server.api;
    let tail = Tail::start(api, &[]);
    tail.line("nowhere.example", || assert_eq!(ask(&server, "nowhere.example"), 404));
    server.end("TERM");
    let notice = tail.stderr.wait_for("connecting again in 1 s");
    assert!(notice.contains(&format!("http://{api}: ")), "{notice}");
    let server = Server::start_at(Some(&address), ADMIN_TOKEN, &config);
    tail.stderr.wait_for("connected again; decisions in between are missing");
    tail.line("later.example", || assert_eq!(ask(&server, "later.example"), 404));
    tail.signal("INT");
    assert_eq!(tail.ended().code(), Some(0));

    // a first connection that fails is an error, and so is a wrong token
    server.end("TERM");
    let mut tail = Tail::start(api, &[]);
    assert_eq!(tail.child.wait().unwrap().code(), Some(1));
    tail.stderr.wait_for("connection refused; is `sip-authz serve` running there?");
}

/// An API that answers each request with the next of these bodies; none means 204. Returns its address and
/// the request lines.
fn api(answers: Vec<Option<&'static str>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            seen.lock().unwrap().push(head.next().unwrap());
            while head.next().is_some_and(|line| !line.is_empty()) {}
            let text = match answer {
                Some(body) => format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
                None => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
            };
            stream.write_all(text.as_bytes()).unwrap();
        }
    });
    (address, lines)
}

const HELD: &str = r#"{"limits":[
    {"id":"a1","edge":"e1","kind":"name-from-source","account":"AC1","target":"SD1",
     "domain":"a.example","user":"alice","source":"192.0.2.7",
     "since":"2026-11-29T14:03:00Z","wrong":10,"until":"2026-11-29T14:04:00Z"},
    {"id":"b2","edge":"e2","kind":"name","account":"AC1","target":"SD1",
     "domain":"a.example","user":"b\u001b[2J","source":null,
     "since":"2026-11-29T14:03:00Z","wrong":3,"until":"2026-11-29T14:04:00Z"}],
    "silent_edges":[{"edge":"e3","reason":"no answer within 1 s"}]}"#;

#[test]
fn limits_lists_and_releases_what_is_held() {
    let (address, lines) = api(vec![Some(HELD), Some(HELD), None, None, Some(HELD)]);
    let run = |args: &[&str]| outcome(&run(&[&["limits"], args, &["--api", &address]].concat()));
    let (code, text, stderr) = run(&[]);
    assert_eq!(code, Some(0), "{stderr}");
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("a1  user alice from 192.0.2.7 at a.example  10 wrong since "),
        "{text}"
    );
    assert!(first.ends_with(", edge e1"), "{text}");
    assert!(
        text.contains(r#"b2  user "b\u{1b}[2J" at a.example from all sources  3 wrong"#),
        "{text}"
    );
    assert_eq!(stderr, "sip-authz: warning: edge e3: no answer: no answer within 1 s\n");

    let (code, text, _) = run(&["release", "--user", "alice", "--domain", "A.example"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "released user alice from 192.0.2.7 at a.example\n")
    );
    let (code, text, _) = run(&["release", "b2"]);
    assert_eq!((code, text.as_str()), (Some(0), "released b2\n"));
    let (code, _, stderr) = run(&["release", "--user", "carol"]);
    assert_eq!(code, Some(1));
    assert!(stderr.ends_with(
        "no guess limit of the edges that answer holds it; 2 others are held (`sip-authz limits`)\n"
    ));
    let requests: Vec<_> =
        lines.lock().unwrap().iter().map(|line| line.replace(" HTTP/1.1", "")).collect();
    assert_eq!(
        requests,
        [
            "GET /v1/Decisions/Limits",
            "GET /v1/Decisions/Limits",
            "DELETE /v1/Decisions/Limits/a1",
            "DELETE /v1/Decisions/Limits/b2",
            "GET /v1/Decisions/Limits",
        ]
    );
}

#[test]
fn limits_never_says_that_nothing_is_held_if_an_edge_gives_no_answer() {
    let path = crate::support::file("edge.toml", CONFIG);
    let config = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start(&[&config[..], &["--recent", "0"]].concat());
    let reason = "keeps no recent decisions (`--recent 0`)\n";
    let (code, text, stderr) = asked(&server, &["limits"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(text.starts_with("no held name or source is known\n- edge "), "{text}");
    assert!(text.ends_with(&format!(" may hold some, and gives no answer: {reason}")), "{text}");
    assert!(stderr.starts_with("sip-authz: warning: edge "), "{stderr}");
    assert!(stderr.ends_with(&format!(": no answer: {reason}")), "{stderr}");
    let (code, text, _) = asked(&server, &["limits", "--json"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("\"silent_edges\":[{\"edge\":\""), "{text}");
    let (code, _, stderr) = asked(&server, &["limits", "release", "--user", "alice"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no guess limit of the edges that answer holds it"), "{stderr}");
    server.end("TERM");

    let server = Server::config(CONFIG);
    let (code, text, _) = asked(&server, &["limits"]);
    assert_eq!((code, &*text), (Some(0), "no guess limit holds a name or source\n"));
}

#[test]
fn a_server_without_the_path_is_not_said_to_keep_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            while head.next().is_some_and(|line| !line.is_empty()) {}
            let answer = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for command in ["limits", "why", "tail"] {
        let (_, _, stderr) = outcome(&run(&[command, "--api", &address]));
        assert!(stderr.contains("the server has no path for recent decisions"), "{stderr}");
    }
}

#[test]
fn the_demo_prints_the_credentials_with_which_the_commands_work() {
    let server = Server::demo();
    let line = server.stdout.wait_for("export SIP_AUTHZ_ACCOUNT_SID=");
    let request = Request::invite("sip:100@by-password.example");
    assert_eq!(status(&Caller::new(&server).ask(&request.text())), 407);
    wait_for_decisions(&server, 1);
    for command in ["why", "limits", "domain list"] {
        let mut client = client(&command.split(' ').collect::<Vec<_>>());
        let variables = line.trim().strip_prefix("export ").unwrap().split(' ');
        client.envs(variables.map(|variable| variable.split_once('=').unwrap()));
        let (code, stdout, stderr) = outcome(&client.stdin(Stdio::null()).output().unwrap());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{command}: {stdout}");
        assert!(command == "limits" || stdout.contains("by-password.example"), "{stdout}");
    }
}
