//! Where the snapshot in force stands: read without waiting, replaced whole.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::Snapshot;

/// The one place that knows how a snapshot is shared between readers and the writer, so that the
/// way can be changed without a reader noticing.
pub(crate) struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made from the present one, so that no change is lost.
    writer: Mutex<()>,
}

impl SnapshotCell {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(snapshot), writer: Mutex::new(()) }
    }

    /// The snapshot in force, for the length of one decision. Never waits for a writer.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot in force, to keep.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts what `change` makes of the present snapshot in its place. An error leaves it.
    pub(crate) fn update<E>(
        &self,
        change: impl FnOnce(&Snapshot) -> Result<Snapshot, E>,
    ) -> Result<Arc<Snapshot>, E> {
        // the lock guards no data, so a panic of another holder has left nothing half done
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(change(&self.current.load())?);
        self.current.store(Arc::clone(&next));
        Ok(next)
    }
}
