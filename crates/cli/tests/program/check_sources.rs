//! `sip-authz check` by the records of other sources than a configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Request, Server, file, outcome, run};

const CONFIG: &str = r#"
realm = "example"
[[accounts]]
name = "acme"
[[ip_access_control_lists]]
name = "office"
addresses = ["192.0.2.0/24"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "Secret-Word-7" }]
[[domains]]
name = "a.example"
ip_access_control_lists = ["office"]
[[domains]]
name = "b.example"
ip_access_control_lists = ["office"]
credential_lists = ["staff"]
[[trunks]]
name = "the trunk"
domain_name = "t.example"
ip_access_control_lists = ["office"]
"#;

/// A challenge of another server. Its nonce has another form than those of `sip-authz`: one of the same form
/// can have the bits of an issuer by chance, and then another cause.
const CHALLENGE: &str = "SIP/2.0 407 x\r\nProxy-Authenticate: Digest realm=\"example\", \
                         nonce=\"of another server\", algorithm=MD5, qop=\"auth\"\r\n\r\n";

/// Requests, each with its source.
fn requests() -> Vec<(String, &'static str)> {
    let b = Request::invite("sip:1@b.example");
    let right = b.authorized(CHALLENGE, "alice", "Secret-Word-7").text();
    vec![
        // as from an editor, with and without the blank line after the head, and with a body
        (right.replace("\r\n", "\n"), "192.0.2.7"),
        (right.replace("\r\n", "\n").trim_end().to_owned(), "192.0.2.7"),
        (right.trim_end().to_owned(), "192.0.2.7"),
        (format!("{}v=0\no=-\n", right.replace("\r\n", "\n")), "192.0.2.7"),
        (Request::invite("sip:1@a.example").text(), "192.0.2.7"),
        (Request::invite("sip:1@a.example").text(), "198.51.100.7"),
        (Request::invite("sip:1@t.example").text(), "192.0.2.7"),
        (Request::invite("sip:1@nobody.example").text(), "192.0.2.7"),
        (b.text(), "192.0.2.7"),
        (right.clone(), "192.0.2.7"),
        (b.authorized(CHALLENGE, "alice", "a guess").text(), "192.0.2.7"),
        (b.authorized(CHALLENGE, "nobody", "a guess").text(), "192.0.2.7"),
        (Request::new("BYE", "sip:1@a.example").text(), "192.0.2.7"),
    ]
}

/// A server of a new folder with the records of [`CONFIG`].
fn server() -> (Server, String) {
    let folder = file("beside", "").with_file_name("data").to_str().unwrap().to_owned();
    let server = Server::start(&["--data", &folder, "--on-accept", "ok"]);
    let config = file("edge.toml", CONFIG);
    let api = format!("http://{}", server.api);
    let (code, _, error) = outcome(&run(&["import", "--api", &api, config.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{error}");
    (server, folder)
}

type Outcome = (Option<i32>, String, String);

fn check(source: [&str; 2], message: &str, from: &str, more: &[&str]) -> Outcome {
    let invite = file("invite.sip", message);
    let invite = invite.to_str().unwrap();
    let args = [&["check"], &source[..], &["--source", from], more, &[invite]].concat();
    let (code, stdout, stderr) = outcome(&run(&args));
    (code, stdout, stderr.replace(invite, "FILE"))
}

/// Asserts that a source gives the same output and code for each request as the file.
fn assert_like_the_file(source: [&str; 2]) {
    let config = file("edge.toml", CONFIG);
    let config = ["--config", config.to_str().unwrap()];
    for (message, from) in requests() {
        let expected = check(config, &message, from, &[]);
        assert_eq!(check(source, &message, from, &[]), expected, "{message}");
        let json = |source| {
            let (code, stdout, _) = check(source, &message, from, &["--json"]);
            let mut value: serde_json::Value = match stdout.is_empty() {
                true => serde_json::Value::Null,
                false => serde_json::from_str(&stdout).unwrap(),
            };
            if let Some(fields) = value.as_object_mut() {
                assert!(fields.remove("edge").is_some() && fields.remove("snapshot").is_some());
            }
            (code, value)
        };
        assert_eq!(json(source), json(config), "{message}");
    }
}

fn content(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), read(&entry.path()))).collect()
}

