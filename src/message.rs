//! A borrowed scan of one SIP message (RFC 3261 §7): start line, header fields, body and first
//! defect.
//!
//! Linear time, no allocation, and no panic for any input.
//!
//! A defect is what makes a decision or the end of the message doubtful. Other flaws are recorded
//! for each header and do not refuse the message: see [`Message::is_well_formed`].

use std::fmt;

mod field;
mod frame;
mod parts;
mod start_line;

use field::{Extent, blank_line, controls, field, flaw, flaws, take_field, take_line};
pub use frame::{Frame, FrameError, MAX_BODY, frame, skip_keepalive};
pub(crate) use parts::Parts;
pub use start_line::StartLine;
use start_line::{FirstLine, start_line};

/// Maximum length of the head, in bytes: start line, header fields and blank line.
pub const MAX_HEAD: usize = 65_535;
/// Maximum number of header fields.
pub const MAX_FIELDS: usize = 256;

/// A SIP message, borrowed from the received bytes.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    start: StartLine<'a>,
    fields: &'a [u8],
    first: [Option<&'a [u8]>; NAMES.len()],
    /// The head from the first credentials header on.
    from_credentials: &'a [u8],
    /// Number of credentials headers, at most [`MAX_FIELDS`].
    credentials: usize,
    /// The head from the first Via on.
    from_vias: &'a [u8],
    /// Number of Via fields.
    vias: usize,
    body: &'a [u8],
    defect: Option<Defect>,
    /// Flaws that are no defect: a bit for each [`Header`], [`FOLDED_LENGTH`], [`TRAILING_SPACE`] and
    /// [`CONTROL`].
    flaws: u32,
}

/// A folded Content-Length, which parsers that read single lines take for an empty one.
const FOLDED_LENGTH: u32 = 1 << 29;
/// White space after the version of the request line.
const TRAILING_SPACE: u32 = 1 << 30;
/// A control character in the value of a field.
const CONTROL: u32 = 1 << 31;
const _: () = assert!(NAMES.len() < 29, "each header has a bit of its own");

impl<'a> Message<'a> {
    /// Scans a datagram, or a message that [`frame`] has cut from a stream.
    ///
    /// A malformed message is parsed as far as possible and has a [`defect`](Self::defect). Returns
    /// none only if the first line is neither a request line nor a status line (RFC 3261 §7.1,
    /// §7.2).
    #[must_use]
    pub fn scan(bytes: &'a [u8]) -> Option<Message<'a>> {
        let window = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let cut = if bytes.len() > MAX_HEAD { Defect::HeadTooLong } else { Defect::NoBlankLine };
        let Some((line, head)) = take_line(window) else {
            let mut message = Message::new(bytes, start_line(window)?);
            message.note(Some(cut));
            return Some(message);
        };
        let first = start_line(line)?;
        let mut message = Message::new(bytes, first);
        if !message.read::<false>(bytes, line, head, cut) {
            message =
                Message::new(bytes, FirstLine { defect: flaw(line).or(first.defect), ..first });
            message.read::<true>(bytes, line, head, cut);
        }
        Some(message)
    }

    /// Reads the head after the first line. The fast path (`FULL` is false) skips the character
    /// checks of each line. It returns false if a line has a flaw; the head must then be read again
    /// with `FULL`.
    fn read<const FULL: bool>(
        &mut self,
        bytes: &'a [u8],
        line: &'a [u8],
        head: &'a [u8],
        cut: Defect,
    ) -> bool {
        let (mut rest, mut count) = (head, 0);
        let (mut lines, mut ended) = (1, line.ends_with(b"\r\n"));
        let body = loop {
            if let Some(len) = blank_line(rest) {
                self.note((len == 1).then_some(Defect::LineEnd));
                let head_len = line.len() + head.len() - rest.len() + len;
                break bytes.get(head_len..).unwrap_or_default();
            }
            let Some(Extent { raw, rest: after, folds }) = take_field(rest) else {
                self.note(Some(cut));
                break &[];
            };
            if count == MAX_FIELDS {
                self.note(Some(Defect::TooManyFields));
                break &[];
            }
            let field = field(rest, raw.len());
            if FULL {
                self.check_lines(flaws(raw), field.map(|field| field.header));
            }
            // each line must end in CRLF, or a missing CR or LF could cancel out a stray control
            // character
            ended &= if folds == 0 { raw.ends_with(b"\r\n") } else { flaw(raw).is_none() };
            if folds > 0 && field.is_some_and(|field| field.header == Header::ContentLength) {
                self.flaws |= FOLDED_LENGTH;
            }
            self.add(field, rest);
            lines += 1 + folds;
            count += 1;
            rest = after;
        };
        self.fields = head.get(..head.len() - rest.len()).unwrap_or_default();
        self.judge(body);
        // two control characters a line are its CRLF; any other is a flaw
        let read = bytes.get(..line.len() + self.fields.len()).unwrap_or_default();
        FULL || (ended && controls(read) == 2 * lines)
    }

    /// The scanned bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first line. If it is defective, the parts that could be parsed.
    #[must_use]
    pub fn start_line(&self) -> StartLine<'a> {
        self.start
    }

