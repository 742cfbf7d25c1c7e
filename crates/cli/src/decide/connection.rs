//! A connection of the decision service: its `hello`, its requests and its answers.

use std::sync::Arc;
use std::time::Duration;

use sip_authz::Transport;
use sip_authz_decide::engine::overloaded;
use sip_authz_decide::{
    Frame, FrameError, Goodbye, GoodbyeCode, MAX_FRAME, Request, VERSION, Welcome, split,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::counts::Closed;
use super::queue::{Back, Reply};
use super::shared::{Shared, places};
use crate::sip::stream;

/// The maximum number of requests of a connection without a written answer.
const MAX_OPEN: usize = 256;
/// The capacity of the receive buffer that a silent connection keeps.
const KEPT: usize = 4_096;
/// The size of one write from which on no further answer is added.
const ENOUGH: usize = 64 << 10;
/// The time after a refusal in which bytes that still arrive are discarded.
const LINGER: Duration = Duration::from_millis(200);

/// The time limits of a connection.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// For the `hello`.
    hello: Duration,
    /// From the first byte of a frame to its last, and for the client to take answers.
    frame: Duration,
}

const TIMES: Times = Times { hello: Duration::from_secs(5), frame: Duration::from_secs(10) };

/// The rights of a new connection.
pub(super) enum Entry {
    /// A user of the list.
    #[cfg(unix)]
    Allowed,
    /// Another user.
    #[cfg(unix)]
    Refused(Option<u32>),
    /// A client that sends the token.
    Token,
}

/// The end of a connection by this side: a reason for the counts, and a text.
struct End {
    closed: Option<Closed>,
    code: GoodbyeCode,
    text: String,
}

impl End {
    fn new(closed: Closed, text: impl Into<String>) -> Self {
        let code = match closed {
            Closed::Malformed => GoodbyeCode::Malformed,
            Closed::Version => GoodbyeCode::Version,
            Closed::Token => GoodbyeCode::Token,
            Closed::User => GoodbyeCode::User,
            Closed::TooMany => GoodbyeCode::TooMany,
            Closed::TooLong => GoodbyeCode::TooLong,
            Closed::TooSlow | Closed::NotRead => GoodbyeCode::TooSlow,
        };
        Self { closed: Some(closed), code, text: text.into() }
    }

    fn of_program() -> Self {
        Self { closed: None, code: GoodbyeCode::End, text: "the program ends".to_owned() }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong(_) => Self::new(Closed::TooLong, error.to_string()),
            _ => Self::new(Closed::Malformed, error.to_string()),
        }
    }
}

/// Serves a connection until one side ends it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    entry: Entry,
    place: Arc<str>,
) {
    serve_within(&shared, stream, entry, &place, TIMES).await;
}

async fn serve_within(
    shared: &Arc<Shared>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    entry: Entry,
    place: &str,
    times: Times,
) {
    let mut received = Vec::new();
    let end = match admit(shared, &mut stream, entry, &mut received, times).await {
        Ok(Some(permit)) => {
            let end = answer_requests(shared, &mut stream, received, times).await;
            // held until the goodbye is written
            end.map(|end| (end, Some(permit)))
        }
        Ok(None) => None,
        Err(end) => Some((end, None)),
    };
    if let Some((End { closed, code, text }, permit)) = end {
        if let Some(closed) = closed {
            shared.counts.close(closed, place, &text);
        }
        // a flood of connections that are not admitted must not use up the file descriptors of the program
        let farewell = permit.is_none().then(|| shared.farewells.try_acquire());
        if matches!(farewell, Some(Err(_))) {
            return;
        }
        let mut bytes = Vec::new();
        if Goodbye::new(code, &text).encode(&mut bytes).is_ok() {
            // the stream is closed in any case
            let _ = timeout(LINGER, say_goodbye(&mut stream, &bytes)).await;
        }
    }
}

