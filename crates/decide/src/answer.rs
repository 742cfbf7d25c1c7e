//! The answer to a question.

use std::fmt;

use crate::error::{EncodeError, FrameError};
use crate::wire::{ANSWER, Fields, Writer, header_line, line, number, set, text};

const ID: u16 = 1;
const OUTCOME: u16 = 2;
const STATUS: u16 = 3;
const PHRASE: u16 = 4;
const LINE: u16 = 5;
const USED_HEADER: u16 = 6;
const ACCOUNT: u16 = 7;
const TARGET: u16 = 8;
const TARGET_NAME: u16 = 9;
const USER: u16 = 10;
const PERMISSION: u16 = 11;
const RETRANSMISSION: u16 = 12;
const REASON: u16 = 13;
const CAUSE: u16 = 14;

/// The outcome of a question. Everything but [`Outcome::Accept`] is a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The request may pass.
    Accept,
    /// Credentials are needed.
    Challenge,
    /// The request must not pass.
    Reject,
    /// The message is not well-formed, or of a kind that is not decided.
    Undecided,
    /// Too many requests wait; nothing was decided.
    Overloaded,
}

impl Outcome {
    /// The number in the frame.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Accept => 1,
            Self::Challenge => 2,
            Self::Reject => 3,
            Self::Undecided => 4,
            Self::Overloaded => 5,
        }
    }

    fn of(value: &[u8]) -> Option<Self> {
        match value {
            [1] => Some(Self::Accept),
            [2] => Some(Self::Challenge),
            [3] => Some(Self::Reject),
            [4] => Some(Self::Undecided),
            [5] => Some(Self::Overloaded),
            _ => None,
        }
    }
}

/// The credentials header that admitted a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedHeader<'a> {
    /// Its index among the headers of its name, from 0.
    pub index: u16,
    /// Its name.
    pub name: &'a str,
}

/// The answer to a question.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The id of the question.
    pub id: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The status of the response; none for an accept, and for a message that gets no response.
    pub status: Option<u16>,
    /// The reason phrase of the status.
    pub phrase: Option<&'a str>,
    /// The credentials header to remove before the request is forwarded.
    pub used_header: Option<UsedHeader<'a>>,
    /// The SID of the account of an accept.
    pub account: Option<&'a str>,
    /// The SID of the domain or trunk.
    pub target: Option<&'a str>,
    /// The host name of the domain or trunk.
    pub target_name: Option<&'a str>,
    /// The proved user name.
    pub user: Option<&'a str>,
    /// Whether the request is a retransmission of an accepted one.
    pub is_retransmission: bool,
    /// The reason, for logs only.
    pub reason: Option<&'a str>,
    /// The internal cause, for logs only.
    pub cause: Option<&'a str>,
    fields: Fields<'a>,
}

impl<'a> Answer<'a> {
    /// The header lines of the response, each with its CRLF.
    #[must_use]
    pub fn header_lines(&self) -> Lines<'a> {
        Lines(self.fields.clone())
    }

    /// The permissions of the caller.
    #[must_use]
    pub fn permissions(&self) -> Permissions<'a> {
        Permissions(self.fields.clone())
    }

    pub(crate) fn read(fields: Fields<'a>) -> Result<Self, FrameError> {
        let (mut id, mut outcome, mut status, mut phrase) = (None, None, None, None);
        let (mut used_header, mut account, mut target, mut target_name) = (None, None, None, None);
        let (mut user, mut retransmission, mut reason, mut cause) = (None, None, None, None);
        for field in fields.clone() {
            match field? {
                (ID, value) => set(&mut id, "id", value.try_into().ok().map(u64::from_be_bytes))?,
                (OUTCOME, value) => set(&mut outcome, "outcome", Outcome::of(value))?,
                (STATUS, value) => {
                    let value = number(value).filter(|status| (300..700).contains(status));
                    set(&mut status, "status", value)?;
                }
                (PHRASE, value) => set(&mut phrase, "phrase", line(value))?,
                (LINE, value) => _ = header_line(value).ok_or(FrameError::Value("header line"))?,
                (USED_HEADER, value) => set(&mut used_header, "used header", used(value))?,
                (ACCOUNT, value) => set(&mut account, "account", line(value))?,
                (TARGET, value) => set(&mut target, "target", line(value))?,
                (TARGET_NAME, value) => set(&mut target_name, "target name", line(value))?,
                (USER, value) => set(&mut user, "user", text(value))?,
                (PERMISSION, value) => _ = line(value).ok_or(FrameError::Value("permission"))?,
                (RETRANSMISSION, value) => {
                    set(&mut retransmission, "retransmission", (value == [1]).then_some(()))?;
                }
                (REASON, value) => set(&mut reason, "reason", line(value))?,
                (CAUSE, value) => set(&mut cause, "cause", line(value))?,
                _ => {}
            }
        }
        Ok(Self {
            id: id.ok_or(FrameError::Missing("id"))?,
            outcome: outcome.ok_or(FrameError::Missing("outcome"))?,
            status,
            phrase,
            used_header,
            account,
            target,
            target_name,
            user,
            is_retransmission: retransmission.is_some(),
            reason,
            cause,
            fields,
        })
    }
}

