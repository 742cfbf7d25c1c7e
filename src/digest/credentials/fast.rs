//! The fast parser: one pass over a credentials header in the form that nearly all clients send.
//! All other headers go to the full parser. Tests check that both return the same.

use memchr::memchr;

use super::reader::is_token;
use super::{Credentials, MAX_USERNAME, QopFields, Username, nonce_count, username};
use crate::digest::{Algorithm, Qop};
use crate::words::{find, find_before, lower};

/// Within the maximum length of every parameter except `username`.
const SHORT: usize = 128;

/// The values read so far; empty if there is none yet.
#[derive(Default)]
struct Values<'a> {
    username: &'a [u8],
    realm: &'a [u8],
    nonce: &'a [u8],
    uri: &'a [u8],
    response: &'a [u8],
    algorithm: &'a [u8],
    qop: &'a [u8],
    nc: &'a [u8],
    cnonce: &'a [u8],
    opaque: &'a [u8],
}

/// Parses a header for `realm` if it has the common form: each parameter once, known names, no
/// space around `=`, and a comma or a comma and a space as separator. Values are neither empty nor
/// long and have no backslash. Returns `None` for every other header, whether it is well-formed or
/// not.
pub(crate) fn parse_fast<'a>(value: &'a [u8], realm: &str) -> Option<Credentials<'a>> {
    let mut rest = value.strip_prefix(b"Digest ").filter(|_| is_plain(value))?;
    let mut values = Values::default();
    loop {
        let (name, behind) = name(rest)?;
        let place = match name {
            USERNAME => &mut values.username,
            REALM => &mut values.realm,
            NONCE => &mut values.nonce,
            URI => &mut values.uri,
            RESPONSE => &mut values.response,
            ALGORITHM => &mut values.algorithm,
            QOP => &mut values.qop,
            NC => &mut values.nc,
            CNONCE => &mut values.cnonce,
            OPAQUE => &mut values.opaque,
            _ => return None,
        };
        let (value, behind) = match behind {
            [b'"', text @ ..] => {
                let (value, behind) = text.split_at_checked(quote(text)?)?;
                (value, behind.get(1..)?)
            }
            // not checked for tokens, because `Values::credentials` compares these values whole
            text if matches!(name, ALGORITHM | QOP | NC) => text.split_at_checked(comma(text))?,
            text => text.split_at_checked(text.iter().take_while(|b| is_token(**b)).count())?,
        };
        if !place.is_empty() || value.is_empty() || value.len() > SHORT {
            return None;
        }
        *place = value;
        rest = match behind {
            [] => return values.credentials(realm),
            [b',', b' ', next @ ..] | [b',', next @ ..] => next,
            _ => return None,
        };
    }
}

impl<'a> Values<'a> {
    fn credentials(&self, realm: &str) -> Option<Credentials<'a>> {
        let Self { nonce, uri, response, cnonce, nc: nc_text, .. } = *self;
        let complete = [nonce, uri, response, cnonce].iter().all(|value| !value.is_empty());
        if !complete || self.username.is_empty() || self.username.len() > MAX_USERNAME {
            return None;
        }
        if self.realm != realm.as_bytes() {
            return None;
        }
        // names beyond ASCII may hold control characters, which only the full parser detects
        let username = Username::Plain(username(self.username).filter(|name| name.is_ascii())?);
        let algorithm = match self.algorithm {
            b"" | b"MD5" => Algorithm::Md5,
            b"SHA-256" => Algorithm::Sha256,
            name => Algorithm::from_name(name)?,
        };
        // may be an unquoted value that is not a token, so only a whole match counts
        let qop = match self.qop {
            b"auth" => Qop::Auth,
            name => Qop::from_name(name)?,
        };
        let nc = nonce_count(nc_text)?;
        let qop = Some(QopFields { qop, cnonce, nc, nc_text });
        Some(Credentials { username, nonce, uri, response, algorithm, qop })
    }
}

/// A parameter name as a word in lower case, with the first byte lowest. `algorithm` has nine
/// letters and does not fit; its last letter is omitted.
const fn word(name: &[u8]) -> u64 {
    let (mut word, mut rest) = (0, name);
    while let [before @ .., byte] = rest {
        word = word << 8 | *byte as u64;
        rest = before;
    }
    word
}
const NC: u64 = word(b"nc");
const URI: u64 = word(b"uri");
const QOP: u64 = word(b"qop");
const REALM: u64 = word(b"realm");
const NONCE: u64 = word(b"nonce");
const CNONCE: u64 = word(b"cnonce");
const OPAQUE: u64 = word(b"opaque");
const USERNAME: u64 = word(b"username");
const RESPONSE: u64 = word(b"response");
const ALGORITHM: u64 = word(b"algorith");

/// Reads the name at the start of `text`: returns its word and the text after the `=`. `text` has
/// no NUL, so the padding of a short name is unambiguous.
#[inline(always)]
fn name(text: &[u8]) -> Option<(u64, &[u8])> {
    let (start, behind) = text.split_first_chunk()?;
    let bytes = u64::from_le_bytes(*start);
    let lower = lower(bytes);
    if let Some((before, len)) = find_before(bytes, b'=') {
        return Some((lower & before, text.get(len + 1..)?));
    }
    match (lower, behind) {
        (USERNAME | RESPONSE, [b'=', rest @ ..]) => Some((lower, rest)),
        (ALGORITHM, [b'm' | b'M', b'=', rest @ ..]) => Some((lower, rest)),
        _ => None,
    }
}

