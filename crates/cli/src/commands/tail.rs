//! `sip-authz tail`: prints decisions as they are made.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sip_authz_rest::decisions::{DecisionRecord, Filter, LeftOut, Outcome, SilentEdge};
use ureq::http::StatusCode;

use crate::args::TailArgs;
use crate::commands::client::events::StreamItem;
use crate::commands::client::{Client, Failure};
use crate::commands::decisions::{self, DECISIONS, line::line};
use crate::system::json::ascii;
use crate::system::output::{ProgramError, is_stdout_closed, try_print, warn};

/// The longest time without a sign of the server, which sends one every 15 s.
const SILENCE: Duration = Duration::from_secs(50);
/// The time between two looks at whether the reader of the output has gone.
const TICK: Duration = Duration::from_secs(1);
/// The first and the longest time before a new connection.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Events that wait to be printed.
const QUEUE: usize = 256;

/// A message of another thread.
enum News {
    /// The server has accepted the request.
    Connected,
    Item(StreamItem),
    /// The request failed.
    Failed(Failure),
    /// The stream has ended, with the reason.
    Ended(String),
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// The end of a connection.
enum End {
    /// The command ends well.
    Command,
    /// The connection can be made again. The reason is in words.
    Connection(String),
    /// The first connection failed, or another one would fail too.
    Failure(ProgramError),
}

pub(crate) fn run(args: &TailArgs) -> Result<ExitCode, ProgramError> {
    let client = Arc::new(Client::new(&args.server)?);
    let path = path(args);
    // the number of the connection tells news of an abandoned one
    let (sender, news) = sync_channel::<(u64, News)>(QUEUE);
    end_on_signal(sender.clone())?;
    let (mut pause, mut is_first) = (PAUSE.0, true);
    for number in 1.. {
        follow(&client, &path, number, sender.clone())?;
        let mut connection = Connection { number, is_first, connected: false };
        let reason = match connection.print(&news, args.json) {
            End::Command => break,
            End::Failure(error) => return Err(error),
            End::Connection(reason) => reason,
        };
        if connection.connected {
            (pause, is_first) = (PAUSE.0, false);
        }
        let seconds = pause.as_secs();
        warn(format_args!("{}: {reason}; connecting again in {seconds} s", client.server()));
        if is_interrupted(&news, pause) {
            break;
        }
        pause = pause.saturating_mul(2).min(PAUSE.1);
    }
    Ok(ExitCode::SUCCESS)
}

fn path(args: &TailArgs) -> String {
    let mut filter: Filter = decisions::filter(&args.selection);
    if args.refused {
        filter.outcome = Some(Outcome::Refused);
    }
    match filter.query() {
        query if query.is_empty() => format!("{DECISIONS}/Stream"),
        query => format!("{DECISIONS}/Stream?{query}"),
    }
}

/// Sends [`News::Interrupted`] on Ctrl-C and SIGTERM.
fn end_on_signal(sender: SyncSender<(u64, News)>) -> Result<(), ProgramError> {
    let failed = |error: std::io::Error| ProgramError::Runtime(format!("signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(interrupted());
        let _ = sender.send((0, News::Interrupted));
    });
    spawned.map(|_| ()).map_err(failed)
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // the system's own handling ends the program
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Reads the stream in a thread of its own, since a read has no time limit.
fn follow(
    client: &Arc<Client>,
    path: &str,
    number: u64,
    sender: SyncSender<(u64, News)>,
) -> Result<(), ProgramError> {
    let (client, path) = (Arc::clone(client), path.to_owned());
    let read = move || {
        // an error means that the command has ended or has given this connection up
        let send = |news| sender.send((number, news)).is_ok();
        let mut stream = match client.follow(&path) {
            Ok(stream) => stream,
            Err(failure) => {
                send(News::Failed(failure));
                return;
            }
        };
        let mut goes_on = send(News::Connected);
        while goes_on {
            goes_on = match stream.next_item() {
                Ok(Some(item)) => send(News::Item(item)),
                Ok(None) => {
                    send(News::Ended("the server ended the stream".to_owned()));
                    false
                }
                Err(error) => {
                    send(News::Ended(error.to_string()));
                    false
                }
            };
        }
    };
    let spawned = thread::Builder::new().name("stream".to_owned()).spawn(read);
    spawned.map(|_| ()).map_err(|error| ProgramError::Runtime(format!("thread: {error}")))
}

/// A connection that the command prints the news of.
struct Connection {
    number: u64,
    /// Whether no connection was made before.
    is_first: bool,
    connected: bool,
}

impl Connection {
    /// Prints the news until the end of the connection.
    fn print(&mut self, news: &Receiver<(u64, News)>, json: bool) -> End {
        let mut alive = Instant::now();
        loop {
            let next = match news.recv_timeout(TICK) {
                Ok((_, News::Interrupted)) => return End::Command,
                Ok((number, next)) if number == self.number => next,
                // news of a connection that was given up
                Ok(_) => continue,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if is_stdout_closed() {
                        return End::Command;
                    }
                    if alive.elapsed() > SILENCE {
                        let seconds = SILENCE.as_secs();
                        return End::Connection(format!("no sign of life for {seconds} s"));
                    }
                    continue;
                }
            };
            alive = Instant::now();
            match next {
                News::Connected => {
                    self.connected = true;
                    if !self.is_first {
                        warn("connected again; decisions in between are missing");
                    }
                }
                News::Item(item) => {
                    if let Err(end) = show(&item, json) {
                        return end;
                    }
                }
                News::Failed(failure) => return failed(failure, self.is_first),
                News::Ended(reason) => return End::Connection(reason),
                News::Interrupted => return End::Command,
            }
        }
    }
}

/// Whether a connection is made again after this failure. A refused request would be refused again, unless the
/// server has too many: it may not have closed the stream of the connection before.
fn failed(failure: Failure, is_first: bool) -> End {
    let failure = decisions::explained(failure);
    let is_refused = failure
        .status
        .is_some_and(|status| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS);
    if is_first || is_refused {
        return End::Failure(failure.into());
    }
    let prefix = format!("{}: ", failure.server);
    let reason = failure.message.strip_prefix(&prefix).unwrap_or(&failure.message);
    End::Connection(reason.to_owned())
}

/// Prints an item of the stream.
fn show(item: &StreamItem, json: bool) -> Result<(), End> {
    let StreamItem::Event { name, data } = item else { return Ok(()) };
    match name.as_str() {
        "decision" => {
            let Ok(record) = serde_json::from_str::<DecisionRecord>(data) else {
                warn(format_args!("warning: a decision cannot be read: {data}"));
                return Ok(());
            };
            // the text of the server: a later version has more fields
            let text = if json { ascii(data) } else { line(&record) };
            match try_print(text) {
                Ok(()) => Ok(()),
                // the reader has seen enough
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(End::Command),
                Err(error) => Err(End::Failure(ProgramError::Runtime(format!("stdout: {error}")))),
            }
        }
        "left-out" => {
            if let Ok(LeftOut { count }) = serde_json::from_str(data) {
                warn(format_args!("warning: {count} decisions are left out: too many at once"));
            }
            Ok(())
        }
        "silent-edge" => {
            if let Ok(edge) = serde_json::from_str::<SilentEdge>(data) {
                decisions::warn_of_silent(&[edge]);
            }
            Ok(())
        }
        // events of a later version
        _ => Ok(()),
    }
}

/// Waits before a new connection. Returns true if a signal or the reader of the output ends the command.
fn is_interrupted(news: &Receiver<(u64, News)>, pause: Duration) -> bool {
    let start = Instant::now();
    while let Some(left) = pause.checked_sub(start.elapsed()) {
        match news.recv_timeout(left.min(TICK)) {
            Ok((_, News::Interrupted)) => return true,
            Ok(_) => {}
            Err(_) if is_stdout_closed() => return true,
            Err(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_would_come_again_ends_the_command() {
        for (status, is_first, ends) in [
            (None, true, true),
            (None, false, false),
            (Some(429), true, true),
            (Some(429), false, false),
            (Some(503), false, false),
            (Some(401), false, true),
            (Some(400), false, true),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let failure =
                Failure { status, server: "http://a".to_owned(), message: "no".to_owned() };
            let is_end = matches!(failed(failure, is_first), End::Failure(_));
            assert_eq!(is_end, ends, "{status:?} {is_first}");
        }
    }
}
