//! Limits on wrong digests per source and per claimed name, in fixed memory.

// the interleaving tests include this file from another folder, so its modules need paths
#[path = "guess/held.rs"]
mod held;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;
use siphasher::sip128;

use super::buckets::{Buckets, Entry, WAYS, Ways, largest_account};
use super::credentials::MAX_USERNAME;
use super::evicted::Evicted;
use super::framed::{Framed, Key, octets, words, words_of};
use super::function::MAX_HEX_LEN;
use super::rate::GuessRate;

/// Counters of one source. A name beyond them takes the place of the one that owes least. With the
/// default limits, the other names of a source are affected if it sends more than 2.6 wrong digests
/// a second for a minute.
const NAMES: usize = 16;
/// Times of accounts. Accounts with the same part of a hash share one.
const ACCOUNTS: usize = 1 << 12;
/// Places for evicted sources, for each counted one.
const EVICTED: usize = 16;
/// The rate by which sources are ranked for eviction. It is the installation's and not that of a
/// policy, because a tenant could otherwise keep its sources by a slow rate.
const RANK: GuessRate =
    GuessRate { burst: NonZeroU32::new(600).unwrap(), refill_ms: NonZeroU32::new(6_000).unwrap() };

/// The limit of a flow that proved the password, for this user. No policy sets it: the flow may be
/// that of a proxy, through which a stranger can guess too. Locking the user out needs 600 wrong
/// digests through the same flow, and then more than one a second.
pub(crate) const PROVEN_FLOW: GuessRate =
    GuessRate { burst: NonZeroU32::new(600).unwrap(), refill_ms: NonZeroU32::new(1_000).unwrap() };

/// The key of a counter in a [`GuessLimiter`]: keyed hashes, meaningless outside of their limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuessKey {
    /// The source within an account, or the name if the limit is for a name alone.
    pub(super) source: u128,
    /// The account, see [`account_number`].
    account: u64,
    /// The target and the name.
    name: u64,
}

/// A target and its account: whose counters a guess uses.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The SID of the account.
    pub(crate) account: &'a [u8; 16],
    /// The SID of the domain or trunk.
    pub(crate) target: &'a [u8; 16],
}

/// Counters of wrong digests, by source and name.
///
/// Call [`is_over`](Self::is_over) before computing the digest, and [`record`](Self::record) if it
/// is wrong. Threads that call `is_over` before any of them calls `record` each get an attempt, so
/// the burst can be exceeded by the number of threads minus one. A flood never leaves more than an
/// empty token bucket: one refill interval after its end the key may try again.
///
/// **Memory.** The counters of a source (an IPv4 address or an IPv6 /64) within an account have one
/// place, with room for sixteen names. A bucket of the table has eight places. If a ninth source
/// comes, one of the account with the most places leaves: the one with the fewest recent wrong
/// digests. So neither a source nor a tenant takes the places of others.
///
/// **Forgetting is not forgiving.** If a further name of a source takes the place of another, the
/// tokens that the other owes become a floor. Each name of this source without a counter owes as
/// many. If a source leaves the table, a second, denser table keeps its debt, for sixteen times
/// as many sources as the first, for at most an hour. Sources that were never counted owe nothing,
/// whatever others do.
///
/// - A false positive (limited because of another's attempts) needs an attacker who shares the
///   victim's source. Such an attacker can empty the buckets of names at that source.
/// - A false negative (a source that starts with a full bucket again) needs more sources than both tables hold, within
///   the time in which tokens return. Each of them has a burst of its own anyway.
pub(crate) struct GuessLimiter {
    sources: Buckets<Ways<Source>>,
    evicted: Evicted,
    /// For each account, the latest time at which any of its counters becomes idle. A tenant sets its
    /// rates, so one time for all would let it slow down the decisions of others.
    owing_ms: Box<[AtomicU64]>,
    /// For each bucket, the latest time at which one of its counters, evicted ones included,
    /// becomes idle. After it every key of the bucket is under its limit, which most calls detect
    /// without the bucket's lock.
    latest_ms: Box<[AtomicU64]>,
    key: Key,
}

