//! The output of commands: a stdout without a reader, and JSON on a terminal.

use std::process::Stdio;

use crate::support::{ADMIN_TOKEN, Server, client, file, outcome, run};

/// A name that would change how a terminal shows the line.
const NAME: &str = "x\u{202e}\u{2066}y\u{fffd}";

const CONFIG: &str = r#"realm = "r"
[[accounts]]
name = "acme"
[[ip_access_control_lists]]
name = "office"
addresses = ["192.0.2.0/24"]
[[domains]]
name = "a.example"
ip_access_control_lists = ["office"]
"#;

const INVITE: &str = "INVITE sip:1@a.example SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\n\
                      From: <sip:x@a.example>;tag=1\nTo: <sip:1@a.example>\nCall-ID: 1\nCSeq: 1 INVITE\n\
                      Max-Forwards: 70\nContent-Length: 0\n\n";

/// The commands that print to stdout, without those of the terminal and of new secrets.
fn commands(config: &str, invite: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let check = ["check", "--config", config];
    let decide = ["--source", "192.0.2.7", invite];
    for command in [
        "account list",
        "completions bash",
        "domain list",
        "domain show a.example",
        "list list",
        "list show office",
        "role list",
        "trunk list",
        "why",
        "limits",
        "status",
    ] {
        commands.push(command.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }
    commands.push(check.map(str::to_owned).to_vec());
    commands.push([&check[..], &decide].concat().into_iter().map(str::to_owned).collect());
    let json = |command: &Vec<String>| {
        let has_json = !matches!(&*command[0], "account" | "completions");
        has_json.then(|| [&command[..], &["--json".to_owned()]].concat())
    };
    let with_json: Vec<_> = commands.iter().filter_map(json).collect();
    commands.extend(with_json);
    commands
}

#[test]
fn a_closed_stdout_is_no_error() {
    let (config, invite) = (file("edge.toml", CONFIG), file("invite.sip", INVITE));
    let server = Server::config(CONFIG);
    let api = format!("http://{}", server.api);
    for command in commands(config.to_str().unwrap(), invite.to_str().unwrap()) {
        let run = |stdout: Stdio| {
            let mut client = client(&command.iter().map(String::as_str).collect::<Vec<_>>());
            if command[0] != "check" {
                client.env("SIP_AUTHZ_API", &api);
            }
            client.env("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN).stdin(Stdio::null()).stdout(stdout);
            outcome(&client.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
        };
        let (code, stdout, stderr) = run(Stdio::piped());
        assert!(!stdout.is_empty() && stderr.is_empty(), "{command:?}: {stderr}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()), (code, String::new(), String::new()), "{command:?}");
    }
}

#[test]
fn json_is_ascii_in_each_command() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let at = |command: &[&str]| outcome(&run(&[command, &["--api", &api]].concat()));
    assert_eq!(at(&["account", "create", "acme"]).0, Some(0));
    let created = ["domain", "create", "a.example", "--name", NAME, "--json"];
    let list = ["list", "create", "office", "--ip", "--json"];
    let mut outputs = vec![at(&created), at(&list)];
    for command in
        [&["domain", "list", "--json"][..], &["domain", "show", "a.example", "--json"], &["export"]]
    {
        outputs.push(at(command));
    }
    let config = file("edge.toml", &format!("[[{NAME:?}]]\nrealm = \"\u{202e}\u{85}\"\n"));
    outputs.push(outcome(&run(&["check", "--json", "--config", config.to_str().unwrap()])));
    for (_, stdout, stderr) in outputs {
        assert!(!stdout.is_empty(), "{stderr}");
        let is_plain = |byte: u8| byte == b'\n' || (0x20..0x7f).contains(&byte);
        assert!(stdout.bytes().all(is_plain), "{stdout:?}");
        serde_json::from_str::<serde_json::Value>(&stdout).unwrap();
    }
    for command in [&["domain", "show", "a.example", "--json"][..], &["export"]] {
        assert!(at(command).1.contains("\\u202e"), "{command:?}");
    }
}
