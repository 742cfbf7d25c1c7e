//! Names and sources that guess limits hold: listed and released over the API.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Http;
use crate::support::{
    ADMIN_TOKEN, Caller, ONE, PATIENCE, Request, STAFF, Server, TWO, account, file, status,
};

/// Two accounts, the first with a domain that allows two wrong passwords an hour.
fn config() -> String {
    let rest = r#"
[[domains]]
name = "one.example"
account = "one"
credential_lists = ["staff"]
policy = { guesses = { pair = { burst = 2, refill_ms = 3600000 } } }
"#;
    format!("{}{}{STAFF}{rest}", account("one", ONE), account("two", TWO))
}

/// Calls with a password, and returns the status of the last answer.
fn call(server: &Server, password: &str) -> u16 {
    let caller = Caller::new(server);
    let request = Request::invite("sip:1@one.example").call_id(&format!("{}", caller.port()));
    let challenge = caller.ask(&request.text());
    status(&caller.ask(&request.cseq(2).authorized(&challenge, "alice", password).text()))
}

fn limits(http: &Http) -> Vec<Value> {
    let (code, body) = http.get("/v1/Decisions/Limits");
    assert_eq!(code, 200, "{body}");
    body["limits"].as_array().unwrap().clone()
}

#[test]
fn a_held_name_is_listed_to_its_owner_and_released() {
    let path = file("edge.toml", &config());
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    let owner = |sid: &str| Http::new(&server, sid, &format!("token of {sid}"));
    let (one, two) = (owner(ONE), owner(TWO));
    let admin = Http::new(&server, "admin", ADMIN_TOKEN);
    assert_eq!(call(&server, "correct horse"), 200);
    assert_eq!(limits(&admin), [] as [Value; 0]);
    for _ in 0..3 {
        assert_eq!(call(&server, "a guess"), 403);
    }
    assert_eq!(call(&server, "correct horse"), 403, "held");
    let begun = Instant::now();
    let mut held = limits(&one);
    // a thread keeps the record after it has answered
    while held.is_empty() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
        held = limits(&one);
    }
    assert_eq!(held.len(), 1, "{held:?}");
    let held = &held[0];
    assert_eq!(held["kind"], "name-from-source");
    assert_eq!((&held["user"], &held["source"]), (&"alice".into(), &"127.0.0.1".into()));
    assert_eq!((&held["domain"], &held["account"]), (&"one.example".into(), &ONE.into()));
    assert_eq!(held["wrong"], 2);
    let all = limits(&admin);
    assert!(all.len() == 1 && all[0]["id"] == held["id"], "{all:?}");
    assert_eq!(limits(&two), [] as [Value; 0]);

    let path = format!("/v1/Decisions/Limits/{}", held["id"].as_str().unwrap());
    assert_eq!(two.delete(&path), 404, "of another account");
    assert_eq!(call(&server, "correct horse"), 403, "still held");
    assert_eq!(one.delete(&path), 204);
    assert_eq!(call(&server, "correct horse"), 200);
    assert_eq!(one.delete(&path), 404, "no longer held");
    assert_eq!(limits(&admin), [] as [Value; 0]);
}
