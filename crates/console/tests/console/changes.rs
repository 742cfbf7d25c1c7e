//! Changes through the pages.

use axum::http::StatusCode;
use sip_authz_directory::Page;

use crate::site::*;

#[tokio::test(start_paused = true)]
async fn a_refused_call_of_a_disabled_user_has_the_button_that_enables_it() {
    let site = Site::new().await;
    let (account, list, user) = (site.acme.account, site.acme.list.sid, site.acme.user.sid);
    let mut browser = site.account().await;
    let path = format!("/console/lists/users/{list}/{user}");
    let ask = browser.get(&format!("{path}/disable")).await;
    assert!(ask.body.contains("Disable user alice in list “phones”?"), "{}", ask.body);
    assert!(ask.body.contains("1 domain or trunk uses it: sip.acme.example."));
    let answer = browser.post(&format!("{path}/disable"), "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(site.directory.credential(account, list, user).await.unwrap().disabled);

    let sid = site.refused(1, |_| {});
    let page = browser.get(&format!("/console/decisions/{sid}")).await.body;
    for text in [
        "the host is that of the domain sip.acme.example",
        "the account acme is active",
        "the user is disabled",
        "403 Forbidden",
        "enable the credential, unless it was disabled on purpose",
        "Enable alice in list “phones”",
        "Yealink T46",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let action = format!("action=\"../lists/users/{list}/{user}/enable\" method=\"post\"");
    assert!(page.contains(&action), "{page}");
    let answer = browser.post(&format!("{path}/enable"), &format!("back=decisions/{sid}")).await;
    assert_eq!(answer.header("location"), format!("../../../../decisions/{sid}?done=enabled"));
    assert!(!site.directory.credential(account, list, user).await.unwrap().disabled);
    let page = browser.get(&format!("/console/decisions/{sid}?done=enabled")).await.body;
    assert!(page.contains("The user is enabled."), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_new_password_is_set_or_made_and_shown_once() {
    let site = Site::new().await;
    let (account, list, user) = (site.acme.account, site.acme.list.sid, site.acme.user.sid);
    let mut browser = site.account().await;
    let path = format!("/console/lists/users/{list}/{user}/password");
    let before = site.directory.credential(account, list, user).await.unwrap();
    let answer = browser.post(&path, "password=short").await;
    assert!(answer.status == StatusCode::OK && answer.body.contains("class=\"notice bad\""));
    assert!(!answer.body.contains("value=\"short\""));
    let answer = browser.post(&path, "password=+A+long+password+1+").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let set = site.directory.credential(account, list, user).await.unwrap();
    assert_ne!(set.ha1, before.ha1);
    let answer = browser.post(&path, "make=yes").await;
    let made = answer.body.split_once("<pre><code>").unwrap().1.split_once('<').unwrap().0;
    assert_eq!(made.len(), 24);
    let kept = site.directory.credential(account, list, user).await.unwrap();
    let password = sip_authz::model::Password::new(made.to_owned());
    let realm = &site.acme.list.realm;
    let expected =
        sip_authz::model::Ha1Set::from_password(&kept.username, realm, password).unwrap();
    assert_eq!(kept.ha1, expected);
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test(start_paused = true)]
async fn lists_entries_and_mappings_are_made_and_deleted() {
    let site = Site::new().await;
    let account = site.acme.account;
    let mut browser = site.admin().await;
    let lists = format!("/console/lists?account={account}");
    let answer = browser.post(&lists, "kind=addresses&name=gateways").await;
    let to = answer.header("location").to_owned();
    let page = format!("/console/{}", to.split('?').next().unwrap());
    let answer = browser.post(&page, "prefix=203.0.113.0%2F24&name=north").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    // every address needs a consent of its own
    let answer = browser.post(&page, "prefix=0.0.0.0%2F0").await;
    assert!(answer.body.contains("Admit every address"), "{}", answer.body);
    let body = browser.get(&page).await.body;
    assert!(
        body.contains("203.0.113.0/24") && body.contains("north") && !body.contains("0.0.0.0/0")
    );

    let domain = format!("/console/domains/{}", site.acme.domain.sid);
    let sid = page.rsplit('/').next().unwrap();
    assert!(browser.get(&domain).await.body.contains("gateways: source addresses of calls"));
    browser.post(&domain, &format!("list=addresses:{sid}")).await;
    // a list in use stays
    let ask = browser.get(&format!("{page}/delete")).await.body;
    assert!(ask.contains("1 domain or trunk uses it: sip.acme.example."), "{ask}");
    let answer = browser.post(&format!("{page}/delete"), "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("in use"));
    let unmap = format!("{domain}/unmap?list=addresses:{sid}");
    assert!(browser.get(&unmap).await.body.contains("Remove gateways from sip.acme.example"));
    assert_eq!(browser.post(&unmap, "").await.status, StatusCode::SEE_OTHER);
    let answer = browser.post(&format!("{page}/delete"), "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get(&page).await.status, StatusCode::NOT_FOUND);

    let users = format!("/console/lists/users/{}", site.acme.list.sid);
    let answer = browser.post(&users, "username=bob&password=Another-long-password-1").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let answer = browser.post(&users, "username=bob&password=Another-long-password-1").await;
    assert!(answer.body.contains("taken in this list"), "{}", answer.body);
    assert!(!answer.body.contains("Another-long-password-1"));
    let delete = format!("{users}/{}/delete", site.acme.user.sid);
    browser.post(&delete, "").await;
    let rows =
        site.directory.credentials(account, site.acme.list.sid, Page::first(9)).await.unwrap().rows;
    let names: Vec<_> = rows.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(names, ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn with_a_configuration_file_nothing_can_be_changed() {
    let site = Site::with(|options| options.with_read_only(true)).await;
    let mut browser = site.account().await;
    let (list, user) = (site.acme.list.sid, site.acme.user.sid);
    let sid = site.refused(1, |record| record.cause = Some("wrong-password".to_owned()));
    for page in pages(&site.acme, &sid) {
        let answer = browser.get(&page).await;
        if page.ends_with("/password") {
            assert_eq!(answer.status, StatusCode::CONFLICT);
            continue;
        }
        let forms = answer.body.matches("method=\"post\"").count();
        let own = usize::from(!page.ends_with("?part")) + usize::from(page == "/console/try");
        assert_eq!(forms, own, "{page}\n{}", answer.body);
        if page.contains("lists") || page.contains("domains") {
            assert!(answer.body.contains("Read-only"), "{page}");
        }
    }
    for (path, form) in [
        (format!("/console/lists/users/{list}/{user}/disable"), ""),
        (format!("/console/lists/users/{list}/{user}/password"), "make=yes"),
        (format!("/console/lists/users/{list}/{user}/delete"), ""),
        (format!("/console/lists/users/{list}"), "username=eve&password=Another-long-password-1"),
        ("/console/lists".to_owned(), "kind=users&name=x"),
    ] {
        assert_eq!(browser.post(&path, form).await.status, StatusCode::CONFLICT, "{path}");
    }
    assert_eq!(
        site.directory.credential(site.acme.account, list, user).await.unwrap(),
        site.acme.user
    );
}
