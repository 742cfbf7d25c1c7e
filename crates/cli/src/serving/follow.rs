//! The follower in the program: its clock, and what it writes to the log.

use std::time::{Duration, Instant};

use sip_authz_store::{FollowerEvent, Timer};

use crate::system::failure::complain;

/// How often a state that goes on is complained about again.
const AGAIN: Duration = Duration::from_secs(60);

/// The clock of the runtime.
pub(crate) struct Tokio;

impl Timer for Tokio {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Tells the operator when decisions no longer follow what is stored, at once and then every minute.
#[derive(Default)]
pub(crate) struct Log {
    since: Option<Instant>,
    complained: Option<Instant>,
}

impl Log {
    pub(crate) fn tell(&mut self, event: &FollowerEvent) {
        match event {
            FollowerEvent::Behind(error) => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if self.complained.is_none_or(|last| last.elapsed() >= AGAIN) {
                    self.complained = Some(Instant::now());
                    complain(format_args!(
                        "warning: decisions do not follow what is stored, since {} s: {error}; they \
                         go by the last state that is known",
                        since.elapsed().as_secs()
                    ));
                }
            }
            FollowerEvent::Loaded(number) => {
                complain(format_args!("all records were loaded afresh, as of commit {number}"));
            }
            FollowerEvent::Following(number) => {
                *self = Self::default();
                complain(format_args!(
                    "decisions follow what is stored again, from commit {number}"
                ));
            }
            // an event that this program does not know yet
            _ => {}
        }
    }
}
