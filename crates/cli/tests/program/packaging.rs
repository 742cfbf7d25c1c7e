//! The files that packages install beside the program.

use crate::support::{Caller, Request, Server, file, header, outcome, run, status};

#[test]
fn each_shell_has_a_completion_script_that_knows_the_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, errors) = outcome(&run(&["completions", shell]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        for word in ["serve", "on-accept", "rotate-token", "completions"] {
            assert!(script.contains(word), "no {word} for {shell}");
        }
    }
    let (code, script, errors) = outcome(&run(&["completions", "cmd"]));
    assert_eq!((code, script.as_str()), (Some(2), ""));
    assert!(errors.contains("bash"), "{errors}");
}

#[test]
fn the_program_and_each_command_have_a_manual_page() {
    let folder = file("unused", "").with_file_name("man1");
    std::fs::create_dir(&folder).unwrap();
    let (code, printed, errors) = outcome(&run(&["man", folder.to_str().unwrap()]));
    assert_eq!((code, printed.as_str(), errors.as_str()), (Some(0), "", ""));
    for (page, words) in [
        ("sip-authz", ["check", "backup"]),
        ("sip-authz-serve", ["SIP_AUTHZ_ADMIN_TOKEN", "SIGHUP"]),
        ("sip-authz-account-rotate-token", ["SID", "auth token"]),
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH "), "{page}");
        for word in words {
            assert!(text.contains(word), "no {word} in {page}");
        }
    }
    let (code, _, errors) = outcome(&run(&["man", "/nowhere"]));
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("sip-authz: /nowhere: "), "{errors}");
}

/// A file of the Debian package.
fn packaged(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/debian");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_packaged_command_line_serves_the_packaged_file_and_refuses_calls() {
    let path = file("edge.toml", &packaged("edge.toml"));
    let defaults = packaged("default");
    let lines = defaults.lines().filter_map(|line| line.split_once("SIP_AUTHZ_OPTIONS="));
    let lines: Vec<_> = lines.map(|(_, options)| options.trim_matches('"')).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let data = path.with_file_name("data");
    for line in lines {
        // the test server has free ports
        let replaced = line
            .replacen("--sip :5060 ", "", 1)
            .replacen(" --api 127.0.0.1:8080", "", 1)
            .replacen("/etc/sip-authz/edge.toml", path.to_str().unwrap(), 1)
            .replacen("/var/lib/sip-authz", data.to_str().unwrap(), 1);
        assert!(!replaced.contains("--sip") && !replaced.contains("--api"), "{replaced}");
        let server = Server::start(&replaced.split(' ').collect::<Vec<_>>());
        let invite = Request::invite("sip:100@sip.acme.example").text();
        assert_eq!(status(&Caller::new(&server).ask(&invite)), 404, "{line}");
        server.end("TERM");
    }
}

#[test]
fn the_file_in_readme_redirects_a_call_with_its_number() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let toml = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let path = file("edge.toml", toml);
    let on_accept = ["--on-accept", "redirect:sip:gw.example.net"];
    let server = Server::start(&[&["--config", path.to_str().unwrap()], &on_accept[..]].concat());
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:14155550100@sip.example.com");
    let challenge = caller.ask(&invite.text());
    assert_eq!(status(&challenge), 407);
    let answer = caller.ask(&invite.authorized(&challenge, "alice", "Correct-Horse-7").text());
    assert_eq!(header(&answer, "Contact"), Some("<sip:14155550100@gw.example.net>".to_owned()));
}

#[test]
fn the_example_in_the_packaged_file_asks_for_address_and_password() {
    let text = packaged("edge.toml");
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let server = Server::config(&uncommented.join("\n").replace("192.0.2.0/24", "127.0.0.1"));
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:100@sip.acme.example");
    let challenge = caller.ask(&invite.text());
    assert_eq!(status(&challenge), 407);
    let right = invite.authorized(&challenge, "alice", "Correct-Horse-7");
    assert_eq!(status(&caller.ask(&right.text())), 200);
    assert_eq!(status(&Caller::from("127.0.0.2", &server).ask(&invite.text())), 403);
}
