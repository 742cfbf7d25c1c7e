//! The state of the decisions of this process: what health checks, metrics and the console show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sip_authz::Authorizer;
use sip_authz_rest::{PartHealth, ProgramHealth};
use sip_authz_store::{Applied, Confirmed, FollowerState, Store, StoreError};

use crate::observe::http_errors::WarningLimit;
use crate::system::output::{say, warn};

/// The interval between two checks of the store.
const CHECK: Duration = Duration::from_secs(10);

/// The sources of the state. Clones show the same process.
#[derive(Clone)]
pub(crate) struct State {
    authorizer: Arc<Authorizer>,
    /// The position of the authorizer in the commits of the current store.
    following: Arc<Mutex<Option<Applied>>>,
    /// The lease of an edge in a fleet, and its length; `None` is unlimited.
    lease: Arc<OnceLock<(Confirmed, Option<Duration>)>>,
    /// The result of the last check of the store, once there was one.
    checked: Arc<Mutex<Option<Result<(), StoreError>>>>,
}

impl State {
    pub(crate) fn new(authorizer: Arc<Authorizer>) -> Self {
        let (following, lease, checked) = Default::default();
        Self { authorizer, following, lease, checked }
    }

    /// Sets the follower of the current store.
    pub(crate) fn follow(&self, applied: Applied) {
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(applied);
    }

    /// The progress of the follower of the current store, once there is one.
    pub(crate) fn applied(&self) -> Option<Applied> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the lease of this process, which has one at most.
    #[cfg(feature = "etcd")]
    pub(crate) fn set_lease(&self, confirmed: Confirmed, length: Option<Duration>) {
        let _ = self.lease.set((confirmed, length));
    }

    pub(crate) fn lease(&self) -> Option<&(Confirmed, Option<Duration>)> {
        self.lease.get()
    }

    /// Whether calls are decided. Otherwise every call is answered 503.
    pub(crate) fn decides(&self) -> bool {
        !self.authorizer.is_stale(Instant::now())
    }

    /// The result of the last check of the store, once there was one.
    pub(crate) fn checked(&self) -> Option<Result<(), StoreError>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks the store without end. Warns at once and then every minute while it takes no changes.
    pub(crate) async fn check<S: Store>(self, store: S) {
        let mut limit = WarningLimit::default();
        loop {
            let result = store.health().await;
            *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.clone());
            match result {
                Ok(()) if limit.reset() => say("the store takes changes again"),
                // the follower warns of a store that does not answer
                Ok(()) | Err(StoreError::Unreachable(_)) => {}
                Err(error) if limit.due(Instant::now()).is_some() => {
                    let then = if self.decides() {
                        "calls are still decided"
                    } else {
                        "calls are refused"
                    };
                    warn(format_args!("warning: {error}; nothing can be changed, and {then}"));
                }
                Err(_) => {}
            }
            tokio::time::sleep(CHECK).await;
        }
    }

    fn calls(&self) -> PartHealth {
        if self.decides() {
            return PartHealth::ok("decided");
        }
        let error =
            "every call is answered 503, as the store has not confirmed the records in time";
        PartHealth::failed("refused", error).refusing_calls()
    }

    fn lease_health(&self) -> Option<PartHealth> {
        let (confirmed, length) = self.lease()?;
        if length.is_none() {
            return Some(PartHealth::ok("unlimited"));
        }
        if self.decides() {
            return Some(PartHealth::ok("held"));
        }
        let age = confirmed.age(Instant::now()).as_secs();
        Some(PartHealth::failed("ended", format!("the store has confirmed nothing for {age} s")))
    }
}

impl ProgramHealth for State {
    fn parts(&self) -> BTreeMap<&'static str, PartHealth> {
        let follower = self.applied().map(|applied| ("follower", follower(applied.state())));
        let lease = self.lease_health().map(|lease| ("lease", lease));
        [("calls", self.calls())].into_iter().chain(follower).chain(lease).collect()
    }
}

fn follower(state: FollowerState) -> PartHealth {
    let name = state.as_str();
    PartHealth::failed(
        name,
        match state {
            FollowerState::Following => return PartHealth::ok(name),
            FollowerState::Away => "the store delivers no commits",
            FollowerState::Behind => {
                "a commit does not follow the last one; all records are read again"
            }
            FollowerState::Outdated => {
                "the store is of a newer format than this version supports; upgrade this edge"
            }
            FollowerState::Stuck => {
                "the records in the store break a rule; commits wait until they are repaired"
            }
            // or a state that a later version adds
            _ => "no more commits are applied until the program restarts",
        },
    )
}