    /// The header fields in order of arrival, the same that the defect check covers. A field that
    /// is cut off by the end of the bytes is left out.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields }
    }

    /// The trimmed value of the first field with this name, in constant time. Always none for
    /// [`Header::Other`].
    #[must_use]
    pub fn first(&self, header: Header) -> Option<&'a [u8]> {
        self.first.get(header as usize).copied().flatten()
    }

    /// The Authorization and Proxy-Authorization fields, in order of arrival.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = Field<'a>> {
        let is_one = |field: &Field<'_>| {
            matches!(field.header, Header::Authorization | Header::ProxyAuthorization)
        };
        // `take` stops after the last credentials header, so later fields are not parsed again
        Fields { rest: self.from_credentials }.filter(is_one).take(self.credentials)
    }

    /// The values of the Via fields, in order of arrival.
    pub fn vias(&self) -> impl Iterator<Item = &'a [u8]> {
        let fields = Fields { rest: self.from_vias };
        let vias = fields.filter(|field| field.header == Header::Via).take(self.vias);
        vias.map(|field| field.value)
    }

    /// The body: as many bytes after the blank line as Content-Length says. All of them if the
    /// field is missing (RFC 3261 §18.3) or unusable.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The first reason to refuse this message; none if it passes all checks of this module. Most
    /// header values are not parsed here.
    ///
    /// Flaws that affect neither a decision nor the end of the message are no defect:
    /// [`is_well_formed`](Self::is_well_formed) and
    /// [`has_trailing_space`](Self::has_trailing_space) tell them. On a stream use
    /// [`stream_defect`](Self::stream_defect).
    #[must_use]
    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// The first reason to refuse this message on a stream: a [`defect`](Self::defect), white space
    /// at the end of the request line, a control character in a value, or a folded Content-Length.
    ///
    /// A stream has no other mark for the end of a message than its text, so a text that parsers
    /// read in different ways is refused. [`frame`] refuses control characters and a folded
    /// Content-Length by itself.
    #[must_use]
    pub fn stream_defect(&self) -> Option<Defect> {
        let spaces = self.has_trailing_space().then_some(Defect::RequestLine);
        let control = (self.flaws & CONTROL != 0).then_some(Defect::Control);
        let length = (self.flaws & FOLDED_LENGTH != 0).then_some(Defect::ContentLength);
        self.defect.or(spaces).or(control).or(length)
    }

    /// Whether all fields of this header pass the checks of this module; true if there are none.
    /// [`Header::Other`] stands for all fields that this crate does not know by name.
    ///
    /// False for a value with a control character other than HTAB, for an empty mandatory field,
    /// and for a Max-Forwards that is repeated or not a number from 0 to 255. Do not forward a
    /// field that is not well-formed. Most header values are not parsed here.
    #[must_use]
    pub fn is_well_formed(&self, header: Header) -> bool {
        self.flaws & header.bit() == 0
    }

    /// Whether the request line ends in spaces or tabs. RFC 3261 §7.1 allows none, but devices send
    /// them.
    #[must_use]
    pub fn has_trailing_space(&self) -> bool {
        self.flaws & TRAILING_SPACE != 0
    }

    fn new(bytes: &'a [u8], first: FirstLine<'a>) -> Self {
        Message {
            bytes,
            start: first.start,
            fields: &[],
            first: [None; NAMES.len()],
            from_credentials: &[],
            credentials: 0,
            from_vias: &[],
            vias: 0,
            body: &[],
            defect: first.defect,
            flaws: if first.trailing_space { TRAILING_SPACE } else { 0 },
        }
    }

    fn note(&mut self, defect: Option<Defect>) {
        self.defect = self.defect.or(defect);
    }

    /// Records the defects of the lines of a field and its folds.
    fn check_lines(&mut self, flaws: impl Iterator<Item = Defect>, header: Option<Header>) {
        for flaw in flaws {
            match header {
                // the name is a token, so the control character is in the value
                Some(header) if flaw == Defect::Control => {
                    self.flaws |= header.bit() | CONTROL;
                    self.note(header.is_strict().then_some(flaw));
                }
                _ => self.note(Some(flaw)),
            }
        }
    }

    /// Records a field, which starts `from`.
    fn add(&mut self, field: Option<Field<'a>>, from: &'a [u8]) {
        let Some(Field { header, value, .. }) = field else {
            return self.note(Some(Defect::FieldName));
        };
        if value.is_empty() && MANDATORY.contains(&header) {
            self.flaws |= header.bit();
        }
        match self.first.get_mut(header as usize) {
            Some(slot @ None) => *slot = Some(value),
            Some(_) if header.is_single() => self.note(Some(Defect::Repeated(header))),
            Some(_) if header == Header::MaxForwards => self.flaws |= header.bit(),
            _ => {}
        }
        if matches!(header, Header::Authorization | Header::ProxyAuthorization) {
            if self.credentials == 0 {
                self.from_credentials = from;
            }
            self.credentials += 1;
        } else if header == Header::Via {
            if self.vias == 0 {
                self.from_vias = from;
            }
            self.vias += 1;
        }
    }

    /// Runs the checks that need the whole head, and finds the body.
    fn judge(&mut self, rest: &'a [u8]) {
        for header in MANDATORY {
            self.note(self.first(header).is_none().then_some(Defect::Missing(header)));
        }
        if let Some(value) = self.first(Header::CSeq) {
            self.note(cseq_flaw(value, self.start));
        }
        if let Some(value) = self.first(Header::MaxForwards)
            && number(value).is_none_or(|hops| hops > 255)
        {
            self.flaws |= Header::MaxForwards.bit();
        }
        self.body = rest;
        if let Some(value) = self.first(Header::ContentLength) {
            let length = number(value).map(|length| usize::try_from(length).unwrap_or(usize::MAX));
            match length.map(|length| rest.get(..length)) {
                Some(Some(body)) => self.body = body,
                Some(None) => self.note(Some(Defect::BodyTooShort)),
                None => self.note(Some(Defect::ContentLength)),
            }
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Message");
        f.field("start", &self.start).field("defect", &self.defect).finish_non_exhaustive()
    }
}

