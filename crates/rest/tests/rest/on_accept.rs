//! The answer to accepted calls of a domain or trunk: an extension to Twilio's API.

use super::*;
use sip_authz::model::{NextHop, NextHopSet, OnAccept};

/// A site whose operator allows these next hops.
async fn site_on(store: &MemoryStore, hops: &[&str]) -> Site {
    let next_hops = NextHopSet::new(hops.iter().map(|hop| hop.parse::<NextHop>().unwrap()));
    let settings = Settings::new("sip.example.com".parse().unwrap()).with_next_hops(next_hops);
    Site::of(store.clone(), RestOptions::default(), settings).await
}

const REDIRECT: &str = "redirect:sip:{user}@gw1.example.net;q=1.0,gw2.example.net";
const FORM: &str =
    "OnAccept=redirect%3Asip%3A%7Buser%7D%40gw1.example.net%3Bq%3D1.0%2Cgw2.example.net";

const GATEWAYS: [&str; 2] = ["gw1.example.net", "gw2.example.net"];
const FORWARD: &str = "forward:sip:pbx1.example.net;transport=tcp, pbx2.example.net;priority=1";
const FORWARD_FORM: &str = "OnAccept=forward%3Asip%3Apbx1.example.net%3Btransport%3Dtcp%2C+\
                            pbx2.example.net%3Bpriority%3D1";

#[tokio::test]
async fn domains_and_trunks_have_an_answer_to_accepted_calls() {
    let site = site_on(&MemoryStore::new(), &[".example.net"]).await;
    let full = site.full().await;
    let domain = sip(&format!("Domains/{}", full.domain));
    for path in [domain.clone(), format!("/v1/Trunks/{}", full.trunk)] {
        // an answer without a value has the keys of Twilio's
        assert!(site.get(&path).await.json().get("on_accept").is_none());
        let set = site.call("POST", &path, FORM).await;
        assert_eq!((set.status, set.text_of("on_accept")), (200, REDIRECT.to_owned()));
        // other changes keep it
        site.call("POST", &path, "FriendlyName=b").await;
        assert_eq!(site.get(&path).await.text_of("on_accept"), REDIRECT);
        let set = site.call("POST", &path, "OnAccept=ok").await;
        assert_eq!(set.text_of("on_accept"), "ok");
        let set = site.call("POST", &path, FORWARD_FORM).await;
        assert_eq!((set.status, set.text_of("on_accept")), (200, FORWARD.to_owned()));
        assert_eq!(site.get(&path).await.text_of("on_accept"), FORWARD);
        let cleared = site.call("POST", &path, "OnAccept=").await;
        assert!(cleared.status == 200 && cleared.json().get("on_accept").is_none());
    }
    let form = format!("DomainName=new.example.com&{FORM}");
    let sid = site.make(&sip("Domains"), &form).await;
    site.make("/v1/Trunks", FORM).await;
    let trunk = site.make("/v1/Trunks", FORWARD_FORM).await;
    assert_eq!(site.get(&format!("/v1/Trunks/{trunk}")).await.text_of("on_accept"), FORWARD);
    let form = format!("DomainName=forwarded.example.com&{FORWARD_FORM}");
    let forwarded = site.make(&sip("Domains"), &form).await;
    let snapshot = site.authorizer.snapshot();
    let target = forwarded.parse::<sip_authz::DomainSid>().unwrap().into();
    let Some(OnAccept::Forward(forward)) = snapshot.target_view(target).unwrap().on_accept else {
        panic!("no forward")
    };
    assert_eq!(forward.hops().len(), 2);
    let view = snapshot.target_view(sid.parse::<sip_authz::DomainSid>().unwrap().into()).unwrap();
    assert_eq!(view.on_accept.unwrap().to_string(), REDIRECT);
}

