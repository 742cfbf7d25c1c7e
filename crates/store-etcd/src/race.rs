//! Sends a request to one node after another until one answers.
//!
//! A stalled node keeps its connections, and answers nothing. So a request that takes long is sent to the next node
//! too, and the first good answer counts. The earlier attempts go on: a slow etcd answers as late as without this.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::StoreError;

/// The time limit for an answer of one node. After the first round, attempts are also this far apart, since more of them
/// would make a slow etcd slower.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// After this time, the nodes that got the request early get it once more. A follower loses the requests that it has
/// sent to a leader that stalls. By default it has given up that leader after 2 s.
const REPEAT: Duration = Duration::from_millis(2_200);
/// A node that has answered nothing for this time loses its clients to the node that answers.
const STALL: Duration = Duration::from_millis(500);
/// The first pause before another round over all nodes, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// The kind of a request, which determines how long one node has for it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A read of a few values.
    Read,
    /// A read of up to a hundred pages.
    Pages,
    /// A read of thousands of records, one of several at once.
    Range,
    Write,
}

impl Request {
    /// After this time without an answer, the next node gets the request too.
    const fn patience(self) -> Duration {
        match self {
            // A read takes milliseconds, and up to 100 ms on a busy cluster; an election takes over a second.
            Self::Read => Duration::from_millis(250),
            // A write waits for the disks of two nodes. A hundred pages have up to some megabytes.
            Self::Pages | Self::Write => Duration::from_secs(1),
            // on a slow network, a second copy of a load would only make both slower
            Self::Range => ANSWER_TIMEOUT,
        }
    }
}

/// A failed request.
#[derive(Debug)]
pub(super) struct RequestError {
    pub(super) error: StoreError,
    /// Whether every further attempt, at any node, would fail in the same way.
    pub(super) is_final: bool,
}

impl RequestError {
    pub(super) fn unreachable(why: impl Into<String>) -> Self {
        Self { error: StoreError::Unreachable(why.into()), is_final: false }
    }

    pub(super) fn timed_out() -> Self {
        Self::unreachable("etcd did not answer in time")
    }
}

/// The nodes, and which of them to ask first.
pub(super) struct Race {
    nodes: Vec<Node>,
    /// The index of the node to ask first.
    preferred: watch::Sender<usize>,
}

#[derive(Default)]
struct Node {
    /// The start of the first request that went to another node too, if this node has answered none since.
    silent_since: Mutex<Option<Instant>>,
}

impl Node {
    fn silent_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // no code panics while it holds the lock
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stalled(&self) -> bool {
        self.silent_since().is_some_and(|since| since.elapsed() >= STALL)
    }
}

/// What a node has done in one race.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    None,
    Running {
        /// The index of the attempt in the race.
        attempt: usize,
        since: Instant,
    },
    Failed,
}

impl Attempt {
    /// Whether it is the attempt with this index.
    fn is(&self, index: usize) -> bool {
        matches!(self, Self::Running { attempt, .. } if *attempt == index)
    }
}

/// The end of an attempt.
struct Ended<T> {
    /// The index of the attempt in the race.
    attempt: usize,
    node: usize,
    /// None after the time limit.
    result: Option<Result<T, RequestError>>,
}

impl Race {
    pub(super) fn new(nodes: usize, first: usize) -> Self {
        let (preferred, _) = watch::channel(first % nodes);
        Self { nodes: (0..nodes).map(|_| Node::default()).collect(), preferred }
    }

    /// The index of the node to ask first.
    pub(super) fn preferred(&self) -> usize {
        *self.preferred.borrow()
    }

    /// A receiver of the index of the node to ask first, which marks the present one as seen.
    pub(super) fn subscribe(&self) -> watch::Receiver<usize> {
        self.preferred.subscribe()
    }

    /// Prefers another node, unless another task has done so already.
    fn replace_preferred(&self, node: usize, next: usize) {
        self.preferred.send_if_modified(|preferred| {
            let is_changed = *preferred == node && node != next;
            if is_changed {
                *preferred = next;
            }
            is_changed
        });
    }

    /// Prefers the next node if this one is preferred.
    pub(super) fn avoid(&self, node: usize) {
        self.replace_preferred(node, (node + 1) % self.nodes.len());
    }

    /// The node for the first attempt. Only reads that are cheap to repeat find out whether a silent node is back.
    fn first(&self, request: Request) -> usize {
        let preferred = self.preferred();
        let is_usable = |node: &usize| {
            request == Request::Read
                || self.nodes.get(*node).is_some_and(|node| node.silent_since().is_none())
        };
        self.after(preferred).find(is_usable).unwrap_or(preferred)
    }

    /// All nodes from this one on, in the order of their use.
    fn after(&self, node: usize) -> impl Iterator<Item = usize> {
        let count = self.nodes.len();
        (node..node + count).map(move |node| node % count)
    }

