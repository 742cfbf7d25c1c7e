//! The database thread, and futures for its results, which need no runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use super::database::Database;
use sip_authz_store::StoreError;

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// The database thread. Dropping this ends the thread and closes the database.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(mut database: Database) -> Result<Self, StoreError> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let thread =
            spawn("sqlite", move || receiver.into_iter().for_each(|job| job(&mut database)))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a job on the thread, even if the result is dropped.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = reply();
        if let Some(jobs) = &self.jobs {
            // if the thread has ended, the dropped reply resolves to an error
            let _ = jobs.send(Box::new(move |database| {
                let done = job(database);
                reply.give(done.map_err(|error| database.named(error)));
            }));
        }
        answer
    }

    /// Fails if the thread has ended.
    pub(super) fn check_running(&self) -> Result<(), StoreError> {
        match &self.thread {
            Some(thread) if !thread.is_finished() => Ok(()),
            _ => Err(ended()),
        }
    }
}

fn ended() -> StoreError {
    StoreError::Unreachable("the database thread has ended".to_owned())
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The thread finishes the jobs in its queue. The folder is released when this returns.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs a job on a new thread.
pub(super) fn run_on_new_thread<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Answer<T> {
    let (reply, answer) = reply();
    // if no thread can be started, the dropped reply resolves to an error
    let _ = spawn("sqlite load", move || reply.give(job()));
    answer
}

fn spawn(name: &str, job: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(job);
    spawned.map_err(|error| StoreError::Other(format!("cannot start a thread: {error}")))
}

struct Slot<T> {
    answer: Option<Result<T, StoreError>>,
    waker: Option<Waker>,
}

struct Reply<T>(Arc<Mutex<Slot<T>>>);

/// The result of a job, as a future.
pub(super) struct Answer<T>(Arc<Mutex<Slot<T>>>);

fn reply<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
    (Reply(Arc::clone(&slot)), Answer(slot))
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    // no code panics while it holds the lock
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Reply<T> {
    fn give(self, answer: Result<T, StoreError>) {
        lock(&self.0).answer = Some(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.0);
            slot.answer.get_or_insert_with(|| Err(ended()));
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_dead_thread_is_detected() {
        let folder = std::env::temp_dir().join(format!("sip-authz-worker-{}", std::process::id()));
        let worker = Worker::start(Database::open(&folder).unwrap()).unwrap();
        assert_eq!(worker.check_running(), Ok(()));
        drop(worker.ask(|_| -> Result<(), StoreError> { panic!("simulated defect") }));
        while worker.check_running().is_ok() {
            thread::yield_now();
        }
        assert_eq!(worker.check_running(), Err(ended()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