/// Writes the last frame. Bytes that still arrive are discarded: with unread bytes the system would reset
/// the connection, and the client could lose the frame.
async fn say_goodbye(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    bytes: &[u8],
) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1_024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Admits a connection: its rights, its place among the connections, its `hello`. None if the client has
/// gone.
async fn admit(
    shared: &Shared,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    entry: Entry,
    received: &mut Vec<u8>,
    times: Times,
) -> Result<Option<OwnedSemaphorePermit>, End> {
    let permit = |all: &Arc<Semaphore>| {
        let permit = Arc::clone(all).try_acquire_owned();
        permit.map_err(|_| End::new(Closed::TooMany, "too many connections"))
    };
    let (needs_token, permit_of_all) = match entry {
        #[cfg(unix)]
        Entry::Refused(user) => {
            let user =
                user.map_or_else(|| "of an unknown user".to_owned(), |it| format!("of user {it}"));
            let text = format!("a process {user} is not allowed (--decide-user)");
            return Err(End::new(Closed::User, text));
        }
        #[cfg(unix)]
        Entry::Allowed => (false, Some(permit(&shared.connections)?)),
        Entry::Token => (true, None),
    };
    // strangers must not take the places of clients
    let mut stranger = needs_token.then(|| shared.strangers.add());
    let must_end = async {
        match &mut stranger {
            Some(stranger) => stranger.must_end().await,
            None => std::future::pending().await,
        }
    };
    let mut ended = shared.ended.clone();
    let greeted = tokio::select! {
        greeted = timeout(times.hello, hello(shared, stream, needs_token, received)) => greeted,
        () = must_end => {
            return Err(End::new(Closed::TooMany, "too many connections without a hello"));
        }
        _ = ended.wait_for(|ended| *ended) => return Err(End::of_program()),
    };
    let greeted = greeted.unwrap_or_else(|_| Err(End::new(Closed::TooSlow, "no hello in time")));
    if !greeted? {
        return Ok(None);
    }
    let permit = match permit_of_all {
        Some(permit) => permit,
        None => permit(&shared.connections)?,
    };
    drop(stranger);
    let mut bytes = Vec::new();
    let limit = u32::try_from(MAX_FRAME).unwrap_or(u32::MAX);
    if Welcome::new(VERSION, limit).encode(&mut bytes).is_err() {
        return Ok(None);
    }
    match timeout(times.frame, stream.write_all(&bytes)).await {
        Ok(Ok(())) => Ok(Some(permit)),
        _ => Ok(None),
    }
}

/// Reads and checks the `hello`. False if the client has gone.
async fn hello(
    shared: &Shared,
    stream: &mut (impl AsyncRead + Unpin),
    needs_token: bool,
    received: &mut Vec<u8>,
) -> Result<bool, End> {
    let length = loop {
        if let Some((frame, length)) = split(received)? {
            let Frame::Hello(hello) = Frame::decode(frame)? else {
                return Err(End::new(Closed::Malformed, "the first frame is no hello"));
            };
            // before the version: a stranger learns nothing about the server
            if needs_token && !shared.access.admits(hello.token) {
                return Err(End::new(Closed::Token, "missing or wrong token"));
            }
            if !hello.versions.contains(&VERSION) {
                let text = format!("expected version {VERSION}, found {:?}", hello.versions);
                return Err(End::new(Closed::Version, text));
            }
            break length;
        }
        match stream::read(stream, received).await {
            Ok(0) | Err(_) => return Ok(false),
            Ok(_) => {}
        }
    };
    received.drain(..length);
    Ok(true)
}

