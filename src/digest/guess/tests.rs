use std::net::Ipv4Addr;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;

use super::held::Debt;
use super::*;

/// A token bucket that advances each millisecond; a token has `refill_ms` parts.
struct Oracle {
    rate: GuessRate,
    parts: u64,
    now_ms: u64,
}

impl Oracle {
    fn advance(&mut self, now_ms: u64) {
        while self.now_ms < now_ms {
            self.now_ms += 1;
            self.parts = (self.parts + 1).min(self.rate.full_ms());
        }
    }

    fn is_over(&self) -> bool {
        self.parts < self.rate.token_ms()
    }

    fn owed(&self) -> u64 {
        (self.rate.full_ms() - self.parts).div_ceil(self.rate.token_ms())
    }

    fn record(&mut self) {
        self.parts = self.parts.saturating_sub(self.rate.token_ms());
    }

    fn give_back(&mut self) {
        if !self.is_over() {
            self.parts = (self.parts + self.rate.token_ms()).min(self.rate.full_ms());
        }
    }
}

const SCOPE: Scope<'_> = Scope { account: b"account of alice", target: b"domain of alice1" };

fn limiter() -> GuessLimiter {
    GuessLimiter::new(0, b"0123456789abcdef")
}

fn rate(burst: u32, refill_ms: u32) -> GuessRate {
    GuessRate {
        burst: NonZeroU32::new(burst).unwrap(),
        refill_ms: NonZeroU32::new(refill_ms).unwrap(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_burst_passes_then_one_per_refill() {
    let (limiter, rate) = (limiter(), rate(3, 1000));
    let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
    for _ in 0..3 {
        assert!(!limiter.is_over(key, rate, 5000));
        limiter.record(key, rate, 5000);
    }
    assert!(limiter.is_over(key, rate, 5000));
    assert!(limiter.is_over(key, rate, 5999));
    assert!(!limiter.is_over(key, rate, 6000));
    limiter.record(key, rate, 6000);
    assert!(limiter.is_over(key, rate, 6999));
    assert!(!limiter.is_over(limiter.any_name_key(SCOPE, ip("192.0.2.2")), rate, 5000));
}

#[test]
fn one_refill_after_a_flood_the_key_has_a_token() {
    let (limiter, rate) = (limiter(), rate(10, 6000));
    let key = limiter.name_key(SCOPE, b"alice");
    for now_ms in 0..100_000 {
        limiter.record(key, rate, now_ms);
    }
    assert!(limiter.is_over(key, rate, 99_999 + 5999));
    assert!(!limiter.is_over(key, rate, 99_999 + 6000));
}

#[test]
fn the_largest_values_do_not_overflow() {
    let limiter = limiter();
    let key = limiter.any_name_key(SCOPE, ip("::1"));
    for rate in [rate(u32::MAX, u32::MAX), rate(1, u32::MAX), rate(1, 1)] {
        for now_ms in [u64::MAX, 0, u64::MAX - 1] {
            limiter.record(key, rate, now_ms);
            let _ = limiter.is_over(key, rate, now_ms);
        }
    }
}

#[test]
fn an_accounts_rates_leave_the_decisions_of_others_alone() {
    let limiter = limiter();
    let tenant = Scope { account: b"account of a ten", target: b"target of a tena" };
    let slowest = rate(u32::MAX, u32::MAX);
    for number in 0..10_000_u32 {
        let ip = IpAddr::from(Ipv4Addr::from_bits(number));
        limiter.record(limiter.pair_key(tenant, b"junk", ip), slowest, 0);
    }
    let later = 40 * 86_400_000;
    assert!(limiter.may_be_over(tenant.account, later));
    // accounts whose SIDs differ in one half or in one bit; a few share a time with the tenant
    let others = (0..2_000_u64).filter(|number| {
        let mut account = *tenant.account;
        let (halves, _) = account.as_chunks_mut::<8>();
        let changed = usize::from(number % 2 == 0);
        halves[changed] = (u64::from_le_bytes(halves[changed]) ^ (number + 1)).to_le_bytes();
        limiter.may_be_over(&account, later)
    });
    assert!(others.count() < 10);
}

#[test]
fn slow_rates_of_one_account_keep_no_place_of_evicted_sources() {
    let limiter = limiter();
    let tenant = Scope { account: b"account of a ten", target: b"target of a tena" };
    let slowest = rate(u32::MAX, u32::MAX);
    let ip = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
    // all places for evicted sources are taken
    for number in 0..100_000 {
        limiter.record(limiter.pair_key(tenant, b"junk", ip(number)), slowest, 0);
    }
    // an hour later they are free again, so as many sources of another account are remembered
    let (rate, now_ms) = (rate(1, 60_000), 3_600_000);
    for number in 0..4_096 {
        limiter.record(limiter.pair_key(SCOPE, b"alice", ip(number)), rate, now_ms);
    }
    let over = (0..4_096).filter(|number| {
        limiter.is_over(limiter.pair_key(SCOPE, b"alice", ip(*number)), rate, now_ms)
    });
    let over = over.count();
    assert!(over > 3_800, "{over}");
}

#[test]
fn keys_depend_on_kind_and_on_each_part() {
    let limiter = limiter();
    let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let other_target = Scope { target: b"another target 1", ..SCOPE };
    let other_account = Scope { account: b"another account1", ..SCOPE };
    let keys = [
        limiter.any_name_key(SCOPE, here),
        limiter.any_name_key(SCOPE, there),
        limiter.any_name_key(other_target, here),
        limiter.any_name_key(other_account, here),
        limiter.any_name_key(SCOPE, ip("2001:db8::1")),
        limiter.any_name_key(SCOPE, ip("2001:db8:0:1::1")),
        limiter.any_name_key(SCOPE, ip("::c000:201")),
        limiter.any_name_key(SCOPE, ip("0.0.0.0")),
        limiter.any_name_key(SCOPE, ip("::")),
        limiter.name_key(SCOPE, b""),
        limiter.name_key(SCOPE, b"alice"),
        limiter.name_key(other_target, b"alice"),
        limiter.name_key(other_account, b"alice"),
        limiter.pair_key(SCOPE, b"", here),
        limiter.pair_key(SCOPE, b"alice", here),
        limiter.pair_key(SCOPE, b"alice", there),
        limiter.pair_key(SCOPE, b"Alice", here),
        limiter.pair_key(other_target, b"alice", here),
        limiter.pair_key(other_account, b"alice", here),
    ];
    for (number, key) in keys.iter().enumerate() {
        // `::` and `::c000:201` share a /64; all other keys differ
        let same = keys.iter().filter(|other| *other == key).count();
        assert_eq!(same, if matches!(number, 6 | 8) { 2 } else { 1 }, "key {number}");
    }
    // the counters of a source within an account have one place
    let source = |scope, name, ip| limiter.pair_key(scope, name, ip).source;
    assert_eq!(source(SCOPE, b"a", here), source(other_target, b"b", here));
    assert_eq!(source(SCOPE, b"a", here), limiter.any_name_key(SCOPE, here).source);
    assert_ne!(source(SCOPE, b"a", here), source(other_account, b"a", here));
    let other = GuessLimiter::new(0, b"another 16 bytes");
    assert_ne!(other.any_name_key(SCOPE, here), limiter.any_name_key(SCOPE, here));
}

#[test]
fn the_counters_of_a_flow_within_an_account_have_a_place_of_their_own() {
    let limiter = limiter();
    let place = |scope, flow: &str| limiter.flow_key(scope, b"n", flow.parse().unwrap()).source;
    let here = place(SCOPE, "192.0.2.1:5060");
    let other_target = Scope { target: b"another target 1", ..SCOPE };
    assert_eq!(place(other_target, "192.0.2.1:5060"), here);
    assert_eq!(place(SCOPE, "[::ffff:192.0.2.1]:5060"), here);
    for other in ["192.0.2.1:5061", "192.0.2.2:5060", "[::192.0.2.1]:5060"] {
        assert_ne!(place(SCOPE, other), here, "{other}");
    }
    let other_account = Scope { account: b"another account1", ..SCOPE };
    assert_ne!(place(other_account, "192.0.2.1:5060"), here);
    assert_ne!(limiter.pair_key(SCOPE, b"n", ip("192.0.2.1")).source, here);
}

#[test]
fn sources_are_ipv4_addresses_and_ipv6_networks_of_64() {
    let limiter = limiter();
    for (one, other) in
        [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff")]
    {
        let (one, other) = (ip(one), ip(other));
        assert_eq!(limiter.any_name_key(SCOPE, one), limiter.any_name_key(SCOPE, other));
        assert_eq!(limiter.pair_key(SCOPE, b"n", one), limiter.pair_key(SCOPE, b"n", other));
    }
}

/// Takes all tokens of a key.
fn exhaust(limiter: &GuessLimiter, key: GuessKey, rate: GuessRate) {
    (0..rate.burst.get()).for_each(|_| limiter.record(key, rate, 0));
    assert!(limiter.is_over(key, rate, 0));
}

#[test]
fn junk_names_of_a_source_forgive_none_of_its_names() {
    let (limiter, rate) = (limiter(), rate(3, 1_000));
    let here = ip("192.0.2.1");
    let guessed: Vec<_> = (0..100_u8).map(|name| limiter.pair_key(SCOPE, &[name], here)).collect();
    for key in &guessed {
        (0..3).for_each(|_| limiter.record(*key, rate, 0));
    }
    for name in 0..2_000_u32 {
        limiter.record(limiter.pair_key(SCOPE, &name.to_le_bytes(), here), rate, 0);
    }
    assert!(guessed.iter().all(|key| limiter.is_over(*key, rate, 0)));
    // names of other sources are as they were, and tokens return
    assert!(!limiter.is_over(limiter.pair_key(SCOPE, &[0], ip("192.0.2.2")), rate, 0));
    assert!(guessed.iter().all(|key| !limiter.is_over(*key, rate, 1_000)));
}

#[test]
fn a_name_that_owes_little_raises_the_floor_by_little() {
    let (limiter, rate) = (limiter(), rate(10, 6_000));
    let key = |name: u8| limiter.pair_key(SCOPE, &[name], ip("192.0.2.1"));
    // phones with an old password, one wrong digest each, do not lock out others
    for name in 0..100 {
        limiter.record(key(name), rate, u64::from(name));
    }
    assert!(!limiter.is_over(key(200), rate, 100));
}

#[test]
fn other_sources_forgive_no_source_and_lock_out_none() {
    let (limiter, common) = (limiter(), rate(10, 6_000));
    let slow = rate(1, 3_600_000);
    let tenant = Scope { account: b"a hostile tenant", ..SCOPE };
    let guessed = |number: u8| limiter.pair_key(SCOPE, &[number], ip("192.0.2.1"));
    (0..100).for_each(|number| exhaust(&limiter, guessed(number), common));
    for (scope, rate) in [(SCOPE, common), (tenant, slow)] {
        for number in 0..6_000_u32 {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            let key = limiter.pair_key(scope, b"junk", source);
            (0..10).for_each(|_| limiter.record(key, rate, 0));
        }
        assert!((0..100).all(|number| limiter.is_over(guessed(number), common, 0)));
        for number in 0..100 {
            let never_seen = std::net::Ipv4Addr::new(203, 0, 113, number).into();
            let key = limiter.pair_key(SCOPE, &[number], never_seen);
            assert!(!limiter.is_over(key, common, 0), "{number}");
        }
    }
}

#[test]
fn an_account_with_many_sources_gives_up_its_own_places() {
    let (limiter, rate) = (limiter(), rate(10, 6_000));
    let tenant = Scope { account: b"a hostile tenant", ..SCOPE };
    let source = |number: u32| std::net::Ipv4Addr::from_bits(number).into();
    for number in 0..100 {
        limiter.record(limiter.pair_key(SCOPE, b"alice", source(number)), rate, 0);
    }
    for number in 0..20_000 {
        let key = limiter.pair_key(tenant, b"junk", source(number));
        (0..5).for_each(|_| limiter.record(key, rate, 0));
    }
    let buckets: Vec<_> = limiter.sources.each().collect();
    let account = limiter.pair_key(SCOPE, b"", source(0)).account;
    let held = buckets.iter().flat_map(|bucket| bucket.iter());
    // all, except where the account itself has more than half of a bucket
    assert!(held.filter(|source| source.account == account).count() > 90);
}

#[test]
fn a_release_forgives_one_name_and_no_other() {
    let (limiter, rate) = (limiter(), rate(3, 1_000));
    let other_account = Scope { account: b"another account1", ..SCOPE };
    let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let others = [
        limiter.pair_key(SCOPE, b"bob", here),
        limiter.any_name_key(SCOPE, here),
        limiter.pair_key(SCOPE, b"alice", there),
        limiter.name_key(SCOPE, b"alice"),
        limiter.pair_key(other_account, b"alice", here),
        limiter.pair_key(Scope { target: b"another target 1", ..SCOPE }, b"alice", here),
    ];
    let alice = limiter.pair_key(SCOPE, b"alice", here);
    for key in others.iter().chain([&alice]) {
        exhaust(&limiter, *key, rate);
    }
    assert!(limiter.release(alice, false, 0));
    assert_eq!(limiter.debt(alice), Debt { idle_from_ms: 0, is_own: true });
    assert!(!limiter.is_over(alice, rate, 0));
    assert!(others.iter().all(|key| limiter.is_over(*key, rate, 0)));
    assert!(!limiter.release(alice, false, 0), "it owes nothing");
    assert!(!limiter.release(limiter.pair_key(SCOPE, b"erin", there), false, 0));
    // and the burst starts again
    exhaust(&limiter, alice, rate);
}

#[test]
fn a_release_forgives_a_name_its_floor_and_leaves_the_floor_to_others() {
    let (limiter, rate) = (limiter(), rate(3, 1_000));
    let key = |name: u8| limiter.pair_key(SCOPE, &[name], ip("192.0.2.1"));
    // names beyond the counters owe the floor, guessed at or not
    (0..100).for_each(|name| exhaust(&limiter, key(name), rate));
    let (forgotten, unseen) = (key(0), key(200));
    for name in [forgotten, unseen] {
        assert!(limiter.is_over(name, rate, 0));
        assert_eq!(limiter.debt(name), Debt { idle_from_ms: 3_000, is_own: false });
        assert!(limiter.release(name, false, 0));
        assert!(!limiter.is_over(name, rate, 0));
    }
    assert!((1..100).all(|name| limiter.is_over(key(name), rate, 0)));
    assert!(limiter.is_over(key(201), rate, 0));
}

#[test]
fn a_release_forgives_a_name_of_a_source_that_left_the_table() {
    let (limiter, rate) = (limiter(), rate(3, 10_000));
    let key = |number: u128| GuessKey { source: number << 96 | number << 64, account: 1, name: 1 };
    let crowd_out = |numbers: std::ops::Range<u128>| {
        numbers.for_each(|number| (0..4).for_each(|_| limiter.record(key(number), rate, 0)));
        assert!(limiter.sources.lock(0).find(&key(1).source).is_none());
    };
    let other_name = GuessKey { name: 2, ..key(1) };
    for is_alone in [false, true] {
        exhaust(&limiter, key(1), rate);
        crowd_out(2..10);
        assert_eq!(limiter.debt(key(1)), Debt { idle_from_ms: 30_000, is_own: false });
        assert!(limiter.release(key(1), is_alone, 0));
        assert!(!limiter.is_over(key(1), rate, 0));
        // other names of the source owe what they owed; a key in a place of its own has none
        assert_eq!(limiter.is_over(other_name, rate, 0), !is_alone);
        // the counter goes with its source; the debt of a place with one key does not return
        crowd_out(10..20);
        assert_eq!(limiter.is_over(key(1), rate, 0), !is_alone);
        assert!(limiter.release(key(1), is_alone, 0) != is_alone);
    }
}

#[test]
fn a_returned_token_can_be_taken_again() {
    let (limiter, rate) = (limiter(), rate(2, 1_000));
    let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
    limiter.give_back(key, rate, 5_000);
    for _ in 0..3 {
        limiter.record(key, rate, 5_000);
        limiter.give_back(key, rate, 5_000);
    }
    for _ in 0..2 {
        assert!(!limiter.is_over(key, rate, 5_000));
        limiter.record(key, rate, 5_000);
    }
    assert!(limiter.is_over(key, rate, 5_000));
    // the bucket was empty, so no token was taken
    limiter.record(key, rate, 5_000);
    limiter.give_back(key, rate, 5_000);
    assert!(limiter.is_over(key, rate, 5_000));
}

#[test]
fn a_new_source_in_a_full_bucket_is_counted() {
    let (limiter, rate) = (limiter(), rate(3, 1000));
    let same_bucket =
        |number: u64| GuessKey { source: u128::from(number) << 64, account: 1, name: 1 };
    for number in (0..WAYS as u64).chain(0..WAYS as u64) {
        limiter.record(same_bucket(number), rate, 0);
    }
    exhaust(&limiter, same_bucket(100), rate);
}

#[test]
fn a_source_that_leaves_the_table_owes_what_it_owed() {
    let (limiter, rate) = (limiter(), rate(3, 1000));
    // the sources share a bucket
    let key = |number: u128| GuessKey { source: number << 96 | number << 64, account: 1, name: 1 };
    exhaust(&limiter, key(1), rate);
    for number in 2..=9 {
        (0..4).for_each(|_| limiter.record(key(number), rate, 0));
    }
    assert!(limiter.sources.lock(0).find(&key(1).source).is_none());
    assert!(limiter.is_over(key(1), rate, 999));
    assert!(!limiter.is_over(key(1), rate, 1000));
    // under any name, also once it is back
    assert!(limiter.is_over(GuessKey { name: 2, ..key(1) }, rate, 999));
    limiter.record(key(1), rate, 1000);
    assert!(limiter.is_over(key(1), rate, 1999));
    assert!(limiter.is_over(GuessKey { name: 2, ..key(1) }, rate, 999));
}

#[test]
fn the_largest_account_gives_up_a_place_and_of_equals_the_newcomer() {
    for (held, newcomer, expected) in [
        ("abbbbbbb", b'a', b'b'),
        ("bbbbbbba", b'a', b'b'),
        ("aaaabbbb", b'a', b'a'),
        ("aaaabbbb", b'b', b'b'),
        ("aaabbbbc", b'a', b'a'),
        ("abcdefgh", b'z', b'z'),
        ("aabcdefg", b'z', b'a'),
    ] {
        let largest = largest_account(|| held.bytes(), newcomer);
        assert_eq!(largest, expected, "{held} and {newcomer}");
    }
}

#[test]
fn concurrent_attempts_are_all_counted() {
    let (limiter, rate) = (limiter(), rate(8000, 1000));
    let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..1000).for_each(|_| limiter.record(key, rate, 0)));
        }
    });
    assert!(limiter.is_over(key, rate, 999));
    assert!(!limiter.is_over(key, rate, 1000));
}

