//! Pages and their tokens.

use super::*;

#[tokio::test]
async fn paging_stays_correct_while_rows_are_added_and_deleted() {
    let site = Site::new().await;
    let users = site.make(&sip("CredentialLists"), "FriendlyName=x").await;
    let path = sip(&format!("CredentialLists/{users}/Credentials"));
    let mut sids = Vec::new();
    for n in 0..23 {
        sids.push(site.make(&path, &format!("Username=u{n}&Password={PASSWORD}")).await);
    }
    let rows = |page: &Value| -> Vec<String> {
        let rows = page["credentials"].as_array().unwrap().iter();
        rows.map(|row| row["sid"].as_str().unwrap().to_owned()).collect()
    };
    let first = site.get(&format!("{path}?PageSize=10")).await.json();
    assert_eq!((rows(&first), &first["previous_page_uri"]), (sids[..10].to_vec(), &Value::Null));
    assert_eq!((&first["start"], &first["end"]), (&0.into(), &9.into()));
    for gone in [9, 0, 11] {
        let answer = site.call("DELETE", &instance(&path, &sids[gone]), "").await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.text, "");
    }
    let late = site.make(&path, &format!("Username=late&Password={PASSWORD}")).await;
    let second = site.get(first["next_page_uri"].as_str().unwrap()).await.json();
    let mut wanted = sids[10..21].to_vec();
    wanted.remove(1);
    assert_eq!(rows(&second), wanted);
    assert_eq!((&second["page"], &second["start"]), (&1.into(), &10.into()));
    let third = site.get(second["next_page_uri"].as_str().unwrap()).await.json();
    assert_eq!(rows(&third), [sids[21].clone(), sids[22].clone(), late]);
    assert_eq!(third["next_page_uri"], Value::Null);
    let back = site.get(third["previous_page_uri"].as_str().unwrap()).await.json();
    assert_eq!(rows(&back), wanted);
    let start = site.get(back["previous_page_uri"].as_str().unwrap()).await.json();
    assert_eq!((rows(&start), &start["previous_page_uri"]), (sids[1..9].to_vec(), &Value::Null));
    let again = site.get(third["uri"].as_str().unwrap()).await.json();
    assert_eq!(again, third);

    // a token is valid only for its own listing and account
    let token = second["next_page_uri"].as_str().unwrap().split("PageToken=").nth(1).unwrap();
    let elsewhere = format!("{}?PageToken={token}", sip("CredentialLists"));
    let altered = format!("{path}?PageToken={}", token.to_lowercase());
    for path in [elsewhere, altered, format!("{path}?PageToken={}", &token[1..])] {
        refused(&site, "GET", &path, "", 400, 21481).await;
    }
}

#[tokio::test]
async fn links_take_only_name_and_port_from_host() {
    let site = Site::new().await;
    for (host, base) in [
        ("api.example.com:8080", "http://api.example.com:8080/v1/Trunks?"),
        ("user:secret@api.example.com", "http://api.example.com/v1/Trunks?"),
        ("evil.example/path?query#", "http://localhost/v1/Trunks?"),
        ("evil.example\" onclick=\"x", "http://localhost/v1/Trunks?"),
    ] {
        let request = Request::get("/v1/Trunks")
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, basic(&site.login.0, &site.login.1));
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        let url = answer.json()["meta"]["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(base), "{host}: {url}");
    }
}

#[tokio::test]
async fn mappings_are_paged_in_the_order_they_were_made() {
    let site = Site::new().await;
    let domain = site.make(&sip("Domains"), "DomainName=a.example.com").await;
    let mut lists = Vec::new();
    for n in 0..5 {
        lists.push(site.make(&sip("CredentialLists"), &format!("FriendlyName=l{n}")).await);
    }
    lists.reverse();
    let path = sip(&format!("Domains/{domain}/CredentialListMappings"));
    for list in &lists {
        site.make(&path, &format!("CredentialListSid={list}")).await;
    }
    let (mut next, mut seen) = (Some(format!("{path}?PageSize=2")), Vec::new());
    while let Some(path) = next {
        let page = site.get(&path).await.json();
        for row in page["credential_list_mappings"].as_array().unwrap() {
            seen.push(row["sid"].as_str().unwrap().to_owned());
        }
        next = page["next_page_uri"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, lists);
}