    /// Sends a request to one node after another, by `ask` with the index of a node, until one answers or all fail after
    /// the time `give_up_after`.
    pub(super) async fn run<T, F>(
        &self,
        request: Request,
        give_up_after: Duration,
        ask: impl Fn(usize) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let count = self.nodes.len();
        let begin = Instant::now();
        let deadline = begin + give_up_after;
        let (mut pause, longest_pause) = PAUSES;
        let mut states = vec![Attempt::None; count];
        let mut running = Vec::new();
        let mut next = self.first(request);
        // an attempt at a node that has none starts at this time
        let mut next_start = begin;
        let (mut started, mut failed) = (0, 0);
        loop {
            let starts = self.after(next).filter_map(|node| match states.get(node)? {
                Attempt::None | Attempt::Failed => Some((next_start, node)),
                Attempt::Running { since, .. } => {
                    let is_early = *since < begin + REPEAT * 3 / 4;
                    let is_repeated = is_early && count > 1 && request != Request::Range;
                    is_repeated.then(|| (begin + REPEAT, node))
                }
            });
            let start = starts.min_by_key(|(at, _)| *at);
            let ended = match start {
                Some((at, node)) if at < deadline || running.is_empty() => {
                    timeout_at(at, first_ended(&mut running)).await.map_err(|_| node)
                }
                // all nodes have an attempt, or the time is up for further ones
                _ => Ok(first_ended(&mut running).await),
            };
            let Ended { attempt, node, result } = match ended {
                Ok(ended) => ended,
                Err(node) => {
                    self.note_silence(&states);
                    let (attempt, since) = (started, Instant::now());
                    if let Some(state) = states.get_mut(node) {
                        *state = Attempt::Running { attempt, since };
                    }
                    let asked = ask(node);
                    running.push(Box::pin(async move {
                        let result = timeout(ANSWER_TIMEOUT, asked).await.ok();
                        Ended { attempt, node, result }
                    }));
                    started += 1;
                    next = node + 1;
                    let is_first_round = started < count;
                    next_start =
                        since + if is_first_round { request.patience() } else { ANSWER_TIMEOUT };
                    continue;
                }
            };
            let is_timeout = result.is_none();
            let error = match result {
                Some(Ok(answer)) => {
                    self.answered(node, &states);
                    return Ok(answer);
                }
                Some(Err(error)) if error.is_final => return Err(error),
                Some(Err(error)) => error,
                None => RequestError::timed_out(),
            };
            let now = Instant::now();
            if now >= deadline && running.is_empty() {
                return Err(error);
            }
            match states.get_mut(node) {
                Some(state) if state.is(attempt) => *state = Attempt::Failed,
                // a later attempt at this node goes on
                _ => continue,
            }
            self.avoid(node);
            failed += 1;
            // from the second round on, a slow etcd has its time
            if !is_timeout || attempt < count || running.is_empty() {
                next_start = now;
                if failed % count == 0 {
                    next_start += pause;
                    pause = (pause * 2).min(longest_pause);
                }
            }
        }
    }

    /// Notes that the nodes with a running attempt have not answered it in time.
    fn note_silence(&self, states: &[Attempt]) {
        for (node, state) in self.nodes.iter().zip(states) {
            if let Attempt::Running { since, .. } = state {
                node.silent_since().get_or_insert(*since);
            }
        }
    }

    /// Notes an answer of a node. It is preferred to a node that has failed, or has been silent for long: one slow
    /// answer alone moves no client.
    fn answered(&self, node: usize, states: &[Attempt]) {
        if let Some(node) = self.nodes.get(node) {
            *node.silent_since() = None;
        }
        let preferred = self.preferred();
        let is_stalled = self.nodes.get(preferred).is_some_and(Node::is_stalled);
        let moves = match states.get(preferred) {
            Some(Attempt::Running { .. }) => is_stalled,
            Some(Attempt::Failed) => true,
            _ => false,
        };
        if moves {
            self.replace_preferred(preferred, node);
        }
    }
}

