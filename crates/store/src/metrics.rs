//! The figures of a [`Follower`](crate::Follower) and its lease, for a recorder of the crate `metrics`
//! (feature `metrics`).
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `sip_authz_follower_commit_number` | gauge | the last commit that decisions are made by |
//! | `sip_authz_store_commit_number` | gauge | the last commit that the store was seen to have |
//! | `sip_authz_follower_state` | gauge | 1 at the present `state`, 0 at the others: `following`, `away` (the store fails or is corrupt), `behind` (commits do not follow the last one), `stuck` (the records in the store break a rule), `ended` |
//! | `sip_authz_lease_seconds` | gauge | for how long an edge decides unconfirmed; not there if for ever |
//! | `sip_authz_lease_age_seconds` | gauge | how old the newest state of the store is that decisions surely go by |

use std::time::{Duration, Instant};

use ::metrics::{Unit, describe_gauge, gauge};

use crate::{Applied, Confirmed, FollowerState};

/// Describes the figures to the recorder. Call it once, after the recorder is installed.
pub fn describe() {
    describe_gauge!("sip_authz_follower_commit_number", "Last commit that decisions are made by");
    describe_gauge!("sip_authz_store_commit_number", "Last commit that the store was seen to have");
    describe_gauge!("sip_authz_follower_state", "1 at the state that the follower is in");
    describe_gauge!(
        "sip_authz_lease_seconds",
        Unit::Seconds,
        "How long decisions go on without a confirmation of the store"
    );
    describe_gauge!(
        "sip_authz_lease_age_seconds",
        Unit::Seconds,
        "Age of the newest state of the store that decisions surely go by"
    );
}

/// Gives how far a follower has come to the recorder, and how it stands to its store.
pub fn record_follower(applied: &Applied) {
    gauge!("sip_authz_follower_commit_number").set(float(applied.number()));
    gauge!("sip_authz_store_commit_number").set(float(applied.seen()));
    let present = applied.state();
    for state in FollowerState::ALL {
        gauge!("sip_authz_follower_state", "state" => state.as_str()).set(truth(state == present));
    }
}

/// Gives the state of a lease of this length to the recorder, as of `now`.
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
