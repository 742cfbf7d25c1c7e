use super::*;

/// An address without a hop: nothing answers there, but nothing probes it either.
fn at(n: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, n], port))
}

#[tokio::test]
async fn calls_are_spread_by_weight_among_the_lowest_priority() {
    let (hops, _) = hops(0);
    let text =
        "127.0.0.1;priority=1;weight=3,127.0.0.2:5070;priority=1,127.0.0.3;priority=2;weight=9";
    let forward = forward(text);
    assert_eq!(hops.choose(&forward, false, false, b"1"), None);
    hops.set([&forward]);
    let shares = shares(&hops, &forward);
    assert_eq!(shares.iter().map(|share| share.0).collect::<Vec<_>>(), [at(1, 5060), at(2, 5070)]);
    assert!((70..=80).contains(&shares[0].1), "{shares:?}");
    // a call keeps its hop
    let choice = hops.choose(&forward, false, false, b"call");
    assert!((0..10).all(|_| hops.choose(&forward, false, false, b"call") == choice));
}

#[tokio::test]
async fn the_transport_is_that_of_the_hop_or_of_the_caller() {
    let (hops, _) = hops(0);
    let cases = [
        ("127.0.0.1", Transport::Udp, Transport::Tcp, 5060, None),
        ("127.0.0.1:5;transport=udp", Transport::Udp, Transport::Udp, 5, None),
        ("127.0.0.1;transport=tcp", Transport::Tcp, Transport::Tcp, 5060, None),
        ("127.0.0.1;transport=tls", Transport::Tls, Transport::Tls, 5061, Some(Transport::Tls)),
        ("sips:127.0.0.1:6", Transport::Tls, Transport::Tls, 6, Some(Transport::Tls)),
    ];
    for (text, over_udp, over_stream, port, only_tls) in cases {
        let forward = forward(text);
        hops.set([&forward]);
        let leg = |transport| Leg::hop(transport, at(1, port));
        assert_eq!(hops.choose(&forward, false, false, b"1"), Some(leg(over_udp)), "{text}");
        assert_eq!(hops.choose(&forward, true, false, b"1"), Some(leg(over_stream)), "{text}");
        assert_eq!(hops.choose(&forward, true, true, b"1"), only_tls.map(leg), "{text}");
    }
}

#[tokio::test]
async fn only_configured_hops_are_hops() {
    let (hops, _) = hops(0);
    let [first, second] = ["127.0.0.1:7;transport=udp,[2001:db8::1]", "127.0.0.2"].map(forward);
    hops.set([&first, &second]);
    let leg = |transport, text: &str| Leg::hop(transport, text.parse().unwrap());
    let v6 = "[2001:db8::1]:5060";
    for (leg, is_hop) in [
        (leg(Transport::Udp, "127.0.0.1:7"), true),
        (leg(Transport::Udp, "[::ffff:127.0.0.1]:7"), true),
        (leg(Transport::Tcp, "127.0.0.1:7"), false),
        (leg(Transport::Udp, "127.0.0.1:8"), false),
        (leg(Transport::Udp, v6), true),
        (leg(Transport::Tcp, v6), true),
        (leg(Transport::Tls, v6), false),
        (leg(Transport::Udp, "127.0.0.2:5060"), true),
        (leg(Transport::Udp, "127.0.0.3:5060"), false),
    ] {
        assert_eq!(hops.is_hop(&leg), is_hop, "{leg:?}");
        let way = sip_authz_proxy::Way::Listener(0);
        assert!(!hops.is_hop(&Leg { way, ..leg }));
    }
    // removed ones are none
    hops.set([&second]);
    let is_hop = |last| hops.is_hop(&Leg::hop(Transport::Udp, at(last, 5060)));
    assert!(!hops.is_hop(&leg(Transport::Udp, v6)) && is_hop(2));
    assert_eq!(hops.choose(&first, false, false, b"1"), None);
    hops.set([]);
    assert!(!is_hop(2) && hops.states().is_empty());
}

#[tokio::test]
async fn the_addresses_of_a_name_share_its_weight() {
    let (hops, _) = hops(0);
    let pbx = forward("pbx.example:5060,127.0.0.9");
    hops.set([&pbx]);
    // an address counts at once, a name once it is resolved
    assert!(all_go_to(&hops, &pbx, &[at(9, 5060)]));
    let learn = |text: &str| {
        let ips = text.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let host = pbx.hops()[0].host();
        hops.inner.learn(host, Found::of(ips, SECOND))
    };
    assert_eq!(learn("127.0.0.1 127.0.0.2"), 5 * SECOND);
    let spread = shares(&hops, &pbx);
    let of = |last| spread.iter().find(|share| share.0 == at(last, 5060)).unwrap().1;
    assert!((20..=30).contains(&of(1)) && (20..=30).contains(&of(2)), "{spread:?}");
    assert!((45..=55).contains(&of(9)), "{spread:?}");
    // dialogs still use a former address, new calls do not
    learn("127.0.0.2");
    assert!(all_go_to(&hops, &pbx, &[at(2, 5060), at(9, 5060)]));
    assert!(hops.is_hop(&Leg::hop(Transport::Udp, at(1, 5060))));
    let states: Vec<_> = hops.states().into_iter().filter_map(|state| state.address).collect();
    assert!(!states.contains(&at(1, 5060)), "{states:?}");
}

#[tokio::test]
async fn a_name_of_the_system_is_resolved() {
    let (hops, _) = hops(0);
    let local = forward("localhost:9");
    hops.set([&local]);
    assert_eq!(hops.states()[0].address, None);
    hops.resolved(10 * SECOND).await;
    let leg = hops.choose(&local, false, false, b"1").unwrap();
    assert!(leg.address.ip().is_loopback() && leg.address.port() == 9);
}
