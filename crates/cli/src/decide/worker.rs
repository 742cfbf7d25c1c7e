//! Decides requests in batches, in threads for all connections or in the task of one.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use sip_authz::message::Message;
use sip_authz::{Decision, Invite};
use sip_authz_decide::engine::{decided, outcome_of, text_of, undecided};
use sip_authz_decide::{Frame, Outcome as Answered, Request};
use tokio::sync::mpsc::UnboundedSender;

use super::counts::DecideCounts;
use super::question::{Question, read};
use super::queue::{Job, Queue};
use crate::observe::method::MethodName;
use crate::observe::observers::PendingRecords;
use crate::observe::record::Asked;
use crate::observe::totals::{Outcome, Tally};
use crate::sip::edge::{BATCH, Edge};
use crate::sip::undecided::without_leading_lines;
use crate::system::threads::Threads;

/// The maximum number of threads.
const MAX_THREADS: usize = 8;

/// Starts a thread for each core. `stopped` gets a message if one ends by itself. They end once the queue
/// is closed.
pub(super) fn start(
    edge: &Arc<Edge>,
    queue: &Arc<Queue>,
    counts: &Arc<DecideCounts>,
    stopped: &UnboundedSender<String>,
) -> std::io::Result<Threads> {
    let mut threads = Threads::new(stopped);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for _ in 0..cores.min(MAX_THREADS) {
        let (edge, queue, counts) = (Arc::clone(edge), Arc::clone(queue), Arc::clone(counts));
        threads.start("decide", "a thread of --decide", move |_| {
            let (mut worker, mut jobs) = (Worker::default(), Vec::with_capacity(BATCH));
            while queue.take(&mut jobs, BATCH) {
                let answers = worker.decide(&edge, &counts, &jobs);
                for (Job { waiting, back, .. }, answer) in jobs.drain(..).zip(answers) {
                    drop(waiting);
                    back.send(answer);
                }
            }
        })?;
    }
    Ok(threads)
}

/// Buffers that the next batch reuses.
#[derive(Default)]
pub(super) struct Worker {
    decisions: Vec<Decision>,
    tally: Tally,
    records: PendingRecords,
}

impl Worker {
    /// Decides frames that are requests, and counts them. Returns an answer for each.
    pub(super) fn decide(
        &mut self,
        edge: &Edge,
        counts: &DecideCounts,
        frames: &[impl AsRef<[u8]>],
    ) -> Vec<Vec<u8>> {
        let now = Instant::now();
        let Self { decisions, tally, records } = self;
        // One for each frame: an answer must never go to another one. On the stack they would be as large as a
        // whole batch, and a batch of one is frequent.
        let requests: Vec<Option<Request<'_>>> =
            frames.iter().map(|frame| request(frame.as_ref())).collect();
        let texts: Vec<Option<Vec<u8>>> =
            requests.iter().map(|request| request.as_ref().and_then(text_of)).collect();
        let mut answers = Vec::with_capacity(frames.len());
        let mut places = Vec::<usize>::with_capacity(frames.len());
        let mut questions = Vec::<Question<'_>>::with_capacity(frames.len());
        let mut invites = Vec::<Invite<'_>>::with_capacity(frames.len());
        for (place, (request, text)) in requests.iter().zip(&texts).enumerate() {
            let Some(request) = request else {
                // the connection takes nothing but requests
                answers.push(Vec::new());
                continue;
            };
            answers.push(match read(edge, request, text.as_deref()) {
                Ok((question, invite)) => {
                    places.push(place);
                    questions.push(question);
                    invites.push(invite);
                    // written below
                    Vec::new()
                }
                Err(not) => {
                    counts.count(Answered::Undecided);
                    let outcome = Outcome::Other(not.cause);
                    tally.count(outcome);
                    let bytes = text.as_deref().unwrap_or_else(|| message_of(request));
                    let bytes = without_leading_lines(bytes, not.caller.transport);
                    edge.record(outcome, not.caller, now, || Message::scan(bytes), records);
                    undecided(request.id, &not.reason)
                }
            });
        }
        let asked = questions.iter().zip(&invites).map(|(question, invite)| Asked {
            caller: question.caller,
            method: MethodName::of(invite.method()),
            message: &question.message,
            invite,
        });
        let used = edge.decide_all(asked, &invites, now, decisions, records);
        let snapshot = used.unwrap_or_else(|| edge.authorizer().snapshot());
        for (place, decision) in places.iter().zip(&*decisions) {
            counts.count(outcome_of(decision));
            tally.count(match decision {
                Decision::Accept(_) => Outcome::Accepted,
                Decision::Challenge(_) => Outcome::Challenged,
                Decision::Reject(reject) => Outcome::Rejected(reject.reason),
            });
            let request = requests.get(*place).and_then(Option::as_ref);
            if let (Some(request), Some(answer)) = (request, answers.get_mut(*place)) {
                *answer = decided(request.id, decision, edge.authorizer(), &snapshot);
            }
        }
        decisions.clear();
        edge.totals.add(tally);
        // before the answers are sent, so that a client that has its answer finds the decision
        edge.observers.hand_over(records);
        answers
    }
}

/// The request in a frame. The connection has checked that it is one.
fn request(frame: &[u8]) -> Option<Request<'_>> {
    match Frame::decode(frame) {
        Ok(Frame::Request(request)) => Some(request),
        _ => None,
    }
}

/// The bytes of a message as received.
fn message_of<'a>(request: &Request<'a>) -> &'a [u8] {
    match request.content {
        sip_authz_decide::Content::Message(message) => message,
        sip_authz_decide::Content::Parsed(_) => &[],
    }
}
