//! Where the snapshot in force stands: read without waiting, replaced whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::Snapshot;

/// The one place that knows how a snapshot is shared between readers and the writer, so that the
/// way can be changed without a reader noticing.
pub(crate) struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    /// No decision is made by `current` at this time or later, in the authorizer's milliseconds.
    deadline_ms: AtomicU64,
    /// Held while a new snapshot is made from the present one, so that no change is lost.
    writer: Mutex<()>,
    #[cfg(feature = "metrics")]
    changed: Changed,
}

/// When the snapshot in force was put there, by the system's clock: for metrics alone.
#[cfg(feature = "metrics")]
struct Changed {
    start: std::time::Instant,
    /// Milliseconds after `start`.
    last_ms: AtomicU64,
}

#[cfg(feature = "metrics")]
impl Changed {
    fn now() -> Self {
        Self { start: std::time::Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn set(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    fn age(&self) -> std::time::Duration {
        let last = std::time::Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

impl SnapshotCell {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            deadline_ms: AtomicU64::new(u64::MAX),
            writer: Mutex::new(()),
            #[cfg(feature = "metrics")]
            changed: Changed::now(),
        }
    }

    /// The snapshot in force, for the length of one decision at the time `now_ms`; none from the
    /// deadline on. Never waits for a writer.
    pub(crate) fn load(&self, now_ms: u64) -> Option<Guard<Arc<Snapshot>>> {
        // before the snapshot: whoever sees a later deadline also sees what was published before it
        // was set, and not the snapshot that the earlier one ended
        (now_ms < self.deadline_ms.load(Ordering::Acquire)).then(|| self.current.load())
    }

    /// Ends the force of snapshots at a time; `u64::MAX` is never.
    pub(crate) fn set_deadline(&self, deadline_ms: u64) {
        self.deadline_ms.store(deadline_ms, Ordering::Release);
    }

    /// What was set last by [`Self::set_deadline`].
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline_ms.load(Ordering::Acquire)
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
        #[cfg(feature = "metrics")]
        self.changed.set();
        Ok(next)
    }

    /// For how long the snapshot in force has been there.
    #[cfg(feature = "metrics")]
    pub(crate) fn age(&self) -> std::time::Duration {
        self.changed.age()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "metrics")]
    #[test]
    fn the_age_begins_anew_with_each_snapshot() {
        use std::time::{Duration, Instant};

        let cell = SnapshotCell::new(Snapshot::empty());
        std::thread::sleep(Duration::from_millis(20));
        assert!(cell.age() >= Duration::from_millis(20));
        let before = Instant::now();
        cell.update(|snapshot| Ok::<_, ()>(snapshot.clone())).unwrap();
        // it is kept in whole milliseconds
        assert!(cell.age() <= before.elapsed() + Duration::from_millis(1));
    }

    #[test]
    fn nothing_is_loaded_from_the_deadline_on() {
        let cell = SnapshotCell::new(Snapshot::empty());
        assert!(cell.load(u64::MAX - 1).is_some());
        cell.set_deadline(100);
        assert_eq!(
            [0, 99, 100, 101, u64::MAX].map(|now| cell.load(now).is_some()),
            [true, true, false, false, false]
        );
        cell.set_deadline(0);
        assert!(cell.load(0).is_none());
        cell.set_deadline(u64::MAX);
        assert!(cell.load(100).is_some());
    }
}
