//! Fills a message with the parts that another parser has read, by the checks of scanned bytes.

use super::field::{controls, part_flaws};
use super::start_line::request;
use super::{Defect, FOLDED_LENGTH, Field, Header, MAX_FIELDS, MAX_HEAD, Message, is_token, trim};

/// A request that another parser has split into its parts, while its fields are read.
///
/// Its message has the defects, the first field of each header and the body. It keeps neither the
/// bytes, the Request-URI nor repeated fields.
pub(crate) struct Parts<'a> {
    message: Message<'a>,
    fields: usize,
    /// Bytes of the head so far, each field as `name: value`.
    head: usize,
}

impl<'a> Parts<'a> {
    /// Begins with the first line. None if the method is not a token or the Request-URI is empty, as
    /// [`Message::scan`] returns none for such a line.
    pub(crate) fn new(method: &'a str, uri: &str) -> Option<Self> {
        let message = Message::new(&[], request(method, uri)?);
        let head = [method, " ", uri, " SIP/2.0\r\n"].into_iter().map(str::len);
        let mut parts = Parts { message, fields: 0, head: 0 };
        parts.take(head.sum());
        Some(parts)
    }

    /// Checks and records a field. None if the head is longer or has more fields than a message may
    /// have: then it has a defect, and further fields need not be read.
    ///
    /// A field whose name is not a token is a defect, and is [`Header::Other`] here.
    pub(crate) fn add(&mut self, name: &'a [u8], value: &'a [u8]) -> Option<Header> {
        if !self.take(name.len() + value.len() + ": \r\n".len()) {
            return None;
        }
        if self.fields == MAX_FIELDS {
            self.message.note(Some(Defect::TooManyFields));
            return None;
        }
        self.fields += 1;
        let token = without_spaces(name);
        let header = is_token(token).then(|| Header::of(token));
        if header.is_none() || controls(value) > 0 {
            self.message.check_lines(part_flaws(token).chain(part_flaws(value)), header);
        }
        if header == Some(Header::ContentLength) && value.contains(&b'\n') {
            self.message.flaws |= FOLDED_LENGTH;
        }
        let field = |header| Field { header, name: token, value: trim(value), raw: &[] };
        self.message.add(header.map(field), &[]);
        Some(header.unwrap_or(Header::Other))
    }

    /// The message with its `body`: the bytes after the blank line.
    pub(crate) fn finish(mut self, body: &'a [u8]) -> Message<'a> {
        self.take("\r\n".len());
        self.message.judge(body);
        self.message
    }

    /// Counts bytes of the head, and says whether they fit.
    fn take(&mut self, len: usize) -> bool {
        self.head = self.head.saturating_add(len);
        let fits = self.head <= MAX_HEAD;
        self.message.note((!fits).then_some(Defect::HeadTooLong));
        fits
    }
}

/// The name without the spaces and tabs that may stand before its colon.
fn without_spaces(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    name
}
