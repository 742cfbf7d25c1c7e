//! Hostile cases 30 to 35: access lists, source addresses and swaps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use sip_authz::acl::{Prefix, PrefixError};
use sip_authz::digest::Algorithm;
use sip_authz::model::{
    ChallengeKind, Commit, CredentialList, IpAccessControlList, IpAddress, Key, Mapping, Policy,
    Record,
};
use sip_authz::{AddressMatch, ApplyError, Decision, Invite, IpAddressSid, Reason, Transport};
use sip_authz_testing::kit::*;

/// A list that each test fills; the only one mapped to [`BARE_HOST`].
const OWN: &str = "own";

/// Entry `n` of [`OWN`]; SIDs are ascending, and entries are sorted by SID.
fn entry(n: usize, prefix: &str) -> IpAddress {
    IpAddress::new(nth(n), acl(OWN), prefix.parse().unwrap())
}

fn nth(n: usize) -> IpAddressSid {
    IpAddressSid::from_bytes([u8::try_from(n).unwrap(); 16])
}

/// A world whose [`BARE_HOST`] admits these prefixes, in this order.
fn admitting(prefixes: &[&str]) -> World {
    let world = World::new();
    world.apply(|commit| {
        commit.put(Record::IpAccessControlList(IpAccessControlList::new(acl(OWN), account())));
        let target = domain(BARE_HOST).into();
        commit.put(Record::from(Mapping::IpAccessControlList(target, acl(OWN))));
        for (n, prefix) in prefixes.iter().enumerate() {
            commit.put(Record::IpAddress(entry(n, prefix)));
        }
    });
    world
}

/// The access list entry that matches an INVITE for [`BARE_HOST`] from `ip`.
fn from(world: &World, ip: &str) -> Option<AddressMatch> {
    let source = SocketAddr::new(ip.parse().unwrap(), 5060).to_string();
    let decision = world.send(&Request::to(BARE_HOST), &source);
    if decision.is_accept() {
        let found = accepted(decision);
        assert_eq!(found.credential, None);
        return Some(found.address.expect("an access list is mapped"));
    }
    let reason = rejected(decision);
    assert_eq!((reason, reason.status()), (Reason::AddressNotListed, 403), "{ip}");
    assert_eq!(reason.code(), Some(32_201));
    None
}

#[track_caller]
fn assert_admits(prefixes: &[&str], sources: &[(&str, Option<&str>)]) {
    let reversed: Vec<_> = prefixes.iter().rev().copied().collect();
    for order in [prefixes, &reversed] {
        let world = admitting(order);
        for (source, prefix) in sources {
            let n = prefix.map(|prefix| order.iter().position(|p| *p == prefix).unwrap());
            let expected = n.map(|n| AddressMatch { list: acl(OWN), address: nth(n) });
            assert_eq!(from(&world, source), expected, "{source} under {order:?}");
        }
        assert_eq!(world.authorizer.remembered_nonces().0, 0);
    }
}

#[test]
fn case_30_families_mixed_in_one_list_in_either_order() {
    assert_admits(
        &["192.0.2.0/24", "2001:db8::/32"],
        &[
            ("192.0.2.1", Some("192.0.2.0/24")),
            ("2001:db8::1", Some("2001:db8::/32")),
            ("198.51.100.1", None),
            ("2001:db9::1", None),
        ],
    );
    assert_admits(
        &["2001:db8::1", "192.0.2.1", "2001:db8::/64", "192.0.2.0/30", "fe80::/10", "10.0.0.0/8"],
        &[
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.2", Some("192.0.2.0/30")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("2001:db8::2", Some("2001:db8::/64")),
            ("10.255.255.255", Some("10.0.0.0/8")),
            ("fe80::1", Some("fe80::/10")),
            ("192.0.2.4", None),
            ("2001:db8:0:1::", None),
        ],
    );
}

