//! Authentication and permissions: accounts, the admin, browsers and unknown callers.

use std::sync::Mutex;

use sip_authz::AccountSid;
use sip_authz_rest::{FailedLogin, LoginUser, OnFailedLogin, PeerAddress};

use super::*;

#[tokio::test]
async fn authentication_comes_before_everything_else() {
    let site = Site::new().await;
    let full = site.full().await;
    let path = sip("Domains").replace("{ac}", &site.sid);
    let (sid, token) = &site.login;
    for value in [
        None,
        Some(basic(sid, "")),
        Some(basic(sid, &format!("{token}0"))),
        Some(basic(sid, &token.to_uppercase()).replace("Basic", "Bearer")),
        Some(basic(&format!("AC{DIGITS}"), token)),
        Some(basic("admin", "")),
        Some(basic("admin", token)),
        Some(basic("", "")),
        Some(basic(&sid[..33], token)),
        Some("Basic".to_owned()),
        Some("Basic !!!".to_owned()),
        Some(format!("Basic {}", BASE64_STANDARD.encode([0xff, b':', 0xfe]))),
        Some(format!("Basic {}", BASE64_STANDARD.encode("nocolon"))),
    ] {
        let mut request = Request::post(&path);
        if let Some(value) = &value {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = site.send(request.body(Body::from("not even a form")).unwrap()).await;
        assert_eq!((answer.status, answer.code()), (401, 20003), "{value:?}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Basic realm=\"Twilio API\"");
    }
    // with two headers, a proxy may have checked the other one
    for other in [basic(sid, token), basic(sid, "wrong"), basic("admin", "")] {
        for pair in [[&basic(sid, token), &other], [&other, &basic(sid, token)]] {
            let request = Request::get(&path)
                .header(header::AUTHORIZATION, pair[0])
                .header(header::AUTHORIZATION, pair[1]);
            assert_eq!(site.send(request.body(Body::empty()).unwrap()).await.status, 401);
        }
    }
    // a resource of another account answers like one that does not exist
    let unknown = format!("SD{DIGITS}");
    let there = sip(&format!("Domains/{}", full.domain)).replace("{ac}", &site.stranger.0);
    let not_there = there.replace(&full.domain, &unknown);
    for method in ["GET", "DELETE", "POST"] {
        let one = site.call_as(&site.stranger, method, &there, "").await;
        let other = site.call_as(&site.stranger, method, &not_there, "").await;
        assert_eq!((one.status, one.text), (other.status, other.text), "{method}");
    }
    for (path, key, _) in collections(&full) {
        let answer = site.call_as(&site.stranger, "GET", &path, "").await;
        if path == roles() || path == "/v1/Trunks" {
            assert_eq!(answer.json()[key], Value::Array(vec![]), "{path}");
        } else {
            assert_eq!((answer.status, answer.code()), (404, 20404), "{path}");
        }
    }
    for sid in [&unknown, "SD1", &unknown[2..], &full.users, "%ff"] {
        let answer = site.get(&sip(&format!("Domains/{sid}"))).await;
        assert_eq!((answer.status, answer.code()), (404, 20404), "{sid}");
    }
}

#[tokio::test]
async fn the_admin_creates_accounts_and_acts_for_them() {
    let site = Site::new().await;
    let accounts = "/2010-04-01/Accounts.json";
    let made = site.call_as(&site.admin, "POST", accounts, "FriendlyName=new").await;
    assert_eq!(made.status, 201);
    let fields = format!("{ACCOUNT}, auth_token");
    assert_eq!(keys(&made.json()), named(&fields));
    let login = (made.text_of("sid"), made.text_of("auth_token"));
    let own = format!("/2010-04-01/Accounts/{}.json", login.0);
    assert_eq!(site.call_as(&login, "GET", &own, "").await.status, 200);
    let listed = site.call_as(&site.admin, "GET", accounts, "").await;
    assert_eq!(listed.json()["accounts"].as_array().unwrap().len(), 3);
    assert!(!listed.text.contains("auth_token"));

    let renewed = own.replace(".json", "/AuthToken.json");
    let fresh = site.call_as(&site.admin, "POST", &renewed, "").await;
    assert_eq!(fresh.status, 200);
    assert_eq!(site.call_as(&login, "GET", &own, "").await.status, 401);
    let login = (login.0, fresh.text_of("auth_token"));
    for (status, seen) in [("suspended", 401), ("active", 200), ("closed", 401)] {
        let form = format!("Status={status}");
        let changed = site.call_as(&site.admin, "POST", &own, &form).await;
        assert_eq!(changed.text_of("status"), status);
        assert_eq!(site.call_as(&login, "GET", &own, "").await.status, seen, "{status}");
    }
    let opened = site.call_as(&site.admin, "POST", &own, "Status=active").await;
    assert_eq!((opened.status, opened.code()), (400, 20001));

    let form = "DomainName=a.example.com";
    assert_eq!(site.call_as(&site.admin, "POST", &sip("Domains"), form).await.status, 201);
    for (login, method, path) in [
        (&site.login, "GET", accounts),
        (&site.login, "POST", accounts),
        (&site.login, "POST", "/2010-04-01/Accounts/{ac}.json"),
        (&site.login, "POST", "/2010-04-01/Accounts/{ac}/AuthToken.json"),
        (&site.admin, "GET", "/v1/Trunks"),
    ] {
        let answer = site.call_as(login, method, path, "").await;
        assert_eq!((answer.status, answer.code()), (403, 20003), "{method} {path}");
    }
}

#[tokio::test]
async fn the_admin_names_an_account_in_a_header_where_the_path_has_none() {
    let site = Site::new().await;
    let send = async |login: &(String, String), method: &str, path: &str, accounts: &[&str]| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, basic(&login.0, &login.1))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for account in accounts {
            request = request.header("SIP-Authz-Account", *account);
        }
        let form = if method == "POST" { "FriendlyName=one" } else { "" };
        site.send(request.body(Body::from(form)).unwrap()).await
    };
    let (own, other) = (site.sid.as_str(), site.stranger.0.as_str());
    let made = send(&site.admin, "POST", "/v1/Trunks", &[own]).await;
    assert_eq!((made.status, made.text_of("account_sid").as_str()), (201, own));
    let trunk = format!("/v1/Trunks/{}", made.text_of("sid"));
    let domains = format!("/2010-04-01/Accounts/{own}/SIP/Domains.json");
    let roles = format!("/v2/Services/IS{}/Roles", "0".repeat(32));
    let unknown = format!("AC{}", "0".repeat(32));
    for (login, path, accounts, status) in [
        (&site.admin, trunk.as_str(), &[own][..], 200),
        (&site.admin, &roles, &[own], 200),
        (&site.admin, &domains, &[own], 200),
        (&site.login, &trunk, &[own], 200),
        (&site.admin, &trunk, &[], 403),
        (&site.admin, &trunk, &[other], 404),
        (&site.admin, &trunk, &[&unknown], 404),
        (&site.admin, &trunk, &[""], 404),
        (&site.admin, &trunk, &["Acme"], 404),
        (&site.admin, &trunk, &[own, own], 400),
        (&site.admin, &trunk, &[own, other], 400),
        (&site.admin, &domains, &[other], 400),
        // an account acts for itself alone
        (&site.stranger, &trunk, &[own], 404),
        (&site.stranger, &trunk, &[other], 404),
        (&site.login, &domains, &[other], 400),
    ] {
        let answer = send(login, "GET", path, accounts).await;
        assert_eq!(answer.status, status, "{} {path} {accounts:?}: {}", login.0, answer.text);
    }
    // the pages of the listing are those of the account
    send(&site.admin, "POST", "/v1/Trunks", &[own]).await;
    let page = send(&site.admin, "GET", "/v1/Trunks?PageSize=1", &[own]).await.json();
    let next = page["meta"]["next_page_url"].as_str().unwrap();
    let next = &next[next.find("/v1/").unwrap()..];
    let page = send(&site.admin, "GET", next, &[own]).await.json();
    assert_eq!(page["trunks"].as_array().unwrap().len(), 1);
    assert_eq!(send(&site.admin, "GET", next, &[other]).await.status, 400);
}

