//! Finds the session description in the body of an INVITE (RFC 3261 §7.4, RFC 5621, RFC 2046 §5.1).

use std::borrow::Cow;

use sip_authz::message::{Header, Message};

use crate::sip::sdp;

/// The maximum depth of a multipart body in another.
const MAX_DEPTH: usize = 4;

/// The content of a body, as far as an answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// No session description, and no part that must be understood.
    None,
    /// The offered session description.
    Sdp(&'a [u8]),
    /// A multipart body without a boundary that delimits it.
    Malformed,
    /// A part that must be understood and is not (RFC 3261 §8.2.3).
    Unsupported,
}

/// A body, or a part of a multipart body, with its header fields.
#[derive(Clone, Copy)]
struct Part<'a> {
    content_type: Option<&'a [u8]>,
    disposition: Option<&'a [u8]>,
    content: &'a [u8],
}

impl<'a> Body<'a> {
    pub(crate) fn of(message: &Message<'a>) -> Self {
        if message.body().is_empty() {
            return Self::None;
        }
        let name = b"Content-Disposition";
        let disposition = || message.fields().find(|field| field.name.eq_ignore_ascii_case(name));
        let part = Part {
            content_type: message.first(Header::ContentType),
            disposition: disposition().map(|field| field.value),
            content: message.body(),
        };
        if part.is_sdp() {
            return Self::Sdp(part.content);
        }
        match Self::read(part, MAX_DEPTH) {
            // a sole body must be understood unless it says otherwise (RFC 3261 §20.11)
            Self::None if !part.is_optional() && !part.is_multipart() => Self::Unsupported,
            body => body,
        }
    }

    /// Reads a part. Other content than a session description is `Unsupported` only if it says that it
    /// is required: parts beside a description rarely say that they are optional.
    fn read(part: Part<'a>, depth: usize) -> Self {
        if part.is_sdp() && !part.is_early_session() {
            return Self::Sdp(part.content);
        }
        let body = match part.boundary() {
            Some(boundary) if depth > 0 => {
                let is_alternative = part.is_type(b"multipart/alternative");
                Self::choose(Parts::new(part.content, &boundary), is_alternative, depth - 1)
            }
            None if part.is_multipart() => Self::Malformed,
            _ if part.is_required() => Self::Unsupported,
            _ => Self::None,
        };
        match body {
            Self::Malformed | Self::Unsupported if part.is_optional() => Self::None,
            body => body,
        }
    }

    /// Chooses the content that decides on the answer to a multipart body.
    fn choose(parts: Parts<'a, '_>, is_alternative: bool, depth: usize) -> Self {
        // the same content in different forms: one must be understood (RFC 2046 §5.1.4)
        let alternative_rank = |body: &Self| match body {
            Self::Unsupported => 0,
            Self::Malformed => 1,
            Self::None => 2,
            Self::Sdp(_) => 3,
        };
        let mixed_rank = |body: &Self| match body {
            Self::None => 0,
            Self::Malformed => 1,
            Self::Sdp(_) => 2,
            Self::Unsupported => 3,
        };
        let bodies = parts.map(|part| Self::read(part, depth));
        let chosen = if is_alternative {
            // the last one is the best
            bodies.max_by_key(alternative_rank)
        } else {
            bodies.reduce(|one, next| if mixed_rank(&next) > mixed_rank(&one) { next } else { one })
        };
        chosen.unwrap_or(Self::Malformed)
    }
}

impl<'a> Part<'a> {
    fn is_sdp(&self) -> bool {
        self.content_type.is_some_and(sdp::is_sdp)
    }

    fn is_type(&self, name: &[u8]) -> bool {
        self.content_type.is_some_and(|value| main_value(value).eq_ignore_ascii_case(name))
    }

    fn is_multipart(&self) -> bool {
        let start = b"multipart/";
        let of = |value: &[u8]| {
            main_value(value)
                .get(..start.len())
                .is_some_and(|text| text.eq_ignore_ascii_case(start))
        };
        self.content_type.is_some_and(of)
    }

    fn boundary(&self) -> Option<Cow<'a, [u8]>> {
        let value = self.content_type.filter(|_| self.is_multipart())?;
        param(value, b"boundary").filter(|boundary| !boundary.is_empty())
    }

    /// Whether a session description is for early media, not for the session (RFC 3959).
    fn is_early_session(&self) -> bool {
        let is_early = |value| main_value(value).eq_ignore_ascii_case(b"early-session");
        self.disposition.is_some_and(is_early)
    }

    fn is_required(&self) -> bool {
        self.has_handling(b"required")
    }

    fn is_optional(&self) -> bool {
        self.has_handling(b"optional")
    }

    fn has_handling(&self, handling: &[u8]) -> bool {
        let value = self.disposition.and_then(|value| param(value, b"handling"));
        value.is_some_and(|value| value.eq_ignore_ascii_case(handling))
    }
}

