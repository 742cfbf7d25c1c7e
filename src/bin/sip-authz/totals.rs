//! What became of the messages, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz::Reason;

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An INVITE was accepted, and answered so.
    Accepted,
    /// An INVITE was answered with a challenge.
    Challenged,
    /// An INVITE was turned away.
    Rejected(Reason),
    /// Anything else that was answered, with this status.
    Answered(u16),
    /// It is never answered: an ACK, a CANCEL, a response, a keep-alive.
    Ignored,
    /// It is no SIP, or no response could be addressed.
    Dropped,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    received: AtomicU64,
    accepted: AtomicU64,
    challenged: AtomicU64,
    rejected: [AtomicU64; REASONS.len()],
    rejected_otherwise: AtomicU64,
    answered: AtomicU64,
    ignored: AtomicU64,
    dropped: AtomicU64,
    unsent: AtomicU64,
    turned_away: AtomicU64,
}

/// The reasons that are counted apart, as [`Reason::as_str`] has them.
const REASONS: [&str; 15] = [
    "unsupported-scheme",
    "bad-request-uri",
    "unknown-host",
    "account-inactive",
    "not-secure",
    "nothing-mapped",
    "address-not-listed",
    "wrong-credentials",
    "too-many-guesses",
    "from-mismatch",
    "malformed-credentials",
    "qop-missing",
    "uri-mismatch",
    "too-many-credentials",
    "snapshot-stale",
];

impl Totals {
    pub(crate) fn count(&self, outcome: Outcome) {
        add(&self.received);
        add(match outcome {
            Outcome::Accepted => &self.accepted,
            Outcome::Challenged => &self.challenged,
            Outcome::Rejected(reason) => {
                let place = REASONS.iter().position(|text| *text == reason.as_str());
                place.and_then(|at| self.rejected.get(at)).unwrap_or(&self.rejected_otherwise)
            }
            Outcome::Answered(_) => &self.answered,
            Outcome::Ignored => &self.ignored,
            Outcome::Dropped => &self.dropped,
        });
    }

    /// Counts an answer that could not be sent.
    pub(crate) fn count_unsent(&self) {
        add(&self.unsent);
    }

    /// Counts a connection that was refused, or closed for what came over it.
    pub(crate) fn count_connection_closed(&self) {
        add(&self.turned_away);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = || {
            let counts = self.rejected.iter().map(get).chain([get(&self.rejected_otherwise)]);
            REASONS.into_iter().chain(["otherwise"]).zip(counts).filter(|(_, count)| *count > 0)
        };
        let rejected: u64 = reasons().map(|(_, count)| count).sum();
        write!(
            f,
            "totals: received {}, accepted {}, challenged {}, rejected {rejected}",
            get(&self.received),
            get(&self.accepted),
            get(&self.challenged),
        )?;
        for (at, (reason, count)) in reasons().enumerate() {
            write!(f, "{}{reason} {count}", if at == 0 { " (" } else { ", " })?;
        }
        write!(
            f,
            "{}, otherwise answered {}, ignored {}, dropped {}, not sent {}, connections closed {}",
            if rejected > 0 { ")" } else { "" },
            get(&self.answered),
            get(&self.ignored),
            get(&self.dropped),
            get(&self.unsent),
            get(&self.turned_away),
        )
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        let totals = Totals::default();
        for outcome in [
            Outcome::Accepted,
            Outcome::Rejected(Reason::UnknownHost),
            Outcome::Rejected(Reason::TooManyCredentials),
            Outcome::Rejected(Reason::UnknownHost),
            Outcome::Dropped,
        ] {
            totals.count(outcome);
        }
        assert_eq!(
            totals.to_string(),
            "totals: received 5, accepted 1, challenged 0, rejected 3 (unknown-host 2, \
             too-many-credentials 1), otherwise answered 0, ignored 0, dropped 1, not sent 0, \
             connections closed 0"
        );
    }
}