proptest! {
    #[test]
    fn agrees_with_a_token_bucket(
        burst in 1u32..6,
        refill in 1u32..40,
        steps in vec((0u64..60, 0u8..20), 0..200),
    ) {
        let (limiter, rate) = (limiter(), rate(burst, refill));
        let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
        let mut oracle = Oracle { rate, parts: rate.full_ms(), now_ms: 0 };
        let mut now_ms = 0;
        for (later_ms, what) in steps {
            now_ms += later_ms;
            oracle.advance(now_ms);
            prop_assert_eq!(limiter.is_over(key, rate, now_ms), oracle.is_over());
            prop_assert!(!oracle.is_over() || limiter.may_be_over(SCOPE.account, now_ms));
            let debt = limiter.debt(key).idle_from_ms;
            prop_assert_eq!(u64::from(rate.owed(debt, now_ms)), oracle.owed());
            let next_ms = rate.next_ms(debt).max(now_ms);
            prop_assert!(!limiter.is_over(key, rate, next_ms));
            prop_assert!(next_ms == now_ms || limiter.is_over(key, rate, next_ms - 1));
            match what {
                0..=7 => {
                    limiter.record(key, rate, now_ms);
                    oracle.record();
                }
                8..=11 => {
                    limiter.give_back(key, rate, now_ms);
                    oracle.give_back();
                }
                12 => {
                    let owed = oracle.owed() > 0;
                    prop_assert_eq!(limiter.release(key, false, now_ms), owed);
                    oracle.parts = rate.full_ms();
                }
                _ => {}
            }
        }
    }

    /// Tokens come back in the order in which they were taken.
    #[test]
    fn the_oldest_owed_token_was_taken_within_its_bounds(
        burst in 1u32..6,
        refill in 1u32..40,
        waits in vec(0u64..60, 1..200),
    ) {
        let (limiter, rate) = (limiter(), rate(burst, refill));
        let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
        let (mut now_ms, mut taken) = (0, Vec::new());
        for later_ms in waits {
            now_ms += later_ms;
            if !limiter.is_over(key, rate, now_ms) {
                limiter.record(key, rate, now_ms);
                taken.push(now_ms);
            }
            let debt = limiter.debt(key).idle_from_ms;
            let owed = usize::try_from(rate.owed(debt, now_ms)).unwrap();
            let oldest = taken[taken.len() - owed];
            let [earliest, latest] = rate.oldest_ms(debt, now_ms);
            prop_assert!(earliest <= oldest && oldest <= latest, "{earliest} {oldest} {latest}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_returns_no_token(times in vec(0u64..500, 0..100), later_ms in 0u64..500) {
        let (limiter, rate) = (limiter(), rate(4, 50));
        let key = limiter.any_name_key(SCOPE, ip("192.0.2.1"));
        for now_ms in times {
            let was_over = limiter.is_over(key, rate, later_ms);
            limiter.record(key, rate, now_ms);
            if was_over {
                prop_assert!((0..=later_ms).all(|ms| limiter.is_over(key, rate, ms)));
            }
        }
    }
}
