//! The REST API of the program, and the commands that use it.

use std::process::Command;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, Request, Server, file, outcome, run, run_as, status};

const PASSWORD: &str = "Correct-Horse-7";

/// A server with records in memory, with further arguments.
fn empty(args: &[&str]) -> Server {
    Server::start(&[&["--on-accept", "ok"], args].concat())
}

/// Creates an account with `sip-authz account`; returns its SID and token.
fn account(server: &Server) -> (String, String) {
    let api = format!("http://{}", server.api);
    let (code, stdout, stderr) = outcome(&run(&["account", "create", "Acme", "--api", &api]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let value = |name: &str| {
        let line = stdout.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    (value("account "), value("auth token "))
}

/// The statuses of an INVITE and, after a challenge, of a second one with credentials.
fn call(server: &Server, domain: &str) -> Vec<u16> {
    let caller = Caller::new(server);
    let invite = Request::invite(&format!("sip:100@{domain}"));
    let first = caller.ask(&invite.text());
    let mut all = vec![status(&first)];
    if all == [407] {
        all.push(status(&caller.ask(&invite.authorized(&first, "alice", PASSWORD).text())));
    }
    all
}

#[test]
fn a_change_over_http_decides_the_next_invite() {
    let server = empty(&["--realm", "r"]);
    server.stdout.wait_for("they are lost at exit");
    assert_eq!(call(&server, "sip.example.com"), [404]);

    let (sid, token) = account(&server);
    let http = Http::new(&server, &sid, &token);
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let domain = http.create(&format!("{sip}/Domains.json"), &[("DomainName", "sip.example.com")]);
    assert_eq!(call(&server, "sip.example.com"), [403]);
    let list = http.create(&format!("{sip}/CredentialLists.json"), &[("FriendlyName", "staff")]);
    let mappings = format!("{sip}/Domains/{domain}/Auth/Calls/CredentialListMappings");
    http.create(&format!("{mappings}.json"), &[("CredentialListSid", &list)]);
    assert_eq!(call(&server, "sip.example.com"), [407, 403]);
    let credentials = format!("{sip}/CredentialLists/{list}/Credentials.json");
    http.create(&credentials, &[("Username", "alice"), ("Password", PASSWORD)]);
    assert_eq!(call(&server, "sip.example.com"), [407, 200]);
    assert_eq!(http.delete(&format!("{mappings}/{list}.json")), 204);
    assert_eq!(call(&server, "sip.example.com"), [403]);
}

#[test]
fn the_log_line_has_the_current_permissions_of_a_role() {
    let server = empty(&["--permission", "callInternational", "--log", "decisions"]);
    let (sid, token) = account(&server);
    let http = Http::new(&server, &sid, &token);
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let roles = format!("/v2/Services/IS{}/Roles", "0".repeat(32));
    let role =
        [("FriendlyName", "abroad"), ("Type", "deployment"), ("Permission", "callInternational")];
    let role = http.create(&roles, &role);
    let domain = http.create(&format!("{sip}/Domains.json"), &[("DomainName", "a.example")]);
    let list = http.create(&format!("{sip}/CredentialLists.json"), &[("FriendlyName", "staff")]);
    let user = [("Username", "alice"), ("Password", PASSWORD), ("RoleSid", &role)];
    http.create(&format!("{sip}/CredentialLists/{list}/Credentials.json"), &user);
    let mappings = format!("{sip}/Domains/{domain}/Auth/Calls/CredentialListMappings.json");
    http.create(&mappings, &[("CredentialListSid", &list)]);

    assert_eq!(call(&server, "a.example"), [407, 200]);
    let line = server.stderr.wait_for("accept target=");
    assert!(line.contains(" permits=callInternational "), "{line}");
    let (code, _) = http.post(&format!("{roles}/{role}"), &[("Permission", "addMember")]);
    assert_eq!(code, 200);
    assert_eq!(call(&server, "a.example"), [407, 200]);
    server.stderr.wait_for(" permits=addMember");
}

const CONFIG: &str = "realm = 'r'\n[[accounts]]\nname = 'acme'\n\
    token_sha256 = '3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0'\n\
    [[domains]]\nname = 'one.example'\n";

#[test]
fn a_configuration_file_is_read_over_http_and_never_changed() {
    let path = file("edge.toml", CONFIG);
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let (_, accounts, _) = outcome(&run(&["account", "list", "--api", &api]));
    let sid = &accounts[..34];
    assert_eq!(accounts, format!("{sid}  active     acme\n"));

    // the file has the hash of this token
    let http = Http::new(&server, sid, "token");
    let domains = format!("/2010-04-01/Accounts/{sid}/SIP/Domains.json");
    let names = || {
        let (status, body) = http.get(&domains);
        assert_eq!(status, 200, "{body}");
        let all = body["domains"].as_array().unwrap().clone();
        all.iter().map(|d| d["domain_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["one.example"]);
    let (status, body) = http.post(&domains, &[("DomainName", "two.example")]);
    assert_eq!((status, body["status"].as_u64()), (409, Some(409)), "{body}");
    assert_eq!(Http::new(&server, sid, "tokem").get(&domains).0, 401);

    let (code, _, stderr) = outcome(&run(&["account", "create", "x", "--api", &api]));
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "sip-authz: the resources are read-only: the server takes them from a file\n"
    );
    let toml = file("more.toml", "[[domains]]\nname = 'two.example'\n");
    let (code, _, stderr) = outcome(&run(&["import", toml.to_str().unwrap(), "--api", &api]));
    assert_eq!(code, Some(1));
    assert!(stderr.ends_with("are read-only: the server takes them from a file\n"), "{stderr}");

    // a reload changes the answers of the API and the decisions
    std::fs::write(&path, CONFIG.replace("one.example", "three.example")).unwrap();
    server.signal("HUP");
    server.stderr.wait_for("sip-authz: reloaded ");
    assert_eq!(names(), ["three.example"]);
    assert_eq!(
        (call(&server, "one.example"), call(&server, "three.example")),
        (vec![404], vec![403])
    );
    std::fs::write(&path, "nonsense").unwrap();
    server.signal("HUP");
    server.stderr.wait_for("the old state stays in use");
    assert_eq!(names(), ["three.example"]);
}

#[test]
fn a_reload_can_change_the_realm_of_a_list() {
    let text = |realm: &str| {
        format!(
            "[[credential_lists]]\nname = 'l'\nsid = 'CL{}'\nrealm = '{realm}'\n\
             credentials = [{{ username = 'alice', password = '{PASSWORD}' }}]\n\
             [[domains]]\nname = 'a.example'\ncredential_lists = ['l']\n",
            "1".repeat(32)
        )
    };
    let path = file("edge.toml", &text("one"));
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    assert_eq!(call(&server, "a.example"), [407, 200]);
    std::fs::write(&path, text("two")).unwrap();
    server.signal("HUP");
    server.stderr.wait_for("sip-authz: reloaded ");
    assert_eq!(call(&server, "a.example"), [407, 200]);
    let invite = Request::invite("sip:100@a.example").text();
    assert!(Caller::new(&server).ask(&invite).contains("realm=\"two\""));
}

#[test]
fn accounts_at_the_command_line() {
    let server = empty(&[]);
    let api = format!("http://{}", server.api);
    let (sid, token) = account(&server);
    let account = |args: &[&str]| outcome(&run(&[&["account"], args, &["--api", &api]].concat()));
    let line = |status: &str| (Some(0), format!("{sid}  {status:<9}  Acme\n"), String::new());
    let path = format!("/2010-04-01/Accounts/{sid}/SIP/Domains.json");
    let asked = |token: &str| Http::new(&server, &sid, token).get(&path).0;
    assert_eq!(account(&["list"]), line("active"));
    assert_eq!(asked(&token), 200);
    assert_eq!(account(&["suspend", &sid]), line("suspended"));
    assert_eq!(asked(&token), 401);
    assert_eq!(account(&["activate", &sid]), line("active"));
    let (code, stdout, _) = account(&["rotate-token", &sid]);
    assert_eq!(code, Some(0));
    let new = stdout.lines().nth(1).unwrap().strip_prefix("auth token ").unwrap();
    assert_eq!((asked(&token), asked(new)), (401, 200));
    assert_eq!(account(&["close", &sid]), line("closed"));
    let (code, _, stderr) = account(&["activate", &sid]);
    assert_eq!(code, Some(1));
    assert_eq!(stderr, "sip-authz: a closed account cannot be opened again\n");
    let unknown = format!("AC{}", "0".repeat(32));
    let (code, _, stderr) = account(&["suspend", &unknown]);
    assert_eq!((code, stderr.as_str()), (Some(1), "sip-authz: account not found\n"));
}

#[test]
fn the_limit_option_sets_quotas() {
    let server = empty(&["--limit", "domains=1", "--limit", "password=20"]);
    let (sid, token) = account(&server);
    let http = Http::new(&server, &sid, &token);
    let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
    let domains = format!("{sip}/Domains.json");
    http.create(&domains, &[("DomainName", "one.example")]);
    let (status, body) = http.post(&domains, &[("DomainName", "two.example")]);
    assert_eq!((status, body["code"].as_u64()), (400, Some(21_230)), "{body}");
    let list = http.create(&format!("{sip}/CredentialLists.json"), &[("FriendlyName", "staff")]);
    let users = format!("{sip}/CredentialLists/{list}/Credentials.json");
    let (status, body) = http.post(&users, &[("Username", "alice"), ("Password", PASSWORD)]);
    assert_eq!((status, body["code"].as_u64()), (400, Some(21_243)), "{body}");
}

#[test]
fn errors_of_commands() {
    let server = empty(&[]);
    let api = format!("http://{}", server.api);
    let said = |token: &str, args: &[&str]| {
        let (code, stdout, stderr) = outcome(&run_as(token, args));
        assert_eq!(stdout, "", "{args:?}");
        (code.unwrap(), stderr.strip_prefix("sip-authz: ").unwrap().trim_end().to_owned())
    };
    let list = |token: &str, api: &str| said(token, &["account", "list", "--api", api]);
    assert_eq!(
        list("wrong", &api),
        (1, format!("{api}: SIP_AUTHZ_ADMIN_TOKEN is not the admin token of this server"))
    );
    let (code, text) = list("", &api);
    assert_eq!(code, 2);
    assert!(text.starts_with("no credentials: set SIP_AUTHZ_ADMIN_TOKEN"), "{text}");
    let (code, text) = list(ADMIN_TOKEN, "http://127.0.0.1:1");
    assert_eq!(code, 1);
    assert_eq!(text, "http://127.0.0.1:1: connection refused; is `sip-authz serve` running there?");
    let (code, text) = list(ADMIN_TOKEN, "http://192.0.2.1:8080");
    assert_eq!(code, 2);
    assert!(text.contains("--insecure-api"), "{text}");

    let serve =
        |args: &[&str]| said("", &[&["serve", "--demo", "--sip", "127.0.0.1:0"], args].concat());
    let (code, text) = serve(&["--api", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(
        text.starts_with("--api 0.0.0.0:0: plain HTTP would send tokens and passwords"),
        "{text}"
    );
    let taken = server.api.to_string();
    assert_eq!(serve(&["--api", &taken]), (2, format!("{taken} (api): address already in use")));
    let (code, text) = said("", &["serve", "--on-accept", "ok", "--api", "off"]);
    assert_eq!(code, 2);
    assert!(text.starts_with("--api off leaves nothing to serve"), "{text}");
}

#[test]
fn without_an_admin_token_there_is_no_admin() {
    let server = Server::start_as("", &["--on-accept", "ok"]);
    server.stderr.wait_for("SIP_AUTHZ_ADMIN_TOKEN is not set, so no accounts can be created");
    assert_eq!(Http::new(&server, "admin", "").get("/2010-04-01/Accounts.json").0, 401);
    assert_eq!(Http::new(&server, "admin", "").get("/health").0, 200);
}

#[test]
fn the_demo_account_works_over_http() {
    let server = Server::demo();
    let line = server.stdout.wait_for("curl -u ");
    server.stdout.wait_for("c.api.base_url = c.trunking.base_url = c.chat.base_url = \"http://");
    server.stdout.wait_for("require(\"twilio\")");
    let (sid, token) = line.split_whitespace().nth(2).unwrap().split_once(':').unwrap();
    let (status, body) =
        Http::new(&server, sid, token).get(&format!("/2010-04-01/Accounts/{sid}/SIP/Domains.json"));
    assert_eq!((status, body["domains"].as_array().unwrap().len()), (200, 2));
    assert!(server.stdout.all().iter().any(|l| l.contains(sid) && l.ends_with(token)));
    // run the printed command, if curl is installed
    if let Ok(output) = Command::new("sh").args(["-c", line.trim()]).output()
        && output.status.success()
    {
        assert!(String::from_utf8(output.stdout).unwrap().contains("by-address.example"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_new_token_that_cannot_be_printed_is_an_error() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sip-authz"));
    command.args(["account", "create", "Acme", "--api", &api]);
    command.env("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    let (_, listed, _) = outcome(&run(&["account", "list", "--api", &api]));
    let sid = listed.split(' ').next().unwrap();
    assert!(sid.starts_with("AC"), "{listed}");
    let (code, _, stderr) = outcome(&output);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("rotate-token {sid}")), "{stderr}");
}
