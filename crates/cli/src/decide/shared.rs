//! The parts that all connections of the decision service share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sip_authz_decide::Outcome;
use tokio::sync::{Semaphore, watch};

use super::access::Access;
use super::counts::DecideCounts;
use super::queue::{Back, Job, Queue};
use super::strangers::Strangers;
use super::worker::Worker;
use crate::sip::edge::Edge;

/// The bytes of a request for which it takes one more place.
const PLACE: usize = 4_096;

/// The parts that all connections share.
pub(super) struct Shared {
    pub(super) access: Access,
    pub(super) queue: Arc<Queue>,
    /// For the connection that decides by itself. None while one does.
    pub(super) worker: Mutex<Option<Worker>>,
    pub(super) counts: Arc<DecideCounts>,
    /// A permit for each request that may wait; long requests take several.
    pub(super) waiting: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) strangers: Strangers,
    /// A permit for each goodbye to a client that was not admitted.
    pub(super) farewells: Semaphore,
    /// True once the program ends.
    pub(super) ended: watch::Receiver<bool>,
    pub(super) edge: Arc<Edge>,
}

impl Shared {
    /// Decides frames that are requests, in this task: for a server that has nothing else to
    /// do, a thread would cost more than the decision. None if another connection does so, or if requests
    /// wait for the threads.
    pub(super) fn decide(&self, frames: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        if !self.queue.is_empty() {
            return None;
        }
        // after a panic there is none, and the threads decide all
        let mut worker = self.lock_worker().take()?;
        let answers = worker.decide(&self.edge, &self.counts, frames);
        *self.lock_worker() = Some(worker);
        Some(answers)
    }

    fn lock_worker(&self) -> MutexGuard<'_, Option<Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a frame that is a request over to the threads that decide. Returns the way back if too many
    /// requests wait, which is counted as overloaded.
    pub(super) fn ask(&self, frame: &[u8], back: Back) -> Result<(), Back> {
        match Arc::clone(&self.waiting).try_acquire_many_owned(places(frame)) {
            Ok(waiting) => {
                self.queue.push(Job { frame: frame.to_vec(), waiting, back });
                Ok(())
            }
            Err(_) => {
                self.counts.count(Outcome::Overloaded);
                self.edge.totals.count_shed();
                Err(back)
            }
        }
    }
}

/// The number of places that a request takes among those that wait.
pub(super) fn places(frame: &[u8]) -> u32 {
    u32::try_from(1 + frame.len() / PLACE).unwrap_or(u32::MAX)
}

/// Shared parts without threads that decide.
#[cfg(test)]
pub(super) mod testing {
    use sip_authz::model::OnAccept;
    use sip_authz::{Authorizer, Snapshot};

    use super::*;
    use crate::args::ReplyPort;
    use crate::observe::observers::DecisionObservers;
    use crate::sip::respond::TagKey;

    pub(in crate::decide) const TOKEN: &str = "a token of the tests";

    /// The shared parts, with this number of requests that may wait, and what ends them.
    pub(in crate::decide) fn shared(waiting: usize) -> (Arc<Shared>, watch::Sender<bool>) {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let (tags, observers) = (TagKey::random().unwrap(), DecisionObservers::default());
        let edge = Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers);
        let (end, ended) = watch::channel(false);
        let shared = Shared {
            access: Access::with_token(TOKEN),
            queue: Arc::default(),
            // all requests wait
            worker: Mutex::new(None),
            counts: Arc::new(DecideCounts::start().unwrap()),
            waiting: Arc::new(Semaphore::new(waiting)),
            connections: Arc::new(Semaphore::new(1)),
            strangers: Strangers::up_to(2),
            farewells: Semaphore::new(2),
            ended,
            edge: Arc::new(edge),
        };
        (Arc::new(shared), end)
    }
}