/// Waits until one of these attempts ends, and removes it. Waits forever if there are none.
async fn first_ended<F: Future>(running: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        let ended = running.iter_mut().enumerate().find_map(|(index, attempt)| {
            match attempt.as_mut().poll(context) {
                Poll::Ready(output) => Some((index, output)),
                Poll::Pending => None,
            }
        });
        let Some((index, output)) = ended else { return Poll::Pending };
        drop(running.swap_remove(index));
        Poll::Ready(output)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVE_UP: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_secs(1_000_000);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Sends a request to three nodes that answer with their index after these times. Returns the answer, if there is
    /// one, the time in milliseconds, and the nodes that got the request.
    async fn run(
        race: &Race,
        request: Request,
        times: [Duration; 3],
    ) -> (Option<usize>, u128, Vec<usize>) {
        let (start, asked) = (Instant::now(), Mutex::new(Vec::new()));
        let ask = |node: usize| {
            asked.lock().unwrap().push(node);
            async move {
                tokio::time::sleep(times[node]).await;
                Ok(node)
            }
        };
        let answer = race.run(request, GIVE_UP, ask).await.ok();
        (answer, start.elapsed().as_millis(), asked.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_node_costs_a_delay_twice() {
        let race = Race::new(3, 0);
        let times = [NEVER, ms(5), ms(5)];
        assert_eq!(run(&race, Request::Read, times).await, (Some(1), 255, vec![0, 1]));
        // one slow answer alone moves no client, but larger requests are spared
        assert_eq!(race.preferred(), 0);
        assert_eq!(run(&race, Request::Write, times).await, (Some(1), 5, vec![1]));
        assert_eq!(run(&race, Request::Read, times).await, (Some(1), 255, vec![0, 1]));
        assert_eq!(race.preferred(), 1);
        assert_eq!(run(&race, Request::Read, times).await, (Some(1), 5, vec![1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_answers_again_stays_preferred() {
        let race = Race::new(3, 0);
        let slow = [NEVER, ms(5), ms(5)];
        let quick = [ms(5); 3];
        for _ in 0..10 {
            assert_eq!(run(&race, Request::Read, slow).await, (Some(1), 255, vec![0, 1]));
            assert_eq!(run(&race, Request::Read, quick).await, (Some(0), 5, vec![0]));
            assert_eq!(run(&race, Request::Write, quick).await, (Some(0), 5, vec![0]));
            assert_eq!(race.preferred(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_goes_to_the_next_node_after_a_second() {
        let race = Race::new(3, 2);
        let times = [ms(5), ms(5), NEVER];
        assert_eq!(run(&race, Request::Write, times).await, (Some(0), 1_005, vec![2, 0]));
        assert_eq!(race.preferred(), 0);
    }

    /// The answer to the first attempt counts, although other nodes have got the request.
    #[tokio::test(start_paused = true)]
    async fn a_slow_etcd_answers_as_late_as_without_further_attempts() {
        for (time, attempts) in [(900, 1), (1_800, 2), (2_150, 3), (2_900, 5)] {
            let race = Race::new(3, 0);
            let (answer, took, asked) = run(&race, Request::Write, [ms(time); 3]).await;
            assert!(answer.is_some());
            assert_eq!((took, asked.len()), (u128::from(time), attempts), "{asked:?}");
            // a load is read once
            let race = Race::new(3, 0);
            let (_, took, asked) = run(&race, Request::Range, [ms(time); 3]).await;
            assert_eq!((took, asked), (u128::from(time), vec![0]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_etcd_that_answers_nothing_is_asked_ever_less() {
        let race = Race::new(3, 0);
        let (answer, took, asked) = run(&race, Request::Write, [NEVER; 3]).await;
        assert!(answer.is_none());
        assert!((10_000..=16_000).contains(&took), "{took} ms");
        assert!(asked.len() <= 8, "{asked:?}");
    }

    /// A node that is away fails at once, and the others stall until they have a leader.
    #[tokio::test(start_paused = true)]
    async fn lost_requests_are_repeated_once_there_is_a_leader() {
        let race = Race::new(3, 0);
        let start = Instant::now();
        let ask = |_| async move {
            if start.elapsed() < ms(1_950) {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        race.run(Request::Write, GIVE_UP, ask).await.unwrap();
        assert_eq!(start.elapsed().as_millis(), 2_000);
        // one of the nodes is the leader that stalls, and the others find that out a little later
        for leader in 0..3 {
            let race = Race::new(3, 0);
            let start = Instant::now();
            let ask = |node| async move {
                if node == leader || start.elapsed() < ms(2_100) {
                    std::future::pending::<()>().await;
                }
                Ok(())
            };
            race.run(Request::Write, GIVE_UP, ask).await.unwrap();
            assert_eq!(start.elapsed().as_millis(), 2_200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_go_to_the_next_node_at_once_and_pause_after_a_round() {
        let race = Race::new(3, 0);
        let start = Instant::now();
        let asked = Mutex::new(Vec::new());
        let ask = |node: usize| {
            let mut asked = asked.lock().unwrap();
            asked.push((node, start.elapsed().as_millis()));
            let fails = asked.len() < 6;
            async move { if fails { Err(RequestError::unreachable("away")) } else { Ok(node) } }
        };
        assert_eq!(race.run(Request::Read, GIVE_UP, ask).await.unwrap(), 2);
        assert_eq!(*asked.lock().unwrap(), [(0, 0), (1, 0), (2, 0), (0, 20), (1, 20), (2, 20)]);
        assert_eq!(race.preferred(), 2);
    }
}