#[tokio::test]
async fn pages_of_configured_origins_may_use_the_api() {
    let origin = "https://console.example.com";
    let options = RestOptions::default().with_cors_origins(vec![origin.to_owned()]);
    let site = Site::with(options, Limits::default()).await;
    let names = ["allow-origin", "allow-methods", "allow-headers", "allow-credentials"];
    let names = names.into_iter().chain(["expose-headers"]);
    let names: Vec<_> = names.map(|name| format!("access-control-{name}")).collect();
    let preflight = |origin: &str| {
        Request::options("/v1/Trunks")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .body(Body::empty())
            .unwrap()
    };
    let answer = site.send(preflight(origin)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers[&names[0]], origin);
    assert!(names.iter().all(|name| answer.headers.contains_key(name)), "{:?}", answer.headers);
    let plain = Request::get("/v1/Trunks").header(header::ORIGIN, origin);
    let answer = site.send(plain.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 401);
    assert!(names.iter().all(|name| answer.headers.contains_key(name)), "{:?}", answer.headers);
    for (site, origin) in
        [(&site, "https://console.example.com.evil"), (&Site::new().await, origin)]
    {
        let answer = site.send(preflight(origin)).await;
        assert_eq!(answer.status, 405);
        assert!(names.iter().all(|name| !answer.headers.contains_key(name)));
    }
}