fn used(value: &[u8]) -> Option<UsedHeader<'_>> {
    let (index, name) = value.split_first_chunk()?;
    Some(UsedHeader { index: u16::from_be_bytes(*index), name: line(name)? })
}

/// The header lines of an [`Answer`], each with its CRLF.
#[derive(Clone, Debug)]
pub struct Lines<'a>(Fields<'a>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // the frame was checked as a whole, so there is no error to drop
        let mut fields = self.0.by_ref().flatten();
        fields.find_map(|(tag, value)| (tag == LINE).then(|| header_line(value))?)
    }
}

/// The permissions in an [`Answer`].
#[derive(Clone, Debug)]
pub struct Permissions<'a>(Fields<'a>);

impl<'a> Iterator for Permissions<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // the frame was checked as a whole, so there is no error to drop
        let mut fields = self.0.by_ref().flatten();
        fields.find_map(|(tag, value)| (tag == PERMISSION).then(|| line(value))?)
    }
}

/// Writes an answer behind the bytes of a buffer. [`Self::end`] completes it. Each method but
/// [`Self::header_line`] and [`Self::permission`] is called once at most.
#[derive(Debug)]
#[must_use]
pub struct AnswerWriter<'o>(Writer<'o>);

impl<'o> AnswerWriter<'o> {
    /// Begins the answer to the question with this id.
    pub fn new(out: &'o mut Vec<u8>, id: u64, outcome: Outcome) -> Self {
        let mut writer = Writer::new(out, ANSWER);
        writer.put(ID, &[&id.to_be_bytes()]);
        writer.put(OUTCOME, &[&[outcome.number()]]);
        Self(writer)
    }

    /// Adds the status of the response.
    pub fn status(mut self, status: u16) -> Self {
        self.0.put(STATUS, &[&status.to_be_bytes()]);
        self
    }

    /// Adds the reason phrase of the status.
    pub fn phrase(self, phrase: &str) -> Self {
        self.line(PHRASE, phrase)
    }

    /// Adds a header of the response.
    pub fn header_line(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.put_header(LINE, name, value);
        self
    }

    /// Adds the credentials header that admitted the request: its index among the headers of its name,
    /// from 0, and its name.
    pub fn used_header(mut self, index: u16, name: &str) -> Self {
        self.0.put(USED_HEADER, &[&index.to_be_bytes(), name.as_bytes()]);
        self
    }

    /// Adds the SID of the account.
    pub fn account(self, sid: &str) -> Self {
        self.line(ACCOUNT, sid)
    }

    /// Adds the SID of the domain or trunk.
    pub fn target(self, sid: &str) -> Self {
        self.line(TARGET, sid)
    }

    /// Adds the host name of the domain or trunk.
    pub fn target_name(self, name: &str) -> Self {
        self.line(TARGET_NAME, name)
    }

    /// Adds the proved user name.
    pub fn user(mut self, name: &str) -> Self {
        self.0.put(USER, &[name.as_bytes()]);
        self
    }

    /// Adds a permission of the caller.
    pub fn permission(self, name: &str) -> Self {
        self.line(PERMISSION, name)
    }

    /// Says that the request is a retransmission of an accepted one.
    pub fn retransmission(mut self) -> Self {
        self.0.put(RETRANSMISSION, &[&[1]]);
        self
    }

    /// Adds the reason, for logs only.
    pub fn reason(self, reason: &str) -> Self {
        self.line(REASON, reason)
    }

    /// Adds the internal cause, for logs only.
    pub fn cause(self, cause: &str) -> Self {
        self.line(CAUSE, cause)
    }

    fn line(mut self, tag: u16, line: &str) -> Self {
        self.0.put_line(tag, line);
        self
    }

    /// Completes the frame.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the frame is too long, or a line has a line end.
    pub fn end(self) -> Result<(), EncodeError> {
        self.0.end()
    }
}