/// A header field this crate knows by name, or [`Other`](Header::Other).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the header field of its name, RFC 3261 §20")]
#[rustfmt::skip]
#[non_exhaustive]
pub enum Header {
    Via, From, To, CallId, CSeq, Contact, ContentLength, ContentType, Authorization,
    ProxyAuthorization, MaxForwards, Require, ProxyRequire, RecordRoute, Route, Timestamp, UserAgent,
    Other,
}

/// Names by discriminant, with the compact form (RFC 3261 §7.3.3) or an empty string.
#[rustfmt::skip]
const NAMES: [(Header, &str, &str); 17] = [
    (Header::Via, "Via", "v"), (Header::From, "From", "f"),
    (Header::To, "To", "t"), (Header::CallId, "Call-ID", "i"),
    (Header::CSeq, "CSeq", ""), (Header::Contact, "Contact", "m"),
    (Header::ContentLength, "Content-Length", "l"), (Header::ContentType, "Content-Type", "c"),
    (Header::Authorization, "Authorization", ""),
    (Header::ProxyAuthorization, "Proxy-Authorization", ""),
    (Header::MaxForwards, "Max-Forwards", ""), (Header::Require, "Require", ""),
    (Header::ProxyRequire, "Proxy-Require", ""), (Header::RecordRoute, "Record-Route", ""),
    (Header::Route, "Route", ""), (Header::Timestamp, "Timestamp", ""),
    (Header::UserAgent, "User-Agent", ""),
];

const MANDATORY: [Header; 5] =
    [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq];

impl Header {
    /// The name as in RFC 3261 §20; `other` for [`Header::Other`].
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).map_or("other", |entry| entry.1)
    }

    /// Whether a second field with this name is a defect.
    fn is_single(self) -> bool {
        use Header::{CSeq, CallId, ContentLength, From, To};
        matches!(self, From | To | CallId | CSeq | ContentLength)
    }

    /// Whether a control character in the value is a defect. Credentials have a grammar of their
    /// own, which refuses them.
    fn is_strict(self) -> bool {
        matches!(self, Header::CSeq | Header::ContentLength)
    }

    /// The bit of this header in [`Message::flaws`].
    fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// A header field.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field<'a> {
    /// The header, found by name in any case or compact form.
    pub header: Header,
    /// The name as sent, without spaces before the colon; the whole line if it is not a header
    /// field.
    pub name: &'a [u8],
    /// The value without surrounding white space. It can contain folds and need not be UTF-8.
    pub value: &'a [u8],
    /// The whole field as sent, with its folds and line end.
    pub raw: &'a [u8],
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?}, {} bytes)", self.header, self.value.len())
    }
}

/// Iterates over the header fields of a message, in order. Created by [`Message::fields`].
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} bytes)", self.rest.len())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let Extent { raw, rest, .. } = take_field(self.rest)?;
        let other = || Field { header: Header::Other, name: trim(raw), value: &[], raw };
        let field = field(self.rest, raw.len()).unwrap_or_else(other);
        self.rest = rest;
        Some(field)
    }
}

