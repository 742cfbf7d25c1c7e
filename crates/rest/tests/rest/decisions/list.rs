//! Lists of decisions: who sees which, filters, pages.

use super::*;

#[tokio::test]
async fn an_account_sees_its_own_decisions_and_the_admin_sees_all() {
    let kept = Kept::new().await;
    let (own, other) = (kept.site.sid.clone(), kept.site.stranger.0.clone());
    let of_own = kept.add_for(Some(&own), 1, |_| {});
    let of_other = kept.add_for(Some(&other), 2, |_| {});
    let of_none = kept.add_for(None, 3, |row| row.reason = "unknown-host".to_owned());
    let Site { login, stranger, admin, .. } = &kept.site;
    for (caller, seen) in [
        (login, vec![&of_own]),
        (stranger, vec![&of_other]),
        (admin, vec![&of_none, &of_other, &of_own]),
    ] {
        for (path, key) in [("/v1/Decisions", "decisions"), ("/v1/Alerts", "alerts")] {
            let page = kept.site.call_as(caller, "GET", path, "").await;
            assert_eq!(page.status, 200, "{}", page.text);
            assert_eq!(page.headers["cache-control"], "no-store");
            assert!(Kept::sids(&page.json(), key).iter().eq(seen.clone()), "{}", page.text);
            for sid in [&of_own, &of_other, &of_none] {
                let one = format!("{path}/{sid}");
                let answer = kept.site.call_as(caller, "GET", &one, "").await;
                let status = if seen.contains(&sid) { 200 } else { 404 };
                assert_eq!(answer.status, status, "{}", answer.text);
                assert_eq!(status == 200, answer.json()["sid"] == sid.as_str());
            }
        }
    }
    let nobody = ("AC".to_owned() + DIGITS, "no token".to_owned());
    for path in ["/v1/Decisions", "/v1/Decisions/Stream", "/v1/Decisions/Limits", "/v1/Alerts"] {
        let answer = kept.site.call_as(&nobody, "GET", path, "").await;
        assert_eq!((answer.status, answer.code()), (401, 20003), "{path}");
    }
}

