//! The decision log: its lines, a blocked reader, and rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::metrics::{self, CONFIG};
use crate::support::{Caller, PATIENCE, Request, Server, file, status};

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
    parsed(&fs::read_to_string(path).unwrap())
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The lines by their times. Each thread writes its own after it has sent the answers.
fn in_order(path: &Path) -> Vec<Value> {
    let mut lines = lines(path);
    lines.sort_by_key(|line| line["time"].as_str().map(str::to_owned));
    lines
}

/// Waits until the file has `count` lines, and returns them.
fn wait_for(path: &Path, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        // between two files of a rotation there is none
        let text = fs::read_to_string(path).unwrap_or_default();
        // the last line may be incomplete
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        if whole.lines().count() >= count {
            return parsed(whole);
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until each of `total` decisions is a line or counted as left out, and returns the page of metrics.
/// A thread counts after it has answered.
fn wait_for_counts(url: &str, total: usize) -> metrics::Page {
    let start = Instant::now();
    loop {
        let page = metrics::scrape(url);
        let is_counted = |series: &str| {
            series == "sip_authz_decision_log_lines_total"
                || series.starts_with("sip_authz_decision_log_left_out_total{")
        };
        let counts = page.iter().filter(|(series, _)| is_counted(series));
        if counts.map(|(_, count)| count).sum::<f64>() == total as f64 {
            return page;
        }
        assert!(start.elapsed() < PATIENCE, "not {total}: {page:#?}");
        std::thread::sleep(Duration::from_millis(50));
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
    let lines = in_order(&path);
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
            sid(line, "account", "AC");
        }
        assert!(line["took_us"].is_u64() && line["cseq"].is_u64(), "{line}");
        assert_eq!(line["method"], "INVITE");
    }
    for (line, name, cause) in [
        (by_address, "by-address.example".into(), Value::Null),
        (refused, "by-address.example".into(), "address-not-listed".into()),
        (challenged, "by-password.example".into(), "no-credentials".into()),
        (proved, "by-password.example".into(), Value::Null),
        (nowhere, Value::Null, "unknown-host".into()),
    ] {
        assert_eq!((&line["name"], &line["cause"]), (&name, &cause), "{line}");
    }
    assert_eq!(
        (&proved["header"], &proved["qop"]),
        (&"Proxy-Authorization".into(), &"auth".into())
    );
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
    let lines = in_order(&path);
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0]["earlier"], true);
    assert!(lines[2]["source"].as_str().unwrap().starts_with("127.0.0.2:"));
    for line in &lines[1..] {
        assert!(line["call_id"].as_str().unwrap().starts_with("call-"), "{line}");
        assert_eq!(line["from"], "caller");
    }
    for (line, host, called) in [
        (&lines[2], "by-address.example", "secret-callee"),
        (&lines[4], "by-password.example", "secret-callee"),
        (&lines[6], "nowhere.example", "1"),
    ] {
        assert_eq!((&line["host"], &line["called"]), (&host.into(), &called.into()));
    }
    assert_eq!((&lines[4]["username"], &lines[2]["username"]), (&"alice".into(), &Value::Null));
}

#[test]
fn sigusr1_reopens_a_rotated_file() {
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
    // SIGHUP is for the configuration alone
    server.signal("HUP");
    server.stderr.wait_for("sip-authz: reloaded ");
    call();
    wait_for(&moved, 3);
    assert!(!path.exists());
    server.signal("USR1");
    server.stderr.wait_for(&format!("sip-authz: reopened {}", path.display()));
    call();
    assert_eq!(wait_for(&path, 1).len(), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // if the path cannot be opened, the old file stays in use
    let folder = path.parent().unwrap().join("later");
    fs::rename(&path, &folder).unwrap();
    fs::create_dir(&path).unwrap();
    server.signal("USR1");
    server.stderr.wait_for("the old file stays in use");
    call();
    server.end("TERM");
    assert_eq!((lines(&moved).len(), lines(&folder).len()), (3, 2));
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

/// Sums the counts of `field` in the lines about missing decisions, and for each of their reasons.
fn missing(lines: &[Value], field: &str) -> (u64, BTreeMap<String, u64>) {
    let mut reasons = BTreeMap::new();
    let mut sum = 0;
    for line in lines.iter().filter(|line| line[field].is_u64()) {
        let total = line[field].as_u64().unwrap();
        let counts = line["reasons"].as_object().unwrap();
        assert_eq!(counts.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), total);
        for (reason, count) in counts {
            *reasons.entry(reason.clone()).or_default() += count.as_u64().unwrap();
        }
        sum += total;
    }
    (sum, reasons)
}

fn of_reason<'a>(lines: &'a [Value], reason: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["reason"] == reason).collect()
}

