//! Error responses: status and code of each, and that a failed request changes nothing.

use super::*;

#[tokio::test]
async fn errors_have_their_status_and_code_and_change_nothing() {
    let site = Site::new().await;
    let full = site.full().await;
    let long = |len: usize| "x".repeat(len);
    let domains = sip("Domains");
    let domain = sip(&format!("Domains/{}", full.domain));
    let calls = sip(&format!("Domains/{}/Auth/Calls/CredentialListMappings", full.domain));
    let lists = sip("CredentialLists");
    let users = sip(&format!("CredentialLists/{}/Credentials", full.users));
    let access = sip("IpAccessControlLists");
    let addresses = sip(&format!("IpAccessControlLists/{}/IpAddresses", full.addresses));
    let trunk = format!("/v1/Trunks/{}", full.trunk);
    let policy = sip(&format!("Domains/{}/Policy", full.domain));
    let mapped = format!("CredentialListSid={}", full.users);
    let role = format!("{}/{}", roles(), full.role);
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, 20404),
        ("GET", "/2010-04-01/Accounts/{ac}/SIP/Domains", 404, 20404),
        ("GET", "/2010-04-01/Accounts/{ac}", 404, 20404),
        ("PUT", "/v1/Trunks", 405, 20004),
    ] {
        refused(&site, method, path, "", status, code).await;
    }
    let name64 = format!("FriendlyName={}", long(65));
    let cases: Vec<(&str, u64, Vec<String>)> = vec![
        (
            &domains,
            21231,
            vec![
                String::new(),
                "DomainName=".into(),
                "FriendlyName=x".into(),
                "DomainName=b.example.com&DomainName=c.example.com".into(),
                "DomainName=b.example.com&Secure=maybe".into(),
                "DomainName=b.example.com&VoiceMethod=PUT".into(),
                "DomainName=b.example.com&VoiceUrl=gopher://x".into(),
                "DomainName=b.example.com&ByocTrunkSid=BY1".into(),
                "DomainName=b.example.com&FriendlyName=%FF".into(),
                format!("DomainName=b.example.com&{name64}"),
            ],
        ),
        (
            &domains,
            21232,
            vec![
                "DomainName=a.example.com".into(),
                "DomainName=A.EXAMPLE.COM.".into(),
                "DomainName=a..b".into(),
            ],
        ),
        (&calls, 21231, vec![mapped.clone(), String::new(), "CredentialListSid=CL12".into()]),
        (&lists, 21240, vec!["FriendlyName=phones".into(), name64.clone(), "Realm=x".into()]),
        (&lists, 21240, vec!["FriendlyName=x&Realm=%22".into(), "FriendlyName=a%00".into()]),
        (
            &users,
            21243,
            [
                "Username=alice&Password=",
                "Username=bob",
                "Username=bob&Password=",
                "Username=bob&Password=Short-7",
                "Username=alice&Password=Correct-Horse-7",
                "Username=a:b&Password=Correct-Horse-7",
                "Username=a%22b&Password=Correct-Horse-7",
                "Username=bob&Password=Correct-Horse-7&Password=Correct-Horse-7",
                "Username=bob&Ha1Md5=12",
                "Username=bob&Password=Correct-Horse-7&Ha1Md5=939e7578ed9e3c518a452acee763bce9",
                "Username=bob&Password=Correct-Horse-7&Disabled=perhaps",
                "Username=bob&Password=Correct-Horse-7&RoleSid=RL1",
            ]
            .map(String::from)
            .to_vec(),
        ),
        (&access, 21235, vec![String::new(), format!("FriendlyName={}", long(256))]),
        (
            &addresses,
            21238,
            [
                "IpAddress=192.0.2.2",
                "FriendlyName=x",
                "FriendlyName=x&IpAddress=192.0.2.1&CidrPrefixLength=24",
                "FriendlyName=x&IpAddress=0.0.0.0&CidrPrefixLength=0",
                "FriendlyName=x&IpAddress=::&CidrPrefixLength=0",
                "FriendlyName=x&IpAddress=192.0.2.1&CidrPrefixLength=33",
                "FriendlyName=x&IpAddress=192.0.2.1&CidrPrefixLength=-1",
                "FriendlyName=x&IpAddress=localhost",
                "FriendlyName=x&IpAddress=192.0.2.0/24",
            ]
            .map(String::from)
            .to_vec(),
        ),
        ("/v1/Trunks", 21248, vec!["DomainName=a.example.com".into()]),
        (&trunk, 21245, vec![name64.clone(), "TransferMode=x".into(), "DomainName=a..b".into()]),
        (&policy, 21231, vec!["NonceLifetime=0".into(), "Algorithms=MD4".into()]),
        (
            &policy,
            21231,
            [
                "Algorithms=MD5,MD5",
                "Algorithms=",
                "Qop=none",
                "UriCheck=same",
                "Methods=",
                "Methods=INVITE%2C",
                "Methods=BYE",
                "Methods=INVITE,register",
                "Methods=INVITE,INVITE",
                "Methods=INVITE+OPTIONS",
                "Methods=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q",
                "RegisterAs=",
                "RegisterAs=user",
                "RegisterAs={user}{user}",
                "RegisterAs={user},{user}",
                "RegisterAs={user},",
                "RegisterAs=+49{user}",
                "RegisterAs={user},+49{user}",
                "RegisterAs={user},1{user},2{user},3{user},4{user},5{user},6{user},7{user},8{user}",
                "FromMustMatch=",
                "FromMustMatch=anonymous",
                "FromMustMatch=1",
                "GuessPairBurst=0",
                "GuessPairBurst=%2B1",
                "NonceLifetime=%2B60",
                "GuessNameBurst=%2B1&GuessNameRefillMs=1",
                "GuessNameBurst=5",
                "GuessAnyNameRefillMs=5",
                "GuessPairRefillMs=3600001",
                "GuessSourceRefillMs=",
                "Algorithms=SHA-256&AllowRfc2069=true",
                "WrongAnswer=x",
                "Challenge=x",
            ]
            .map(String::from)
            .to_vec(),
        ),
    ];
    for (path, code, forms) in cases {
        for form in forms {
            refused(&site, "POST", path, &form, 400, code).await;
        }
    }
    for (form, code) in [
        ("FriendlyName=x&Type=channel", 20001),
        ("FriendlyName=x&Permission=addMember", 20001),
        ("Type=channel&Permission=addMember", 20001),
        ("FriendlyName=x&Type=user&Permission=addMember", 50105),
        ("FriendlyName=x&Type=channel&Permission=joinChannel", 50104),
        ("FriendlyName=x&Type=channel&Permission=addMember&Permission=fly", 50104),
    ] {
        refused(&site, "POST", &roles(), form, 400, code).await;
    }
    refused(&site, "POST", &role, "", 400, 20001).await;
    let none = [
        format!("CredentialListSid=CL{DIGITS}"),
        format!("CredentialListSid={}&RoleSid=RL{DIGITS}", "{spare}"),
    ];
    let spare = site.make(&lists, "FriendlyName=spare").await;
    for form in none {
        refused(&site, "POST", &calls, &form.replace("{spare}", &spare), 404, 20404).await;
    }
    assert_eq!(site.call("DELETE", &instance(&lists, &spare), "").await.status, 204);

    for (path, code) in
        [(instance(&lists, &full.users), 21241), (instance(&access, &full.addresses), 21236)]
    {
        refused(&site, "DELETE", &path, "", 400, code).await;
    }
    for (query, code) in [
        ("PageSize=0", 20001),
        ("PageSize=1001", 20007),
        ("PageSize=99999999999999999999", 20001),
        ("PageSize=99999999999", 20007),
        ("PageSize=x", 20001),
        ("PageSize=5&PageSize=5", 20001),
        ("Page=-1", 20001),
        ("PageToken=AAAA", 21481),
        ("PageToken=%FF", 20001),
    ] {
        refused(&site, "GET", &format!("{domains}?{query}"), "", 400, code).await;
    }
    refused(&site, "GET", &format!("{}?PageSize=101", roles()), "", 400, 20007).await;

    // nothing has changed
    let after = site.get(&domain).await.json();
    assert_eq!(after["friendly_name"], "");
    for (path, key, _) in collections(&full) {
        assert_eq!(site.get(&path).await.json()[key].as_array().unwrap().len(), 1, "{path}");
    }
}

