use super::*;

const ACCOUNT: AccountSid = AccountSid::from_bytes([0xab; 16]);

fn values() -> RedirectValues<'static> {
    RedirectValues::new(ACCOUNT, "sip.example.com")
        .with_user("14155550100")
        .with_host("Edge.example")
}

fn contacts(text: &str, values: &RedirectValues<'_>) -> Vec<String> {
    match text.parse::<OnAccept>().unwrap_or_else(|error| panic!("{text}: {error}")) {
        OnAccept::Redirect(redirect) => {
            assert_eq!(format!("redirect:{}", redirect.text), text);
            redirect.targets().iter().map(|target| target.uri(values).unwrap()).collect()
        }
        _ => panic!("{text}"),
    }
}

fn error(text: &str) -> String {
    match text.parse::<OnAccept>() {
        Ok(read) => panic!("{text}: {read:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_host_keeps_the_user_part() {
    for (text, uri) in [
        ("gw.example.net", "sip:14155550100@gw.example.net"),
        ("gw.example.net:5080", "sip:14155550100@gw.example.net:5080"),
        ("192.0.2.1", "sip:14155550100@192.0.2.1"),
        ("[2001:db8::1]:5080", "sip:14155550100@[2001:db8::1]:5080"),
        ("sip:gw.example.net", "sip:14155550100@gw.example.net"),
        ("SIPS:gw.example.net;lr", "sips:14155550100@gw.example.net;lr"),
        ("gw.example.net;transport=tcp", "sip:14155550100@gw.example.net;transport=tcp"),
    ] {
        assert_eq!(contacts(&format!("redirect:{text}"), &values()), [uri], "{text}");
    }
    let none = values().with_user("");
    assert_eq!(contacts("redirect:gw.example.net", &none), ["sip:gw.example.net"]);
    assert_eq!(contacts("redirect:sip:{user}@gw.example.net", &none), ["sip:gw.example.net"]);
    assert_eq!(contacts("redirect:sip:9{user}@gw.example.net", &none), ["sip:9@gw.example.net"]);
}

#[test]
fn placeholders_have_the_values_of_the_call() {
    let values = values().with_username("al ice;x=\u{e4}@+1%41");
    for (text, uri) in [
        ("sip:{username}@gw.example", "sip:al%20ice%3Bx=%C3%A4%40+1%2541@gw.example"),
        ("sip:{account}-{user}@gw.example", &format!("sip:{ACCOUNT}-14155550100@gw.example")),
        ("sip:{user}@{host}:5080", "sip:14155550100@Edge.example:5080"),
        (
            "sip:{user}@{domain};tgrp={account}",
            &format!("sip:14155550100@sip.example.com;tgrp={ACCOUNT}"),
        ),
        ("sip:{user}@{account}.gw.example", &format!("sip:14155550100@{ACCOUNT}.gw.example")),
        (
            "sip:{domain}@gw.example?X-Host={host}",
            "sip:sip.example.com@gw.example?X-Host=Edge.example",
        ),
    ] {
        assert_eq!(contacts(&format!("redirect:{text}"), &values), [uri], "{text}");
    }
    // an IPv6 host is no user part as it is
    let literal = values.with_host("[2001:db8::1]");
    assert_eq!(
        contacts("redirect:sip:{host}@gw.example", &literal),
        ["sip:%5B2001%3Adb8%3A%3A1%5D@gw.example"]
    );
    assert_eq!(contacts("redirect:sip:{user}@{host}", &literal), ["sip:14155550100@[2001:db8::1]"]);
}

#[test]
fn the_user_part_stays_as_it_came() {
    for (user, kept) in [
        ("a;phone-context=x", "a;phone-context=x"),
        ("%61%3b;b", "%61%3b;b"),
        ("+1&=+$,;?/", "+1&=+$,;?/"),
        ("*21#", "*21%23"),
        // no edge accepts these
        ("a>\r\nX: y", "a%3E%0D%0AX%3A%20y"),
        ("a%4", "a%254"),
        ("a@b", "a%40b"),
    ] {
        let uri = contacts("redirect:gw.example", &values().with_user(user)).remove(0);
        assert_eq!(uri, format!("sip:{kept}@gw.example"));
        let read = SipUri::parse(&uri).unwrap();
        assert_eq!((read.user, read.host, read.params), (Some(kept), "gw.example", ""), "{user}");
    }
}

#[test]
fn several_targets_have_their_preferences() {
    let text = "redirect:sip:{user}@gw1.example;q=1.0,sip:{user}@gw2.example;Q=0.5;lr,gw3.example";
    let OnAccept::Redirect(redirect) = text.parse().unwrap() else { panic!() };
    let q: Vec<_> = redirect.targets().iter().map(RedirectTarget::q).collect();
    assert_eq!(q, [Some("1.0"), Some("0.5"), None]);
    let expected = [
        "sip:14155550100@gw1.example",
        "sip:14155550100@gw2.example;lr",
        "sip:14155550100@gw3.example",
    ];
    assert_eq!(contacts(text, &values()), expected);
    // behind the user part only
    assert_eq!(
        contacts("redirect:sip:{user};q=7@gw.example", &values()),
        ["sip:14155550100;q=7@gw.example"]
    );
    for good in ["0", "1", "0.", "0.123", "1.000"] {
        contacts(&format!("redirect:gw.example;q={good}"), &values());
    }
    for bad in ["", "2", "0.1234", "1.1", ".5", "-1", "0,5", "1;q=1"] {
        assert!(format!("redirect:gw.example;q={bad}").parse::<OnAccept>().is_err(), "{bad}");
    }
}

#[test]
fn errors_name_the_position() {
    let names = ", expected {user}, {host}, {domain}, {account} or {username}";
    for (text, message) in [
        ("", "expected `ok`, or `redirect:` or `forward:` and a SIP URI or host"),
        ("OK", "expected `ok`, or `redirect:` or `forward:` and a SIP URI or host"),
        (
            "redirect:sip:{number}@gw.example",
            &format!("unknown placeholder `{{number}}` at position 14{names}"),
        ),
        (
            "redirect:sip:{User}@gw",
            &format!("unknown placeholder `{{User}}` at position 14{names}"),
        ),
        ("redirect:sip:{}@gw", &format!("unknown placeholder `{{}}` at position 14{names}")),
        ("redirect:sip:{user@gw.example", "`{` at position 14 is not closed"),
        ("redirect:sip:{{user}}@gw.example", "`{` at position 14 is not closed"),
        ("redirect:sip:user}@gw.example", "`}` at position 18 closes nothing"),
        ("redirect:a,sip:{user@b", "`{` at position 16 is not closed"),
        ("redirect:sip:{user}@{user}.gw", "`{user}` at position 21: expected it in the user part"),
        (
            "redirect:sip:1@gw;x={username}",
            "`{username}` at position 21: expected it in the user part",
        ),
        ("redirect:sip:1@{host}.gw", "`{host}` at position 16: expected it to be the whole host"),
        ("redirect:sip:1@gw:{host}", "`{host}` at position 19: expected it to be the whole host"),
        (
            "redirect:sip:a,b@gw.example",
            "target at position 16: expected `sip:` before a user part; a comma separates targets",
        ),
        ("redirect:sip:a:b@gw.example", "target at position 10: expected no password"),
        (
            "redirect:tel:+1",
            "target at position 10: expected a host or SIP URI: unsupported uri scheme",
        ),
        (
            "redirect:http://gw",
            "target at position 10: expected a host or SIP URI: unsupported uri scheme",
        ),
        ("redirect:", "target at position 10: expected a host or SIP URI: empty host"),
        ("redirect:a,,b", "target at position 12: expected a host or SIP URI: empty host"),
        ("redirect:sip:@gw", "target at position 10: expected a host or SIP URI: empty user"),
        (
            "redirect:gw, sip:a b@c",
            "target at position 14: expected a host or SIP URI: space in the uri",
        ),
        ("redirect:gw:0", "target at position 10: expected a host or SIP URI: bad port"),
        (
            "redirect:sip:1@gw:{account}",
            "target at position 10: expected a host or SIP URI: bad port",
        ),
        (
            "redirect:<sip:a>",
            "target at position 10: expected a host or SIP URI: bad character or escape in the uri",
        ),
        (
            "redirect:gw;q=2",
            "target at position 10: expected one q from 0 to 1 with at most three decimals",
        ),
    ] {
        assert_eq!(error(text), *message, "{text}");
    }
    for text in ["redirect:sip:a\r\nX: y", "redirect:sip:a>b", "redirect:sip:ä@b", "redirect:a\0b"]
    {
        error(text);
    }
    assert_eq!(
        error(&format!("redirect:{}a", "a,".repeat(8))),
        "expected at most 8 targets, got 9"
    );
    assert_eq!(error(&"a".repeat(1_025)), "expected at most 1024 bytes, got 1025");
}

#[test]
fn a_uri_that_would_be_too_long_is_none() {
    let OnAccept::Redirect(redirect) = "redirect:sip:{user}{user}@gw".parse().unwrap() else {
        panic!()
    };
    let user = "1".repeat(1_100);
    assert_eq!(redirect.targets()[0].uri(&values().with_user(&user)), None);
}
