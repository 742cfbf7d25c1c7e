//! Requests of other sites, and other hosts.

use axum::body::Body;
use axum::http::{Method, StatusCode};

use crate::site::*;

fn enable(site: &Site) -> String {
    format!("/console/lists/users/{}/{}/enable", site.acme.list.sid, site.acme.user.sid)
}

#[tokio::test(start_paused = true)]
async fn each_change_needs_the_token_of_its_own_session() {
    let site = Site::new().await;
    let mut browser = site.account().await;
    let foreign = site.account().await.get("/console/").await.csrf();
    let own = browser.get("/console/").await.csrf();
    let (list, user) = (site.acme.list.sid, site.acme.user.sid);
    let domain = site.acme.domain.sid;
    let addresses = &site.acme.addresses;
    for path in [
        enable(&site),
        format!("/console/lists/users/{list}/{user}/disable"),
        format!("/console/lists/users/{list}/{user}/password"),
        format!("/console/lists/users/{list}/{user}/delete"),
        format!("/console/lists/users/{list}/delete"),
        format!("/console/lists/users/{list}"),
        format!("/console/lists/addresses/{addresses}"),
        format!("/console/lists/addresses/{addresses}/delete"),
        format!("/console/domains/{domain}"),
        format!("/console/domains/{domain}/unmap?list=users:{list}"),
        "/console/lists".to_owned(),
        "/console/limits".to_owned(),
        "/console/try".to_owned(),
        "/console/logout".to_owned(),
    ] {
        for form in ["", "csrf=", &format!("csrf={foreign}"), &format!("csrf={}", &own[1..])] {
            let answer = browser.post_raw(&path, form).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {form}");
            assert!(answer.body.contains("Form out of date"), "{path}");
        }
        // a token in the query is none
        let with = format!("{path}{}csrf={own}", if path.contains('?') { '&' } else { '?' });
        assert_eq!(browser.post_raw(&with, "").await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let user = site.directory.credential(site.acme.account, list, user).await.unwrap();
    assert_eq!(user, site.acme.user);
    assert_eq!(browser.post(&enable(&site), "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_form_from_another_origin_changes_nothing() {
    let site = Site::new().await;
    let mut browser = site.account().await;
    let csrf = browser.get("/console/").await.csrf();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:9090"),
        ("origin", "http://127.0.0.1"),
        ("origin", "http://127.0.0.1:8080.evil.example"),
        ("origin", "file://127.0.0.1:8080"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
    ] {
        let request = browser
            .request(Method::POST, &enable(&site))
            .header(name, value)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("csrf={csrf}")));
        let answer = browser.send(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
        assert!(answer.body.contains("another site"), "{name}: {value}");
    }
    // a form that is no form, as another origin can send without asking
    let request = browser
        .request(Method::POST, &enable(&site))
        .header("content-type", "text/plain")
        .body(Body::from(format!("csrf={csrf}")));
    assert_eq!(browser.send(request.unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test(start_paused = true)]
async fn a_login_from_another_site_is_refused() {
    let site = Site::new().await;
    let mut victim = site.browser();
    // the attacker's own form token needs the attacker's cookie
    let mut attacker = site.browser();
    let csrf = attacker.get("/console/login").await.csrf();
    let form = format!("csrf={csrf}&user=admin&token={ADMIN_TOKEN}");
    assert_eq!(victim.post_raw("/console/login", &form).await.status, StatusCode::FORBIDDEN);
    victim.get("/console/login").await;
    assert_eq!(victim.post_raw("/console/login", &form).await.status, StatusCode::FORBIDDEN);
    let request = attacker
        .request(Method::POST, "/console/login")
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form));
    assert_eq!(attacker.send(request.unwrap()).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn another_site_reads_nothing_and_may_link_to_a_page() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    for path in ["/console/", "/console/stream", "/console/session", "/console/state"] {
        for (mode, dest) in [("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe")] {
            let request = browser
                .request(Method::GET, path)
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", mode)
                .header("sec-fetch-dest", dest)
                .body(Body::empty());
            let answer = browser.send(request.unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {mode}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        }
    }
    // a link: the browser sends no cookie, the page goes on by itself from this site
    let mut without = site.browser();
    let link = |path: &str| {
        site.browser()
            .request(Method::GET, path)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .body(Body::empty())
            .unwrap()
    };
    let answer = without.send(link("/console/lists")).await;
    assert_eq!(answer.header("location"), "login?next=lists");
    let answer = without.send(link("/console/login?next=lists")).await;
    assert!(
        answer.body.contains("http-equiv=\"refresh\" content=\"0; url=./lists\""),
        "{answer:?}"
    );
    let answer = without.send(link("/console/login?next=//evil.example")).await;
    assert!(!answer.body.contains("evil.example"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn preflights_get_no_permission() {
    let site = Site::new().await;
    let mut browser = site.admin().await;
    let request = browser
        .request(Method::OPTIONS, "/console/state")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty());
    let answer = browser.send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test(start_paused = true)]
async fn on_loopback_the_host_is_an_address_localhost_or_the_public_one() {
    let site = Site::new().await;
    let base = Some("https://api.example.com/sip".to_owned());
    let public = Site::with(|options| options.with_public_base(base)).await;
    for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "192.0.2.1"] {
        for site in [&site, &public] {
            let mut browser = site.browser();
            browser.host = host.to_owned();
            assert_eq!(browser.get("/console/login").await.status, StatusCode::OK, "{host}");
        }
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "api.example.com.evil.example",
        "api.example.com:99",
        "",
        "a b",
        "user@",
    ] {
        for site in [&site, &public] {
            let mut browser = site.browser();
            browser.host = host.to_owned();
            for path in
                ["/console/login", "/console/", "/console/stream", "/console/static/console.js"]
            {
                let status = browser.get(path).await.status;
                assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
            }
        }
    }
    let mut browser = public.browser();
    browser.host = "api.example.com".to_owned();
    assert_eq!(browser.get("/console/login").await.status, StatusCode::OK);
    // two hosts are none
    let request = browser
        .request(Method::GET, "/console/login")
        .header("host", "127.0.0.1")
        .body(Body::empty());
    assert_eq!(browser.send(request.unwrap()).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn on_other_addresses_a_proxy_may_use_its_own_name() {
    let site = Site::with(|options| options.with_local(false)).await;
    let mut browser = site.browser();
    browser.host = "console.example.net".to_owned();
    let answer = browser.log_in("admin", ADMIN_TOKEN).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    // with a public URL, other names are refused there too
    let base = Some("https://api.example.com".to_owned());
    let site = Site::with(|options| options.with_local(false).with_public_base(base)).await;
    let mut browser = site.browser();
    browser.host = "console.example.net".to_owned();
    assert_eq!(browser.get("/console/login").await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_the_strict_headers() {
    // the state of the tests has the text of a handler
    let site = Site::with(|options| options.with_state(None)).await;
    let sid = site.refused(1, |_| {});
    let mut browser = site.admin().await;
    let mut paths = pages(&site.acme, &sid);
    let more =
        ["/console", "/console/login", "/console/nothing", "/console/session", "/console/logout"];
    paths.extend(more.map(str::to_owned));
    paths.extend(
        ["console.css", "console.js", "icon.svg", "none"]
            .map(|file| format!("/console/static/{file}")),
    );
    for path in paths {
        for (method, host) in [
            (Method::GET, HOST),
            (Method::POST, HOST),
            (Method::PUT, HOST),
            (Method::GET, "evil.example"),
        ] {
            browser.host = host.to_owned();
            let request = browser.request(method.clone(), &path).body(Body::empty()).unwrap();
            let answer = browser.send(request).await;
            let policy = answer.header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "),
                "{method} {path}"
            );
            assert!(policy.ends_with("frame-ancestors 'none'; base-uri 'none'"), "{method} {path}");
            assert!(!policy.contains("unsafe") && !policy.contains("http"), "{method} {path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path}");
            assert_eq!(answer.header("referrer-policy"), "same-origin", "{method} {path}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
            assert_eq!(answer.header("www-authenticate"), "", "{method} {path}");
            let is_file = path.contains("/static/") && answer.status == StatusCode::OK;
            assert_eq!(answer.header("cache-control") == "no-store", !is_file, "{method} {path}");
            // neither inline scripts nor styles, nor handlers
            let body = answer.body.to_lowercase();
            if answer.header("content-type").starts_with("text/html") {
                assert!(
                    !body.contains("<style") && !body.contains(" style=") && !has_handler(&body),
                    "{path}\n{body}"
                );
                let scripts = body.matches("<script").count();
                assert!(scripts <= 1 && body.matches("<script src=").count() == scripts, "{path}");
                assert!(
                    !body.contains("http://")
                        && !body.contains("https://")
                        && !body.contains("src=\"//"),
                    "{path}"
                );
            }
        }
    }
}

/// Whether an element has an attribute such as `onclick=`.
fn has_handler(body: &str) -> bool {
    body.split(" on").skip(1).any(|rest| {
        let name = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        name.len() < rest.len() && name.starts_with('=')
    })
}

#[tokio::test]
async fn the_answer_to_a_long_path_is_short() {
    let site = Site::new().await;
    let mut browser = site.browser();
    let answer = browser.get(&format!("/console/{}", "/".repeat(5_000))).await;
    assert!(answer.body.len() < 8_000, "{}", answer.body.len());
}
