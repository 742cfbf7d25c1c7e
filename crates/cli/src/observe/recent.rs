//! The recent decisions, and the other messages that the logs have a line for, in memory.
//!
//! Each UDP thread has a ring of its own, and all connections share one. A thread writes its records after
//! it has sent the answers. Records are formatted only when they are read.
//!
//! A ring keeps samples: all decisions of a kind up to a rate, and one of several beyond it. The rate of
//! rejections, and of challenges for a reason other than missing credentials, is high. The rate of accepted
//! requests and first challenges, which nearly every call has, is low. See [`sampler`] for the rates. In a full
//! ring, domains and trunks, unknown hosts and other messages share the slots; see [`ring`].
//!
//! The personal fields of a record are erased after a time.

mod holders;
mod ring;
mod sampler;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use sip_authz::model::Target;
use sip_authz::{Decision, DecisionSid};
use sip_authz_rest::decisions::{Place, Start, micros};

use self::ring::{Entry, Ring};
use self::sampler::Sampler;
use crate::observe::cause::Cause as OtherCause;
use crate::observe::record::{Record, Verdict};
use crate::system::output::ProgramError;

/// The number of the ring that all connections share. The UDP threads have the next numbers.
pub(crate) const STREAMS: usize = 0;
/// The maximum number of slots that are read while the ring is locked.
const CHUNK: usize = 256;

/// The size and the age of the kept decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecentOptions {
    /// The number of records in all rings; 0 keeps none.
    pub(crate) records: usize,
    /// The time after which personal fields are erased.
    pub(crate) names_for: Duration,
}

/// The rings of all threads.
pub(crate) struct Recent {
    /// Random bytes of this process, at the start of each SID.
    process: [u8; 6],
    start: Instant,
    names_for: Duration,
    rings: Box<[WorkerRing]>,
}

/// The ring of a thread, on cache lines of its own.
#[repr(align(128))]
struct WorkerRing {
    /// Only readers contend for it with the thread.
    kept: Mutex<Ring<Holder, Record>>,
    sampler: Sampler,
}

/// The holder of a record, for the shares of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// Accepted requests and first challenges of a domain or trunk.
    Passed(Target),
    /// Other decisions of a domain or trunk.
    Refused(Target),
    /// Decisions about hosts that no domain or trunk has.
    UnknownHosts,
    /// Messages that are no decision.
    Others,
}

impl Holder {
    fn of(record: &Record) -> Self {
        match (record.verdict, record.target()) {
            (Verdict::Other(_), _) => Self::Others,
            (_, None) => Self::UnknownHosts,
            (Verdict::Accept { .. }, Some(target)) => Self::Passed(target),
            (_, Some(target)) if record.is_first_challenge() => Self::Passed(target),
            (_, Some(target)) => Self::Refused(target),
        }
    }

    fn target(&self) -> Option<Target> {
        match self {
            Self::Passed(target) | Self::Refused(target) => Some(*target),
            Self::UnknownHosts | Self::Others => None,
        }
    }
}

/// A ring that a thread writes to.
pub(crate) struct Writing<'r>(MutexGuard<'r, Ring<Holder, Record>>);

impl Writing<'_> {
    pub(crate) fn push(&mut self, record: Record) {
        self.0.push(Holder::of(&record), record);
    }
}

/// A kept record.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    pub(crate) record: Record,
    /// Whether its personal fields may be shown.
    pub(crate) names: bool,
}

/// The position of a reader in each ring: the sequence number of the next record to read.
#[derive(Clone, Debug)]
pub(crate) struct Position(Vec<u64>);

/// The new records of a reader.
#[derive(Default)]
pub(crate) struct News {
    /// The selected records, in their order.
    pub(crate) kept: Vec<Kept>,
    /// The number of records that were left out.
    pub(crate) left_out: u64,
}

impl Recent {
    /// Reserves rings for this number of UDP threads and for the connections. Each has at least one slot.
    pub(crate) fn new(options: RecentOptions, threads: usize) -> Result<Self, ProgramError> {
        let mut process = [0; 6];
        getrandom::fill(&mut process)
            .map_err(|error| ProgramError::Runtime(format!("no random bytes: {error}")))?;
        let count = if options.records == 0 { 0 } else { threads.saturating_add(1) };
        let mut rings = Vec::with_capacity(count);
        for number in 0..count {
            let rest = usize::from(number < options.records % count);
            let capacity = (options.records / count + rest).max(1);
            let ring = Ring::new(capacity).map_err(|error| {
                ProgramError::Setup(format!("--recent {}: {error}", options.records))
            })?;
            rings.push(WorkerRing { kept: Mutex::new(ring), sampler: Sampler::new() });
        }
        let (start, names_for) = (Instant::now(), options.names_for);
        Ok(Self { process, start, names_for, rings: rings.into() })
    }

