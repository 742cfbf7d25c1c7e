use super::*;
use crate::hops::names::Resolver;
use crate::hops::tests::name_server::NameServer;

const SECOND: Duration = Duration::from_secs(1);

fn wanted(host: &str, transport: Option<Transport>) -> Wanted {
    let host = Host::parse(host).unwrap();
    Wanted { host, transport, naptr: transport.is_none(), tls: true }
}

/// The services of a hop, looked up once.
async fn look_up(resolver: &Resolver, wanted: &Wanted) -> (Services, Learned) {
    loop {
        let mut services = Services::default();
        let learned = services.refresh(&resolver.open().await, wanted).await;
        // on a slow machine the answer of the name server can come too late
        if services.error().is_none_or(|error| !error.contains("timed out")) {
            return (services, learned);
        }
    }
}

/// The targets in use: rank, transport, priority, weight, name and port.
fn routes(services: &Services) -> Vec<String> {
    let text = |route: &Route| {
        let Route { rank, transport, priority, weight, port, target } = route;
        let (transport, target) = (transport.as_str(), target.as_str());
        format!("{rank} {transport} {priority} {weight} {target}:{port}")
    };
    services.routes().iter().map(text).collect()
}

fn addresses(services: &Services) -> Vec<String> {
    services.addresses().current().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn srv_records_are_those_of_the_transport() {
    let server = NameServer::start(
        "srv",
        &[
            "--srv-host=_sip._udp.pbx.example,B.Example,5070,20,1",
            "--srv-host=_sip._udp.pbx.example,a.example,5071,10,30",
            "--srv-host=_sip._udp.pbx.example,c.example,5072,10,70",
            "--srv-host=_sip._tcp.pbx.example,a.example,5073,0,0",
            "--srv-host=_sips._tcp.pbx.example,a.example,5074,0,0",
            "--cname=alias.example,pbx.example",
            "--host-record=pbx.example,192.0.2.1",
        ],
    );
    server.ready().await;
    let udp = ["0 udp 10 70 c.example:5072", "0 udp 10 30 a.example:5071"];
    let udp = [&udp[..], &["0 udp 20 1 b.example:5070"]].concat();
    let tcp = "tcp 0 0 a.example:5073";
    for (transport, expected) in [
        (Some(Transport::Udp), udp.iter().map(ToString::to_string).collect()),
        (Some(Transport::Tcp), vec![format!("0 {tcp}")]),
        (Some(Transport::Tls), vec!["0 tls 0 0 a.example:5074".to_owned()]),
        // `sip:` has no `_sips` records
        (
            None,
            [&udp[..], &[&format!("1 {tcp}")]].concat().iter().map(ToString::to_string).collect(),
        ),
    ] {
        for name in ["pbx.example", "PBX.Example."] {
            let (services, learned) = look_up(&server.resolver, &wanted(name, transport)).await;
            assert_eq!(routes(&services), expected, "{name} {transport:?}");
            assert_eq!((addresses(&services), services.error()), (vec![], None));
            assert!(learned.changed && learned.news.is_none());
            assert!((5 * SECOND..=3_600 * SECOND).contains(&learned.again_in));
        }
    }
}

#[tokio::test]
async fn a_name_without_srv_records_has_its_addresses() {
    let records = [
        "--host-record=pbx.example,192.0.2.1,77",
        "--srv-host=_sip._udp.other.example,a.example,5070,0,0",
        "--host-record=other.example,192.0.2.2,77",
    ];
    let server = NameServer::start("no-srv", &records);
    server.ready().await;
    let (services, learned) = look_up(&server.resolver, &wanted("pbx.example", None)).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec!["192.0.2.1".to_owned()]));
    assert_eq!(services.transports(), [Transport::Udp, Transport::Tcp]);
    assert!(services.follows_caller() && learned.changed);
    assert!((70 * SECOND..=77 * SECOND).contains(&learned.again_in), "{learned:?}");
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let wanted = wanted("pbx.example", Some(transport));
        let (services, _) = look_up(&server.resolver, &wanted).await;
        assert_eq!(addresses(&services), ["192.0.2.1"]);
        assert_eq!(services.transports(), [transport]);
    }
    // records of one transport say that there is no other
    let (services, _) = look_up(&server.resolver, &wanted("other.example", None)).await;
    assert_eq!(routes(&services), ["0 udp 0 0 a.example:5070"]);
    assert!(addresses(&services).is_empty());
    // unless the hop names it
    let tcp = wanted("other.example", Some(Transport::Tcp));
    let (services, _) = look_up(&server.resolver, &tcp).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec!["192.0.2.2".to_owned()]));
    // nothing at all
    let (services, learned) = look_up(&server.resolver, &wanted("none.example", None)).await;
    assert_eq!(services.error(), Some("it has no address"));
    assert_eq!(learned.again_in, RETRY);
    assert_eq!(learned.news.as_deref(), Some("cannot be resolved: it has no address"));
}

