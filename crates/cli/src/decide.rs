//! The decision service: SIP servers on this machine ask, over a local socket, whether a request may
//! pass. `docs/decision-service.md` describes the protocol, and `docs/decide-http.md` its form over HTTP.

mod access;
mod connection;
pub(crate) mod counts;
mod http;
mod listeners;
mod question;
mod queue;
mod shared;
mod strangers;
#[cfg(unix)]
mod unix;
mod worker;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};

use self::counts::DecideCounts;
pub(crate) use self::listeners::OpenListeners;
use self::queue::Queue;
use self::shared::Shared;
use self::strangers::Strangers;
use self::worker::Worker;
use crate::args::DecideArgs;
use crate::sip::edge::Edge;
use crate::system::output::ProgramError;
use crate::system::threads::Threads;

/// The maximum number of connections.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// The maximum number of connections over TCP without a valid `hello` or token.
pub(crate) const MAX_STRANGERS: usize = 64;
/// The maximum number of connections that are not admitted and still get a goodbye.
const MAX_FAREWELLS: usize = 64;
/// The maximum number of requests of all connections that wait for a decision.
const MAX_WAITING: usize = 4_096;
/// The time at the end of the program in which connections still get their answers.
const END: Duration = Duration::from_secs(1);

/// The running service.
pub(crate) struct DecisionService {
    ended: watch::Sender<bool>,
    connections: Arc<Semaphore>,
    queue: Arc<Queue>,
    workers: Threads,
    /// Removes the files of Unix sockets on drop.
    _files: listeners::Files,
}

impl DecisionService {
    /// Starts to answer at open listeners, on `runtime`. `stopped` gets a message if a thread ends by
    /// itself. None without listeners.
    pub(crate) fn start(
        edge: &Arc<Edge>,
        open: OpenListeners,
        counts: &Arc<DecideCounts>,
        runtime: &Runtime,
        stopped: &UnboundedSender<String>,
    ) -> Result<Option<Self>, ProgramError> {
        if open.is_empty() {
            return Ok(None);
        }
        let failed = |error: std::io::Error| ProgramError::Runtime(error.to_string());
        let (ended, has_ended) = watch::channel(false);
        let (queue, connections) = (Arc::default(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        let workers = worker::start(edge, &queue, counts, stopped).map_err(failed)?;
        let (access, sockets, files) = open.split();
        let shared = Arc::new(Shared {
            access,
            queue: Arc::clone(&queue),
            worker: Mutex::new(Some(Worker::default())),
            counts: Arc::clone(counts),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            connections: Arc::clone(&connections),
            strangers: Strangers::up_to(MAX_STRANGERS),
            farewells: Semaphore::new(MAX_FAREWELLS),
            ended: has_ended,
            edge: Arc::clone(edge),
        });
        let _within = runtime.enter();
        for socket in sockets {
            runtime.spawn(socket.serve(Arc::clone(&shared)).map_err(failed)?);
        }
        Ok(Some(Self { ended, connections, queue, workers, _files: files }))
    }

    /// Ends the service: no more requests are read, and those that were read get their answers.
    pub(crate) async fn end(self) {
        self.ended.send_replace(true);
        // all permits are back once all connections have ended
        let most = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(END, self.connections.acquire_many(most)).await;
        self.workers.end(|| self.queue.close());
    }
}

/// The number of connections that the options allow.
pub(crate) fn most_connections(args: &DecideArgs) -> u64 {
    if args.decide.is_empty() {
        0
    } else {
        (MAX_CONNECTIONS + MAX_STRANGERS + MAX_FAREWELLS) as u64
    }
}
