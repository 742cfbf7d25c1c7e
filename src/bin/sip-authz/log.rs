//! One line for each decision, for people; without addresses and names of users unless asked for.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz::{Decision, Sampling};

use crate::edge::Hop;

/// Writes decisions to stderr.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    sampling: Sampling,
    /// Whether addresses and names of users are written.
    names: bool,
    decided: AtomicU64,
}

impl DecisionLog {
    pub(crate) fn new(sampling: Sampling, names: bool) -> Self {
        Self { sampling, names, decided: AtomicU64::new(0) }
    }

    /// Writes the lines of those that are taken, by one call of the system.
    pub(crate) fn write<'d>(&self, decisions: impl ExactSizeIterator<Item = (Hop, &'d Decision)>) {
        let first = self.decided.fetch_add(decisions.len() as u64, Ordering::Relaxed);
        let taken = decisions
            .zip(first..)
            .filter(|((_, decision), place)| self.sampling.takes(decision, *place));
        let lines: String = taken.map(|((hop, decision), _)| self.line(decision, hop)).collect();
        if !lines.is_empty() {
            let _ = std::io::stderr().lock().write_all(lines.as_bytes());
        }
    }

    fn line(&self, decision: &Decision, Hop { source, transport, .. }: Hop) -> String {
        let mut line = match decision {
            Decision::Accept(accept) => format!("accept target={}", accept.target),
            Decision::Challenge(challenge) => {
                let (status, stale) = (challenge.status(), challenge.stale);
                format!("challenge target={} status={status} stale={stale}", challenge.target)
            }
            Decision::Reject(reject) => {
                let target = reject.target.map_or_else(|| "-".to_owned(), |t| t.to_string());
                let reason = reject.reason;
                format!(
                    "reject target={target} status={} reason={}",
                    reason.status(),
                    reason.as_str()
                )
            }
        };
        // writing to a String does not fail
        let _ = write!(line, " transport={}", transport.as_str());
        if let Decision::Accept(accept) = decision {
            if let Some(address) = accept.address {
                let _ = write!(line, " list={} entry={}", address.list, address.address);
            }
            if let Some(credential) = &accept.credential {
                let _ = write!(line, " list={} user={}", credential.list, credential.credential);
            }
            if !accept.permissions.is_empty() {
                let names: Vec<_> = accept.permissions.iter().collect();
                let _ = write!(line, " permits={}", names.join(","));
            }
            if accept.repeat {
                line.push_str(" repeat");
            }
        }
        if self.names {
            let (ip, port) = (source.ip().to_canonical(), source.port());
            let _ = write!(line, " source={}", SocketAddr::new(ip, port));
            if let Decision::Accept(accept) = decision
                && let Some(credential) = &accept.credential
            {
                // user names have no control characters, so this stays one line
                let _ = write!(line, " username=\"{}\"", credential.username);
            }
        }
        line.push('\n');
        line
    }
}
