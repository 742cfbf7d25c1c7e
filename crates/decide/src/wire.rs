//! Numbers of the protocol, and the fields of frames: a tag, a length and a value.

use std::fmt;
use std::io::Write as _;

use crate::error::{EncodeError, FrameError, MAX_FRAME};

/// The bytes of the length before each frame.
pub const PREFIX: usize = 4;

pub(crate) const HELLO: u8 = 1;
pub(crate) const WELCOME: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const ANSWER: u8 = 4;
pub(crate) const GOODBYE: u8 = 5;

/// The bytes of a field before its value.
const FIELD_HEAD: usize = 6;

/// The fields of a frame, in order. An error is the last item.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self) -> Option<(u16, &'a [u8])> {
        let (head, rest) = self.0.split_first_chunk::<FIELD_HEAD>()?;
        let [a, b, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((u16::from_be_bytes([a, b]), value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u16, &'a [u8]), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take().ok_or(FrameError::Cut);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Sets a field that must be single.
pub(crate) fn set<T>(
    slot: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
) -> Result<(), FrameError> {
    if slot.is_some() {
        return Err(FrameError::Repeated(name));
    }
    *slot = Some(value.ok_or(FrameError::Value(name))?);
    Ok(())
}

/// A text.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok()
}

/// A text of one line that is not empty.
pub(crate) fn line(value: &[u8]) -> Option<&str> {
    text(value).filter(|line| !line.is_empty() && is_line(line.as_bytes()))
}

/// A header line with its CRLF.
pub(crate) fn header_line(value: &[u8]) -> Option<&str> {
    let line = value.strip_suffix(b"\r\n")?;
    let name = line.iter().position(|byte| *byte == b':')?;
    (name > 0 && is_line(line)).then(|| text(value)).flatten()
}

/// Whether a text has no character that ends a line of SIP.
fn is_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// A number of two bytes.
pub(crate) fn number(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// Writes a frame behind the bytes of a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    error: Option<EncodeError>,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend([0; PREFIX]);
        out.push(kind);
        Self { out, start, error: None }
    }

    /// Adds a field whose value is these parts, one behind the other.
    pub(crate) fn put(&mut self, tag: u16, parts: &[&[u8]]) {
        let at = self.begin(tag);
        for part in parts {
            // a long value is not copied in vain
            if self.out.len() - self.start + part.len() > PREFIX + MAX_FRAME {
                self.fail(EncodeError::TooLong);
                break;
            }
            self.out.extend_from_slice(part);
        }
        self.finish(at);
    }

    /// Adds a text of one line.
    pub(crate) fn put_line(&mut self, tag: u16, line: &str) {
        if !is_line(line.as_bytes()) {
            self.fail(EncodeError::LineEnd);
        }
        self.put(tag, &[line.as_bytes()]);
    }

    /// Adds a header line.
    pub(crate) fn put_header(&mut self, tag: u16, name: &str, value: impl fmt::Display) {
        let at = self.begin(tag);
        // writing to a Vec fails only if the Display does
        if write!(self.out, "{name}: {value}").is_err()
            || !self.out.get(at..).is_some_and(is_line)
            || name.is_empty()
        {
            self.fail(EncodeError::LineEnd);
        }
        self.out.extend(b"\r\n");
        self.finish(at);
    }

    fn begin(&mut self, tag: u16) -> usize {
        self.out.extend(tag.to_be_bytes());
        self.out.extend([0; PREFIX]);
        self.out.len()
    }

    /// Writes the length of the field whose value begins at `at`.
    fn finish(&mut self, at: usize) {
        let length = u32::try_from(self.out.len() - at).unwrap_or(u32::MAX);
        self.set_length(at - PREFIX, length);
    }

    fn set_length(&mut self, at: usize, length: u32) {
        if let Some(place) = self.out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = length.to_be_bytes();
        }
    }

    pub(crate) fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// Completes the frame. After an error the buffer is as before.
    pub(crate) fn end(mut self) -> Result<(), EncodeError> {
        let length = self.out.len() - self.start - PREFIX;
        match u32::try_from(length) {
            Ok(value) if length <= MAX_FRAME => self.set_length(self.start, value),
            _ => self.fail(EncodeError::TooLong),
        }
        match self.error {
            Some(error) => {
                self.out.truncate(self.start);
                Err(error)
            }
            None => Ok(()),
        }
    }
}