/// Sends `count` INVITEs that strangers can send without a password, and receives the answers.
pub(crate) fn flood(caller: &Caller, count: usize) {
    for at in 0..count {
        let uri =
            ["sip:1@nowhere.example", "sip:1@by-address.example", "sip:1@by-password.example"];
        let answer = caller.ask(&Request::invite(uri[at % 3]).text());
        assert_eq!(status(&answer), [404, 403, 407][at % 3]);
    }
}

#[test]
fn a_flood_from_a_stranger_is_bounded_and_counted_and_no_accept_is_lost() {
    const FLOOD: usize = 9_000;
    // with the limits of lines they fit into the queue, however slow the writer is
    const ACCEPTS: usize = 500;
    // the time for which a copy counts as a retransmission
    const RETRANSMISSIONS: Duration = Duration::from_secs(32);
    let path = fresh("decisions.json");
    // the queue is too small for the flood
    let server = start(&path, &["--decision-log-queue", "4096", "--metrics", "127.0.0.1:0"]);
    let url = metrics::address(&server.stdout);
    let (inside, outside) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    let by_password = Request::invite("sip:1@by-password.example");
    let authorized =
        by_password.authorized(&inside.ask(&by_password.text()), "alice", "correct horse").text();
    let (mut accepts, begun) = (0, Instant::now());
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&outside, FLOOD));
        while !flood.is_finished() && accepts < ACCEPTS {
            let accepted = inside.ask(&Request::invite("sip:1@by-address.example").text());
            assert_eq!(status(&accepted), 200);
            // a retransmission is no new call
            let copy = status(&inside.ask(&authorized));
            accepts += 1;
            if begun.elapsed() >= RETRANSMISSIONS {
                break;
            }
            assert_eq!(copy, 200);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let left_out =
        |reason: &str| format!("sip_authz_decision_log_left_out_total{{reason=\"{reason}\"}}");
    let reasons = ["unknown-host", "address-not-listed", "asked", "repeat"];
    // the first authorized request was accepted, and its copies are retransmissions
    let total = FLOOD + 1 + 2 * accepts;
    let page = wait_for_counts(&url, total);
    server.end("TERM");

    let lines = lines(&path);
    let seconds: BTreeSet<_> =
        lines.iter().map(|line| line["time"].as_str().unwrap()[..19].to_owned()).collect();
    assert_eq!(of_reason(&lines, "passed").len(), accepts + 1);
    let (sum, counts) = missing(&lines, "left_out");
    let (lost, _) = missing(&lines, "lost");
    assert_eq!(lost, 0);
    for reason in reasons {
        let written = of_reason(&lines, reason).len();
        // a delayed thread can add to a second that is over
        assert!((1..=10 * (seconds.len() + 1)).contains(&written), "{written} {reason}");
        let reported = counts.get(reason).copied().unwrap_or_default();
        assert_eq!(page[&left_out(reason)], reported as f64);
    }
    assert_eq!(page[&left_out("passed")], 0.0);
    let decisions = lines.iter().filter(|line| line["outcome"].is_string()).count();
    assert_eq!(decisions as u64 + sum, total as u64);
    // at most one such line a second, and one at the end
    let reports = lines.iter().filter(|line| line["left_out"].is_u64()).count();
    assert!(reports <= seconds.len() + 2, "{reports} in {} s", seconds.len());
}

/// Two accounts with a domain each, `loud.example` and `quiet.example`, which admit this machine.
pub(crate) const TWO_ACCOUNTS: &str = r#"
[[accounts]]
name = "loud"
[[accounts]]
name = "quiet"
[[ip_access_control_lists]]
name = "loud"
account = "loud"
addresses = ["127.0.0.0/8"]
[[ip_access_control_lists]]
name = "quiet"
account = "quiet"
addresses = ["127.0.0.0/8"]
[[domains]]
name = "loud.example"
account = "loud"
ip_access_control_lists = ["loud"]
[[domains]]
name = "quiet.example"
account = "quiet"
ip_access_control_lists = ["quiet"]
"#;

/// Sends accepted calls: from one account without end, and 50 from another one meanwhile. Returns the
/// number of the first.
pub(crate) fn loud_and_quiet_calls(server: &Server) -> usize {
    const QUIET: usize = 50;
    let (loud, quiet) = (Caller::new(server), Caller::from("127.0.0.2", server));
    let call = |caller: &Caller, uri| {
        assert_eq!(status(&caller.ask(&Request::invite(uri).text())), 200);
    };
    for _ in 0..QUIET {
        (0..40).for_each(|_| call(&loud, "sip:1@loud.example"));
        call(&quiet, "sip:1@quiet.example");
    }
    40 * QUIET
}

