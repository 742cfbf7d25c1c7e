//! Rejected calls as alerts of Twilio's monitor API.

use super::*;
use sip_authz_rest::decisions::DecisionRecord;

/// The fields of a row, from the reference.
const ALERT: &str = "account_sid, alert_text, api_version, date_created, date_generated, date_updated, \
    error_code, log_level, more_info, request_method, request_url, resource_sid, service_sid, sid, url";
/// The fields that only a single alert has.
const INSTANCE: &str = "request_headers, request_variables, response_body, response_headers";

#[tokio::test]
async fn an_alert_has_the_fields_of_the_reference() {
    let kept = Kept::new().await;
    let sid = kept.add(7);
    let page = kept.site.get("/v1/Alerts").await.json();
    let alert = &page["alerts"][0];
    assert_eq!(keys(alert), named(ALERT));
    let base = "http://api.example.com:8080";
    for (name, value) in [
        ("account_sid", kept.site.sid.as_str()),
        ("date_created", "2026-11-22T05:20:11Z"),
        ("date_generated", "2026-11-22T05:20:11Z"),
        ("date_updated", "2026-11-22T05:20:11Z"),
        ("error_code", "32202"),
        ("log_level", "error"),
        ("more_info", &format!("{base}/errors/32202")),
        ("resource_sid", &format!("SD{DIGITS}")),
        ("sid", &sid),
        ("url", &format!("{base}/v1/Alerts/{sid}")),
    ] {
        assert_eq!(alert[name], value, "{name}");
    }
    for name in ["api_version", "request_method", "request_url", "service_sid"] {
        assert_eq!(alert[name], Value::Null, "{name}");
    }
    let text = alert["alert_text"].as_str().unwrap();
    let start = "INVITE to +4930100 at sip.example.com from 192.0.2.7:5060 of user alice: \
                 wrong-credentials (wrong-password): ";
    assert!(text.starts_with(start) && text.len() > start.len(), "{text}");
    assert_eq!(page["meta"]["key"], "alerts");

    let one = kept.site.get(&format!("/v1/Alerts/{sid}")).await.json();
    assert_eq!(keys(&one), named(&format!("{ALERT}, {INSTANCE}")));
    for name in keys(alert) {
        assert_eq!(one[name], alert[name], "{name}");
    }
    for name in ["request_headers", "response_body", "response_headers"] {
        assert_eq!(one[name], Value::Null, "{name}");
    }
    let variables = one["request_variables"].as_str().unwrap();
    for pair in ["called=%2B4930100", "status=403", "source=192.0.2.7:5060", "cause=wrong-password"]
    {
        assert!(variables.split('&').any(|known| known == pair), "{variables}");
    }
    // each code is explained
    for code in ["32200", "32201", "32202", "32209"] {
        let explained = kept.site.get(&format!("/errors/{code}")).await;
        assert!(explained.status == 200 && explained.text.contains(code), "{}", explained.text);
    }
}

#[tokio::test]
async fn only_rejections_with_a_code_are_alerts() {
    let kept = Kept::new().await;
    let account = kept.site.sid.clone();
    let add = |n, change: fn(&mut DecisionRecord)| kept.add_for(Some(&account), n, change);
    let mut alerts: Vec<_> = [(1, 32_200), (2, 32_201), (3, 32_202), (4, 32_209)]
        .into_iter()
        .map(|(n, code)| kept.add_for(Some(&account), n, |row| row.code = Some(code)))
        .collect();
    alerts.reverse();
    let others = [
        add(5, |row| row.code = None),
        add(6, |row| (row.outcome, row.code) = ("challenge".to_owned(), None)),
        add(7, |row| (row.outcome, row.code) = ("accept".to_owned(), None)),
        add(8, |row| (row.outcome, row.code) = ("answered".to_owned(), None)),
    ];
    let page = kept.site.get("/v1/Alerts").await.json();
    assert_eq!(Kept::sids(&page, "alerts"), alerts);
    for other in others {
        refused(&kept.site, "GET", &format!("/v1/Alerts/{other}"), "", 404, 20404).await;
        assert_eq!(kept.site.get(&format!("/v1/Decisions/{other}")).await.status, 200);
    }
    let codes: Vec<_> = page["alerts"].as_array().unwrap().iter().collect();
    assert!(codes.iter().map(|row| &row["error_code"]).eq(["32209", "32202", "32201", "32200"]));
}