#[test]
fn a_data_folder_decides_while_a_server_has_it_and_later() {
    let (server, folder) = server();
    assert_like_the_file(["--data", &folder]);
    // the server still has the lock, and accepts changes
    let api = format!("http://{}", server.api);
    let created = run(&["account", "--api", &api, "create", "later"]);
    assert_eq!(outcome(&created).0, Some(0));
    server.end("TERM");
    let before = content(&folder);
    assert_like_the_file(["--data", &folder]);
    let mut after = content(&folder);
    // SQLite can leave an empty log beside the file
    after.retain(|name, _| !matches!(&**name, "sip-authz.db-wal" | "sip-authz.db-shm"));
    assert_eq!(after, before);
    drop(Server::start(&["--data", &folder, "--on-accept", "ok"]));
}

#[test]
fn a_folder_without_a_store_is_refused_and_stays_as_it_is() {
    let message = Request::invite("sip:1@a.example").text();
    let refused = |folder: &str| check(["--data", folder], &message, "192.0.2.7", &[]);
    let path = file("other", "text");
    let folder = path.parent().unwrap().to_str().unwrap();
    let (code, stdout, stderr) = refused(folder);
    assert_eq!((code, &*stdout), (Some(2), ""));
    assert_eq!(stderr, format!("sip-authz: `{folder}/sip-authz.db`: no such file\n"));
    assert_eq!(content(folder).len(), 1);
    let missing = format!("{folder}/missing");
    assert_eq!(refused(&missing).0, Some(2));
    assert!(!Path::new(&missing).exists());
    std::fs::write(format!("{folder}/sip-authz.db"), "this is no database").unwrap();
    let (code, _, stderr) = refused(folder);
    let expected =
        format!("sip-authz: `{folder}/sip-authz.db`: not an SQLite database, or damaged\n");
    assert_eq!((code, stderr), (Some(2), expected));
}

#[test]
fn an_export_with_hashes_decides_and_one_without_is_refused() {
    let (server, _) = server();
    let api = format!("http://{}", server.api);
    let export = |name: &str, more: &[&str]| {
        let path = file("beside", "").with_file_name(name);
        let path = path.to_str().unwrap().to_owned();
        let args = [&["export", "--api", &api, "-o", &path], more].concat();
        assert_eq!(outcome(&run(&args)).0, Some(0));
        path
    };
    let whole = export("whole.json", &["--with-secrets"]);
    assert_like_the_file(["--export", &whole]);
    let without = export("without.json", &[]);
    let message = Request::invite("sip:1@a.example").text();
    let (code, stdout, stderr) = check(["--export", &without], &message, "192.0.2.7", &[]);
    assert_eq!((code, &*stdout), (Some(2), ""));
    let why = "users have no hashes; expected the output of `sip-authz export --with-secrets`";
    assert_eq!(stderr, format!("sip-authz: {without}: {why}\n"));
    for (text, part) in [
        ("{", "EOF while parsing"),
        ("[]", "expected struct Document"),
        (r#"{"format": "another"}"#, "unknown variant"),
    ] {
        let broken = file("broken.json", text);
        let broken = broken.to_str().unwrap();
        let (code, _, stderr) = check(["--export", broken], &message, "192.0.2.7", &[]);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(part) && stderr.contains(broken), "{stderr}");
    }
}

#[test]
fn an_export_decides_whatever_its_next_hops_and_permissions_are() {
    let config = file("edge.toml", &format!("{CONFIG}on_accept = \"forward:pbx.example\"\n"));
    let server = Server::start(&[
        "--config",
        config.to_str().unwrap(),
        "--on-accept",
        "ok",
        "--next-hop-allow",
        "pbx.example",
    ]);
    let api = format!("http://{}", server.api);
    let path = file("beside", "").with_file_name("all.json");
    let path = path.to_str().unwrap();
    let args = ["export", "--api", &api, "--with-secrets", "-o", path];
    assert_eq!(outcome(&run(&args)).0, Some(0));
    let message = Request::invite("sip:1@t.example").text();
    assert_eq!(check(["--export", path], &message, "192.0.2.7", &[]).0, Some(0));
}

