//! The queue for datagrams under overload, and the callers that need not wait in it.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The maximum number of waiting datagrams. At about 10 µs each they are answered well within the
/// 500 ms after which a caller retransmits (RFC 3261 §17.1.1.2).
const MAX_DATAGRAMS: usize = 1_024;
/// The maximum number of waiting bytes.
const MAX_BYTES: usize = 4 << 20;

/// Received datagrams without an answer, in order.
#[derive(Default)]
pub(super) struct Waiting {
    datagrams: VecDeque<(Box<[u8]>, SocketAddr)>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Adds a datagram. Returns false if the queue is full.
    pub(super) fn push(&mut self, bytes: &[u8], source: SocketAddr) -> bool {
        let fits = self.datagrams.len() < MAX_DATAGRAMS && self.bytes + bytes.len() <= MAX_BYTES;
        if fits {
            self.bytes += bytes.len();
            self.datagrams.push_back((bytes.into(), source));
        }
        fits
    }

    /// The first datagrams, up to `count`.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        self.datagrams.iter().take(count).map(|(bytes, source)| (&**bytes, *source))
    }

    /// Removes the first datagrams, up to `count`.
    pub(super) fn remove(&mut self, count: usize) {
        for (bytes, _) in self.datagrams.drain(..count.min(self.datagrams.len())) {
            self.bytes -= bytes.len();
        }
    }
}

/// The number of slots for flows (address and port). A flow whose hash collides replaces an older one,
/// which then waits like any other.
const SLOTS: usize = 1 << 16;
/// The time for which a flow is remembered after its last accepted request.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Flows with a recently accepted request. Only accepted requests add entries, so a flood of other
/// requests cannot replace them.
pub(super) struct Accepted {
    hasher: RandomState,
    /// Part of the flow's hash, and the second of its last accepted request, counted from 1 at
    /// `start`; 0 marks an empty slot.
    slots: Box<[(u32, u32)]>,
    start: Instant,
}

impl Accepted {
    pub(super) fn new(now: Instant) -> Self {
        let slots = vec![(0, 0); SLOTS].into_boxed_slice();
        Self { hasher: RandomState::new(), slots, start: now }
    }

    pub(super) fn remember(&mut self, source: SocketAddr, now: Instant) {
        let (slot, tag) = self.slot_of(source);
        let second = self.second(now);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = (tag, second);
        }
    }

    pub(super) fn has(&self, source: SocketAddr, now: Instant) -> bool {
        let (slot, tag) = self.slot_of(source);
        self.slots.get(slot).is_some_and(|(found, second)| {
            let age = self.second(now).saturating_sub(*second);
            *second > 0 && *found == tag && u64::from(age) <= REMEMBERED.as_secs()
        })
    }

    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn slot_of(&self, source: SocketAddr) -> (usize, u32) {
        let [a, b, c, d, slot @ ..] = self.hasher.hash_one(source).to_ne_bytes();
        (u32::from_ne_bytes(slot) as usize % SLOTS, u32::from_ne_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn the_queue_is_bounded_and_keeps_the_order() {
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
        // with far fewer flows than slots, few collide
        for port in 0..10_000 {
            accepted.remember(source(port), now);
        }
        assert!((0..10_000).filter(|port| accepted.has(source(*port), now)).count() > 8_000);
    }
}
