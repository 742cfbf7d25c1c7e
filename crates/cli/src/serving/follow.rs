//! The clock and the log lines of the follower.

use std::time::{Duration, Instant};

use sip_authz_store::{FollowerEvent, Timer};

use crate::observe::http_errors::WarningLimit;
use crate::system::output::warn;

/// The clock of the runtime.
pub(crate) struct Tokio;

impl Timer for Tokio {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Warns the operator while decisions do not follow the store, at once and then every minute.
#[derive(Default)]
pub(crate) struct Log {
    since: Option<Instant>,
    limit: WarningLimit,
}

impl Log {
    pub(crate) fn report(&mut self, event: &FollowerEvent) {
        match event {
            FollowerEvent::Behind(error) => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if self.limit.due(Instant::now()).is_some() {
                    warn(format_args!(
                        "warning: decisions have not followed the store for {} s: {error}; they \
                         use the last known state",
                        since.elapsed().as_secs()
                    ));
                }
            }
            FollowerEvent::Loaded(number) => {
                warn(format_args!("reloaded all records, as of commit {number}"));
            }
            FollowerEvent::Following(number) => {
                *self = Self::default();
                warn(format_args!("decisions follow the store again, from commit {number}"));
            }
            // the enum is non-exhaustive
            _ => {}
        }
    }
}
