//! The decision log: its lines, a blocked reader, and rotation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::metrics::{self, CONFIG};
use crate::support::{Caller, Request, Server, file, status};

/// A server that serves [`CONFIG`] and logs to this path.
fn start(path: &Path, more: &[&str]) -> Server {
    let config = file("edge.toml", CONFIG);
    let (config, path) = (config.to_str().unwrap(), path.to_str().unwrap());
    let args = ["--config", config, "--on-accept", "ok", "--decision-log", path];
    Server::start(&[&args, more].concat())
}

/// The path of a file that does not exist, in a folder of its own.
fn fresh(name: &str) -> PathBuf {
    file("beside", "").with_file_name(name)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Waits until the file has `count` lines, and returns them.
fn wait_for(path: &Path, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        // the last line may be incomplete
        let whole = fs::read_to_string(path).is_ok_and(|text| text.lines().count() >= count);
        if whole {
            return lines(path);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", fs::read_to_string(path));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn some_calls(server: &Server) {
    let (inside, outside) = (Caller::new(server), Caller::from("127.0.0.2", server));
    let by_address = || Request::invite("sip:secret-callee@by-address.example").text();
    assert_eq!(status(&inside.ask(&by_address())), 200);
    assert_eq!(status(&outside.ask(&by_address())), 403);
    let invite = Request::invite("sip:secret-callee@by-password.example");
    let challenge = inside.ask(&invite.text());
    let authorized = invite.authorized(&challenge, "alice", "correct horse").text();
    for _ in 0..2 {
        assert_eq!(status(&inside.ask(&authorized)), 200);
    }
    assert_eq!(status(&inside.ask(&Request::invite("sip:1@nowhere.example").text())), 404);
    // no INVITE, no line
    inside.ask(&Request::new("OPTIONS", "sip:a").text());
}

#[test]
fn each_decision_is_a_line() {
    let path = fresh("decisions.json");
    let server = start(&path, &[]);
    some_calls(&server);
    server.end("TERM");
    let lines = lines(&path);
    let [by_address, refused, challenged, proved, repeat, nowhere] = &lines[..] else {
        panic!("{lines:#?}")
    };
    let sid = |line: &Value, field: &str, prefix: &str| {
        let sid = line[field].as_str().unwrap_or_else(|| panic!("no {field} in {line}"));
        assert!(sid.starts_with(prefix) && sid.len() == 34, "{field} {sid}");
    };
    for (line, outcome, reason, status, code) in [
        (by_address, "accept", "passed", 200, Value::Null),
        (refused, "reject", "address-not-listed", 403, 32_201.into()),
        (challenged, "challenge", "asked", 407, Value::Null),
        (proved, "accept", "passed", 200, Value::Null),
        (repeat, "accept", "repeat", 200, Value::Null),
        (nowhere, "reject", "unknown-host", 404, Value::Null),
    ] {
        assert_eq!((&line["outcome"], &line["reason"]), (&outcome.into(), &reason.into()));
        assert_eq!((&line["status"], &line["code"]), (&status.into(), &code), "{line}");
        assert_eq!(line["transport"], "udp");
        assert_eq!(line["snapshot"], 1, "{line}");
        assert_eq!(line["repeat"], reason == "repeat");
        let time = line["time"].as_str().unwrap();
        let parsed: jiff::Timestamp = time.parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(parsed).as_secs();
        assert!((0..600).contains(&age) && time.len() == "2026-01-02T03:04:05.678901Z".len());
        if reason != "unknown-host" {
            sid(line, "target", "SD");
        }
    }
    for (field, prefix) in [("account", "AC"), ("access_list", "AL"), ("address", "IP")] {
        sid(by_address, field, prefix);
    }
    for (field, prefix) in [("account", "AC"), ("credential_list", "CL"), ("credential", "CR")] {
        sid(proved, field, prefix);
    }
    assert_eq!(nowhere["target"], Value::Null);
    assert_eq!(by_address["credential"], Value::Null);

    let text = fs::read_to_string(&path).unwrap();
    for secret in ["alice", "127.0.0", "secret-callee", "nowhere", "nonce", "correct horse"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn names_are_written_only_with_their_option_and_the_file_is_appended_to() {
    let path = fresh("decisions.json");
    fs::write(&path, "{\"earlier\":true}\n").unwrap();
    let server = start(&path, &["--decision-log-names"]);
    some_calls(&server);
    server.end("INT");
    let lines = lines(&path);
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0]["earlier"], true);
    assert!(lines[2]["source"].as_str().unwrap().starts_with("127.0.0.2:"));
    assert_eq!((&lines[4]["username"], &lines[2]["username"]), (&"alice".into(), &Value::Null));
}

#[test]
fn sighup_reopens_a_rotated_file() {
    let path = fresh("decisions.json");
    let server = start(&path, &[]);
    let caller = Caller::new(&server);
    let call = || caller.ask(&Request::invite("sip:1@by-address.example").text());
    call();
    wait_for(&path, 1);
    let moved = path.with_extension("1");
    fs::rename(&path, &moved).unwrap();
    // until the signal the program writes to the moved file
    call();
    wait_for(&moved, 2);
    server.signal("HUP");
    server.stderr.wait_for("sip-authz: reloaded ");
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "the file is not reopened");
        std::thread::sleep(Duration::from_millis(5));
    }
    call();
    assert_eq!(wait_for(&path, 1).len(), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // if the path cannot be opened, the old file stays in use
    let folder = path.parent().unwrap().join("later");
    fs::rename(&path, &folder).unwrap();
    fs::create_dir(&path).unwrap();
    server.signal("HUP");
    server.stderr.wait_for("the old file stays in use");
    call();
    server.end("TERM");
    assert_eq!((lines(&moved).len(), lines(&folder).len()), (2, 2));
}

#[test]
fn with_a_blocked_reader_decisions_are_lost_and_counted_and_no_call_waits() {
    let path = fresh("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // both ends, so that the open does not block; it is read later
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let server = start(&path, &["--decision-log-queue", "16", "--metrics", "127.0.0.1:0"]);
    let url = metrics::address(&server.stdout);
    let caller = Caller::new(&server);
    let mut sent = 0;
    let lost = "sip_authz_decision_log_lost_total";
    loop {
        for _ in 0..100 {
            let answer = caller.ask(&Request::invite("sip:1@by-address.example").text());
            assert_eq!(status(&answer), 200);
            sent += 1;
        }
        let page = metrics::scrape(&url);
        // the writer polls, so the first lines can be late
        if page[lost] >= 50.0 && page["sip_authz_decision_log_lines_total"] > 0.0 {
            break;
        }
        assert!(sent < 200_000, "the pipe never filled up");
    }

    // once it is read, each decision is either a line or counted as lost
    let taken = std::thread::spawn(move || {
        use std::io::BufRead as _;
        let (mut lines, mut lost) = (0, 0);
        for line in std::io::BufReader::new(&mut reader).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            match line["lost"].as_u64() {
                Some(more) => lost += more,
                None => lines += 1,
            }
            if lost > 0 && lines + lost >= sent {
                break;
            }
        }
        (lines, lost)
    });
    let (lines, reported) = taken.join().unwrap();
    assert_eq!(lines + reported, sent);
    // lines are counted once they are written
    let page = metrics::wait_for(&url, "sip_authz_decision_log_lines_total", lines as f64);
    assert_eq!(page[lost], reported as f64);
    server.end("TERM");
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error() {
    let path = fresh("no-such-folder").join("decisions.json");
    let path = path.to_str().unwrap();
    let args = ["serve", "--demo", "--sip", "127.0.0.1:0", "--decision-log", path];
    let output = crate::support::run(&args);
    let (code, _, stderr) = crate::support::outcome(&output);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("decisions.json: No such file or directory"), "{stderr}");
}
