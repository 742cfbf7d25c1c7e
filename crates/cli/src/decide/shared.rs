//! The parts that all connections of the decision service share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::access::Access;
use super::counts::DecideCounts;
use super::queue::Queue;
use super::strangers::Strangers;
use crate::sip::edge::Edge;

/// The parts that all connections share.
pub(super) struct Shared {
    pub(super) access: Access,
    pub(super) queue: Arc<Queue>,
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