#[test]
fn accepted_calls_of_one_account_displace_no_lines_of_others() {
    let (path, config) = (fresh("decisions.json"), file("edge.toml", TWO_ACCOUNTS));
    let [path_text, config] = [&path, &config].map(|path| path.to_str().unwrap());
    let server = Server::start(&[
        "--config",
        config,
        "--on-accept=ok",
        "--decision-log",
        path_text,
        "--decision-log-account-rate=1",
        "--metrics",
        "127.0.0.1:0",
    ]);
    let url = metrics::address(&server.stdout);
    let start = Instant::now();
    let calls = loud_and_quiet_calls(&server);
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    let page = wait_for_counts(&url, calls + 50);
    server.end("TERM");
    let lines = lines(&path);
    let passed = of_reason(&lines, "passed");
    let mut by_account = BTreeMap::<_, usize>::new();
    for line in passed {
        *by_account.entry(line["account"].as_str().unwrap()).or_default() += 1;
    }
    let mut counts: Vec<_> = by_account.into_values().collect();
    counts.sort_unstable();
    let [quiet, loud] = counts[..] else { panic!("{counts:?}") };
    assert!(quiet == 50 && (60..=60 + seconds).contains(&loud), "{counts:?} in {seconds} s");
    let (sum, reasons) = missing(&lines, "left_out");
    assert_eq!(sum, (calls - loud) as u64);
    assert_eq!(reasons["passed"], sum);
    let metric = "sip_authz_decision_log_left_out_total{reason=\"passed\"}";
    assert_eq!(page[metric], sum as f64);
}

#[test]
fn refusals_take_only_a_share_of_the_queue() {
    let path = fresh("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let options = ["--decision-log-queue=2000", "--decision-log-rate=unlimited"];
    let server = start(&path, &[&options[..], &["--metrics", "127.0.0.1:0"]].concat());
    let url = metrics::address(&server.stdout);
    let (inside, outside) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    // the pipe is full, then the share of the queue
    let mut refused = 0;
    while metrics::scrape(&url)["sip_authz_decision_log_lost_total"] == 0.0 {
        flood(&outside, 300);
        refused += 300;
        assert!(refused < 200_000, "the pipe never filled up");
    }
    flood(&outside, 3_000);
    // of the other half, an account leaves a third to others
    for _ in 0..600 {
        let accepted = inside.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&accepted), 200);
    }
    let taken = std::thread::spawn(move || {
        use std::io::BufRead as _;
        let lines = std::io::BufReader::new(reader).lines().map(Result::unwrap);
        lines.filter(|line| line.contains("\"passed\"")).take(600).count()
    });
    assert_eq!(taken.join().unwrap(), 600);
    drop(server);
}

/// The file, and the old files from the oldest to the newest.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let old = |number| PathBuf::from(format!("{}.old.{number}", path.display()));
    let count = (1..).take_while(|number| old(*number).exists()).count();
    (1..=count).rev().map(old).chain([path.to_owned()]).collect()
}

