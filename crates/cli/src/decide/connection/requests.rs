//! The requests of a connection, from their bytes to the bytes of their answers.

use arrayvec::ArrayVec;
use sip_authz::Transport;
use sip_authz_decide::engine::overloaded;
use sip_authz_decide::{Frame, FrameError, Request, split};
use tokio::sync::mpsc::UnboundedSender;

use super::End;
use crate::decide::counts::Closed;
use crate::decide::queue::{Back, Reply};
use crate::decide::shared::{Shared, places};
use crate::sip::edge::BATCH;

/// The maximum number of places of a connection's requests without a written answer.
pub(super) const MAX_OPEN: u32 = 256;
/// The capacity of the receive buffer that a silent connection keeps.
const KEPT: usize = 4_096;
/// The size of one write from which on no further answer of a thread is added.
pub(super) const ENOUGH: usize = 64 << 10;

pub(super) struct Requests<'s> {
    shared: &'s Shared,
    /// For the threads that decide.
    answers: UnboundedSender<Reply>,
    /// The places of requests without a written answer.
    open: u32,
    /// The answers that are being written.
    out: Answers,
    /// The number of bytes of `out` that are written.
    written: usize,
    /// The answers after them.
    next: Answers,
}

/// Answers in the form in which they are sent.
#[derive(Default)]
struct Answers {
    bytes: Vec<u8>,
    /// The places of their requests.
    places: u32,
}

/// The requests that [`Requests::take`] found.
pub(super) struct Taken {
    /// Whether there was one.
    pub(super) any: bool,
    /// Whether a request was left because too many have no written answer.
    pub(super) is_full: bool,
}

impl<'s> Requests<'s> {
    /// None. Threads that decide send to `answers`.
    pub(super) fn new(shared: &'s Shared, answers: UnboundedSender<Reply>) -> Self {
        let (out, next) = (Answers::default(), Answers::default());
        Self { shared, answers, open: 0, out, written: 0, next }
    }

    /// Takes requests off the received bytes: each is decided, waits for a thread, or is answered as
    /// overloaded. Requests before an error are taken.
    pub(super) fn take(&mut self, received: &mut Vec<u8>) -> Result<Taken, End> {
        let mut rest = received.as_slice();
        let mut taken = Taken { any: false, is_full: false };
        let result = loop {
            let mut frames = ArrayVec::new();
            let cut = self.cut(&mut rest, &mut frames, &mut taken.is_full);
            let is_last = !frames.is_full();
            taken.any |= !frames.is_empty();
            self.ask(&frames);
            match cut {
                Err(end) => break Err(end),
                Ok(()) if is_last => break Ok(taken),
                Ok(()) => {}
            }
        };
        let length = received.len() - rest.len();
        received.drain(..length);
        if length > 0 && received.capacity() > ENOUGH {
            // a silent connection keeps no memory for long frames
            received.shrink_to(KEPT);
        }
        result
    }

    /// Cuts up to [`BATCH`] requests off, as many as have a place.
    fn cut<'f>(
        &mut self,
        rest: &mut &'f [u8],
        frames: &mut ArrayVec<&'f [u8], BATCH>,
        is_full: &mut bool,
    ) -> Result<(), End> {
        while !frames.is_full()
            && let Some((frame, length)) = split(rest)?
        {
            let open = self.open + places(frame);
            if open > MAX_OPEN {
                *is_full = true;
                break;
            }
            request(frame)?;
            self.open = open;
            frames.push(frame);
            *rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// Has requests decided.
    fn ask(&mut self, frames: &ArrayVec<&[u8], BATCH>) {
        if let Some(answers) = self.shared.decide(frames) {
            for (frame, answer) in frames.iter().zip(answers) {
                self.next.add(&answer, places(frame));
            }
            return;
        }
        for frame in frames {
            let back = Back::Stream { answers: self.answers.clone(), places: places(frame) };
            if let (Err(_), Ok(id)) = (self.shared.ask(frame, back), request(frame)) {
                self.next.add(&overloaded(id), places(frame));
            }
        }
    }

    /// Whether an answer of a thread can be added.
    pub(super) fn has_room(&self) -> bool {
        self.next.bytes.len() < ENOUGH
    }

    /// Adds the answer of a thread.
    pub(super) fn add(&mut self, reply: &Reply) {
        self.next.add(&reply.bytes, reply.places);
    }

    /// Begins to write the answers there are, unless others are being written. True if it did.
    pub(super) fn begin_write(&mut self) -> bool {
        let begins = self.out.bytes.is_empty() && !self.next.bytes.is_empty();
        if begins {
            std::mem::swap(&mut self.out, &mut self.next);
        }
        begins
    }

    /// The bytes to be written.
    pub(super) fn to_write(&self) -> &[u8] {
        self.out.bytes.get(self.written..).unwrap_or_default()
    }

    /// Whether some bytes of the answers being written are not written.
    pub(super) fn is_partly_written(&self) -> bool {
        self.written > 0
    }

    /// Notes that so many bytes are written. The requests of whole answers give their places back.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.out.bytes.len() {
            self.open -= self.out.places;
            self.written = 0;
            self.out.clear();
        }
    }

    /// Whether all answers are written.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0
    }
}

impl Answers {
    fn add(&mut self, answer: &[u8], places: u32) {
        self.bytes.extend_from_slice(answer);
        self.places += places;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ENOUGH);
        self.places = 0;
    }
}

/// Checks that a frame is a request, and returns its id.
fn request(frame: &[u8]) -> Result<u64, End> {
    let Frame::Request(Request { id, transport, .. }) = Frame::decode(frame)? else {
        return Err(End::new(Closed::Malformed, "expected a request"));
    };
    if transport.parse::<Transport>().is_err() {
        return Err(FrameError::Value("transport").into());
    }
    Ok(id)
}
