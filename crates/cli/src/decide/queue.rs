//! The requests that wait for a decision, of all connections.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A request that waits.
pub(super) struct Job {
    /// A frame that is a request.
    pub(super) frame: Vec<u8>,
    /// The place among all requests that wait.
    pub(super) waiting: OwnedSemaphorePermit,
    pub(super) back: Back,
}

/// The way back to the connection of a request.
pub(super) enum Back {
    /// A connection of frames, which can have other open requests.
    Stream {
        answers: UnboundedSender<Reply>,
        /// The places of the request among those of the connection without a written answer.
        places: u32,
    },
    /// An HTTP request. It has a way of its own, so no other request can take its answer.
    Http(oneshot::Sender<Vec<u8>>),
}

/// An answer to be written.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// The places of its request.
    pub(super) places: u32,
}

impl AsRef<[u8]> for Job {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Back {
    /// Hands an answer over to the connection, unless it has ended.
    pub(super) fn send(self, bytes: Vec<u8>) {
        match self {
            Self::Stream { answers, places } => _ = answers.send(Reply { bytes, places }),
            Self::Http(answer) => _ = answer.send(bytes),
        }
    }
}

/// A queue between connections and the threads that decide. The permits of its jobs bound it.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // a thread that panicked left whole jobs
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    /// Adds a request.
    pub(super) fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Moves up to `most` requests to `jobs`, which is empty; waits for the first. Returns false once the
    /// queue is closed and empty.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, most: usize) -> bool {
        let is_idle = |state: &mut State| state.jobs.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(self.lock(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let count = state.jobs.len().min(most);
        jobs.extend(state.jobs.drain(..count));
        count > 0
    }

    /// Lets the threads end once they have taken all requests.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn requests_are_taken_in_order_and_until_the_end() {
        let (queue, permits) = (Queue::default(), Arc::new(Semaphore::new(20)));
        let (answers, mut due) = unbounded_channel();
        for number in 0..5 {
            let back = Back::Stream { answers: answers.clone(), places: 1 };
            let waiting = Arc::clone(&permits).try_acquire_owned().unwrap();
            queue.push(Job { frame: vec![number], waiting, back });
        }
        queue.close();
        let mut jobs = Vec::new();
        for expected in [&[0, 1, 2][..], &[3, 4]] {
            assert!(queue.take(&mut jobs, 3));
            for (job, number) in jobs.drain(..).zip(expected) {
                assert_eq!(job.frame, [*number]);
                drop(job.waiting);
                job.back.send(job.frame);
                assert_eq!(due.try_recv().unwrap().bytes, [*number]);
            }
        }
        assert!(!queue.take(&mut jobs, 3));
        assert_eq!(permits.available_permits(), 20);
    }
}