impl GuessLimiter {
    /// Creates a limiter for `entries` sources, rounded up to a power of two between 512 and
    /// 134,217,728. Allocates all memory here, about 440 bytes for each.
    ///
    /// `key` must be random and secret.
    #[must_use]
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        let sources = Buckets::new(entries);
        let latest_ms = (0..sources.capacity() / WAYS).map(|_| AtomicU64::default()).collect();
        let evicted = Evicted::new(sources.capacity() * EVICTED);
        let owing_ms = (0..ACCOUNTS).map(|_| AtomicU64::default()).collect();
        Self { sources, evicted, owing_ms, latest_ms, key: words(key) }
    }

    /// The key of a name and a source: an IPv4 address (also IPv4-mapped IPv6) or an IPv6 /64.
    #[must_use]
    pub(crate) fn pair_key(&self, scope: Scope<'_>, name: &[u8], ip: IpAddr) -> GuessKey {
        self.key(Kind::Pair, scope, name, Some(ip))
    }

    /// The key of a name, over all sources. Anyone can use up its tokens, so a limit on it lets
    /// strangers lock out the user.
    #[must_use]
    pub(crate) fn name_key(&self, scope: Scope<'_>, name: &[u8]) -> GuessKey {
        self.key(Kind::Name, scope, name, None)
    }

    /// The key of a source, reduced as in [`pair_key`](Self::pair_key), over all names of a target.
    #[must_use]
    pub(crate) fn any_name_key(&self, scope: Scope<'_>, ip: IpAddr) -> GuessKey {
        self.key(Kind::AnyName, scope, b"", Some(ip))
    }

    /// The key of a name in explanations, over all sources that their asker names. No request uses it, so
    /// an asker locks out no caller, and no release reaches it.
    #[must_use]
    pub(crate) fn asked_key(&self, scope: Scope<'_>, name: &[u8]) -> GuessKey {
        self.key(Kind::Asked, scope, name, None)
    }

    /// The key of a name and a flow. The counters of a flow have a place of their own, so that other
    /// names of its source take none of them.
    #[must_use]
    pub(crate) fn flow_key(&self, scope: Scope<'_>, name: &[u8], flow: SocketAddr) -> GuessKey {
        let mut text = Framed::<{ 8 + 16 + 16 }>::default();
        text.push(&(Kind::Flow as u64 | u64::from(flow.port()) << 8).to_le_bytes());
        text.push(scope.account);
        text.push(&octets(flow.ip()));
        let (source, name) = (self.hash(text.as_bytes()), self.name(Kind::Flow, scope, name));
        GuessKey { source, account: account_number(scope.account), name }
    }

    /// Whether any key of an account may be over its limit. False if no wrong digest for it arrived
    /// recently; then the caller need not compute a key.
    #[must_use]
    #[inline]
    pub(crate) fn may_be_over(&self, account: &[u8; 16], now_ms: u64) -> bool {
        let owing_ms = self.owing_ms(account_number(account));
        owing_ms.is_some_and(|owing_ms| owing_ms.load(Ordering::Acquire) > now_ms)
    }

    #[inline]
    fn owing_ms(&self, account: u64) -> Option<&AtomicU64> {
        // the number of accounts is a power of two; the upper bits of a product depend on all others
        let [low, _] = *self.key;
        let at = account.wrapping_mul(low | 1) >> (u64::BITS - ACCOUNTS.trailing_zeros());
        self.owing_ms.get(usize::try_from(at).ok()?)
    }

    /// Whether `key` has no token left. Changes nothing.
    ///
    /// If `rate` differs from the recorded one, the old debt still has to expire.
    #[must_use]
    pub(crate) fn is_over(&self, key: GuessKey, rate: GuessRate, now_ms: u64) -> bool {
        let latest_ms = self.latest_ms.get(self.sources.number(key.source));
        if latest_ms.is_some_and(|latest_ms| latest_ms.load(Ordering::Acquire) <= now_ms) {
            return false;
        }
        let bucket = self.sources.lock(key.source);
        let idle_from_ms = match bucket.find(&key.source) {
            Some(source) => source.idle_from_ms(key.name),
            None => self.evicted.until_ms(key.source),
        };
        rate.is_over(idle_from_ms, now_ms)
    }

    /// Takes a token from `key`, if one is left.
    pub(crate) fn record(&self, key: GuessKey, rate: GuessRate, now_ms: u64) {
        let mut bucket = self.sources.lock(key.source);
        let idle_from_ms = if let Some(source) = bucket.find_mut(&key.source) {
            source.record(key.name, rate, now_ms)
        } else {
            let mut source = Source::new(key, self.evicted.until_ms(key.source));
            let idle_from_ms = source.record(key.name, rate, now_ms);
            self.add(&mut bucket, source, now_ms);
            idle_from_ms
        };
        if let Some(latest_ms) = self.latest_ms.get(self.sources.number(key.source)) {
            latest_ms.fetch_max(idle_from_ms, Ordering::Release);
        }
        if let Some(owing_ms) = self.owing_ms(key.account) {
            owing_ms.fetch_max(idle_from_ms, Ordering::Release);
        }
    }

    /// Adds a new source. Without a free place, one of the account with the most places leaves.
    fn add(&self, bucket: &mut Ways<Source>, source: Source, now_ms: u64) {
        if bucket.is_full() {
            self.replace(bucket, source, now_ms);
        } else {
            bucket.add(source, |it| it.rank_ms);
        }
    }

    #[inline(never)]
    fn replace(&self, bucket: &mut Ways<Source>, source: Source, now_ms: u64) {
        let account = largest_account(|| bucket.iter().map(|it| it.account), source.account);
        // sources of the account with the most places leave first
        let rank = |it: &Source| it.rank_ms >> 1 | u64::from(it.account != account) << 63;
        if let Some(evicted) = bucket.add(source, rank) {
            // a tenant's slow rates must not keep the places of others' sources
            let most_ms = now_ms.saturating_add(RANK.full_ms());
            self.evicted.put(evicted.id, evicted.latest_ms().min(most_ms));
        }
    }

    /// Returns a token that [`record`](Self::record) took, if the attempt turned out not to count.
    ///
    /// An empty bucket gets none back: `record` may have found it empty and taken none. Otherwise a
    /// user could fill it by such attempts.
    pub(crate) fn give_back(&self, key: GuessKey, rate: GuessRate, now_ms: u64) {
        let mut bucket = self.sources.lock(key.source);
        let names = bucket.find_mut(&key.source).map(|source| &mut source.names);
        let mut counters = names.into_iter().flatten();
        if let Some(counter) = counters.find(|it| it.name == key.name)
            && !rate.is_over(counter.idle_from_ms, now_ms)
        {
            counter.idle_from_ms = rate.give_back(counter.idle_from_ms);
        }
    }

    /// The key of a name in the place of a source, or in one of its own. The place hashes the account,
    /// so the name need not.
    fn key(&self, kind: Kind, scope: Scope<'_>, name: &[u8], ip: Option<IpAddr>) -> GuessKey {
        let name = self.name(kind, scope, name);
        let [kind, place] = match ip.map(|ip| ip.to_canonical()) {
            None => [kind as u64, name],
            Some(IpAddr::V4(v4)) => [Kind::Source as u64 | 4 << 8, v4.to_bits().into()],
            // the upper half, which is the /64
            Some(IpAddr::V6(v6)) => [Kind::Source as u64 | 6 << 8, (v6.to_bits() >> 64) as u64],
        };
        let [low, high] = words_of(scope.account);
        let source = self.hash([kind, place, low, high].map(u64::to_le_bytes).as_flattened());
        GuessKey { source, account: account_number(scope.account), name }
    }

    /// Hashes kind and target at fixed positions, then the name. The encoding is injective: the name
    /// is the rest.
    fn name(&self, kind: Kind, scope: Scope<'_>, name: &[u8]) -> u64 {
        let mut text = Framed::<{ 1 + 16 + MAX_NAME }>::default();
        text.push(&[kind as u8]);
        text.push(scope.target);
        text.push(name);
        let [low, high] = *self.key;
        SipHasher13::new_with_keys(low, high).hash(text.as_bytes())
    }

    /// Hashes the text of a place.
    fn hash(&self, text: &[u8]) -> u128 {
        let [low, high] = *self.key;
        sip128::SipHasher13::new_with_keys(low, high).hash(text).as_u128()
    }
}

