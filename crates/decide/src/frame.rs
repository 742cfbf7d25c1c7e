//! Cuts a stream into frames, and reads a frame by its kind.

use crate::answer::Answer;
use crate::error::{FrameError, MAX_FRAME};
use crate::greeting::{Goodbye, Hello, Welcome};
use crate::request::Request;
use crate::wire::{ANSWER, Fields, GOODBYE, HELLO, PREFIX, REQUEST, WELCOME};

/// The first frame in received bytes, without its prefix, and the number of bytes to remove with it.
/// `None` if more bytes are needed.
///
/// # Errors
///
/// [`FrameError::Empty`] and [`FrameError::TooLong`], as soon as the prefix is there.
pub fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    match size {
        0 => Err(FrameError::Empty),
        1..=MAX_FRAME => Ok(rest.get(..size).map(|frame| (frame, PREFIX + size))),
        _ => Err(FrameError::TooLong(length)),
    }
}

/// A frame. It borrows the received bytes.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// The first frame of a client.
    Hello(Hello<'a>),
    /// The answer to [`Frame::Hello`].
    Welcome(Welcome),
    /// A question.
    Request(Request<'a>),
    /// The answer to a question.
    Answer(Answer<'a>),
    /// Why the server closes the connection.
    Goodbye(Goodbye<'a>),
}

impl<'a> Frame<'a> {
    /// Reads a frame as [`split`] returns it. Skips fields with unknown tags.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the kind is unknown, or a field is missing, repeated or malformed.
    pub fn decode(frame: &'a [u8]) -> Result<Self, FrameError> {
        let (kind, fields) = frame.split_first().ok_or(FrameError::Empty)?;
        let fields = Fields(fields);
        match *kind {
            HELLO => Hello::read(fields).map(Self::Hello),
            WELCOME => Welcome::read(fields).map(Self::Welcome),
            REQUEST => Request::read(fields).map(Self::Request),
            ANSWER => Answer::read(fields).map(Self::Answer),
            GOODBYE => Goodbye::read(fields).map(Self::Goodbye),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}
