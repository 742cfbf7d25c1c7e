//! Limits on wrong digests per source and per claimed name, and on stale answers per flow, in fixed
//! memory.
//! Each key has a token bucket, stored as one time by the generic cell rate algorithm (GCRA).

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip128::SipHasher13;

use super::buckets::{Buckets, Entry, WAYS, Ways};
use super::credentials::MAX_USERNAME;
use super::framed::{Framed, Key, words};
use super::function::MAX_HEX_LEN;

/// Allowed rate of wrong digests: a token bucket that starts full; each wrong digest takes one
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct GuessRate {
    /// The size of the token bucket.
    pub burst: NonZeroU32,
    /// The time in milliseconds for one token to return. In a policy at most
    /// [`Policy::MAX_GUESS_REFILL_MS`](crate::model::Policy::MAX_GUESS_REFILL_MS).
    pub refill_ms: NonZeroU32,
}

/// The key of a counter in a [`GuessLimiter`]: a keyed hash, meaningless outside of its limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuessKey(u128);

/// Counters of wrong digests, by key.
///
/// Call [`is_over`](Self::is_over) before computing the digest, and [`record`](Self::record) if it
/// is wrong. Threads that call `is_over` before any of them calls `record` each get an attempt, so
/// the burst can be exceeded by the number of threads minus one. A flood never leaves more than an
/// empty token bucket: one refill interval after its end the key may try again.
///
/// The low bits of a key select one of at least 64 buckets of eight counters. In a full bucket, a
/// new counter replaces the one with the fewest missing tokens. Counters in heavy use therefore
/// stay, whatever the rates of the others are.
///
/// - A false positive (limited because of another's attempts) needs two keys with the same hash, or
///   an attacker who shares the victim's key. Such an attacker sends the same name from the same IPv4
///   address or IPv6 /64. The victim gets the policy's answer until a refill.
/// - A false negative (the counter was replaced) restarts the key with a full burst.
///
/// To displace a counter with `d` missing tokens, an attacker needs seven more keys with at least
/// `d` missing tokens in the same bucket, and one to take the place. The key of the hash is secret,
/// so the attacker must fill all buckets: about `7 * d * entries / 8` wrong digests to gain a burst
/// of ten. With 65,536 entries and ten tokens that is over 500,000, sent within the time in which
/// the attacker's own tokens refill, at most an hour each. Each further burst takes about as many
/// attempts with new keys as there are buckets, while the attacker keeps the seven counters of each
/// bucket up.
///
/// All times are milliseconds of one clock. If `now_ms` steps back, no token returns, and counters
/// look fuller until the clock catches up.
pub(crate) struct GuessLimiter {
    buckets: Buckets<Ways<Counter>>,
    /// The latest time at which any counter becomes idle.
    last_ms: AtomicU64,
    /// For each bucket, the latest time at which one of its counters becomes idle. After it every
    /// key of the bucket is under its limit, which most calls detect without the bucket's lock.
    latest_ms: Box<[AtomicU64]>,
    key: Key,
}