#[tokio::test]
async fn the_target_of_one_dot_is_no_service() {
    let server = NameServer::start(
        "dot",
        &[
            // priority, weight, port and the root
            "--dns-rr=_sip._udp.pbx.example,33,00000000000000",
            "--dns-rr=_sip._tcp.half.example,33,00000000000000",
            "--srv-host=_sip._udp.half.example,a.example,5070,0,0",
            "--host-record=pbx.example,192.0.2.1",
            "--host-record=half.example,192.0.2.2",
        ],
    );
    server.ready().await;
    let udp = wanted("pbx.example", Some(Transport::Udp));
    let (services, learned) = look_up(&server.resolver, &udp).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec![]));
    let why = "the target of _sip._udp.pbx.example is `.`: there is no service";
    assert_eq!(services.error(), Some(why));
    assert_eq!(learned.news, Some(format!("cannot be resolved: {why}")));
    for name in ["pbx.example", "half.example"] {
        let (services, _) = look_up(&server.resolver, &wanted(name, None)).await;
        let is_half = name == "half.example";
        assert_eq!(routes(&services).len(), usize::from(is_half), "{name}");
        assert!(addresses(&services).is_empty() && services.error().is_none() == is_half);
    }
}

#[tokio::test]
async fn unusable_srv_records_are_left_out_and_their_number_is_bounded() {
    let many: Vec<_> = (0..40)
        .map(|n| format!("--srv-host=_sip._udp.many.example,t{n}.example,5060,{},1", 100 - n))
        .collect();
    let mut records: Vec<_> = many.iter().map(String::as_str).collect();
    records.extend([
        "--srv-host=_sip._udp.odd.example,a.example,0,0,0",
        "--srv-host=_sip._udp.odd.example,192.0.2.9,5060,0,0",
        "--srv-host=_sip._udp.odd.example,good_1.example,5060,7,0",
        "--srv-host=_sip._udp.odd.example,good_1.example,5060,8,0",
        "--srv-host=_sip._udp.odd.example,good_1.example,5061,9,0",
    ]);
    let server = NameServer::start("odd", &records);
    server.ready().await;
    let udp = |host| wanted(host, Some(Transport::Udp));
    let (services, _) = look_up(&server.resolver, &udp("odd.example")).await;
    let odd = ["0 udp 7 0 good_1.example:5060", "0 udp 9 0 good_1.example:5061"];
    assert_eq!(routes(&services), odd);
    // the preferred ones, whatever the order of the answer
    let (services, _) = look_up(&server.resolver, &udp("many.example")).await;
    let found = routes(&services);
    assert_eq!(found.len(), MAX_RECORDS);
    assert_eq!(found[0], "0 udp 61 1 t39.example:5060");
    assert_eq!(found[MAX_RECORDS - 1], "0 udp 76 1 t24.example:5060");
}

