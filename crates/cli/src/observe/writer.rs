//! A thread for output that may block. The program waits for its end within a time limit.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::system::output::ProgramError;

/// The time limit for the rest of the output at the end of the program.
pub(super) const LAST: Duration = Duration::from_secs(2);

/// A thread that runs a function which writes.
pub(crate) struct Writer {
    done: Mutex<Receiver<()>>,
}

impl Writer {
    pub(crate) fn start(
        name: &str,
        write: impl FnOnce() + Send + 'static,
    ) -> Result<Self, ProgramError> {
        let (finished, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            write();
            let _ = finished.send(());
        });
        started.map_err(|error| ProgramError::Runtime(error.to_string()))?;
        Ok(Self { done: Mutex::new(done) })
    }

    /// Waits for the thread. Returns whether it ended within the time limit.
    pub(crate) fn ends(&self) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(LAST).is_ok()
    }
}
