//! The commands on domains, trunks, lists, users and roles, against a running server.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, Request, Server, client, file, outcome, status};

const PASSWORD: &str = "Correct-Horse-7";

/// The commands as one user.
struct Cli {
    api: String,
    env: Vec<(&'static str, String)>,
}

impl Cli {
    fn admin(server: &Server) -> Self {
        Self::with(server, vec![("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN.to_owned())])
    }

    fn account(server: &Server, (sid, token): &(String, String)) -> Self {
        let env = [("SIP_AUTHZ_ACCOUNT_SID", sid), ("SIP_AUTHZ_AUTH_TOKEN", token)];
        Self::with(server, env.map(|(name, value)| (name, value.clone())).to_vec())
    }

    fn with(server: &Server, env: Vec<(&'static str, String)>) -> Self {
        Self { api: format!("http://{}", server.api), env }
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = client(args);
        command.env("SIP_AUTHZ_API", &self.api).envs(self.env.iter().cloned());
        command
    }

    /// Exit code, stdout and stderr.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let (code, stdout, stderr) =
            outcome(&self.command(args).stdin(Stdio::null()).output().unwrap());
        (code.unwrap(), stdout, stderr)
    }

    /// Runs a command with a text at its stdin.
    fn run_with(&self, args: &[&str], stdin: &str) -> (i32, String, String) {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // the program may end before it reads
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let (code, stdout, stderr) = outcome(&child.wait_with_output().unwrap());
        (code.unwrap(), stdout, stderr)
    }

    /// The output of a command that must succeed without a message.
    fn done(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}: {stdout}");
        stdout
    }

    /// The one JSON document that a command prints.
    fn json(&self, args: &[&str]) -> Value {
        let text = self.done(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// The message of a command that must fail with this exit code and print nothing else.
    fn error(&self, code: i32, args: &[&str]) -> String {
        let (found, stdout, stderr) = self.run(args);
        assert_eq!((found, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
        let text = stderr.strip_prefix("sip-authz: ").unwrap_or(&stderr);
        text.trim_end().to_owned()
    }

    fn add_user(&self, user: &str, list: &str) {
        let args = ["user", "add", user, "--list", list, "--password-stdin"];
        let (code, _, stderr) = self.run_with(&args, &format!("{PASSWORD}\n"));
        assert_eq!((code, stderr.as_str()), (0, ""), "{user}");
    }
}

fn empty(args: &[&str]) -> Server {
    Server::start(&[&["--on-accept", "ok"], args].concat())
}

/// Creates an account; returns its SID and token.
fn new_account(cli: &Cli, name: &str) -> (String, String) {
    let text = cli.done(&["account", "create", name]);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    (value("account "), value("auth token "))
}

/// A server with one account, and its admin.
fn one_account(args: &[&str]) -> (Server, Cli) {
    let server = empty(args);
    let admin = Cli::admin(&server);
    new_account(&admin, "Acme");
    (server, admin)
}

/// The statuses of an INVITE of alice and, after a challenge, of a second one with credentials.
fn call(server: &Server, host: &str) -> Vec<u16> {
    let caller = Caller::new(server);
    let invite = Request::invite(&format!("sip:100@{host}"));
    let first = caller.ask(&invite.text());
    let mut all = vec![status(&first)];
    if all == [407] {
        all.push(status(&caller.ask(&invite.authorized(&first, "alice", PASSWORD).text())));
    }
    all
}

/// The last column of a table without its heading.
fn column<'t>(table: &'t str, heading: &str) -> Vec<&'t str> {
    let mut lines = table.lines();
    let at = lines.next().unwrap().find(heading).unwrap();
    lines.map(|line| line[at..].split("  ").next().unwrap()).collect()
}

#[test]
fn records_that_are_made_by_name_decide_the_next_call() {
    let (server, cli) = one_account(&[]);
    cli.done(&["list", "create", "phones", "--credentials"]);
    assert_eq!(call(&server, "sip.acme.example"), [404]);
    cli.done(&["domain", "create", "sip.acme.example", "--name", "Acme HQ", "--list", "phones"]);
    assert_eq!(call(&server, "sip.acme.example"), [407, 403]);
    cli.add_user("alice", "phones");
    assert_eq!(call(&server, "sip.acme.example"), [407, 200]);
    cli.done(&["user", "set", "alice", "--disable"]);
    assert_eq!(call(&server, "sip.acme.example"), [407, 403]);
    cli.done(&["user", "set", "alice", "--list", "phones", "--enable"]);
    assert_eq!(call(&server, "sip.acme.example"), [407, 200]);
    // from stdin, with a new password and back
    let set = ["user", "set", "alice", "--password-stdin"];
    assert_eq!(cli.run_with(&set, "Another-Horse-8").0, 0);
    assert_eq!(call(&server, "sip.acme.example"), [407, 403]);
    assert_eq!(cli.run_with(&set, &format!("{PASSWORD}\r\nsecond line")).0, 0);
    assert_eq!(call(&server, "sip.acme.example"), [407, 200]);

    let (code, stdout, stderr) = cli.run(&["unmap", "phones", "Acme HQ"]);
    let unmapped =
        "credential list `phones` is unmapped from domain `sip.acme.example` for calls\n";
    assert_eq!((code, stdout.as_str()), (0, unmapped));
    assert_eq!(
        stderr,
        "sip-authz: warning: domain `sip.acme.example` has no list: every call is refused\n"
    );
    assert_eq!(call(&server, "sip.acme.example"), [403]);
    cli.done(&["list", "create", "offices", "--ip"]);
    cli.done(&["map", "offices", "SIP.Acme.Example"]);
    cli.done(&["list", "add", "offices", "127.0.0.0/8", "2001:db8::/32", "--as", "Loopback"]);
    assert_eq!(call(&server, "sip.acme.example"), [200]);
    cli.done(&["list", "remove", "offices", "127.0.0.0/8"]);
    assert_eq!(call(&server, "sip.acme.example"), [403]);

    // the lists of both kinds must admit a call
    cli.done(&["list", "add", "offices", "127.0.0.1"]);
    cli.done(&["map", "phones", "Acme HQ"]);
    assert_eq!(call(&server, "sip.acme.example"), [407, 200]);
    let (_, _, stderr) = cli.run(&["unmap", "phones", "Acme HQ"]);
    assert!(stderr.contains("has no credential list left: calls from the addresses"), "{stderr}");
    cli.done(&["map", "phones", "Acme HQ"]);
    let (_, _, stderr) = cli.run(&["unmap", "offices", "Acme HQ"]);
    assert!(stderr.contains("has no access list left: a user may call from every"), "{stderr}");
    cli.done(&["map", "offices", "Acme HQ"]);
    cli.done(&["list", "create", "desks", "--ip"]);
    cli.done(&["map", "desks", "Acme HQ"]);
    cli.done(&["unmap", "desks", "Acme HQ"]);

    cli.done(&["trunk", "create", "Carrier", "--host", "carrier.example", "--list", "offices"]);
    assert_eq!(call(&server, "carrier.example"), [200]);
    cli.done(&["trunk", "set", "Carrier", "--host", "other.example", "--secure"]);
    assert_eq!(call(&server, "carrier.example"), [404]);
    assert_eq!(call(&server, "other.example"), [488]);
    cli.done(&["trunk", "set", "other.example", "--secure=false"]);
    assert_eq!(call(&server, "other.example"), [200]);
    cli.done(&["trunk", "delete", "Carrier", "--yes"]);
    assert_eq!(call(&server, "other.example"), [404]);
    cli.done(&["domain", "delete", "Acme HQ", "--yes"]);
    assert_eq!(call(&server, "sip.acme.example"), [404]);
}

#[test]
fn each_command_prints_one_json_document() {
    let (_server, cli) = one_account(&["--permission", "callInternational"]);
    let list = cli.json(&["list", "create", "offices", "--ip"]);
    assert_eq!((&list["kind"], &list["friendly_name"]), (&"ip".into(), &"offices".into()));
    let phones = cli.json(&["list", "create", "phones", "--credentials", "--realm", "r"]);
    assert_eq!(phones["kind"], "credentials");
    let entries = cli.json(&["list", "add", "offices", "192.0.2.1", "192.0.2.8/29"]);
    assert_eq!(entries[1]["cidr_prefix_length"], 29);
    assert_eq!(entries[1]["friendly_name"], "192.0.2.8/29");
    cli.add_user("alice", "phones");
    let args =
        ["user", "add", "bob", "--list", "phones", "--disabled", "--password-stdin", "--json"];
    let (_, stdout, _) = cli.run_with(&args, PASSWORD);
    let bob: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&bob["list"], &bob["disabled"]), (&"phones".into(), &true.into()));

    let domain = cli.json(&["domain", "create", "a.example", "--list", "offices"]);
    assert_eq!(
        (&domain["domain_name"], &domain["auth_type"]),
        (&"a.example".into(), &"IP_ACL".into())
    );
    let role = ["role", "create", "abroad", "--type", "deployment", "--permission"];
    let role = cli.json(&[&role[..], &["callInternational"]].concat());
    assert_eq!(role["permissions"], serde_json::json!(["callInternational"]));
    let role = cli.json(&["role", "set", "abroad", "--permission", "joinChannel"]);
    assert_eq!(role["permissions"], serde_json::json!(["joinChannel"]));
    let channel = ["role", "create", "loud", "--type", "channel", "--permission", "sendMessage"];
    let channel = cli.json(&channel);
    let alice = cli.json(&["user", "set", "alice", "--role", "abroad"]);
    assert_eq!(alice["role_sid"], role["sid"]);
    assert_eq!(cli.json(&["user", "show", "alice"])["role_sid"], role["sid"]);
    assert_eq!(cli.json(&["user", "set", "alice", "--no-role"])["role_sid"], Value::Null);
    let mapped = cli.json(&["map", "phones", "a.example", "--role", "loud"]);
    assert_eq!((&mapped["sid"], &mapped["role_sid"]), (&phones["sid"], &channel["sid"]));
    cli.json(&["map", "phones", "a.example", "--registrations"]);

    let set = ["--policy", "nonce_lifetime=300", "--policy", "methods=INVITE,MESSAGE"];
    let changed = [&["domain", "set", "a.example", "--name", "A", "--registration"], &set[..]];
    assert_eq!(cli.json(&changed.concat())["friendly_name"], "A");
    let shown = cli.json(&["domain", "show", "A"]);
    assert_eq!(shown["policy"]["nonce_lifetime"], 300);
    assert_eq!(shown["policy"]["methods"], serde_json::json!(["INVITE", "MESSAGE"]));
    assert_eq!(shown["warnings"], serde_json::json!([]));
    let lists = shown["lists"].as_array().unwrap();
    let facts = |list: &Value| {
        let fields = ["kind", "for", "entries", "disabled"];
        fields.map(|field| list[field].to_string().replace('"', "")).join(" ")
    };
    assert_eq!(
        lists.iter().map(facts).collect::<Vec<_>>(),
        ["ip calls 2 0", "credentials calls 2 1", "credentials registrations 2 1"]
    );
    let shown = cli.json(&["list", "show", "phones"]);
    assert_eq!(shown["users"].as_array().unwrap().len(), 2);
    let used: Vec<_> = shown["used_by"].as_array().unwrap().iter().map(|by| &by["for"]).collect();
    assert_eq!(used, ["calls", "registrations"]);
    assert_eq!(cli.json(&["list", "show", "offices"])["entries"].as_array().unwrap().len(), 2);

    cli.json(&["trunk", "create", "T", "--list", "offices"]);
    let shown = cli.json(&["trunk", "show", "T"]);
    assert_eq!(shown["warnings"][0], "the trunk has no host name: no call reaches it");
    let count = |args: &[&str]| cli.json(args).as_array().unwrap().len();
    for (args, expected) in [
        (&["domain", "list"][..], 1),
        (&["trunk", "list"], 1),
        (&["list", "list"], 2),
        (&["list", "list", "--ip"], 1),
        (&["list", "list", "--credentials"], 1),
        (&["user", "list"], 2),
        (&["user", "list", "--list", "phones"], 2),
        (&["role", "list"], 2),
        (&["role", "list", "--service", "IS11111111111111111111111111111111"], 0),
    ] {
        assert_eq!(count(args), expected, "{args:?}");
    }

    for args in [
        &["list", "remove", "offices", "192.0.2.1"][..],
        &["user", "delete", "alice", "--yes"],
        &["domain", "delete", "a.example", "--yes"],
        &["trunk", "delete", "T", "--yes"],
        &["role", "delete", "abroad", "--yes"],
        &["list", "delete", "phones", "--yes"],
    ] {
        assert!(!cli.json(args)["deleted"].is_null(), "{args:?}");
    }
}

#[test]
fn tables_are_aligned_and_names_escaped() {
    let (_server, cli) = one_account(&[]);
    cli.done(&["list", "create", "x\u{202e}`y", "--ip"]);
    cli.done(&["list", "create", "phones", "--credentials"]);
    assert_eq!(column(&cli.done(&["list", "list"]), "NAME"), ["x\\u{202e}\\`y", "phones"]);
    cli.done(&["domain", "create", "a.example", "--list", "phones", "--list", "x\u{202e}`y"]);
    cli.done(&["domain", "create", "longer.name.example", "--name", "B"]);
    let table = cli.done(&["domain", "list"]);
    assert_eq!(column(&table, "HOST"), ["a.example", "longer.name.example"]);
    assert_eq!(column(&table, "NAME"), ["-", "B"]);
    assert_eq!(column(&table, "ADMITS"), ["credentials,ip", "none"]);
    let shown = cli.done(&["domain", "show", "a.example"]);
    for part in [
        "\ncalls                     access list `x\\u{202e}\\`y` (AL",
        "\nwarning                   list `phones` is empty: it admits no caller\n",
        "\nnonce_lifetime            60\n",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let shown = cli.done(&["domain", "show", "B"]);
    assert!(shown.contains("warning                   no list is mapped for calls"), "{shown}");
    let shown = cli.done(&["list", "show", "phones"]);
    assert!(shown.contains("\ncalls            domain `a.example` (SD"), "{shown}");
    assert!(shown.ends_with("\n\nSID  USER  STATE  ROLE\n"), "{shown}");
}

#[test]
fn unknown_and_ambiguous_names_change_nothing() {
    let (_server, cli) = one_account(&[]);
    for host in ["a.example", "b.example"] {
        cli.done(&["domain", "create", host, "--name", "Same"]);
    }
    cli.done(&["trunk", "create", "Same"]);
    cli.done(&["list", "create", "phones", "--ip"]);
    for list in ["phones", "desks"] {
        cli.done(&["list", "create", list, "--credentials"]);
        cli.add_user("alice", list);
    }
    let export = || cli.done(&["export"]);
    let before = export();
    for (args, parts) in [
        (&["domain", "delete", "Same", "--yes"][..], &["`Same` fits 2 records", "a.example"][..]),
        (&["domain", "set", "Same", "--secure"], &["domain `b.example` (SD"]),
        (&["map", "desks", "Same"], &["`Same` fits 3 records", "trunk `Same` (TK"]),
        (
            &["map", "phones", "a.example"],
            &["access list `phones` (AL", "credential list `phones` (CL"],
        ),
        (&["list", "delete", "phones", "--yes"], &["`phones` fits 2 records"]),
        (&["user", "delete", "alice", "--yes"], &["(CR", "in `phones`", "in `desks`"]),
        (&["user", "set", "alice", "--disable"], &["`alice` fits 2 records"]),
        (&["domain", "delete", "a.exampel", "--yes"], &["there is no domain", "`a.example`"]),
        (&["domain", "show", "zzz"], &["there is no domain `zzz`; `sip-authz domain list` "]),
        (&["trunk", "delete", "same", "--yes"], &["did you mean `Same`?"]),
        (
            &["list", "set", "desk", "--name", "x"],
            &["there is no list `desk`; did you mean `desks`"],
        ),
        (&["list", "add", "desks", "192.0.2.1"], &["there is no access list `desks`"]),
        (&["list", "remove", "phones", "192.0.2.1"], &["there is no entry `192.0.2.1`"]),
        (&["user", "delete", "bob", "--yes"], &["there is no user `bob`"]),
        (&["user", "set", "alice", "--list", "desk", "--disable"], &["no credential list `desk`"]),
        (&["user", "set", "alice", "--list", "desks", "--role", "x"], &["there is no role `x`"]),
        (&["role", "delete", "x", "--yes"], &["there is no role `x`"]),
        (&["map", "x", "a.example"], &["there is no list `x`"]),
        (&["map", "desks", "x"], &["there is no domain or trunk `x`"]),
        (
            &["unmap", "desks", "a.example"],
            &["`desks` is not mapped to domain `a.example` for calls"],
        ),
        (&["domain", "create", "c.example", "--list", "x"], &["there is no list `x`"]),
    ] {
        let error = cli.error(1, args);
        parts.iter().for_each(|part| assert!(error.contains(part), "{args:?}: {error}"));
    }
    for (args, part) in [
        (&["map", "phones", "a.example", "--ip", "--registrations"][..], "cannot be used with"),
        (&["map", "desks", "TK", "--registrations", "--role", "x"], "cannot be used with"),
        (&["domain", "set", "a.example"], "expected a setting to change, such as --name"),
        (&["domain", "set", "a.example", "--policy", "nonce=1"], "unknown field"),
        (&["user", "set", "alice", "--list", "desks"], "required arguments"),
        (&["list", "add", "phones", "192.0.2.300"], "192.0.2.300"),
        (&["list", "create", "x"], "--ip|--credentials"),
        (&["list", "create", "x", "--ip", "--realm", "r"], "cannot be used with"),
    ] {
        let error = cli.error(2, args);
        assert!(error.contains(part), "{args:?}: {error}");
    }
    // a domain that exists in part is an error that says so
    let create =
        ["domain", "create", "c.example", "--list", "desks", "--list", "desks", "--policy"];
    let error = cli.error(1, &[&create[..], &["nonce_lifetime=0"]].concat());
    assert!(error.starts_with("domain `c.example` (SD"), "{error}");
    assert!(error.contains(") is created, but incomplete: nonce lifetime must be 1 to"), "{error}");
    let set = ["domain", "set", "c.example", "--name", "C", "--policy", "nonce_lifetime=0"];
    let error = cli.error(1, &set);
    assert!(error.starts_with("the other settings are changed, but not the policy: "), "{error}");
    cli.done(&["domain", "delete", "C", "--yes"]);
    let made = cli.json(&[&create[..], &["nonce_lifetime=30"]].concat());
    assert_eq!(made["auth_type"], "CREDENTIAL_LIST");
    cli.done(&["domain", "delete", "c.example", "--yes"]);

    let trunk = cli.json(&["trunk", "show", "Same"])["sid"].as_str().unwrap().to_owned();
    let error = cli.error(2, &["map", "desks", &trunk, "--registrations"]);
    assert_eq!(error, "--registrations: expected a domain, found a trunk");
    assert_eq!(export(), before);
    // the SIDs and the options of the errors help
    cli.done(&["map", "phones", &trunk, "--ip"]);
    let error = cli.error(1, &["list", "delete", "phones", "--ip", "--yes"]);
    assert_eq!(
        error,
        "access list `phones` is mapped to trunk `Same` for calls; `sip-authz unmap` removes a mapping"
    );
}

#[test]
fn an_account_sees_its_own_records_and_the_admin_names_one() {
    let server = empty(&[]);
    let admin = Cli::admin(&server);
    assert!(admin.error(1, &["domain", "list"]).starts_with("there is no account; create one"));
    let (acme, other) = (new_account(&admin, "Acme"), new_account(&admin, "Other"));
    let (own, stranger) = (Cli::account(&server, &acme), Cli::account(&server, &other));
    own.done(&["domain", "create", "a.example"]);
    own.done(&["trunk", "create", "T"]);
    own.done(&["role", "create", "R", "--type", "channel", "--permission", "sendMessage"]);
    let sid = own.json(&["domain", "show", "a.example"])["sid"].as_str().unwrap().to_owned();
    for named in ["a.example", &sid] {
        let error = stranger.error(1, &["domain", "delete", named, "--yes"]);
        assert!(error.starts_with("there is no domain `"), "{error}");
    }
    let error = stranger.error(2, &["domain", "list", "--account", &acme.0]);
    assert!(error.contains("only the admin can name another account"), "{error}");
    own.done(&["domain", "list", "--account", &acme.0]);

    let error = admin.error(2, &["trunk", "list"]);
    assert!(error.starts_with("expected --account with one of the 2 accounts"), "{error}");
    for account in ["Acme", acme.0.as_str()] {
        for kind in ["domain", "trunk", "role"] {
            let rows = admin.json(&[kind, "list", "--account", account]);
            assert_eq!(rows.as_array().unwrap().len(), 1, "{kind} of {account}");
        }
    }
    assert_eq!(admin.json(&["trunk", "list", "--account", "Other"]), serde_json::json!([]));
    let error = admin.error(1, &["trunk", "list", "--account", "Acm"]);
    assert_eq!(error, "there is no account `Acm`; did you mean `Acme`?");
    let unknown = format!("AC{}", "0".repeat(32));
    assert_eq!(admin.error(1, &["trunk", "list", "--account", &unknown]), "account not found");

    admin.done(&["account", "suspend", &acme.0]);
    let shown = admin.json(&["domain", "show", "a.example", "--account", "Acme"]);
    assert_eq!(shown["warnings"][0], "the account is suspended: every call is refused");
    let error = own.error(1, &["domain", "list"]);
    assert!(error.contains("is not the auth token of"), "{error}");
    let wrong = Cli::with(&server, vec![("SIP_AUTHZ_ADMIN_TOKEN", "wrong".to_owned())]);
    let error = wrong.error(1, &["user", "list"]);
    assert!(error.contains("is not the admin token of this server"), "{error}");
    assert!(Cli::with(&server, vec![]).error(2, &["list", "list"]).starts_with("no credentials"));
    let error = admin.error(1, &["list", "list", "--api", "http://127.0.0.1:1"]);
    assert!(error.contains("connection refused"), "{error}");
}

#[test]
fn a_server_with_a_configuration_file_refuses_changes() {
    let config = "realm = 'r'\n[[accounts]]\nname = 'acme'\n[[domains]]\nname = 'a.example'\n\
        credential_lists = ['l']\n[[credential_lists]]\nname = 'l'\n\
        credentials = [{ username = 'alice', password = 'Correct-Horse-7' }]\n";
    let path = file("edge.toml", config);
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    let cli = Cli::admin(&server);
    assert_eq!(cli.json(&["domain", "show", "a.example"])["lists"][0]["entries"], 1);
    for args in [
        &["domain", "create", "b.example"][..],
        &["domain", "set", "a.example", "--secure"],
        &["domain", "set", "a.example", "--policy", "qop=auth"],
        &["domain", "delete", "a.example", "--yes"],
        &["trunk", "create", "T"],
        &["list", "create", "m", "--ip"],
        &["user", "set", "alice", "--disable"],
        &["user", "delete", "alice", "--yes"],
        &["role", "create", "R", "--type", "channel", "--permission", "sendMessage"],
        &["unmap", "l", "a.example"],
    ] {
        let error = cli.error(1, args);
        assert!(error.contains("read-only: the server takes them from a file"), "{error}");
    }
}

#[test]
fn a_deletion_needs_a_confirmation() {
    let (_server, cli) = one_account(&[]);
    cli.done(&["list", "create", "offices", "--ip"]);
    cli.done(&["list", "create", "phones", "--credentials"]);
    cli.done(&["list", "create", "unused", "--credentials"]);
    cli.add_user("alice", "phones");
    cli.done(&["domain", "create", "a.example", "--list", "offices", "--list", "phones"]);
    cli.done(&["trunk", "create", "T", "--list", "offices"]);
    cli.done(&["role", "create", "R", "--type", "channel", "--permission", "sendMessage"]);
    let before = cli.done(&["export"]);
    for (args, question) in [
        (
            &["domain", "delete", "a.example"][..],
            "Delete domain `a.example`? Its 2 lists stay; calls to it will be refused",
        ),
        (
            &["trunk", "delete", "T"],
            "Delete trunk `T`? Its list stays; calls to it will be refused",
        ),
        (
            &["list", "delete", "unused"],
            "Delete credential list `unused` with its 0 users and their passwords?",
        ),
        (&["user", "delete", "alice"], "Delete user `alice` of list `phones`, with the password?"),
        (&["role", "delete", "R"], "Delete role `R`?"),
    ] {
        let expected = format!("expected --yes, or a terminal for the question: {question}");
        assert_eq!(cli.error(2, args), expected);
        // a pipe confirms nothing
        let (code, _, stderr) = cli.run_with(args, "y\n");
        assert_eq!((code, stderr), (2, format!("sip-authz: {expected}\n")));
    }
    assert_eq!(cli.done(&["export"]), before);
}

#[test]
fn no_output_has_a_password() {
    let (_server, cli) = one_account(&[]);
    cli.done(&["list", "create", "phones", "--credentials"]);
    let add = ["user", "add", "alice", "--list", "phones", "--password-stdin"];
    let json = [&["user", "set", "alice", "--password-stdin"][..], &["--json"]].concat();
    for (args, stdin, code, part) in [
        (&add[..], "weak-secret", 1, "Password"),
        (&add, "", 2, "expected a password, found an empty line"),
        (&add, "\nNot-This-Secret-1\n", 2, "found an empty line"),
        (&add, "Secret\u{7}-Horse-77\n", 2, "without control characters"),
        (&add, "Secret-Horse-77\n", 0, "alice"),
        (&add, "Secret-Horse-77\n", 1, "alice"),
        (&json, "Secret-Horse-78\n", 0, "alice"),
        (&["user", "set", "bob", "--password-stdin"], "Secret-Horse-79", 1, "no user `bob`"),
    ] {
        let (found, stdout, stderr) = cli.run_with(args, stdin);
        assert_eq!(found, code, "{stdin}: {stderr}");
        let all = format!("{stdout}{stderr}").to_lowercase();
        assert!(all.contains(&part.to_lowercase()), "{all}");
        assert!(!all.contains("secret"), "{all}");
    }
    let error = cli.error(2, &add[..5]);
    assert_eq!(error, "a password needs --password-stdin, or a terminal to ask on");
    let error = cli.error(2, &["user", "set", "alice", "--password"]);
    assert_eq!(error, "a password needs --password-stdin, or a terminal to ask on");
    // a password is never an argument
    let refused = cli.error(2, &["user", "add", "x", "--list", "phones", "--password", "y"]);
    assert!(refused.contains("unexpected argument '--password'"), "{refused}");
}

#[test]
fn listings_have_the_rows_of_all_pages() {
    // links with another host must not lead there
    let args = ["--public-url", "https://api.example.com", "--limit", "credentials=2000"];
    let server = empty(&args);
    let cli = Cli::admin(&server);
    let (sid, token) = new_account(&cli, "Acme");
    let http = Http::new(&server, &sid, &token);
    let roles = format!("/v2/Services/IS{}/Roles", "0".repeat(32));
    for number in 0..205 {
        let name = format!("role-{number}");
        let form = [("FriendlyName", name.as_str()), ("Type", "channel")];
        http.create(&roles, &[&form[..], &[("Permission", "sendMessage")]].concat());
    }
    assert_eq!(cli.json(&["role", "list"]).as_array().unwrap().len(), 205);
    assert_eq!(cli.json(&["role", "show", "role-204"])["friendly_name"], "role-204");

    let mut table = "username,domain,ha1\n".to_owned();
    for number in 0..1_001 {
        table.push_str(&format!("user{number},a.example,{:032x}\n", number + 1));
    }
    let table = file("subscriber.csv", &table);
    cli.run(&["import", table.to_str().unwrap(), "--account", &sid]);
    assert_eq!(column(&cli.done(&["user", "list"]), "USER").len(), 1_001);
    assert_eq!(cli.json(&["user", "show", "user1000"])["username"], "user1000");
}
