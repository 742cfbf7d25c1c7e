//! The ranking beside a slow one that counts octets of addresses in plain vectors.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn account(number: u8) -> AccountSid {
    AccountSid::from_name(&[&number.to_string()])
}

/// A ranking that remembers which of its connections still have their places.
struct Listener {
    ranking: Ranking<u64>,
    places: Vec<Place>,
    start: Instant,
    seconds: u64,
}

impl Listener {
    fn new(most: usize) -> Self {
        let (start, places) = (Instant::now(), Vec::new());
        Self { ranking: Ranking::new(most), places, start, seconds: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds)
    }

    /// Adds a connection. Returns its number, and that of the one that it replaces.
    fn add(&mut self, source: IpAddr) -> (u64, Option<u64>) {
        let number = self.places.len() as u64;
        let (place, replaced) = self.ranking.add(source, self.now(), number);
        self.places.push(place);
        (number, replaced)
    }

    fn accept(&mut self, number: u64, account: AccountSid) {
        let place = &mut self.places[usize::try_from(number).unwrap()];
        let now = self.start + Duration::from_secs(self.seconds);
        *place = self.ranking.accept(*place, account, now, |_| {}).unwrap_or(*place);
    }

    fn remove(&mut self, number: u64) -> Option<u64> {
        self.ranking.remove(self.places[usize::try_from(number).unwrap()])
    }

    fn holds(&self) -> BTreeSet<u64> {
        self.ranking.held.values().map(|(_, number)| *number).collect()
    }
}

/// Fills a listener with 1,024 accepted connections, one from each source in turn, of one account.
fn full_of_accepted(sources: &[IpAddr]) -> Listener {
    let mut listener = Listener::new(1_024);
    for n in 0..1_024 {
        let (number, replaced) = listener.add(sources[n % sources.len()]);
        assert_eq!(replaced, None);
        listener.accept(number, account(1));
        listener.seconds += 1;
    }
    listener
}

#[test]
fn case_37_newcomers_are_served_beside_1024_accepted_connections() {
    let one_48: Vec<IpAddr> =
        (0..1_024).map(|n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | n << 64 | 1).into()).collect();
    for sources in [vec![ip("192.0.2.1")], one_48] {
        let is_one_address = sources.len() == 1;
        let mut listener = full_of_accepted(&sources);
        // the share of newcomers is an eighth; each takes the place of the oldest accept
        let mut newcomers = Vec::new();
        for n in 0..128 {
            let source = Ipv4Addr::from_bits(0xc633_6400 | n).into();
            let (number, replaced) = listener.add(source);
            assert!(replaced.is_some_and(|number| number < 1_024));
            assert!(!is_one_address || replaced == Some(n.into()), "the oldest accept");
            newcomers.push(number);
        }
        // further ones replace strangers
        for n in 0..300 {
            let (_, replaced) = listener.add(Ipv4Addr::from_bits(0xc633_6500 | (n % 256)).into());
            assert!(replaced.is_some_and(|number| number >= 1_024));
        }
        // a newcomer with an accepted call takes a place of the account with the most
        listener.accept(*listener.holds().last().unwrap(), account(2));
        let (_, replaced) = listener.add(ip("203.0.113.1"));
        assert!(replaced.is_some_and(|number| number < 1_024));
    }
}

#[test]
fn case_37_strangers_of_one_network_lose_their_places_to_others() {
    // one IPv4 /24, one /16, one IPv6 /64, /56, /48 and /32, with an address or network for each
    let networks: [fn(u32) -> IpAddr; 6] = [
        |n| Ipv4Addr::from_bits(0xcb00_7100 | (n % 256)).into(),
        |n| Ipv4Addr::from_bits(0xc612_0000 | n << 6).into(),
        |n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into(),
        |n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n % 256) << 64).into(),
        |n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 64).into(),
        |n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 80).into(),
    ];
    for network in networks {
        let mut listener = Listener::new(1_024);
        // half of the places are of others, each alone in its network
        let others: Vec<u64> = (0..512)
            .map(|n| listener.add(Ipv4Addr::from_bits(0x0a00_0001 | n << 16).into()).0)
            .filter(|n| *n < 256)
            .collect();
        for n in 0..512 {
            listener.add(network(n));
        }
        for n in 0..500 {
            let (_, replaced) = listener.add(Ipv4Addr::from_bits(0x6440_0001 | n << 16).into());
            assert!(replaced.is_some_and(|number| (512..1_024).contains(&number)), "{replaced:?}");
        }
        // the network that has the most loses one to itself too
        let mut listener = Listener::new(64);
        for n in 0..64 {
            listener.add(network(n));
        }
        let (caller, replaced) = listener.add(ip("192.0.2.1"));
        assert!(replaced.is_some());
        for n in 0..1_000 {
            let (_, replaced) = listener.add(network(n));
            assert_ne!(replaced, Some(caller));
        }
        assert!(!others.is_empty() && listener.holds().contains(&caller));
    }
}

