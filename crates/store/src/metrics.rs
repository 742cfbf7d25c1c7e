//! Metrics of a [`Follower`](crate::Follower) and its lease, for a recorder of the crate `metrics`
//! (feature `metrics`).
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `sip_authz_follower_commit_number` | gauge | the last commit that the authorizer has applied |
//! | `sip_authz_store_commit_number` | gauge | the last known commit of the store |
//! | `sip_authz_follower_state` | gauge | 1 for the current `state`, 0 for the others: `following`, `away` (the store fails or is corrupt), `behind` (a commit does not follow the last one), `stuck` (the records in the store break a rule), `ended` |
//! | `sip_authz_store_state` | gauge | 1 for the `state` of the store at the last check, 0 for the others: `ok`, or the [kind](crate::StoreError::kind) of its error |
//! | `sip_authz_lease_seconds` | gauge | the length of the lease of the edge; absent without a lease |
//! | `sip_authz_lease_age_seconds` | gauge | the age of the newest state that the store has confirmed |

use std::time::{Duration, Instant};

use ::metrics::{Unit, describe_gauge, gauge};

use crate::{Applied, Confirmed, FollowerState, StoreError};

/// Describes the metrics to the recorder. Call it once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(
        "sip_authz_follower_commit_number",
        "Last commit that the authorizer has applied"
    );
    describe_gauge!("sip_authz_store_commit_number", "Last known commit of the store");
    describe_gauge!("sip_authz_follower_state", "1 for the current state of the follower");
    describe_gauge!("sip_authz_store_state", "1 for the state of the store at the last check");
    describe_gauge!("sip_authz_lease_seconds", Unit::Seconds, "Length of the lease of the edge");
    describe_gauge!(
        "sip_authz_lease_age_seconds",
        Unit::Seconds,
        "Age of the newest state that the store has confirmed"
    );
}

/// Records the progress and the state of a follower.
pub fn record_follower(applied: &Applied) {
    gauge!("sip_authz_follower_commit_number").set(float(applied.number()));
    gauge!("sip_authz_store_commit_number").set(float(applied.seen()));
    let present = applied.state();
    for state in FollowerState::ALL {
        gauge!("sip_authz_follower_state", "state" => state.as_str()).set(truth(state == present));
    }
}

/// Records the result of [`Store::health`](crate::Store::health).
pub fn record_health(checked: &Result<(), StoreError>) {
    let present = checked.as_ref().map_or_else(StoreError::kind, |()| "ok");
    for state in ["ok"].into_iter().chain(StoreError::KINDS) {
        gauge!("sip_authz_store_state", "state" => state).set(truth(state == present));
    }
}

/// Records the state of a lease of this length, as of `now`.
pub fn record_lease(confirmed: &Confirmed, length: Option<Duration>, now: Instant) {
    gauge!("sip_authz_lease_age_seconds").set(confirmed.age(now).as_secs_f64());
    if let Some(length) = length {
        gauge!("sip_authz_lease_seconds").set(length.as_secs_f64());
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(number: u64) -> f64 {
    number as f64
}
