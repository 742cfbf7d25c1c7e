//! Text of callers and of accounts arrives as text.

use axum::http::StatusCode;
use sip_authz::model::{Mapping, Password};
use sip_authz_directory::Secret;
use sip_authz_rest::decisions::{DecisionRecord, Event, Held, SilentEdge};

use crate::site::*;

/// Fails if the markup of [`EVIL`] is markup in a page.
fn is_text(body: &str, page: &str) {
    for part in ["<img", "<script>", "onerror=alert(1)>", "\"'&amp;<"] {
        assert!(!body.contains(part), "{page}: {part}\n{body}");
    }
}

fn with(mut record: DecisionRecord, change: impl FnOnce(&mut DecisionRecord)) -> DecisionRecord {
    change(&mut record);
    record
}

/// A record in which each text of the caller is markup.
fn evil(site: &Site, number: u8) -> DecisionRecord {
    refused(&site.acme, number, |record| {
        let evil = || Some(EVIL.to_owned());
        record.cause = Some("user-unknown".to_owned());
        record.claimed = None;
        for field in [
            &mut record.host,
            &mut record.name,
            &mut record.called,
            &mut record.from,
            &mut record.claimed_user,
            &mut record.realm,
            &mut record.call_id,
            &mut record.user_agent,
            &mut record.header,
            &mut record.algorithm,
            &mut record.qop,
            &mut record.defect,
            &mut record.method,
        ] {
            *field = evil();
        }
        record.source = evil();
        record.edge = EVIL.to_owned();
        record.reason = EVIL.to_owned();
        record.transport = EVIL.to_owned();
        record.permissions = vec![EVIL.to_owned()];
        record.shortened = vec![EVIL.to_owned()];
    })
}

#[tokio::test(start_paused = true)]
async fn text_of_callers_is_text_in_each_view() {
    let site = Site::new().await;
    let record = evil(&site, 1);
    let sid = record.sid.clone();
    site.kept.records.lock().unwrap().extend([
        record,
        with(evil(&site, 2), |record| record.username = Some(EVIL.to_owned())),
        with(evil(&site, 3), |record| {
            record.cause = Some(EVIL.to_owned());
            record.outcome = EVIL.to_owned();
        }),
        with(evil(&site, 4), |record| {
            record.cause = Some("unknown-host".to_owned());
            record.target = None;
        }),
    ]);
    let mut sids: Vec<_> =
        site.kept.records.lock().unwrap().iter().map(|record| record.sid.clone()).collect();
    sids.push(sid);
    let mut browser = site.admin().await;
    for sid in &sids {
        for page in [format!("/console/decisions/{sid}"), format!("/console/decisions/{sid}?part")]
        {
            let answer = browser.get(&page).await;
            assert_eq!(answer.status, StatusCode::OK, "{page}");
            assert!(
                answer.body.contains("&#60;img src=x onerror=alert(1)&#62;"),
                "{}",
                answer.body
            );
            is_text(&answer.body, &page);
        }
    }
    let answer = browser.get("/console/").await;
    assert!(answer.body.matches("&#60;img src=x").count() >= 8);
    is_text(&answer.body, "/console/");
}

