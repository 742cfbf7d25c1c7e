use sip_authz::Transport;

use super::*;

const PROXY: &str = "192.0.2.1:5060";

fn proxies(place: SourcePlace) -> TrustedProxies {
    let prefixes = ["192.0.2.1", "10.0.0.0/24", "2001:db8::5"];
    TrustedProxies::new(prefixes.map(|prefix| prefix.parse().unwrap()).into(), place)
}

/// The source of an INVITE with these lines at its start, that `peer` sent.
fn source_of(place: SourcePlace, lines: &str, peer: &str) -> Source {
    let text = format!(
        "INVITE sip:1@a SIP/2.0\r\n{lines}From: <sip:a@b>;tag=1\r\nTo: <sip:1@a>\r\nCall-ID: 1\r\n\
         CSeq: 1 INVITE\r\n\r\n"
    );
    let message = Message::scan(text.as_bytes()).unwrap();
    let (source, local) = (peer.parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
    let peer = Peer { source, local, transport: Transport::Udp };
    proxies(place).caller(Some(&message), peer).source
}

fn known(text: &str) -> Source {
    Source::Known(text.parse().unwrap())
}

fn by_header(lines: &str) -> Source {
    let place = SourcePlace::Header("X-Authz-Source".to_owned());
    source_of(place, &format!("Via: SIP/2.0/UDP 192.0.2.1\r\n{lines}"), PROXY)
}

#[test]
fn the_only_header_of_a_trusted_proxy_names_the_source() {
    for (value, expected) in [
        ("198.51.100.7:5061", "198.51.100.7:5061"),
        ("198.51.100.7", "198.51.100.7:0"),
        ("198.51.100.7:0", "198.51.100.7:0"),
        ("[2001:db8::7]:5061", "[2001:db8::7]:5061"),
        ("[2001:db8::7]", "[2001:db8::7]:0"),
        ("[::ffff:198.51.100.7]:5061", "198.51.100.7:5061"),
        ("  \t198.51.100.7:5061 ", "198.51.100.7:5061"),
        ("\r\n 198.51.100.7:5061\r\n ", "198.51.100.7:5061"),
    ] {
        for name in ["X-Authz-Source", "x-authz-source", "X-AUTHZ-SOURCE ", "X-Authz-source\t"] {
            let lines = format!("{name}: {value}\r\n");
            assert_eq!(by_header(&lines), known(expected), "{lines:?}");
        }
    }
}

#[test]
fn case_34_a_header_that_is_missing_or_malformed_names_no_source() {
    assert_eq!(by_header(""), Source::Unknown);
    for value in [
        "",
        "unknown",
        "198.51.100",
        "198.51.100.7:",
        "198.51.100.7:x",
        "198.51.100.7:+5060",
        "198.51.100.7:65536",
        "198.51.100.7:5060:1",
        "198.51.100.7 :5060",
        "198.51.100.7: 5060",
        "198.51.100.7 5060",
        "198.051.100.7:5060",
        "198.51.100.7:5060, 203.0.113.1:5060",
        "198.51.100.7:5060;x=y",
        "\"198.51.100.7:5060\"",
        "sip:198.51.100.7:5060",
        "198.51.100.7\r\n :5060",
        "198.51.100.7:5060\0",
        "\u{b}198.51.100.7:5060",
        "0x7f.0.0.1",
        "3325256711",
        "198.51.100.0/24",
        // an address without brackets, or an address and a port
        "2001:db8::7:5060",
        "2001:db8::7",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]5060",
        "[2001:db8::7]:",
        "[fe80::1%1]:5060",
        "[198.51.100.7]:5060",
        "[]:5060",
        // no packet comes from these
        "0.0.0.0:5060",
        "255.255.255.255",
        "239.0.0.1:5060",
        "[::]:5060",
        "[ff02::1]",
        "[::ffff:0.0.0.0]",
    ] {
        let lines = format!("X-Authz-Source: {value}\r\n");
        assert_eq!(by_header(&lines), Source::Unknown, "{lines:?}");
    }
}

#[test]
fn case_34_a_second_header_in_any_spelling_makes_the_source_unknown() {
    let one = "X-Authz-Source: 198.51.100.7:5061\r\n";
    for other in [
        one,
        "X-Authz-Source: 203.0.113.1:1\r\n",
        "x-authz-source: 203.0.113.1:1\r\n",
        "X-authz-source : 203.0.113.1:1\r\n",
        "X-AUTHZ-SOURCE\t \t:203.0.113.1:1\r\n",
        "X-Authz-Source:\r\n 203.0.113.1:1\r\n",
        "X-Authz-Source:\r\n",
        "X-Authz-Source: x\r\n",
    ] {
        for lines in [format!("{one}{other}"), format!("{other}Subject: x\r\n{one}")] {
            assert_eq!(by_header(&lines), Source::Unknown, "{lines:?}");
        }
    }
    // other names are other headers
    for other in ["X-Authz-Source2", "XX-Authz-Source", "X_Authz_Source", "X-Authz-Sourc\u{17f}"] {
        let lines = format!("{one}{other}: 203.0.113.1:1\r\n");
        assert_eq!(by_header(&lines), known("198.51.100.7:5061"), "{lines:?}");
    }
}