/// Answers requests until one side ends the connection. Requests that were read get their answers.
async fn answer_requests(
    shared: &Shared,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    received: Vec<u8>,
    times: Times,
) -> Option<End> {
    let _open = shared.counts.open();
    let (reader, writer) = tokio::io::split(stream);
    let (answers, due) = unbounded_channel();
    let writing = write_answers(writer, due, times);
    tokio::pin!(writing);
    let mut ended = shared.ended.clone();
    let end = {
        let reading = read_requests(shared, reader, received, answers, times);
        tokio::select! {
            // a client that takes no answers
            end = &mut writing => return end,
            end = reading => end,
            _ = ended.wait_for(|ended| *ended) => Some(End::of_program()),
        }
    };
    // the sender of the reader is gone, so this ends with the last answer
    match writing.await {
        Some(failed) => Some(failed),
        None => end,
    }
}

/// Reads requests and hands them over to the threads that decide. None if the client has gone.
async fn read_requests(
    shared: &Shared,
    mut reader: impl AsyncRead + Unpin,
    mut received: Vec<u8>,
    answers: UnboundedSender<Reply>,
    times: Times,
) -> Option<End> {
    let open = Arc::new(Semaphore::new(MAX_OPEN));
    let mut since = Instant::now();
    loop {
        let mut start = 0;
        loop {
            let rest = received.get(start..).unwrap_or_default();
            match split(rest) {
                Ok(Some((frame, length))) => {
                    if let Err(end) = take(shared, frame, &open, &answers).await {
                        return Some(end);
                    }
                    start += length;
                }
                Ok(None) => break,
                Err(error) => return Some(error.into()),
            }
        }
        if start > 0 {
            received.drain(..start);
            since = Instant::now();
            if received.capacity() > ENOUGH {
                // a silent connection keeps no memory for long frames
                received.shrink_to(KEPT);
            }
        }
        let is_partial = !received.is_empty();
        let read = stream::read(&mut reader, &mut received);
        let read = if is_partial {
            match timeout_at(since + times.frame, read).await {
                Ok(read) => read,
                Err(_) => {
                    return Some(End::new(Closed::TooSlow, "the rest of a frame did not arrive"));
                }
            }
        } else {
            let read = read.await;
            since = Instant::now();
            read
        };
        match read {
            Ok(0) if is_partial => {
                return Some(End::new(Closed::Malformed, "the stream ended within a frame"));
            }
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Takes one frame, which must be a request: it waits for a decision, or is answered as overloaded.
async fn take(
    shared: &Shared,
    frame: &[u8],
    open: &Arc<Semaphore>,
    answers: &UnboundedSender<Reply>,
) -> Result<(), End> {
    let Frame::Request(Request { id, transport, .. }) = Frame::decode(frame)? else {
        return Err(End::new(Closed::Malformed, "expected a request"));
    };
    if transport.parse::<Transport>().is_err() {
        return Err(FrameError::Value("transport").into());
    }
    // waits until answers are written, so a client that does not read is not read either
    let Ok(open) = Arc::clone(open).acquire_many_owned(places(frame)).await else {
        return Err(End::of_program());
    };
    if let Err(back) = shared.ask(frame, Back::Stream { answers: answers.clone(), open }) {
        back.send(overloaded(id));
    }
    Ok(())
}

/// Writes answers until the last sender is gone.
async fn write_answers(
    mut writer: impl AsyncWrite + Unpin,
    mut due: UnboundedReceiver<Reply>,
    times: Times,
) -> Option<End> {
    let (mut bytes, mut open) = (Vec::new(), Vec::new());
    while let Some(reply) = due.recv().await {
        let mut next = Some(reply);
        while let Some(reply) = next {
            bytes.extend_from_slice(&reply.bytes);
            open.push(reply.open);
            next = if bytes.len() < ENOUGH { due.try_recv().ok() } else { None };
        }
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        match timeout(times.frame, written).await {
            Ok(Ok(())) => {}
            // the client has gone
            Ok(Err(_)) => return None,
            Err(_) => {
                return Some(End::new(Closed::NotRead, "the client does not read its answers"));
            }
        }
        bytes.clear();
        bytes.shrink_to(ENOUGH);
        open.clear();
    }
    None
}

#[cfg(test)]
mod tests;
