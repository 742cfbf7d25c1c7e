//! Login, cookies, and the end of sessions.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use sip_authz::model::AccountStatus;
use sip_authz_rest::decisions::Event;
use sip_authz_rest::{FailedLogin, LoginUser, OnFailedLogin};

use crate::site::*;

#[tokio::test(start_paused = true)]
async fn a_page_without_a_session_leads_to_the_login_form_and_back() {
    let site = Site::new().await;
    let sid = site.refused(1, |_| {});
    let mut browser = site.browser();
    let answer = browser.get(&format!("/console/decisions/{sid}?x=a%20b")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let to = format!("../login?next=decisions%2F{sid}%3Fx%3Da%2520b");
    assert_eq!((answer.header("location"), answer.header("www-authenticate")), (to.as_str(), ""));
    let form = browser.get(&format!("/console/{}", &to[3..])).await;
    assert!(form.body.contains(&format!("name=\"next\" value=\"decisions/{sid}?x=a%20b\"")));
    let form = format!(
        "csrf={}&user=admin&token={ADMIN_TOKEN}&next=decisions%2F{sid}%3Fx%3Da%2520b",
        form.csrf()
    );
    let answer = browser.post_raw("/console/login", &form).await;
    assert_eq!(answer.header("location"), format!("./decisions/{sid}?x=a%20b"));
    // paths that do not exist, too, lead to the login form
    let answer = site.browser().get("/console/nothing/here").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let answer = browser.get("/console/nothing/here").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn wrong_logins_have_one_answer_and_open_no_session() {
    let site = Site::new().await;
    let (acme, other) = (site.acme.account.to_string(), site.other.token.clone());
    let unknown = sip_authz::AccountSid::from_time(7, [7; 10]).to_string();
    let mut bodies = Vec::new();
    for (user, token) in [
        ("admin", "wrong"),
        ("admin", ""),
        (acme.as_str(), ADMIN_TOKEN),
        (&acme, &other),
        (&unknown, &other),
        ("<b>", "x"),
        ("", ""),
    ] {
        let mut browser = site.browser();
        let answer = browser.log_in(user, token).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{user}");
        assert!(answer.body.contains("The name or the token is wrong"), "{user}");
        assert_eq!(browser.get("/console/").await.status, StatusCode::SEE_OTHER);
        if user.starts_with("AC") {
            bodies.push(answer.body.replace(user, "").replace(&answer.csrf(), ""));
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "an unknown account has another answer");
}

#[tokio::test(start_paused = true)]
async fn without_an_admin_token_there_is_no_admin() {
    let site = Site::with(|options| options.with_admin(None)).await;
    let mut browser = site.browser();
    let form = browser.get("/console/login").await;
    assert!(form.body.contains("SIP_AUTHZ_ADMIN_TOKEN"));
    assert_eq!(browser.log_in("admin", "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn the_cookie_is_for_the_console_only_and_hidden_from_scripts() {
    let site = Site::new().await;
    let mut browser = site.browser();
    let answer = browser.log_in("admin", ADMIN_TOKEN).await;
    let cookies = answer.cookies();
    let session =
        cookies.iter().find(|cookie| cookie.starts_with("sip-authz-console-8080=")).unwrap();
    assert!(session.ends_with("; HttpOnly; SameSite=Strict; Path=/console/"), "{session}");
    assert!(!session.contains("Secure") && !session.contains("Domain"), "{session}");
    assert_eq!(session.split([';', '=']).nth(1).unwrap().len(), 64);

    // TLS by this server, and by a proxy
    let mut browser = site.browser();
    let csrf = browser.get("/console/login").await.csrf();
    let form = format!("csrf={csrf}&user=admin&token={ADMIN_TOKEN}");
    let request = browser
        .request(Method::POST, "https://127.0.0.1:8080/console/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.clone()));
    let answer = browser.send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.cookies().iter().all(|cookie| cookie.contains("; Secure")), "{answer:?}");
    let csrf = browser.get("/console/login").await.csrf();
    let request = browser
        .request(Method::POST, "/console/login")
        .header("origin", "https://127.0.0.1:8080")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("csrf={csrf}&user=admin&token={ADMIN_TOKEN}")));
    let answer = browser.send(request.unwrap()).await;
    assert!(answer.cookies().iter().all(|cookie| cookie.contains("; Secure")), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn behind_a_prefix_links_are_relative_and_the_cookie_fits() {
    let base = Some("https://api.example.com/sip".to_owned());
    let site = Site::with(|options| options.with_public_base(base)).await;
    let mut browser = site.browser();
    browser.host = "api.example.com".to_owned();
    let csrf = browser.get("/console/login").await.csrf();
    let request = browser
        .request(Method::POST, "/console/login")
        .header("origin", "https://api.example.com")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("csrf={csrf}&user=admin&token={ADMIN_TOKEN}")));
    let answer = browser.send(request.unwrap()).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "./"));
    let session = answer.cookies().remove(0);
    assert!(session.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{session}");
    let sid = site.refused(1, |_| {});
    for page in pages(&site.acme, &sid) {
        let body = browser.get(&page).await.body;
        assert!(!body.contains("href=\"/") && !body.contains("action=\"/"), "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_by_logout() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    let copied = browser.clone();
    let answer = browser.post("/console/logout", "").await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "./login"));
    assert!(answer.cookies()[0].contains("Max-Age=0"));
    // the cookie that somebody kept is of no use
    let mut copied = copied;
    assert_eq!(copied.get("/console/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_login_ends_the_session_that_was_open_in_the_browser() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    let mut copied = browser.clone();
    browser.log_in(&site.acme.account.to_string(), &site.acme.token.clone()).await;
    assert_eq!(copied.get("/console/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/console/").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_half_an_hour_without_a_request() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(29 * 60)).await;
        assert_eq!(browser.get("/console/session").await.status, StatusCode::NO_CONTENT);
    }
    tokio::time::advance(Duration::from_secs(29 * 60)).await;
    // the check by an idle page keeps nothing alive
    assert_eq!(browser.get("/console/session?idle").await.status, StatusCode::NO_CONTENT);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(browser.get("/console/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.get("/console/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_and_an_inactive_account_end_its_sessions() {
    let site = Site::new().await;
    let sid = site.acme.account;
    let mut browser = site.account().await;
    let new = site.directory.rotate_token(sid).await.unwrap();
    assert_eq!(browser.get("/console/").await.status, StatusCode::SEE_OTHER);
    for status in [AccountStatus::Suspended, AccountStatus::Closed] {
        browser.log_in(&sid.to_string(), &new.token).await;
        assert_eq!(browser.get("/console/").await.status, StatusCode::OK);
        site.directory.update_account(sid, None, Some(status)).await.unwrap();
        assert_eq!(browser.get("/console/lists").await.status, StatusCode::SEE_OTHER);
        if status == AccountStatus::Suspended {
            let active = Some(AccountStatus::Active);
            site.directory.update_account(sid, None, active).await.unwrap();
            // it ended, and does not come back with the account
            assert_eq!(browser.get("/console/").await.status, StatusCode::SEE_OTHER);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_session() {
    let site = Site::new().await;
    site.kept.live.lock().unwrap().push(Event::LeftOut(1));
    for how in 0..3 {
        let mut browser = site.account().await;
        let request = browser.request(Method::GET, "/console/stream").body(Body::empty()).unwrap();
        let stream = tokio::spawn({
            let mut browser = browser.clone();
            async move { browser.send(request).await.body }
        });
        // the stream itself is no activity
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::task::yield_now().await;
        assert!(!stream.is_finished());
        match how {
            0 => drop(browser.post("/console/logout", "").await),
            1 => {
                let new = site.directory.rotate_token(site.acme.account).await.unwrap();
                drop(new);
            }
            _ => unreachable!(),
        }
        let body = stream.await.unwrap();
        assert!(body.ends_with("event: end\ndata: The session has ended.\n\n"), "{body}");
        assert!(body.contains("event: left-out\ndata: 1\n\n"), "{body}");
        if how == 1 {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_logins_wait_and_are_limited_by_source() {
    let site = Site::new().await;
    let mut browser = site.browser();
    let begin = tokio::time::Instant::now();
    assert_eq!(browser.log_in("admin", "wrong").await.status, StatusCode::FORBIDDEN);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    // many at once, so that none waits for another
    let attempts = (0..30).map(|_| {
        let mut browser = browser.clone();
        async move { browser.log_in("admin", "wrong").await.status }
    });
    let answers = futures_util::future::join_all(attempts).await;
    let limited = answers.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert!(limited >= 20, "{answers:?}");
    let answer = browser.log_in("admin", ADMIN_TOKEN).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=7).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
    // another source is free, and this one after a while
    let mut other = site.browser();
    other.address = "192.0.2.9:1".parse().unwrap();
    assert_eq!(other.log_in("admin", ADMIN_TOKEN).await.status, StatusCode::SEE_OTHER);
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(browser.log_in("admin", ADMIN_TOKEN).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn sources_of_one_ipv6_network_share_a_limit() {
    let site = Site::new().await;
    for number in 0..40 {
        let mut browser = site.browser();
        browser.address = format!("[2001:db8::{number:x}]:1").parse().unwrap();
        let status = browser.log_in("admin", "wrong").await.status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
    }
    panic!("never limited");
}

#[tokio::test(start_paused = true)]
async fn failed_logins_are_reported_with_user_and_source() {
    let reported = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let on_failed = {
        let reported = std::sync::Arc::clone(&reported);
        OnFailedLogin::new(move |login| reported.lock().unwrap().push(*login))
    };
    let site = Site::with(|options| options.with_on_failed_login(Some(on_failed))).await;
    let mut browser = site.browser();
    let sid = site.acme.account;
    browser.log_in("admin", "wrong").await;
    browser.log_in(&sid.to_string(), "wrong").await;
    browser.log_in("nobody", "wrong").await;
    browser.log_in("admin", ADMIN_TOKEN).await;
    let source = Some(browser.address);
    let expected = [LoginUser::Admin, LoginUser::Account(Some(sid)), LoginUser::Account(None)]
        .map(|user| FailedLogin::new(user, source));
    assert_eq!(*reported.lock().unwrap(), expected);
}
