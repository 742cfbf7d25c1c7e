//! Limits of accepted calls in a log, for each account: lines a second, and places in the queue. The
//! calls of one account displace no lines of others.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sip_authz::AccountSid;

/// The number of accounts that are remembered.
const ACCOUNTS: usize = 1 << 14;
/// Accounts of a set.
const WAYS: usize = 8;
/// A quiet account may have as many lines at once as its limit allows in this number of seconds.
const BURST_SECONDS: u64 = 60;
/// The debt of a line. In this unit, an account pays its limit of lines a second in each millisecond.
const LINE: u64 = 1_000;
/// An account may have this number of times as many entries in the queue as there are free places. So
/// each account that fills the queue leaves a third of the free places to others.
const SHARE: usize = 2;

/// The limits of all accounts, in fixed memory.
///
/// An account has eight places. If all are taken, a new account replaces the one that owes least. So the
/// debt of an account is forgotten only if eight others of its set owe more.
pub(super) struct AccountLimits {
    /// Lines a second; `None` is unlimited.
    rate: Option<u32>,
    start: Instant,
    hasher: RandomState,
    sets: Box<[Mutex<[Place; WAYS]>]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// `None` marks an empty place.
    account: Option<AccountSid>,
    debt: u64,
    /// The time of the last payment, in milliseconds.
    paid_ms: u64,
    /// The number of entries in the queue.
    waiting: usize,
}

impl AccountLimits {
    pub(super) fn new(rate: Option<u32>) -> Self {
        let sets = (0..ACCOUNTS / WAYS).map(|_| Mutex::default()).collect();
        Self { rate, start: Instant::now(), hasher: RandomState::new(), sets }
    }

    /// Whether an accepted call of the account may have a line; counts the line.
    pub(super) fn admits(&self, account: AccountSid, now: Instant) -> bool {
        let Some(rate) = self.rate.map(u64::from) else { return true };
        let (now_ms, most) = (self.millis(now), rate * BURST_SECONDS * LINE);
        self.set(account).is_none_or(|mut set| {
            // so that a debt of long ago keeps no place
            set.iter_mut().for_each(|place| place.pay(rate, now_ms));
            let place = place_of(&mut set, account);
            let admits = place.debt + LINE <= most;
            place.debt += if admits { LINE } else { 0 };
            admits
        })
    }

    /// Whether an entry of the account may take one of the `free` places of the queue; counts the entry.
    pub(super) fn enters(&self, account: AccountSid, free: usize) -> bool {
        self.set(account).is_none_or(|mut set| {
            let place = place_of(&mut set, account);
            let enters = place.waiting < free.saturating_mul(SHARE);
            place.waiting += usize::from(enters);
            enters
        })
    }