#[tokio::test(start_paused = true)]
async fn text_of_callers_is_text_in_the_stream() {
    let site = Site::new().await;
    let record = evil(&site, 1);
    let lines = with(evil(&site, 2), |record| {
        let text = "a\r\nevent: end\r\ndata: b\n\nevent: end\rdata: c";
        record.claimed_user = Some(text.to_owned());
    });
    let silent =
        SilentEdge { edge: format!("{EVIL}\nevent: end"), reason: "x\n\nevent: end".to_owned() };
    site.kept.live.lock().unwrap().extend([
        Event::Decision(Box::new(record)),
        Event::Decision(Box::new(lines)),
        Event::Silent(silent),
    ]);
    let mut browser = site.admin().await;
    let (status, text) = browser.events("/console/stream").await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<_> = text.lines().filter(|line| line.starts_with("event:")).collect();
    assert_eq!(names, ["event: row", "event: row", "event: silent"], "{text}");
    let rows: Vec<_> = text.split("event: ").filter(|event| event.starts_with("row")).collect();
    assert_eq!(rows.len(), 2);
    for row in rows {
        is_text(row, "/console/stream");
        assert_eq!(row.lines().filter(|line| line.starts_with("data: ")).count(), 1);
        assert_eq!(row.matches("<li ").count(), 1, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_of_resources_are_text_in_each_view() {
    let site = Site::new().await;
    let account = site.acme.account;
    let directory = &site.directory;
    let name = "<b>\"'&";
    let short = &EVIL[..60];
    directory.update_account(account, Some(short), None).await.unwrap();
    directory
        .update_domain(account, site.acme.domain.sid, |domain| {
            domain.friendly_name = EVIL[..60].to_owned();
            Ok(())
        })
        .await
        .unwrap();
    directory.update_credential_list(account, site.acme.list.sid, short).await.unwrap();
    let addresses = site.acme.addresses.parse().unwrap();
    directory.update_ip_access_control_list(account, addresses, short).await.unwrap();
    let mapping = Mapping::IpAccessControlList(site.acme.domain.sid.into(), addresses);
    directory.map(account, mapping, None).await.unwrap();
    directory
        .create_ip_address(account, addresses, short, "198.51.100.1".parse().unwrap(), false)
        .await
        .unwrap();
    // the strictest form that a user name may have
    if let Ok(username) = name.parse() {
        let secret = Secret::Password(Password::new(PASSWORD.to_owned()));
        let made =
            directory.create_credential(account, site.acme.list.sid, username, secret, false, None);
        made.await.unwrap();
    }
    let sid = site.refused(1, |_| {});
    site.kept.held.lock().unwrap().push(held(&site, EVIL));
    *site.kept.silent.lock().unwrap() =
        vec![SilentEdge { edge: EVIL.to_owned(), reason: EVIL.to_owned() }];
    for mut browser in [site.admin().await, site.account().await] {
        for page in pages(&site.acme, &sid) {
            let answer = browser.get(&page).await;
            assert_eq!(answer.status, StatusCode::OK, "{page}\n{}", answer.body);
            is_text(&answer.body, &page);
            assert!(!answer.body.contains("<b>\""), "{page}");
        }
    }
}

fn held(site: &Site, text: &str) -> Held {
    Held {
        id: text.to_owned(),
        edge: text.to_owned(),
        kind: "name-from-source".to_owned(),
        account: site.acme.account.to_string(),
        target: site.acme.domain.sid.to_string(),
        domain: Some(text.to_owned()),
        user: Some(text.to_owned()),
        source: Some(text.to_owned()),
        since: text.to_owned(),
        wrong: 3,
        until: text.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn queries_and_forms_are_text() {
    let site = Site::new().await;
    let evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%22'%3C%2Fscript%3E%3Cscript%3Ealert(2)%3C%2Fscript%3E";
    let mut browser = site.admin().await;
    let (list, addresses) = (site.acme.list.sid, &site.acme.addresses);
    for page in [
        format!(
            "/console/?domain={evil}&user={evil}&source={evil}&outcome={evil}&before={evil}&done={evil}"
        ),
        format!("/console/login?next={evil}"),
        format!("/console/lists/users/{list}?q={evil}&add={evil}&after={evil}&done={evil}"),
        format!("/console/lists/addresses/{addresses}?add={evil}"),
        format!("/console/domains?account={evil}"),
        format!(
            "/console/try?host={evil}&called={evil}&from={evil}&source={evil}&transport={evil}&message={evil}"
        ),
        format!("/console/{evil}"),
        format!("/console/decisions/{evil}"),
        format!("/console/static/{evil}"),
    ] {
        let body = browser.get(&page).await.body;
        is_text(&body, &page);
    }
    for (path, form) in [
        ("/console/try".to_owned(), format!("source=192.0.2.1&message={evil}&host={evil}")),
        ("/console/try".to_owned(), "source=192.0.2.1&host=a.example".to_owned()),
        ("/console/try".to_owned(), format!("source={evil}&host={evil}")),
        (
            format!("/console/lists?account={}", site.acme.account),
            format!("kind=users&name=x&realm={evil}"),
        ),
        (format!("/console/lists/addresses/{addresses}"), format!("prefix={evil}&name={evil}")),
        (format!("/console/lists/users/{list}"), format!("username={evil}&password=short")),
        (format!("/console/domains/{}", site.acme.domain.sid), format!("list={evil}")),
    ] {
        let answer = browser.post(&path, &form).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {form}\n{}", answer.body);
        is_text(&answer.body, &path);
    }
    let csrf = browser.get("/console/login").await.csrf();
    let form = format!("csrf={csrf}&user={evil}&token=x&next={evil}");
    let answer = browser.post_raw("/console/login", &form).await;
    is_text(&answer.body, "login");
    // where a user comes back to after a change
    let enable = format!("/console/lists/users/{list}/{}/enable", site.acme.user.sid);
    for back in ["https://evil.example", "//evil.example", "javascript:alert(1)", "a%0d%0aX: y"] {
        let answer = browser.post(&enable, &format!("back={back}")).await;
        let to = answer.header("location");
        assert!(to.starts_with("../../../../lists/users/"), "{back}: {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_text_changes_the_order_of_the_others() {
    let site = Site::new().await;
    let sid = site.refused(1, |record| {
        for field in [
            &mut record.claimed_user,
            &mut record.called,
            &mut record.name,
            &mut record.from,
            &mut record.user_agent,
        ] {
            *field = Some("a\u{202e}b\u{2069}".to_owned());
        }
    });
    let mut browser = site.admin().await;
    for page in ["/console/".to_owned(), format!("/console/decisions/{sid}")] {
        let body = browser.get(&page).await.body;
        assert!(!body.contains(['\u{202e}', '\u{2069}']), "{page}");
        assert!(body.contains("a\\u{202e}b\\u{2069}"), "{page}\n{body}");
    }
}