#[test]
fn an_accept_ranks_for_an_hour() {
    let mut listener = Listener::new(16);
    let (caller, _) = listener.add(ip("192.0.2.1"));
    listener.accept(caller, account(1));
    for _ in 0..15 {
        listener.add(ip("192.0.2.1"));
    }
    listener.seconds = REMEMBERED.as_secs();
    assert_eq!(listener.add(ip("192.0.2.1")).1, Some(1), "the oldest stranger");
    listener.seconds += 1;
    assert_eq!(listener.add(ip("192.0.2.1")).1, Some(caller), "now it is the oldest stranger");

    let (caller, _) = listener.add(ip("192.0.2.1"));
    for _ in 0..3 {
        listener.accept(caller, account(1));
        listener.seconds += REMEMBERED.as_secs();
        assert_ne!(listener.add(ip("192.0.2.1")).1, Some(caller), "each accept begins an hour");
    }
}

#[test]
fn the_account_with_the_most_accepted_connections_loses_one() {
    let mut listener = Listener::new(16);
    // many customers of one account, each from a network of its own; two of another, from one address
    for n in 0..14_u32 {
        let (number, _) = listener.add(Ipv4Addr::from_bits(0x0a00_0001 | n << 16).into());
        listener.accept(number, account(1));
        listener.seconds += 1;
    }
    for _ in 0..2 {
        let (number, _) = listener.add(ip("192.0.2.1"));
        listener.accept(number, account(2));
    }
    listener.accept(0, account(1));
    assert_eq!(listener.add(ip("198.51.100.1")).1, Some(1), "the oldest accept");
    assert_eq!(listener.add(ip("198.51.100.1")).1, Some(2));
    assert_eq!(listener.add(ip("198.51.100.1")).1, Some(16), "strangers have their share");
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let place = |text| Place { address: 0, ..Ranking::new(1).add(ip(text), Instant::now(), ()).0 };
    assert_eq!(place("::ffff:192.0.2.1"), place("192.0.2.1"));
    let networks = |text: &str| {
        let (place, _) = Ranking::new(1).add(ip(text), Instant::now(), ());
        [0, 1, 2, 3]
            .map(|level| Ipv6Addr::from_bits(place.network(level)).to_canonical().to_string())
    };
    for text in ["192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(networks(text), ["192.0.0.0", "192.0.2.0", "192.0.2.1", "192.0.2.1"]);
    }
    assert_eq!(
        networks("2001:db8:1:234:5:6:7:8"),
        ["2001:db8::", "2001:db8:1::", "2001:db8:1:200::", "2001:db8:1:234::"]
    );
}

/// A connection of the slow ranking.
#[derive(Clone, Debug)]
struct Slow {
    number: u64,
    source: IpAddr,
    account: Option<AccountSid>,
    second: u64,
}

impl Slow {
    /// Its networks, from wide to narrow: the family and the leading octets.
    fn networks(&self) -> [(bool, Vec<u8>); 4] {
        match self.source.to_canonical() {
            IpAddr::V4(v4) => [2, 3, 4, 4].map(|count| (true, v4.octets()[..count].to_vec())),
            IpAddr::V6(v6) => [4, 6, 7, 8].map(|count| (false, v6.octets()[..count].to_vec())),
        }
    }
}

/// Keeps the members of the largest group; of equals that with the oldest member.
fn keep_largest<K: PartialEq>(members: &mut Vec<Slow>, key: impl Fn(&Slow) -> K) {
    let size = |one: &Slow| members.iter().filter(|other| key(one) == key(other)).count();
    let most = members.iter().map(size).max();
    let largest = members.iter().filter(|one| Some(size(one)) == most);
    let oldest = largest.min_by_key(|one| (one.second, one.number)).map(&key);
    members.retain(|one| Some(key(one)) == oldest);
}

