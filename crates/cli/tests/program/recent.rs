//! Recent decisions: what the program keeps, for how long, and who sees it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Http;
use crate::support::{Caller, ONE, PATIENCE, Request, STAFF, Server, TWO, account, file, status};
use crate::tcp::Connection;

/// Two accounts with a domain each, whose tokens are `token of` and the SID.
fn config() -> String {
    let rest = r#"
[[ip_access_control_lists]]
name = "elsewhere"
account = "two"
addresses = ["192.0.2.1"]
[[domains]]
name = "one.example"
account = "one"
credential_lists = ["staff"]
[[domains]]
name = "two.example"
account = "two"
ip_access_control_lists = ["elsewhere"]
"#;
    format!("{}{}{STAFF}{rest}", account("one", ONE), account("two", TWO))
}

fn start(more: &[&str]) -> Server {
    let path = file("edge.toml", &config());
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    Server::start(&[&args, more].concat())
}

fn owner(server: &Server, sid: &str) -> Http {
    Http::new(server, sid, &format!("token of {sid}"))
}

/// The decisions of an answer, once they fit: a thread keeps them after it has answered.
pub(crate) fn wait(http: &Http, query: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let (code, body) = http.get(&format!("/v1/Decisions?PageSize=1000&{query}"));
        assert_eq!(code, 200, "{body}");
        let rows = body["decisions"].as_array().unwrap().clone();
        if fits(&rows) {
            return rows;
        }
        assert!(begun.elapsed() < PATIENCE, "{body:#}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn texts<'r>(rows: &'r [Value], field: &str) -> Vec<&'r str> {
    rows.iter().map(|row| row[field].as_str().unwrap_or_default()).collect()
}

/// A call to the domain of account two, which its access list refuses.
fn refused(caller: &Caller, host: &str, id: &str) {
    let answer = caller.ask(&Request::invite(&format!("sip:callee@{host}")).call_id(id).text());
    assert!(matches!(status(&answer), 403 | 404), "{answer}");
}

#[test]
fn refusals_over_udp_and_tcp_are_found_by_their_owners() {
    let server = start(&[]);
    let (admin, one, two) = (Http::admin(&server), owner(&server, ONE), owner(&server, TWO));
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:callee@one.example").call_id("wrong");
    let challenge = caller.ask(&invite.text());
    let wrong = invite.authorized(&challenge, "alice", "guessed").text();
    assert_eq!(status(&caller.ask(&wrong)), 403);
    refused(&caller, "two.example", "closed");
    refused(&caller, "nowhere.example", "nowhere");
    let publish = Request::new("PUBLISH", "sip:callee@one.example").call_id("method");
    assert_eq!(status(&caller.ask(&publish.text())), 405);
    let mut connection = Connection::open(&server);
    let request = Request::invite("sip:callee@two.example").call_id("tcp");
    connection.send(request.text().replace("SIP/2.0/UDP", "SIP/2.0/TCP").as_bytes());
    assert_eq!(status(&connection.response()), 403);

    let rows = wait(&admin, "Outcome=refused", |rows| rows.len() == 5);
    let mut ids = texts(&rows, "call_id");
    ids.sort_unstable();
    assert_eq!(ids, ["closed", "method", "nowhere", "tcp", "wrong"]);
    let mut times = texts(&rows, "time");
    times.reverse();
    assert!(times.is_sorted(), "{times:?}");
    let row = rows.iter().find(|row| row["call_id"] == "wrong").unwrap();
    for (field, expected) in [
        ("cause", "wrong-password"),
        ("reason", "wrong-credentials"),
        ("account", ONE),
        ("name", "one.example"),
        ("claimed_user", "alice"),
        ("called", "callee"),
        ("transport", "udp"),
        ("source", &format!("127.0.0.1:{}", caller.port())),
    ] {
        assert_eq!(row[field], expected, "{row:#}");
    }
    assert!(row["snapshot"] == 1 && row["took_us"].is_u64(), "{row:#}");
    // a record has neither nonce nor response
    let quoted: Vec<_> = wrong.split('"').filter(|part| part.len() >= 32).collect();
    let all = admin.get("/v1/Decisions").1.to_string();
    assert!(!quoted.is_empty() && quoted.iter().all(|part| !all.contains(part)), "{all}");

    // an account sees its own domains, the admin all
    let own = wait(&one, "", |rows| rows.len() == 2);
    assert_eq!(texts(&own, "account"), [ONE, ONE]);
    assert_eq!(texts(&own, "outcome"), ["reject", "challenge"]);
    let own = wait(&two, "", |rows| rows.len() == 2);
    assert_eq!(texts(&own, "name"), ["two.example", "two.example"]);
    let path = format!("/v1/Decisions/{}", row["sid"].as_str().unwrap());
    assert_eq!(
        (one.get(&path).0, admin.get(&path), two.get(&path).0),
        (200, (200, row.clone()), 404)
    );
    assert_eq!(texts(&wait(&two, "CallId=tcp", |rows| rows.len() == 1), "transport"), ["tcp"]);
    assert_eq!(wait(&two, "User=alice", |_| true), [] as [Value; 0]);
    let (code, alerts) = one.get("/v1/Alerts");
    assert_eq!((code, &alerts["alerts"][0]["sid"]), (200, &row["sid"]), "{alerts}");
}

#[test]
fn decisions_outlive_a_reload() {
    let server = start(&[]);
    refused(&Caller::new(&server), "two.example", "before");
    server.signal("HUP");
    server.stderr.wait_for("snapshot 2");
    refused(&Caller::new(&server), "two.example", "after");
    let rows = wait(&owner(&server, TWO), "", |rows| rows.len() == 2);
    assert_eq!(texts(&rows, "call_id"), ["after", "before"]);
}

#[test]
fn a_flood_leaves_the_refusals_of_another_domain() {
    // the only UDP thread has half of the records
    let server = start(&["--recent", "64", "--udp-workers", "1"]);
    let (caller, admin) = (Caller::new(&server), Http::admin(&server));
    (0..10).for_each(|number| refused(&caller, "two.example", &format!("quiet-{number}")));
    for host in ["nowhere.example", "one.example"] {
        for _ in 0..400 {
            let request = Request::invite(&format!("sip:callee@{host}")).header(
                "Proxy-Authorization",
                "Digest username=\"a\", realm=\"example\", nonce=\"b\", uri=\"c\", response=\"d\"",
            );
            caller.ask(&request.text());
        }
    }
    let rows = wait(&admin, "Domain=two.example", |rows| rows.len() == 10);
    assert!(rows.iter().all(|row| row["call_id"].as_str().unwrap().starts_with("quiet-")));
    let rows = wait(&admin, "", |rows| rows.len() == 32);
    for host in ["nowhere.example", "one.example"] {
        assert_eq!(texts(&rows, "host").iter().filter(|other| **other == host).count(), 11);
    }
}

#[test]
fn personal_fields_are_gone_after_their_time() {
    let server = start(&["--recent-for", "1s"]);
    let (caller, admin) = (Caller::new(&server), Http::admin(&server));
    refused(&caller, "two.example", "secret-id");
    refused(&caller, "secret.example", "secret-id");
    let is_forgotten = |rows: &[Value]| {
        let text = Value::from(rows).to_string();
        rows.len() == 2 && !text.contains("secret") && !text.contains("127.0.0.1")
    };
    let rows = wait(&admin, "", is_forgotten);
    assert_eq!(texts(&rows, "cause"), ["unknown-host", "address-not-listed"]);
    assert_eq!(texts(&rows, "name"), ["", "two.example"]);
    for field in ["source", "called", "from", "call_id", "host", "claimed_user", "user_agent"] {
        assert!(rows.iter().all(|row| row.get(field).is_none()), "{field} in {rows:?}");
    }
    assert!(rows.iter().all(|row| row["time"].is_string() && row["sid"].is_string()));
    assert_eq!(wait(&admin, "CallId=secret-id", |_| true), [] as [Value; 0]);
}

#[test]
fn without_recent_decisions_the_edge_says_so() {
    let server = start(&["--recent", "0"]);
    let (caller, admin) = (Caller::new(&server), Http::admin(&server));
    refused(&caller, "two.example", "a");
    refused(&caller, "two.example", "b");
    let (code, body) = admin.get("/v1/Decisions");
    assert_eq!((code, body["decisions"].as_array().unwrap().len()), (200, 0));
    let reason = body["silent_edges"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("--recent 0"), "{body}");
}
