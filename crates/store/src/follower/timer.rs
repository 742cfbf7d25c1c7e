//! The clock of followers and leases, which a simulation replaces.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A clock. Programs use the clock of their runtime, simulations a virtual one.
pub trait Timer: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Waits at least this long.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// A random number that spreads the waits of many edges.
    fn random(&self) -> u32 {
        let mut random = [0; 4];
        // without random bytes every edge waits the longest
        getrandom::fill(&mut random).map_or(u32::MAX, |()| u32::from_le_bytes(random))
    }
}

/// The output of `future`, or `None` if `limit` finishes first.
pub(super) async fn first<F: Future>(
    future: F,
    limit: impl Future<Output = ()>,
) -> Option<F::Output> {
    let (mut future, mut limit) = (pin!(future), pin!(limit));
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => limit.as_mut().poll(context).map(|()| None),
    })
    .await
}
