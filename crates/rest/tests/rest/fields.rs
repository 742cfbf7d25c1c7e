//! Fields, envelopes and links, compared with the tables of the reference.

use super::*;

#[tokio::test]
async fn responses_have_exactly_the_fields_of_the_reference() {
    let site = Site::new().await;
    let full = site.full().await;
    for (path, key, fields) in collections(&full) {
        let listed = site.get(&path).await;
        assert_eq!(listed.status, 200, "{path}: {}", listed.text);
        let listed = listed.json();
        let mut envelope = if path.starts_with("/2010") { named(ENVELOPE) } else { named("meta") };
        envelope.insert(key);
        assert_eq!(keys(&listed), envelope, "{path}");
        if !path.starts_with("/2010") {
            assert_eq!(keys(&listed["meta"]), named(META), "{path}");
            assert_eq!(listed["meta"]["key"], key);
        }
        let row = &listed[key][0];
        assert_eq!(keys(row), named(fields), "{path}");
        let fetched = site.get(&instance(&path, row["sid"].as_str().unwrap())).await;
        assert_eq!(fetched.status, 200, "{path}: {}", fetched.text);
        assert_eq!(&fetched.json(), row, "{path}");
        assert_eq!(row["account_sid"], site.sid.as_str());

        let link = row.get("uri").or(row.get("url")).and_then(Value::as_str);
        let link = link.map(|link| link.trim_start_matches("http://api.example.com:8080"));
        if let Some(link) = link {
            assert_eq!(&site.get(link).await.json(), row, "{path}");
        }
        for date in ["date_created", "date_updated"] {
            let date = row[date].as_str().unwrap();
            let (form, len) = if path.starts_with("/2010") { ("+0000", 31) } else { ("Z", 20) };
            assert!(date.ends_with(form) && date.len() == len, "{path}: {date}");
        }
    }
    let account = site.get("/2010-04-01/Accounts/{ac}.json").await.json();
    assert_eq!(keys(&account), named(ACCOUNT));
}

#[tokio::test]
async fn links_to_subresources_work() {
    let site = Site::new().await;
    let full = site.full().await;
    let domain = site.get(&sip(&format!("Domains/{}", full.domain))).await.json();
    assert_eq!(domain["auth_type"], "CREDENTIAL_LIST,IP_ACL");
    let users = site.get(&sip(&format!("CredentialLists/{}", full.users))).await.json();
    let addresses =
        site.get(&sip(&format!("IpAccessControlLists/{}", full.addresses))).await.json();
    for (resource, names) in [
        (&domain, "credential_list_mappings, ip_access_control_list_mappings"),
        (&users, "credentials"),
        (&addresses, "ip_addresses"),
    ] {
        let all = &resource["subresource_uris"];
        assert_eq!(keys(all), named(names));
        for uri in all.as_object().unwrap().values() {
            assert_eq!(site.get(uri.as_str().unwrap()).await.status, 200, "{uri}");
        }
    }
    let trunk = site.get(&format!("/v1/Trunks/{}", full.trunk)).await.json();
    assert_eq!(keys(&trunk["recording"]), named("mode, trim"));
    assert_eq!(
        keys(&trunk["links"]),
        named("origination_urls, credential_lists, ip_access_control_lists, phone_numbers")
    );
    assert_eq!(trunk["auth_type_set"], serde_json::json!(["CREDENTIAL_LIST", "IP_ACL"]));
    for (name, status) in [("credential_lists", 200), ("phone_numbers", 404)] {
        let url = trunk["links"][name].as_str().unwrap();
        let path = url.strip_prefix("http://api.example.com:8080").unwrap();
        assert_eq!(site.get(path).await.status, status, "{url}");
    }
}