#[tokio::test]
async fn a_target_outside_the_allowed_next_hops_is_refused() {
    let closed = site_on(&MemoryStore::new(), &[]).await;
    let open = site_on(&MemoryStore::new(), &["gw.example.net:5060", ".example.org"]).await;
    for (site, target, reason) in [
        (&closed, "forward:gw.example.net", "the next hop `gw.example.net` is not allowed"),
        (&open, "forward:sips:gw.example.net", "the next hop `gw.example.net` is not allowed"),
        (&open, "forward:a.example.org,evil.example", "the next hop `evil.example` is not allowed"),
        (
            &open,
            "forward:sip:gw.example.net:5060;transport=tcp,gw.example.net:5070;priority=1",
            "the next hop `gw.example.net:5070` is not allowed",
        ),
        (&closed, "gw.example.net", "the next hop `gw.example.net` is not allowed"),
        (&open, "gw.example.net", "the next hop `gw.example.net` is not allowed"),
        (&open, "gw.example.net:5060,evil.example", "the next hop `evil.example` is not allowed"),
        (&open, "sip:{user}@{host}", "`{host}` is allowed in the user part only"),
        (&open, "sip:{user}@{account}.example.org", "`{account}` is allowed in the user part only"),
        (
            &open,
            "a.example.org;maddr=192.0.2.1",
            "only the parameters `transport`, `user` and `lr` are allowed, and no URI headers",
        ),
    ] {
        let full = site.full().await;
        let answer = if target.starts_with("forward:") { "" } else { "redirect:" };
        let form = format!("OnAccept={answer}{}", target.replace(';', "%3B"));
        let before = site.get(&sip("Domains")).await.text;
        for (path, code) in [
            (sip(&format!("Domains/{}", full.domain)), 21231),
            (format!("/v1/Trunks/{}", full.trunk), 21245),
            ("/v1/Trunks".to_owned(), 21245),
        ] {
            let answer = site.call("POST", &path, &form).await;
            assert_eq!((answer.status, answer.code()), (400, code), "{}", answer.text);
            let message = answer.text_of("message");
            assert!(message.starts_with(&format!("OnAccept: {reason}")), "{message}");
            assert!(message.ends_with("with --next-hop-allow"), "{message}");
        }
        let new = format!("DomainName=b.example.com&{form}");
        assert_eq!(site.call("POST", &sip("Domains"), &new).await.status, 400);
        assert_eq!(site.get(&sip("Domains")).await.text, before);
        let delete = site.call("DELETE", &sip(&format!("Domains/{}", full.domain)), "").await;
        assert_eq!(delete.status, 204, "{}", delete.text);
        for list in [sip("CredentialLists"), sip("IpAccessControlLists")] {
            assert_eq!(site.get(&list).await.status, 200);
        }
        break_up(site, &full).await;
    }
    let mut codes = Vec::new();
    for (on_accept, error) in [
        ("redirect:sip:{number}@gw", "unknown placeholder `{number}` at position 14"),
        ("forward:sip:{user}@gw", "brace at position 13: expected no placeholder in a hop"),
        ("forward:gw,gw%3Bmaddr=192.0.2.1", "hop at position 12: unknown parameter `maddr`"),
        ("forward:sip:alice:secret@gw", "hop at position 9: expected no user part"),
    ] {
        let wrong = open.call("POST", "/v1/Trunks", &format!("OnAccept={on_accept}")).await;
        assert_eq!(wrong.status, 400);
        codes.push(wrong.code());
        let message = wrong.text_of("message");
        assert!(message.starts_with(&format!("OnAccept: {error}")), "{message}");
        assert!(!wrong.text.contains("secret"), "{message}");
    }
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
}

/// Deletes what would prevent another full site of the same names.
async fn break_up(site: &Site, full: &Full) {
    for path in [
        format!("/v1/Trunks/{}", full.trunk),
        sip(&format!("CredentialLists/{}", full.users)),
        sip(&format!("IpAccessControlLists/{}", full.addresses)),
        format!("{}/{}", roles(), full.role),
    ] {
        site.call("DELETE", &path, "").await;
    }
}

#[tokio::test]
async fn a_stored_target_that_is_no_longer_allowed_permits_other_changes() {
    let store = MemoryStore::new();
    let wide = site_on(&store, &["gw1.example.net", "gw2.example.net"]).await;
    let form = format!("DomainName=a.example.com&{FORM}");
    let sid = wide.make(&sip("Domains"), &form).await;
    let login = wide.login.clone();
    let narrow = site_on(&store, &["gw1.example.net"]).await;
    let path = format!("/2010-04-01/Accounts/{}/SIP/Domains/{sid}.json", login.0);
    let renamed = narrow.call_as(&login, "POST", &path, "FriendlyName=b").await;
    assert_eq!((renamed.status, renamed.text_of("on_accept")), (200, REDIRECT.to_owned()));
    // the same value again is refused
    assert_eq!(narrow.call_as(&login, "POST", &path, FORM).await.status, 400);
    assert_eq!(narrow.call_as(&login, "POST", &path, "OnAccept=").await.status, 200);
}

#[tokio::test]
async fn an_import_is_held_to_the_allowed_next_hops() {
    let allowed = [GATEWAYS[0], GATEWAYS[1], "pbx1.example.net", "pbx2.example.net"];
    let site = site_on(&MemoryStore::new(), &allowed).await;
    let full = site.full().await;
    site.call("POST", &sip(&format!("Domains/{}", full.domain)), FORM).await;
    site.call("POST", &format!("/v1/Trunks/{}", full.trunk), FORWARD_FORM).await;
    let export = site.call_as(&site.admin, "GET", "/admin/export", "").await;
    assert!(export.text.contains(REDIRECT) && export.text.contains(FORWARD), "{}", export.text);
    let without_target = site_on(&MemoryStore::new(), &[GATEWAYS[0]]).await;
    let without_hop = [GATEWAYS[0], GATEWAYS[1], "pbx1.example.net"];
    let without_hop = site_on(&MemoryStore::new(), &without_hop).await;
    for (site, status, refused) in [
        (&site, 200, ""),
        (&without_target, 400, GATEWAYS[1]),
        (&without_hop, 400, "pbx2.example.net"),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/admin/import")
            .header(header::AUTHORIZATION, basic(&site.admin.0, &site.admin.1))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = site.send(request.body(Body::from(export.text.clone())).unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 400 {
            let message = answer.text_of("message");
            assert!(
                message.contains(&format!("the next hop `{refused}` is not allowed")),
                "{message}"
            );
        }
    }
}
