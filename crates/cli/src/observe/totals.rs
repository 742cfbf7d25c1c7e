//! Counts messages by outcome.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz::Reason;

/// The outcome of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An accepted INVITE.
    Accepted,
    /// A challenged INVITE.
    Challenged,
    /// A rejected INVITE.
    Rejected(Reason),
    /// Any other message with an answer; its status.
    Answered(u16),
    /// An ACK, a CANCEL, a response or a keep-alive, which get no answer.
    Ignored,
    /// Not SIP, or a request whose response cannot be addressed.
    Dropped,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    outcomes: [AtomicU64; SLOTS],
    unsent: AtomicU64,
    shed: AtomicU64,
    turned_away: AtomicU64,
}

/// Counts of a batch, which are added to the totals at once.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    outcomes: [u64; SLOTS],
}

// the slot of each outcome; the reasons have one each, in the order of `Reason::ALL`
const ACCEPTED: usize = 0;
const CHALLENGED: usize = 1;
const ANSWERED: usize = 2;
const IGNORED: usize = 3;
const DROPPED: usize = 4;
const REJECTED: usize = 5;
const SLOTS: usize = REJECTED + Reason::ALL.len();

impl Outcome {
    fn slot(self) -> usize {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Challenged => CHALLENGED,
            Self::Rejected(reason) => REJECTED + reason.index(),
            Self::Answered(_) => ANSWERED,
            Self::Ignored => IGNORED,
            Self::Dropped => DROPPED,
        }
    }
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get_mut(outcome.slot()) {
            *count += 1;
        }
    }
}

impl Totals {
    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get(outcome.slot()) {
            add(count, 1);
        }
    }

    /// Adds the counts of a tally, and resets the tally.
    pub(crate) fn add(&self, tally: &mut Tally) {
        for (total, count) in self.outcomes.iter().zip(&mut tally.outcomes) {
            if *count > 0 {
                add(total, std::mem::take(count));
            }
        }
    }

    fn outcome(&self, slot: usize) -> u64 {
        self.outcomes.get(slot).map_or(0, get)
    }

    /// The number of messages by outcome.
    pub(crate) fn messages(&self) -> [(&'static str, u64); 7] {
        let rejected = self.outcomes.iter().skip(REJECTED).map(get).sum();
        [
            ("accepted", self.outcome(ACCEPTED)),
            ("challenged", self.outcome(CHALLENGED)),
            ("rejected", rejected),
            ("answered", self.outcome(ANSWERED)),
            ("ignored", self.outcome(IGNORED)),
            ("dropped", self.outcome(DROPPED)),
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
        let reasons = || {
            let counts = self.outcomes.iter().skip(REJECTED).map(get);
            Reason::ALL.iter().zip(counts).filter(|(_, count)| *count > 0)
        };
        let rejected: u64 = reasons().map(|(_, count)| count).sum();
        write!(
            f,
            "totals: received {}, accepted {}, challenged {}, rejected {rejected}",
            self.outcomes.iter().chain([&self.shed]).map(get).sum::<u64>(),
            self.outcome(ACCEPTED),
            self.outcome(CHALLENGED),
        )?;
        for (at, (reason, count)) in reasons().enumerate() {
            let text = reason.as_str();
            write!(f, "{}{text} {count}", if at == 0 { " (" } else { ", " })?;
        }
        write!(
            f,
            "{}, otherwise answered {}, ignored {}, dropped {}, not sent {}, shed {}, connections closed {}",
            if rejected > 0 { ")" } else { "" },
            self.outcome(ANSWERED),
            self.outcome(IGNORED),
            self.outcome(DROPPED),
            get(&self.unsent),
            get(&self.shed),
            get(&self.turned_away),
        )
    }
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
        ] {
            totals.count(outcome);
        }
        for outcome in [Outcome::Rejected(Reason::UnknownHost), Outcome::Dropped] {
            tally.count(outcome);
        }
        totals.add(&mut tally);
        totals.add(&mut tally);
        assert_eq!(
            totals.to_string(),
            "totals: received 5, accepted 1, challenged 0, rejected 3 (unknown-host 2, \
             too-many-credentials 1), otherwise answered 0, ignored 0, dropped 1, not sent 0, \
             shed 0, connections closed 0"
        );
    }
}
