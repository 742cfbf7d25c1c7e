//! The text log on stderr: its limits of lines.

use std::time::{Duration, Instant};

use crate::decision_log::{TWO_ACCOUNTS, flood, loud_and_quiet_calls};
use crate::metrics::CONFIG;
use crate::support::{Caller, Server, file};

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
        assert!(start.elapsed() < Duration::from_secs(10), "{written} {left_out} {reason}");
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