/// The connection that loses its place at this second.
fn slow_victim(held: &[Slow], most: usize, second: u64) -> u64 {
    let is_accepted =
        |one: &&Slow| one.account.is_some() && second - one.second <= REMEMBERED.as_secs();
    let accepted: Vec<Slow> = held.iter().filter(is_accepted).cloned().collect();
    let strangers: Vec<Slow> = held.iter().filter(|one| !is_accepted(one)).cloned().collect();
    let kept = if most < 16 { 1 } else { most / 8 };
    let mut group = if strangers.len() > kept || accepted.is_empty() {
        strangers
    } else {
        let mut accepted = accepted;
        keep_largest(&mut accepted, |one| one.account);
        accepted
    };
    for level in 0..4 {
        keep_largest(&mut group, |one| one.networks()[level].clone());
    }
    group.iter().min_by_key(|one| (one.second, one.number)).unwrap().number
}

/// Addresses of few networks of each width.
fn sources() -> impl Strategy<Value = IpAddr> {
    let few = || 0..3_u8;
    let v4 = (few(), few(), few()).prop_map(|(a, b, c)| IpAddr::from([10, a, b, c]));
    let v6 = (few(), few(), few(), few(), few()).prop_map(|(a, b, c, d, e)| {
        let mut octets = [0x20, 1, 0xd, a, 0, b, c, d, 0, 0, 0, 0, 0, 0, 0, e];
        octets[8] = e;
        IpAddr::from(octets)
    });
    let mapped =
        (few(), few()).prop_map(|(a, b)| IpAddr::from(Ipv4Addr::new(10, 0, a, b).to_ipv6_mapped()));
    prop_oneof![v4, v6, mapped]
}

#[derive(Clone, Debug)]
enum Event {
    Arrive(IpAddr),
    Accept(usize, u8),
    End(usize),
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => sources().prop_map(Event::Arrive),
        4 => (any::<usize>(), 0..3_u8).prop_map(|(at, account)| Event::Accept(at, account)),
        1 => any::<usize>().prop_map(Event::End),
        2 => prop_oneof![0..5_u64, 1_000..4_000_u64].prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 0..150)
}

proptest! {
    // the slow ranking is slow
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn case_37_the_ranking_does_what_the_slow_one_does(most in 1..40_usize, events in events()) {
        let mut listener = Listener::new(most);
        let mut slow: Vec<Slow> = Vec::new();
        for event in events {
            match event {
                Event::Arrive(source) => {
                    prop_assert_eq!(listener.ranking.is_full(), slow.len() == most);
                    let (number, replaced) = listener.add(source);
                    slow.push(Slow { number, source, account: None, second: listener.seconds });
                    let expected = (slow.len() > most)
                        .then(|| slow_victim(&slow, most, listener.seconds));
                    prop_assert_eq!(replaced, expected);
                    // a newcomer always gets a place
                    prop_assert_ne!(replaced, Some(number));
                    slow.retain(|one| Some(one.number) != expected);
                }
                // of all connections, also those that have lost their places
                Event::Accept(at, by) if !listener.places.is_empty() => {
                    let number = (at % listener.places.len()) as u64;
                    listener.accept(number, account(by));
                    for one in slow.iter_mut().filter(|one| one.number == number) {
                        (one.account, one.second) = (Some(account(by)), listener.seconds);
                    }
                }
                Event::End(at) if !listener.places.is_empty() => {
                    let number = (at % listener.places.len()) as u64;
                    let had = slow.iter().any(|one| one.number == number);
                    prop_assert_eq!(listener.remove(number), had.then_some(number));
                    slow.retain(|one| one.number != number);
                }
                Event::Wait(seconds) => listener.seconds += seconds,
                _ => {}
            }
            let expected: BTreeSet<u64> = slow.iter().map(|one| one.number).collect();
            prop_assert_eq!(listener.holds(), expected);
        }
    }

    /// Whatever strangers do, accepted connections keep seven eighths of the places, and the account
    /// that holds fewer of them than another loses none.
    #[test]
    fn case_37_strangers_take_no_more_than_their_share(
        accepted in 28..33_usize, small in 0..8_usize, flood in prop::collection::vec(sources(), 0..200),
    ) {
        let mut listener = Listener::new(32);
        for n in 0..accepted.min(32) {
            let (number, _) = listener.add(Ipv4Addr::new(198, 51, 100, 1).into());
            listener.accept(number, account(u8::from(n < small)));
        }
        for source in flood {
            listener.add(source);
        }
        let held = listener.holds();
        prop_assert!(held.range(..accepted as u64).count() >= 28);
        prop_assert!((0..small as u64).all(|number| held.contains(&number)));
    }
}
