//! The queues for datagrams under overload.

use std::collections::VecDeque;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use crate::sip::edge::BATCH;

/// The maximum number of waiting datagrams. At about 10 µs each they are answered well within the
/// 500 ms after which a caller retransmits (RFC 3261 §17.1.1.2).
const MAX_DATAGRAMS: usize = 1_024;
/// The maximum number of waiting bytes.
const MAX_BYTES: usize = 4 << 20;

/// The number of lanes. Accounts are spread over them.
const LANES: usize = 1 << 12;
/// The cost of a datagram without its bytes, in bytes: an answer to one of 58 kB takes about seven times
/// as long as an answer to a usual one.
const FIXED_COST: usize = 8 << 10;
/// The cost that a lane gets in each round.
const QUANTUM: usize = 16 << 10;
/// The cost of a usual datagram.
const USUAL_COST: usize = FIXED_COST + 1_024;

/// A datagram and its source.
pub(super) type Datagram = (Box<[u8]>, SocketAddr);

/// The cost of the answer to a datagram of this length, as a number of bytes.
pub(super) fn cost(length: usize) -> usize {
    FIXED_COST + length
}

/// The maximum cost of so many datagrams at once.
pub(super) fn cost_of(count: usize) -> usize {
    count * USUAL_COST
}

/// The lane of a stranger's datagram. Anyone can send from any address, so only the length tells
/// datagrams apart: those that cost more than usual have a lane of their own.
pub(super) fn stranger_lane(length: usize) -> u16 {
    u16::from(cost(length) > 2 * USUAL_COST)
}

/// Received datagrams without an answer, in lanes. Each lane is in order. All lanes with datagrams get
/// the same cost of answers (deficit round robin). If the queue is full, the lane that costs most loses
/// its last datagrams.
pub(super) struct FairQueue {
    lanes: Box<[Lane]>,
    /// The lanes with datagrams, in the order of their turns.
    turns: VecDeque<usize>,
    count: usize,
    bytes: usize,
}

#[derive(Default)]
struct Lane {
    datagrams: VecDeque<Datagram>,
    /// The cost of its datagrams.
    cost: usize,
    /// The cost that the lane may still have in this round.
    credit: usize,
}

