use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

use super::*;
use crate::hops::tests::name_server::NameServer;

fn ips(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
}

fn found(v4: Answer, v6: Answer) -> Found {
    Found { kinds: [v4, v6] }
}

fn some(text: &str, seconds: u64) -> Answer {
    Answer::Records(ips(text), Duration::from_secs(seconds))
}

fn failed() -> Answer {
    Answer::Failed("timed out".to_owned())
}

#[tokio::test]
async fn names_are_looked_up_at_a_name_server() {
    let records = [
        "--host-record=pbx.example,192.0.2.1,2001:db8::1,77",
        "--cname=alias.example,pbx.example,99",
    ];
    let more = ["--host-record=two.example,192.0.2.2,5", "--host-record=two.example,192.0.2.3,5"];
    let bad = ["--host-record=bad.example,0.0.0.0", "--host-record=bad.example,224.0.0.1"];
    let server = NameServer::start("names", &[&records[..], &more, &bad].concat());
    let sorted = |answer: &Answer| match answer {
        Answer::Records(ips, _) => {
            let mut ips = ips.clone();
            ips.sort_unstable();
            ips
        }
        other => panic!("{other:?}"),
    };
    let is_there = |found: &Found| !found.has_failed();
    let pbx = server.look_up("pbx.example", is_there).await;
    assert_eq!(sorted(&pbx.kinds[0]), ips("192.0.2.1"));
    assert_eq!(sorted(&pbx.kinds[1]), ips("2001:db8::1"));
    let Answer::Records(_, valid) = pbx.kinds[0] else { panic!("{pbx:?}") };
    // less the time until it was read
    assert!((20..=77).contains(&valid.as_secs()), "{valid:?}");
    let alias = server.look_up("alias.example", is_there).await;
    assert_eq!(sorted(&alias.kinds[0]), ips("192.0.2.1"));
    let two = server.look_up("two.example", is_there).await;
    assert_eq!(sorted(&two.kinds[0]), ips("192.0.2.2 192.0.2.3"));
    assert_eq!(two.kinds[1], Answer::None);
    // addresses that are none of one machine, and a name that is not there
    for name in ["bad.example", "missing.example", "no_such-name.example"] {
        let found = server.look_up(name, is_there).await;
        assert_eq!(found.kinds, [Answer::None, Answer::None], "{name}");
    }
}

#[tokio::test]
async fn a_changed_record_is_seen() {
    let server = NameServer::start("changes", &[]);
    let has = |text: &'static str| move |found: &Found| matches!(&found.kinds[0], Answer::Records(found, _) if *found == ips(text));
    server.look_up("pbx.example", |found| found.kinds == [Answer::None, Answer::None]).await;
    for address in ["192.0.2.7", "192.0.2.8"] {
        server.set(&format!("{address} pbx.example\n"));
        let has = has(if address.ends_with('7') { "192.0.2.7" } else { "192.0.2.8" });
        server.look_up("pbx.example", has).await;
    }
}