/// A reason to refuse a message. The texts are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum Defect {
    /// Not `METHOD SP uri SP version` with single spaces. Spaces and tabs at the end are a defect on
    /// streams only: see [`Message::stream_defect`].
    #[error("spaces of the request line")] RequestLine,
    /// Not `SIP/2.0 SP code SP reason`, or a code outside 100 to 699.
    #[error("bad status line")] StatusLine,
    /// A SIP version other than 2.0 (a request with it is answered 505).
    #[error("unsupported sip version")] Version,
    /// A Request-URI with a byte that is not visible ASCII, or with `<`, `>` or `"`.
    #[error("bad character in the request-uri")] RequestUri,
    /// A CR or LF in the head that is not part of a CRLF. In the parts that
    /// [`Invite::from_fields`](crate::Invite::from_fields) takes, also a CRLF that begins no fold.
    #[error("bare cr or lf in the head")] LineEnd,
    /// A control character other than HTAB in the start line, in a name, or in the value of CSeq or
    /// Content-Length. On a stream, in any part of the head: see [`Message::stream_defect`].
    #[error("control character in the head")] Control,
    /// A folded line of white space and control characters only; other parsers may take it for the
    /// end of the head.
    #[error("blank folded line")] Fold,
    /// A line that is not a name (RFC 3261 token), a colon and a value.
    #[error("line is not a header field")] FieldName,
    /// The bytes end before the blank line.
    #[error("no blank line after the head")] NoBlankLine,
    /// The head is longer than [`MAX_HEAD`].
    #[error("head too long")] HeadTooLong,
    /// There are more than [`MAX_FIELDS`] fields.
    #[error("too many header fields")] TooManyFields,
    /// A mandatory field is missing.
    #[error("missing header `{}`", .0.name())] Missing(Header),
    /// A field that must be single is repeated.
    #[error("repeated header `{}`", .0.name())] Repeated(Header),
    /// CSeq is not a number below 2^32, white space and a method. RFC 3261 §8.1.1.5 asks for a number
    /// below 2^31, but devices count on.
    #[error("bad cseq")] CSeq,
    /// The CSeq method differs from the request method.
    #[error("cseq method is not the request's")] CSeqMethod,
    /// Content-Length is not digits only. On a stream, also if it is folded: see
    /// [`Message::stream_defect`].
    #[error("bad content-length")] ContentLength,
    /// Content-Length exceeds the bytes after the head.
    #[error("body shorter than its content-length")] BodyTooShort,
}

/// Removes SP, HTAB, CR and LF from both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// Whether `text` is a token (RFC 3261 §25.1): at least one byte, none of them a separator.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && token_len(text) == text.len()
}

/// Length of the longest token prefix of `text`.
fn token_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| Class::Token.has(**byte)).count()
}

/// A bit for each class of bytes.
#[derive(Clone, Copy)]
enum Class {
    /// May be part of a token.
    Token = 1,
    /// May be part of a URI in a start line: visible ASCII without `<`, `>` and `"`.
    UriText = 2,
}

impl Class {
    #[inline]
    fn has(self, byte: u8) -> bool {
        CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & self as u8 != 0)
    }
}

/// The class bits of each byte.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        let uri_text = byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"');
        classes[byte as usize] =
            (token as u8 * Class::Token as u8) | (uri_text as u8 * Class::UriText as u8);
        byte += 1;
    }
    classes
};

/// Parses a text of digits only; saturates at the maximum `u64`.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let value = |digit: &u8| u64::from(digit & 15);
    // 19 digits cannot overflow a `u64`
    let short = |sum: u64, digit: &u8| sum.wrapping_mul(10).wrapping_add(value(digit));
    let long = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(value(digit));
    match digits.len() {
        ..=19 => sound.then(|| digits.iter().fold(0, short)),
        _ => sound.then(|| digits.iter().fold(0, long)),
    }
}

fn cseq_flaw(value: &[u8], start: StartLine<'_>) -> Option<Defect> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some((digits, rest)) = value.split_at_checked(digits) else { return Some(Defect::CSeq) };
    let method = trim(rest);
    let wanted = match start {
        StartLine::Request { method, .. } => Some(method.as_bytes()),
        StartLine::Response { .. } => None,
    };
    // the request method is already known to be a token
    let spaced = method.len() < rest.len() && (wanted == Some(method) || is_token(method));
    if !spaced || number(digits).is_none_or(|number| number >= 1 << 32) {
        return Some(Defect::CSeq);
    }
    wanted.is_some_and(|wanted| wanted != method).then_some(Defect::CSeqMethod)
}