impl GuessLimiter {
    /// Creates a limiter with `entries` counters, rounded up to a power of two between 512 and
    /// 134,217,728. Allocates all memory here, about 37 bytes for each.
    ///
    /// `key` must be random and secret.
    #[must_use]
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        let buckets = Buckets::new(entries);
        let latest_ms = (0..buckets.capacity() / WAYS).map(|_| AtomicU64::default()).collect();
        Self { buckets, last_ms: AtomicU64::default(), latest_ms, key: words(key) }
    }

    /// The key of a name and a source: an IPv4 address (also IPv4-mapped IPv6) or an IPv6 /64.
    /// `scope` is the SID of the domain or trunk of the name.
    #[must_use]
    pub(crate) fn pair_key(&self, scope: &[u8], name: &[u8], ip: IpAddr) -> GuessKey {
        self.key(Domain::Pair, scope, name, Some(ip))
    }

    /// The key of a name, over all sources. Anyone can use up its tokens, so a limit on it lets
    /// strangers lock out the user.
    #[must_use]
    pub(crate) fn name_key(&self, scope: &[u8], name: &[u8]) -> GuessKey {
        self.key(Domain::Name, scope, name, None)
    }

    /// The key of a source, reduced as in [`pair_key`](Self::pair_key), over all names in a
    /// scope.
    #[must_use]
    pub(crate) fn any_name_key(&self, scope: &[u8], ip: IpAddr) -> GuessKey {
        self.key(Domain::AnyName, scope, b"", Some(ip))
    }

    /// The key of a flow: address and port.
    #[must_use]
    pub(crate) fn flow_key(&self, source: SocketAddr) -> GuessKey {
        let address = match source.ip().to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut flow = [0; 18];
        let (ip, port) = flow.split_at_mut(16);
        ip.copy_from_slice(&address.octets());
        port.copy_from_slice(&source.port().to_be_bytes());
        self.key(Domain::Flow, b"", &flow, None)
    }

    /// Whether any key may be over its limit. False if no wrong digest arrived recently; then the
    /// caller need not compute a key.
    #[must_use]
    pub(crate) fn is_anyone_over(&self, now_ms: u64) -> bool {
        self.last_ms.load(Ordering::Acquire) > now_ms
    }

    /// Whether `key` has no token left. Changes nothing.
    ///
    /// If `rate` differs from the recorded one, the old debt still has to expire.
    #[must_use]
    pub(crate) fn is_over(&self, key: GuessKey, rate: GuessRate, now_ms: u64) -> bool {
        let latest_ms = self.latest_ms.get(self.buckets.number(key.0));
        if latest_ms.is_some_and(|latest_ms| latest_ms.load(Ordering::Acquire) <= now_ms) {
            return false;
        }
        let debt_ms = idle_from(&self.buckets.lock(key.0), key).saturating_sub(now_ms);
        // Less than one token is left.
        debt_ms > full_ms(rate) - refill_ms(rate)
    }

    /// Takes a token from `key`, if one is left.
    pub(crate) fn record(&self, key: GuessKey, rate: GuessRate, now_ms: u64) {
        let mut bucket = self.buckets.lock(key.0);
        let before_ms = idle_from(&bucket, key);
        let after_ms = before_ms.max(now_ms).saturating_add(refill_ms(rate));
        // The debt is at most one burst; but a debt from a later clock remains if the clock stepped
        // back.
        let most_ms = now_ms.saturating_add(full_ms(rate)).max(before_ms);
        let idle_from_ms = after_ms.min(most_ms);
        let counter = Counter { key, idle_from_ms, refill_ms: rate.refill_ms };
        bucket.put(counter, |held| held.owed(now_ms));
        if let Some(latest_ms) = self.latest_ms.get(self.buckets.number(key.0)) {
            latest_ms.fetch_max(idle_from_ms, Ordering::Release);
        }
        self.last_ms.fetch_max(idle_from_ms, Ordering::Release);
    }

    /// Returns a token that [`record`](Self::record) took, if the attempt turned out not to count.
    pub(crate) fn give_back(&self, key: GuessKey, rate: GuessRate, now_ms: u64) {
        let mut bucket = self.buckets.lock(key.0);
        if let Some(counter) = bucket.find(&key) {
            let idle_from_ms = counter.idle_from_ms.saturating_sub(refill_ms(rate));
            let counter = Counter { key, idle_from_ms, refill_ms: rate.refill_ms };
            bucket.put(counter, |held| held.owed(now_ms));
        }
    }

    /// Hashes kind, length of the scope and source at fixed positions, then scope and name. The
    /// encoding is injective: the name is the rest.
    fn key(&self, domain: Domain, scope: &[u8], name: &[u8], ip: Option<IpAddr>) -> GuessKey {
        let (family, network) = match ip.map(|ip| ip.to_canonical()) {
            None => (0, 0),
            Some(IpAddr::V4(v4)) => (4, u64::from(v4.to_bits())),
            // the upper half, which is the /64
            Some(IpAddr::V6(v6)) => (6, (v6.to_bits() >> 64) as u64),
        };
        // a scope is a SID of 16 bytes, and a name may be a hexadecimal hash
        let mut text = Framed::<{ 8 + 8 + 32 + MAX_NAME }>::default();
        let scope_len = u8::try_from(scope.len()).unwrap_or(u8::MAX);
        let kind = u64::from_le_bytes([domain as u8, family, scope_len, 0, 0, 0, 0, 0]);
        text.push([kind, network].map(u64::to_le_bytes).as_flattened());
        match <&[u8; 16]>::try_from(scope) {
            Ok(sid) => text.push(sid),
            Err(_) => text.push(scope),
        }
        text.push(name);
        let [low, high] = *self.key;
        GuessKey(SipHasher13::new_with_keys(low, high).hash(text.as_bytes()).as_u128())
    }
}

