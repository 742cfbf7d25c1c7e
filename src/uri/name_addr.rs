//! The URI and tag in a From or To value (RFC 3261 §20.20, §20.39).
//!
//! Handles quoted display names, brackets in quotes and folds. Rejects ambiguous values.

use std::fmt;

use memchr::{memchr, memchr3};

use super::Scheme;
use crate::message::{is_token, trim};

/// The parsed value of a From or To field.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameAddr<'a> {
    /// The URI as sent, without angle brackets. Only its scheme is checked.
    pub uri: &'a str,
    /// The header parameters without the first `;`; empty without parameters. They can contain
    /// folds.
    pub params: &'a [u8],
    tag: Option<&'a [u8]>,
}

impl<'a> NameAddr<'a> {
    /// The value of the tag parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }
}

impl fmt::Debug for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameAddr").finish_non_exhaustive()
    }
}

/// Parses the value of a From or To field (name-addr or addr-spec with parameters, RFC 3261 §25.1).
///
/// None if it is malformed, has two tags, or has a tag that is not a token. A bare URI with a `?`
/// or a comma is malformed (§20.10).
#[must_use]
pub fn name_addr(value: &[u8]) -> Option<NameAddr<'_>> {
    let text = trim(value);
    if !is_folded_text(text) {
        return None;
    }
    let mark = memchr3(b'"', b'<', b':', text)?;
    let (uri, rest) = if text.get(mark) == Some(&b':') {
        let end = text.iter().position(|byte| b"; \t\r".contains(byte)).unwrap_or(text.len());
        let (uri, rest) = text.split_at_checked(end)?;
        if uri.iter().any(|byte| b"?,".contains(byte)) {
            return None;
        }
        (uri, rest)
    } else {
        let quoted = text.starts_with(b"\"");
        let (display, rest) =
            text.split_at_checked(if quoted { quoted_len(text)? } else { mark })?;
        if !quoted && display.iter().any(|byte| b">,;@\\".contains(byte)) {
            return None;
        }
        let rest = trim(rest).strip_prefix(b"<")?;
        let (uri, rest) = rest.split_at_checked(memchr(b'>', rest)?)?;
        (uri, rest.get(1..)?)
    };
    let odd = |byte: u8| !byte.is_ascii_graphic() | matches!(byte, b'<' | b'>' | b'"');
    let uri = str::from_utf8(uri).ok().filter(|uri| !has_one(uri.as_bytes(), odd))?;
    Scheme::of(uri)?;
    let rest = trim(rest);
    let params = rest.strip_prefix(b";").unwrap_or_default();
    if !rest.is_empty() && !rest.starts_with(b";") {
        return None;
    }
    let (mut next, mut tag) = ((!rest.is_empty()).then_some(params), None);
    while let Some(text) = next {
        let (name, value, after) = take_param(text)?;
        if name.eq_ignore_ascii_case(b"tag") {
            if tag.is_some() || !is_token(value.unwrap_or_default()) {
                return None;
            }
            tag = value;
        }
        next = after;
    }
    Some(NameAddr { uri, params, tag })
}

/// Name, value if present, and the text after the next `;` if present.
type Param<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>);

fn take_param(text: &[u8]) -> Option<Param<'_>> {
    let end = text.iter().position(|byte| b";=".contains(byte)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let name = Some(trim(name)).filter(|name| is_token(name))?;
    let Some(rest) = rest.strip_prefix(b"=") else { return Some((name, None, rest.get(1..))) };
    let rest = trim(rest);
    let quoted = rest.starts_with(b"\"");
    let end = if quoted {
        quoted_len(rest)?
    } else {
        rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len())
    };
    let (value, rest) = rest.split_at_checked(end)?;
    let (value, rest) = (trim(value), trim(rest));
    let brackets = |byte: &u8| b"[]:".contains(byte) || is_token(&[*byte]);
    let sound = quoted || (!value.is_empty() && value.iter().all(brackets));
    let ended = rest.is_empty() || rest.starts_with(b";");
    (sound && ended).then_some((name, Some(value), rest.get(1..)))
}

/// Length of the quoted string at the start of `text`, quotes included.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    Some(text.iter().skip(1).position(closes)? + 2)
}

/// Whether one of the bytes is `odd`, which is rare. Has no early exit, so that the compiler vectorises it.
fn has_one(text: &[u8], odd: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(false, |any, byte| any | odd(*byte))
}

/// Whether the only control characters are HTAB and those of complete folds.
fn is_folded_text(mut text: &[u8]) -> bool {
    if !has_one(text, |byte| byte.is_ascii_control()) {
        return true;
    }
    loop {
        text = match text {
            [] => return true,
            [b'\r', b'\n', b' ' | b'\t', rest @ ..] | [b'\t', rest @ ..] => rest,
            [byte, ..] if byte.is_ascii_control() => return false,
            [_, rest @ ..] => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_and_tags() {
        let read = |text: &'static str| {
            let read = name_addr(text.as_bytes())?;
            Some((read.uri, read.tag().map(|tag| str::from_utf8(tag).unwrap())))
        };
        for (value, expected) in [
            ("sip:a@b", ("sip:a@b", None)),
            ("sip:a@b;tag=x", ("sip:a@b", Some("x"))),
            ("<sip:a@b;tag=x>", ("sip:a@b;tag=x", None)),
            ("<sip:a@b?c=d,e>;a;TAG=x;b", ("sip:a@b?c=d,e", Some("x"))),
            ("Bob B. <tel:+1>;q=\";tag=y\"", ("tel:+1", None)),
            ("\"<sip:x@y>;tag=z\"<sips:a@b>;tag=x", ("sips:a@b", Some("x"))),
            (r#""a \" <sip:x@y> \\" <sip:a@b>"#, ("sip:a@b", None)),
            ("\"a\r\n b\"\r\n\t<sip:a@b>\r\n ;\r\n tag = x", ("sip:a@b", Some("x"))),
            ("B\u{f6}b <sip:a@b> ; x = [::1]:5 ; y", ("sip:a@b", None)),
            ("sip:[2001:db8::1]:5060 ;tag=x", ("sip:[2001:db8::1]:5060", Some("x"))),
        ] {
            assert_eq!(read(value), Some(expected), "{value}");
        }
        for value in [
            "",
            "<>",
            "a@b",
            "<a@b>",
            "sip",
            "Bob",
            "\"Bob\"",
            "\"Bob <sip:a@b>",
            "<sip:a@b",
            "sip:a@b>",
            "<sip:a@b>>",
            "<sip:a@b>x",
            "<sip:a@b>;",
            "<sip:a@b>;;a",
            "<sip:a@b>;tag",
            "<sip:a@b>;tag=",
            "<sip:a@b>;tag=\"x\"",
            "<sip:a@b>;tag=x;tag=x",
            "<sip:a@b>,<sip:c@d>",
            "<sip:a@b>;tag=x,<sip:c@d>",
            "sip:a@b,sip:c@d",
            "sip:a@b?c=d",
            "sip:a b@c",
            "<sip:a b>",
            "<sip:a@b>;tag=x\r\ny",
            "<sip:a@b>;tag=x\0",
            "a, b <sip:a@b>",
            "a \"b\" <sip:a@b>",
            "<sip:\u{f6}@b>",
            "<sip:a@b>;x=\"y",
            "<sip:a@b>;=x",
            "a\rb <sip:a@b>",
            "<<sip:a@b>>",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }
}
