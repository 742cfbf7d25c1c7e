//! Events for `tracing` subscribers: a span for each call and an event for each sampled decision.
//!
//! Without an interested subscriber, each costs one atomic load.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{DisplayValue, display};

use crate::decision::{Cause, Decision, Sampling};
use crate::invite::Invite;
use crate::method::MAX_METHOD;

/// The target of the events.
pub(super) const TARGET: &str = "sip_authz::decision";

/// Selects the decisions and fields that `tracing` subscribers receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventOptions {
    /// Decisions that get an event; by default all.
    pub sampling: Sampling,
    /// Include source addresses and, for accepts, user names; default false.
    pub names: bool,
}

crate::setters! {
    EventOptions {
        with_sampling: sampling: Sampling,
        with_names: names: bool,
    }
}

/// The options in force, and the number of decisions so far.
#[derive(Default)]
pub(super) struct Events {
    options: AtomicU64,
    decided: AtomicU64,
}

impl Events {
    pub(super) fn set(&self, options: EventOptions) {
        self.options.store(encode(options), Ordering::Relaxed);
    }

    /// Emits events for decisions made by snapshot number `snapshot`.
    pub(super) fn emit(
        &self,
        invites: &[Invite<'_>],
        decisions: &[Decision],
        snapshot: Option<u64>,
    ) {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        let options = decode(self.options.load(Ordering::Relaxed));
        let first = self.decided.fetch_add(decisions.len() as u64, Ordering::Relaxed);
        for ((invite, decision), place) in invites.iter().zip(decisions).zip(first..) {
            if options.sampling.takes(decision, place) {
                emit(invite, decision, snapshot, options.names);
            }
        }
    }
}

fn emit(invite: &Invite<'_>, decision: &Decision, snapshot: Option<u64>, names: bool) {
    let (address, credential) = match decision {
        Decision::Accept(accept) => (accept.address, accept.credential.as_ref()),
        _ => (None, None),
    };
    tracing::info!(
        target: TARGET,
        outcome = decision.outcome(),
        reason = decision.reason(),
        cause = decision.cause().map(Cause::as_str),
        status = decision.status(),
        snapshot,
        method = shown_method(invite.method()),
        transport = invite.transport().as_str(),
        target = shown(decision.target()),
        access_list = shown(address.map(|matched| matched.list)),
        address = shown(address.map(|matched| matched.address)),
        credential_list = shown(credential.map(|matched| matched.list)),
        credential = shown(credential.map(|matched| matched.credential)),
        claimed = shown(decision.credential().filter(|_| !decision.is_accept())),
        source = shown(names.then_some(ShownSource(invite))),
        username = credential.filter(|_| names).map(|matched| matched.username.as_str()),
    );
}

/// A method that a policy can admit. A longer one is not shown, so that no stranger fills a log.
fn shown_method(method: &str) -> Option<&str> {
    (method.len() <= MAX_METHOD).then_some(method)
}

/// The source of an INVITE, or `unknown`.
struct ShownSource<'i, 'a>(&'i Invite<'a>);

impl std::fmt::Display for ShownSource<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.is_source_known() {
            true => self.0.source().fmt(f),
            false => f.write_str("unknown"),
        }
    }
}

fn shown<T: std::fmt::Display>(value: Option<T>) -> Option<DisplayValue<T>> {
    value.map(display)
}

// the low half is N of 1/N if the `ONE_IN` bit is set, else one of the two codes below
const ONE_IN: u64 = 1 << 32;
const REFUSED: u64 = 1;
const NOTHING: u64 = 2;
const NAMES: u64 = 1 << 33;

fn encode(options: EventOptions) -> u64 {
    let sampling = match options.sampling {
        Sampling::All => 0,
        Sampling::Refused => REFUSED,
        Sampling::Nothing => NOTHING,
        Sampling::OneIn(n) => ONE_IN | u64::from(n.get()),
    };
    sampling | if options.names { NAMES } else { 0 }
}

fn decode(number: u64) -> EventOptions {
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
    let sampling = match (number & ONE_IN != 0, u64::from(low)) {
        (true, _) => NonZeroU32::new(low).map_or(Sampling::Nothing, Sampling::OneIn),
        (false, REFUSED) => Sampling::Refused,
        (false, NOTHING) => Sampling::Nothing,
        (false, _) => Sampling::All,
    };
    EventOptions { sampling, names: number & NAMES != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_encoding() {
        let many = Sampling::OneIn(NonZeroU32::MAX);
        for sampling in [Sampling::All, Sampling::Refused, Sampling::Nothing, many] {
            for names in [false, true] {
                let options = EventOptions { sampling, names };
                assert_eq!(decode(encode(options)), options);
            }
        }
        assert_eq!(decode(0), EventOptions::default());
    }
}
