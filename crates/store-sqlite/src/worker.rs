//! The thread of the database, and the futures of its answers, which need no runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use super::database::Database;
use sip_authz_store::StoreError;

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// The thread. It ends, and with it the database is closed, when this is dropped.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(mut database: Database) -> Result<Self, StoreError> {
        let (jobs, due) = mpsc::channel::<Job>();
        let thread = spawn("sqlite", move || due.into_iter().for_each(|job| job(&mut database)))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a job on the thread, even if the answer is dropped.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = reply();
        if let Some(jobs) = &self.jobs {
            // if the thread is gone, so is the reply, and the answer says so
            let _ = jobs.send(Box::new(move |database| {
                let done = job(database);
                reply.give(done.map_err(|error| database.named(error)));
            }));
        }
        answer
    }

    /// Fails if the thread has ended.
    pub(super) fn lives(&self) -> Result<(), StoreError> {
        match &self.thread {
            Some(thread) if !thread.is_finished() => Ok(()),
            _ => Err(ended()),
        }
    }
}

fn ended() -> StoreError {
    StoreError::Unreachable("the thread of the database has ended".to_owned())
}

impl Drop for Worker {
    fn drop(&mut self) {
        // no more jobs; what was begun is ended, and the folder is free when this returns
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Has a thread of its own do something.
pub(super) fn aside<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Answer<T> {
    let (reply, answer) = reply();
    // if there is no thread to be had, the reply is dropped with the job
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

/// What a thread will answer.
pub(super) struct Answer<T>(Arc<Mutex<Slot<T>>>);

fn reply<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
    (Reply(Arc::clone(&slot)), Answer(slot))
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    // nothing that is done under the lock panics
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
    fn a_thread_that_has_ended_is_noticed() {
        let folder = std::env::temp_dir().join(format!("sip-authz-worker-{}", std::process::id()));
        let worker = Worker::start(Database::open(&folder).unwrap()).unwrap();
        assert_eq!(worker.lives(), Ok(()));
        drop(worker.ask(|_| -> Result<(), StoreError> { panic!("as a defect would") }));
        while worker.lives().is_ok() {
            thread::yield_now();
        }
        assert_eq!(worker.lives(), Err(ended()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