pub(crate) async fn refused(
    site: &Site,
    method: &str,
    path: &str,
    form: &str,
    status: u16,
    code: u64,
) {
    let answer = site.call(method, path, form).await;
    let what = format!("{method} {path} {form}: {}", answer.text);
    assert_eq!((answer.status, answer.code()), (status, code), "{what}");
    let body = answer.json();
    assert_eq!(keys(&body), named("code, message, more_info, status"), "{what}");
    assert_eq!(body["status"], status, "{what}");
    let info = answer.text_of("more_info");
    let explained = site.send(Request::get(&info).body(Body::empty()).unwrap()).await;
    assert_eq!(explained.status, 200, "{info}");
    assert!(!answer.text.contains("Correct-Horse"), "{what}");
}

#[tokio::test]
async fn each_limit_has_its_code() {
    let limits = Limits::default()
        .with_domains(1)
        .with_trunks(1)
        .with_ip_access_control_lists(1)
        .with_ip_addresses(1)
        .with_credential_lists(1)
        .with_credentials(1)
        .with_roles(1);
    let site = Site::with(RestOptions::default(), limits).await;
    let full = site.full().await;
    let users = sip(&format!("CredentialLists/{}/Credentials", full.users));
    let addresses = sip(&format!("IpAccessControlLists/{}/IpAddresses", full.addresses));
    for (path, form, code) in [
        (sip("Domains"), "DomainName=b.example.com", 21230),
        (sip("IpAccessControlLists"), "FriendlyName=x", 21234),
        (addresses, "FriendlyName=x&IpAddress=192.0.2.2", 21237),
        (sip("CredentialLists"), "FriendlyName=x", 21239),
        (users, "Username=bob&Password=Correct-Horse-7", 21242),
        ("/v1/Trunks".to_owned(), "", 21244),
        (roles(), "FriendlyName=x&Type=channel&Permission=addMember", 20001),
    ] {
        refused(&site, "POST", &path, form, 400, code).await;
    }
}

