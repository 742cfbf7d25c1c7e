//! `sip-authz status`: a single process, and a fleet whose edges are simulated. The fleet test of
//! `crates/acceptance/interop/fleet` has real edges.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Server, client, outcome, run};

const OK: &str = r#"{"status":"ok","parts":{"calls":{"state":"decided"}}}"#;

fn status(api: &str, more: &[&str]) -> (Option<i32>, String, String) {
    outcome(&run(&[&["status", "--api", api], more].concat()))
}

/// An HTTP server that answers each path with a status and a body, or never. Keeps the heads of the requests.
struct Fake {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(answer: impl Fn(&str) -> Option<(&'static str, String)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.unwrap(), Vec::new());
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(head);
                let Some((status, body)) = answer(&path) else {
                    silent.push(stream);
                    continue;
                };
                let length = body.len();
                // a client that has read enough closes the connection
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { url, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The answer to `/health` of an edge.
fn edge(status: &'static str, body: &str) -> Fake {
    let body = body.to_owned();
    Fake::start(move |path| (path == "/health").then(|| (status, body.clone())))
}

#[test]
fn a_single_process_shows_itself() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let (code, printed, error) = status(&api, &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!((lines[0], lines.len()), ("commit 0, 0 records", 2), "{printed}");
    let name = lines[1].strip_suffix("  ok").unwrap();

    let (code, printed, error) = status(&api, &["--json"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{printed}");
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&found["store"]["number"], &found["store"]["records"]), (&0.into(), &0.into()));
    assert_eq!(found["edge"], name);
    let parts = json!({
        "calls": {"state": "decided"},
        "follower": {"state": "following"},
        "store": {"state": "ok"},
    });
    let expected = json!([{
        "name": name, "status": "ok", "commit": null, "behind": null, "lease_seconds": null,
        "api": api, "parts": parts,
    }]);
    assert_eq!(found["edges"], expected);
}

#[test]
fn an_account_and_an_unreachable_server_are_errors() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let (_, created, _) = outcome(&run(&["account", "--api", &api, "create", "Acme"]));
    let word = |line: usize| created.lines().nth(line).unwrap().rsplit(' ').next().unwrap();
    let mut command = client(&["status", "--api", &api]);
    let account = [("SIP_AUTHZ_ACCOUNT_SID", word(0)), ("SIP_AUTHZ_AUTH_TOKEN", word(1))];
    let refused = outcome(&command.envs(account).output().unwrap());
    let error = "sip-authz: only the admin may list the edges\n";
    assert_eq!(refused, (Some(1), String::new(), error.to_owned()));

    let (code, printed, error) = status("http://127.0.0.1:1", &[]);
    let start = "sip-authz: http://127.0.0.1:1: connection refused";
    assert!(code == Some(1) && printed.is_empty() && error.starts_with(start), "{error}");
    let older =
        Fake::start(|_| Some(("404 Not Found", r#"{"message":"unknown path"}"#.to_owned())));
    let (code, _, error) = status(&older.url, &[]);
    assert!(code == Some(1) && error.contains("is it older than this program?"), "{error}");
}

#[test]
fn each_edge_is_asked_at_its_own_url_without_the_token() {
    let full =
        r#"{"status":"degraded","parts":{"store":{"state":"no-space","error":"full\u001b[2J"}}}"#;
    let well = edge("200 OK", OK);
    let full = edge("503 Service Unavailable", full);
    let moved = edge("302 Found\r\nlocation: http://127.0.0.1:1/", "");
    let long = edge("200 OK", &format!("{OK}{}", " ".repeat(70_000)));
    let foreign = edge("200 OK", r#"{"status":"fine"}"#);
    // its check waits for the store
    let slow = Fake::start(|path| (path == "/ready").then(|| ("200 OK", OK.to_owned())));
    let dead = Fake::start(|_| None);
    let report = |name: &str, commit: u64, api: Option<&str>| json!({"name": name, "commit": commit, "behind": 9 - commit, "lease_seconds": null, "api": api});
    let edges = json!({
        "store": {"number": 9, "records": 4, "incarnation": "1-0"},
        "edge": "a-own",
        "edges": [
            report("a-own", 9, None),
            report("b-well", 8, Some(&well.url)),
            report("c-full", 9, Some(&full.url)),
            report("d-moved", 9, Some(&moved.url)),
            report("e-long", 9, Some(&long.url)),
            report("f-foreign", 9, Some(&foreign.url)),
            report("g-slow", 9, Some(&slow.url)),
            report("h-dead", 9, Some(&dead.url)),
            report("i-none", 9, None),
            report("j-file", 9, Some("file:///etc/passwd")),
        ],
    });
    let asked = Fake::start(move |path| {
        Some(("200 OK", if path == "/health" { OK.to_owned() } else { edges.to_string() }))
    });
    let begun = Instant::now();
    let (code, printed, error) = status(&asked.url, &[]);
    assert!(begun.elapsed() < Duration::from_secs(20), "several are asked at the same time");
    assert_eq!((code, error.as_str()), (Some(1), ""), "{printed}");
    let (moved_url, long_url, foreign_url, dead_url) =
        (&moved.url, &long.url, &foreign.url, &dead.url);
    let rest = "commit 9, 0 behind  lease unlimited";
    let expected = format!(
        "commit 9, 4 records\n\
         a-own      ok         {rest}\n\
         b-well     ok         commit 8, 1 behind  lease unlimited\n\
         c-full     degraded   {rest}\n  store: no-space: full\\u{{1b}}[2J\n\
         d-moved    no answer  {rest}\n  {moved_url}: unexpected status 302 Found\n\
         e-long     no answer  {rest}\n  {long_url}: more than 65536 bytes\n\
         f-foreign  no answer  {rest}\n  {foreign_url}: not the health of sip-authz (status 200 OK)\n\
         g-slow     degraded   {rest}\n  store: slow: its check took longer than 2 s\n\
         h-dead     no answer  {rest}\n  {dead_url}: no answer within 2 s\n\
         i-none     unknown    {rest}\n\
         j-file     no answer  {rest}\n  file:///etc/passwd: expected a URL such as https://edge1.example.com:8080\n"
    );
    assert_eq!(printed, expected);
    for fake in [&well, &full, &moved, &long, &foreign, &slow, &dead] {
        let heads = fake.heads();
        assert!(!heads.is_empty());
        for head in heads {
            let head = head.to_ascii_lowercase();
            assert!(!head.contains("authorization") && !head.contains(ADMIN_TOKEN), "{head}");
        }
    }
    let heads = asked.heads();
    assert!(heads[0].starts_with("GET /v1/Edges ") && heads[0].contains("Basic "), "{heads:?}");
    assert!(heads[1].starts_with("GET /health ") && heads.len() == 2, "{heads:?}");
    assert!(!heads[1].contains("Basic "), "{heads:?}");
}

#[test]
fn a_store_that_does_not_answer_leaves_the_health_of_the_process() {
    let body = r#"{"status":"degraded","parts":{"store":{"state":"unreachable","error":"away"}}}"#;
    let asked = Fake::start(move |path| {
        let away = r#"{"message":"try again later"}"#;
        let body = if path == "/health" { body } else { away };
        Some(("503 Service Unavailable", body.to_owned()))
    });
    let url = &asked.url;
    let (code, printed, error) = status(url, &[]);
    let expected = format!(
        "the store gives no answer: try again later\n{url}  degraded\n  store: unreachable: away\n"
    );
    assert_eq!((code, printed, error.as_str()), (Some(1), expected, ""));
    let (code, printed, _) = status(url, &["--json"]);
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &found["store"]), (Some(1), &Value::Null));
    assert_eq!(found["error"], "try again later");
    assert_eq!(found["edges"][0]["parts"]["store"]["state"], "unreachable");
}
