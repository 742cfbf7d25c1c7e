//! The edges of the fleet, by their reports in the store.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sip_authz_store::Edge;
#[cfg(feature = "etcd")]
use sip_authz_store::SharedStore;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// The age at which the reports are read again.
const FRESH: Duration = Duration::from_secs(2);
/// The time limit to read them: a part of the time of a question.
const READ: Duration = Duration::from_millis(400);

/// A future of the last report of each edge.
type Reading = Pin<Box<dyn Future<Output = Result<Vec<Edge>, String>> + Send>>;

/// The last reports of all edges, read when they are needed.
pub(crate) struct KnownEdges {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    last: Mutex<Option<Last>>,
}

struct Last {
    at: Instant,
    edges: Arc<Vec<Edge>>,
    error: Option<String>,
}

impl KnownEdges {
    /// The edges that report to this store.
    #[cfg(feature = "etcd")]
    pub(crate) fn of<S: SharedStore>(store: S) -> Self {
        Self::new(move || {
            let store = store.clone();
            Box::pin(async move { store.edges().await.map_err(|error| error.to_string()) })
        })
    }

    pub(super) fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), last: Mutex::new(None) }
    }

    /// The reports, and the reason if they could not be read again: then they are those of the last time.
    pub(super) async fn get(&self) -> (Arc<Vec<Edge>>, Option<String>) {
        // while one question reads them, the others wait for it
        let mut last = self.last.lock().await;
        let fresh = last.as_ref().filter(|last| last.at.elapsed() < FRESH);
        if let Some(last) = fresh {
            return (Arc::clone(&last.edges), last.error.clone());
        }
        let read = timeout(READ, (self.read)()).await;
        let late = || format!("no answer within {} ms", READ.as_millis());
        let (edges, error) = match read.map_err(|_| late()).and_then(|read| read) {
            Ok(edges) => (Arc::new(edges), None),
            Err(error) => {
                let edges = last.as_ref().map(|last| Arc::clone(&last.edges));
                (edges.unwrap_or_default(), Some(error))
            }
        };
        let at = Instant::now();
        *last = Some(Last { at, edges: Arc::clone(&edges), error: error.clone() });
        (edges, error)
    }
}
