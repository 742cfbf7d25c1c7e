//! The text log on stderr: its limits of lines, and the start of a line.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::decision_log::{TWO_ACCOUNTS, flood, loud_and_quiet_calls};
use crate::metrics::CONFIG;
use crate::support::{Caller, Lines, PATIENCE, Request, Server, file};

fn start(config: &str, more: &[&str]) -> Server {
    let config = file("edge.toml", config);
    let args = ["--config", config.to_str().unwrap(), "--on-accept=ok", "--log=decisions"];
    Server::start(&[&args, more].concat())
}

/// The number of lines about decisions that begin so, and the sum of the counts of a reason in the lines
/// about lines that were left out.
fn counts(lines: &[String], begin: &str, reason: &str) -> (usize, usize) {
    let written = lines.iter().filter(|line| line.starts_with(begin)).count();
    let left_out = lines.iter().filter_map(|line| {
        let (_, counts) =
            line.strip_prefix("sip-authz: ")?.split_once(" lines of --log left out: ")?;
        let count =
            counts.split(", ").find_map(|count| count.strip_prefix(reason)?.strip_prefix(' '));
        count?.parse::<usize>().ok()
    });
    (written, left_out.sum())
}

/// Waits until as many lines are written or counted, and returns their numbers.
fn wait_for(server: &Server, begin: &str, reason: &str, total: usize) -> (usize, usize) {
    let start = Instant::now();
    loop {
        let (written, left_out) = counts(&server.stderr.all(), begin, reason);
        if written + left_out == total {
            return (written, left_out);
        }
        assert!(start.elapsed() < PATIENCE, "{written} {left_out} {reason}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_flood_of_strangers_is_bounded_and_counted_for_each_reason() {
    let server = start(CONFIG, &["--log-rate=5"]);
    let began = Instant::now();
    flood(&Caller::from("127.0.0.2", &server), 900);
    // a delayed thread can add to a second that is over
    let most = 5 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 3);
    for (begin, reason) in [
        ("challenge ", "asked"),
        ("reject target=- status=404 ", "unknown-host"),
        ("reject target=SD", "address-not-listed"),
    ] {
        let (written, _) = wait_for(&server, begin, reason, 300);
        assert!((5..=most).contains(&written), "{written} {reason}");
    }
    server.end("TERM");
}

#[test]
fn accepted_calls_of_one_account_displace_no_lines_of_others() {
    let server = start(TWO_ACCOUNTS, &["--log-rate=1"]);
    let began = Instant::now();
    let calls = loud_and_quiet_calls(&server);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let (written, _) = wait_for(&server, "accept ", "passed", calls + 50);
    assert!((60..=60 + seconds).contains(&(written - 50)), "{written} in {seconds} s");
    let lines = server.stderr.all();
    let target = |line: &&String| line.split_whitespace().nth(1).map(str::to_owned);
    let accepts: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("accept "))
        .filter_map(|it| target(&it))
        .collect();
    let of = |wanted: &str| accepts.iter().filter(|target| *target == wanted).count();
    assert!(accepts.iter().any(|target| of(target) == 50), "{accepts:?}");
    server.end("TERM");
}

#[test]
fn without_a_limit_each_decision_has_a_line() {
    let server = start(CONFIG, &["--log-rate=unlimited"]);
    flood(&Caller::from("127.0.0.2", &server), 900);
    assert_eq!(wait_for(&server, "challenge ", "asked", 300), (300, 0));
    server.end("TERM");
}

/// The lines on stderr of a server that challenged one call and refused another. Stderr is a file, and the
/// variable names it or another one as the journal.
#[cfg(target_os = "linux")]
fn lines_with_journal(is_stderr: bool) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;

    let (path, config) = (file("stderr", ""), file("edge.toml", CONFIG));
    let found = fs::metadata(&path).unwrap();
    let inode = if is_stderr { found.ino() } else { found.ino() + 1 };
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["serve", "--config", config.to_str().unwrap(), "--on-accept=ok", "--log=decisions"])
        .args(["--sip", "127.0.0.1:0", "--api", "off"])
        .env("JOURNAL_STREAM", format!("{}:{inode}", found.dev()))
        .stdout(Stdio::piped())
        .stderr(fs::OpenOptions::new().append(true).open(&path).unwrap())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let address = stdout.wait_for("listening for SIP on ").split(' ').nth(4).unwrap().to_owned();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for host in ["by-password.example", "nowhere.example"] {
        let invite = Request::invite(&format!("sip:1@{host}")).text();
        socket.send(invite.as_bytes()).unwrap();
        assert!(socket.recv(&mut [0; 2_048]).is_ok(), "no answer");
    }
    // one line on stderr that is not of the log: there is nothing to reopen
    let process = child.id().to_string();
    assert!(Command::new("kill").args(["-USR1", &process]).status().unwrap().success());
    let begun = Instant::now();
    let lines = loop {
        let text = fs::read_to_string(&path).unwrap();
        if text.matches('\n').count() >= 3 {
            break text.lines().map(str::to_owned).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_begins_with_its_priority_in_the_journal_and_with_its_time_elsewhere() {
    let lines = lines_with_journal(true);
    for begin in ["<6>challenge target=", "<5>reject target=", "<5>sip-authz: SIGUSR1: "] {
        assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin} in {lines:?}");
    }
    let lines = lines_with_journal(false);
    for begin in ["challenge target=", "reject target="] {
        let line = lines
            .iter()
            .find_map(|line| line.split_once(' ').filter(|(_, rest)| rest.starts_with(begin)));
        let time: jiff::Timestamp = line.unwrap().0.parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(time).as_secs();
        assert!((0..600).contains(&age), "{lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("sip-authz: SIGUSR1: ")), "{lines:?}");
}
