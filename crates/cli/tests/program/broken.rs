//! Broken configuration files and command lines: the message, line, column and exit code of each.
//!
//! `broken_files.txt` and `broken_edges.txt` have the files. `BROKEN_FILES=print cargo test -p sip-authz-cli --test program
//! broken -- --nocapture` prints the table with the present output of the program.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{file, outcome, run};

/// A case of `broken_files.txt`.
struct Case {
    name: &'static str,
    file: Vec<u8>,
    lines: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    let all = [include_str!("broken_files.txt"), include_str!("broken_edges.txt")];
    let cases = all.iter().flat_map(|all| all.split("\n=== ").skip(1)).map(|case| {
        let (name, case) = case.split_once('\n').unwrap();
        let (text, lines) = case.split_once("\n---\n").unwrap();
        Case { name, file: bytes(&format!("{text}\n")), lines: lines.lines().collect() }
    });
    cases.collect()
}

/// The text with each `<E9>` replaced by the byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        bytes.extend(before.as_bytes());
        let byte = after.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let length = match byte.filter(|_| after[3..].starts_with('>')) {
            Some(byte) => {
                bytes.push(byte);
                4
            }
            None => {
                bytes.push(b'<');
                1
            }
        };
        rest = &after[length..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// The lines of a command without the name of the program and of the file.
fn lines(stderr: &str, path: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.strip_prefix("sip-authz: ").unwrap_or(line);
        let line = line.strip_prefix(&format!("{path}:")).unwrap_or(line);
        line.trim_start().replace(&format!(" in {path}"), "")
    };
    stderr.lines().map(line).collect()
}

