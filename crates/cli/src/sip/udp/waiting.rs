//! What waits while more comes than can be answered, and who need not wait.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The most datagrams that wait: at some 10 µs each, far less than the half second after which a
/// caller asks again (RFC 3261 §17.1.1.2).
const MOST: usize = 1_024;
/// The most bytes that wait.
const MOST_BYTES: usize = 4 << 20;

/// Datagrams that have come and are not answered yet, in order.
#[derive(Default)]
pub(super) struct Waiting {
    datagrams: VecDeque<(Box<[u8]>, SocketAddr)>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// False if there is no more room.
    pub(super) fn push(&mut self, bytes: &[u8], source: SocketAddr) -> bool {
        let has_room = self.datagrams.len() < MOST && self.bytes + bytes.len() <= MOST_BYTES;
        if has_room {
            self.bytes += bytes.len();
            self.datagrams.push_back((bytes.into(), source));
        }
        has_room
    }

    /// The first of them, as many as `count`.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        self.datagrams.iter().take(count).map(|(bytes, source)| (&**bytes, *source))
    }

    /// Takes the first out.
    pub(super) fn remove(&mut self, count: usize) {
        for (bytes, _) in self.datagrams.drain(..count.min(self.datagrams.len())) {
            self.bytes -= bytes.len();
        }
    }
}

/// The flows, that is, addresses and ports, that have remembered places. A newer one takes the
/// place of an older one now and then; it then waits like any other.
const PLACES: usize = 1 << 16;
/// How long a flow is remembered after a request of its was accepted.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Flows that had a request accepted lately. Only an accepted request leads to a place here, so no
/// flood of others pushes them out.
pub(super) struct Accepted {
    hasher: RandomState,
    /// Part of a hash, and the second after `start`, counted from one, at which it was accepted.
    places: Box<[(u32, u32)]>,
    start: Instant,
}

impl Accepted {
    pub(super) fn new(now: Instant) -> Self {
        let places = vec![(0, 0); PLACES].into_boxed_slice();
        Self { hasher: RandomState::new(), places, start: now }
    }

    pub(super) fn remember(&mut self, source: SocketAddr, now: Instant) {
        let (place, tag) = self.place_of(source);
        let second = self.second(now);
        if let Some(place) = self.places.get_mut(place) {
            *place = (tag, second);
        }
    }

    pub(super) fn has(&self, source: SocketAddr, now: Instant) -> bool {
        let (place, tag) = self.place_of(source);
        self.places.get(place).is_some_and(|(found, second)| {
            let age = self.second(now).saturating_sub(*second);
            *second > 0 && *found == tag && u64::from(age) <= REMEMBERED.as_secs()
        })
    }

    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn place_of(&self, source: SocketAddr) -> (usize, u32) {
        let [a, b, c, d, place @ ..] = self.hasher.hash_one(source).to_ne_bytes();
        (u32::from_ne_bytes(place) as usize % PLACES, u32::from_ne_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn what_waits_comes_out_in_order_and_is_bounded() {
        let mut waiting = Waiting::default();
        for port in 0..1_024 {
            assert!(waiting.push(&port.to_string().into_bytes(), source(port)));
        }
        assert!(!waiting.push(b"one more", source(1)));
        for first in [0, 40, 80] {
            let taken: Vec<_> =
                waiting.first(40).map(|(bytes, from)| (bytes.to_vec(), from)).collect();
            let expected = (first..first + 40).map(|at| (at.to_string().into_bytes(), source(at)));
            assert_eq!(taken, expected.collect::<Vec<_>>());
            waiting.remove(40);
        }
        assert!(waiting.push(b"one more", source(1)));
        waiting.remove(usize::MAX);
        assert!(waiting.is_empty() && waiting.bytes == 0);

        let large = vec![0; 65_507];
        let fits = (0..1_024).take_while(|_| waiting.push(&large, source(1))).count();
        assert_eq!(fits, (4 << 20) / 65_507);
    }

    #[test]
    fn flows_are_remembered_for_an_hour() {
        let start = Instant::now();
        let mut accepted = Accepted::new(start);
        assert!(!accepted.has(source(1), start));
        let now = start + Duration::from_secs(10);
        accepted.remember(source(1), now);
        assert!(accepted.has(source(1), now) && !accepted.has(source(2), now));
        assert!(accepted.has(source(1), now + REMEMBERED));
        assert!(!accepted.has(source(1), now + REMEMBERED + Duration::from_secs(1)));
        accepted.remember(source(1), now + REMEMBERED);
        assert!(accepted.has(source(1), now + 2 * REMEMBERED));
        // as much as there is room for, most keep their places
        for port in 0..10_000 {
            accepted.remember(source(port), now);
        }
        assert!((0..10_000).filter(|port| accepted.has(source(*port), now)).count() > 8_000);
    }
}
