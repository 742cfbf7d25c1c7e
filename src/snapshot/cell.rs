//! Holds the snapshot in force: wait-free reads, atomic replacement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::Snapshot;

/// Shares the snapshot in force between readers and one writer. No other code depends on the
/// mechanism.
pub(crate) struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    /// No snapshot is returned at this time or later, in milliseconds of the authorizer's clock.
    deadline_ms: AtomicU64,
    /// Held while a snapshot is derived from the current one, so that no concurrent change is lost.
    writer: Mutex<()>,
    #[cfg(feature = "metrics")]
    changed: Changed,
}

/// Time of the last replacement; for metrics only.
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

    /// The snapshot in force at `now_ms`, for one decision; none at or after the deadline. Never
    /// waits for a writer.
    pub(crate) fn load(&self, now_ms: u64) -> Option<Guard<Arc<Snapshot>>> {
        // load the deadline first: a reader that sees a later deadline then also sees the snapshot
        // published before it
        (now_ms < self.deadline_ms.load(Ordering::Acquire)).then(|| self.current.load())
    }

    /// Sets the time from which no snapshot is returned; `u64::MAX` means never.
    pub(crate) fn set_deadline(&self, deadline_ms: u64) {
        self.deadline_ms.store(deadline_ms, Ordering::Release);
    }

    /// The deadline last set by [`Self::set_deadline`].
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    /// The snapshot in force, as an owned reference.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces the snapshot with the result of `change`. An error leaves it unchanged.
    pub(crate) fn update<E>(
        &self,
        change: impl FnOnce(&Snapshot) -> Result<Snapshot, E>,
    ) -> Result<Arc<Snapshot>, E> {
        // the lock guards no data, so a poisoned lock is still usable
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(change(&self.current.load())?);
        self.current.store(Arc::clone(&next));
        #[cfg(feature = "metrics")]
        self.changed.set();
        Ok(next)
    }

    /// Time since the snapshot in force was set.
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
    fn the_age_restarts_with_each_snapshot() {
        use std::time::{Duration, Instant};

        let cell = SnapshotCell::new(Snapshot::empty());
        std::thread::sleep(Duration::from_millis(20));
        assert!(cell.age() >= Duration::from_millis(20));
        let before = Instant::now();
        cell.update(|snapshot| Ok::<_, ()>(snapshot.clone())).unwrap();
        // the age has millisecond resolution
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
