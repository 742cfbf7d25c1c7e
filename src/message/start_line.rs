//! The first line of a message (RFC 3261 §7.1, §7.2). A defective line is parsed as far as
//! possible; a line without SIP version or status is rejected.

use std::fmt;

use super::field::part_flaws;
use super::{Class, Defect, is_token, number, token_len, trim};

/// The first line of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request line (RFC 3261 §7.1).
    Request {
        /// The method as sent; methods are case-sensitive.
        method: &'a str,
        /// The Request-URI as sent; empty and a defect if it is not UTF-8.
        uri: &'a str,
    },
    /// A status line (RFC 3261 §7.2).
    Response {
        /// The status code; a defect if not 100 to 699.
        status: u16,
    },
}

impl fmt::Debug for StartLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartLine::Request { method, .. } => write!(f, "Request({method})"),
            StartLine::Response { status } => write!(f, "Response({status})"),
        }
    }
}

/// A parsed first line.
#[derive(Clone, Copy)]
pub(super) struct FirstLine<'a> {
    pub(super) start: StartLine<'a>,
    pub(super) defect: Option<Defect>,
    /// Whether a request line ends in spaces or tabs.
    pub(super) trailing_space: bool,
}

impl<'a> FirstLine<'a> {
    fn new(start: StartLine<'a>, defect: Option<Defect>) -> Self {
        Self { start, defect, trailing_space: false }
    }
}

/// Parses a first line, with or without its line end, and finds its first defect. None if it is not
/// SIP.
pub(super) fn start_line(line: &[u8]) -> Option<FirstLine<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some(start) = request_line_fast(line) {
        return Some(FirstLine::new(start, None));
    }
    let is_sip = |text: &[u8]| text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"));
    let version_flaw =
        |text: &[u8]| (!text.eq_ignore_ascii_case(b"SIP/2.0")).then_some(Defect::Version);
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (word, rest) = (line.get(..space)?, line.get(space + 1..)?);
    if is_sip(word) {
        let (digits, reason) = rest.split_at_checked(3)?;
        let status = u16::try_from(number(digits)?).ok()?;
        if !matches!(reason.first(), None | Some(b' ')) {
            return None;
        }
        let sound = (100..700).contains(&status) && !reason.is_empty();
        let flaw = (!sound).then_some(Defect::StatusLine);
        return Some(FirstLine::new(StartLine::Response { status }, flaw.or(version_flaw(word))));
    }
    let method = str::from_utf8(word).ok().filter(|_| is_token(word))?;
    let spaces = rest.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let rest = rest.get(..rest.len() - spaces)?;
    let tidy = trim(rest);
    let space = tidy.iter().rposition(|byte| *byte == b' ')?;
    let (uri, version) = (trim(tidy.get(..space)?), tidy.get(space + 1..)?);
    if !is_sip(version) {
        return None;
    }
    let odd_spaces = (uri.len() + 1 + version.len() != rest.len()).then_some(Defect::RequestLine);
    let bad_uri = uri_flaw(uri);
    let uri = str::from_utf8(uri).unwrap_or_default();
    let defect = odd_spaces.or(version_flaw(version)).or(bad_uri);
    let start = StartLine::Request { method, uri };
    Some(FirstLine { start, defect, trailing_space: spaces > 0 })
}

/// The first line of a request that another parser has read; none if the method is not a token or the
/// URI is empty. Checks the URI and does not keep it, so that the caller may own it.
pub(super) fn request<'a>(method: &'a str, uri: &str) -> Option<FirstLine<'a>> {
    let sound = is_token(method.as_bytes()) && !uri.is_empty();
    let defect = part_flaws(uri.as_bytes()).next().or_else(|| uri_flaw(uri.as_bytes()));
    sound.then(|| FirstLine::new(StartLine::Request { method, uri: "" }, defect))
}

/// The defect of a Request-URI with a byte that none has.
fn uri_flaw(uri: &[u8]) -> Option<Defect> {
    let visible = uri.iter().all(|byte| Class::UriText.has(*byte));
    (!visible).then_some(Defect::RequestUri)
}

/// Fast path: a well-formed request line.
fn request_line_fast(line: &[u8]) -> Option<StartLine<'_>> {
    let (method, rest) = line.split_at_checked(token_len(line))?;
    let rest = rest.strip_prefix(b" ")?;
    let len = rest.iter().take_while(|byte| Class::UriText.has(**byte)).count();
    let (uri, version) = rest.split_at_checked(len)?;
    if method.is_empty() || uri.is_empty() || version != b" SIP/2.0" {
        return None;
    }
    let method = if method == b"INVITE" { "INVITE" } else { str::from_utf8(method).ok()? };
    Some(StartLine::Request { method, uri: str::from_utf8(uri).ok()? })
}