#[test]
fn a_running_server_decides_by_its_snapshot() {
    let (server, _) = server();
    let api = format!("http://{}", server.api);
    let config = file("edge.toml", CONFIG);
    let config = ["--config", config.to_str().unwrap()];
    let json = |source, message: &str, from| {
        let (code, stdout, _) = check(source, message, from, &["--json"]);
        (code, serde_json::from_str::<serde_json::Value>(&stdout).unwrap_or_default())
    };
    for (message, from) in requests() {
        let (code, stdout, stderr) = check(["--api", &api], &message, from, &[]);
        let (expected_code, expected, _) = check(config, &message, from, &[]);
        assert_eq!(code, expected_code, "{message}{stderr}");
        assert_eq!(stdout.lines().last(), expected.lines().last(), "{message}");
        let ((_, mut found), (_, mut expected)) =
            (json(["--api", &api], &message, from), json(config, &message, from));
        // the snapshot has no names of accounts and lists, and the edge has a name
        for value in [&mut found, &mut expected] {
            let Some(fields) = value.as_object_mut() else { continue };
            fields.retain(|name, _| !matches!(&**name, "edge" | "snapshot"));
            let steps = fields.get_mut("steps").unwrap().as_array_mut().unwrap();
            steps.iter_mut().for_each(|step| step["text"] = "".into());
        }
        assert_eq!(found, expected, "{message}");
    }
    let message = Request::invite("sip:1@b.example");
    let right = message.authorized(CHALLENGE, "alice", "Secret-Word-7").text();
    let (_, stdout, _) = check(["--api", &api], &right, "192.0.2.7", &[]);
    for part in ["(b.example)", "matches 192.0.2.0/24 (IP", "(alice), the digest is right\n"] {
        assert!(stdout.contains(part), "{stdout}");
    }
    assert!(!stdout.contains("does not know the server's nonces"), "{stdout}");
    // what cannot be decided is no refusal
    let (code, _, stderr) = check(["--api", &api], "hello", "::1", &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("not a SIP message"), "{stderr}");
    let unreachable = check(["--api", "http://127.0.0.1:9"], &right, "::1", &[]);
    assert_eq!(unreachable.0, Some(2), "{}", unreachable.2);
}

#[test]
fn wrong_passwords_of_an_asker_are_held_as_those_of_callers() {
    let (server, _) = server();
    let api = format!("http://{}", server.api);
    let b = Request::invite("sip:1@b.example");
    let ask = |password: &str, from: &str| {
        let message = b.authorized(CHALLENGE, "alice", password).text();
        check(["--api", &api], &message, from, &[]).1
    };
    let verified = (0..20).filter(|number| {
        ask(&format!("guess {number}"), "192.0.2.7").contains("the digest is wrong")
    });
    // the default limit, and perhaps a token that came back meanwhile
    assert!((10..15).contains(&verified.count()));
    for from in ["192.0.2.7", "192.0.2.8"] {
        let held = ask("Secret-Word-7", from);
        assert!(!held.contains("the digest is") && held.contains("used up"), "{held}");
    }
}

#[test]
fn the_json_has_each_step_with_its_result() {
    let config = file("edge.toml", CONFIG);
    let config = ["--config", config.to_str().unwrap()];
    let message = Request::invite("sip:1@a.example").text();
    let json = |from| {
        let (code, stdout, _) = check(config, &message, from, &["--json"]);
        assert_eq!(stdout.lines().count(), 1);
        (code, serde_json::from_str::<serde_json::Value>(&stdout).unwrap())
    };
    let (code, accepted) = json("192.0.2.7");
    assert_eq!(code, Some(0));
    assert_eq!(accepted["outcome"], "accept");
    assert_eq!(accepted["status"], 200);
    assert!(accepted["cause"].is_null());
    let steps = accepted["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["passed"] == true), "{steps:?}");
    assert!(steps[0]["text"].as_str().unwrap().contains("(a.example)"));
    let (code, refused) = json("198.51.100.7");
    assert_eq!(code, Some(1));
    assert_eq!(refused["outcome"], "reject");
    assert_eq!(refused["reason"], "address-not-listed");
    assert!(!refused["advice"].as_str().unwrap().is_empty());
    let last = refused["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["passed"], false);
}

#[test]
fn exactly_one_source_has_the_records() {
    let refused = |args: &[&str], part: &str| {
        let (code, stdout, stderr) = outcome(&run(&[&["check"], args].concat()));
        assert_eq!((code, &*stdout), (Some(2), ""), "{args:?}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    };
    let with = "cannot be used with";
    refused(&["--config", "x", "--data", "y", "--source", "::1", "f"], with);
    refused(&["--data", "x", "--export", "y", "--source", "::1", "f"], with);
    refused(&["--api", "http://localhost", "--export", "y", "--source", "::1", "f"], with);
    refused(&["--source", "::1", "f"], "--config <FILE>");
    // the others only decide
    for source in ["--data", "--export"] {
        refused(&[source, "x"], "<FILE.sip>");
    }
    refused(&["--api", "http://localhost"], "expected a file with the request");
    // options of another source
    refused(&["--data", "x", "--on-accept", "ok", "--source", "::1", "f"], with);
    refused(&["--config", "x", "--permission", "p", "--source", "::1", "f"], with);
    let api = ["--api", "http://localhost", "--default-domain", "to", "--source", "::1", "f"];
    refused(&api, with);
    let client = ["--config", "x", "--insecure-api", "--source", "::1", "f"];
    refused(&client, "expected --api beside the options of a client");
}