#[test]
fn case_30_a_source_never_matches_entries_of_the_other_family() {
    // the bits of 192.0.2.1 at each position of an IPv6 address
    let v6 = ["c000:201::/32", "::c000:201", "::/96", "2002:c000:201::/48", "64:ff9b::/96", "::/0"];
    let none: Vec<_> = ["192.0.2.1", "0.0.0.0", "255.255.255.255"].map(|ip| (ip, None)).into();
    assert_admits(&v6, &none);
    assert_admits(&v6, &[("2001:db8::1", Some("::/0")), ("::c000:201", Some("::c000:201"))]);
    let none: Vec<_> =
        ["2001:db8::1", "::c000:201", "::", "c000:201::"].map(|ip| (ip, None)).into();
    assert_admits(&["192.0.2.1", "0.0.0.0/0"], &none);
}

#[test]
fn case_31_an_ipv4_mapped_source_is_the_ipv4_address() {
    assert_admits(
        &["192.0.2.0/24", "198.51.100.7"],
        &[
            ("::ffff:192.0.2.1", Some("192.0.2.0/24")),
            ("::ffff:c633:6407", Some("198.51.100.7")),
            ("::ffff:198.51.100.8", None),
            // IPv4-compatible, translated and nearly mapped addresses are plain IPv6
            ("::192.0.2.1", None),
            ("::ffff:0:192.0.2.1", None),
            ("64:ff9b::192.0.2.1", None),
            ("::fffe:192.0.2.1", None),
        ],
    );
    // IPv6 entries do not match it
    assert_admits(&["::/0"], &[("::ffff:192.0.2.1", None), ("::1", Some("::/0"))]);
    assert_admits(&["::fffe:0:0/95", "::/80"], &[("::ffff:192.0.2.1", None)]);
}

#[test]
fn case_31_an_ipv4_mapped_entry_is_the_ipv4_entry() {
    assert_admits(
        &["::ffff:192.0.2.1"],
        &[
            ("192.0.2.1", Some("::ffff:192.0.2.1")),
            ("::ffff:192.0.2.1", Some("::ffff:192.0.2.1")),
            ("192.0.2.2", None),
            ("::c000:201", None),
        ],
    );
    assert_admits(
        &["::ffff:192.0.2.0/120"],
        &[
            ("192.0.2.0", Some("::ffff:192.0.2.0/120")),
            ("::ffff:192.0.2.255", Some("::ffff:192.0.2.0/120")),
            ("192.0.3.0", None),
            ("2001:db8::1", None),
        ],
    );
    assert_admits(&["::ffff:0:0/96"], &[("192.0.2.1", Some("::ffff:0:0/96")), ("::1", None)]);
    // rejected: the length may be meant for IPv4 or IPv6
    for text in ["::ffff:192.0.2.0/24", "::ffff:0:0/95", "::ffff:192.0.2.1/32"] {
        let refused = text.parse::<Prefix>().unwrap_err();
        assert!(matches!(refused, PrefixError::AmbiguousLength { .. }), "{text}: {refused}");
    }
}

#[test]
fn case_31_a_nonce_and_a_retransmission_take_both_forms_for_one_address() {
    let world = World::new();
    let request = Request::to(BOTH_HOST);
    let answered = world.answered(&request, "[::ffff:192.0.2.7]:5060", "alice", PASSWORD);
    assert!(!accepted(world.send(&answered, "192.0.2.7:5060")).repeat);
    assert!(accepted(world.send(&answered, "[::ffff:192.0.2.7]:5060")).repeat);
    assert_eq!(world.authorizer.remembered_nonces().0, 1);
}

