//! The connections of a client.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Deadline;
use super::connection::Connection;
use crate::failure::Failure;

/// The maximum number of connections of a handle. The service takes 256 from all clients, and each
/// process of a host may have a handle. Further requests wait for a connection, within their time.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// Idle connections, and the number of those in use.
#[derive(Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    /// Signals that a request has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// The connection that was used last is at the end, and is used next.
    idle: Vec<Connection>,
    /// The number of requests in progress, each with one connection at most.
    in_use: usize,
    /// The number of requests that wait for the end of another one.
    waiting: usize,
}

/// The right to use one connection.
pub(super) struct Permit<'p> {
    pool: &'p Pool,
}

impl Pool {
    /// Waits until a connection may be used.
    pub(super) fn permit(&self, deadline: Deadline) -> Result<Permit<'_>, Failure> {
        let mut state = self.state();
        while state.in_use >= MAX_CONNECTIONS {
            let left = deadline.left().map_err(|_| Deadline::passed("all connections in use"))?;
            state.waiting += 1;
            state = self
                .ended
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            state.waiting -= 1;
        }
        state.in_use += 1;
        Ok(Permit { pool: self })
    }

    /// Ends the idle connections.
    pub(super) fn end(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.idle.drain(..).for_each(Connection::end);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that can panic runs under the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// An idle connection. The caller ends it if it is of no use.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        self.pool.state().idle.pop()
    }

    /// Keeps a connection for the next request.
    pub(super) fn give_back(self, connection: Connection) {
        // the permit ends behind it, so there are never more connections than permits
        self.pool.state().idle.push(connection);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.in_use -= 1;
        // a signal is a system call, also if nothing waits
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.pool.ended.notify_one();
        }
    }
}