#[tokio::test]
async fn with_the_header_the_admin_sees_what_the_account_sees() {
    let kept = Kept::new().await;
    let (own, other) = (kept.site.sid.clone(), kept.site.stranger.0.clone());
    let of_own = kept.add_for(Some(&own), 1, |_| {});
    let of_other = kept.add_for(Some(&other), 2, |_| {});
    kept.add_for(None, 3, |row| row.reason = "unknown-host".to_owned());
    kept.hold(&other, &"0".repeat(32));
    let send = async |login: &(String, String), method: &str, path: &str, accounts: &[&str]| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, basic(&login.0, &login.1));
        for account in accounts {
            request = request.header("SIP-Authz-Account", *account);
        }
        kept.site.send(request.body(Body::empty()).unwrap()).await
    };
    let Site { login, admin, .. } = &kept.site;
    for (account, sid) in [(&own, &of_own), (&other, &of_other)] {
        let page = send(admin, "GET", "/v1/Decisions", &[account]).await;
        assert_eq!(
            Kept::sids(&page.json(), "decisions"),
            std::slice::from_ref(sid),
            "{}",
            page.text
        );
    }
    let release = format!("/v1/Decisions/Limits/{}", "0".repeat(32));
    for (login, method, path, accounts, status) in [
        (admin, "GET", format!("/v1/Decisions/{of_other}"), &[own.as_str()][..], 404),
        (admin, "DELETE", release.clone(), &[&own], 404),
        (admin, "GET", "/v1/Decisions".to_owned(), &["garbage"], 404),
        (admin, "GET", "/v1/Alerts".to_owned(), &[&own, &other], 400),
        (admin, "GET", "/v1/Decisions/Stream".to_owned(), &[""], 404),
        // an account can name only itself
        (login, "GET", "/v1/Decisions".to_owned(), &[&other], 404),
        (login, "GET", "/v1/Decisions".to_owned(), &[&own], 200),
        (admin, "DELETE", release, &[&other], 204),
    ] {
        let answer = send(login, method, &path, accounts).await;
        assert_eq!(answer.status, status, "{method} {path} {accounts:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_decision_has_the_fields_of_the_log() {
    let kept = Kept::new().await;
    let sid = kept.add(7);
    let row = kept.site.get(&format!("/v1/Decisions/{sid}")).await.json();
    let fields = "sid, edge, time, transport, outcome, reason, cause, status, code, method, account, target, \
                  name, host, called, claimed_user, call_id, source";
    assert_eq!(keys(&row), named(fields));
    assert_eq!(row["time"], "2026-11-22T05:20:11.007000Z");
    let listed = kept.site.get("/v1/Decisions").await.json();
    assert_eq!(listed["decisions"][0], row);
    let upper = sid.to_uppercase();
    assert_eq!(kept.site.get(&format!("/v1/Decisions/{upper}")).await.status, 200);
    for unknown in ["NO12", "nothing", "%FF", &super::sid(8), &format!("SD{DIGITS}")] {
        for path in ["/v1/Decisions", "/v1/Alerts"] {
            refused(&kept.site, "GET", &format!("{path}/{unknown}"), "", 404, 20404).await;
        }
    }
    kept.forget(&sid);
    refused(&kept.site, "GET", &format!("/v1/Decisions/{sid}"), "", 404, 20404).await;
}

#[tokio::test]
async fn filters_select_and_stay_in_the_links() {
    let kept = Kept::new().await;
    let account = kept.site.sid.clone();
    let add = |n, change: &dyn Fn(&mut _)| kept.add_for(Some(&account), n, change);
    let plain = add(1, &|_| {});
    let accepted = add(2, &|row: &mut sip_authz_rest::decisions::DecisionRecord| {
        row.outcome = "accept".to_owned();
        row.reason = "passed".to_owned();
        row.cause = None;
        row.claimed_user = None;
        row.username = Some("bob & co".to_owned());
        row.status = None;
    });
    let elsewhere = add(3, &|row: &mut sip_authz_rest::decisions::DecisionRecord| {
        row.host = Some("pbx.example.net".to_owned());
        row.name = None;
        row.source = Some("[2001:db8::7]:5060".to_owned());
    });
    for (query, wanted) in [
        ("", vec![&elsewhere, &accepted, &plain]),
        ("Domain=PBX.example.net", vec![&elsewhere]),
        ("Domain=SD0123456789ABCDEF0123456789ABCDEF", vec![&elsewhere, &accepted, &plain]),
        ("User=alice", vec![&elsewhere, &plain]),
        ("User=bob+%26%20co", vec![&accepted]),
        ("Source=192.0.2.0/24", vec![&accepted, &plain]),
        ("Source=2001:db8::/32", vec![&elsewhere]),
        ("Outcome=accept", vec![&accepted]),
        ("Outcome=refused", vec![&elsewhere, &plain]),
        ("Reason=wrong-password&Domain=sip.example.com", vec![&plain]),
        ("CallId=call-2", vec![&accepted]),
        ("Since=2026-11-22T05:20:11.002Z", vec![&elsewhere, &accepted]),
        ("Until=2026-11-22T05:20:11.002Z", vec![&accepted, &plain]),
        ("Until=2026-11-22T05:20:11Z", vec![&elsewhere, &accepted, &plain]),
        ("Since=2026-11-22&Until=2026-11-22", vec![&elsewhere, &accepted, &plain]),
        ("Since=2026-11-23", vec![]),
        (
            "Domain=&User=&Source=&Outcome=&Reason=&CallId=&Since=&Until=&PageToken=&Unknown=1",
            vec![&elsewhere, &accepted, &plain],
        ),
    ] {
        let whole = kept.site.get(&format!("/v1/Decisions?{query}")).await.json();
        assert!(Kept::sids(&whole, "decisions").iter().eq(wanted.clone()), "{query}: {whole}");
        // the same rows, one on each page
        let mut url = format!("/v1/Decisions?{query}&PageSize=1");
        let mut rows = Vec::new();
        loop {
            let page = kept.site.get(&url).await.json();
            rows.extend(Kept::sids(&page, "decisions"));
            let own = page["meta"]["url"].as_str().unwrap();
            assert_eq!(kept.site.get(own).await.json(), page);
            match page["meta"]["next_page_url"].as_str() {
                Some(next) => url = next.to_owned(),
                None => break,
            }
        }
        assert!(rows.iter().eq(wanted), "{query}: {rows:?}");
    }
    let page = kept.site.get("/v1/Decisions?User=bob+%26+co&Source=192.0.2.1").await.json();
    let base = "http://api.example.com:8080/v1/Decisions";
    let first = format!("{base}?User=bob%20%26%20co&Source=192.0.2.1%2F32&PageSize=50&Page=0");
    assert_eq!(page["meta"]["first_page_url"], first.as_str());
    assert_eq!(page["meta"]["key"], "decisions");
}

#[tokio::test]
async fn a_wrong_parameter_is_named_with_its_form() {
    let kept = Kept::new().await;
    for (query, code, words) in [
        ("Domain=a%20b", 20001, "Domain must be a host name"),
        ("User=a%0Ab", 20001, "User must be a text"),
        (
            "Source=192.0.2.7:5060",
            20001,
            "Source must be an address or a prefix such as 192.0.2.0/24",
        ),
        ("Source=192.0.2.7/24", 20001, "Source must be"),
        ("Outcome=denied", 20001, "Outcome must be accept, challenge, reject, refused or alert"),
        ("Reason=%00", 20001, "Reason must be a text"),
        ("CallId=%7F", 20001, "CallId must be a text"),
        ("Since=yesterday", 20001, "Since must be a date such as 2026-11-22"),
        ("Until=2026-11-22T05:20:11", 20001, "Until must be a date"),
        ("Since=2026-11-23&Until=2026-11-22", 20001, "Until must be no earlier than Since"),
        ("User=a&User=b", 20001, "User must not be repeated"),
        ("PageSize=0", 20001, "PageSize must be at least 1"),
        ("PageSize=x", 20001, "PageSize must be a number"),
        ("PageSize=1001", 20007, "PageSize must be at most 1000"),
        ("PageToken=x", 21481, "PageToken is invalid"),
    ] {
        let answer = kept.site.get(&format!("/v1/Decisions?{query}")).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{query}: {}", answer.text);
        assert!(answer.text_of("message").starts_with(words), "{query}: {}", answer.text);
        if code == 20001 && !query.starts_with("Page") && !query.contains("nce=") {
            let stream = kept.site.get(&format!("/v1/Decisions/Stream?{query}")).await;
            assert_eq!((stream.status, stream.code()), (400, code), "{query}: {}", stream.text);
        }
    }
    for (query, parameter) in [("Since=2026-11-22", "Since"), ("Until=2026-11-22", "Until")] {
        let stream = kept.site.get(&format!("/v1/Decisions/Stream?{query}")).await;
        assert_eq!((stream.status, stream.code()), (400, 20001), "{}", stream.text);
        assert!(stream.text_of("message").starts_with(&format!("{parameter} must be absent")));
    }
}

#[tokio::test]
async fn pages_stay_correct_while_decisions_come_and_go() {
    let kept = Kept::new().await;
    for n in 0..25 {
        kept.add(n);
    }
    let wanted = |range: std::ops::Range<u64>| range.rev().map(sid).collect::<Vec<_>>();
    let rows = |page: &Value| Kept::sids(page, "decisions");
    let link = |page: &Value, name: &str| page["meta"][name].as_str().map(str::to_owned);
    let first = kept.site.get("/v1/Decisions?PageSize=10").await.json();
    assert_eq!((rows(&first), link(&first, "previous_page_url")), (wanted(15..25), None));
    // two at the same time as the last row of the page: their SIDs decide
    for (n, time) in [(100, 15), (0xffff, 16)] {
        let time = rejection(time).time;
        kept.add_for(Some(&kept.site.sid.clone()), n, |row| row.time = time.clone());
    }
    for n in 25..30 {
        kept.add(n);
    }
    kept.forget(&sid(15));
    kept.forget(&sid(12));
    let second = kept.site.get(&link(&first, "next_page_url").unwrap()).await.json();
    let kept_ones = [wanted(13..15), wanted(4..12)].concat();
    assert_eq!(rows(&second), kept_ones);
    let third = kept.site.get(&link(&second, "next_page_url").unwrap()).await.json();
    assert_eq!((rows(&third), link(&third, "next_page_url")), (wanted(0..4), None));
    let back = kept.site.get(&link(&third, "previous_page_url").unwrap()).await.json();
    assert_eq!(rows(&back), kept_ones);
    let newer = kept.site.get(&link(&back, "previous_page_url").unwrap()).await.json();
    let late = [wanted(17..23), vec![sid(0xffff)], wanted(16..17), vec![sid(100)]].concat();
    assert_eq!(rows(&newer)[1..], late);
    let newest = kept.site.get(&link(&newer, "previous_page_url").unwrap()).await.json();
    assert_eq!((rows(&newest), link(&newest, "previous_page_url")), (wanted(24..30), None));
    // an empty page after the newest has no links to others, and can be asked again
    let newest = kept.site.get("/v1/Decisions?PageSize=1").await.json();
    let older = kept.site.get(&link(&newest, "next_page_url").unwrap()).await.json();
    let after = kept.site.get(&link(&older, "previous_page_url").unwrap()).await.json();
    assert_eq!((rows(&after), rows(&older)), (wanted(29..30), wanted(28..29)));
    assert_eq!(link(&after, "next_page_url"), link(&newest, "next_page_url"));
    let page = kept.site.get("/v1/Decisions?PageSize=1000").await.json();
    assert_eq!(rows(&page).len(), 30);
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_list_and_reader_only() {
    let kept = Kept::new().await;
    let (own, other) = (kept.site.sid.clone(), kept.site.stranger.0.clone());
    for n in 0..3 {
        kept.add_for(Some(&own), n, |_| {});
        kept.add_for(Some(&other), n + 10, |_| {});
    }
    let Site { login, stranger, admin, .. } = &kept.site;
    for reader in [login, stranger, admin] {
        let page = kept.site.call_as(reader, "GET", "/v1/Decisions?PageSize=1", "").await.json();
        let next = page["meta"]["next_page_url"].as_str().unwrap();
        let token = next.split("PageToken=").nth(1).unwrap();
        for (path, valid) in [("/v1/Decisions", true), ("/v1/Alerts", false)] {
            for other in [login, stranger, admin] {
                let url = format!("{path}?PageSize=1&PageToken={token}");
                let answer = kept.site.call_as(other, "GET", &url, "").await;
                let status = if valid && other == reader { 200 } else { 400 };
                assert_eq!(answer.status, status, "{}", answer.text);
                assert_eq!(answer.code() == 21481, status == 400, "{}", answer.text);
            }
        }
    }
    // the places in questions between edges are no parameters for others
    let place = rejection(2).place().unwrap();
    let all = kept.site.get("/v1/Decisions").await.json();
    let same = kept.site.get(&format!("/v1/Decisions?Before={place}&After={place}")).await.json();
    assert_eq!(all["decisions"], same["decisions"]);
}

#[tokio::test]
async fn silent_edges_are_named() {
    let kept = Kept::new().await;
    let sid = kept.add(1);
    let none = serde_json::json!([]);
    let paths =
        ["/v1/Decisions", "/v1/Decisions/Limits", "/v1/Alerts", "/v1/Alerts?LogLevel=debug"];
    for path in paths {
        assert_eq!(kept.site.get(path).await.json()["silent_edges"], none, "{path}");
    }
    kept.silence("edge-3", "no answer within a second");
    let silent = serde_json::json!([{"edge": "edge-3", "reason": "no answer within a second"}]);
    for path in &paths[..3] {
        assert_eq!(kept.site.get(path).await.json()["silent_edges"], silent, "{path}");
    }
    assert_eq!(kept.site.get(&format!("/v1/Decisions/{sid}")).await.status, 200);
    let absent = kept.site.get(&format!("/v1/Decisions/{}", super::sid(2))).await;
    assert_eq!((absent.status, absent.code()), (404, 20404));
    let message = absent.text_of("message");
    assert!(message.contains("edge-3 (no answer within a second)"), "{message}");
}

#[tokio::test]
async fn without_decisions_the_paths_are_unknown() {
    let site = Site::new().await;
    for (method, path) in [
        ("GET", "/v1/Decisions"),
        ("GET", "/v1/Decisions/Stream"),
        ("POST", "/v1/Decisions/Explain"),
        ("GET", "/v1/Alerts"),
    ] {
        refused(&site, method, path, "", 404, 20404).await;
    }
    let document = site.get("/openapi.json").await.json();
    assert_eq!(document["paths"]["/v1/Decisions"], Value::Null);
}

#[tokio::test]
async fn each_operation_is_described_and_exists() {
    let kept = Kept::new().await;
    let document = kept.site.get("/openapi.json").await.json();
    let mut ids = BTreeSet::new();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            if !path.starts_with("/v1/Decisions") && !path.starts_with("/v1/Alerts") {
                continue;
            }
            operations += 1;
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
            let answer = kept.site.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            let places = operation["parameters"].as_array().into_iter().flatten();
            let in_path = places.filter(|one| one["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{path}");
        }
    }
    assert_eq!(operations, 8);
    let schemas = &document["components"]["schemas"];
    for name in ["Decision", "DecisionList", "PageMeta", "HeldList", "Held", "Explained", "LeftOut"]
    {
        assert!(schemas[name]["properties"].is_object(), "{name}");
    }
    let sid = kept.add(1);
    let row = kept.site.get(&format!("/v1/Decisions/{sid}")).await.json();
    assert!(keys(&row).is_subset(&keys(&schemas["Decision"]["properties"])));
    let page = kept.site.get("/v1/Decisions").await.json();
    assert_eq!(keys(&page), keys(&schemas["DecisionList"]["properties"]));
    assert_eq!(keys(&page["meta"]), keys(&schemas["PageMeta"]["properties"]));
    let typed: sip_authz_rest::decisions::DecisionList = serde_json::from_value(page).unwrap();
    assert_eq!(typed.decisions[0].place(), rejection(1).place());
}
