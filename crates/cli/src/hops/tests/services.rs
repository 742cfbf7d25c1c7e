//! Hops whose SRV and NAPTR records come from a name server.

use super::name_server::NameServer;
use super::*;

/// Hops that are probed once a second, with names of this server.
async fn hops_at(server: &NameServer) -> Hops {
    server.ready().await;
    let options = HopOptions { probe_wait: SECOND / 2, ..options(1) };
    Hops::with_resolver(options, Arc::new(Inbox::default()), server.resolver.clone()).unwrap()
}

/// Sets the hops and waits for their names.
async fn set(hops: &Hops, forward: &Forward) {
    hops.set([forward]);
    hops.resolved(20 * SECOND).await;
    // on a slow machine the answer of the name server can come too late; it is asked again
    let is_late =
        |state: &HopState| state.reason.as_ref().is_some_and(|it| it.contains("timed out"));
    until(|| !hops.states().iter().any(is_late)).await;
}

fn srv(service: &str, target: &str, port: u16, priority: u16, weight: u16) -> String {
    format!("--srv-host=_{service}.pbx.example,{target}.example,{port},{priority},{weight}")
}

fn texts(records: &[String]) -> Vec<&str> {
    records.iter().map(String::as_str).collect()
}

const A: &str = "--host-record=a.example,127.0.0.1";
const B: &str = "--host-record=b.example,127.0.0.1";

async fn three() -> [Arc<UdpHop>; 3] {
    let start = || UdpHop::start("127.0.0.1:0");
    [start().await, start().await, start().await]
}

#[tokio::test]
async fn calls_leave_a_dead_target_and_come_back() {
    let [first, second, other] = three().await;
    let records = [
        srv("sip._udp", "a", first.address.port(), 10, 0),
        srv("sip._udp", "b", second.address.port(), 20, 0),
        A.to_owned(),
        B.to_owned(),
    ];
    let server = NameServer::start("failover", &texts(&records));
    let hops = hops_at(&server).await;
    let forward =
        forward(&format!("pbx.example;transport=udp;priority=1,{};priority=2", other.address));
    set(&hops, &forward).await;
    until(|| first.asked() > 0 && second.asked() > 0).await;
    until(|| all_go_to(&hops, &forward, &[first.address])).await;
    let table = hops.inner.table.load();
    let peer = &table.peers_at(&Leg::hop(Transport::Udp, first.address))[0].peer;
    let text = format!("hop pbx.example (udp {}, target a.example)", first.address);
    assert_eq!(peer.to_string(), text);
    first.set(0);
    until(|| all_go_to(&hops, &forward, &[second.address])).await;
    // the priority of the configuration comes before those of the records
    second.set(503);
    until(|| all_go_to(&hops, &forward, &[other.address])).await;
    let up: Vec<_> = hops.states().iter().map(|state| state.is_up).collect();
    assert_eq!(up[..2], [false, false]);
    second.set(200);
    until(|| all_go_to(&hops, &forward, &[second.address])).await;
    first.set(200);
    until(|| all_go_to(&hops, &forward, &[first.address])).await;
}

#[tokio::test]
async fn weights_share_that_of_the_hop_and_all_edges_choose_the_same() {
    let records = [
        srv("sip._udp", "a", 5070, 10, 75),
        srv("sip._udp", "b", 5071, 10, 25),
        srv("sip._udp", "a", 5072, 11, 9_000),
        srv("sip._udp", "a", 5073, 10, 0),
        A.to_owned(),
        "--host-record=b.example,127.0.0.2".to_owned(),
    ];
    let server = NameServer::start("weights", &texts(&records));
    let reversed: Vec<_> = texts(&records).into_iter().rev().collect();
    let twin = NameServer::start("twin", &reversed);
    let forward = forward("pbx.example;transport=udp,127.0.0.9:5060;transport=udp");
    let mut both = Vec::new();
    for server in [&server, &twin] {
        server.ready().await;
        let resolver = server.resolver.clone();
        let hops = Hops::with_resolver(options(0), Arc::new(Inbox::default()), resolver).unwrap();
        set(&hops, &forward).await;
        both.push(hops);
    }
    let spread = shares(&both[0], &forward);
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let of =
        |address| spread.iter().find(|share| share.0 == at(address)).map_or(0, |share| share.1);
    assert!((45..=55).contains(&of("127.0.0.9:5060")), "{spread:?}");
    assert!((33..=42).contains(&of("127.0.0.1:5070")), "{spread:?}");
    assert!((9..=16).contains(&of("127.0.0.2:5071")), "{spread:?}");
    assert_eq!(spread.len(), 3, "{spread:?}");
    for call in 0..200_u8 {
        let [one, two] = [&both[0], &both[1]].map(|it| it.choose(&forward, false, false, &[call]));
        assert_eq!(one, two);
    }
}