#[test]
fn case_34_nothing_that_another_peer_says_counts() {
    let lines = "Via: SIP/2.0/UDP 192.0.2.1\r\n\
        Via: SIP/2.0/UDP 203.0.113.1;received=203.0.113.1;rport=1\r\n\
        X-Authz-Source: 203.0.113.1:1\r\n";
    for place in [SourcePlace::Header("X-Authz-Source".to_owned()), SourcePlace::Via] {
        for peer in ["192.0.2.2:5060", "10.0.1.0:5060", "[2001:db8::6]:5060", "203.0.113.9:5060"] {
            assert_eq!(source_of(place.clone(), lines, peer), known(peer));
        }
        for peer in [PROXY, "10.0.0.9:1", "[2001:db8::5]:5060", "[::ffff:192.0.2.1]:5060"] {
            assert_eq!(source_of(place.clone(), lines, peer), known("203.0.113.1:1"), "{peer}");
        }
    }
}

/// The source by Via of a request that the proxy sends on. `below` are the fields below its own Via.
fn by_via(below: &str) -> Source {
    let own = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKp;rport;received=203.0.113.66\r\n";
    source_of(SourcePlace::Via, &format!("{own}{below}"), PROXY)
}

#[test]
fn the_via_below_the_last_trusted_proxy_names_the_source() {
    let deeper = "Via: SIP/2.0/UDP 203.0.113.1;received=203.0.113.1;rport=1\r\n";
    for (value, expected) in [
        ("SIP/2.0/UDP a.example;branch=x;received=198.51.100.7;rport=5061", "198.51.100.7:5061"),
        ("SIP/2.0/UDP 10.9.9.9:5060;rport=5061;received=198.51.100.7", "198.51.100.7:5061"),
        ("SIP/2.0/UDP 10.9.9.9;RECEIVED = 198.51.100.7 ; RPort = 5061", "198.51.100.7:5061"),
        ("SIP/2.0/UDP 10.9.9.9;received=198.51.100.7", "198.51.100.7:0"),
        ("SIP/2.0/UDP 10.9.9.9:5070;received=198.51.100.7;rport", "198.51.100.7:0"),
        ("SIP/2.0/UDP 10.9.9.9;received=198.51.100.7;rport=x", "198.51.100.7:0"),
        ("SIP/2.0/UDP 10.9.9.9;received=2001:db8::7;rport=5061", "[2001:db8::7]:5061"),
        ("SIP/2.0/UDP 10.9.9.9;received=[2001:db8::7];rport=5061", "[2001:db8::7]:5061"),
        ("SIP/2.0/UDP h;received=::ffff:198.51.100.7;rport=5061", "198.51.100.7:5061"),
        // sent-by is the source if the proxy added no `received` (RFC 3261 §18.2.1)
        ("SIP/2.0/UDP 198.51.100.7:5070;branch=x", "198.51.100.7:0"),
        ("SIP/2.0/TCP [2001:db8::7]:5070;branch=x", "[2001:db8::7]:0"),
        ("SIP/2.0/UDP 198.51.100.7;rport=9", "198.51.100.7:0"),
        ("SIP / 2.0 / UDP 10.9.9.9;xreceived=1;received=198.51.100.7", "198.51.100.7:0"),
    ] {
        for below in [
            format!("Via: {value}\r\n{deeper}"),
            format!("v:{value}\r\n{deeper}"),
            format!("VIA : {value},SIP/2.0/UDP b;received=203.0.113.1\r\n{deeper}"),
            format!("Via: SIP/2.0/UDP 10.0.0.5, {value}\r\n{deeper}"),
            format!("Via: SIP/2.0/UDP a;received=10.0.0.5;rport=5060\r\nv: {value}\r\n{deeper}"),
            format!(
                "Via: SIP/2.0/UDP a;received=2001:db8::5 , SIP/2.0/TLS 10.0.0.255\r\nV: {value}\r\n"
            ),
        ] {
            assert_eq!(by_via(&below), known(expected), "{below:?}");
        }
        // the proxy's own Via and the caller's in one field
        let joined = format!("Via: SIP/2.0/UDP 192.0.2.1,{value}\r\n{deeper}");
        assert_eq!(source_of(SourcePlace::Via, &joined, PROXY), known(expected), "{joined:?}");
    }
}

