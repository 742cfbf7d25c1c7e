//! Counts messages by outcome.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz::Reason;

use crate::observe::cause::{Cause, Handling};

const ANSWERED: &str = Handling::Answered(0).as_str();
const IGNORED: &str = Handling::Ignored.as_str();
const DROPPED: &str = Handling::Dropped.as_str();
const FORWARDED: &str = Handling::Forwarded.as_str();

/// The outcome of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An accepted INVITE.
    Accepted,
    /// A challenged INVITE.
    Challenged,
    /// A rejected INVITE.
    Rejected(Reason),
    /// Any other message.
    Other(Cause),
}

/// Counters since the start.
#[derive(Debug)]
pub(crate) struct Totals {
    decisions: [AtomicU64; DECISIONS],
    /// By [`Cause::index`].
    others: [AtomicU64; Cause::ALL.len()],
    unsent: AtomicU64,
    shed: AtomicU64,
    turned_away: AtomicU64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            decisions: [const { AtomicU64::new(0) }; DECISIONS],
            others: [const { AtomicU64::new(0) }; Cause::ALL.len()],
            unsent: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }
}

/// Counts of a batch, which are added to the totals at once.
#[derive(Debug)]
pub(crate) struct Tally {
    decisions: [u64; DECISIONS],
    others: [u64; Cause::ALL.len()],
    /// Whether `others` has a count: most batches have decisions only.
    has_others: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { decisions: [0; DECISIONS], others: [0; Cause::ALL.len()], has_others: false }
    }
}

// the slot of each decision; the reasons have one each, in the order of `Reason::ALL`
const ACCEPTED: usize = 0;
const CHALLENGED: usize = 1;
const REJECTED: usize = 2;
const DECISIONS: usize = REJECTED + Reason::ALL.len();

/// The place of an outcome among the counters.
enum Slot {
    Decision(usize),
    Other(usize),
}

impl Outcome {
    fn slot(self) -> Slot {
        match self {
            Self::Accepted => Slot::Decision(ACCEPTED),
            Self::Challenged => Slot::Decision(CHALLENGED),
            Self::Rejected(reason) => Slot::Decision(REJECTED + reason.index()),
            Self::Other(cause) => Slot::Other(cause.index()),
        }
    }
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        let count = match outcome.slot() {
            Slot::Decision(slot) => self.decisions.get_mut(slot),
            Slot::Other(slot) => {
                self.has_others = true;
                self.others.get_mut(slot)
            }
        };
        if let Some(count) = count {
            *count += 1;
        }
    }
}

impl Totals {
    pub(crate) fn count(&self, outcome: Outcome) {
        let count = match outcome.slot() {
            Slot::Decision(slot) => self.decisions.get(slot),
            Slot::Other(slot) => self.others.get(slot),
        };
        if let Some(count) = count {
            add(count, 1);
        }
    }

    /// Adds the counts of a tally, and resets the tally.
    pub(crate) fn add(&self, tally: &mut Tally) {
        let add_all = |totals: &[AtomicU64], counts: &mut [u64]| {
            for (total, count) in totals.iter().zip(counts) {
                if *count > 0 {
                    add(total, std::mem::take(count));
                }
            }
        };
        add_all(&self.decisions, &mut tally.decisions);
        if std::mem::take(&mut tally.has_others) {
            add_all(&self.others, &mut tally.others);
        }
    }

    fn decision(&self, slot: usize) -> u64 {
        self.decisions.get(slot).map_or(0, get)
    }