/// The errors of `check --json`, as the lines above without their number at the end.
fn json_lines(stdout: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(stdout).unwrap();
    assert_eq!((&report["valid"], &report["omitted"]), (&false.into(), &0.into()), "{stdout}");
    let line = |error: &Value| {
        let mut line = String::new();
        if let (Some(number), Some(column)) = (error["line"].as_u64(), error["column"].as_u64()) {
            write!(line, "{number}:{column}: ").unwrap();
        }
        if let Some(key) = error["key"].as_str() {
            write!(line, "{key}: ").unwrap();
        }
        line + error["message"].as_str().unwrap()
    };
    report["errors"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn each_broken_file_has_all_its_errors_in_one_run() {
    let prints = std::env::var_os("BROKEN_FILES").is_some();
    let cases = cases();
    assert!(cases.len() >= 120, "{}", cases.len());
    let mut wrong = String::new();
    for Case { name, file: content, lines: expected } in cases {
        let path = file("edge.toml", "");
        fs::write(&path, content).unwrap();
        let path = path.to_str().unwrap();
        let (code, stdout, stderr) = outcome(&run(&["check", "--config", path]));
        let found = lines(&stderr, path);
        if prints {
            println!("| {name} | {} |", found.join("<br>"));
        }
        if (code, stdout.as_str()) != (Some(2), "") || found != expected {
            writeln!(wrong, "=== {name}\n--- {code:?} {stdout}\n{}", found.join("\n")).unwrap();
        }
        // the same list at the start of `serve`, and for scripts
        let serve = ["serve", "--sip", "127.0.0.1:0", "--on-accept", "ok", "--config", path];
        assert_eq!(outcome(&run(&serve)), (Some(2), String::new(), stderr), "{name}");
        let (code, stdout, stderr) = outcome(&run(&["check", "--json", "--config", path]));
        assert_eq!((code, stderr.as_str()), (Some(2), ""), "{name}");
        let count = format!("{} errors", found.len().saturating_sub(1));
        let errors: Vec<_> = found.iter().filter(|line| **line != count).cloned().collect();
        assert_eq!(json_lines(&stdout), errors, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn files_that_cannot_be_read_or_have_very_many_errors() {
    let folder = file("edge.toml", "").parent().unwrap().to_owned();
    let check = |path: &Path| {
        let path = path.to_str().unwrap();
        let (code, _, stderr) = outcome(&run(&["check", "--config", path]));
        assert_eq!(code, Some(2), "{stderr}");
        lines(&stderr, path)
    };
    assert_eq!(check(&folder), ["expected a file, found a directory"]);
    assert_eq!(check(&folder.join("none.toml")), ["no such file"]);
    let found = check(&file("edge.toml", &"[[trunks]]\nsecure = 1\n".repeat(10_000)));
    assert_eq!(found.len(), 102);
    assert_eq!(
        found[99..],
        [
            "100:10: trunks[49].secure: expected a boolean, found an integer",
            "and 19900 more",
            "20000 errors"
        ]
    );
    for (text, expected) in [
        (format!("realm = '{}'\n", "x".repeat(1_000_000)), "1:9: realm: a realm has at most 128 bytes, this one has 1000000".to_owned()),
        (format!("{} = 1\n", "x".repeat(100_000)), "1:1: unknown key, expected `realm`, `edge`, `next_hop_allow`, `accounts`, `ip_access_control_lists`, `credential_lists`, `domains` or `trunks`".to_owned()),
        (format!("realm = {}{}\n", "[".repeat(5_000), "]".repeat(5_000)), format!("1:89: realm{}…: too many levels of arrays or tables", "[0]".repeat(11))),
        (format!("realm{} = 1\n", ".a".repeat(2_000)), "1:1: too many levels of arrays or tables".to_owned()),
    ] {
        assert_eq!(check(&file("edge.toml", &text)), [expected]);
    }
}

#[test]
fn a_valid_file_has_a_summary_and_its_warnings() {
    let text = "realm = 'r'\n[[ip_access_control_lists]]\nname = 'office'\naddresses = ['192.0.2.0/24']\n\
                [[credential_lists]]\nname = 'staff'\n[[domains]]\nname = 'a.example'\nsecure = true\n\
                ip_access_control_lists = ['office']\n";
    let path = file("edge.toml", text);
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = outcome(&run(&["check", "--config", path]));
    let summary = "is valid: 1 domain, 0 trunks, 2 lists, 0 users, 1 prefix; 3 warnings\n";
    assert_eq!((code, stdout), (Some(0), format!("{path} {summary}")), "{stderr}");
    let stderr = stderr.replace(path, "edge.toml");
    assert_eq!(
        stderr,
        "sip-authz: warning: edge.toml:6:8: credential_lists[0].name: credential list `staff` has no \
         credentials, so it admits no caller\n\
         sip-authz: warning: edge.toml:6:8: credential_lists[0].name: credential list `staff` is \
         mapped to no domain and no trunk, so it has no effect\n\
         sip-authz: warning: edge.toml:8:8: domains[0].name: domain `a.example` is `secure`: without \
         a listener for TLS (`serve --sips`) every call to it is rejected\n"
    );
    let (code, stdout, _) = outcome(&run(&["check", "--json", "--config", path]));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["valid"]), (Some(0), &true.into()));
    let summary = &report["summary"];
    assert_eq!((&summary["domains"], &summary["prefixes"]), (&1.into(), &1.into()));
    let first = &report["warnings"][0];
    assert_eq!((&first["line"], &first["column"]), (&6.into(), &8.into()));
    assert_eq!(first["key"], "credential_lists[0].name");
}

#[test]
fn each_broken_command_line_names_the_value_the_choices_and_an_example() {
    let mut wrong = String::new();
    for (args, parts) in [
        (
            &["serve"][..],
            &[
                "--on-accept <ok|redirect:TARGET|forward:HOP>",
                "`ok`",
                "`redirect:`",
                "sip-authz serve --demo",
            ][..],
        ),
        (&["serve", "--on-accept"], &["--on-accept", "--on-accept redirect:sip:gw.example.net"]),
        (&["serve", "--on-accept", "drop"], &["'drop'", "`ok`", "--on-accept ok"]),
        (
            &["serve", "--on-accept", "redirect:tel:1"],
            &["'redirect:tel:1'", "--on-accept redirect:sip:"],
        ),
        (&["serve", "--demo", "--sip", "nowhere:x"], &["'nowhere:x'", "--sip 0.0.0.0:5060"]),
        (&["serve", "--demo", "--api", "8080"], &["'8080'", "`off`", "--api 127.0.0.1:8080"]),
        (&["serve", "--demo", "--metrics", "x"], &["'x'", "--metrics 127.0.0.1:9464"]),
        (&["serve", "--demo", "--udp-workers", "0"], &["'0'", "1..=1024", "--udp-workers 2"]),
        (
            &["serve", "--demo", "--udp-reply-port", "via"],
            &["'via'", "sent-by", "--udp-reply-port source"],
        ),
        (&["serve", "--demo", "--log"], &["--log refused or --log 1/100"]),
        (
            &["serve", "--demo", "--log", "verbose"],
            &["'verbose'", "`decisions`, `refused`, `1/N` or `none`", "--log refused"],
        ),
        (&["serve", "--demo", "--log", "1/0"], &["'1/0'", "--log 1/100"]),
        (&["serve", "--demo", "--log-names"], &["--log <", "--log refused"]),
        (
            &["serve", "--demo", "--decision-log-rate", "5"],
            &["--decision-log <FILE>", "--decision-log decisions.json"],
        ),
        (
            &["serve", "--demo", "--decision-log", "x", "--decision-log-size", "1"],
            &["'1'", "`unlimited`", "--decision-log-size 256M"],
        ),
        (
            &["serve", "--demo", "--decision-log", "x", "--decision-log-sampling", "2/3"],
            &["'2/3'", "--decision-log-sampling 1/100"],
        ),
        (
            &["serve", "--demo", "--api-head-timeout", "30"],
            &["'30'", "30s, 5m or 1h", "--api-head-timeout 30s"],
        ),
        (
            &["serve", "--demo", "--public-url", "api"],
            &["'api'", "--public-url https://api.example.com"],
        ),
        (
            &["serve", "--demo", "--cors-origin", "*"],
            &["'*'", "--cors-origin https://console.example.com"],
        ),
        (
            &["serve", "--demo", "--limit", "calls=5"],
            &["'calls=5'", "domains, trunks", "--limit domains=500"],
        ),
        (
            &["serve", "--demo", "--limit", "domains=x"],
            &["'domains=x'", "expected a number", "--limit domains=500"],
        ),
        (&["serve", "--demo", "--nonces", "9"], &["'9'", "512..=134217728", "--nonces 131072"]),
        (
            &["serve", "--demo", "--realm", "a\"b"],
            &["must not be in a realm", "--realm sip.example.com"],
        ),
        (
            &["serve", "--demo", "--domain-suffix", "a b"],
            &["`a b` is not a host name", "--domain-suffix sip.example.com"],
        ),
        (
            &["serve", "--demo", "--config", "x"],
            &["--demo", "--config <FILE>", "cannot be used with"],
        ),
        (&["serve", "--demo", "--confg", "x"], &["'--confg'", "--config"]),
        (&["check"], &["--config <FILE>", "--config edge.toml"]),
        (&["check", "--config"], &["--config <FILE>", "--config edge.toml"]),
        (&["check", "--config", "x", "invite.sip"], &["--source <IP>", "--source 192.0.2.7"]),
        (&["check", "--config", "x", "--source", "::1"], &["<FILE.sip>"]),
        (&["check", "--config", "x", "--source", "gw", "f"], &["'gw'", "--source 192.0.2.7"]),
        (
            &["check", "--config", "x", "--source", "::1", "--transport", "dtls", "f"],
            &["'dtls'", "tls", "--transport tls"],
        ),
        (
            &["check", "--config", "x", "--source", "::1", "--port", "70000", "f"],
            &["'70000'", "--port 5060"],
        ),
        (&["import"], &["<FILE>"]),
        (
            &["import", "x", "--format", "yaml"],
            &["'yaml'", "subscriber-csv", "--format subscriber-csv"],
        ),
        (
            &["import", "x", "--account", "acme"],
            &["'acme'", "AC and 32 hexadecimal digits", "--account AC"],
        ),
        (&["backup", "x"], &["--data <DIR>", "--data /var/lib/sip-authz"]),
        (&["account", "create"], &["<NAME>", "\"Acme Ltd\""]),
        (&["account", "close", "acme"], &["'acme'", "for example AC"]),
        (&["account", "delete", "x"], &["'delete'"]),
        (&["export", "--output"], &["--output <FILE>", "--output records.json"]),
        (&["serve", "--demo", "--sip", "sip:a.example"], &["without `sip:`", "--sip :5060"]),
        (&["serve", "--demo", "--sip", "udp:0.0.0.0:5060"], &["without `udp:`"]),
        (&["serve", "--demo", "--sip", ":0,:1"], &["`domain=NAME` or `inside`, found `:1`"]),
        (&["serve", "--demo", "--advertise", "0.0.0.0"], &["callers cannot reach `0.0.0.0`"]),
        (&["serve", "--demo", "--advertise", ":5060"], &["expected a host that callers can reach"]),
        (
            &["serve", "--demo", "--default-domain", "from:"],
            &["`listener`, `route`, `to`", "--default-domain to,sip.example.com"],
        ),
        (
            &["serve", "--demo", "--trusted-proxy", "proxy.example"],
            &["not an IP address", "--trusted-proxy 192.0.2.1"],
        ),
        (
            &["serve", "--demo", "--trusted-proxy", "::1", "--source-header", "To"],
            &["without another meaning", "found `To`", "--source-header X-Authz-Source"],
        ),
        (
            &["serve", "--demo", "--trusted-proxy", "::1", "--source-from", "from"],
            &["'from'", "header, via", "--source-from via"],
        ),
        (
            &["serve", "--demo", "--next-hop-allow", "sip:gw.example.net"],
            &["without `sip:`", "--next-hop-allow .carrier.example"],
        ),
        (&["serve", "--demo", "--next-hop-allow", "[::1"], &["IPv6 address or prefix in brackets"]),
        (&["serve", "--on-accept", "redirect:a,,b"], &["position 12", "a host or SIP URI"]),
        // all errors of settings that complete each other
        (
            &[
                "serve",
                "--demo",
                "--sips",
                ":0",
                "--source-from",
                "via",
                "--default-domain",
                "a,b,c,d,e",
            ],
            &[
                "--default-domain: expected at most 4 values, found 5\n",
                "--source-from needs --trusted-proxy, as an option or in [edge]",
                "--sips needs --tls-cert, as an option or in [edge]",
            ],
        ),
        (&["import", "no-such-file"], &["no-such-file: no such file\n"]),
        (
            &["serve", "--demo", "--decision-log", "/no-such-folder/x"],
            &["/no-such-folder/x: no such folder\n"],
        ),
        (&["serv"], &["'serv'", "'serve'"]),
        (&[], &["Usage: sip-authz <COMMAND>", "sip-authz serve --demo"]),
    ] {
        let (code, stdout, stderr) = outcome(&run(args));
        for part in parts {
            if (code, stdout.as_str()) != (Some(2), "") || !stderr.contains(part) {
                writeln!(wrong, "{args:?}: no {part} in {code:?} {stdout}{stderr}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_password_of_a_command_line_is_printed() {
    for args in [
        &["serve", "--on-accept", "redirect:sip:alice:hunter22@gw.example.net"][..],
        &["serve", "--on-accept", "redirect:gw1,sip:alice:hun,ter22@gw2"],
        &["serve", "--on-accept", "forward:pbx1,sip:alice:hun,ter22@pbx2"],
        &["serve", "--on-accept", "forward:alice:hunter22@pbx"],
        &["serve", "--demo", "--public-url", "https://alice:hunter22@api.example.com"],
        &["serve", "--demo", "--cors-origin", "https://alice:hunter22@api.example.com"],
        &["serve", "--demo", "--advertise", "alice:hunter22@edge.example.com"],
        &["serve", "--demo", "--sip", "sip:alice:hunter22@edge.example.com"],
        &["serve", "--demo", "--next-hop-allow", "sip:alice:hunter22@gw"],
        &["account", "--api", "https://alice:hunter22@127.0.0.1:1", "list"],
    ] {
        let (code, stdout, stderr) = outcome(&run(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(!stderr.contains("ter22"), "{stderr}");
    }
}