/// A browser submits a form across origins without a preflight, with the credentials it has stored.
#[tokio::test]
async fn writes_from_pages_of_other_origins_answer_403() {
    let origin = "https://console.example.com";
    let options = RestOptions::default().with_cors_origins(vec![origin.to_owned()]);
    let site = Site::with(options, Limits::default()).await;
    let write = |name: &'static str, value: &str| {
        let request = Request::post("/v1/Trunks")
            .header(header::HOST, "api.example.com:8080")
            .header(header::AUTHORIZATION, basic(&site.login.0, &site.login.1))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(name, value);
        site.send(request.body(Body::empty()).unwrap())
    };
    for (name, value, status) in [
        ("origin", "https://evil.example.com", 403),
        ("origin", "null", 403),
        ("origin", "http://api.example.com", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "none", 201),
        ("origin", "http://api.example.com:8080", 201),
        ("origin", origin, 201),
    ] {
        assert_eq!(write(name, value).await.status, status, "{name}: {value}");
    }
    let trunks = site.get("/v1/Trunks").await;
    assert_eq!(trunks.json()["trunks"].as_array().unwrap().len(), 3);

    // the same holds for an import
    let import = |name: &'static str, value: &str, kind: &str| {
        let request = Request::post("/admin/import")
            .header(header::HOST, "api.example.com:8080")
            .header(header::AUTHORIZATION, basic(&site.admin.0, &site.admin.1))
            .header(header::CONTENT_TYPE, kind)
            .header(name, value);
        site.send(request.body(Body::from("{}")).unwrap())
    };
    let json = "application/json";
    for (name, value, kind, status) in [
        ("origin", "https://evil.example.com", json, 403),
        ("sec-fetch-site", "cross-site", json, 403),
        // DNS rebinding gives a page the same origin, but an HTML form cannot send JSON
        ("origin", "http://api.example.com:8080", "text/plain", 415),
        ("origin", "http://api.example.com:8080", json, 400),
    ] {
        assert_eq!(import(name, value, kind).await.status, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn paths_are_not_normalized() {
    let site = Site::new().await;
    let full = site.full().await;
    let (own, other) = (&site.sid, &site.stranger.0);
    let accounts = "/2010-04-01/Accounts";
    for path in [
        format!("{accounts}/{other}/../{own}/SIP/Domains.json"),
        format!("{accounts}/{other}/%2e%2e/{own}/SIP/Domains.json"),
        format!("{accounts}/{other}%2F..%2F{own}/SIP/Domains.json"),
        format!("{accounts}/{other}%00{own}/SIP/Domains.json"),
        format!("{accounts}/{other};{own}/SIP/Domains.json"),
        format!("{accounts}//{own}/SIP/Domains.json"),
        format!("/{accounts}/{own}/SIP/Domains.json"),
        format!("{accounts}/{own}/SIP/Domains.json/"),
        format!("{accounts}/{own}/sip/Domains.json"),
        format!("{accounts}/{own}/SIP/Domains%2Ejson"),
        format!("{accounts}/{own}/SIP/Domains/{}%2F.json", full.domain),
        format!("{accounts}/{own}/SIP/Domains/%2e%2e/Domains.json"),
        format!("{accounts}/{}/SIP/Domains.json", own.to_lowercase()),
        "/admin/../admin/export".to_owned(),
        "/%61dmin/export".to_owned(),
        "/admin//export".to_owned(),
        "/admin/export/".to_owned(),
        "/v1/../admin/export".to_owned(),
    ] {
        for login in [&site.login, &site.stranger, &site.admin] {
            let answer = site.call_as(login, "GET", &path, "").await;
            assert_eq!(answer.status, 404, "{path} as {}", login.0);
        }
    }
}

/// A site whose failed logins are kept.
async fn watched() -> (Site, Arc<Mutex<Vec<FailedLogin>>>) {
    let failed = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&failed);
    let callback = OnFailedLogin::new(move |login| kept.lock().unwrap().push(*login));
    let options = RestOptions::default().with_on_failed_login(Some(callback));
    (Site::with(options, Limits::default()).await, failed)
}

#[tokio::test]
async fn each_wrong_login_is_reported_once() {
    let (site, failed) = watched().await;
    let (sid, token) = &site.login;
    let account = sid.parse::<AccountSid>().unwrap();
    let unknown = format!("AC{DIGITS}");
    let source = "192.0.2.7:4711".parse().unwrap();
    let domains = sip("Domains").replace("{ac}", sid);
    let send = async |method: &str, path: &str, login: Option<String>, source| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        if let Some(source) = source {
            request = request.extension(PeerAddress(source));
        }
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        (answer.status, std::mem::take(&mut *failed.lock().unwrap()))
    };
    for (user, token, expected) in [
        ("admin", "", LoginUser::Admin),
        ("admin", "wrong", LoginUser::Admin),
        ("admin", token.as_str(), LoginUser::Admin),
        (sid, "", LoginUser::Account(Some(account))),
        (sid, "the admin token", LoginUser::Account(Some(account))),
        (&unknown, token, LoginUser::Account(Some(unknown.parse().unwrap()))),
        ("Admin", "the admin token", LoginUser::Account(None)),
        ("", "", LoginUser::Account(None)),
        (&sid[..33], token, LoginUser::Account(None)),
    ] {
        for (method, path) in [
            ("GET", domains.as_str()),
            ("POST", &domains),
            ("GET", "/v1/Trunks"),
            ("GET", "/2010-04-01/Accounts.json"),
            ("GET", "/admin/export"),
            ("GET", "/v1/Edges"),
            ("POST", "/admin/import"),
        ] {
            for source in [Some(source), None] {
                let answer = send(method, path, Some(basic(user, token)), source).await;
                let expected = vec![FailedLogin::new(expected, source)];
                assert_eq!(answer, (401, expected), "{method} {path} as {user}");
            }
        }
    }
    // a request without whole credentials guesses no token
    for login in
        [None, Some("Basic".to_owned()), Some(basic(sid, token).replace("Basic", "Bearer"))]
    {
        let answer = send("GET", &domains, login.clone(), Some(source)).await;
        assert_eq!(answer, (401, Vec::new()), "{login:?}");
    }
    for (login, status) in [(basic(sid, token), 200), (basic("admin", "the admin token"), 200)] {
        assert_eq!(send("GET", &domains, Some(login), None).await, (status, Vec::new()));
    }
    // the right token of an account that is not active
    let path = format!("/2010-04-01/Accounts/{sid}.json");
    let suspended = site.call_as(&site.admin, "POST", &path, "Status=suspended").await;
    assert_eq!(suspended.status, 200, "{}", suspended.text);
    let answer = send("GET", &domains, Some(basic(sid, token)), None).await;
    let expected = FailedLogin::new(LoginUser::Account(Some(account)), None);
    assert_eq!(answer, (401, vec![expected]));
}
