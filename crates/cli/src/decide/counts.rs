//! Counts of the decision service, and warnings about clients that it refuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use sip_authz_decide::Outcome;

use crate::observe::http_errors::WarningLimit;
use crate::observe::writer::Writer;
use crate::system::output::{ProgramError, warn};

/// The names of the metrics.
const REQUESTS: &str = "sip_authz_decide_requests_total";
const CONNECTIONS: &str = "sip_authz_decide_connections";
const CLOSED: &str = "sip_authz_decide_connections_closed_total";

/// The outcomes of requests, in the order of their counts.
const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Accept, "accept"),
    (Outcome::Challenge, "challenge"),
    (Outcome::Reject, "reject"),
    (Outcome::Undecided, "undecided"),
    (Outcome::Overloaded, "overloaded"),
];

/// The reason why this side closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A frame has an error.
    Malformed,
    /// No version in common.
    Version,
    /// A wrong token.
    Token,
    /// A user that is not allowed.
    User,
    /// Too many connections.
    TooMany,
    /// A frame is too long.
    TooLong,
    /// A frame did not arrive in time.
    TooSlow,
    /// The client does not take its answers.
    NotRead,
}

impl Closed {
    /// All reasons, in the order of their counts.
    const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Version,
        Self::Token,
        Self::User,
        Self::TooMany,
        Self::TooLong,
        Self::TooSlow,
        Self::NotRead,
    ];

    /// The text for metrics. The texts are stable.
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed frame",
            Self::Version => "version",
            Self::Token => "wrong token",
            Self::User => "user not allowed",
            Self::TooMany => "too many connections",
            Self::TooLong => "frame too long",
            Self::TooSlow => "frame too slow",
            Self::NotRead => "answers not read",
        }
    }
}

/// Counts of the decision service.
pub(crate) struct DecideCounts {
    requests: [AtomicU64; OUTCOMES.len()],
    closed: [(AtomicU64, Mutex<WarningLimit>); Closed::ALL.len()],
    connections: AtomicU64,
    /// The warnings that wait for stderr.
    lines: SyncSender<String>,
}

impl DecideCounts {
    /// Counts from zero, and a thread that prints the warnings, so that a blocked stderr delays no
    /// connection.
    pub(crate) fn start() -> Result<Self, ProgramError> {
        let (lines, due) = sync_channel::<String>(4);
        Writer::start("decide warnings", move || due.into_iter().for_each(warn))?;
        Ok(Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            closed: std::array::from_fn(|_| (AtomicU64::new(0), Mutex::default())),
            connections: AtomicU64::new(0),
            lines,
        })
    }

    /// Counts an answer.
    pub(super) fn count(&self, outcome: Outcome) {
        let mut all = OUTCOMES.iter().zip(&self.requests);
        if let Some((_, count)) = all.find(|((it, _), _)| *it == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that this side closes, and warns of it at most once a minute for each reason.
    pub(super) fn close(&self, why: Closed, place: &str, detail: &str) {
        let mut all = Closed::ALL.iter().zip(&self.closed);
        let Some((_, (count, limit))) = all.find(|(it, _)| **it == why) else { return };
        count.fetch_add(1, Ordering::Relaxed);
        let due = limit.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
        if let Some(suppressed) = due {
            let more = match suppressed {
                0 => String::new(),
                suppressed => format!(" ({suppressed} more since the last warning)"),
            };
            // dropped if stderr has not taken the last warnings
            let _ =
                self.lines.try_send(format!("warning: {place}: closed a client: {detail}{more}"));
        }
    }

    /// Counts a connection that is open as long as the guard lives.
    pub(super) fn open(&self) -> OpenGuard<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        OpenGuard(&self.connections)
    }

    /// Describes the metrics.
    pub(crate) fn describe() {
        describe_counter!(REQUESTS, "Requests answered by the decision service, by outcome");
        describe_gauge!(CONNECTIONS, "Open connections of the decision service");
        describe_counter!(CLOSED, "Connections that the decision service closed, by reason");
    }

    /// Records the counts.
    pub(crate) fn record(&self) {
        for ((_, outcome), count) in OUTCOMES.into_iter().zip(&self.requests) {
            counter!(REQUESTS, "outcome" => outcome).absolute(count.load(Ordering::Relaxed));
        }
        let open = u32::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        gauge!(CONNECTIONS).set(f64::from(open));
        for (why, (count, _)) in Closed::ALL.into_iter().zip(&self.closed) {
            counter!(CLOSED, "reason" => why.as_str()).absolute(count.load(Ordering::Relaxed));
        }
    }
}

/// An open connection.
pub(super) struct OpenGuard<'c>(&'c AtomicU64);

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