/// An account as a number. Two accounts with the same number only share their places.
#[inline]
fn account_number(account: &[u8; 16]) -> u64 {
    let [low, high] = words_of(account);
    low ^ high.rotate_left(32)
}

/// The maximum length of a claimed name in bytes: a name may be a hexadecimal hash.
pub(crate) const MAX_NAME: usize =
    if MAX_HEX_LEN > MAX_USERNAME { MAX_HEX_LEN } else { MAX_USERNAME };

/// The kind of a hashed text.
#[derive(Clone, Copy)]
enum Kind {
    Source = 1,
    Pair = 2,
    Name = 3,
    AnyName = 4,
    Flow = 5,
    Asked = 6,
}

/// The counters of a source.
struct Source {
    id: u128,
    account: u64,
    /// The debt by [`RANK`].
    rank_ms: u64,
    /// The debt of each name without a counter.
    floor_ms: u64,
    names: ArrayVec<Counter, NAMES>,
}

#[derive(Clone, Copy)]
struct Counter {
    name: u64,
    idle_from_ms: u64,
}

impl Source {
    fn new(key: GuessKey, floor_ms: u64) -> Self {
        let names = ArrayVec::new();
        Self { id: key.source, account: key.account, rank_ms: 0, floor_ms, names }
    }

    fn idle_from_ms(&self, name: u64) -> u64 {
        let counter = self.names.iter().find(|counter| counter.name == name);
        counter.map_or(self.floor_ms, |counter| counter.idle_from_ms)
    }

