//! The flows (address and port) whose datagrams are answered first under overload.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_authz::AccountSid;

/// The number of flows (address and port) that are remembered.
const FLOWS: usize = 1 << 16;
/// Flows of a set.
const WAYS: usize = 8;
/// The time for which a flow is remembered after its last accepted request.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Flows with a recently accepted request. Only accepted requests add entries, so a flood of other
/// requests cannot replace them.
///
/// A flow has eight places. If all are taken, the account with the most of them gives up the flow that
/// it accepted first. A tenant can accept any source, but so replaces no flows of others.
pub(super) struct Accepted {
    hasher: RandomState,
    sets: Box<[[Flow; WAYS]]>,
    start: Instant,
}

#[derive(Clone, Copy, Default)]
struct Flow {
    /// Part of the flow's hash.
    tag: u32,
    /// The second of the last accepted request, counted from 1 at `start`; 0 marks an empty place.
    second: u32,
    /// The end of the account's SID. Accounts with the same end share their places.
    account: u16,
}

impl Accepted {
    pub(super) fn new(now: Instant) -> Self {
        let sets = vec![[Flow::default(); WAYS]; FLOWS / WAYS].into_boxed_slice();
        Self { hasher: RandomState::new(), sets, start: now }
    }

    pub(super) fn remember(&mut self, source: SocketAddr, account: AccountSid, now: Instant) {
        let (set, tag) = self.set_of(source);
        let second = self.second(now);
        let [.., high, low] = *account.as_bytes();
        let flow = Flow { tag, second, account: u16::from_be_bytes([high, low]) };
        let Some(set) = self.sets.get_mut(set) else { return };
        let held = set.iter().position(|held| held.second > 0 && held.tag == tag);
        let at = held.unwrap_or_else(|| next_out(set, flow));
        if let Some(place) = set.get_mut(at) {
            *place = flow;
        }
    }

    /// The account that accepted a call from this flow within the hour, by the end of its SID.
    pub(super) fn account_of(&self, source: SocketAddr, now: Instant) -> Option<u16> {
        let (set, tag) = self.set_of(source);
        let second = self.second(now);
        let is_known = |held: &&Flow| held.tag == tag && held.is_recent(second);
        self.sets.get(set)?.iter().find(is_known).map(|held| held.account)
    }

    #[cfg(test)]
    fn has(&self, source: SocketAddr, now: Instant) -> bool {
        self.account_of(source, now).is_some()
    }

    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn set_of(&self, source: SocketAddr) -> (usize, u32) {
        let [a, b, c, d, set @ ..] = self.hasher.hash_one(source).to_ne_bytes();
        (u32::from_ne_bytes(set) as usize % (FLOWS / WAYS), u32::from_ne_bytes([a, b, c, d]))
    }
}

impl Flow {
    fn is_recent(&self, second: u32) -> bool {
        let age = second.saturating_sub(self.second);
        self.second > 0 && u64::from(age) <= REMEMBERED.as_secs()
    }
}

/// The index of the place that a new flow takes: one without a recent flow, else the oldest flow of the
/// account with the most, the new one included.
fn next_out(set: &[Flow; WAYS], new: Flow) -> usize {
    let recent = || set.iter().filter(|held| held.is_recent(new.second)).map(|held| held.account);
    let places = |account: u16| {
        recent().filter(|held| *held == account).count() + usize::from(account == new.account)
    };
    let larger = |most, it| if places(it) > places(most) { it } else { most };
    let most = recent().fold(new.account, larger);
    let rank = |held: &Flow| {
        let is_recent = held.is_recent(new.second);
        (is_recent, is_recent && held.account != most, held.second)
    };
    let lowest = set.iter().enumerate().min_by_key(|(_, held)| rank(held));
    lowest.map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn account(name: &str) -> AccountSid {
        AccountSid::from_name(&[name])
    }

    #[test]
    fn flows_are_remembered_for_an_hour() {
        let one = account("one");
        let start = Instant::now();
        let mut accepted = Accepted::new(start);
        assert!(!accepted.has(source(1), start));
        let now = start + Duration::from_secs(10);
        accepted.remember(source(1), one, now);
        assert!(accepted.has(source(1), now) && !accepted.has(source(2), now));
        let [.., high, low] = *one.as_bytes();
        let end = u16::from_be_bytes([high, low]);
        assert_eq!(accepted.account_of(source(1), now), Some(end));
        assert!(accepted.has(source(1), now + REMEMBERED));
        assert!(!accepted.has(source(1), now + REMEMBERED + Duration::from_secs(1)));
        accepted.remember(source(1), one, now + REMEMBERED);
        assert!(accepted.has(source(1), now + 2 * REMEMBERED));
        // with far fewer flows than slots, few collide
        for port in 0..10_000 {
            accepted.remember(source(port), one, now);
        }
        assert!((0..10_000).filter(|port| accepted.has(source(*port), now)).count() > 9_900);
    }

    #[test]
    fn the_calls_of_one_account_replace_no_flows_of_others() {
        let now = Instant::now();
        let mut accepted = Accepted::new(now);
        let [victim, tenant] = ["victim", "tenant"].map(account);
        for port in 0..10_000 {
            accepted.remember(source(port), victim, now);
        }
        let held = |accepted: &Accepted, now| {
            (0..10_000).filter(|port| accepted.has(source(*port), now)).count()
        };
        let before = held(&accepted, now);
        let later = now + Duration::from_secs(10);
        for number in 0..4 * 65_536_u32 {
            let [a, b, c, _] = number.to_le_bytes();
            accepted.remember(([10, a, b, c], 5_060).into(), tenant, later);
        }
        // except where the account itself has more than half of a set
        assert!(held(&accepted, later) > before - 200, "{before} {}", held(&accepted, later));
        // after an hour they give way
        let later = now + REMEMBERED + Duration::from_secs(1);
        assert_eq!(held(&accepted, later), 0);
    }
}
