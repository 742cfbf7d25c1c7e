//! An account sees and changes its own resources only.

use axum::http::StatusCode;
use sip_authz_rest::decisions::{Event, Held};

use crate::site::*;

#[tokio::test(start_paused = true)]
async fn an_account_sees_nothing_of_another() {
    let site = Site::new().await;
    let theirs = refused(&site.other, 9, |_| {});
    let unknown = refused(&site.other, 8, |record| {
        record.account = None;
        record.target = None;
        record.name = None;
        record.host = Some("sip.unknown.example".to_owned());
        record.cause = Some("unknown-host".to_owned());
    });
    let sid = theirs.sid.clone();
    site.kept.live.lock().unwrap().push(Event::Decision(Box::new(theirs.clone())));
    site.kept.records.lock().unwrap().extend([theirs, unknown]);
    let mut browser = site.account().await;
    for page in pages(&site.other, &sid) {
        let answer = browser.get(&page).await;
        for word in ["olga", "sip.other.example", "sip.unknown.example", "/etc/secret.pem"] {
            assert!(!answer.body.contains(word), "{page}: {word}");
        }
        let own_page = page.contains(&site.other.list.sid.to_string())
            || page.contains(&site.other.addresses)
            || page.contains(&site.other.domain.sid.to_string())
            || page.contains(&sid);
        assert_eq!(answer.status == StatusCode::NOT_FOUND, own_page, "{page}");
    }
    let (_, text) = browser.events("/console/stream").await;
    assert!(!text.contains("olga"));
    let (_, text) =
        browser.events(&format!("/console/stream?account={}", site.other.account)).await;
    assert!(!text.contains("olga"));
    // the admin sees all, or the account of its choice
    let mut admin = site.admin().await;
    let all = admin.get("/console/").await.body;
    assert!(all.contains("olga") && all.contains("sip.unknown.example"));
    let chosen = admin.get(&format!("/console/?account={}", site.acme.account)).await.body;
    assert!(!chosen.contains("olga") && !chosen.contains("sip.unknown.example"));
    let (_, text) = admin.events("/console/stream").await;
    assert!(text.contains("olga"));
    assert!(admin.get("/console/state").await.body.contains("/etc/secret.pem"));
}

#[tokio::test(start_paused = true)]
async fn an_account_changes_nothing_of_another() {
    let site = Site::new().await;
    let other = &site.other;
    let (list, user) = (other.list.sid, other.user.sid);
    let (addresses, address, domain) = (&other.addresses, &other.address, other.domain.sid);
    let own = (&site.acme.addresses, site.acme.list.sid, site.acme.domain.sid);
    let before = site.directory.store().clone();
    let head = sip_authz_store::Store::head(&before).await.unwrap();
    let mut browser = site.account().await;
    for (path, form) in [
        (format!("/console/lists/users/{list}/{user}/enable"), ""),
        (format!("/console/lists/users/{list}/{user}/disable"), ""),
        (
            format!("/console/lists/users/{list}/{user}/password"),
            "password=Another-long-password-1",
        ),
        (format!("/console/lists/users/{list}/{user}/password"), "make=yes"),
        (format!("/console/lists/users/{list}/{user}/delete"), ""),
        (format!("/console/lists/users/{list}/delete"), ""),
        (format!("/console/lists/users/{list}"), "username=eve&password=Another-long-password-1"),
        (format!("/console/lists/addresses/{addresses}"), "prefix=198.51.100.1"),
        (format!("/console/lists/addresses/{addresses}/delete"), ""),
        (format!("/console/lists/addresses/{addresses}/{address}/delete"), ""),
        (format!("/console/domains/{domain}"), &format!("list=addresses:{addresses}")),
        (format!("/console/domains/{domain}/unmap?list=users:{list}"), ""),
        // the other's user or entry below an own list, the other's list to an own domain and the reverse
        (format!("/console/lists/users/{}/{user}/disable", own.1), ""),
        (format!("/console/lists/addresses/{}/{address}/delete", own.0), ""),
        (format!("/console/domains/{domain}"), &format!("list=addresses:{}", own.0)),
    ] {
        let answer = browser.post(&path, form).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    // the error of a form on an own page
    let form = format!("list=addresses:{addresses}");
    let answer = browser.post(&format!("/console/domains/{}", own.2), &form).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
    // an account cannot choose another one
    let path = format!("/console/lists?account={}", other.account);
    let answer = browser.post(&path, "kind=users&name=mine").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let mine = site.directory.credential_lists(other.account, sip_authz_directory::Page::first(9));
    assert_eq!(mine.await.unwrap().rows.len(), 1);
    // one commit: the list of its own
    let after = sip_authz_store::Store::head(site.directory.store()).await.unwrap();
    assert_eq!(after.number, head.number + 1);
}

#[tokio::test(start_paused = true)]
async fn questions_carry_the_account_of_the_session() {
    let site = Site::new().await;
    let held = Held {
        id: "held-1".to_owned(),
        edge: "edge-1".to_owned(),
        kind: "name".to_owned(),
        account: site.other.account.to_string(),
        target: site.other.domain.sid.to_string(),
        domain: None,
        user: Some("olga".to_owned()),
        source: None,
        since: "2026-11-29T14:03:12Z".to_owned(),
        wrong: 12,
        until: "2026-11-29T14:04:12Z".to_owned(),
    };
    site.kept.held.lock().unwrap().push(held);
    let mut browser = site.account().await;
    let answer = browser.post("/console/limits", "id=held-1").await;
    assert_eq!(answer.header("location"), "./limits?done=not-held");
    browser.post("/console/try", "host=sip.other.example&source=192.0.2.1").await;
    let (asker, id) = site.kept.released.lock().unwrap().remove(0);
    assert_eq!(
        (asker.account, asker.asks_fleet, id),
        (Some(site.acme.account), true, "held-1".to_owned())
    );
    let (asker, _) = site.kept.explained.lock().unwrap().remove(0);
    assert_eq!(asker.account, Some(site.acme.account));
    let mut admin = site.admin().await;
    assert!(admin.get("/console/limits").await.body.contains("Unlock olga"));
    let answer = admin.post("/console/limits", "id=held-1").await;
    assert_eq!(answer.header("location"), "./limits?done=released");
}
