//! `GET /metrics`: the metrics agree with the requests that were sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{ADMIN_TOKEN, Caller, Lines, PATIENCE, Request, Server, file, status};

/// The series of a page and their values.
pub(crate) type Page = BTreeMap<String, f64>;

pub(crate) fn address(stdout: &Lines) -> String {
    stdout.wait_for("listening for scrapes on ").rsplit(' ').next().unwrap().to_owned()
}

pub(crate) fn scrape(url: &str) -> Page {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
    let mut answer = agent.get(url).call().unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers().get("content-type").unwrap().to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.body_mut().read_to_string().unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until the series has this value, and returns the page.
pub(crate) fn wait_for(url: &str, series: &str, value: f64) -> Page {
    wait_for_all(url, &[(series.to_owned(), value)])
}

/// Waits until all series have these values, and returns the page. A thread counts after it has answered,
/// and the counts of another thread can be on the page earlier.
pub(crate) fn wait_for_all(url: &str, expected: &[(String, f64)]) -> Page {
    let start = Instant::now();
    loop {
        let page = scrape(url);
        let other = expected.iter().find(|(series, value)| page.get(series) != Some(value));
        let Some((series, value)) = other else { return page };
        assert!(start.elapsed() < PATIENCE, "{series} is not {value}: {page:#?}");
        // the page is cached for a moment
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) const CONFIG: &str = r#"
realm = "example"
[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.1"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "correct horse" }]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
"#;

/// The default number of guesses, none of which comes back during a test. Follows a domain.
pub(crate) const SLOW_REFILL: &str =
    "policy = { guesses = { pair = { burst = 10, refill_ms = 3600000 } } }\n";

#[test]
fn metrics_agree_with_the_requests() {
    let path = file("edge.toml", CONFIG);
    let server = Server::start(&[
        "--config",
        path.to_str().unwrap(),
        "--on-accept",
        "ok",
        "--metrics",
        "127.0.0.1:0",
    ]);
    let url = address(&server.stdout);
    let before = scrape(&url);
    let decided = |outcome: &str, reason: &str| {
        format!("sip_authz_decisions_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}")
    };
    assert_eq!(before[&decided("accept", "passed")], 0.0);

    let (inside, outside) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    for _ in 0..9 {
        let answer = inside.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&answer), 200);
    }
    for _ in 0..6 {
        let answer = outside.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&answer), 403);
    }
    let invite = Request::invite("sip:1@by-password.example");
    let challenges: Vec<_> = (0..5).map(|_| inside.ask(&invite.text())).collect();
    let authorized = invite.authorized(&challenges[0], "alice", "correct horse").text();
    for _ in 0..2 {
        assert_eq!(status(&inside.ask(&authorized)), 200);
    }
    inside.ask(&Request::new("OPTIONS", "sip:a").text());

    let decisions = [
        ("accept", "passed", 10.0),
        ("accept", "repeat", 1.0),
        ("challenge", "asked", 5.0),
        ("challenge", "stale", 0.0),
        ("reject", "address-not-listed", 6.0),
        ("reject", "wrong-credentials", 0.0),
    ];
    let decisions =
        decisions.map(|(outcome, reason, expected)| (decided(outcome, reason), expected));
    let messages = [("accepted", 11.0), ("challenged", 5.0), ("rejected", 6.0), ("answered", 1.0)];
    let messages = messages.map(|(outcome, expected)| {
        (format!("sip_authz_messages_total{{outcome=\"{outcome}\"}}"), expected)
    });
    let others = [
        ("sip_authz_decision_seconds_count", 22.0),
        ("sip_authz_decision_seconds_bucket{le=\"+Inf\"}", 22.0),
        ("sip_authz_replay_nonces", 1.0),
    ];
    let others = others.map(|(series, expected)| (series.to_owned(), expected));
    let page = wait_for_all(&url, &[&decisions[..], &messages, &others].concat());
    assert!(page["sip_authz_decision_seconds_sum"] > 0.0);
    assert_eq!(page["sip_authz_replay_nonces_max"], 131_072.0);
    assert_eq!(page["sip_authz_snapshot_number"], page["sip_authz_follower_commit_number"]);
    assert_eq!(page["sip_authz_store_commit_number"], page["sip_authz_follower_commit_number"]);
    assert_eq!(page["sip_authz_store_state{state=\"ok\"}"], 1.0);
    assert_eq!(page["sip_authz_follower_state{state=\"following\"}"], 1.0);
    assert_eq!(page["sip_authz_follower_state{state=\"away\"}"], 0.0);
    assert!(page["sip_authz_snapshot_age_seconds"] >= 0.0);

    // it contains no text of a request, and of the configuration only the names of domains
    let all = format!("{page:?}");
    for secret in ["alice", "127.0.0", "inside", "staff", "correct horse", ADMIN_TOKEN] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn refused_guesses_and_foreign_nonces_are_counted() {
    let path = file("edge.toml", &format!("{CONFIG}{SLOW_REFILL}"));
    let config = path.to_str().unwrap();
    let server =
        Server::start(&["--config", config, "--on-accept", "ok", "--metrics", "127.0.0.1:0"]);
    let url = address(&server.stdout);
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:1@by-password.example");
    for _ in 0..14 {
        let challenge = caller.ask(&invite.text());
        caller.ask(&invite.authorized(&challenge, "alice", "guess").text());
    }
    let reason =
        |text: &str| format!("sip_authz_decisions_total{{outcome=\"reject\",reason=\"{text}\"}}");
    let expected = [
        ("sip_authz_guesses_refused_total".to_owned(), 4.0),
        (reason("wrong-credentials"), 10.0),
        (reason("too-many-guesses"), 4.0),
    ];
    let page = wait_for_all(&url, &expected);
    assert_eq!(page["sip_authz_foreign_nonces_total"], 0.0);
}

#[test]
fn metrics_have_an_address_of_their_own() {
    let server = Server::start(&["--demo", "--metrics", "127.0.0.1:0", "--nonces", "1024"]);
    let url = address(&server.stdout);
    assert_eq!(scrape(&url)["sip_authz_replay_nonces_max"], 1_024.0);
    let status = |url: &str| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
        agent.get(url).call().unwrap().status().as_u16()
    };
    assert_eq!(status(&url), 200);
    assert_eq!(status(&url.replace("/metrics", "/2010-04-01/Accounts.json")), 404);
    // DNS rebinding: other host names are refused
    let asked_as = |host: &str| {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
        agent.get(&url).header("host", host).call().unwrap().status().as_u16()
    };
    for host in ["localhost", "LOCALHOST:9464", "127.0.0.1", "[::1]:9464", "192.0.2.1:1"] {
        assert_eq!(asked_as(host), 200, "{host}");
    }
    for host in ["evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.evil"] {
        assert_eq!(asked_as(host), 421, "{host}");
    }
    // tenants reach the API, which has no metrics
    assert!(status(&format!("http://{}/metrics", server.api)) >= 400);
}
