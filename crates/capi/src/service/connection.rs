//! One connection to a service.

use sip_authz_decide::{Frame, Goodbye, GoodbyeCode, Hello, MAX_FRAME, PREFIX, VERSION, split};
use zeroize::Zeroizing;

use super::Deadline;
use super::socket::{Address, Socket, ended};
use crate::answer::FlatAnswer;
use crate::codes::{SIP_AUTHZ_PROTOCOL, SIP_AUTHZ_REFUSED, SIP_AUTHZ_TIMEOUT};
use crate::failure::Failure;

/// More bytes than a hello has without its token.
const HELLO: usize = 64;
/// The bytes that are read at once.
const CHUNK: usize = 8_192;

/// A connection after its welcome. Its drop closes it, and leaves copies in other processes connected.
pub(super) struct Connection {
    stream: Stream,
    /// The greatest length of a frame that the service takes.
    limit: usize,
}

struct Stream {
    socket: Socket,
    /// Bytes that were received and not yet read.
    received: Vec<u8>,
}

impl Connection {
    /// Connects, and says hello.
    pub(super) fn open(
        address: &Address,
        token: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Self, Failure> {
        // it may hold the token; a buffer that grows leaves copies in memory
        let mut hello = Zeroizing::new(Vec::with_capacity(HELLO + token.map_or(0, <[u8]>::len)));
        Hello::new(token)
            .encode(&mut hello)
            .map_err(|error| Failure::argument(error.to_string()))?;
        let mut stream =
            Stream { socket: Socket::connect(address, deadline)?, received: Vec::new() };
        match greet(&mut stream, &hello, deadline) {
            Ok(limit) => Ok(Self { stream, limit }),
            Err(failure) => {
                stream.socket.end();
                Err(failure)
            }
        }
    }

    /// Checks that the service takes a frame of this length.
    pub(super) fn check_length(&self, frame: &[u8]) -> Result<(), Failure> {
        match frame.len() <= self.limit + PREFIX {
            true => Ok(()),
            false => Err(Failure::too_long(format!("limit of the service: {} bytes", self.limit))),
        }
    }

    /// Whether the service has neither sent something nor ended the connection.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.received.is_empty() && self.stream.socket.is_quiet()
    }

    /// Sends a question with this id, and reads its answer. After an error the connection must not be used
    /// again.
    pub(super) fn ask(
        &mut self,
        question: &[u8],
        id: u64,
        deadline: Deadline,
    ) -> Result<FlatAnswer, Failure> {
        if !self.stream.received.is_empty() {
            return Err(wrong("frame without a question"));
        }
        self.stream.socket.send_all(question, deadline)?;
        self.stream.frame(deadline, |bytes| match decode(bytes)? {
            Frame::Answer(answer) => FlatAnswer::of(&answer, id),
            Frame::Goodbye(goodbye) => Err(refused(&goodbye)),
            _ => Err(wrong("expected an answer, got another frame")),
        })
    }

    /// Ends the connection, also for copies in other processes.
    pub(super) fn end(self) {
        self.stream.socket.end();
    }
}

impl Stream {
    /// Waits for a whole frame, and reads it with its prefix.
    fn frame<R>(
        &mut self,
        deadline: Deadline,
        read: impl FnOnce(&[u8]) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut chunk = [0; CHUNK];
        loop {
            let whole = split(&self.received).map_err(|error| wrong(error.to_string()))?;
            if let Some((_, length)) = whole {
                let result = read(self.received.get(..length).unwrap_or_default());
                self.received.drain(..length);
                return result;
            }
            let count = self.socket.receive(&mut chunk, deadline)?;
            if count == 0 {
                return Err(ended("the service has closed the connection"));
            }
            self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

/// Says hello, and returns the greatest length of a frame that the service takes.
fn greet(stream: &mut Stream, hello: &[u8], deadline: Deadline) -> Result<usize, Failure> {
    stream.socket.send_all(hello, deadline)?;
    let limit = stream.frame(deadline, |bytes| match decode(bytes)? {
        Frame::Welcome(welcome) if welcome.version == VERSION => Ok(welcome.limit),
        Frame::Welcome(_) => Err(wrong("welcome with another version")),
        Frame::Goodbye(goodbye) => Err(refused(&goodbye)),
        _ => Err(wrong("expected a welcome, got another frame")),
    })?;
    Ok(usize::try_from(limit).unwrap_or(MAX_FRAME).min(MAX_FRAME))
}

fn decode(bytes: &[u8]) -> Result<Frame<'_>, Failure> {
    let frame = bytes.get(PREFIX..).unwrap_or_default();
    Frame::decode(frame).map_err(|error| wrong(error.to_string()))
}

fn wrong(detail: impl Into<String>) -> Failure {
    Failure::new(SIP_AUTHZ_PROTOCOL, detail)
}

/// The error of a goodbye.
fn refused(goodbye: &Goodbye<'_>) -> Failure {
    // the text is a stranger's, and goes into logs
    let text: String = goodbye.text.chars().take(200).collect();
    let text = text.escape_debug().to_string();
    match goodbye.code {
        GoodbyeCode::End => ended(text),
        GoodbyeCode::Malformed => wrong(text),
        GoodbyeCode::TooLong => Failure::too_long(text),
        GoodbyeCode::TooSlow => Failure::new(SIP_AUTHZ_TIMEOUT, text),
        _ => Failure::new(SIP_AUTHZ_REFUSED, text),
    }
}
