//! `sip-authz check`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{Request, file, outcome, run};

const CONFIG: &str = r#"
realm = "example"
[[accounts]]
name = "acme"
[[ip_access_control_lists]]
name = "office"
addresses = ["192.0.2.0/24"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "secret word" }]
[[domains]]
name = "a.example"
ip_access_control_lists = ["office"]
[[domains]]
name = "b.example"
ip_access_control_lists = ["office"]
credential_lists = ["staff"]
[[domains]]
name = "c.example"
secure = true
ip_access_control_lists = ["office"]
"#;

fn check(message: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let config = file("edge.toml", CONFIG);
    let invite = file("invite.sip", message);
    let mut args = vec!["check", "--config", config.to_str().unwrap()];
    args.extend(options);
    args.push(invite.to_str().unwrap());
    let (code, stdout, stderr) = outcome(&run(&args));
    (code, stdout, stderr.replace(invite.to_str().unwrap(), "FILE"))
}

/// Replaces the digits of SIDs, which are derived, with `…`.
fn masked(text: &str) -> String {
    let sid = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() == 34 && word[2..].bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        if sid(word) {
            let digits = word.find(|c: char| c.is_ascii_uppercase()).unwrap() + 2;
            format!("{}…{}", &word[..digits], &word[digits + 32..])
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

#[test]
fn a_policy_that_many_phones_fail_at_is_a_warning() {
    let invite = file("invite.sip", &Request::invite("sip:1@a.example").text());
    for (offer, warns) in [
        ("'md5-only'", None),
        ("'md5-first'", None),
        ("['SHA-256']", None),
        ("'sha256-first'", Some("SHA-256")),
        ("'strongest-first'", Some("SHA-512-256")),
    ] {
        let text = format!("{CONFIG}policy = {{ algorithms = {offer} }}\n");
        let config = file("edge.toml", &text);
        let config = config.to_str().unwrap();
        let args = ["check", "--config", config, "--source", "192.0.2.7", invite.to_str().unwrap()];
        let (code, _, stderr) = outcome(&run(&args));
        assert_eq!(code, Some(0), "{stderr}");
        let stderr = masked(&stderr.replace(config, "FILE"));
        let expected = warns.map(|first| {
            format!(
                "sip-authz: warning: FILE:22:10: domains[2].policy: SD… (c.example) offers several \
                 algorithms, {first} first: many phones fail at such a challenge \
                 (see docs/clients.md)\n"
            )
        });
        assert_eq!(stderr, expected.unwrap_or_default(), "{offer}");
    }
}

#[test]
fn each_step_has_the_names_of_the_file() {
    let invite = Request::invite("sip:1@a.example").text();
    let (code, stdout, stderr) = check(&invite, &["--source", "192.0.2.7"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        masked(&stdout),
        "host: `a.example` is SD… (a.example) of AC… (acme)\n\
         account: AC… (acme) is active\n\
         access list AL… (office): 192.0.2.7 matches 192.0.2.0/24 (IP…)\n\
         decision: accept\n"
    );

    let (code, stdout, _) = check(&invite, &["--source", "198.51.100.1"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("(office): 198.51.100.1 matches no entry\n"), "{stdout}");
    assert!(stdout.ends_with("decision: reject 403 address-not-listed, code 32201\n"), "{stdout}");

    let (code, stdout, _) =
        check(&Request::invite("sip:1@no.example").text(), &["--source", "::1"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        stdout,
        "host: no domain or trunk has the name `no.example`\n\
         cause: no domain or trunk has the host name (unknown-host)\n\
         decision: reject 404 unknown-host\n"
    );
}

#[test]
fn transports_ports_and_credentials() {
    let invite = Request::invite("sip:1@c.example").text();
    for (transport, code) in
        [("udp", 1), ("tcp", 1), ("sctp", 1), ("ws", 1), ("tls", 0), ("tls-sctp", 0), ("wss", 0)]
    {
        let options = ["--source", "192.0.2.7", "--port", "5061", "--transport", transport];
        assert_eq!(check(&invite, &options).0, Some(code), "{transport}");
    }
    let invite = Request::invite("sip:1@b.example");
    let (code, stdout, _) = check(&invite.text(), &["--source", "192.0.2.7"]);
    assert_eq!(code, Some(1));
    assert!(stdout.ends_with("decision: challenge 407\n"), "{stdout}");

    let challenge = "SIP/2.0 407 x\r\nProxy-Authenticate: Digest realm=\"example\", \
                     nonce=\"AAAAAAAAAAAAAAAAAAAAAA\", algorithm=MD5, qop=\"auth\"\r\n\r\n";
    for (user, password, part) in [
        ("alice", "secret word", "(alice), the digest is right\n"),
        ("alice", "guess", "(alice), the digest is wrong\n"),
        ("bob", "guess", "(staff): no such user\n"),
    ] {
        let request = invite.authorized(challenge, user, password).text();
        let (code, stdout, _) = check(&request, &["--source", "192.0.2.7"]);
        assert_eq!(code, Some(1));
        assert!(stdout.contains(part), "{stdout}");
        assert!(stdout.contains("note: `check` does not know"), "{stdout}");
    }
}

#[test]
fn files_from_an_editor_and_stdin() {
    let invite = Request::invite("sip:1@a.example").text().replace("\r\n", "\n");
    assert_eq!(check(&invite, &["--source", "192.0.2.7"]).0, Some(0));

    let config = file("edge.toml", CONFIG);
    let mut child = Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["check", "--source", "192.0.2.7", "--config", config.to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(invite.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_invalid_invite_is_an_error() {
    let invite = Request::invite("sip:1@a.example").text();
    for (message, expected) in [
        (String::new(), "not a SIP message"),
        ("hello".to_owned(), "not a SIP message"),
        (
            Request::new("BYE", "sip:1@a.example").text(),
            "BYE belongs to a call, and is not decided",
        ),
        (
            Request::new("ACK", "sip:1@a.example").text(),
            "a response, ACK or CANCEL, which are not decided",
        ),
        (invite.replace("Call-ID", "X"), "missing header `Call-ID`"),
        ("A b\n\n".to_owned(), "not a SIP message"),
    ] {
        let outcome = check(&message, &["--source", "192.0.2.7"]);
        assert_eq!(outcome, (Some(2), String::new(), format!("sip-authz: FILE: {expected}\n")));
    }
    let config = file("edge.toml", CONFIG);
    let config = config.to_str().unwrap();
    let missing = run(&["check", "--config", config, "--source", "::1", "no-such-file"]);
    let (code, _, stderr) = outcome(&missing);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("sip-authz: no-such-file: "), "{stderr}");
}

#[test]
fn control_characters_of_the_message_are_escaped() {
    let name = "Digest username*=UTF-8''%1b%5b1mx%0aforged, realm=\"example\", nonce=\"AAAAAAAAAAAAAAAAAAAAAA\", \
                uri=\"sip:1@b.example\", qop=auth, nc=00000001, cnonce=\"c\", algorithm=MD5, \
                response=\"00000000000000000000000000000000\"";
    let invite = Request::invite("sip:1@b.example").header("Proxy-Authorization", name).text();
    let (code, stdout, _) = check(&invite, &["--source", "192.0.2.7"]);
    assert_eq!(code, Some(1));
    assert!(!stdout.contains('\u{1b}') && !stdout.contains("\nforged"), "{stdout}");
}

#[test]
fn the_example_of_the_documentation_is_valid() {
    let documented = include_str!("../../../../docs/edge.toml");
    let config = file("edge.toml", documented);
    let invite = file("invite.sip", &Request::invite("sip:1@sip.acme.example").text());
    let (config, invite) = (config.to_str().unwrap(), invite.to_str().unwrap());
    let decide = |source| {
        let run = run(&["check", "--config", config, "--source", source, invite]);
        let (code, stdout, _) = outcome(&run);
        (code, stdout.lines().last().unwrap().to_owned())
    };
    assert_eq!(decide("192.0.2.9"), (Some(1), "decision: challenge 407".to_owned()));
    let outside = "decision: reject 403 address-not-listed, code 32201";
    assert_eq!(decide("198.51.100.9"), (Some(1), outside.to_owned()));
}

#[test]
fn a_default_domain_decides_for_calls_that_name_none() {
    let request = Request::invite("urn:service:sos").to("<sip:911@a.example>").text();
    let from_office = ["--source", "192.0.2.7"];
    let (code, stdout, _) = check(&request, &from_office);
    assert_eq!(
        (code, stdout.lines().next()),
        (Some(1), Some("Request-URI: unsupported uri scheme"))
    );
    let args = [&from_office[..], &["--default-domain", "route,to,c.example"]].concat();
    let (code, stdout, stderr) = check(&request, &args);
    let lines: Vec<_> = stdout.lines().take(2).collect();
    assert_eq!(
        lines,
        [
            "Request-URI: names no domain or trunk; domain host 1, `a.example`, does",
            "default domain: `to` gives that host",
        ],
        "{stderr}"
    );
    assert_eq!(code, Some(0), "{stdout}");

    // from the file, and the option in its place
    let config =
        file("edge.toml", &format!("{CONFIG}\n[edge]\ndefault_domain = [\"a.example\"]\n"));
    let invite = file("invite.sip", &Request::invite("tel:911").text());
    let (config, invite) = (config.to_str().unwrap(), invite.to_str().unwrap());
    let run_with = |more: &[&str]| {
        let args = ["check", "--config", config, "--source", "192.0.2.7", invite];
        outcome(&run(&[&args[..], more].concat())).0
    };
    assert_eq!(run_with(&[]), Some(0));
    assert_eq!(run_with(&["--default-domain", "b.example"]), Some(1));
    assert_eq!(run_with(&["--default-domain", "to"]), Some(1));
}

#[test]
fn a_file_is_valid_with_the_options_with_which_it_can_be_served() {
    let config =
        "[[domains]]\nname = 'sip.example.com'\non_accept = 'redirect:sip:{user}@gw.example'\n";
    let path = file("edge.toml", config);
    let with = |options: &[&str]| {
        let (code, _, error) =
            outcome(&run(&[&["check", "--config", path.to_str().unwrap()], options].concat()));
        (code, error.contains("the next hop `gw.example` is not allowed"))
    };
    let forward = file("forward.toml", &config.replace("redirect:sip:{user}@", "forward:sip:"));
    let with_forward = |options: &[&str]| {
        let args = [&["check", "--config", forward.to_str().unwrap()], options].concat();
        outcome(&run(&args)).0
    };
    for options in [["--on-accept", "forward:gw.example"], ["--next-hop-allow", "gw.example"]] {
        assert_eq!(with_forward(&options), Some(0), "{options:?}");
    }
    for other in ["redirect:sip:{user}@gw.example", "forward:gw.example:5070", "ok"] {
        assert_eq!(with_forward(&["--on-accept", other]), Some(2), "{other}");
    }
    for options in [
        ["--on-accept", "redirect:sip:{user}@gw.example"],
        ["--on-accept", "redirect:a.example,gw.example"],
        ["--next-hop-allow", "gw.example"],
    ] {
        assert_eq!(with(&options), (Some(0), false), "{options:?}");
    }
    for options in [&[][..], &["--on-accept", "ok"], &["--on-accept", "redirect:sip:1@gw.example"]]
    {
        assert_eq!(with(options), (Some(2), true), "{options:?}");
    }
}