#[tokio::test]
async fn naptr_records_choose_transports_and_names() {
    let naptr = |name: &str, order: u16, preference: u16, service: &str, target: &str| {
        format!("--naptr-record={name}.example,{order},{preference},s,{service},,{target}")
    };
    let records = [
        naptr("pbx", 90, 2, "SIP+D2U", "_sip._udp.real.example"),
        naptr("pbx", 90, 1, "sip+d2t", "_sip._tcp.Real.example"),
        naptr("pbx", 10, 0, "SIP+D2S", "_sip._sctp.real.example"),
        naptr("pbx", 20, 0, "E2U+sip", "_sip._tcp.wrong.example"),
        naptr("secure", 50, 50, "SIPS+D2T", "_sips._tcp.real.example"),
        naptr("secure", 90, 50, "SIP+D2T", "_sip._tcp.real.example"),
        naptr("secure", 40, 50, "SIP+D2U", "_sip._udp.real.example"),
        naptr("only", 50, 50, "SIPS+D2T", "_sips._tcp.real.example"),
        // without SRV records: its own addresses over TCP
        naptr("bare", 50, 50, "SIP+D2T", "_sip._tcp.missing.example"),
        // of no use
        "--naptr-record=odd.example,1,1,a,SIP+D2U,,real.example".to_owned(),
        "--naptr-record=odd.example,1,1,u,SIP+D2U,!.*!sip:a@real.example!".to_owned(),
        "--naptr-record=odd.example,1,1,s,SIP+D2U,!.*!real.example!,_sip._udp.real.example"
            .to_owned(),
        "--naptr-record=odd.example,1,1,s,SIP+D2U,".to_owned(),
        "--srv-host=_sip._udp.real.example,u.example,5070,0,0".to_owned(),
        "--srv-host=_sip._tcp.real.example,t.example,5071,0,0".to_owned(),
        "--srv-host=_sips._tcp.real.example,s.example,5072,0,0".to_owned(),
        "--srv-host=_sip._udp.odd.example,own.example,5073,0,0".to_owned(),
        "--srv-host=_sip._tcp.pbx.example,own.example,5073,0,0".to_owned(),
        "--srv-host=_sips._tcp.pbx.example,own.example,5074,0,0".to_owned(),
        "--host-record=bare.example,192.0.2.1".to_owned(),
    ];
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let server = NameServer::start("naptr", &records);
    server.ready().await;
    let [t, u, s] = ["tcp 0 0 t.example:5071", "udp 0 0 u.example:5070", "tls 0 0 s.example:5072"];
    let ranked = |all: &[&str]| -> Vec<String> {
        all.iter().enumerate().map(|(rank, route)| format!("{rank} {route}")).collect()
    };
    let sip = |host| wanted(host, None);
    let sips = |host| Wanted { naptr: true, ..wanted(host, Some(Transport::Tls)) };
    let no_tls = |host| Wanted { tls: false, ..sip(host) };
    for (wanted, expected) in [
        (sip("pbx.example"), ranked(&[t, u])),
        // nothing without TLS behind TLS
        (sip("secure.example"), ranked(&[u, s])),
        (no_tls("secure.example"), ranked(&[u, t])),
        (sip("only.example"), ranked(&[s])),
        (sips("secure.example"), ranked(&[s])),
        // no record for `sips:`
        (sips("pbx.example"), ranked(&["tls 0 0 own.example:5074"])),
        // with a transport they do not count
        (self::wanted("pbx.example", Some(Transport::Tcp)), ranked(&["tcp 0 0 own.example:5073"])),
        (sip("odd.example"), ranked(&["udp 0 0 own.example:5073"])),
        (no_tls("only.example"), vec![]),
    ] {
        let (services, _) = look_up(&server.resolver, &wanted).await;
        assert_eq!(routes(&services), expected, "{wanted:?}");
        assert_eq!(services.error().is_some(), expected.is_empty(), "{wanted:?}");
    }
    let (services, _) = look_up(&server.resolver, &sip("bare.example")).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec!["192.0.2.1".to_owned()]));
    assert!(services.transports() == [Transport::Tcp] && !services.follows_caller());
}

#[tokio::test]
async fn the_last_records_stay_in_use_while_no_name_server_answers() {
    let naptr = "--naptr-record=pbx.example,1,1,s,SIP+D2T,,_sip._tcp.real.example";
    let srv = "--srv-host=_sip._tcp.real.example,t.example,5071,0,0";
    let mut server = NameServer::start("fails", &[naptr, srv]);
    server.ready().await;
    let wanted = wanted("pbx.example", None);
    let (mut services, _) = look_up(&server.resolver, &wanted).await;
    server.stop();
    for is_first in [true, false] {
        let learned = services.refresh(&server.resolver.open().await, &wanted).await;
        assert_eq!(routes(&services), ["0 tcp 0 0 t.example:5071"]);
        assert_eq!((learned.again_in, learned.changed), (RETRY, false));
        assert_eq!(learned.news.is_some(), is_first);
        assert!(services.error().is_some());
    }
    let srv = "--srv-host=_sip._tcp.real.example,new.example,5071,0,0";
    server.restart(&[naptr, srv]).await;
    let learned = services.refresh(&server.resolver.open().await, &wanted).await;
    let news = "is resolved again: new.example:5071 (tcp, priority 0, weight 0)";
    assert_eq!((learned.news.as_deref(), services.error()), (Some(news), None));
    let former: Vec<_> = services.former().map(|route| route.target.as_str()).collect();
    assert_eq!(former, ["t.example"]);
    // without records the addresses are in use at once
    server.restart(&["--host-record=pbx.example,192.0.2.1"]).await;
    let learned = services.refresh(&server.resolver.open().await, &wanted).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec!["192.0.2.1".to_owned()]));
    assert_eq!(learned.news.as_deref(), Some("has other addresses: 192.0.2.1"));
    assert_eq!(services.former().count(), 2);
    // and back
    server.restart(&[naptr, srv]).await;
    services.refresh(&server.resolver.open().await, &wanted).await;
    assert_eq!((routes(&services).len(), services.former().count()), (1, 1));
    let known: Vec<_> = services.addresses().iter().map(|(_, is_current)| is_current).collect();
    assert_eq!(known, [false]);
}