#[tokio::test]
async fn the_transport_is_that_of_the_records_and_of_the_caller() {
    let naptr = |name: &str, order: u16, service: &str, target: &str| {
        format!("--naptr-record={name}.example,{order},0,s,{service},,{target}.pbx.example")
    };
    let records = [
        srv("sip._udp", "a", 5070, 0, 0),
        srv("sip._tcp", "a", 5071, 0, 0),
        srv("sips._tcp", "a", 5072, 0, 0),
        naptr("tls", 1, "SIPS+D2T", "_sips._tcp"),
        naptr("tls", 2, "SIP+D2U", "_sip._udp"),
        naptr("udp", 1, "SIP+D2U", "_sip._udp"),
        naptr("last", 1, "SIP+D2T", "_sip._tcp"),
        naptr("last", 2, "SIP+D2U", "_sip._udp"),
        naptr("last", 3, "SIPS+D2T", "_sips._tcp"),
        "--srv-host=_sip._tcp.tcp.example,a.example,5073,0,0".to_owned(),
        "--host-record=plain.example,127.0.0.1".to_owned(),
        "--host-record=pbx.example,127.0.0.8".to_owned(),
        A.to_owned(),
    ];
    let server = NameServer::start("transports", &texts(&records));
    server.ready().await;
    let resolver = server.resolver.clone();
    let hops = Hops::with_resolver(options(0), Arc::new(Inbox::default()), resolver).unwrap();
    let [udp, tcp, tls] = [(Transport::Udp, 5070), (Transport::Tcp, 5071), (Transport::Tls, 5072)];
    let plain =
        |transport| Some((transport, if transport == Transport::Tls { 5061 } else { 5060 }));
    for (hop, over_udp, over_stream, sips) in [
        ("pbx.example", Some(udp), Some(tcp), None),
        ("sip:pbx.example;transport=udp", Some(udp), Some(udp), None),
        ("pbx.example;transport=tcp", Some(tcp), Some(tcp), None),
        ("pbx.example;transport=tls", Some(tls), Some(tls), Some(tls)),
        ("sips:pbx.example", Some(tls), Some(tls), Some(tls)),
        ("sips:tls.example", Some(tls), Some(tls), Some(tls)),
        // the records choose
        ("tls.example", Some(tls), Some(tls), Some(tls)),
        ("udp.example", Some(udp), None, None),
        ("last.example", Some(tcp), Some(tcp), Some(tls)),
        ("tcp.example", Some((Transport::Tcp, 5073)), Some((Transport::Tcp, 5073)), None),
        // a port is that of the name itself
        ("pbx.example:5060", plain(Transport::Udp), plain(Transport::Tcp), None),
        ("plain.example", plain(Transport::Udp), plain(Transport::Tcp), None),
        ("sips:plain.example", plain(Transport::Tls), plain(Transport::Tls), plain(Transport::Tls)),
    ] {
        let forward = forward(hop);
        set(&hops, &forward).await;
        let choose = |over_stream, only_tls| {
            let leg = hops.choose(&forward, over_stream, only_tls, b"1")?;
            assert!(hops.is_hop(&leg));
            let host = if hop == "pbx.example:5060" { 8 } else { 1 };
            assert_eq!(leg.address.ip(), IpAddr::from([127, 0, 0, host]), "{hop}");
            Some((leg.transport, leg.address.port()))
        };
        assert_eq!(choose(false, false), over_udp, "{hop}");
        assert_eq!(choose(true, false), over_stream, "{hop}");
        assert_eq!((choose(false, true), choose(true, true)), (sips, sips), "{hop}");
    }
}

#[tokio::test]
async fn a_target_that_moves_or_goes_stays_a_hop_for_dialogs() {
    let [a, b] = [srv("sip._udp", "a", 5070, 0, 0), srv("sip._udp", "b", 5071, 0, 0)];
    let (first, second) = ([a.as_str(), A], [b.as_str(), "--host-record=b.example,127.0.0.2"]);
    let mut server = NameServer::start("moves", &first);
    let hops = hops_at(&server).await;
    let forward = forward("pbx.example;transport=udp");
    set(&hops, &forward).await;
    let [old, new] = ["127.0.0.1:5070", "127.0.0.2:5071"].map(|text| text.parse().unwrap());
    assert_eq!(hops.choose(&forward, false, false, b"1"), Some(Leg::hop(Transport::Udp, old)));
    server.restart(&second).await;
    let at = |address| hops.states().iter().any(|state| state.address == Some(address));
    until(|| at(new)).await;
    assert!(!at(old) && hops.is_hop(&Leg::hop(Transport::Udp, old)));
    // no name server: the last ones stay
    server.stop();
    let place = hops.inner.plan().places()[0].clone();
    until(|| hops.inner.plan().error(&place).is_some()).await;
    assert!(at(new));
}

#[tokio::test]
async fn a_hop_without_service_has_a_state_with_the_reason() {
    let none = "--dns-rr=_sip._udp.pbx.example,33,00000000000000";
    let dead = "--srv-host=_sip._udp.dead.example,nowhere.example,5060,0,0";
    let server = NameServer::start("none", &[none, dead, "--host-record=pbx.example,127.0.0.1"]);
    let hops = hops_at(&server).await;
    for (name, reason) in [
        ("pbx.example", "the target of _sip._udp.pbx.example is `.`: there is no service"),
        ("dead.example", "it has no address"),
    ] {
        let forward = forward(&format!("{name};transport=udp"));
        set(&hops, &forward).await;
        assert_eq!(hops.choose(&forward, false, false, b"1"), None);
        let state = hops.states().remove(0);
        assert_eq!((state.address, state.reason.as_deref()), (None, Some(reason)));
    }
}

#[tokio::test]
async fn the_addresses_that_calls_go_to_are_bounded() {
    let mut records = Vec::new();
    for target in 0..16 {
        records.push(srv("sip._udp", &format!("t{target}"), 5060, 0, 1));
        for last in 1..=20 {
            records.push(format!("--host-record=t{target}.example,127.0.{target}.{last}"));
        }
    }
    let server = NameServer::start("bounds", &texts(&records));
    server.ready().await;
    let resolver = server.resolver.clone();
    let hops = Hops::with_resolver(options(0), Arc::new(Inbox::default()), resolver).unwrap();
    set(&hops, &forward("pbx.example;transport=udp")).await;
    assert_eq!(hops.states().len(), 64);
}