    /// The number of messages without the outcome of a decision, by cause.
    pub(crate) fn others(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.others.iter().map(get))
    }

    /// The causes of this handling with a count, and the sum of their counts.
    fn handled(&self, handling: &str) -> (Vec<(&'static str, u64)>, u64) {
        let all = self.others().filter(|(cause, _)| cause.handling().as_str() == handling);
        let counts: Vec<_> =
            all.filter(|(_, count)| *count > 0).map(|(cause, n)| (cause.as_str(), n)).collect();
        let sum = counts.iter().map(|(_, count)| count).sum();
        (counts, sum)
    }

    /// The number of messages by outcome.
    pub(crate) fn messages(&self) -> [(&'static str, u64); 8] {
        let rejected = self.decisions.iter().skip(REJECTED).map(get).sum();
        let other = |handling: &'static str| (handling, self.handled(handling).1);
        [
            ("accepted", self.decision(ACCEPTED)),
            ("challenged", self.decision(CHALLENGED)),
            ("rejected", rejected),
            other(ANSWERED),
            other(IGNORED),
            other(DROPPED),
            other(FORWARDED),
            ("shed", get(&self.shed)),
        ]
    }

    pub(crate) fn unsent(&self) -> u64 {
        get(&self.unsent)
    }

    pub(crate) fn connections_closed(&self) -> u64 {
        get(&self.turned_away)
    }

    /// Counts an answer that could not be sent.
    pub(crate) fn count_unsent(&self) {
        add(&self.unsent, 1);
    }

    /// Counts a datagram that was discarded because too many were waiting.
    pub(crate) fn count_shed(&self) {
        add(&self.shed, 1);
    }

    /// Counts a connection that was refused, evicted, or closed after an error.
    pub(crate) fn count_connection_closed(&self) {
        add(&self.turned_away, 1);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rejected = self.decisions.iter().skip(REJECTED).map(get);
        let rejected = Reason::ALL.iter().map(|reason| reason.as_str()).zip(rejected);
        let rejected: Vec<_> = rejected.filter(|(_, count)| *count > 0).collect();
        let sum = rejected.iter().map(|(_, count)| count).sum();
        write!(
            f,
            "totals: received {}, accepted {}, challenged {}",
            self.decisions.iter().chain(&self.others).chain([&self.shed]).map(get).sum::<u64>(),
            self.decision(ACCEPTED),
            self.decision(CHALLENGED),
        )?;
        write_counts(f, "rejected", &rejected, sum)?;
        for (name, handling) in
            [("otherwise answered", ANSWERED), ("ignored", IGNORED), ("dropped", DROPPED)]
        {
            let (causes, sum) = self.handled(handling);
            write_counts(f, name, &causes, sum)?;
        }
        let (causes, sum) = self.handled(FORWARDED);
        if sum > 0 {
            write_counts(f, FORWARDED, &causes, sum)?;
        }
        write!(
            f,
            ", not sent {}, shed {}, connections closed {}",
            get(&self.unsent),
            get(&self.shed),
            get(&self.turned_away),
        )
    }
}

/// Writes a sum, and in parentheses the counts that add up to it.
fn write_counts(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    counts: &[(&str, u64)],
    sum: u64,
) -> fmt::Result {
    write!(f, ", {name} {sum}")?;
    for (at, (text, count)) in counts.iter().enumerate() {
        write!(f, "{}{text} {count}", if at == 0 { " (" } else { ", " })?;
    }
    f.write_str(if counts.is_empty() { "" } else { ")" })
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_one_line() {
        let (totals, mut tally) = (Totals::default(), Tally::default());
        for outcome in [
            Outcome::Accepted,
            Outcome::Rejected(Reason::UnknownHost),
            Outcome::Rejected(Reason::TooManyCredentials),
            Outcome::Other(Cause::Stun),
            Outcome::Other(Cause::Ack),
        ] {
            totals.count(outcome);
        }
        for outcome in [Outcome::Rejected(Reason::UnknownHost), Outcome::Other(Cause::NotSip)] {
            tally.count(outcome);
        }
        totals.add(&mut tally);
        totals.add(&mut tally);
        let messages: Vec<_> = totals.messages().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(messages, [("accepted", 1), ("rejected", 3), ("ignored", 2), ("dropped", 1)]);
        assert_eq!(
            totals.to_string(),
            "totals: received 7, accepted 1, challenged 0, rejected 3 (unknown-host 2, \
             too-many-credentials 1), otherwise answered 0, ignored 2 (ack 1, stun 1), \
             dropped 1 (not sip 1), not sent 0, shed 0, connections closed 0"
        );
    }
}
