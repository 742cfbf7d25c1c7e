//! `serve --data`: its records survive a restart, and `backup` copies them.

use crate::http::Http;
use crate::support::{Caller, Request, Server, file, outcome, run, set_mode, status};

fn folder() -> String {
    let path = file("beside", "").with_file_name("data");
    path.to_str().unwrap().to_owned()
}

fn create(server: &Server, name: &str) -> String {
    let api = format!("http://{}", server.api);
    let (code, printed, error) = outcome(&run(&["account", "--api", &api, "create", name]));
    assert_eq!(code, Some(0), "{error}");
    printed
}

fn list(server: &Server) -> String {
    outcome(&run(&["account", "--api", &format!("http://{}", server.api), "list"])).1
}

#[test]
fn answered_changes_survive_a_kill() {
    let folder = folder();
    let serve = || Server::start(&["--data", &folder, "--on-accept", "ok"]);
    let server = serve();
    server.stdout.wait_for(&format!("serving the records in {folder}"));
    create(&server, "first");
    // killed, so that it cannot write anything at exit
    server.signal("KILL");
    drop(server);
    let server = serve();
    assert!(list(&server).contains("first"));
    create(&server, "second");
    server.end("TERM");
    let server = serve();
    let both = list(&server);
    assert!(both.contains("first") && both.contains("second"), "{both}");
}

#[test]
fn two_programs_do_not_serve_one_folder() {
    let folder = folder();
    let server = Server::start(&["--data", &folder, "--on-accept", "ok"]);
    let arguments = ["--sip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--on-accept", "ok"];
    let second = run(&[&["serve", "--data", &folder][..], &arguments].concat());
    let (code, _, error) = outcome(&second);
    assert_eq!(code, Some(2));
    let expected = format!("sip-authz: `{folder}` is in use by process ");
    assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
    drop(server);
    for other in [["--demo", ""], ["--config", "edge.toml"]] {
        let other = other.into_iter().filter(|word| !word.is_empty());
        let words: Vec<_> = ["serve", "--data", &folder].into_iter().chain(other).collect();
        assert_eq!(outcome(&run(&words)).0, Some(2));
    }
}

#[test]
fn a_backup_of_a_running_server_can_be_served() {
    let folder = folder();
    let server = Server::start(&["--data", &folder, "--on-accept", "ok"]);
    create(&server, "copied");
    let copy = file("unused", "").with_file_name("sip-authz.db");
    let copy = copy.to_str().unwrap();
    let (code, printed, error) = outcome(&run(&["backup", "--data", &folder, copy]));
    assert_eq!((code, &*error), (Some(0), ""));
    assert_eq!(printed, format!("{copy}: 1 records, as of commit 1\n"));
    create(&server, "later");
    let (code, _, error) = outcome(&run(&["backup", "--data", &folder, copy]));
    assert_eq!((code, error), (Some(1), format!("sip-authz: `{copy}`: already exists\n")));
    server.end("INT");
    // the folder of the copy is one that can be served
    std::fs::remove_file(copy.replace("sip-authz.db", "unused")).unwrap();
    let restored = copy.trim_end_matches("/sip-authz.db");
    let server = Server::start(&["--data", restored, "--on-accept", "ok"]);
    let accounts = list(&server);
    assert!(accounts.contains("copied") && !accounts.contains("later"), "{accounts}");
}

#[test]
fn without_a_folder_the_records_are_in_memory() {
    let server = Server::start(&["--on-accept", "ok"]);
    server.stdout.wait_for("serving records in memory");
}

#[test]
fn a_folder_that_cannot_be_used_is_one_clear_line() {
    let beside = file("sip-authz.db", "this is no database, though it has the name of one");
    let folder = beside.parent().unwrap().to_str().unwrap();
    let arguments = ["--sip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--on-accept", "ok"];
    let refused = run(&[&["serve", "--data", folder][..], &arguments].concat());
    let (code, _, error) = outcome(&refused);
    let path = beside.display();
    let expected = format!("sip-authz: `{path}`: not an SQLite database, or damaged\n");
    assert_eq!((code, error), (Some(2), expected));
}

