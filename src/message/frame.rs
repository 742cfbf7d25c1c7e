//! Cuts a stream into SIP messages by Content-Length (RFC 3261 §18.3).
//!
//! Rejects any stream in which another parser could see a different message end (request
//! smuggling).

use super::field::{Extent, blank_line, field, flaw, take_field, take_line};
use super::{Header, MAX_FIELDS, MAX_HEAD, number, start_line};

/// Maximum body length that [`frame`] accepts, in bytes.
pub const MAX_BODY: usize = 65_535;

/// Lengths of a message on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the head including the blank line; at most [`MAX_HEAD`].
    pub head: usize,
    /// Bytes of the body by Content-Length; at most [`MAX_BODY`]. They may not have arrived yet.
    pub body: usize,
}

/// A reason why a stream cannot be cut into messages. Close the connection: nothing after this
/// point can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first line is neither a request line nor a status line.
    #[error("not sip")]
    NotSip,
    /// Bare line ends, control characters, blank folds, or a line that is no header field: the end of
    /// the head or its Content-Length is ambiguous.
    #[error("garbled head")]
    Garbled,
    /// Head, body or number of fields above its limit.
    #[error("message too long")]
    TooLong,
    /// Content-Length is not digits only, is folded, or is repeated.
    #[error("bad content-length")]
    ContentLength,
    /// No Content-Length, which is mandatory on streams (RFC 3261 §18.3, §20.14).
    #[error("missing content-length")]
    NoContentLength,
}

/// Returns the head and body lengths of the message at the start of `bytes`; `Ok(None)` while the
/// head is incomplete. Each call scans the head from its start; call again once more bytes have
/// arrived.
///
/// A message can be cut although it has a [`stream_defect`](super::Message::stream_defect), such as a
/// bad CSeq. Close the connection after such a message too.
///
/// # Errors
/// [`FrameError`] if the stream cannot be cut, as early as the bytes show it.
pub fn frame(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let window = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let cut = if bytes.len() > MAX_HEAD { Err(FrameError::TooLong) } else { Ok(None) };
    let Some((line, mut rest)) = take_line(window) else { return cut };
    start_line(line).ok_or(FrameError::NotSip)?;
    let (mut raw, mut count, mut length) = (line, 0, None);
    loop {
        if flaw(raw).is_some() || blank_line(rest) == Some(1) {
            return Err(FrameError::Garbled);
        }
        if let Some(len) = blank_line(rest) {
            let body = length.ok_or(FrameError::NoContentLength)?;
            return Ok(Some(Frame { head: window.len() - rest.len() + len, body }));
        }
        // without a following byte, the field may continue in a fold
        let next = take_field(rest).filter(|next| !next.rest.is_empty());
        let Some(Extent { raw: next, rest: after, folds }) = next else { return cut };
        if count == MAX_FIELDS {
            return Err(FrameError::TooLong);
        }
        // another parser could find a Content-Length in a line that is no field
        let found = field(rest, next.len()).ok_or(FrameError::Garbled)?;
        if found.header == Header::ContentLength {
            // a parser that reads single lines would find no length in a folded field
            let is_folded = folds > 0 && flaw(next).is_none();
            let announced = number(found.value).filter(|_| length.is_none() && !is_folded);
            let announced = usize::try_from(announced.ok_or(FrameError::ContentLength)?);
            let within = announced.ok().filter(|body| *body <= MAX_BODY);
            length = Some(within.ok_or(FrameError::TooLong)?);
        }
        (raw, rest) = (next, after);
        count += 1;
    }
}

/// Length of the CRLF keep-alives at the start of `bytes` (RFC 3261 §7.5, RFC 5626 §3.5.1). A CR
/// without its LF is not counted.
#[must_use]
pub fn skip_keepalive(bytes: &[u8]) -> usize {
    2 * bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count()
}
