//! Extensions to Twilio's API: policies, roles and hashes of credentials; and the effect on decisions.

use super::*;

#[tokio::test]
async fn a_policy_is_a_resource_with_every_setting() {
    let site = Site::new().await;
    let full = site.full().await;
    let fields = "algorithms, qop, allow_rfc2069, uri_check, nonce_lifetime, bind_source, \
        wrong_answer, from_must_match, userhash, challenge, methods, register_as, guess_source_burst, \
        guess_source_refill_ms, guess_pair_burst, guess_pair_refill_ms, guess_name_burst, \
        guess_name_refill_ms, guess_any_name_burst, guess_any_name_refill_ms, account_sid, date_created, date_updated";
    let changes = [
        ("Algorithms=Sha256-First", "algorithms", r#"["SHA-256","MD5"]"#),
        ("Algorithms=strongest-first", "algorithms", r#"["SHA-512-256","SHA-256","MD5"]"#),
        ("Algorithms=md5,%20SHA-256-sess", "algorithms", r#"["MD5","SHA-256-sess"]"#),
        ("Algorithms=md5-only", "algorithms", r#"["MD5"]"#),
        ("Qop=auth%2Cauth-int", "qop", r#""auth,auth-int""#),
        ("AllowRfc2069=True", "allow_rfc2069", "true"),
        ("UriCheck=same-user-and-host", "uri_check", r#""same-user-and-host""#),
        ("NonceLifetime=300", "nonce_lifetime", "300"),
        ("BindSource=False", "bind_source", "false"),
        ("WrongAnswer=challenge", "wrong_answer", r#""challenge""#),
        ("FromMustMatch=or-anonymous", "from_must_match", r#""or-anonymous""#),
        ("FromMustMatch=False", "from_must_match", "false"),
        ("FromMustMatch=Or-Anonymous", "from_must_match", r#""or-anonymous""#),
        ("FromMustMatch=true", "from_must_match", "true"),
        ("Userhash=true", "userhash", "true"),
        ("Challenge=server", "challenge", r#""server""#),
        ("Methods=MESSAGE", "methods", r#"["MESSAGE"]"#),
        ("Methods=OPTIONS,+INVITE", "methods", r#"["INVITE","OPTIONS"]"#),
        ("Methods=SUBSCRIBE%2Cinvite", "methods", r#"["SUBSCRIBE","invite"]"#),
        ("RegisterAs=%2B4930123{user}", "register_as", r#"["+4930123{user}"]"#),
        ("RegisterAs={user},%2B49{user}0", "register_as", r#"["{user}","+49{user}0"]"#),
        ("RegisterAs={user}", "register_as", r#"["{user}"]"#),
        ("GuessSourceBurst=3", "guess_source_burst", "3"),
        ("GuessSourceRefillMs=4", "guess_source_refill_ms", "4"),
        ("GuessPairBurst=5", "guess_pair_burst", "5"),
        ("GuessPairRefillMs=6", "guess_pair_refill_ms", "6"),
        ("GuessNameBurst=7&GuessNameRefillMs=8", "guess_name_burst", "7"),
        ("GuessNameRefillMs=9", "guess_name_refill_ms", "9"),
        ("GuessNameBurst=", "guess_name_burst", "null"),
        ("GuessAnyNameBurst=7&GuessAnyNameRefillMs=8", "guess_any_name_refill_ms", "8"),
        ("GuessAnyNameBurst=9", "guess_any_name_burst", "9"),
        ("GuessAnyNameBurst=", "guess_any_name_refill_ms", "null"),
    ];
    for (path, own) in [
        (sip(&format!("Domains/{}/Policy", full.domain)), "domain_sid, uri"),
        (format!("/v1/Trunks/{}/Policy", full.trunk), "trunk_sid, url"),
    ] {
        let fields = format!("{fields}, {own}");
        let default = site.get(&path).await.json();
        assert_eq!(keys(&default), named(&fields));
        assert_eq!(default["date_created"], Value::Null);
        for (form, name, value) in changes {
            let changed = site.call("POST", &path, form).await;
            assert_eq!(changed.status, 200, "{form}: {}", changed.text);
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(changed.json()[name], value, "{form}");
        }
        let now = site.get(&path).await.json();
        assert_eq!(now["nonce_lifetime"], 300);
        assert!(now["date_created"].is_string());
    }
}

#[tokio::test]
async fn extension_fields_are_absent_unless_set() {
    let site = Site::new().await;
    let full = site.full().await;
    let users = sip(&format!("CredentialLists/{}/Credentials", full.users));
    let deployment = "FriendlyName=d&Type=deployment&Permission=createChannel";
    let role = site.make(&roles(), deployment).await;
    let one = instance(&users, &full.credential);
    let form = format!("Disabled=TRUE&RoleSid={role}");
    let changed = site.call("POST", &one, &form).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let fields = format!("{CREDENTIAL}, disabled, role_sid");
    assert_eq!(keys(&changed.json()), named(&fields));
    let carried = format!("{}/{role}", roles());
    refused(&site, "DELETE", &carried, "", 400, 20001).await;
    let changed = site.call("POST", &one, "Disabled=false&RoleSid=").await;
    assert_eq!(keys(&changed.json()), named(CREDENTIAL));
    assert_eq!(site.call("DELETE", &carried, "").await.status, 204);

    let hashes = format!("Username=bob&Ha1Md5={DIGITS}&Ha1Sha256={DIGITS}{DIGITS}");
    let made = site.call("POST", &users, &hashes).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(keys(&made.json()), named(CREDENTIAL));

    let list = site.make(&sip("CredentialLists"), "FriendlyName=x&Realm=sip.example.com").await;
    let calls = sip(&format!("Domains/{}/Auth/Calls/CredentialListMappings", full.domain));
    let form = format!("CredentialListSid={list}&RoleSid={}", full.role);
    let mapped = site.call("POST", &calls, &form).await;
    assert_eq!(mapped.status, 201, "{}", mapped.text);
    assert_eq!(mapped.text_of("role_sid"), full.role);
    let other = site.make(&sip("CredentialLists"), "FriendlyName=y&Realm=other").await;
    refused(&site, "POST", &calls, &format!("CredentialListSid={other}"), 400, 21231).await;
}

#[tokio::test]
async fn a_confirmed_change_applies_to_the_next_invite() {
    let site = Site::new().await;
    let domain = site.make(&sip("Domains"), "DomainName=a.example.com").await;
    let list = site.make(&sip("IpAccessControlLists"), "FriendlyName=x").await;
    let addresses = sip(&format!("IpAccessControlLists/{list}/IpAddresses"));
    site.make(&addresses, "FriendlyName=x&IpAddress=192.0.2.7").await;
    let source = "192.0.2.7:5060".parse().unwrap();
    let accepted = || {
        let invite = Invite::new("sip:100@a.example.com", source, Transport::Udp);
        matches!(site.authorizer.authorize_now(&invite), Decision::Accept(_))
    };
    let mappings = sip(&format!("Domains/{domain}/Auth/Calls/IpAccessControlListMappings"));
    assert!(!accepted());
    for _ in 0..20 {
        site.make(&mappings, &format!("IpAccessControlListSid={list}")).await;
        assert!(accepted());
        assert_eq!(site.call("DELETE", &instance(&mappings, &list), "").await.status, 204);
        assert!(!accepted());
    }
}