/// The maximum length of a claimed name in bytes.
const MAX_NAME: usize = if MAX_HEX_LEN > MAX_USERNAME { MAX_HEX_LEN } else { MAX_USERNAME };

/// The kind of a key.
#[derive(Clone, Copy)]
enum Domain {
    Flow = 1,
    Pair = 2,
    Name = 3,
    AnyName = 4,
}

struct Counter {
    key: GuessKey,
    /// The time at which all tokens are back: GCRA's theoretical arrival time.
    idle_from_ms: u64,
    /// The time for one token to return.
    refill_ms: NonZeroU32,
}

impl Counter {
    /// The number of missing tokens, in 1,024ths. The rank is not the time until they return,
    /// because then keys with slow rates would displace those of all other policies.
    fn owed(&self, now_ms: u64) -> u64 {
        let debt_ms = self.idle_from_ms.saturating_sub(now_ms);
        debt_ms.saturating_mul(1_024) / u64::from(self.refill_ms.get())
    }
}

impl Entry for Counter {
    type Id = GuessKey;

    fn id(&self) -> GuessKey {
        self.key
    }
}

/// The time at which `key` becomes idle; 0 without a counter.
fn idle_from(bucket: &Ways<Counter>, key: GuessKey) -> u64 {
    bucket.find(&key).map_or(0, |counter| counter.idle_from_ms)
}

fn refill_ms(rate: GuessRate) -> u64 {
    u64::from(rate.refill_ms.get())
}