#[tokio::test]
async fn a_fifth_copy_of_a_user_name_is_refused_with_the_code_of_its_resource() {
    let site = Site::new().await;
    let domain = site.make(&sip("Domains"), "DomainName=a.example.com").await;
    let trunk = site.make("/v1/Trunks", "").await;
    let by_domain = sip(&format!("Domains/{domain}/Auth/Calls/CredentialListMappings"));
    let by_trunk = format!("/v1/Trunks/{trunk}/CredentialLists");
    let alice = format!("Username=alice&Password={PASSWORD}");
    let mut lists = Vec::new();
    for n in 0..6 {
        let list = site.make(&sip("CredentialLists"), &format!("FriendlyName=list{n}")).await;
        let (mapping, users) = (
            format!("CredentialListSid={list}"),
            sip(&format!("CredentialLists/{list}/Credentials")),
        );
        if n < 5 {
            site.make(&users, &alice).await;
        }
        if n != 4 {
            site.make(&by_domain, &mapping).await;
        }
        if n < 4 {
            site.make(&by_trunk, &mapping).await;
        }
        lists.push((mapping, users));
    }
    refused(&site, "POST", &by_domain, &lists[4].0, 400, 21231).await;
    refused(&site, "POST", &by_trunk, &lists[4].0, 400, 21245).await;
    refused(&site, "POST", &lists[5].1, &alice, 400, 21243).await;
    let message = site.call("POST", &by_domain, &lists[4].0).await.text_of("message");
    assert!(message.starts_with("the user name `alice` would be in 5 of the lists"), "{message}");
}

#[tokio::test]
async fn the_error_has_the_corrected_prefix_and_length_0_needs_allow_all() {
    let site = Site::new().await;
    let list = site.make(&sip("IpAccessControlLists"), "FriendlyName=x").await;
    let path = sip(&format!("IpAccessControlLists/{list}/IpAddresses"));
    let form = "FriendlyName=x&IpAddress=192.0.2.1&CidrPrefixLength=24";
    assert!(site.call("POST", &path, form).await.text.contains("`192.0.2.0/24`"));
    let all = "FriendlyName=x&IpAddress=0.0.0.0&CidrPrefixLength=0&AllowAll=True";
    assert_eq!(site.call("POST", &path, all).await.status, 201);
    let answer = site.call("POST", &path, "FriendlyName=x&IpAddress=2001:db8::1").await.json();
    assert_eq!(answer["cidr_prefix_length"], 128);
}

#[tokio::test]
async fn a_prefix_length_is_digits_within_the_range_of_its_family() {
    let site = Site::new().await;
    let list = site.make(&sip("IpAccessControlLists"), "FriendlyName=x").await;
    let path = sip(&format!("IpAccessControlLists/{list}/IpAddresses"));
    let one = site.make(&path, "FriendlyName=x&IpAddress=192.0.2.0&CidrPrefixLength=024").await;
    let one = instance(&path, &one);
    assert_eq!(site.get(&one).await.json()["cidr_prefix_length"], 24);
    let both = "0 to 32 for IPv4, 0 to 128 for IPv6";
    for (length, range, found) in [
        ("%2B24", both, "+24"),
        ("+24", both, " 24"),
        ("24+", both, "24 "),
        ("-1", both, "-1"),
        ("", both, ""),
        ("0x18", both, "0x18"),
        ("24.0", both, "24.0"),
        ("255.255.255.0", both, "255.255.255.0"),
        ("%D9%A2%D9%A4", both, "٢٤"),
        ("129", both, "129"),
        ("280", both, "280"),
        ("99999999999999999999", both, "99999999999999999999"),
        ("33", "0 to 32 for IPv4", "33"),
        ("128", "0 to 32 for IPv4", "128"),
    ] {
        let expected = format!("CidrPrefixLength must be a number from {range}, got `{found}`");
        let create = format!("FriendlyName=x&IpAddress=192.0.2.0&CidrPrefixLength={length}");
        let change = format!("CidrPrefixLength={length}");
        for (path, form) in [(&path, create), (&one, change)] {
            let answer = site.call("POST", path, &form).await;
            assert_eq!((answer.status, answer.code()), (400, 21238), "{form}");
            assert_eq!(answer.text_of("message"), expected, "{form}");
        }
    }
    let six = "FriendlyName=x&IpAddress=2001:db8::1&CidrPrefixLength=128";
    assert_eq!(site.call("POST", &path, six).await.status, 201);
    assert_eq!(site.get(&one).await.json()["cidr_prefix_length"], 24);
}