#[tokio::test]
async fn dates_and_level_select_and_stay_in_the_links() {
    let kept = Kept::new().await;
    // a second apart
    let sids: Vec<_> = (0..4).map(|n| kept.add(n * 1_000)).rev().collect();
    for (query, wanted) in [
        ("", &sids[..]),
        ("StartDate=2026-11-22", &sids[..]),
        ("EndDate=2026-11-22", &sids[..]),
        ("StartDate=2026-11-23", &[]),
        ("EndDate=2026-11-21", &[]),
        ("StartDate=2026-11-22T05:20:12Z", &sids[..3]),
        ("EndDate=2026-11-22T05:20:12Z", &sids[2..]),
        ("StartDate=2026-11-22T05:20:12Z&EndDate=2026-11-22T05:20:13Z", &sids[1..3]),
        ("LogLevel=error", &sids[..]),
        ("LogLevel=warning", &[]),
        ("LogLevel=debug&StartDate=2026-11-22", &[]),
        ("LogLevel=&StartDate=&EndDate=", &sids[..]),
    ] {
        let mut url = format!("/v1/Alerts?{query}&PageSize=1");
        let mut rows = Vec::new();
        loop {
            let page = kept.site.get(&url).await.json();
            rows.extend(Kept::sids(&page, "alerts"));
            match page["meta"]["next_page_url"].as_str() {
                Some(next) => url = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(rows, wanted, "{query}");
    }
    for (query, words) in [
        ("LogLevel=fatal", "LogLevel must be error, warning, notice or debug"),
        ("StartDate=22.11.2026", "StartDate must be a date such as 2026-11-22"),
        ("EndDate=soon", "EndDate must be a date"),
        ("StartDate=2026-11-23&EndDate=2026-11-22", "StartDate must be no later than EndDate"),
    ] {
        let answer = kept.site.get(&format!("/v1/Alerts?{query}")).await;
        assert_eq!((answer.status, answer.code()), (400, 20001), "{query}");
        assert!(answer.text_of("message").starts_with(words), "{}", answer.text);
    }
}

#[tokio::test]
async fn texts_of_callers_are_escaped_and_forgotten_ones_are_absent() {
    let kept = Kept::new().await;
    let account = kept.site.sid.clone();
    let odd = kept.add_for(Some(&account), 1, |row| {
        row.claimed_user = Some("a\u{1b}[31m\r\nX: <b>&=".to_owned());
        row.cause = Some("a cause of a later release".to_owned());
    });
    let forgotten = kept.add_for(Some(&account), 2, |row| {
        row.called = None;
        row.host = None;
        row.source = None;
        row.claimed_user = None;
    });
    let one = kept.site.get(&format!("/v1/Alerts/{odd}")).await.json();
    let text = one["alert_text"].as_str().unwrap();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.contains("of user a\\u{1b}[31m\\u{d}\\u{a}X: <b>&=: wrong"), "{text}");
    assert!(text.ends_with("(a cause of a later release)"), "{text}");
    let variables = one["request_variables"].as_str().unwrap();
    assert!(variables.contains("claimed_user=a%1B%5B31m%0D%0AX:%20%3Cb%3E%26%3D&"), "{variables}");
    let one = kept.site.get(&format!("/v1/Alerts/{forgotten}")).await.json();
    assert!(one["alert_text"].as_str().unwrap().starts_with("INVITE: wrong-credentials"), "{one}");
}
