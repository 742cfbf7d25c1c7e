//! The parameters of a credentials header that a record has.
//!
//! This is for logs: a decision never depends on it. The reader is more lenient than that of decisions,
//! since a log must show the fault of a client.

use memchr::{memchr, memchr_iter};

/// Parameters as sent, without quotes; empty if they are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims<'a> {
    pub(super) is_digest: bool,
    /// The user name, the value of `username*`, or the hash of a user name.
    pub(super) username: &'a str,
    pub(super) realm: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) qop: &'a str,
}

/// Whether a byte is white space in a header value with folds.
fn is_space(byte: u8) -> bool {
    // all of them are below the other bytes of a header
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Splits at the first byte of a kind of ASCII, which is left out. Many records have credentials, and a
/// search for bytes takes a third of the time of one for characters.
fn cut(text: &str, kind: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let at = text.bytes().position(kind)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The text without bytes of a kind of ASCII at its start.
fn trim_start(text: &str, kind: impl Fn(u8) -> bool) -> &str {
    let start = text.bytes().position(|byte| !kind(byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// The text without bytes of a kind of ASCII at its end.
fn trim_end(text: &str, kind: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().rposition(|byte| !kind(byte)).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

impl<'a> Claims<'a> {
    /// The parameters of the first credentials in a header value, in time linear in its length. Reads up to
    /// the first byte that is not UTF-8.
    pub(super) fn of(value: &'a [u8]) -> Self {
        let text = match str::from_utf8(value) {
            Ok(text) => text,
            Err(error) => value
                .get(..error.valid_up_to())
                .and_then(|valid| str::from_utf8(valid).ok())
                .unwrap_or_default(),
        };
        let mut claims = Self::default();
        let Some((scheme, mut rest)) = cut(text, is_space) else { return claims };
        claims.is_digest = scheme.eq_ignore_ascii_case("Digest");
        if !claims.is_digest {
            return claims;
        }
        while let Some((name, after)) = parameter(rest) {
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => until_quote(quoted),
                // a client that forgets a comma must not add its response to another value
                None => cut(after, ends_token).unwrap_or((after, "")),
            };
            claims.add(name, value);
        }
        claims
    }

    /// Takes a parameter. The first of a name counts. A value in which a response or a nonce may stand,
    /// because its quotation marks are wrong, is left out: neither may be in a log.
    fn add(&mut self, name: &str, value: &'a str) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let place = match name.len() {
            8 if is("username") => &mut self.username,
            9 if is("username*") => &mut self.username,
            5 if is("realm") => &mut self.realm,
            9 if is("algorithm") => &mut self.algorithm,
            3 if is("qop") => &mut self.qop,
            _ => return,
        };
        if place.is_empty() && !has_secret(value) {
            *place = value;
        }
    }
}

/// The name of the next parameter, and the text from its value on. None before the scheme of the next
/// credentials.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let between = |byte| byte == b',' || is_space(byte);
    let text = trim_start(text, between);
    let end = text.bytes().position(|byte| byte == b'=' || is_space(byte))?;
    let (name, after) = text.split_at_checked(end)?;
    let after = trim_start(after, between).strip_prefix('=')?;
    Some((trim_end(name, between), trim_start(after, is_space)))
}

/// Whether a byte ends a value without quotes.
fn ends_token(byte: u8) -> bool {
    matches!(byte, b',' | b';' | b'=' | b'"') || is_space(byte)
}

/// Whether a text seems to have one of the parameters that no log has.
fn has_secret(text: &str) -> bool {
    let is_secret = |name: &str| {
        let name = trim_end(name, is_space).as_bytes();
        let ends_in = |end: &[u8]| {
            let start = name.len().saturating_sub(end.len());
            name.get(start..).is_some_and(|last| last.eq_ignore_ascii_case(end))
        };
        ends_in(b"response") || ends_in(b"nonce")
    };
    memchr_iter(b'=', text.as_bytes()).filter_map(|at| text.get(..at)).any(is_secret)
}

/// Splits at the quotation mark that ends a quoted string, which has no backslash of its own before it. A
/// string without an end has no value, since the rest of the header stands in it.
fn until_quote(text: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| memchr(b'"', rest.as_bytes())) {
        let end = from + found;
        let before = text.get(..end).unwrap_or_default();
        let slashes = before.bytes().rev().take_while(|byte| *byte == b'\\').count();
        if slashes % 2 == 0 {
            return (before, text.get(end + 1..).unwrap_or_default());
        }
        from = end + 1;
    }
    ("", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> [&str; 4] {
        let Claims { username, realm, algorithm, qop, .. } = Claims::of(value.as_bytes());
        [username, realm, algorithm, qop]
    }

    #[test]
    fn parameters_are_found_in_every_spelling() {
        for (value, expected) in [
            ("", [""; 4]),
            ("Digest", [""; 4]),
            ("Basic username=\"a\"", [""; 4]),
            (
                "Digest username=\"alice\", realm=\"a b\", nonce=\"n,=\", uri=\"sip:1@x;a=b\", \
                 response=\"0\", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\"",
                ["alice", "a b", "SHA-256", "auth"],
            ),
            (
                "dIGEST\r\n\tUSERNAME = \"a\"\r\n ,realm=r,QOP=\"auth-int\" , Algorithm=\"md5\"",
                ["a", "r", "md5", "auth-int"],
            ),
            ("Digest username=\"a\\\"b\\\\\",realm=x", ["a\\\"b\\\\", "x", "", ""]),
            ("Digest nonce=\"x, username=eve\",username=\"a\"", ["a", "", "", ""]),
            ("Digest username*=UTF-8''J%C3%A4s, realm=\"r\"", ["UTF-8''J%C3%A4s", "r", "", ""]),
            ("Digest username=\"a\",username=\"b\"", ["a", "", "", ""]),
            ("Digest username=\"open, realm=\"r\"", ["open, realm=", "", "", ""]),
            ("Digest username=\"alice, realm=r, nonce=N, response=0", [""; 4]),
            ("Digest username=\"alice, realm=r, response=\"0\"", [""; 4]),
            ("Digest username=\"alice, realm=r, Response = \"0\"", [""; 4]),
            ("Digest username=\"alice\\\", cnonce=N, uri=\"x\"", [""; 4]),
            ("Digest username=alice;realm=r;nonce=N;response=0", ["alice", "r", "", ""]),
            ("Digest realm=\"r, nonce=N, response=0", [""; 4]),
            ("Digest realm=\"a\",qop=auth, Digest username=\"b\"", ["", "a", "", "auth"]),
            ("Digest username=", [""; 4]),
            ("Digest realm=r response=0123", ["", "r", "", ""]),
            ("Digest realm=r , qop=auth", ["", "r", "", "auth"]),
            ("Digest ,,username=\"ü\",,", ["ü", "", "", ""]),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        let invalid = Claims::of(b"Digest realm=\"r\", username=\"\xff\"");
        assert_eq!((invalid.realm, invalid.username), ("r", ""));
    }
}