#[tokio::test]
async fn an_error_about_from_lists_the_three_values() {
    let site = Site::new().await;
    let domain = site.make(&sip("Domains"), "DomainName=a.example.com").await;
    let policy = sip(&format!("Domains/{domain}/Policy"));
    let answer = site.call("POST", &policy, "FromMustMatch=anonymous").await;
    let expected = "FromMustMatch must be true, false or or-anonymous, got `anonymous`";
    assert_eq!((answer.status, answer.text_of("message").as_str()), (400, expected));
    let answer = site.call("POST", &policy, "Methods=INVITE,ACK").await;
    let expected =
        "Methods is invalid: ACK cannot be admitted: it belongs to a call or a registration";
    assert_eq!((answer.status, answer.text_of("message").as_str()), (400, expected));
}

#[tokio::test]
async fn a_405_response_lists_the_supported_methods() {
    let site = Site::new().await;
    for (method, path, allowed) in [
        ("PUT", sip("Domains"), "GET,HEAD,POST"),
        ("DELETE", sip("Domains"), "GET,HEAD,POST"),
        ("PATCH", sip(&format!("Domains/SD{DIGITS}")), "GET,HEAD,POST,DELETE"),
        (
            "POST",
            sip(&format!("Domains/SD{DIGITS}/CredentialListMappings/CL{DIGITS}")),
            "GET,HEAD,DELETE",
        ),
        ("OPTIONS", "/v1/Trunks".to_owned(), "GET,HEAD,POST"),
    ] {
        let answer = site.call(method, &path, "").await;
        assert_eq!((answer.status, answer.code()), (405, 20004), "{method} {path}");
        assert_eq!(answer.headers[header::ALLOW], allowed, "{path}");
    }
}

#[tokio::test]
async fn bodies_of_another_type_or_size_are_refused() {
    let options = RestOptions::default().with_max_body(100);
    let site = Site::with(options, Limits::default()).await;
    let path = sip("Domains").replace("{ac}", &site.sid);
    let send = async |kind: Option<&str>, body: Body| {
        let authorization = basic(&site.login.0, &site.login.1);
        let mut request = Request::post(&path).header(header::AUTHORIZATION, authorization);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        site.send(request.body(body).unwrap()).await
    };
    let form = "application/x-www-form-urlencoded";
    let good = "DomainName=a.example.com";
    for kind in [None, Some("application/json"), Some("multipart/form-data"), Some("")] {
        let answer = send(kind, Body::from(good)).await;
        assert_eq!((answer.status, answer.code()), (415, 20001), "{kind:?}");
    }
    let long = format!("{good}&X={}", "x".repeat(100));
    assert_eq!(send(Some(form), Body::from(long.clone())).await.status, 413);
    let pieces = vec![Ok::<_, std::io::Error>(long.clone()), Ok(long)];
    let streamed = Body::from_stream(iter(pieces));
    assert_eq!(send(Some(form), streamed).await.status, 413);
    let cut = vec![Ok(good.to_owned()), Err(std::io::Error::other("cut short"))];
    let cut = send(Some(form), Body::from_stream(iter(cut))).await;
    assert_eq!((cut.status, cut.code()), (400, 20001));
    assert_eq!(site.get(&path).await.json()["domains"], Value::Array(vec![]));
    let answer = send(Some("Application/X-WWW-Form-URLEncoded; charset=UTF-8"), Body::from(good));
    assert_eq!(answer.await.status, 201);
}

#[tokio::test]
async fn writes_are_refused_when_read_only() {
    let options = RestOptions::default().with_read_only(true);
    let site = Site::with(options, Limits::default()).await;
    for (method, path) in [
        ("POST", sip("Domains")),
        ("DELETE", sip(&format!("Domains/SD{DIGITS}"))),
        ("POST", "/v1/Trunks".to_owned()),
    ] {
        refused(&site, method, &path, "DomainName=a.example.com", 409, 20409).await;
    }
    assert_eq!(site.get(&sip("Domains")).await.status, 200);
}