/// The text before the parameters of a field value.
fn main_value(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The value of the first parameter with this name, without quotes.
fn param<'a>(value: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut rest = value.get(value.iter().position(|byte| *byte == b';')?..)?;
    while let Some(text) = rest.strip_prefix(b";") {
        let mut quoted = Quoted::default();
        let ends = |byte: &u8| !quoted.covers(*byte) && *byte == b';';
        let end = text.iter().position(ends).unwrap_or(text.len());
        let (param, after) = text.split_at_checked(end)?;
        rest = after;
        let Some(equals) = param.iter().position(|byte| *byte == b'=') else { continue };
        let (found, text) = param.split_at_checked(equals)?;
        if found.trim_ascii().eq_ignore_ascii_case(name) {
            let text = text.strip_prefix(b"=")?.trim_ascii();
            let Some(text) = text.strip_prefix(b"\"") else { return Some(text.into()) };
            return Some(unescaped(text.strip_suffix(b"\"").unwrap_or(text)));
        }
    }
    None
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return text.into();
    }
    let mut escaped = false;
    let mut keep = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    };
    text.iter().copied().filter(|byte| keep(byte)).collect::<Vec<_>>().into()
}

/// Whether a byte is inside a quoted string, for bytes in order.
#[derive(Default)]
struct Quoted {
    open: bool,
    escaped: bool,
}

impl Quoted {
    fn covers(&mut self, byte: u8) -> bool {
        let covered = self.open;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.open => self.escaped = true,
            b'"' => self.open = !self.open,
            _ => {}
        }
        covered
    }
}

/// Iterates over the parts of a multipart body. The preamble and the epilogue are left out, and the
/// last delimiter may be missing.
struct Parts<'a, 'b> {
    boundary: &'b [u8],
    /// The bytes after the last delimiter.
    rest: Option<&'a [u8]>,
}

impl<'a, 'b> Parts<'a, 'b> {
    fn new(content: &'a [u8], boundary: &'b [u8]) -> Self {
        let mut parts = Self { boundary, rest: Some(content) };
        parts.next_content();
        parts
    }

    /// The bytes up to the next delimiter, which is skipped, or up to the end.
    fn next_content(&mut self) -> Option<&'a [u8]> {
        let all = self.rest.take()?;
        let mut rest = all;
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(line_len(rest))?;
            if let Some(is_last) = self.delimits(line) {
                self.rest = (!is_last).then_some(after);
                // the line end before a delimiter belongs to it
                let content = all.get(..all.len() - rest.len())?;
                let content = content.strip_suffix(b"\n").unwrap_or(content);
                return Some(content.strip_suffix(b"\r").unwrap_or(content));
            }
            rest = after;
        }
        Some(all)
    }

    /// Whether a line is a delimiter; true for the last one.
    fn delimits(&self, line: &[u8]) -> Option<bool> {
        let after = line.strip_prefix(b"--")?.strip_prefix(self.boundary)?;
        match after.trim_ascii() {
            [] => Some(false),
            b"--" => Some(true),
            _ => None,
        }
    }
}

impl<'a> Iterator for Parts<'a, '_> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let mut rest = self.next_content()?;
        let mut part = Part { content_type: None, disposition: None, content: &[] };
        while !rest.is_empty() {
            let (field, after) = take_field(rest);
            rest = after;
            if field.trim_ascii().is_empty() {
                break;
            }
            let Some(colon) = field.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = field.split_at_checked(colon)?;
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            match name.trim_ascii() {
                name if name.eq_ignore_ascii_case(b"Content-Type") => {
                    part.content_type = part.content_type.or(Some(value));
                }
                name if name.eq_ignore_ascii_case(b"Content-Disposition") => {
                    part.disposition = part.disposition.or(Some(value));
                }
                _ => {}
            }
        }
        part.content = rest;
        Some(part)
    }
}