    /// Takes a token from a name, and returns its debt.
    fn record(&mut self, name: u64, rate: GuessRate, now_ms: u64) -> u64 {
        self.rank_ms = RANK.take(self.rank_ms, now_ms);
        if let Some(counter) = self.names.iter_mut().find(|counter| counter.name == name) {
            counter.idle_from_ms = rate.take(counter.idle_from_ms, now_ms);
            return counter.idle_from_ms;
        }
        let idle_from_ms = rate.take(self.floor_ms, now_ms);
        self.put(Counter { name, idle_from_ms });
        idle_from_ms
    }

    /// Adds the counter of a name that has none. Without a free place it takes that of the name that owes
    /// least, which leaves its debt as the floor.
    fn put(&mut self, new: Counter) {
        if self.names.try_push(new).is_err()
            && let Some(least) = self.names.iter_mut().min_by_key(|counter| counter.idle_from_ms)
        {
            self.floor_ms = self.floor_ms.max(least.idle_from_ms);
            *least = new;
        }
    }

    /// The time from which the source owes nothing.
    fn latest_ms(&self) -> u64 {
        self.names.iter().fold(self.floor_ms, |latest, it| latest.max(it.idle_from_ms))
    }
}

impl Entry for Source {
    type Id = u128;

    fn id(&self) -> u128 {
        self.id
    }
}

#[cfg(test)]
#[path = "guess/tests.rs"]
mod tests;