#[test]
fn a_full_file_is_rotated_and_no_line_is_lost() {
    const CALLS: usize = 1_500;
    let path = fresh("decisions.json");
    let options = ["--decision-log-size=64K", "--decision-log-keep=999"];
    let more = ["--decision-log-rate=500", "--decision-log-names"];
    let server = start(&path, &[options, more].concat());
    let moved = path.with_extension("moved");
    std::thread::scope(|scope| {
        let callers = [0, 1].map(|_| {
            scope.spawn(|| {
                let caller = Caller::new(&server);
                for _ in 0..CALLS {
                    caller.ask(&Request::invite("sip:1@by-address.example").text());
                }
            })
        });
        scope.spawn(|| flood(&Caller::from("127.0.0.2", &server), CALLS));
        // an external program rotates too; between two files of a rotation there is none to move
        wait_for(&path, 1);
        while fs::rename(&path, &moved).is_err() {
            std::thread::yield_now();
        }
        server.signal("USR1");
        for caller in callers {
            caller.join().unwrap();
        }
    });
    server.end("TERM");
    let files = rotated(&path);
    assert!(files.len() > 5, "{files:?}");
    for file in &files {
        let metadata = fs::metadata(file).unwrap();
        assert!(metadata.len() <= 64 << 10, "{} has {}", file.display(), metadata.len());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    let all: Vec<_> = files.iter().chain([&moved]).flat_map(|file| lines(file)).collect();
    assert_eq!(of_reason(&all, "passed").len(), 2 * CALLS);
    let decisions = all.iter().filter(|line| line["outcome"].is_string()).count();
    let missing = missing(&all, "left_out").0 + missing(&all, "lost").0;
    assert_eq!(decisions as u64 + missing, 3 * CALLS as u64);
    // the lines of a caller, which one thread writes, stay in order across the files
    let mut calls = BTreeMap::<_, Vec<u32>>::new();
    for line in files.iter().flat_map(|file| lines(file)).filter(|it| it["reason"] == "passed") {
        let number = line["call_id"].as_str().unwrap().strip_prefix("call-").unwrap();
        let source = line["source"].as_str().unwrap().to_owned();
        calls.entry(source).or_default().push(number.parse().unwrap());
    }
    assert_eq!(calls.len(), 2);
    assert!(calls.values().all(|calls| calls.is_sorted()), "{calls:?}");

    // only so many files are kept; a file of an earlier run is continued
    let server = start(&path, &["--decision-log-size=64K", "--decision-log-keep=2"]);
    for old in &files[..files.len() - 1] {
        fs::remove_file(old).unwrap();
    }
    let caller = Caller::new(&server);
    for _ in 0..2 * CALLS {
        caller.ask(&Request::invite("sip:1@by-address.example").text());
    }
    server.end("TERM");
    let files = rotated(&path);
    assert_eq!(files.len(), 3);
    let last: Vec<_> = files.iter().flat_map(|file| lines(file)).collect();
    assert!((200..2 * CALLS).contains(&of_reason(&last, "passed").len()));
}

#[test]
fn a_file_that_cannot_be_rotated_stays_in_use() {
    let path = fresh("decisions.json");
    // a file does not replace a folder
    fs::create_dir_all(path.with_file_name("decisions.json.old.1").join("taken")).unwrap();
    let server = start(&path, &["--decision-log-size=64K", "--decision-log-keep=1"]);
    let caller = Caller::new(&server);
    for _ in 0..1_000 {
        let answer = caller.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&answer), 200);
    }
    server.stderr.wait_for("the file is not rotated and grows further");
    server.end("TERM");
    assert_eq!(lines(&path).len(), 1_000);
}

#[cfg(target_os = "linux")]
#[test]
fn with_a_full_disk_calls_are_decided_and_their_lines_are_counted_as_lost() {
    let server = start(Path::new("/dev/full"), &["--metrics", "127.0.0.1:0"]);
    let url = metrics::address(&server.stdout);
    let caller = Caller::new(&server);
    for _ in 0..100 {
        let answer = caller.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&answer), 200);
    }
    let page = metrics::wait_for(&url, "sip_authz_decision_log_lost_total", 100.0);
    assert_eq!(page["sip_authz_decision_log_lines_total"], 0.0);
    server.stderr.wait_for("decisions are missing from the decision log");
    server.end("TERM");
}

#[test]
fn sampling_selects_the_lines() {
    for (sampling, expected) in [("refused", 2), ("1/2", 3), ("1/6", 1), ("decisions", 6)] {
        let path = fresh("decisions.json");
        let server = start(&path, &["--decision-log-sampling", sampling]);
        some_calls(&server);
        server.end("TERM");
        assert_eq!(lines(&path).len(), expected, "{sampling}");
    }
}

#[test]
fn a_user_name_cannot_change_the_look_of_a_line() {
    let name = "al\u{2028}ice\u{202e}\u{200f}ecila\u{e9}\\";
    let config = CONFIG.replace("\"alice\"", &serde_json::to_string(name).unwrap());
    let config = file("edge.toml", &config);
    let path = fresh("decisions.json");
    let server = Server::start(&[
        "--config",
        config.to_str().unwrap(),
        "--on-accept=ok",
        "--log=decisions",
        "--log-names",
        "--decision-log-names",
        "--decision-log",
        path.to_str().unwrap(),
    ]);
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:1@by-password.example");
    let challenge = caller.ask(&invite.text());
    let authorized = invite.authorized(&challenge, name, "correct horse");
    assert_eq!(status(&caller.ask(&authorized.text())), 200);
    let logged = server.stderr.wait_for("accept ");
    let expected = " username=\"al\\u{2028}ice\\u{202e}\\u{200f}ecila\u{e9}\\\\\" domain=";
    assert!(logged.contains(expected), "{logged}");
    server.end("TERM");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
    assert_eq!(lines(&path)[1]["username"], name);
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error() {
    let path = fresh("no-such-folder").join("decisions.json");
    let path = path.to_str().unwrap();
    let args = ["serve", "--demo", "--sip", "127.0.0.1:0", "--decision-log", path];
    let output = crate::support::run(&args);
    let (code, _, stderr) = crate::support::outcome(&output);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("decisions.json: no such folder"), "{stderr}");
}