#[test]
fn case_32_every_length_admits_its_first_and_last_address_and_no_neighbour() {
    let v4 = Ipv4Addr::new(198, 51, 100, 169).to_bits();
    for len in 0..=32_u32 {
        let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        let (first, last) = (v4 & mask, v4 | !mask);
        let prefix = format!("{}/{len}", Ipv4Addr::from_bits(first));
        let text = |bits: u32| Ipv4Addr::from_bits(bits).to_string();
        let mut sources = vec![
            (text(first), Some(&*prefix)),
            (text(last), Some(&*prefix)),
            (text(v4), Some(&*prefix)),
            ("::".to_owned(), None),
            (Ipv6Addr::from_bits(u128::from(v4)).to_string(), None),
            (Ipv6Addr::from_bits(u128::from(v4) << 96).to_string(), None),
        ];
        sources.extend(first.checked_sub(1).map(|below| (text(below), None)));
        sources.extend(last.checked_add(1).map(|above| (text(above), None)));
        let sources: Vec<_> = sources.iter().map(|(ip, found)| (&**ip, *found)).collect();
        assert_admits(&[&prefix], &sources);
    }
    let v6: Ipv6Addr = "2001:db8:a5a5:5a5a:a5a5:5a5a:a5a5:5a5a".parse().unwrap();
    let v6 = v6.to_bits();
    for len in 0..=128_u32 {
        let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
        let (first, last) = (v6 & mask, v6 | !mask);
        let prefix = format!("{}/{len}", Ipv6Addr::from_bits(first));
        let text = |bits: u128| Ipv6Addr::from_bits(bits).to_string();
        let mut sources = vec![
            (text(first), Some(&*prefix)),
            (text(last), Some(&*prefix)),
            (text(v6), Some(&*prefix)),
            ("32.1.13.184".to_owned(), None),
            ("0.0.0.0".to_owned(), None),
        ];
        sources.extend(first.checked_sub(1).map(|below| (text(below), None)));
        sources.extend(last.checked_add(1).map(|above| (text(above), None)));
        let sources: Vec<_> = sources.iter().map(|(ip, found)| (&**ip, *found)).collect();
        assert_admits(&[&prefix], &sources);
    }
}

#[test]
fn case_32_length_zero_is_neither_full_length_nor_both_families() {
    let v4 = ["0.0.0.0", "0.0.0.1", "127.255.255.255", "128.0.0.0", "192.0.2.1", "255.255.255.255"];
    let v6 = ["::", "::1", "7fff::", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
    let all = v4.map(|ip| (ip, Some("0.0.0.0/0"))).into_iter().chain(v6.map(|ip| (ip, None)));
    assert_admits(&["0.0.0.0/0"], &all.collect::<Vec<_>>());
    let all = v6.map(|ip| (ip, Some("::/0"))).into_iter().chain(v4.map(|ip| (ip, None)));
    assert_admits(&["::/0"], &all.collect::<Vec<_>>());
    // a longer entry inside it still matches first and removes nothing
    assert_admits(
        &["0.0.0.0/0", "0.0.0.0/32", "255.255.255.255"],
        &[
            ("0.0.0.0", Some("0.0.0.0/32")),
            ("0.0.0.1", Some("0.0.0.0/0")),
            ("255.255.255.254", Some("0.0.0.0/0")),
            ("255.255.255.255", Some("255.255.255.255")),
        ],
    );
}

#[test]
fn case_32_lengths_at_the_edges() {
    assert_admits(
        &["2001:db8::/32"],
        &[
            ("2001:db8::", Some("2001:db8::/32")),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db8::/32")),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", None),
            ("2001:db9::", None),
            // 2001:db8 read as the four bytes of an IPv4 address
            ("32.1.13.184", None),
        ],
    );
    assert_admits(
        &["192.0.2.2/31", "2001:db8::2/127"],
        &[
            ("192.0.2.1", None),
            ("192.0.2.2", Some("192.0.2.2/31")),
            ("192.0.2.3", Some("192.0.2.2/31")),
            ("192.0.2.4", None),
            ("2001:db8::1", None),
            ("2001:db8::2", Some("2001:db8::2/127")),
            ("2001:db8::3", Some("2001:db8::2/127")),
            ("2001:db8::4", None),
        ],
    );
    for text in ["192.0.2.0/33", "2001:db8::/129", "0.0.0.0/128", "::/256", "::ffff:192.0.2.1/129"]
    {
        let refused = text.parse::<Prefix>().unwrap_err();
        assert!(matches!(refused, PrefixError::Length { .. }), "{text}: {refused}");
    }
}

