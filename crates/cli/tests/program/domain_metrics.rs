//! `--metrics-domains`: the counts of each domain agree with the calls made, and strangers add no series.

use crate::metrics::{CONFIG, Page, address, scrape, wait_for, wait_for_all};
use crate::support::{Caller, PATIENCE, Request, Server, file, outcome, run, status};

const METRIC: &str = "sip_authz_domain_decisions_total";

/// The number of decisions of this outcome for a domain, or for `other` or `unknown`.
fn decided(page: &Page, domain: &str, outcome: &str) -> f64 {
    let (start, end) =
        (format!("{METRIC}{{domain=\"{domain}\","), format!("outcome=\"{outcome}\"}}"));
    let mut found =
        page.iter().filter(|(series, _)| series.starts_with(&start) && series.ends_with(&end));
    let (_, value) = found.next().unwrap_or_else(|| panic!("no {domain} in {page:#?}"));
    assert!(found.next().is_none(), "{domain} twice");
    *value
}

fn series(page: &Page) -> Vec<&String> {
    page.keys().filter(|series| series.starts_with(METRIC)).collect()
}

/// A server that admits 127.0.0.1 to `by-address.example` and alice to `by-password.example`.
fn start(more: &[&str]) -> (Server, String) {
    let path = file("edge.toml", CONFIG);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start(&[&args[..], &["--metrics", "127.0.0.1:0"], more].concat());
    let url = address(&server.stdout);
    (server, url)
}

/// The number of decisions of [`call`].
const CALLS: f64 = 25.0;

/// Waits until the decisions of [`call`] and `more` rejections for unknown hosts are counted, and returns
/// the page. The number of all decisions is counted before those of a domain.
fn counted(url: &str, more: f64) -> Page {
    let all = "sip_authz_decision_seconds_count".to_owned();
    let unknown = format!("{METRIC}{{domain=\"unknown\",outcome=\"reject\"}}");
    let start = std::time::Instant::now();
    loop {
        let page = wait_for_all(url, &[(all.clone(), CALLS + more), (unknown.clone(), 4.0 + more)]);
        let of_domains: f64 = series(&page).iter().map(|series| page[*series]).sum();
        if of_domains == CALLS + more {
            return page;
        }
        assert!(start.elapsed() < PATIENCE, "{page:#?}");
    }
}

/// Sends calls with all outcomes; returns what each domain must have: accepts, challenges, rejections.
fn call(server: &Server) -> [(&'static str, [f64; 3]); 3] {
    let (inside, outside) = (Caller::new(server), Caller::from("127.0.0.2", server));
    for _ in 0..9 {
        let answer = inside.ask(&Request::invite("sip:1@by-address.example").text());
        assert_eq!(status(&answer), 200);
    }
    for _ in 0..6 {
        let answer = outside.ask(&Request::invite("sip:1@BY-ADDRESS.example").text());
        assert_eq!(status(&answer), 403);
    }
    let invite = Request::invite("sip:1@by-password.example");
    for (password, expected) in [("correct horse", 200), ("wrong", 403), ("wrong", 403)] {
        let challenge = inside.ask(&invite.text());
        let answer = inside.ask(&invite.authorized(&challenge, "alice", password).text());
        assert_eq!(status(&answer), expected);
    }
    for host in ["nowhere.example", "192.0.2.1", "other", "unknown"] {
        assert_eq!(status(&inside.ask(&Request::invite(&format!("sip:1@{host}")).text())), 404);
    }
    [
        ("by-address.example", [9.0, 0.0, 6.0]),
        ("by-password.example", [1.0, 3.0, 2.0]),
        ("unknown", [0.0, 0.0, 4.0]),
    ]
}

const OUTCOMES: [&str; 3] = ["accept", "challenge", "reject"];

#[test]
fn the_counts_of_each_domain_agree_with_the_calls() {
    let (server, url) = start(&[]);
    assert_eq!(series(&scrape(&url)).len(), 6);
    let expected = call(&server);
    let page = counted(&url, 0.0);
    for (domain, counts) in expected {
        assert_eq!(OUTCOMES.map(|outcome| decided(&page, domain, outcome)), counts, "{domain}");
    }
    assert_eq!(OUTCOMES.map(|outcome| decided(&page, "other", outcome)), [0.0; 3]);
    assert_eq!(series(&page).len(), 12);
    // each row names the domain and its account
    for series in series(&page).iter().filter(|series| series.contains(".example")) {
        assert!(series.contains(",sid=\"SD") && series.contains(",account=\"AC"), "{series}");
    }
}

#[test]
fn made_up_hosts_add_no_series() {
    let (server, url) = start(&[]);
    call(&server);
    let before = counted(&url, 0.0);
    let stranger = Caller::from("127.0.0.9", &server);
    for number in 0..10_000 {
        let host = match number % 3 {
            0 => format!("h{number}.example"),
            1 => format!("{number}.by-address.example"),
            _ => format!("10.0.{}.{}", number / 250, number % 250),
        };
        let answer = stranger.ask(&Request::invite(&format!("sip:{number}@{host}")).text());
        assert_eq!(status(&answer), 404, "{host}");
    }
    let after = counted(&url, 10_000.0);
    let keys = |page: &Page| page.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&after), keys(&before));
    for (domain, outcome) in [("by-address.example", "accept"), ("by-password.example", "reject")] {
        assert_eq!(decided(&after, domain, outcome), decided(&before, domain, outcome));
    }
}

#[test]
fn more_domains_than_rows_are_counted_together() {
    let (server, url) = start(&["--metrics-domains", "1"]);
    call(&server);
    let page = counted(&url, 0.0);
    // the first one has the row
    let row = OUTCOMES.map(|outcome| decided(&page, "by-address.example", outcome));
    let other = OUTCOMES.map(|outcome| decided(&page, "other", outcome));
    assert_eq!((row, other), ([9.0, 0.0, 6.0], [1.0, 3.0, 2.0]));
    assert_eq!(series(&page).len(), 9);
}

#[test]
fn without_rows_no_domain_is_on_the_page() {
    let (server, url) = start(&["--metrics-domains", "0"]);
    call(&server);
    let total = "sip_authz_decision_seconds_count";
    let page = wait_for(&url, total, CALLS);
    assert_eq!(series(&page), Vec::<&String>::new());
    assert!(!format!("{page:?}").contains("by-address"));
    let args = ["serve", "--demo", "--metrics-domains", "5"];
    let (code, _, stderr) = outcome(&run(&args));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--metrics"), "{stderr}");
    let (code, _, stderr) = outcome(&run(&[&args[..3], &["1001", "--metrics"]].concat()));
    assert!(code == Some(2) && stderr.contains("1001"), "{stderr}");
}