/// The line at the start of `text` with its folds, and the rest. A blank line has no folds.
fn take_field(text: &[u8]) -> (&[u8], &[u8]) {
    let mut end = line_len(text);
    let is_blank = text.get(..end).unwrap_or_default().trim_ascii().is_empty();
    while !is_blank && matches!(text.get(end), Some(b' ' | b'\t')) {
        end += line_len(text.get(end..).unwrap_or_default());
    }
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// The length of the line at the start of `text`, with its line end.
fn line_len(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of an INVITE with these fields.
    fn body(fields: &str, body: &str) -> String {
        let text = format!(
            "INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>\r\nTo: <sip:a>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{fields}\r\n\r\n{body}"
        );
        match Body::of(&Message::scan(text.as_bytes()).unwrap()) {
            Body::Sdp(offer) => str::from_utf8(offer).unwrap().to_owned(),
            other => format!("{other:?}"),
        }
    }

    const SDP: &str = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
    const XML: &str = "Content-Type: application/x+xml\r\n\r\n<x/>";

    #[test]
    fn a_description_is_found_in_a_multipart_body() {
        let both = format!("--b\r\n{SDP}\r\n--b\r\n{XML}\r\n--b--\r\n");
        for content_type in [
            "Content-Type: multipart/mixed;boundary=b",
            "c: multipart/mixed; boundary = \"b\" ;charset=x",
            "content-type: Multipart/Related;type=\"a;boundary=x\\\"\";BOUNDARY=\"\\b\"",
            "Content-Type: multipart/alternative\r\n ;boundary=b",
            "Content-Type: multipart/x-unknown;boundary=b",
        ] {
            assert_eq!(body(content_type, &both), "v=0\r\n", "{content_type}");
        }
        let mixed = "Content-Type: multipart/mixed;boundary=b";
        for text in [
            // the other order, preamble and epilogue, spaces after a delimiter, no last delimiter
            &format!("--b\r\n{XML}\r\n--b\r\n{SDP}\r\n--b--"),
            &format!("preamble\r\n--bb\r\n--b \t\r\n{SDP}\r\n--b--\r\n--b\r\n{XML}"),
            &format!("--b\r\n{SDP}\r\n--b"),
            &format!("--b\r\nX: y\r\nC\r\n{SDP}\r\n--b--"),
            &format!("--b\r\n{}\r\n--b--", SDP.replace(": ", ":\r\n\t")),
            &format!("--b\r\n{XML}\r\n--b\r\n{SDP}\r\n--b\r\n{}", SDP.replace('0', "1")),
            &format!("--b\r\n{}\r\n--b\r\n{SDP}\r\n--b--", disposed(SDP, "early-session")),
            &format!("--b\r\n{}\r\n--b--", disposed(SDP, "session;handling=required")),
            &format!("--b\r\n{SDP}\r\n--b\r\n{}\r\n--b--", disposed(XML, "recording-session")),
            &format!(
                "--b\r\nContent-Type: multipart/alternative;boundary=c\r\n\r\n\
                 --c\r\n{XML}\r\n--c\r\n{SDP}\r\n--c--\r\n--b--"
            ),
        ] {
            assert_eq!(body(mixed, text), "v=0\r\n", "{text}");
        }
        let bare = format!("--b\r\n{SDP}--b--").replace("\r\n", "\n");
        assert_eq!(body(mixed, &bare), "v=0");
        // the last alternative is the best
        let alternative = format!("--b\r\n{SDP}\r\n--b\r\n{}\r\n--b--", SDP.replace('0', "1"));
        assert_eq!(body("c: multipart/alternative;boundary=b", &alternative), "v=1\r\n");
    }

    fn disposed(part: &str, disposition: &str) -> String {
        format!("Content-Disposition: {disposition}\r\n{part}")
    }

    #[test]
    fn bodies_without_a_description() {
        let mixed = "Content-Type: multipart/mixed;boundary=b";
        let optional = "Content-Disposition: x;HANDLING=\"optional\"";
        let part = |part: &str| format!("--b\r\n{part}\r\n--b--\r\n");
        let required = disposed(XML, "x; handling=Required");
        for (fields, text, expected) in [
            (mixed, String::new(), "None"),
            (mixed, part(XML), "None"),
            (mixed, part(""), "None"),
            (mixed, part("no header"), "None"),
            (mixed, part(&disposed(XML, "x;handling=optional")), "None"),
            (mixed, part(&required), "Unsupported"),
            (mixed, format!("--b\r\n{required}\r\n--b\r\n{SDP}\r\n--b--"), "Unsupported"),
            (mixed, "no delimiter".to_owned(), "Malformed"),
            (mixed, "--b--".to_owned(), "Malformed"),
            ("c: multipart/mixed", part(XML), "Malformed"),
            ("c: multipart/mixed;boundary=", part(XML), "Malformed"),
            ("c: multipart/mixed;boundary=\"\"", part(XML), "Malformed"),
            (&format!("c: multipart/mixed\r\n{optional}"), part(XML), "None"),
            (&format!("{mixed}\r\n{optional}"), part(&required), "None"),
            ("Content-Type: text/plain", "hello".to_owned(), "Unsupported"),
            ("X: y", "hello".to_owned(), "Unsupported"),
            (&format!("Content-Type: text/plain\r\n{optional}"), "hello".to_owned(), "None"),
            (optional, "hello".to_owned(), "None"),
        ] {
            assert_eq!(body(fields, &text), expected, "{fields}\n{text}");
        }
        let alternative = format!("--b\r\n{required}\r\n--b\r\n{XML}\r\n--b--");
        assert_eq!(body("c: multipart/alternative;boundary=b", &alternative), "None");
    }

    #[test]
    fn truncated_and_nested_bodies_are_read() {
        let text = format!("x\r\n--b\r\n{SDP}\r\n--b\r\n{XML}\r\n--b--\r\n");
        for length in 0..text.len() {
            body("Content-Type: multipart/mixed;boundary=\"b", &text[..length]);
        }
        let deep = "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n".repeat(1_000);
        assert_eq!(body("Content-Type: multipart/mixed;boundary=b", &deep), "Malformed");
        // linear in the number of folds and parts
        let folds = format!("--b\r\nX:{}\r\n{SDP}\r\n--b--", "\r\n ".repeat(20_000));
        assert_eq!(body("Content-Type: multipart/mixed;boundary=b", &folds), "v=0\r\n");
        let parts = format!("{}--b\r\n{SDP}\r\n--b--", "--b\r\n".repeat(10_000));
        assert_eq!(body("Content-Type: multipart/mixed;boundary=b", &parts), "v=0\r\n");
    }
}
