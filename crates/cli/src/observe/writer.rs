//! A thread that writes what others put into its queue, and whose end is waited for, but not for ever.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::system::failure::Failure;

/// How long the end of the program waits for what is left to be written.
const LAST: Duration = Duration::from_secs(2);

/// A thread of this kind.
pub(crate) struct Writer {
    done: Mutex<Receiver<()>>,
}

impl Writer {
    pub(crate) fn start(
        name: &str,
        write: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Failure> {
        let (finished, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            write();
            let _ = finished.send(());
        });
        started.map_err(|error| Failure::Runtime(error.to_string()))?;
        Ok(Self { done: Mutex::new(done) })
    }

    /// Whether it ends, once it was told to, within the time that the end of the program has.
    pub(crate) fn ends(&self) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(LAST).is_ok()
    }
}
