//! Names and sources that guess limits hold.

use super::*;

#[tokio::test]
async fn a_held_name_is_listed_and_released_by_its_account_or_the_admin() {
    let kept = Kept::new().await;
    let (own, other) = (kept.site.sid.clone(), kept.site.stranger.0.clone());
    for (account, id) in [(&own, "a1"), (&own, "a2"), (&other, "b1")] {
        kept.hold(account, id);
    }
    let Site { login, stranger, admin, .. } = &kept.site;
    let ids = async |caller| {
        let list = kept.site.call_as(caller, "GET", "/v1/Decisions/Limits", "").await.json();
        let limits = list["limits"].as_array().unwrap().iter();
        limits.map(|held| held["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(login).await, ["a1", "a2"]);
    assert_eq!(ids(stranger).await, ["b1"]);
    assert_eq!(ids(admin).await, ["a1", "a2", "b1"]);
    let list = kept.site.get("/v1/Decisions/Limits").await.json();
    let fields = "id, edge, kind, account, target, domain, user, source, since, wrong, until";
    assert_eq!(keys(&list["limits"][0]), named(fields));
    for (caller, id, status) in [
        (stranger, "a1", 404),
        (login, "b1", 404),
        (login, "%FF", 404),
        (login, "a1", 204),
        (login, "a1", 404),
        (admin, "b1", 204),
    ] {
        let path = format!("/v1/Decisions/Limits/{id}");
        let answer = kept.site.call_as(caller, "DELETE", &path, "").await;
        assert_eq!(answer.status, status, "{id}: {}", answer.text);
        assert_eq!(answer.text.is_empty(), status == 204);
    }
    assert_eq!(ids(admin).await, ["a2"]);
    kept.silence("edge-2", "no address");
    let answer = kept.site.call("DELETE", "/v1/Decisions/Limits/a9", "").await;
    assert_eq!((answer.status, answer.code()), (503, 20503));
    assert!(answer.text.contains("edge-2 (no address)"), "{}", answer.text);
    assert_eq!(kept.site.call("DELETE", "/v1/Decisions/Limits/a2", "").await.status, 204);
}

#[tokio::test]
async fn a_page_of_another_site_neither_explains_nor_releases() {
    let trusted = "https://console.example.com".to_owned();
    let options = RestOptions::default().with_cors_origins(vec![trusted.clone()]);
    let kept = Kept::with(options).await;
    kept.hold(&kept.site.sid, "a1");
    let send = async |method: &str, path: &str, name: &str, value: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "api.example.com:8080")
            .header(header::AUTHORIZATION, basic(&kept.site.login.0, &kept.site.login.1))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(name, value);
        let form = if method == "POST" { "Source=192.0.2.7&Domain=a.example.com" } else { "" };
        kept.site.send(request.body(Body::from(form)).unwrap()).await
    };
    let (explain, release) = ("/v1/Decisions/Explain", "/v1/Decisions/Limits/a1");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "https://api.example.com"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for (method, path) in [("POST", explain), ("DELETE", release)] {
            let answer = send(method, path, name, value).await;
            assert_eq!((answer.status, answer.code()), (403, 20003), "{method} {name}: {value}");
        }
        assert_eq!(send("GET", "/v1/Decisions", name, value).await.status, 200);
    }
    assert!(kept.fake.asked.lock().unwrap().is_empty());
    for value in [&trusted, "http://api.example.com:8080"] {
        assert_eq!(send("POST", explain, "origin", value).await.status, 200, "{value}");
    }
    assert_eq!(send("DELETE", release, "origin", &trusted).await.status, 204);
}

#[tokio::test]
async fn questions_work_while_a_file_defines_the_resources() {
    let kept = Kept::with(RestOptions::default().with_read_only(true)).await;
    kept.hold(&kept.site.sid, "a1");
    let form = "Source=192.0.2.7&Domain=a.example.com";
    assert_eq!(kept.site.call("POST", "/v1/Decisions/Explain", form).await.status, 200);
    assert_eq!(kept.site.call("DELETE", "/v1/Decisions/Limits/a1", "").await.status, 204);
    refused(&kept.site, "POST", "/v1/Trunks", "", 409, 20409).await;
}
