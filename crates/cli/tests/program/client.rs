//! The address and the credentials of the commands that talk to a running server.

use std::path::Path;

use crate::support::{ADMIN_TOKEN, Server, client, file, outcome, set_mode};

/// Runs `account list` with these variables and further arguments.
fn list(variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = client(&[&["account", "list"], args].concat());
    outcome(&command.envs(variables.iter().copied()).output().unwrap())
}

/// A folder for `XDG_CONFIG_HOME` with this file in it.
fn configured(text: &str) -> std::path::PathBuf {
    let folder = file("unused", "").parent().unwrap().to_owned();
    std::fs::create_dir(folder.join("sip-authz")).unwrap();
    let path = folder.join("sip-authz/client.toml");
    std::fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_command_takes_its_server_from_the_option_the_environment_or_the_file() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let folder = configured(&format!("api = '{api}'\nadmin_token = '{ADMIN_TOKEN}'\n"));
    let config = folder.join("sip-authz/client.toml");
    let home = ("XDG_CONFIG_HOME", text(&folder));
    let done = (Some(0), String::new(), String::new());
    assert_eq!(list(&[home], &[]), done);
    assert_eq!(list(&[], &["--client-config", text(&config)]), done);
    let admin = ("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN);
    assert_eq!(list(&[admin, ("SIP_AUTHZ_API", &api)], &[]), done);
    assert_eq!(list(&[admin, ("SIP_AUTHZ_API", "http://127.0.0.1:1")], &["--api", &api]), done);

    // an error names the place of the setting
    let (code, _, stderr) = list(&[home, ("SIP_AUTHZ_API", "http://127.0.0.1:1")], &[]);
    let start = "sip-authz: http://127.0.0.1:1 (SIP_AUTHZ_API): connection refused";
    assert!(code == Some(1) && stderr.starts_with(start), "{stderr}");
    let (code, _, stderr) = list(&[home, ("SIP_AUTHZ_ADMIN_TOKEN", "wrong")], &[]);
    let from = format!("({}: api)", text(&config));
    let end = "SIP_AUTHZ_ADMIN_TOKEN is not the admin token of this server";
    assert_eq!((code, stderr), (Some(1), format!("sip-authz: {api} {from}: {end}\n")));
    let sid = format!("AC{}", "0".repeat(32));
    let account = [("SIP_AUTHZ_ACCOUNT_SID", sid.as_str()), ("SIP_AUTHZ_AUTH_TOKEN", "wrong")];
    let (code, _, stderr) = list(&account, &["--api", &api]);
    let end = format!("SIP_AUTHZ_AUTH_TOKEN is not the auth token of {sid} at this server");
    assert_eq!((code, stderr), (Some(1), format!("sip-authz: {api}: {end}\n")));
}

#[test]
fn a_file_with_a_token_that_others_can_read_is_refused() {
    let folder = configured("admin_token = 'secret'\n");
    let config = folder.join("sip-authz/client.toml");
    set_mode(&config, 0o644);
    let (code, _, stderr) = list(&[("XDG_CONFIG_HOME", text(&folder))], &[]);
    let start = format!("sip-authz: {}: the file holds a token, and other", text(&config));
    assert!(code == Some(2) && stderr.starts_with(&start), "{stderr}");
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn an_account_is_refused_what_only_the_admin_may() {
    let server = Server::start(&["--on-accept", "ok"]);
    let api = format!("http://{}", server.api);
    let run = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = client(&[args, &["--api", &api]].concat());
        outcome(&command.envs(variables.iter().copied()).output().unwrap())
    };
    let admin = [("SIP_AUTHZ_ADMIN_TOKEN", ADMIN_TOKEN)];
    let (_, created, _) = run(&admin, &["account", "create", "Acme"]);
    let word = |line: usize| created.lines().nth(line).unwrap().rsplit(' ').next().unwrap();
    let account = [("SIP_AUTHZ_ACCOUNT_SID", word(0)), ("SIP_AUTHZ_AUTH_TOKEN", word(1))];
    let (code, _, stderr) = run(&account, &["account", "create", "Another"]);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(1), "sip-authz: only the admin may manage accounts\n")
    );
    let (code, _, stderr) = run(&account, &["export"]);
    let expected = "sip-authz: only the admin may export and import records\n";
    assert_eq!((code, stderr.as_str()), (Some(1), expected));
}