/// The time to fill an empty token bucket. The product of two 32-bit factors fits.
fn full_ms(rate: GuessRate) -> u64 {
    u64::from(rate.burst.get()) * refill_ms(rate)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

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
                self.parts = (self.parts + 1).min(full_ms(self.rate));
            }
        }

        fn is_over(&self) -> bool {
            self.parts < refill_ms(self.rate)
        }

        fn record(&mut self) {
            self.parts = self.parts.saturating_sub(refill_ms(self.rate));
        }

        fn give_back(&mut self) {
            self.parts = (self.parts + refill_ms(self.rate)).min(full_ms(self.rate));
        }
    }

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
        let key = limiter.any_name_key(b"SD0", ip("192.0.2.1"));
        for _ in 0..3 {
            assert!(!limiter.is_over(key, rate, 5000));
            limiter.record(key, rate, 5000);
        }
        assert!(limiter.is_over(key, rate, 5000));
        assert!(limiter.is_over(key, rate, 5999));
        assert!(!limiter.is_over(key, rate, 6000));
        limiter.record(key, rate, 6000);
        assert!(limiter.is_over(key, rate, 6999));
        assert!(!limiter.is_over(limiter.any_name_key(b"SD0", ip("192.0.2.2")), rate, 5000));
    }

    #[test]
    fn one_refill_after_a_flood_the_key_has_a_token() {
        let (limiter, rate) = (limiter(), rate(10, 6000));
        let key = limiter.name_key(b"SD1", b"alice");
        for now_ms in 0..100_000 {
            limiter.record(key, rate, now_ms);
        }
        assert!(limiter.is_over(key, rate, 99_999 + 5999));
        assert!(!limiter.is_over(key, rate, 99_999 + 6000));
    }

    #[test]
    fn the_largest_values_do_not_overflow() {
        let limiter = limiter();
        let key = limiter.any_name_key(b"SD0", ip("::1"));
        for rate in [rate(u32::MAX, u32::MAX), rate(1, u32::MAX), rate(1, 1)] {
            for now_ms in [u64::MAX, 0, u64::MAX - 1] {
                limiter.record(key, rate, now_ms);
                let _ = limiter.is_over(key, rate, now_ms);
            }
        }
    }

    #[test]
    fn keys_depend_on_kind_and_on_each_part() {
        let limiter = limiter();
        let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let keys = [
            limiter.flow_key("192.0.2.1:5060".parse().unwrap()),
            limiter.flow_key("192.0.2.1:5061".parse().unwrap()),
            limiter.any_name_key(b"SD0", ip("2001:db8::1")),
            limiter.any_name_key(b"SD0", ip("2001:db8:0:1::1")),
            limiter.any_name_key(b"SD0", ip("::c000:201")),
            limiter.any_name_key(b"SD0", ip("0.0.0.0")),
            limiter.any_name_key(b"SD0", ip("::")),
            limiter.name_key(b"", b""),
            limiter.name_key(b"SD1", b"alice"),
            limiter.name_key(b"SD1a", b"lice"),
            limiter.name_key(b"SD1alice", b""),
            limiter.name_key(b"", b"SD1alice"),
            limiter.pair_key(b"", b"", here),
            limiter.pair_key(b"SD1", b"alice", here),
            limiter.pair_key(b"SD1", b"alice", there),
            limiter.pair_key(b"SD1a", b"lice", here),
            limiter.pair_key(b"SD2", b"alice", here),
            limiter.pair_key(b"SD1", b"Alice", here),
            limiter.any_name_key(b"SD1", here),
            limiter.any_name_key(b"SD1", there),
            limiter.any_name_key(b"SD2", here),
            limiter.any_name_key(b"", here),
        ];
        for (number, key) in keys.iter().enumerate() {
            // `::` and `::c000:201` share a /64; all other keys differ.
            let same = keys.iter().filter(|other| *other == key).count();
            assert_eq!(same, if matches!(number, 4 | 6) { 2 } else { 1 }, "key {number}");
        }
        let other = GuessLimiter::new(0, b"another 16 bytes");
        assert_ne!(other.any_name_key(b"SD0", here), limiter.any_name_key(b"SD0", here));
    }

    #[test]
    fn sources_are_ipv4_addresses_and_ipv6_networks_of_64() {
        let limiter = limiter();
        for (one, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ] {
            let (one, other) = (ip(one), ip(other));
            assert_eq!(limiter.any_name_key(b"SD0", one), limiter.any_name_key(b"SD0", other));
            assert_eq!(limiter.pair_key(b"s", b"n", one), limiter.pair_key(b"s", b"n", other));
        }
    }

    #[test]
    fn new_keys_do_not_displace_a_counter_in_use() {
        let (limiter, rate) = (limiter(), rate(2, 1000));
        let key = limiter.pair_key(b"SD1", b"alice", ip("192.0.2.1"));
        limiter.record(key, rate, 0);
        limiter.record(key, rate, 0);
        for number in 0..20_000u32 {
            limiter.record(limiter.name_key(b"SD1", &number.to_be_bytes()), rate, 0);
        }
        assert!(limiter.is_over(key, rate, 0));
    }

    #[test]
    fn keys_with_slow_rates_do_not_displace_keys_with_more_missing_tokens() {
        let (limiter, slow, common) = (limiter(), rate(1, 3_600_000), rate(10, 6_000));
        for number in 0..20_000u32 {
            limiter.record(limiter.name_key(b"SD2", &number.to_be_bytes()), slow, 0);
        }
        let key = limiter.pair_key(b"SD1", b"alice", ip("192.0.2.1"));
        for _ in 0..10 {
            limiter.record(key, common, 0);
        }
        for number in 0..20_000u32 {
            assert!(limiter.is_over(key, common, 0), "after {number}");
            limiter.record(limiter.name_key(b"SD2", &number.to_le_bytes()), slow, 0);
        }
        // the key is displaced once most of its tokens are back
        for number in 0..20_000u32 {
            limiter.record(limiter.name_key(b"SD3", &number.to_be_bytes()), slow, 59_000);
        }
        assert!(!limiter.is_over(key, rate(1, 6_000), 59_000));
    }

    #[test]
    fn a_returned_token_can_be_taken_again() {
        let (limiter, rate) = (limiter(), rate(2, 1_000));
        let key = limiter.any_name_key(b"SD0", ip("192.0.2.1"));
        limiter.give_back(key, rate, 5_000);
        for _ in 0..3 {
            limiter.record(key, rate, 5_000);
        }
        assert!(limiter.is_over(key, rate, 5_000));
        limiter.give_back(key, rate, 5_000);
        assert!(!limiter.is_over(key, rate, 5_000));
        limiter.record(key, rate, 5_000);
        assert!(limiter.is_over(key, rate, 5_000));
    }

    #[test]
    fn a_new_key_in_a_full_bucket_is_counted() {
        let (limiter, rate) = (limiter(), rate(3, 1000));
        let same_bucket = |number: u64| GuessKey(u128::from(number) << 64);
        for number in (0..WAYS as u64).chain(0..WAYS as u64) {
            limiter.record(same_bucket(number), rate, 0);
        }
        let newcomer = same_bucket(100);
        for _ in 0..3 {
            limiter.record(newcomer, rate, 0);
        }
        assert!(limiter.is_over(newcomer, rate, 0));
    }

    #[test]
    fn concurrent_attempts_are_all_counted() {
        let (limiter, rate) = (limiter(), rate(8000, 1000));
        let key = limiter.any_name_key(b"SD0", ip("192.0.2.1"));
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
            steps in vec((0u64..60, 0u8..5), 0..200),
        ) {
            let (limiter, rate) = (limiter(), rate(burst, refill));
            let key = limiter.any_name_key(b"SD0", ip("192.0.2.1"));
            let mut oracle = Oracle { rate, parts: full_ms(rate), now_ms: 0 };
            let mut now_ms = 0;
            for (later_ms, what) in steps {
                now_ms += later_ms;
                oracle.advance(now_ms);
                prop_assert_eq!(limiter.is_over(key, rate, now_ms), oracle.is_over());
                prop_assert!(!oracle.is_over() || limiter.is_anyone_over(now_ms));
                match what {
                    0 | 1 => {
                        limiter.record(key, rate, now_ms);
                        oracle.record();
                    }
                    2 => {
                        limiter.give_back(key, rate, now_ms);
                        oracle.give_back();
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn a_clock_that_steps_back_returns_no_token(times in vec(0u64..500, 0..100), later_ms in 0u64..500) {
            let (limiter, rate) = (limiter(), rate(4, 50));
            let key = limiter.any_name_key(b"SD0", ip("192.0.2.1"));
            for now_ms in times {
                let was_over = limiter.is_over(key, rate, later_ms);
                limiter.record(key, rate, now_ms);
                if was_over {
                    prop_assert!((0..=later_ms).all(|ms| limiter.is_over(key, rate, ms)));
                }
            }
        }
    }
}