#[test]
fn case_33_an_entry_that_does_not_parse_is_an_error_that_names_it() {
    for text in [
        "",
        " ",
        "192.0.2.1 ",
        " 192.0.2.1",
        "192.0.2.1/24",
        "192.0.2.0/24 # office",
        "192.0.2",
        "192.0.2.0/",
        "192.0.2.0/024",
        "192.0.2.0/-1",
        "192.0.2.0/+24",
        "192.0.2.0/2 4",
        "192.0.2.0/255.255.0.255",
        "192.0.2.0-192.0.2.9",
        "192.0.2.*",
        "0192.0.2.1",
        "0xc0.0.2.1",
        "3221225985",
        "192.0.2.1:5060",
        "[2001:db8::1]",
        "2001:db8::1%eth0",
        "2001:db8::/32/32",
        "2001:db8::1/64",
        "office.example.com",
        "192.0.2.0/24\n198.51.100.0/24",
        "192.0.2.1\0",
        "१९२.0.2.1",
    ] {
        let refused = text.parse::<Prefix>().unwrap_err().to_string();
        let quoted: String = text.chars().flat_map(char::escape_debug).collect();
        assert!(refused.contains(&format!("`{quoted}`")), "{refused}");
    }
}

#[test]
fn case_33_one_bad_write_refuses_all_and_leaves_the_old_list() {
    let world = admitting(&["192.0.2.0/24"]);
    let number = world.authorizer.snapshot().number();
    let good = |n: usize| {
        let prefix = ["198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"][n];
        Record::IpAddress(entry(n + 1, prefix))
    };
    let of_no_list = Record::IpAddress(IpAddress::new(
        address("new"),
        acl("not there"),
        "203.0.113.1".parse().unwrap(),
    ));
    for bad_at in 0..3 {
        let mut commit = Commit::new();
        for n in 0..3 {
            if n == bad_at {
                commit.put(of_no_list.clone());
            }
            commit.put(good(n));
        }
        let error = world.authorizer.apply(&commit).unwrap_err();
        assert!(matches!(error, ApplyError::Rule { .. }), "{error}");
        assert_eq!(world.authorizer.snapshot().number(), number);
        assert!(from(&world, "192.0.2.1").is_some());
        assert_eq!(from(&world, "198.51.100.1"), None);
        assert_eq!(from(&world, "2001:db8::1"), None);
    }
    world.put(good(0));
    assert!(from(&world, "198.51.100.1").is_some());
}

