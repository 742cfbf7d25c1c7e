//! The received bytes of a stream, cut into messages and keep-alives (RFC 3261 §18.3, RFC 5626 §3.5.1).

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use sip_authz::message::{Frame, FrameError, MAX_HEAD, frame, skip_keepalive};
use tokio::io::{AsyncRead, ReadBuf};

/// The maximum size of one read in bytes.
pub(crate) const CHUNK: usize = 8_192;
/// The minimum growth of the buffer for a message that arrives in parts, in bytes.
pub(crate) const GROWTH: usize = 2_048;

/// Appends received bytes, at most a chunk; returns their number.
///
/// The chunk is on the stack while bytes are copied, so a connection that waits has no buffer for it.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> std::io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut chunk))?;
        let read = chunk.filled();
        if bytes.capacity() - bytes.len() < read.len() {
            // no doubling: the buffer is hardly larger than what it holds
            bytes.reserve_exact(read.len().max(GROWTH));
        }
        bytes.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    })
    .await
}

/// The received bytes of a connection that are not handled yet: at most a message and a chunk.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    scan: Scan,
    /// Whether half of a keep-alive, one CRLF, precedes these bytes.
    half_ping: bool,
}

/// The part at the start of the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// This number of keep-alives, which are removed; half a one counts with its other half.
    KeepAlives(usize),
    /// A whole message of this length, which the caller removes.
    Message(usize),
    /// Bytes at which the stream cannot be cut.
    Uncut(FrameError),
}

impl Input {
    /// The next part. `None` if more bytes are needed.
    pub(crate) fn next_part(&mut self) -> Option<Part> {
        let blank = skip_keepalive(&self.bytes);
        if blank > 0 {
            let line_ends = blank / 2 + usize::from(self.half_ping);
            self.half_ping = line_ends % 2 == 1;
            self.remove(blank);
            return Some(Part::KeepAlives(line_ends / 2));
        }
        if !self.scan.is_due(&self.bytes) {
            return None;
        }
        let Frame { head, body } = match frame(&self.bytes) {
            Ok(frame) => frame?,
            Err(error) => return Some(Part::Uncut(error)),
        };
        let length = head + body;
        if self.bytes.len() < length {
            self.scan.wanted = length;
            return None;
        }
        self.half_ping = false;
        self.scan = Scan::default();
        Some(Part::Message(length))
    }

    /// Removes the first bytes, and frees the memory that the others do not need.
    pub(crate) fn remove(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        self.bytes.shrink_to(if self.bytes.is_empty() { 0 } else { CHUNK });
    }
}

/// The progress of the search for the end of a head. The head is framed once it is complete, not after
/// each read.
#[derive(Default)]
struct Scan {
    searched: usize,
    line_ended: bool,
    head_ended: bool,
    /// The length of the whole message, once it is known.
    wanted: usize,
}

impl Scan {
    /// Whether framing `bytes` can have a new result since the last call.
    fn is_due(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < self.wanted {
            return false;
        }
        let new = bytes.get(self.searched.saturating_sub(2)..).unwrap_or_default();
        self.searched = bytes.len();
        let blank_line = |part: &[u8]| part.starts_with(b"\n\n") || part == b"\n\r\n";
        self.head_ended |= new.windows(3).any(blank_line) || new.ends_with(b"\n\n");
        // the first line shows whether the bytes are SIP
        let first_line = !self.line_ended && new.contains(&b'\n');
        self.line_ended |= first_line;
        self.head_ended || first_line || bytes.len() > MAX_HEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_framed_once_it_is_complete() {
        let message = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
        let mut scan = Scan::default();
        let mut due = Vec::new();
        for length in 1..=message.len() {
            if scan.is_due(&message[..length]) {
                due.push(length);
                if let Some(frame) = frame(&message[..length]).unwrap() {
                    scan.wanted = frame.head + frame.body;
                }
            }
        }
        assert_eq!(due, [23, message.len() - 3, message.len()]);
        assert!(Scan::default().is_due(b"garbage\n"));
        assert!(Scan::default().is_due(b"a\n\n"));
        assert!(Scan::default().is_due(&[b'a'; MAX_HEAD + 1]));
        assert!(!Scan::default().is_due(&[b'a'; MAX_HEAD]));
    }
}