/// A round in which these answers came.
fn learn(services: &mut Services, wanted: &Wanted, srv: Answer<Srv>, found: Found) -> Learned {
    let before = services.clone();
    let mut round = Round { again_in: TTL[1], failure: None };
    let all = services.services(wanted);
    assert_eq!(all.len(), 1);
    services.learn_srv(all, vec![srv], &mut round);
    if services.sets.is_empty() {
        services.learn_addresses(found, &before, &mut round);
    }
    services.conclude(&before, round)
}

fn srv(target: &str) -> Answer<Srv> {
    let target = Some(Host::parse(target).unwrap());
    Answer::Records(vec![Srv { priority: 0, weight: 0, port: 5060, target }], 60 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn srv_records_that_are_gone_stay_in_use_for_an_hour_if_there_is_no_address() {
    let udp = wanted("pbx.example", Some(Transport::Udp));
    let none = || Found::of(Vec::new(), SECOND);
    let mut services = Services::default();
    learn(&mut services, &udp, srv("a.example"), none());
    for minutes in [1, 59] {
        tokio::time::advance(minutes * 30 * SECOND).await;
        let learned = learn(&mut services, &udp, Answer::None, none());
        assert_eq!((learned.changed, learned.again_in), (false, RETRY));
        assert_eq!(routes(&services), ["0 udp 0 0 a.example:5060"]);
    }
    tokio::time::advance(1_800 * SECOND).await;
    let learned = learn(&mut services, &udp, Answer::None, none());
    assert!(learned.changed && routes(&services).is_empty());
    let news = "has no address in use: it has no address";
    assert_eq!(learned.news.as_deref(), Some(news));
    // dialogs go on for twelve hours
    assert_eq!(services.former().count(), 1);
    tokio::time::advance(12 * 3_600 * SECOND).await;
    learn(&mut services, &udp, Answer::None, none());
    assert_eq!(services.former().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_fails_for_srv_does_not_take_the_addresses_away() {
    let udp = wanted("pbx.example", Some(Transport::Udp));
    let mut services = Services::default();
    let one = || Found::of(vec![[192, 0, 2, 1].into()], 60 * SECOND);
    let failed = || Answer::Failed("server failure".to_owned());
    let learned = learn(&mut services, &udp, failed(), one());
    assert_eq!((addresses(&services), learned.again_in), (vec!["192.0.2.1".to_owned()], RETRY));
    let news = "cannot be resolved: _sip._udp.pbx.example: server failure; in use: 192.0.2.1";
    assert_eq!(learned.news.as_deref(), Some(news));
    learn(&mut services, &udp, srv("a.example"), one());
    assert_eq!(services.error(), None);
    // not with known records: these stay, under another name too
    learn(&mut services, &udp, failed(), one());
    assert_eq!(routes(&services), ["0 udp 0 0 a.example:5060"]);
    learn(&mut services, &wanted("other.example", Some(Transport::Udp)), failed(), one());
    assert_eq!(routes(&services), ["0 udp 0 0 a.example:5060"]);
}

#[tokio::test]
async fn an_alias_has_addresses_and_the_file_of_hosts_comes_first() {
    let records = [
        "--cname=one.example,alias.example",
        "--host-record=alias.example,192.0.2.1",
        "--srv-host=_sip._udp.localhost,a.example,5070,0,0",
    ];
    let server = NameServer::start("aliases", &records);
    server.ready().await;
    let udp = |name| wanted(name, Some(Transport::Udp));
    let (services, _) = look_up(&server.resolver, &udp("one.example")).await;
    assert_eq!((routes(&services), addresses(&services)), (vec![], vec!["192.0.2.1".to_owned()]));
    for wanted in [udp("localhost"), wanted("localhost", None)] {
        let (services, _) = look_up(&server.resolver, &wanted).await;
        assert!(routes(&services).is_empty() && services.addresses().has_current());
        assert_eq!(services.transports().len(), 1 + usize::from(wanted.transport.is_none()));
    }
}

#[tokio::test]
async fn naptr_records_of_one_preference_have_one_order_on_all_edges() {
    let naptr = |service: &str, name: &str| {
        format!("--naptr-record=pbx.example,1,1,S,{service},,{name}.example")
    };
    let mut records: Vec<_> = (0..9).map(|n| naptr("SIP+D2T", &format!("t{n}"))).collect();
    records.extend([naptr("SIP+D2U", "u"), naptr("SIP+D2T", "T0")]);
    records.extend((0..9).map(|n| format!("--srv-host=t{n}.example,a.example,507{n},0,0")));
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let server = NameServer::start("ties", &records);
    server.ready().await;
    let (services, _) = look_up(&server.resolver, &wanted("pbx.example", None)).await;
    let first = (0..MAX_SERVICES).map(|n| format!("{n} tcp 0 0 a.example:507{n}"));
    assert_eq!(routes(&services), first.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_number_of_former_targets_is_bounded() {
    let udp = wanted("pbx.example", Some(Transport::Udp));
    let mut services = Services::default();
    for n in 0..100 {
        let found = Found::of(Vec::new(), SECOND);
        learn(&mut services, &udp, srv(&format!("t{n}.example")), found);
    }
    let former: Vec<_> = services.former().map(|route| route.target.as_str()).collect();
    assert_eq!((former.len(), former[0]), (MAX_FORMER, "t98.example"));
}

#[tokio::test]
async fn srv_records_behind_an_alias_are_used() {
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::op::{Message, OpCode};
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::{CNAME, SRV};

    // dnsmasq has no aliases of SRV records
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut udp = ConnectionConfig::udp();
    udp.port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let asked = query.queries[0].clone();
            let named = |text: &str| Name::from_ascii(text).unwrap();
            let (name, real) = (asked.name().clone(), named("_sip._udp.real.example."));
            let mut answer = Message::response(query.id, OpCode::Query);
            let host = name.to_ascii().to_ascii_lowercase();
            let alias = match host.strip_prefix("_sip._udp.").unwrap_or_default() {
                "alias.example." => Some(named("_sip._udp.next.example.")),
                "next.example." => Some(real.clone()),
                "loop.example." => Some(name.clone()),
                _ => None,
            };
            if let Some(alias) = alias {
                let alias = RData::CNAME(CNAME(alias));
                answer.add_answer(Record::from_rdata(name.clone(), 30, alias));
            }
            let is_alias = ["alias.", "next."].iter().any(|it| host.contains(it));
            if asked.query_type() == RecordType::SRV && (is_alias || name == real) {
                let srv = SRV::new(1, 2, 5070, named("A.example."));
                answer.add_answer(Record::from_rdata(real, 60, RData::SRV(srv)));
            }
            answer.add_query(asked);
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let server = NameServerConfig::new([127, 0, 0, 1].into(), true, vec![udp]);
    let resolver = Resolver::at(ResolverConfig::from_name_servers(vec![server]));
    let udp = |host| wanted(host, Some(Transport::Udp));
    for host in ["real.example", "next.example", "alias.example"] {
        let (services, learned) = look_up(&resolver, &udp(host)).await;
        assert_eq!(routes(&services), ["0 udp 1 2 a.example:5070"], "{host}");
        let ttl = if host == "real.example" { 60 } else { 30 };
        // less the time until it was read
        assert!((ttl - 20..=ttl).contains(&learned.again_in.as_secs()), "{host} {learned:?}");
    }
    for host in ["loop.example", "other.example"] {
        let (services, _) = look_up(&resolver, &udp(host)).await;
        assert_eq!((routes(&services), services.error().is_some()), (vec![], true), "{host}");
    }
}