/// The position of the next quote. Values are short, so a search of a few words is faster than a
/// call of `memchr`.
#[inline(always)]
fn quote(text: &[u8]) -> Option<usize> {
    let (words, _) = text.as_chunks();
    for (number, word) in words.iter().take(6).enumerate() {
        if let Some(at) = find(u64::from_le_bytes(*word), b'"') {
            return Some(number * 8 + at);
        }
    }
    let looked_at = words.len().min(6) * 8;
    Some(looked_at + memchr(b'"', text.get(looked_at..)?)?)
}

/// The position of the next comma, or the end.
#[inline(always)]
fn comma(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    for (number, word) in words.iter().enumerate() {
        if let Some(at) = find(u64::from_le_bytes(*word), b',') {
            return number * 8 + at;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| **byte != b',').count()
}

/// Whether the text has neither a control character nor a backslash. Works by chunks so that the
/// compiler vectorizes it.
#[inline(always)]
fn is_plain(text: &[u8]) -> bool {
    let odd = |byte: u8| u8::from((byte < b' ') | (byte == 0x7f) | (byte == b'\\'));
    let any = |chunk: &[u8; 64]| chunk.iter().fold(0, |any, byte| any | odd(*byte)) != 0;
    let (chunks, rest) = text.as_chunks();
    // the last 64 bytes overlap the chunks before; only a shorter text needs a copy
    let end = text.last_chunk().copied().unwrap_or_else(|| {
        let mut end = [b' '; 64];
        if let Some(start) = end.get_mut(..rest.len()) {
            start.copy_from_slice(rest);
        }
        end
    });
    !(chunks.iter().any(any) || any(&end))
}

#[cfg(test)]
mod tests {
    use super::super::{Parsed, parse_full};
    use super::*;

    const HEADER: &str = concat!(
        r#"Digest username="bob", realm="a", nonce="n0nce",uri="sip:100@sip.example", "#,
        r#"RESPONSE="0123456789abcdef0123456789abcdef",Algorithm=MD5,qop=auth, nc=0000000A,"#,
        r#"cnonce="c",opaque="o""#,
    );

    fn fields<'a>(it: &Credentials<'a>) -> impl Eq + std::fmt::Debug + use<'a> {
        let is_hash = matches!(it.username, Username::Hash(_));
        let name = (it.username.as_str().to_owned(), is_hash);
        let qop = it.qop.map(|it| (it.qop, it.cnonce, it.nc, it.nc_text));
        (name, it.nonce, it.uri, it.response, it.algorithm, qop)
    }

    /// Replaces each byte of a header by every byte, removes it and inserts one: every header that
    /// the fast parser accepts must have the same result from the full parser.
    #[test]
    fn fast_and_full_parser_agree() {
        let mut read = 0;
        let mut check = |header: &[u8]| {
            let Some(credentials) = parse_fast(header, "a") else { return };
            read += 1;
            let Parsed::Credentials(others) = parse_full(header, "a") else {
                panic!("{}", header.escape_ascii());
            };
            assert_eq!(fields(&credentials), fields(&others), "{}", header.escape_ascii());
        };
        for at in 0..HEADER.len() {
            let (before, rest) = HEADER.as_bytes().split_at(at);
            for byte in 0..=u8::MAX {
                check(&[before, &[byte], &rest[1..]].concat());
                check(&[before, &[byte], rest].concat());
            }
            check(&[before, &rest[1..]].concat());
            check(before);
            // two escapes must not cancel each other out
            check(&[before, br"\a\b", rest].concat());
        }
        for parameter in HEADER.split(',') {
            check(format!("{HEADER},{parameter}").as_bytes());
            check(HEADER.replace(parameter, "").as_bytes());
        }
        // the first parameter follows the scheme, not a comma
        check(HEADER.replace(r#"username="bob", "#, "").as_bytes());
        assert!(read > 10_000, "{read}");
        assert!(
            parse_fast(HEADER.as_bytes(), "a").is_some()
                && parse_fast(HEADER.as_bytes(), "b").is_none()
        );
    }

    #[test]
    fn quote_and_comma_agree_with_a_simple_search() {
        let slow = |text: &[u8], byte: u8| text.iter().position(|it| *it == byte);
        for len in 0..70 {
            // fillers differ from the bytes searched for by one, or in a single bit
            for filler in [b'a', b'!', b'#', b'+', b'-', b',' ^ 0x80, b'"' ^ 0x80, b'=', 0, 0xff] {
                for at in 0..=len {
                    for byte in *b"\",=" {
                        let mut text = vec![filler; len];
                        // one match, or two with a distance of three
                        for at in [at, at + 3] {
                            if let Some(place) = text.get_mut(at) {
                                *place = byte;
                            }
                        }
                        assert_eq!(quote(&text), slow(&text, b'"'), "{}", text.escape_ascii());
                        let comma_at = slow(&text, b',').unwrap_or(len);
                        assert_eq!(comma(&text), comma_at, "{}", text.escape_ascii());
                    }
                }
            }
        }
    }
}
