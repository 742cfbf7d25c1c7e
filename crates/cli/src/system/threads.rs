//! Threads that run until the program ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

/// Threads of one kind, which end together.
pub(crate) struct Threads {
    threads: Vec<JoinHandle<()>>,
    end: Arc<AtomicBool>,
    stopped: UnboundedSender<String>,
}

impl Threads {
    /// No threads yet. `stopped` gets a message if one of them ends by itself.
    pub(crate) fn new(stopped: &UnboundedSender<String>) -> Self {
        Self { threads: Vec::new(), end: Arc::default(), stopped: stopped.clone() }
    }

    /// Starts a thread with a name for the system. `kind` names it in the message. The work must end once
    /// the flag is set, or after the `wake` of [`Self::end`].
    pub(crate) fn start(
        &mut self,
        name: &str,
        kind: &'static str,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> std::io::Result<()> {
        let (end, stopped) = (Arc::clone(&self.end), self.stopped.clone());
        let guard = StopGuard { end, stopped, kind };
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || {
            let guard = guard;
            work(&guard.end);
        })?);
        Ok(())
    }

    /// Sets the flag, calls `wake`, and waits for the threads.
    pub(crate) fn end(self, wake: impl FnOnce()) {
        self.end.store(true, Ordering::Relaxed);
        wake();
        for thread in self.threads {
            // a thread that panicked has reported it
            let _ = thread.join();
        }
    }
}

/// Reports on drop a thread that ended although the program goes on.
struct StopGuard {
    end: Arc<AtomicBool>,
    stopped: UnboundedSender<String>,
    kind: &'static str,
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.end.load(Ordering::Relaxed) {
            // fails only while the program ends
            let _ = self.stopped.send(format!("{} stopped unexpectedly", self.kind));
        }
    }
}
