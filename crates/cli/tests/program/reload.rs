//! Reloads of the configuration file: the number of the snapshot, the summary, the changes, metrics.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::metrics::{address, scrape, wait_for};
use crate::support::{Caller, Lines, Request, Server, file, status};

const FILE: &str = "[[ip_access_control_lists]]\nname = 'office'\naddresses = ['127.0.0.1']\n\
                    [[domains]]\nname = 'one.example'\nip_access_control_lists = ['office']\n";

#[test]
fn each_reload_has_a_number_a_summary_and_its_changes() {
    let path = file("edge.toml", FILE);
    let name = path.to_str().unwrap();
    let log = path.with_file_name("decisions.json");
    let decisions = log.to_str().unwrap();
    let server = Server::start(&[
        "--config",
        name,
        "--on-accept",
        "ok",
        "--metrics",
        "127.0.0.1:0",
        "--decision-log",
        decisions,
    ]);
    server.stdout.wait_for("snapshot 1: 1 domain, 0 trunks, 1 list, 0 users, 1 prefix");
    let url = address(&server.stdout);
    let caller = Caller::new(&server);
    let ask =
        |domain: &str| status(&caller.ask(&Request::invite(&format!("sip:1@{domain}")).text()));
    let successful = "sip_authz_config_last_reload_successful";
    let time = "sip_authz_config_last_reload_success_timestamp_seconds";
    let number = "sip_authz_snapshot_number";
    let page = scrape(&url);
    assert_eq!((page[number], page[successful]), (1.0, 1.0));
    let started = page[time];
    assert!(started > 1.7e9, "{started}");
    assert_eq!(ask("one.example"), 200);

    // a failed reload keeps the number and the time
    std::fs::write(&path, FILE.replace("127.0.0.1", "127.0.0.1/8")).unwrap();
    server.signal("HUP");
    server.stderr.wait_for("; the old state stays in use");
    let page = wait_for(&url, successful, 0.0);
    assert_eq!((page[number], page[time]), (1.0, started));

    let more = "[[domains]]\nname = 'two.example'\nip_access_control_lists = ['office']\n";
    std::fs::write(&path, format!("{}{more}", FILE.replace("127.0.0.1", "127.0.0.0/8"))).unwrap();
    server.signal("HUP");
    server.stderr.wait_for(&format!(
        "sip-authz: reloaded {name}: snapshot 2: 2 domains, 0 trunks, 1 list, 0 users, 1 prefix"
    ));
    server.stderr.wait_for(
        "sip-authz: snapshot 2: added 1 domain (two.example), 1 prefix (in office); removed 1 prefix \
         (in office)",
    );
    let page = wait_for(&url, successful, 1.0);
    assert!(page[number] == 2.0 && page[time] > started, "{page:#?}");
    assert_eq!(ask("two.example"), 200);

    // an unchanged file is a reload too
    server.signal("HUP");
    server.stderr.wait_for("sip-authz: snapshot 3: nothing changed");
    assert_eq!(ask("one.example"), 200);
    server.end("TERM");
    let lines = std::fs::read_to_string(&log).unwrap();
    let numbers: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["snapshot"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
}

#[test]
fn warnings_are_printed_at_the_start_and_at_each_reload() {
    let path =
        file("edge.toml", &FILE.replace("ip_access_control_lists = ['office']", "secure = true"));
    let name = path.to_str().unwrap();
    let server = Server::start(&["--config", name, "--on-accept", "ok"]);
    for part in [
        ":2:8: ip_access_control_lists[0].name: IP access control list `office` is mapped to no domain",
        ":5:8: domains[0].name: domain `one.example` has no list, so every call to it is rejected",
        ":5:8: domains[0].name: domain `one.example` is `secure`: without a listener for TLS",
    ] {
        server.stderr.wait_for(&format!("sip-authz: warning: {name}{part}"));
    }
    std::fs::write(&path, "").unwrap();
    server.signal("HUP");
    server
        .stderr
        .wait_for(&format!("sip-authz: warning: {name}: the file has no domain and no trunk"));
    server
        .stderr
        .wait_for("sip-authz: snapshot 2: removed 1 domain (one.example), 1 list (office)");
}

#[test]
fn sigusr1_loads_no_file() {
    let path = file("edge.toml", FILE);
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    std::fs::write(&path, "half an edi").unwrap();
    server.signal("USR1");
    server.stderr.wait_for("SIGUSR1: nothing to reopen without --decision-log");
    let caller = Caller::new(&server);
    assert_eq!(status(&caller.ask(&Request::invite("sip:1@one.example").text())), 200);
    assert_eq!(server.stderr.all().len(), 1);
}

/// A named pipe beside the other files of a test.
fn pipe(beside: &Path, name: &str) -> PathBuf {
    let path = beside.with_file_name(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Opens a pipe to write to, once the program has opened it to read.
fn feed(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn signals_before_the_start_end_nothing_and_are_obeyed_after_it() {
    let path = file("edge.toml", FILE);
    let slow = pipe(&path, "slow.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        // not the default port, which another program can have
        .args(["serve", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0"])
        .args(["--on-accept", "ok", "--config"])
        .arg(&slow)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let stderr = Lines::of(child.stderr.take().unwrap());
    let signal = |name: &str| {
        let process = child.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    };
    let mut writer = feed(&slow);
    std::fs::rename(&path, &slow).unwrap();
    signal("-HUP");
    signal("-USR1");
    writer.write_all(b"# empty\n").unwrap();
    drop(writer);
    stdout.wait_for("listening for SIP on ");
    stderr.wait_for("sip-authz: snapshot 2: added 1 domain (one.example)");
    stderr.wait_for("SIGUSR1: nothing to reopen without --decision-log");
    signal("-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reload_that_hangs_delays_neither_a_rotation_nor_the_end() {
    let (path, log) = (file("edge.toml", FILE), file("decisions.json", ""));
    let name = path.to_str().unwrap();
    let log = ["--decision-log", log.to_str().unwrap()];
    for end in ["TERM", "INT"] {
        let args = [&["--config", name, "--on-accept", "ok"][..], &log].concat();
        let server = Server::start(&args);
        let slow = pipe(&path, &format!("{end}.toml"));
        std::fs::rename(&slow, &path).unwrap();
        server.signal("HUP");
        let writer = feed(&path);
        server.signal("USR1");
        server.stderr.wait_for("sip-authz: reopened ");
        let caller = Caller::new(&server);
        assert_eq!(status(&caller.ask(&Request::invite("sip:1@one.example").text())), 200);
        server.end(end);
        drop(writer);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, FILE).unwrap();
    }
}
