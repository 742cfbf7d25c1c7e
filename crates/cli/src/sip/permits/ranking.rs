//! The order in which connections lose their places.
//!
//! A connection is *accepted* if a call of it was accepted within the last hour, and a *stranger*
//! otherwise. When all places are taken, a newcomer replaces
//!
//! 1. a stranger, if strangers have more places than the share that is kept for them;
//! 2. else an accepted connection, of the account with the most of them.
//!
//! Within each, the network with the most connections loses one: first the widest network, then the
//! narrower ones in it, down to the address. Of one address the connection with the oldest accept or
//! arrival goes. Of equals the one with the oldest member loses.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip_authz::AccountSid;

/// The time for which an accepted call ranks its connection, as for a UDP flow.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3_600);

/// One in this many places is kept for strangers.
const SHARE: usize = 8;

/// The lengths of the networks in which connections are counted, from wide to narrow.
const WIDTHS_V4: [u32; 4] = [16, 24, 32, 32];
const WIDTHS_V6: [u32; 4] = [32, 48, 56, 64];

/// The key of a connection. Connections of one account and network are next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The account of the last accepted call.
    account: Option<AccountSid>,
    /// The IPv6 address, or the mapped IPv4 address.
    address: u128,
    number: u64,
}

/// A connection without its value.
#[derive(Clone, Copy)]
struct Member {
    place: Place,
    /// The time of the last accepted call, or of the arrival.
    since: Instant,
}

/// The connections that hold places, with a value for each.
pub(super) struct Ranking<T> {
    most: usize,
    next: u64,
    held: BTreeMap<Place, (Instant, T)>,
}

impl Place {
    /// The network of the address at one of the levels, from wide (0) to narrow.
    fn network(&self, level: usize) -> u128 {
        let is_v4 = self.address >> 32 == 0xffff;
        let (widths, offset) = if is_v4 { (WIDTHS_V4, 96) } else { (WIDTHS_V6, 0) };
        let width = widths.get(level).map_or(128, |width| width + offset);
        self.address & !u128::MAX.checked_shr(width).unwrap_or_default()
    }
}

impl<T> Ranking<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, next: 0, held: BTreeMap::new() }
    }

    /// Whether a newcomer would replace another connection.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= self.most
    }

    /// Adds a stranger. Returns its place, and the value of the connection that it replaces.
    pub(super) fn add(&mut self, source: IpAddr, now: Instant, value: T) -> (Place, Option<T>) {
        let address = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let place = Place { account: None, address: address.to_bits(), number: self.next };
        self.next += 1;
        self.held.insert(place, (now, value));
        let replaced = (self.held.len() > self.most).then(|| self.victim(now)).flatten();
        (place, replaced.and_then(|victim| self.remove(victim)))
    }

    /// Ranks a connection by a call of `account` that was accepted at `now`. Returns its new place,
    /// or none if it has lost its place.
    pub(super) fn accept(
        &mut self,
        place: Place,
        account: AccountSid,
        now: Instant,
        value: impl FnOnce(&mut T),
    ) -> Option<Place> {
        let (_, mut held) = self.held.remove(&place)?;
        value(&mut held);
        let place = Place { account: Some(account), ..place };
        self.held.insert(place, (now, held));
        Some(place)
    }

    /// Frees a place. Returns its value if the connection still had it.
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        self.held.remove(&place).map(|(_, value)| value)
    }

    /// Frees the places of all connections whose value does not pass.
    pub(super) fn retain(&mut self, mut passes: impl FnMut(&T) -> bool) {
        self.held.retain(|_, (_, value)| passes(value));
    }

    /// The connection that loses its place. Takes linear time.
    fn victim(&self, now: Instant) -> Option<Place> {
        let (mut strangers, mut accepted) = (Vec::new(), Vec::new());
        for (place, (since, _)) in &self.held {
            let is_recent = now.saturating_duration_since(*since) <= REMEMBERED;
            let is_accepted = place.account.is_some() && is_recent;
            let group = if is_accepted { &mut accepted } else { &mut strangers };
            group.push(Member { place: *place, since: *since });
        }
        // those whose accept is too long ago are not in order
        strangers.sort_by_key(|member| (member.place.address, member.place.number));
        let share = (self.most / SHARE).max(1);
        let mut group = if strangers.len() > share || accepted.is_empty() {
            &*strangers
        } else {
            largest(&accepted, |member| member.place.account)
        };
        for level in 0..WIDTHS_V6.len() {
            group = largest(group, |member| member.place.network(level));
        }
        group.iter().min_by_key(|member| member.age()).map(|member| member.place)
    }
}

impl Member {
    /// Orders connections from the oldest accept or arrival to the newest.
    fn age(&self) -> (Instant, u64) {
        (self.since, self.place.number)
    }
}

/// The longest run of members with equal keys; of equals, the one with the oldest member.
fn largest<K: PartialEq>(members: &[Member], key: impl Fn(&Member) -> K) -> &[Member] {
    let runs = members.chunk_by(|one, other| key(one) == key(other));
    let rank = |run: &&[Member]| (run.len(), Reverse(run.iter().map(Member::age).min()));
    runs.max_by_key(rank).unwrap_or_default()
}

#[cfg(test)]
mod tests;