#[tokio::test]
async fn links_under_a_prefix_and_behind_a_public_base() {
    let mut site = Site::new().await;
    site.router = Router::new().nest("/sip/api", site.router);
    for n in 0..2 {
        site.make("/sip/api/v1/Trunks", &format!("FriendlyName=t{n}")).await;
        let form = format!("DomainName=d{n}.example.com");
        site.make(&format!("/sip/api{}", sip("Domains")), &form).await;
    }
    let page = site.get("/sip/api/v1/Trunks?PageSize=1").await.json();
    let (next, url) = (&page["meta"]["next_page_url"], &page["trunks"][0]["url"]);
    for url in [next, url] {
        let base = "http://api.example.com:8080/sip/api/v1/Trunks";
        assert!(url.as_str().unwrap().starts_with(base), "{url}");
    }
    let page = site.get(&format!("/sip/api{}?PageSize=1", sip("Domains"))).await.json();
    for uri in [&page["next_page_uri"], &page["domains"][0]["uri"]] {
        assert!(uri.as_str().unwrap().starts_with("/2010-04-01/Accounts/AC"), "{uri}");
    }
    let missing = site.get("/sip/api/nothing").await;
    assert_eq!((missing.status, missing.code()), (404, 20404));

    let public_base = Some("https://api.example.org/x/".to_owned());
    let options = RestOptions::default().with_public_base(public_base);
    let site = Site::with(options, Limits::default()).await;
    let trunk = site.make("/v1/Trunks", "").await;
    let url = site.get(&format!("/v1/Trunks/{trunk}")).await.text_of("url");
    assert_eq!(url, format!("https://api.example.org/x/v1/Trunks/{trunk}"));
}

#[tokio::test]
async fn health_and_the_document_need_no_credentials() {
    let site = Site::new().await;
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let health = site.send(get("/health")).await;
    let store = r#"{"status":"ok","parts":{"store":{"state":"ok"}}}"#;
    assert_eq!((health.status, health.text.as_str()), (200, store));
    let ready = site.send(get("/ready")).await;
    assert_eq!((ready.status, ready.text.as_str()), (200, r#"{"status":"ok","parts":{}}"#));
    let document = site.send(get("/openapi.json")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            // each documented operation exists: without credentials it answers 401, not 404 or 405
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
            let answer = site.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED.as_u16(), "{method} {path}");
        }
    }
    assert_eq!(operations, 80);
    // changes take `Wait`; the 202 schema is the resource with more fields
    let rotate = &document["paths"]["/2010-04-01/Accounts/{AccountSid}/AuthToken.json"]["post"];
    let accepted = |operation: &Value| {
        operation["responses"]["202"]["content"]["application/json"]["schema"].clone()
    };
    let [resource, more] = [0, 1].map(|at| accepted(rotate)["allOf"][at].clone());
    assert_eq!(resource, serde_json::json!({"$ref": "#/components/schemas/Account"}));
    assert_eq!(keys(&more["properties"]), named("edges, message"));
    let domain =
        &document["paths"]["/2010-04-01/Accounts/{AccountSid}/SIP/Domains/{DomainSid}.json"];
    assert_eq!(keys(&accepted(&domain["delete"])["properties"]), named("edges, message, status"));
    assert_eq!(accepted(&domain["get"]), Value::Null);
    let names = |operation: &Value| -> BTreeSet<String> {
        let params = operation["parameters"].as_array().unwrap().iter();
        params.filter(|one| one["in"] == "query").map(|one| one["name"].to_string()).collect()
    };
    assert!(names(rotate).iter().eq(["\"Wait\"", "\"WaitSeconds\""]), "{rotate}");
    assert!(names(&domain["get"]).is_empty());
    let import = &document["paths"]["/admin/import"]["post"]["responses"]["200"]["content"];
    let result = &import["application/json"]["schema"]["properties"];
    assert_eq!(keys(result), named("changed, dry_run, new, unchanged, warnings"));
    let create = &document["paths"]["/v1/Trunks"]["post"];
    let form = &create["requestBody"]["content"]["application/x-www-form-urlencoded"];
    assert_eq!(form["schema"]["properties"]["Secure"]["type"], "boolean");
    let row = &document["components"]["schemas"]["Trunk"];
    assert_eq!(keys(&row["properties"]), named(&format!("{TRUNK}, on_accept")));
    let policy = &document["components"]["schemas"]["PolicySettings"]["properties"];
    let from = &policy["from_must_match"];
    assert_eq!(from["type"], serde_json::json!(["boolean", "string"]));
    assert_eq!(from["enum"], serde_json::json!([false, true, "or-anonymous"]));
    for (field, part) in [
        ("from_must_match", "sip:anonymous@anonymous.invalid"),
        ("uri_check", "behind a proxy that rewrites the host"),
        ("nonce_lifetime", "In seconds."),
        ("methods", "others get 405"),
        ("register_as", "with {user} once"),
        ("algorithms", "see docs/clients.md"),
        ("guess_source_burst", "Has no effect"),
    ] {
        let description = policy[field]["description"].as_str().unwrap();
        assert!(description.contains(part), "{description}");
    }
    for path in ["/errors/1", "/errors/x", "/errors/%ff"] {
        assert_eq!(site.send(get(path)).await.status, 404, "{path}");
    }
}