    /// Whether it keeps any record.
    pub(crate) fn is_on(&self) -> bool {
        !self.rings.is_empty()
    }

    /// The time after which personal fields are erased.
    pub(crate) fn names_for(&self) -> Duration {
        self.names_for
    }

    /// The sampler of a thread. None if no record is kept.
    pub(crate) fn sampling(&self, ring: usize, now: Instant) -> Option<Sampling<'_>> {
        let sampler = &self.worker(ring)?.sampler;
        let second = now.saturating_duration_since(self.start).as_secs();
        Some(Sampling { sampler, second })
    }

    /// Locks a ring to write to it. None if a reader has it now; with `waits`, the thread waits for it.
    pub(crate) fn write(&self, ring: usize, waits: bool) -> Option<Writing<'_>> {
        let worker = self.worker(ring)?;
        match worker.kept.try_lock() {
            Ok(kept) => Some(Writing(kept)),
            Err(TryLockError::Poisoned(poisoned)) => Some(Writing(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => waits.then(|| Writing(worker.lock())),
        }
    }

    /// A thread without a ring of its own uses that of the connections.
    fn worker(&self, ring: usize) -> Option<&WorkerRing> {
        self.rings.get(ring).or(self.rings.first())
    }

    /// A page of the records that fit, newest first, and whether there are more in the direction of `start`.
    /// `fits` gets a record and whether its personal fields may be shown.
    pub(crate) fn page(
        &self,
        limit: usize,
        start: Start,
        now: SystemTime,
        fits: impl Fn(&Record, bool) -> bool,
    ) -> (Vec<Kept>, bool) {
        let names_since = self.names_since(now);
        let goes_up = matches!(start, Start::After(_));
        // the next ones so far, and one more
        let mut found = BTreeMap::<Place, (usize, usize)>::new();
        for (number, worker) in self.rings.iter().enumerate() {
            worker.each_chunk(|ring, range| {
                for (slot, sequence, record) in ring.slots(range) {
                    let place = self.place(number, sequence, record);
                    let furthest =
                        if goes_up { found.last_key_value() } else { found.first_key_value() };
                    let is_nearer = found.len() <= limit
                        || furthest
                            .is_some_and(|(it, _)| if goes_up { place < *it } else { place > *it });
                    if !is_nearer
                        || !start.admits(place)
                        || !fits(record, record.time() >= names_since)
                    {
                        continue;
                    }
                    found.insert(place, (number, slot));
                    if found.len() > limit.saturating_add(1) {
                        if goes_up {
                            found.pop_last()
                        } else {
                            found.pop_first()
                        };
                    }
                }
            });
        }
        let has_more = found.len() > limit;
        if has_more {
            if goes_up {
                found.pop_last()
            } else {
                found.pop_first()
            };
        }
        let kept = found.into_iter().rev().filter_map(|(place, (number, slot))| {
            // it can be replaced by now
            let record = self.rings.get(number)?.lock().at(slot, sequence_of(place.sid))?.clone();
            let names = record.time() >= names_since;
            Some(Kept { place, record, names })
        });
        (kept.collect(), has_more)
    }

    /// Visits each record whose personal fields may be shown.
    pub(crate) fn each_shown(&self, now: SystemTime, mut visit: impl FnMut(&Record)) {
        let names_since = self.names_since(now);
        for worker in &self.rings {
            worker.each_chunk(|ring, range| {
                let slots = ring.slots(range).map(|(.., record)| record);
                slots.filter(|record| record.time() >= names_since).for_each(&mut visit);
            });
        }
    }

    /// The record with this SID.
    pub(crate) fn find(&self, sid: DecisionSid, now: SystemTime) -> Option<Kept> {
        let [process @ .., r0, r1, _, _, _, _, _, _, _, _] = *sid.as_bytes();
        if process != self.process {
            return None;
        }
        let (number, sequence) = (usize::from(u16::from_be_bytes([r0, r1])), sequence_of(sid));
        let mut found = None;
        self.rings.get(number)?.each_chunk(|ring, range| {
            if found.is_none() {
                let mut slots = ring.slots(range);
                found = slots.find(|(_, other, _)| *other == sequence).map(|(.., it)| it.clone());
            }
        });
        let record = found?;
        let names = record.time() >= self.names_since(now);
        Some(Kept { place: self.place(number, sequence, &record), record, names })
    }

    /// The position behind the last record.
    pub(crate) fn position(&self) -> Position {
        Position(self.rings.iter().map(|worker| worker.lock().next()).collect())
    }

    /// The records behind a position that fit, at most `most` of them, and moves the position behind the
    /// last record. `saw` says whether the reader would have seen a record of this domain or trunk that
    /// was replaced meanwhile; its holder may be unknown.
    pub(crate) fn news(
        &self,
        position: &mut Position,
        most: usize,
        now: SystemTime,
        fits: impl Fn(&Record, bool) -> bool,
        saw: impl Fn(Option<Target>) -> bool,
    ) -> News {
        let names_since = self.names_since(now);
        let mut news = News::default();
        for (number, (worker, next)) in self.rings.iter().zip(&mut position.0).enumerate() {
            let end = worker.lock().next();
            while *next < end {
                let ring = worker.lock();
                let known = ring.first_known().clamp(*next, end);
                if saw(None) {
                    news.left_out += known - *next;
                }
                let until = end.min(known.saturating_add(CHUNK as u64));
                for sequence in known..until {
                    match ring.entry(sequence) {
                        Entry::Kept(record) => {
                            let names = record.time() >= names_since;
                            if !fits(record, names) {
                                continue;
                            }
                            if news.kept.len() >= most {
                                news.left_out += 1;
                                continue;
                            }
                            let place = self.place(number, sequence, record);
                            news.kept.push(Kept { place, record: record.clone(), names });
                        }
                        Entry::Gone(holder) => {
                            let target = holder.and_then(Holder::target);
                            news.left_out += u64::from(saw(target));
                        }
                    }
                }
                *next = until;
            }
        }
        news.kept.sort_unstable_by_key(|kept| kept.place);
        news
    }

    /// Erases the personal fields that are too old.
    pub(crate) fn forget_callers(&self, now: SystemTime) {
        let names_since = self.names_since(now);
        for worker in &self.rings {
            worker.each_chunk(|ring, range| {
                for record in ring.slots_mut(range) {
                    if record.time() < names_since && record.is_personal() {
                        record.forget_caller();
                    }
                }
            });
        }
    }

    /// The earliest time of a record whose personal fields may be shown.
    fn names_since(&self, now: SystemTime) -> u64 {
        now.checked_sub(self.names_for).map_or(0, micros)
    }

    fn place(&self, ring: usize, sequence: u64, record: &Record) -> Place {
        let mut bytes = [0; 16];
        let (process, rest) = bytes.split_at_mut(self.process.len());
        process.copy_from_slice(&self.process);
        // there are far fewer rings
        let ring = u16::try_from(ring).unwrap_or(u16::MAX).to_be_bytes();
        let numbers = ring.into_iter().chain(sequence.to_be_bytes());
        rest.iter_mut().zip(numbers).for_each(|(byte, value)| *byte = value);
        Place { micros: record.time(), sid: DecisionSid::from_bytes(bytes) }
    }
}

/// The sequence number in a SID.
fn sequence_of(sid: DecisionSid) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *sid.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl WorkerRing {
    fn lock(&self) -> MutexGuard<'_, Ring<Holder, Record>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits all slots, and lets the thread write between two chunks.
    fn each_chunk(&self, mut visit: impl FnMut(&mut Ring<Holder, Record>, std::ops::Range<usize>)) {
        let mut start = 0;
        loop {
            let mut ring = self.lock();
            if start >= ring.len() {
                return;
            }
            visit(&mut ring, start..start + CHUNK);
            start += CHUNK;
        }
    }
}

/// Decides which records of a batch are kept.
#[derive(Clone, Copy)]
pub(crate) struct Sampling<'r> {
    sampler: &'r Sampler,
    second: u64,
}

impl Sampling<'_> {
    /// Whether a decision is kept.
    pub(crate) fn takes(self, decision: &Decision) -> bool {
        self.sampler.takes(decision, self.second)
    }

    /// Whether a message that is no decision is kept.
    pub(crate) fn takes_other(self, cause: OtherCause) -> bool {
        self.sampler.takes_other(cause, self.second)
    }
}

#[cfg(test)]
mod tests;