#[test]
fn case_33_a_long_list_is_not_cut_short() {
    // more entries than 16 bits can count, of both families
    const EACH: u32 = 40_000;
    let world = admitting(&[]);
    let v4 = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0001 + 2 * n));
    let v6 =
        |n: u32| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(n) << 65)));
    world.apply(|commit| {
        for n in 0..EACH {
            for ip in [v4(n), v6(n)] {
                let record = IpAddress::new(address(&ip.to_string()), acl(OWN), Prefix::from(ip));
                commit.put(Record::IpAddress(record));
            }
        }
    });
    let admitted = AtomicU64::new(0);
    let bytes = Request::to(BARE_HOST).bytes();
    let decide = |ip: IpAddr| {
        let invite = Invite::from_datagram(&bytes, (ip, 5060).into(), Transport::Udp).unwrap();
        match world.authorizer.authorize(&invite, world.start) {
            Decision::Accept(accept) => Some(accept.address.unwrap().address),
            Decision::Reject(reject) => {
                assert_eq!(reject.reason, Reason::AddressNotListed);
                None
            }
            Decision::Challenge(_) => panic!("no credential list is mapped"),
        }
    };
    thread::scope(|scope| {
        for of in 0..2 {
            let (decide, admitted) = (&decide, &admitted);
            scope.spawn(move || {
                for n in (0..EACH).filter(|n| n % 2 == of) {
                    for ip in [v4(n), v6(n)] {
                        assert_eq!(decide(ip), Some(address(&ip.to_string())), "{ip}");
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), u64::from(2 * EACH));
    // addresses between and after the entries match nothing
    for ip in ["10.0.0.0", "10.0.0.2", "2001:db8::1", "2001:db8:0:1::"] {
        assert_eq!(decide(ip.parse().unwrap()), None, "{ip}");
    }
    assert_eq!(decide(v4(EACH)), None);
    assert_eq!(decide(v6(EACH)), None);
}

/// Every part of a message that other systems have taken for the source address.
fn claims(ip: &str, request: &Request) -> Vec<Vec<u8>> {
    let bracketed = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let sdp = format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n");
    let mut claims = vec![
        Request {
            from: format!("<sip:alice@{bracketed}>;tag=1"),
            call_id: format!("1@{bracketed}"),
            body: sdp.into_bytes(),
            ..request.clone()
        }
        .bytes(),
    ];
    let own_via = "SIP/2.0/UDP client.example.com:5060";
    for via in [
        format!("SIP/2.0/UDP {bracketed}:5060"),
        format!("{own_via};received={ip};rport=5060"),
        format!("{own_via};rport=5060;received={bracketed};maddr={bracketed}"),
        format!("SIP/2.0/UDP {bracketed}:5060;received={ip};rport"),
    ] {
        let text = String::from_utf8(request.bytes()).unwrap();
        assert!(text.contains(own_via));
        claims.push(text.replacen(own_via, &via, 1).into_bytes());
    }
    for line in [
        format!("Via: SIP/2.0/UDP {bracketed}:5060;branch=z9hG4bK2;received={ip}"),
        format!("v: SIP/2.0/TLS {bracketed};branch=z9hG4bK3"),
        format!("X-Forwarded-For: {ip}"),
        format!("X-Forwarded-For: {ip}, 203.0.113.1"),
        format!("X-Real-IP: {ip}"),
        format!("X-Source-IP: {ip}"),
        format!("X-Client-IP: {ip}"),
        format!("Forwarded: for=\"{bracketed}\";proto=sip"),
        format!("P-Source-Device: {ip}"),
        format!("P-Asserted-Identity: <sip:alice@{bracketed}>"),
        format!("Route: <sip:{bracketed};lr>"),
        format!("Record-Route: <sip:{bracketed};lr>"),
        format!("Path: <sip:{bracketed};lr>"),
        format!("History-Info: <sip:{bracketed}>;index=1"),
        format!("m: <sip:alice@{bracketed}>"),
        format!("PROXY TCP4 {ip} 192.0.2.1 5060 5060: x"),
    ] {
        let line = if line.starts_with("PROXY") { "Proxy: ".to_owned() + &line } else { line };
        claims.push(request.clone().with_line(line.as_bytes()).bytes());
    }
    claims
}

#[test]
fn case_34_no_header_replaces_the_source_of_the_socket() {
    let (inside, outside): (SocketAddr, SocketAddr) =
        (INSIDE.parse().unwrap(), OUTSIDE.parse().unwrap());
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
    {
        let world = World::new().over(transport);
        for host in [ACL_HOST, BOTH_HOST] {
            let request = Request::to(host);
            // outside, with any claimed address
            for claimed in
                [&inside.ip().to_string(), "2001:db8::1", "127.0.0.1", "::ffff:192.0.2.1"]
            {
                for bytes in claims(claimed, &request) {
                    let decision = world.try_send(&bytes, OUTSIDE).unwrap();
                    let text = String::from_utf8_lossy(&bytes);
                    let reason = rejected(decision);
                    assert_eq!(
                        (reason, reason.status()),
                        (Reason::AddressNotListed, 403),
                        "{text}"
                    );
                }
            }
            // inside, with any claimed address
            for bytes in claims(&outside.ip().to_string(), &request) {
                let decision = world.try_send(&bytes, INSIDE).unwrap();
                let status = if host == ACL_HOST { 200 } else { 407 };
                assert_eq!(decision.status(), status, "{}", String::from_utf8_lossy(&bytes));
            }
        }
        // a PROXY protocol line before the message makes it malformed
        let bytes = Request::to(ACL_HOST).bytes();
        let proxied = [b"PROXY TCP4 192.0.2.7 192.0.2.1 5060 5060\r\n", &bytes[..]].concat();
        assert!(world.try_send(&proxied, OUTSIDE).is_err());
    }
}

#[test]
fn case_34_no_header_replaces_the_source_that_a_nonce_is_bound_to() {
    let world = World::new();
    let request = Request::to(HOST);
    let answered = world.answered(&request, INSIDE, "alice", PASSWORD);
    let own_ip: SocketAddr = INSIDE.parse().unwrap();
    for (bytes, port) in claims(&own_ip.ip().to_string(), &answered).into_iter().zip(1_024..) {
        let elsewhere = format!("198.51.100.7:{port}");
        assert!(challenged(world.try_send(&bytes, &elsewhere).unwrap()), "stale from elsewhere");
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    assert!(world.send(&answered, INSIDE).is_accept());
}

#[test]
fn case_34_no_header_replaces_the_transport() {
    let world = World::new();
    for via in ["SIP/2.0/TLS", "SIP/2.0/WSS"] {
        let request =
            Request { uri: format!("sips:100@{ACL_HOST};transport=tls"), ..Request::to(ACL_HOST) };
        let text = String::from_utf8(request.bytes()).unwrap().replace("SIP/2.0/UDP", via);
        let reason = rejected(world.try_send(text.as_bytes(), INSIDE).unwrap());
        assert_eq!((reason.status(), reason.code()), (488, Some(32_209)), "{via}");
    }
}

/// Two disjoint sets of records. For each: the list that admits [`INSIDE`] at [`ACL_HOST`], and the
/// list, realm, offer and challenge kind of [`HOST`].
const GENERATIONS: [(&str, &str, &str, Algorithm, ChallengeKind); 2] = [
    ("even", "even users", "even.example", Algorithm::Md5, ChallengeKind::Proxy),
    ("odd", "odd users", "odd.example", Algorithm::Sha256, ChallengeKind::Server),
];

/// The records that only one generation has.
fn records(generation: usize) -> [Record; 3] {
    let (admitting, users, ..) = GENERATIONS[generation];
    let prefix = "192.0.2.0/24".parse().unwrap();
    let entry = IpAddress::new(nth(generation), acl(admitting), prefix);
    [
        Record::IpAddress(entry),
        Record::from(Mapping::IpAccessControlList(domain(ACL_HOST).into(), acl(admitting))),
        Record::from(Mapping::CredentialList(domain(HOST).into(), list(users))),
    ]
}

/// Puts all records of one generation and deletes those of the other, in one commit.
fn turn_to(generation: usize) -> Commit {
    let mut commit = Commit::new();
    for record in records(generation) {
        commit.put(record);
    }
    let (.., algorithm, challenge) = GENERATIONS[generation];
    commit.put(policy_of(HOST, offering(&[algorithm]).with_challenge(challenge)));
    for record in records(1 - generation) {
        commit.delete(record.key());
    }
    commit
}

/// The whole decision as text, with the nonce masked.
fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Challenge(challenge) => {
            let value = &challenge.values[0];
            let (before, rest) = value.split_once("nonce=\"").unwrap();
            let (_, after) = rest.split_once('"').unwrap();
            let (count, header) = (challenge.values.len(), challenge.header_name());
            format!("{} {header} {count}: {before}{after}", challenge.status())
        }
        other => format!("{other:?}"),
    }
}

/// A world in the second generation.
fn two_generations() -> World {
    let world = World::new();
    world.apply(|commit| {
        let target = domain(ACL_HOST).into();
        commit.delete(Key::Mapping(Mapping::IpAccessControlList(target, acl(ACL))));
        let target = domain(HOST).into();
        commit.delete(Key::Mapping(Mapping::CredentialList(target, list(LIST))));
        for (list_name, users, realm, ..) in GENERATIONS {
            let record = IpAccessControlList::new(acl(list_name), account());
            commit.put(Record::IpAccessControlList(record));
            let realm = realm.parse().unwrap();
            let record = CredentialList::new(list(users), account(), realm);
            commit.put(Record::CredentialList(record));
        }
    });
    // the first swap deletes these records, so they must exist
    records(1).into_iter().for_each(|record| world.put(record));
    world
}

#[test]
fn case_35_every_decision_under_swaps_is_of_one_generation() {
    const SWAPS: usize = 4_000;
    let world = two_generations();
    let requests = [Request::to(ACL_HOST), Request::to(HOST)];
    // the decisions of each generation without concurrent swaps
    let turns = [turn_to(0), turn_to(1)];
    let mut described = Vec::new();
    for turn in &turns {
        world.authorizer.apply(turn).unwrap();
        described.push([0, 1].map(|n| describe(&world.send(&requests[n], INSIDE))));
    }
    assert!(described[0].iter().zip(&described[1]).all(|(even, odd)| even != odd), "{described:?}");
    assert!(described[0][0].starts_with("Accept") && described[0][1].starts_with("407 Proxy-"));
    assert!(described[1][0].starts_with("Accept") && described[1][1].starts_with("401 WWW-"));

    let (done, decisions) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen: Vec<HashSet<String>> = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = HashSet::new();
                    while !done.load(Ordering::Relaxed) {
                        for (n, request) in requests.iter().enumerate() {
                            let text = describe(&world.send(request, INSIDE));
                            let whole = described.iter().any(|described| described[n] == text);
                            assert!(whole, "of no generation: {text}");
                            seen.insert(text);
                            decisions.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    seen
                })
            })
            .collect();
        let before = world.authorizer.snapshot().number();
        let mut swaps = 0;
        let mut swapped = Ok(());
        // continue until the readers have made enough decisions, or one has failed
        while swapped.is_ok()
            && (swaps < SWAPS || decisions.load(Ordering::Relaxed) < SWAPS)
            && !readers.iter().any(thread::ScopedJoinHandle::is_finished)
        {
            swapped = world.authorizer.apply(&turns[swaps % 2]).map(drop);
            swaps += 1;
        }
        done.store(true, Ordering::Relaxed);
        swapped.unwrap();
        assert_eq!(world.authorizer.snapshot().number(), before + swaps as u64);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let all: HashSet<_> = seen.into_iter().flatten().collect();
    assert_eq!(all.len(), 4, "both generations were seen of both");
}

#[test]
fn case_35_a_change_that_fails_leaves_the_old_snapshot_in_force() {
    let world = two_generations();
    let requests = [Request::to(ACL_HOST), Request::to(HOST)];
    world.authorizer.apply(&turn_to(0)).unwrap();
    let before = requests.each_ref().map(|request| describe(&world.send(request, INSIDE)));
    let number = world.authorizer.snapshot().number();
    let kept = world.authorizer.snapshot();
    // a complete swap, plus one write that breaks a rule
    let realm = "third.example".parse().unwrap();
    for bad in [
        Record::CredentialList(CredentialList::new(list("even users"), account(), realm)),
        Record::from(Mapping::IpAccessControlList(domain("nowhere").into(), acl(OWN))),
        policy_of(ACL_HOST, Policy::default().with_nonce_lifetime(0)),
        Record::Credential(user("no such list", "zoe", PASSWORD)),
    ] {
        let mut commit = turn_to(1);
        commit.put(bad);
        world.authorizer.apply(&commit).unwrap_err();
        let after = requests.each_ref().map(|request| describe(&world.send(request, INSIDE)));
        assert_eq!(after, before);
        assert_eq!(world.authorizer.snapshot().number(), number);
    }
    // deleting a missing record, and a record in use
    for key in [Key::IpAddress(address("not there")), Key::Account(account())] {
        let mut commit = turn_to(1);
        commit.delete(key);
        world.authorizer.apply(&commit).unwrap_err();
        assert_eq!(
            requests.each_ref().map(|request| describe(&world.send(request, INSIDE))),
            before
        );
    }
    // a valid change still works, and a holder of the old snapshot keeps it
    world.authorizer.apply(&turn_to(1)).unwrap();
    let after = requests.each_ref().map(|request| describe(&world.send(request, INSIDE)));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!((kept.number(), world.authorizer.snapshot().number()), (number, number + 1));
}
