//! Counts of decisions for the busiest domains and trunks.
//!
//! The page has at most N rows, one `other` for the rest and one `unknown` for requests that name no
//! domain or trunk. So the number of series is bounded, whatever callers and tenants send.
//!
//! A row counts the decisions of its target exactly while it has the row; `other` counts those of targets
//! without one. The first N targets get the rows. A scrape compares them with the others every
//! [`REVIEW`], and replaces at most a quarter of the rows, each by a target with twice as many decisions.
//! The counts of a target that loses its row are remembered for its return, so no series goes backwards.

mod table;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use metrics::{counter, describe_counter};
use sip_authz::model::Target;
use sip_authz::{Decision, Snapshot};

use self::table::Table;

/// The outcomes of decisions, as [`Decision::outcome`] names them.
const OUTCOMES: [&str; 3] = ["accept", "challenge", "reject"];
/// The name of the metric.
const METRIC: &str = "sip_authz_domain_decisions_total";

/// The time between two choices of the rows. The decisions of the time before a choice weigh half.
const REVIEW: Duration = Duration::from_secs(300);
/// A target without a row needs this number of decisions more than twice those of the row that it takes.
const MARGIN: u32 = 16;
/// The number of targets without a row whose counts are remembered. If it is reached, the rows stay.
const MAX_FORMER: usize = 1 << 16;
/// The number of targets of a batch that are counted together.
const MERGED: usize = 8;

/// The number of decisions with each of [`OUTCOMES`].
type Counts = [u64; OUTCOMES.len()];

/// The counts of all targets, in fixed memory.
pub(crate) struct TargetCounts {
    table: Table,
    other: [AtomicU64; OUTCOMES.len()],
    unknown: [AtomicU64; OUTCOMES.len()],
    /// Only scrapes lock it.
    choice: Mutex<Choice>,
}

/// The state of the choice of rows.
struct Choice {
    /// The time of the last choice.
    last: Instant,
    /// The counts of targets that lost their rows.
    former: HashMap<Target, Counts>,
}

impl TargetCounts {
    /// Counts with this number of rows, which are chosen again [`REVIEW`] after `now`.
    pub(crate) fn new(rows: u16, now: Instant) -> Self {
        Self {
            table: Table::new(rows.into()),
            other: Default::default(),
            unknown: Default::default(),
            choice: Mutex::new(Choice { last: now, former: HashMap::new() }),
        }
    }

    /// Counts decisions. Those for the same target in a batch are added at once, since threads share the
    /// table.
    pub(crate) fn count<'d>(&self, decisions: impl Iterator<Item = &'d Decision>) {
        let mut merged = ArrayVec::<(Option<Target>, [u32; OUTCOMES.len()]), MERGED>::new();
        for decision in decisions {
            let target = decision.target();
            let outcome = match decision {
                Decision::Accept(_) => 0,
                Decision::Challenge(_) => 1,
                Decision::Reject(_) => 2,
            };
            let at = merged.iter().position(|(known, _)| *known == target).unwrap_or_else(|| {
                if merged.is_full() {
                    merged.drain(..).for_each(|(target, counts)| self.add(target, counts));
                }
                merged.push((target, [0; OUTCOMES.len()]));
                merged.len() - 1
            });
            let counts = merged.get_mut(at).and_then(|(_, counts)| counts.get_mut(outcome));
            if let Some(count) = counts {
                *count += 1;
            }
        }
        merged.into_iter().for_each(|(target, counts)| self.add(target, counts));
    }

    fn add(&self, target: Option<Target>, counts: [u32; OUTCOMES.len()]) {
        let shared = match target {
            Some(target) if self.table.count(target, counts) => return,
            Some(_) => &self.other,
            None => &self.unknown,
        };
        for (total, count) in shared.iter().zip(counts) {
            if count > 0 {
                total.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
    }

    /// Describes the metric.
    pub(crate) fn describe() {
        describe_counter!(
            METRIC,
            "Requests decided for the busiest domains and trunks, for all others, and for none, by outcome"
        );
    }

    /// Chooses the rows again if it is time, and records them with the names in the snapshot.
    pub(crate) fn record(&self, snapshot: &Snapshot, now: Instant) {
        for (domain, counts) in [("other", &self.other), ("unknown", &self.unknown)] {
            for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
                let labels = [("domain", domain), ("outcome", outcome)];
                counter!(METRIC, &labels).absolute(count.load(Ordering::Relaxed));
            }
        }
        for (target, counts) in self.rows(|target| snapshot.target_view(target).is_some(), now) {
            let Some(view) = snapshot.target_view(target) else { continue };
            let name = view.name.map(ToString::to_string).unwrap_or_default();
            let (sid, account) = (target.to_string(), view.account.to_string());
            for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
                let labels = [
                    ("domain", name.clone()),
                    ("sid", sid.clone()),
                    ("account", account.clone()),
                    ("outcome", outcome.to_owned()),
                ];
                counter!(METRIC, &labels).absolute(count);
            }
        }
    }

    /// The targets with a row and their counts, in the order of their SIDs. Those that `exists` denies lose
    /// their rows.
    fn rows(&self, exists: impl Fn(Target) -> bool, now: Instant) -> Vec<(Target, Counts)> {
        let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        for place in self.table.shown() {
            if !exists(place.target) {
                self.leave(place.target, &mut choice.former);
            }
        }
        let is_due = now.saturating_duration_since(choice.last) >= REVIEW;
        if is_due {
            choice.last = now;
            if choice.former.len() >= MAX_FORMER / 2 {
                choice.former.retain(|target, _| exists(*target));
            }
            self.choose(&exists, &mut choice.former);
            self.table.age();
        }
        let mut rows: Vec<_> = self.table.shown();
        for place in &mut rows {
            // a target without a row that returned while a row was free
            if let Some(before) = choice.former.remove(&place.target) {
                place.counts = self.table.restore(place.target, before).unwrap_or(place.counts);
            }
        }
        rows.sort_unstable_by_key(|place| place.target);
        rows.into_iter().map(|place| (place.target, place.counts)).collect()
    }

    /// Gives rows to targets that are busier than the ones that have them.
    fn choose(&self, exists: impl Fn(Target) -> bool, former: &mut HashMap<Target, Counts>) {
        let (mut shown, mut others) = (self.table.shown(), self.table.hidden());
        others.retain(|place| exists(place.target));
        others.sort_unstable_by_key(|place| (std::cmp::Reverse(place.certain), place.target));
        shown.sort_unstable_by_key(|place| (place.certain, place.target));
        let mut others = others.into_iter();
        for place in others.by_ref().take(self.table.free()) {
            self.table.show(place.target);
        }
        let most = (self.table.rows() / 4).max(1);
        for (quiet, busy) in shown.iter().zip(others).take(most) {
            let needed = quiet.certain.saturating_mul(2).saturating_add(MARGIN);
            if busy.certain <= needed || former.len() >= MAX_FORMER {
                break;
            }
            self.leave(quiet.target, former);
            self.table.show(busy.target);
        }
    }

    /// Takes the row of a target, and remembers its counts.
    fn leave(&self, target: Target, former: &mut HashMap<Target, Counts>) {
        let Some(counts) = self.table.hide(target) else { return };
        if former.len() < MAX_FORMER || former.contains_key(&target) {
            let before = former.entry(target).or_default();
            before.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
    }
}

#[cfg(test)]
mod tests;