    /// Counts an entry that left the queue.
    pub(super) fn leaves(&self, account: AccountSid) {
        if let Some(mut set) = self.set(account)
            && let Some(place) = set.iter_mut().find(|place| place.account == Some(account))
        {
            place.waiting = place.waiting.saturating_sub(1);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn set(&self, account: AccountSid) -> Option<MutexGuard<'_, [Place; WAYS]>> {
        let [a, b, ..] = self.hasher.hash_one(account).to_ne_bytes();
        let set =
            self.sets.get(usize::from(u16::from_ne_bytes([a, b])) % self.sets.len().max(1))?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The account's place, which it takes from the account that owes least if it has none.
fn place_of(set: &mut [Place; WAYS], account: AccountSid) -> &mut Place {
    let held = set.iter().position(|place| place.account == Some(account));
    let least = || {
        let places = set.iter().enumerate();
        places.min_by_key(|(_, place)| place.owed()).map_or(0, |(at, _)| at)
    };
    let at = held.unwrap_or_else(least);
    // `at` is an index of the set
    let [first, others @ ..] = set;
    let place = at.checked_sub(1).and_then(|at| others.get_mut(at)).unwrap_or(first);
    if held.is_none() {
        *place = Place { account: Some(account), debt: 0, waiting: 0, ..*place };
    }
    place
}

impl Place {
    /// The debt of its lines and of its entries in the queue.
    fn owed(&self) -> u64 {
        self.debt.saturating_add((self.waiting as u64).saturating_mul(LINE))
    }

    /// Subtracts the payment of the account since the last call. A delayed thread pays nothing.
    fn pay(&mut self, rate: u64, now_ms: u64) {
        let since = now_ms.saturating_sub(self.paid_ms);
        self.debt = self.debt.saturating_sub(since.saturating_mul(rate));
        self.paid_ms = self.paid_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn account(number: usize) -> AccountSid {
        AccountSid::from_name(&[&number.to_string()])
    }

    fn admitted(limits: &AccountLimits, number: usize, times: usize, millis: u64) -> usize {
        let now = limits.start + Duration::from_millis(millis);
        (0..times).filter(|_| limits.admits(account(number), now)).count()
    }

    #[test]
    fn an_account_has_a_burst_and_then_its_rate() {
        let limits = AccountLimits::new(Some(5));
        assert_eq!(admitted(&limits, 1, 1_000, 0), 300);
        assert_eq!(admitted(&limits, 1, 1_000, 999), 4);
        assert_eq!(admitted(&limits, 1, 1_000, 1_000), 1);
        // a delayed thread pays nothing
        assert_eq!(admitted(&limits, 1, 1_000, 0), 0);
        assert_eq!(admitted(&limits, 1, 1_000, 1_000), 0);
        assert_eq!(admitted(&limits, 1, 1_000, 61_000), 300);
        assert_eq!(admitted(&AccountLimits::new(None), 1, 100_000, 0), 100_000);
        let most = AccountLimits::new(Some(u32::MAX));
        assert_eq!(admitted(&most, 1, 10_000, u64::from(u32::MAX)), 10_000);
    }

    #[test]
    fn the_lines_of_quiet_accounts_are_never_left_out_for_a_noisy_one() {
        let limits = AccountLimits::new(Some(1));
        let mut noisy = 0;
        for second in 0..100_u32 {
            let millis = u64::from(second) * 1_000;
            noisy += admitted(&limits, 0, 500, millis);
            // more accounts than the table has places
            let quiet = (1..=300).map(|number| (second * 300 + number) as usize);
            assert!(quiet.into_iter().all(|it| admitted(&limits, it, 20, millis) == 20));
        }
        // the noisy one is not forgotten, even if the others together have more lines
        assert_eq!(noisy, 60 + 99);
    }

    #[test]
    fn a_debt_of_long_ago_keeps_no_place() {
        let limits = AccountLimits::new(Some(1));
        let all = 2 * ACCOUNTS;
        (0..all).for_each(|number| assert_eq!(admitted(&limits, number, 20, 0), 20));
        let later = 3_600_000;
        let active: Vec<_> = (all..all + ACCOUNTS / 16).collect();
        active.iter().for_each(|number| assert_eq!(admitted(&limits, *number, 60, later), 60));
        // nearly all of these are still known
        let more: usize = active.iter().map(|number| admitted(&limits, *number, 60, later)).sum();
        assert!(more < 60 * active.len() / 20, "{more}");
    }

    #[test]
    fn free_places_of_a_queue_remain_for_others() {
        let limits = AccountLimits::new(None);
        let mut free = 2_700;
        for left in [900, 300, 100] {
            while limits.enters(account(left), free) {
                free -= 1;
            }
            assert_eq!(free, left);
        }
        assert!(!limits.enters(account(900), free) && limits.enters(account(0), free));
        // an account that is not known, and one that returns all its places
        limits.leaves(account(7_777));
        (0..200).for_each(|_| limits.leaves(account(100)));
        assert!(limits.enters(account(100), 1));
    }
}