impl FairQueue {
    pub(super) fn new() -> Self {
        let lanes = (0..LANES).map(|_| Lane::default()).collect();
        Self { lanes, turns: VecDeque::new(), count: 0, bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a datagram. Returns the number of datagrams that found no place: the new one, or others of
    /// the lane that costs most.
    pub(super) fn push(&mut self, lane: u16, bytes: &[u8], source: SocketAddr) -> u64 {
        let (own, mut lost) = (usize::from(lane) % LANES, 0);
        let cost_of_own = self.cost(own) + cost(bytes.len());
        while self.count >= MAX_DATAGRAMS || self.bytes + bytes.len() > MAX_BYTES {
            let others = self.turns.iter().copied().filter(|at| *at != own);
            match others.max_by_key(|at| self.cost(*at)) {
                Some(at) if self.cost(at) > cost_of_own => lost += self.drop_last(at),
                _ => return lost + 1,
            }
        }
        if let Some(lane) = self.lanes.get_mut(own) {
            if lane.datagrams.is_empty() {
                self.turns.push_back(own);
            }
            lane.datagrams.push_back((bytes.into(), source));
            lane.cost += cost(bytes.len());
            self.count += 1;
            self.bytes += bytes.len();
        }
        lost
    }

    fn cost(&self, at: usize) -> usize {
        self.lanes.get(at).map_or(0, |lane| lane.cost)
    }

    /// Removes the last datagram of a lane; returns 1.
    fn drop_last(&mut self, at: usize) -> u64 {
        if let Some(lane) = self.lanes.get_mut(at)
            && let Some((bytes, _)) = lane.datagrams.pop_back()
        {
            lane.cost -= cost(bytes.len());
            self.count -= 1;
            self.bytes -= bytes.len();
            if lane.datagrams.is_empty() {
                lane.credit = 0;
                self.turns.retain(|turn| *turn != at);
            }
        }
        1
    }

    /// Removes the next datagrams: up to `most`, until they have cost `most_cost`.
    pub(super) fn take(&mut self, most: usize, most_cost: usize) -> ArrayVec<Datagram, BATCH> {
        let (most, mut taken, mut spent) = (most.min(BATCH), ArrayVec::new(), 0);
        while let Some(at) = self.turns.front().copied()
            && taken.len() < most
            && spent < most_cost
            && let Some(lane) = self.lanes.get_mut(at)
        {
            let next = lane.datagrams.front().map_or(0, |(bytes, _)| cost(bytes.len()));
            if next > lane.credit {
                // its turn ends
                lane.credit += QUANTUM;
                self.turns.rotate_left(1);
                continue;
            }
            if let Some(datagram) = lane.datagrams.pop_front() {
                lane.credit -= next;
                lane.cost -= next;
                spent += next;
                self.count -= 1;
                self.bytes -= datagram.0.len();
                let _ = taken.try_push(datagram);
            }
            if lane.datagrams.is_empty() {
                lane.credit = 0;
                self.turns.pop_front();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    /// Adds datagrams of this length with the ports from 0, and returns how many were lost.
    fn fill(queue: &mut FairQueue, lane: u16, length: usize, count: u16) -> u64 {
        let bytes = vec![0; length];
        (0..count).map(|port| queue.push(lane, &bytes, source(port))).sum()
    }

    /// The lengths of all datagrams, in the order of their answers.
    fn drain(queue: &mut FairQueue, most: usize) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        while !queue.is_empty() {
            all.push(
                queue.take(most, cost_of(most)).iter().map(|(bytes, _)| bytes.len()).collect(),
            );
        }
        assert!(queue.turns.is_empty() && queue.bytes == 0);
        assert!(queue.lanes.iter().all(|lane| lane.cost == 0 && lane.credit == 0));
        all
    }

    #[test]
    fn a_lane_is_in_order_and_the_queue_bounded() {
        let mut queue = FairQueue::new();
        assert!(queue.take(40, usize::MAX).is_empty());
        for port in 0..1_024 {
            assert_eq!(queue.push(7, &port.to_string().into_bytes(), source(port)), 0);
        }
        assert_eq!(queue.push(7, b"one more", source(1)), 1);
        let mut next = 0;
        while !queue.is_empty() {
            let taken = queue.take(40, usize::MAX);
            assert!(taken.len() == 40 || queue.is_empty());
            for (bytes, from) in taken {
                assert_eq!((&*bytes, from), (next.to_string().as_bytes(), source(next)));
                next += 1;
            }
        }
        assert_eq!(next, 1_024);
        assert_eq!(fill(&mut queue, 3, 65_507, 1_024), 1_024 - (4 << 20) / 65_507);
        drain(&mut queue, 64);
    }

    #[test]
    fn one_lane_displaces_no_datagrams_of_others() {
        for (length, count) in [(800, 3_000), (60_000, 3_000), (0, 3_000)] {
            let mut queue = FairQueue::new();
            fill(&mut queue, 1, length, count);
            // all of the others find a place, and none of them loses it
            assert!((2..=200).all(|lane| queue.push(lane, &[0; 700], source(lane)) < 3));
            fill(&mut queue, 1, length, count);
            let answered = drain(&mut queue, 32);
            let of_others = answered.iter().flatten().filter(|length| **length == 700).count();
            assert_eq!(of_others, 199, "{length}");
        }
        // of two lanes that send without end, each has a half
        let mut queue = FairQueue::new();
        for _ in 0..2_000 {
            fill(&mut queue, 1, 500, 2);
            fill(&mut queue, 2, 501, 1);
        }
        let answered = drain(&mut queue, 32).concat();
        let first = answered.iter().filter(|length| **length == 500).count();
        assert!((510..=514).contains(&first), "{first}");
    }

    #[test]
    fn lanes_share_the_answers_by_cost() {
        let mut queue = FairQueue::new();
        fill(&mut queue, 1, 60_000, 50);
        fill(&mut queue, 2, 1_024, 300);
        fill(&mut queue, 3, 1_024, 300);
        // a long datagram costs as much as seven usual ones
        let answered = drain(&mut queue, 32).concat();
        let long = |part: &[usize]| part.iter().filter(|length| **length == 60_000).count();
        assert!((35..=41).contains(&long(&answered[..600])), "{}", long(&answered[..600]));
        // the one of a quiet lane waits for one round only
        fill(&mut queue, 1, 60_000, 50);
        fill(&mut queue, 2, 1_024, 900);
        let _ = queue.take(32, cost_of(32));
        assert_eq!(queue.push(9, &[0; 1_000], source(9)), 0);
        assert!(queue.take(32, cost_of(32)).iter().any(|(_, from)| *from == source(9)));
        drain(&mut queue, 64);
    }

    #[test]
    fn one_take_costs_about_as_much_as_usual_datagrams() {
        let mut queue = FairQueue::new();
        fill(&mut queue, 1, 60_000, 60);
        assert!(drain(&mut queue, 32).iter().all(|taken| taken.len() <= 5));
        fill(&mut queue, 1, 1_000, 1_000);
        assert!(drain(&mut queue, 32).iter().rev().skip(1).all(|taken| taken.len() == 32));
        assert_eq!([0, 700, 10_240, 10_241, 65_507].map(stranger_lane), [0, 0, 0, 1, 1]);
    }
}