#[test]
fn case_34_a_via_that_is_missing_or_ambiguous_names_no_source() {
    assert_eq!(by_via(""), Source::Unknown);
    assert_eq!(by_via("Via: SIP/2.0/UDP 10.0.0.5\r\n"), Source::Unknown, "trusted to the end");
    let deeper = "Via: SIP/2.0/UDP 203.0.113.1;received=203.0.113.1;rport=1\r\n";
    for value in [
        "",
        "x",
        "SIP/2.0/UDP phone.example",
        "SIP/2.0/UDP phone.example;rport=5061",
        "SIP/2.0/UDP 198.51.100.7;received=",
        "SIP/2.0/UDP 198.51.100.7;received",
        "SIP/2.0/UDP 198.51.100.7;received=phone.example",
        "SIP/2.0/UDP 198.51.100.7;received=198.51.100.7:5060",
        "SIP/2.0/UDP 198.51.100.7;received=198.051.100.7",
        "SIP/2.0/UDP 198.51.100.7;received=0.0.0.0",
        "SIP/2.0/UDP 198.51.100.7;received=fe80::1%1",
        "SIP/2.0/UDP 198.051.100.007",
        "SIP/2.0/UDP [198.51.100.7]",
        "SIP/2.0/UDP 0.0.0.0",
        "SIP/2.0/UDP 239.1.1.1",
        "SIP/1.0/UDP 198.51.100.7;received=198.51.100.7",
        "SIP/2.0/UDP 198.51.100.7;;received=198.51.100.7",
        // parsers could end these in another place
        "SIP/2.0/UDP 198.51.100.7;x=\"\\\";received=203.0.113.9,SIP/2.0/UDP h;y=\"",
        "SIP/2.0/UDP 198.51.100.7;x=\"a\";received=198.51.100.7",
        "SIP/2.0/UDP 198.51.100.7 (;received=203.0.113.9)",
        "SIP/2.0/UDP 198.51.100.7;x=\\,received=203.0.113.9",
        "SIP/2.0/UDP 198.51.100.7;x=<,>",
        "SIP/2.0/UDP 198.51.100.7\r\n ;received=203.0.113.9",
        "SIP/2.0/UDP 198.51.100.7;x=\u{e4}",
    ] {
        for below in [
            format!("Via: {value}\r\n{deeper}"),
            format!("v: SIP/2.0/UDP 10.0.0.5,{value}\r\n{deeper}"),
        ] {
            assert_eq!(by_via(&below), Source::Unknown, "{below:?}");
        }
    }
    // a control character in any Via
    let control = format!("Via: SIP/2.0/UDP 198.51.100.7\r\nVia: SIP/2.0/UDP h\u{b}\r\n{deeper}");
    assert_eq!(by_via(&control), Source::Unknown);
}

#[test]
fn case_34_a_doubled_received_or_rport_is_refused() {
    for params in [
        "received=203.0.113.1;received=198.51.100.7",
        "received=198.51.100.7;rport=5061;Received=198.51.100.7",
        "received;received=198.51.100.7",
        "RECEIVED =203.0.113.1;x;received=198.51.100.7;rport=5061",
        "received=198.51.100.7;rport;rport=5061",
        "received=198.51.100.7;rport=5061;RPORT =9",
        "rport;rport",
    ] {
        let via = format!("Via: SIP/2.0/UDP 198.51.100.7;branch=x;{params}\r\n");
        assert_eq!(by_via(&via), Source::Repeated, "{params}");
        let below_a_trusted_one = format!("Via: SIP/2.0/UDP 10.0.0.5\r\n{via}");
        assert_eq!(by_via(&below_a_trusted_one), Source::Repeated, "{params}");
        // below the caller's own Via it says nothing
        let deeper = format!("Via: SIP/2.0/UDP 198.51.100.7\r\n{via}");
        assert_eq!(by_via(&deeper), known("198.51.100.7:0"), "{params}");
    }
}

#[test]
fn bytes_of_a_trusted_proxy_that_are_no_message_have_an_unknown_source() {
    let peer = |source: &str| {
        let (source, local) = (source.parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
        Peer { source, local, transport: Transport::Udp }
    };
    let proxies = proxies(SourcePlace::Via);
    assert_eq!(proxies.caller(None, peer(PROXY)).source, Source::Unknown);
    assert_eq!(proxies.caller(None, peer("192.0.2.2:1")).source, known("192.0.2.2:1"));
    assert_eq!(Source::Unknown.to_string(), "unknown");
    assert_eq!(known("[::ffff:192.0.2.2]:1").to_string(), "192.0.2.2:1");
}
