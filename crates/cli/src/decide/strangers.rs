//! Connections over TCP without a valid `hello`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The connections over TCP without a valid `hello`. Every user of the machine can open some, so a new
/// one beyond the limit ends the oldest: silent ones do not keep clients out.
pub(super) struct Strangers {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By age.
    ends: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Strangers {
    /// None, with a limit of `most`.
    pub(super) fn up_to(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // each change is a single one, so a panic leaves a whole state
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, for as long as the result lives. Ends the oldest one at the limit.
    pub(super) fn add(&self) -> Stranger<'_> {
        let (end, ended) = oneshot::channel();
        let mut state = self.lock();
        if state.ends.len() >= self.most
            && let Some((_, oldest)) = state.ends.pop_first()
        {
            // fails only if it has just ended
            let _ = oldest.send(());
        }
        let number = state.next;
        state.next += 1;
        state.ends.insert(number, end);
        Stranger { all: self, number, ended }
    }
}

/// A connection of [`Strangers`].
pub(super) struct Stranger<'s> {
    all: &'s Strangers,
    number: u64,
    ended: oneshot::Receiver<()>,
}

impl Stranger<'_> {
    /// Waits until the connection must make room for a new one.
    pub(super) async fn must_end(&mut self) {
        // the sender is kept until then, or until the drop of this
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        self.all.lock().ends.remove(&self.number);
    }
}