#[test]
fn a_folder_that_others_can_write_to_or_a_linked_lock_is_refused() {
    let folder = folder();
    let serve = || {
        let arguments = ["--sip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--on-accept", "ok"];
        outcome(&run(&[&["serve", "--data", &folder][..], &arguments].concat()))
    };
    std::fs::create_dir(&folder).unwrap();
    set_mode(folder.as_ref(), 0o770);
    let (code, _, error) = serve();
    let expected = format!(
        "sip-authz: `{folder}`: other users can write to the folder (mode 0770) and could replace \
         its files; check its content, then remove the permission (chmod go-w)\n"
    );
    assert_eq!((code, error), (Some(2), expected));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);

    set_mode(folder.as_ref(), 0o700);
    let victim = file("victim", "keep this");
    std::os::unix::fs::symlink(&victim, format!("{folder}/lock")).unwrap();
    let (code, _, error) = serve();
    let expected =
        format!("sip-authz: `{folder}/lock` is a symbolic link; expected a regular file\n");
    assert_eq!((code, error), (Some(2), expected));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "keep this");
}

/// The lines on stderr about failed requests.
fn request_errors(server: &Server) -> Vec<String> {
    let mut lines = server.stderr.all();
    lines.retain(|line| line.contains("HTTP request failed"));
    lines
}

#[test]
fn a_full_disk_is_a_503_and_nothing_has_changed() {
    const ACCOUNTS: &str = "/2010-04-01/Accounts.json";
    let folder = folder();
    let serve = ["--data", &folder, "--on-accept", "ok"];
    let server = Server::start_with_little_room(&serve);
    let http = Http::admin(&server);
    let account = |http: &Http| http.post(ACCOUNTS, &[("FriendlyName", "a")]);
    let kept = |http: &Http| http.get("/admin/export").1["accounts"].as_array().unwrap().len();
    let made = (0..10_000).take_while(|_| account(&http).0 == 201).count();
    assert!((10..10_000).contains(&made), "{made} accounts were made");
    for _ in 0..3 {
        let (status, body) = account(&http);
        assert_eq!((status, &body["code"]), (503, &20_503.into()), "{body}");
        assert_eq!(kept(&http), made);
    }
    // one warning for all three; the disk may have space again, so the health check succeeds
    let line = server.stderr.wait_for("HTTP request failed");
    let full = ["database or disk is full", "disk I/O error"];
    assert!(full.iter().any(|full| line.contains(full)) && line.contains(&folder), "{line}");
    assert_eq!(request_errors(&server), [line]);
    assert_eq!(http.get("/health").0, 200);
    // calls are still decided
    let caller = Caller::new(&server);
    assert_eq!(status(&caller.ask(&Request::invite("sip:1@nobody.example").text())), 404);
    server.end("TERM");
    let server = Server::start(&serve);
    let http = Http::admin(&server);
    assert_eq!(kept(&http), made);
    assert_eq!(account(&http).0, 201);
}

#[test]
fn a_store_changed_by_another_process_is_a_warning_and_unhealthy() {
    let folder = folder();
    let server = Server::start(&["--data", &folder, "--on-accept", "ok"]);
    let http = Http::admin(&server);
    create(&server, "first");
    assert_eq!(http.get("/health").0, 200);
    let other = rusqlite::Connection::open(format!("{folder}/sip-authz.db")).unwrap();
    assert_eq!(other.execute("UPDATE head SET number = number + 1", []).unwrap(), 1);
    drop(other);
    for _ in 0..3 {
        let (status, body) = http.post("/2010-04-01/Accounts.json", &[("FriendlyName", "a")]);
        assert_eq!((status, &body["code"]), (503, &20_503.into()), "{body}");
        let (status, body) = http.get("/health");
        assert_eq!((status, &body["status"]), (503, &"degraded".into()), "{body}");
        let parts = &body["parts"];
        assert_eq!(
            (&parts["store"]["state"], &parts["calls"]["state"]),
            (&"read-only".into(), &"decided".into())
        );
        assert_eq!(http.get("/ready").0, 200);
    }
    let api = format!("http://{}", server.api);
    let (code, printed, error) = outcome(&run(&["status", "--api", &api]));
    assert_eq!((code, error.as_str()), (Some(1), ""), "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[1].ends_with("  degraded"), "{printed}");
    assert!(lines[2].starts_with("  store: read-only: ") && lines.len() == 3, "{printed}");
    // the records can still be read
    assert!(list(&server).contains("first"));
    let line = server.stderr.wait_for("another program has written to the file");
    let expected = format!(
        "sip-authz: warning: HTTP request failed: the store: `{folder}/sip-authz.db`: \
         commits are rejected until the program restarts: another program has written to the file"
    );
    assert_eq!(line, expected);
    assert_eq!(request_errors(&server), [expected]);
}