#[tokio::test]
async fn the_file_of_hosts_comes_before_name_servers() {
    // this server does not exist
    let server = NameServerConfig::udp([127, 0, 0, 2].into());
    let resolver = Resolver::at(ResolverConfig::from_name_servers(vec![server]));
    let found = resolver.look_up("localhost").await;
    let Answer::Records(ips, _) = &found.kinds[0] else { panic!("{found:?}") };
    assert!(ips.iter().all(IpAddr::is_loopback) && !ips.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_does_not_answer_is_no_name_without_addresses() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut udp = ConnectionConfig::udp();
    udp.port = silent.local_addr().unwrap().port();
    let server = NameServerConfig::new([127, 0, 0, 1].into(), true, vec![udp]);
    let resolver = Resolver::at(ResolverConfig::from_name_servers(vec![server]));
    let found = resolver.look_up("pbx.example").await;
    assert!(found.kinds.iter().all(|answer| matches!(answer, Answer::Failed(_))), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_are_used_for_their_ttl_within_bounds() {
    for (ttl, seconds) in [(0, 5), (4, 5), (60, 60), (86_400, 3_600)] {
        let mut addresses = Addresses::default();
        let learned = addresses.learn(found(some("192.0.2.1", ttl), Answer::None), Instant::now());
        assert_eq!(learned.again_in, Duration::from_secs(seconds), "{ttl}");
        assert!(learned.changed && learned.news.is_none());
    }
    // the shorter one
    let mut addresses = Addresses::default();
    let both = found(some("192.0.2.1", 600), some("2001:db8::1", 60));
    assert_eq!(addresses.learn(both, Instant::now()).again_in, Duration::from_secs(60));
    assert_eq!(addresses.current(), ips("192.0.2.1 2001:db8::1"));
}

#[tokio::test(start_paused = true)]
async fn the_last_addresses_stay_in_use_while_no_name_server_answers() {
    let mut addresses = Addresses::default();
    let begun = Instant::now();
    addresses.learn(found(some("192.0.2.1", 60), Answer::None), begun);
    for day in 1..4 {
        let now = begun + Duration::from_secs(day * 86_400);
        let learned = addresses.learn(found(failed(), failed()), now);
        assert!(!learned.changed);
        assert_eq!(learned.again_in, RETRY);
        assert_eq!(learned.news.is_some(), day == 1);
        assert_eq!(addresses.current(), ips("192.0.2.1"));
        assert!(addresses.error().is_some());
    }
    let now = begun + Duration::from_secs(4 * 86_400);
    let learned = addresses.learn(found(some("192.0.2.1", 60), Answer::None), now);
    assert_eq!(learned.news.as_deref(), Some("is resolved again: 192.0.2.1"));
    assert_eq!(addresses.error(), None);
    // only one kind fails
    let learned = addresses.learn(found(some("192.0.2.1", 60), failed()), now);
    assert_eq!((learned.news, addresses.error()), (None, None));
    let learned = addresses.learn(found(failed(), some("2001:db8::1", 60)), now);
    assert!(learned.changed && addresses.error().is_some());
    assert_eq!(addresses.current(), ips("192.0.2.1 2001:db8::1"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_keeps_its_addresses_for_an_hour() {
    let mut addresses = Addresses::default();
    let begun = Instant::now();
    let gone = || found(Answer::None, Answer::None);
    assert!(!addresses.learn(gone(), begun).changed);
    addresses.learn(found(some("192.0.2.1", 60), Answer::None), begun);
    let at = |seconds| begun + Duration::from_secs(seconds);
    assert!(!addresses.learn(gone(), at(3_599)).changed);
    assert_eq!(addresses.current(), ips("192.0.2.1"));
    let learned = addresses.learn(gone(), at(3_600));
    assert!(learned.changed && learned.news.is_some());
    assert_eq!(addresses.current(), ips(""));
    // dialogs go on
    assert_eq!(addresses.iter().collect::<Vec<_>>(), [(ips("192.0.2.1")[0], false)]);
}

#[tokio::test(start_paused = true)]
async fn former_addresses_are_known_for_the_life_of_a_dialog() {
    let mut addresses = Addresses::default();
    let begun = Instant::now();
    addresses.learn(found(some("192.0.2.1 192.0.2.2", 60), Answer::None), begun);
    let at = |seconds| begun + Duration::from_secs(seconds);
    let learned = addresses.learn(found(some("192.0.2.2 192.0.2.3", 60), Answer::None), at(60));
    assert_eq!(learned.news.as_deref(), Some("has other addresses: 192.0.2.2, 192.0.2.3"));
    let known = |addresses: &Addresses| {
        let mut known: Vec<_> = addresses.iter().collect();
        known.sort_unstable();
        known
    };
    let [one, two, three] = ["1", "2", "3"].map(|n| ips(&format!("192.0.2.{n}"))[0]);
    assert_eq!(known(&addresses), [(one, false), (two, true), (three, true)]);
    // rotated: nothing new
    let learned = addresses.learn(found(some("192.0.2.3 192.0.2.2", 60), Answer::None), at(120));
    assert_eq!((learned.changed, learned.news), (false, None));
    addresses.learn(found(some("192.0.2.3 192.0.2.2", 60), Answer::None), at(12 * 3_600));
    assert_eq!(known(&addresses), [(two, true), (three, true)]);
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let mut addresses = Addresses::default();
    let now = Instant::now();
    for third in 0..40 {
        let many: Vec<_> = (1..100).map(|last| IpAddr::from([10, 0, third, last])).collect();
        addresses.learn(found(Answer::Records(many, RETRY), Answer::None), now);
        assert_eq!(addresses.current().len(), MAX_ADDRESSES);
        assert!(addresses.iter().count() <= MAX_ADDRESSES + MAX_FORMER);
    }
}
