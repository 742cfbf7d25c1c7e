use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use sip_authz::digest::GuessRate;
use sip_authz::model::{GuessPolicy, Policy};
use sip_authz::{AccountSid, Decision};
use sip_authz_testing::kit::{self, HOST, OTHER_HOST, OUTSIDE, PASSWORD, Request, World};

use super::*;
use crate::observe::recent::RecentOptions;
use crate::observe::record::samples;

const ADMIN: Asker = Asker { account: None, asks_fleet: false };
const BURST: u32 = 3;

struct Kit {
    world: World,
    recent: Recent,
}

impl Kit {
    fn new(guesses: GuessPolicy) -> Self {
        let options = RecentOptions { records: 1_000, names_for: Duration::from_secs(3_600) };
        let world = World::with_policy(Policy::default().with_guesses(guesses));
        Self { world, recent: Recent::new(options, 1).unwrap() }
    }

    fn limits(&self) -> Limits<'_> {
        Limits { authorizer: &self.world.authorizer, recent: &self.recent, edge: "edge-1" }
    }

    /// Calls as an edge does, and keeps the record.
    fn call(&self, host: &str, source: &str, name: &str, password: &str) -> Decision {
        let request = Request::to(host).next();
        let request = self.world.answered(&request, source, name, password);
        let now = SystemTime::now();
        let (decision, record) = samples::decided(&self.world.authorizer, &request, source, now);
        self.recent.write(1, true).unwrap().push(record);
        decision
    }

    fn guess(&self, host: &str, source: &str, name: &str) {
        for _ in 0..=BURST {
            assert!(!self.call(host, source, name, "a guess").is_accept());
        }
    }
}

fn rate() -> GuessRate {
    GuessRate {
        burst: NonZeroU32::new(BURST).unwrap(),
        refill_ms: NonZeroU32::new(3_600_000).unwrap(),
    }
}

fn open() -> GuessPolicy {
    GuessPolicy::default().with_pair(kit::unlimited())
}

fn account(account: AccountSid) -> Asker {
    Asker { account: Some(account), asks_fleet: false }
}

#[test]
fn held_names_and_sources_are_listed_and_released() {
    let target = kit::domain(HOST).to_string();
    for (policy, expected) in [
        (open().with_pair(rate()), ("name-from-source", Some("alice"), Some("198.51.100.7"))),
        (open().with_any_name(Some(rate())), ("source", None, Some("198.51.100.7"))),
        (open().with_name(Some(rate())), ("name", Some("alice"), None)),
    ] {
        let kit = Kit::new(policy);
        let begun = SystemTime::now();
        assert_eq!(kit.limits().held(ADMIN), []);
        kit.guess(HOST, OUTSIDE, "alice");
        assert!(kit.call(OTHER_HOST, OUTSIDE, "bob", PASSWORD).is_accept());
        let held = kit.limits().held(ADMIN);
        let [held] = &held[..] else { panic!("{held:?}") };
        let shown = (&*held.kind, held.user.as_deref(), held.source.as_deref());
        assert_eq!(shown, expected);
        assert_eq!((&*held.edge, &*held.target), ("edge-1", &*target));
        assert_eq!(held.domain.as_deref(), Some(HOST));
        assert_eq!(held.account, kit::account().to_string());
        assert_eq!(held.wrong, u64::from(BURST));
        let since: Timestamp = held.since.parse().unwrap();
        let until: Timestamp = held.until.parse().unwrap();
        assert_eq!((&held.since, &held.until), (&format!("{since:.6}"), &format!("{until:.6}")));
        assert!(since.as_microsecond() >= i64::try_from(micros(begun)).unwrap(), "{since}");
        assert!(since < until && since <= Timestamp::now() && until > Timestamp::now());
        assert!(held.id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", held.id);

        assert!(!kit.call(HOST, OUTSIDE, "alice", PASSWORD).is_accept());
        assert!(!kit.limits().release(ADMIN, "0123"));
        assert!(kit.limits().release(ADMIN, &held.id));
        assert!(!kit.limits().release(ADMIN, &held.id), "a second time");
        assert_eq!(kit.limits().held(ADMIN), []);
        assert!(kit.call(HOST, OUTSIDE, "alice", PASSWORD).is_accept());
    }
}

#[test]
fn an_account_sees_and_releases_what_its_own_targets_hold() {
    let kit = Kit::new(open().with_pair(rate()));
    kit.guess(HOST, OUTSIDE, "alice");
    let [held] = &kit.limits().held(account(kit::account()))[..] else { panic!("not held") };
    let stranger = account(AccountSid::from_name(&["stranger"]));
    assert_eq!(kit.limits().held(stranger), []);
    assert!(!kit.limits().release(stranger, &held.id));
    assert!(!kit.call(HOST, OUTSIDE, "alice", PASSWORD).is_accept());
    assert!(kit.limits().release(account(kit::account()), &held.id));
    assert!(kit.call(HOST, OUTSIDE, "alice", PASSWORD).is_accept());
}

#[test]
fn each_name_source_and_target_has_an_entry_and_an_id_of_its_own() {
    let kit = Kit::new(open().with_pair(rate()));
    for (host, source, name) in [
        (HOST, OUTSIDE, "alice"),
        (HOST, OUTSIDE, "bob"),
        (OTHER_HOST, OUTSIDE, "alice"),
        (HOST, "[2001:db8:1:2::7]:5060", "alice"),
        // of the same /64
        (HOST, "[2001:db8:1:2::8]:5060", "alice"),
    ] {
        kit.guess(host, source, name);
    }
    let held = kit.limits().held(ADMIN);
    assert_eq!(held.len(), 4, "{held:?}");
    let ids: std::collections::BTreeSet<_> = held.iter().map(|it| &it.id).collect();
    assert_eq!(ids.len(), 4);
    let v6 = held.iter().find(|it| it.source.as_deref() == Some("2001:db8:1:2::/64"));
    let v6 = v6.unwrap();
    assert!(kit.limits().release(ADMIN, &v6.id));
    assert_eq!(kit.limits().held(ADMIN).len(), 3, "one is released");
}

#[test]
fn names_are_asked_for_as_the_limits_count_them() {
    assert_eq!(spellings("alice"), ["alice"]);
    assert_eq!(spellings(r#"a\"b"#), [r#"a"b"#, r#"a\"b"#]);
    assert!(spellings("UTF-8''J%c3%a4n").contains(&"J\u{e4}n".to_owned()));
    assert!(spellings("utf-8''%zz").contains(&"utf-8''%zz".to_owned()));
    let hash = "AB".repeat(32);
    assert!(spellings(&hash).contains(&hash.to_lowercase()));
    let kit = Kit::new(open().with_pair(rate()));
    kit.guess(HOST, OUTSIDE, "o'brien");
    let held = kit.limits().held(ADMIN);
    assert_eq!(held.iter().map(|it| it.user.as_deref()).collect::<Vec<_>>(), [Some("o'brien")]);
}
