//! A connection of the decision service: its `hello`, its requests and its answers.

mod requests;

use std::sync::Arc;
use std::time::Duration;

use sip_authz_decide::{
    Frame, FrameError, Goodbye, GoodbyeCode, MAX_FRAME, VERSION, Welcome, split,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use self::requests::Requests;
use super::counts::Closed;
use super::shared::Shared;
use crate::sip::stream;

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
    /// Whether the client gets no goodbye.
    is_silent: bool,
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
        Self { closed: Some(closed), code, text: text.into(), is_silent: false }
    }

    fn of_program() -> Self {
        let text = "the program ends".to_owned();
        Self { closed: None, code: GoodbyeCode::End, text, is_silent: false }
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
    if let Some((End { closed, code, text, is_silent }, permit)) = end {
        if let Some(closed) = closed {
            shared.counts.close(closed, place, &text);
        }
        if is_silent {
            return;
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
    mut received: Vec<u8>,
    times: Times,
) -> Option<End> {
    let _open = shared.counts.open();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut due) = unbounded_channel();
    let mut requests = Requests::new(shared, answers);
    let mut ended = shared.ended.clone();
    let program_ends = ended.wait_for(|ended| *ended);
    tokio::pin!(program_ends);
    let (mut end, mut is_reading, mut is_full) = (None, true, false);
    let mut is_ending = false;
    // the time of the first byte of a frame, and that of the first byte of the answers being written
    let (mut frame_since, mut written_since) = (Instant::now(), Instant::now());
    loop {
        if is_reading {
            match requests.take(&mut received) {
                Ok(taken) => {
                    is_full = taken.is_full;
                    // requests that are left for later were read, too
                    is_reading = !is_ending || is_full;
                    if taken.any {
                        frame_since = Instant::now();
                    }
                }
                Err(error) => (end, is_reading) = (Some(error), false),
            }
        }
        if requests.begin_write() {
            written_since = Instant::now();
        }
        if !is_reading && requests.is_done() {
            return end;
        }
        // a client that takes no answers is not read either
        let reads = is_reading && !is_full && !is_ending;
        let is_partial = !received.is_empty();
        let (to_write, has_room) = (requests.to_write(), requests.has_room());
        let is_writing = !to_write.is_empty();
        tokio::select! {
            biased;
            written = writer.write(to_write), if is_writing => match written {
                Ok(count) if count > 0 => requests.wrote(count),
                // the client has gone
                _ => return None,
            },
            Some(reply) = due.recv(), if has_room => requests.add(&reply),
            _ = &mut program_ends, if is_reading && !is_ending => {
                (end, is_ending) = (Some(End::of_program()), true);
            }
            read = stream::read(&mut reader, &mut received), if reads => match read {
                Ok(0) if is_partial => {
                    let error = End::new(Closed::Malformed, "the stream ended within a frame");
                    (end, is_reading) = (Some(error), false);
                }
                Ok(0) | Err(_) => is_reading = false,
                Ok(_) if !is_partial => frame_since = Instant::now(),
                Ok(_) => {}
            },
            () = sleep_until(frame_since + times.frame), if reads && is_partial => {
                let error = End::new(Closed::TooSlow, "the rest of a frame did not arrive");
                (end, is_reading) = (Some(error), false);
            }
            () = sleep_until(written_since + times.frame), if is_writing => {
                let mut end = End::new(Closed::NotRead, "the client does not read its answers");
                // a goodbye would become the rest of an answer that is partly written
                end.is_silent = requests.is_partly_written();
                return Some(end);
            }
        }
    }
}

#[cfg(test)]
mod tests;
