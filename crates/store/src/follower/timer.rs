//! Time, for what waits.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The time and waiting, as the program's runtime has them; a simulation has its own.
pub trait Timer: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Waits so long at least.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Any number, so that many who wait for one thing do not all wake at once.
    fn random(&self) -> u32 {
        let mut random = [0; 4];
        // without random bytes all wait the longest
        getrandom::fill(&mut random).map_or(u32::MAX, |()| u32::from_le_bytes(random))
    }
}

/// What `future` comes to, unless `limit` is over before.
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
