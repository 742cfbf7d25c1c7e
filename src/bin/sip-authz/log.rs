//! One line for each decision, for people; without addresses and names of users unless asked for.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use sip_authz::{Decision, Transport};

/// Writes decisions to stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionLog {
    /// Whether addresses and names of users are written.
    pub(crate) names: bool,
}

impl DecisionLog {
    /// Writes one line, or several.
    pub(crate) fn write(lines: &str) {
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    }

    pub(crate) fn line(
        self,
        decision: &Decision,
        source: SocketAddr,
        transport: Transport,
    ) -> String {
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
        let _ = write!(line, " transport={}", format!("{transport:?}").to_ascii_lowercase());
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
