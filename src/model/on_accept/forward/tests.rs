use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use HopTransport::{Tcp, Tls, Udp};

fn forward(list: &str) -> Forward {
    let text = format!("forward:{list}");
    match text.parse::<OnAccept>() {
        Ok(OnAccept::Forward(forward)) => forward,
        other => panic!("{text}: {other:?}"),
    }
}

fn error(list: &str) -> String {
    match format!("forward:{list}").parse::<OnAccept>() {
        Ok(read) => panic!("{list}: {read:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_hop_has_host_port_and_transport() {
    for (text, host, port, transport) in [
        ("pbx.example.net", "pbx.example.net", None, None),
        ("sip:PBX.Example.NET.", "pbx.example.net", None, None),
        ("SIP:pbx:5080", "pbx", Some(5080), None),
        ("pbx.example.net:5080", "pbx.example.net", Some(5080), None),
        ("192.0.2.1", "192.0.2.1", None, None),
        ("sip:[2001:DB8:0::1]:5080", "[2001:db8::1]", Some(5080), None),
        ("[2001:db8::1]", "[2001:db8::1]", None, None),
        ("pbx_1.example.net", "pbx_1.example.net", None, None),
        ("sip:pbx;transport=udp", "pbx", None, Some(Udp)),
        ("pbx:5061;Transport=TCP", "pbx", Some(5061), Some(Tcp)),
        ("sip:pbx;transport=tls", "pbx", None, Some(Tls)),
        // RFC 3261 §26.2.2: TLS, whatever the stream
        ("sips:pbx", "pbx", None, Some(Tls)),
        ("SIPS:pbx:5071;transport=tcp", "pbx", Some(5071), Some(Tls)),
        ("sips:pbx;transport=TLS", "pbx", None, Some(Tls)),
        ("sip:pbx;lr", "pbx", None, None),
        ("sip:pbx;LR=on;transport=tcp", "pbx", None, Some(Tcp)),
    ] {
        let forward = forward(text);
        let [hop] = forward.hops() else { panic!("{text}") };
        assert_eq!((hop.host().as_str(), hop.port()), (host, port), "{text}");
        assert_eq!((hop.transport(), hop.priority(), hop.weight()), (transport, 0, 1), "{text}");
        // `sips:` alone is no parameter
        let has_parameter = text.to_ascii_lowercase().contains("transport=");
        assert_eq!(hop.names_transport(), has_parameter, "{text}");
        assert_eq!(OnAccept::Forward(forward).to_string(), format!("forward:{text}"));
    }
    for (transport, name, port) in [(Udp, "udp", 5060), (Tcp, "tcp", 5060), (Tls, "tls", 5061)] {
        assert_eq!((transport.as_str(), transport.to_string().as_str()), (name, name));
        assert_eq!(transport.default_port(), port);
    }
}

#[test]
fn hops_have_priorities_and_weights() {
    let list = "a;priority=10;weight=60, sips:b;WEIGHT=65535;lr ,c;weight=1;priority=65535";
    let forward = forward(list);
    let order = |hop: &ForwardHop| (hop.host().as_str().to_owned(), hop.priority(), hop.weight());
    let orders: Vec<_> = forward.hops().iter().map(order).collect();
    let expected = [("a", 10, 60), ("b", 0, 65_535), ("c", 65_535, 1)];
    assert_eq!(
        orders,
        expected.map(|(host, priority, weight)| (host.to_owned(), priority, weight))
    );
    assert_eq!(forward.to_string(), list);
    assert_eq!(format!("{forward:?}"), format!("{list:?}"));
}

#[test]
fn errors_name_the_position() {
    let uri = |reason: &str| format!("hop at position 9: expected a host or SIP URI: {reason}");
    let parameter = |name: &str| {
        format!(
            "hop at position 9: unknown parameter `{name}`, expected transport, priority, weight or lr"
        )
    };
    let brace = "brace at position 13: expected no placeholder in a hop";
    let (user, headers) = ("expected no user part", "expected no URI headers");
    let transport = "expected the transport udp, tcp or tls, found";
    let priority = "expected a priority from 0 to 65535";
    let weight = "expected a weight from 1 to 65535";
    let machine = "expected the address of one machine";
    let hop = |at: usize, reason: &str| format!("hop at position {at}: {reason}");
    for (list, message) in [
        ("", uri("empty host")),
        ("sip:", uri("empty host")),
        ("sip:;transport=tcp", uri("empty host")),
        ("a,", hop(11, "expected a host or SIP URI: empty host")),
        ("a,, b", hop(11, "expected a host or SIP URI: empty host")),
        ("ä,b", uri("bad character or escape in the uri")),
        ("a,  ä", hop(13, "expected a host or SIP URI: bad character or escape in the uri")),
        ("sip:a b", uri("space in the uri")),
        ("a\r\nX: y", uri("control character in the uri")),
        ("sip:a\r\nX: y", uri("control character in the uri")),
        ("<sip:a>", uri("bad character or escape in the uri")),
        ("tel:+1", uri("unsupported uri scheme")),
        ("https://pbx", uri("unsupported uri scheme")),
        ("ws:pbx", uri("unsupported uri scheme")),
        ("sip:pbx:0", uri("bad port")),
        ("pbx:65536", uri("bad port")),
        ("sip:pbx:+1", uri("bad port")),
        ("pbx:", uri("unsupported uri scheme")),
        ("sip:pbx:", uri("bad port")),
        ("2001:db8::1", uri("bad port")),
        ("sip:[fe80::1%25eth0]", uri("bad host: ipv6 address with a zone")),
        ("sip:127.1", uri("bad host: malformed ipv4 address")),
        ("sip:0x7f000001", uri("bad host: malformed ipv4 address")),
        ("sip:-a", uri("bad host: malformed label")),
        ("sip:a;;lr", uri("bad uri-parameter")),
        ("sip:a;", uri("bad uri-parameter")),
        ("sip:a;transport=", uri("bad uri-parameter")),
        ("sip:a;weight=1;Weight=1", uri("bad uri-parameter")),
        ("sip:a;weight=1;w%65ight=2", uri("bad uri-parameter")),
        ("sip:1@a", hop(9, user)),
        ("1@a", hop(9, user)),
        ("sip:1:secret@a", hop(9, user)),
        ("sip:@a", hop(9, user)),
        ("a,sip:b;x=1@c", hop(11, user)),
        ("sip:a?Route=b", hop(9, headers)),
        ("sip:a?", hop(9, headers)),
        ("sip:a;lr?x=y", hop(9, headers)),
        ("sip:{user}", brace.to_owned()),
        ("sip:{host}", brace.to_owned()),
        ("sip:}", brace.to_owned()),
        ("sip:a,{", "brace at position 15: expected no placeholder in a hop".to_owned()),
        ("sip:ä,{", "brace at position 15: expected no placeholder in a hop".to_owned()),
        ("a;maddr=192.0.2.1", parameter("maddr")),
        ("a;MADDR=192.0.2.1", parameter("MADDR")),
        ("a;m%61ddr=192.0.2.1", parameter("m%61ddr")),
        ("a;tr%61nsport=tcp", parameter("tr%61nsport")),
        ("a;user=phone", parameter("user")),
        ("a;q=0.5", parameter("q")),
        ("a;ttl=1", parameter("ttl")),
        ("a;alias=192.0.2.1~5060~1", parameter("alias")),
        ("a;received=sip:192.0.2.1", parameter("received")),
        ("a;lrx", parameter("lrx")),
        ("a;transport=tcp;x", parameter("x")),
        (&format!("a;{}", "x".repeat(30)), parameter(&"x".repeat(20))),
        ("a;transport=sctp", hop(9, &format!("{transport} `sctp`"))),
        ("a;transport=ws", hop(9, &format!("{transport} `ws`"))),
        ("a;transport=t%63p", hop(9, &format!("{transport} `t%63p`"))),
        ("a;transport", hop(9, &format!("{transport} ``"))),
        (
            "a, sips:b;transport=udp",
            hop(12, "expected no transport=udp with `sips:`, which is TLS"),
        ),
        ("a;priority=65536", hop(9, priority)),
        ("a;priority=-1", hop(9, priority)),
        ("a;priority=+1", hop(9, priority)),
        ("a;priority=000001", hop(9, priority)),
        ("a;priority", hop(9, priority)),
        ("a;priority=x", hop(9, priority)),
        ("a;weight=0", hop(9, weight)),
        ("a;weight=65536", hop(9, weight)),
        ("a;weight=1.5", hop(9, weight)),
        ("a;weight", hop(9, weight)),
        ("0.0.0.0", hop(9, machine)),
        ("sip:[::]:5060", hop(9, machine)),
        ("[::ffff:0.0.0.0]", hop(9, machine)),
        ("224.0.1.75", hop(9, machine)),
        ("[ff02::1]", hop(9, machine)),
        ("255.255.255.255", hop(9, machine)),
        ("a,b,c,d,e,f,g,h,i", "expected at most 8 hops, got 9".to_owned()),
        (&"a".repeat(1_017), "expected at most 1024 bytes, got 1025".to_owned()),
    ] {
        assert_eq!(error(list), message, "{list}");
    }
    assert!(!error("sip:1:secret@a").contains("secret"));
    let unknown = "expected `ok`, or `redirect:` or `forward:` and a SIP URI or host";
    for text in ["forward", "Forward:a", " forward:a", "proxy:a"] {
        assert_eq!(text.parse::<OnAccept>().unwrap_err().to_string(), unknown, "{text}");
    }
}

#[test]
fn a_hop_is_listed_once() {
    for (list, at) in [
        ("a,a", 11),
        ("sip:a;priority=1,  sip:A.;priority=2;weight=7", 28),
        ("a,b,a:5060", 13),
        ("sips:a,a:5061;transport=tls", 16),
        ("a;transport=tcp:,a", 9),
        ("a;transport=udp,a:5060;transport=UDP", 25),
        ("192.0.2.1,[::ffff:192.0.2.1]", 19),
        ("[2001:db8::1],[2001:DB8:0::1]:5060", 23),
    ] {
        let message = error(list);
        if list.contains("tcp:") {
            assert!(message.contains("transport"), "{message}");
            continue;
        }
        let repeated = "an earlier hop has the same host, port and transport";
        assert_eq!(message, format!("hop at position {at}: {repeated}"), "{list}");
    }
    for list in [
        "a,b",
        "a,a:5061",
        "a;transport=udp,a;transport=tcp,a;transport=tls,a",
        "a:5060,sips:a:5060",
        "192.0.2.1,[2001:db8::1]",
    ] {
        assert!(forward(list).hops().len() > 1, "{list}");
    }
}

/// A hop as its parts: scheme, host, port, transport, priority and weight.
type Parts =
    (Option<bool>, String, Option<u16>, Option<HopTransport>, Option<u16>, Option<u16>, bool);

fn parts() -> impl Strategy<Value = Parts> {
    let host = prop_oneof![
        3 => "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,5}){0,2}",
        1 => (1..=223_u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| format!("{a}.{b}.{c}.{d}")),
        1 => any::<u16>().prop_map(|last| format!("[2001:db8::1:{last:x}]")),
    ];
    let host = host.prop_filter("a scheme", |host| host != "sip" && host != "sips");
    let transport = proptest::option::of(proptest::sample::select(&HopTransport::ALL[..]));
    let some_u16 = || proptest::option::of(any::<u16>());
    let weight = proptest::option::of(1..=u16::MAX);
    let port = proptest::option::of(1..=u16::MAX);
    (proptest::option::of(any::<bool>()), host, port, transport, some_u16(), weight, any::<bool>())
        .prop_filter("sips over udp", |parts| parts.0 != Some(true) || parts.3 != Some(Udp))
}

fn text((is_sips, host, port, transport, priority, weight, lr): &Parts) -> String {
    let mut text = match is_sips {
        Some(true) => "sips:".to_owned(),
        Some(false) => "sip:".to_owned(),
        None => String::new(),
    };
    text += host;
    if let Some(port) = port {
        write!(text, ":{port}").unwrap();
    }
    if let Some(weight) = weight {
        write!(text, ";weight={weight}").unwrap();
    }
    if *lr {
        text += ";lr";
    }
    if let Some(transport) = transport {
        write!(text, ";transport={transport}").unwrap();
    }
    if let Some(priority) = priority {
        write!(text, ";priority={priority}").unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hops_survive_their_text_form(all in proptest::collection::vec(parts(), 1..=8)) {
        let list: Vec<_> = all.iter().map(text).collect();
        let written = format!("forward:{}", list.join(","));
        let read = written.parse::<OnAccept>();
        if let Err(OnAcceptError::Hop { error: HopError::Repeated, .. }) = read {
            return Ok(());
        }
        let read = read.unwrap();
        prop_assert_eq!(read.to_string(), &written[..]);
        prop_assert_eq!(&read.to_string().parse::<OnAccept>().unwrap(), &read);
        let OnAccept::Forward(forward) = &read else { panic!("{written}") };
        prop_assert_eq!(forward.hops().len(), all.len());
        for (hop, (is_sips, host, port, transport, priority, weight, _)) in
            forward.hops().iter().zip(&all)
        {
            let canonical = Host::parse(host).unwrap();
            prop_assert_eq!(hop.host(), &canonical);
            prop_assert_eq!(hop.port(), *port);
            let transport = if *is_sips == Some(true) { Some(Tls) } else { *transport };
            prop_assert_eq!(hop.transport(), transport);
            prop_assert_eq!(hop.priority(), priority.unwrap_or(0));
            prop_assert_eq!(hop.weight(), weight.unwrap_or(1));
        }
    }

    #[test]
    fn any_text_is_refused_or_survives(
        list in "(sips?:)?[a-z]{0,3}[-:.@,;?={}\\[\\] %0-9a-z\u{e4}]{0,12}(;(lr|q|maddr|weight|priority|transport)(=[a-z0-9]{0,5})?){0,3}",
    ) {
        if let Ok(read) = format!("forward:{list}").parse::<OnAccept>() {
            let OnAccept::Forward(forward) = &read else { panic!("{list}") };
            prop_assert!(!forward.hops().is_empty() && forward.hops().iter().all(|hop| hop.weight > 0));
            let foreign = ["@", "?", "{", "}", ";maddr", ";q"];
            prop_assert!(!foreign.iter().any(|foreign| list.contains(foreign)), "{}", list);
            prop_assert_eq!(read.to_string(), format!("forward:{list}"));
        }
    }
}
