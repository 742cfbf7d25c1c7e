//! Authentication and permissions: accounts, the admin, browsers and unknown callers.

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
