//! The grammar of a credentials header, and the names of its parameters.

use memchr::memchr;

use super::Parameter;

/// A value as sent: a token, or what stood between the quotes.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) raw: &'a [u8],
    pub(super) quoted: bool,
    /// Whether `raw` holds quoted-pairs. Only ASCII is ever escaped.
    pub(super) escaped: bool,
}

impl<'a> Value<'a> {
    pub(super) fn unescaped(self) -> impl Iterator<Item = u8> + 'a {
        let mut bytes = self.raw.iter().copied();
        std::iter::from_fn(move || match bytes.next() {
            Some(b'\\') => bytes.next(),
            byte => byte,
        })
    }

    pub(super) fn unescapes_to(self, text: &str) -> bool {
        if self.escaped { self.unescaped().eq(text.bytes()) } else { self.raw == text.as_bytes() }
    }
}

const TOKEN: u8 = 1;
const QUOTED_TEXT: u8 = 2;

/// For each byte whether it may stand in a token (RFC 7230 §3.2.6, which has a few characters more
/// than RFC 3261) and, unescaped, in a quoted string.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(byte, b'^'..=b'`' | b'|' | b'~');
        let quoted_text = !byte.is_ascii_control() && byte != b'"' && byte != b'\\';
        classes[byte as usize] = (token as u8 * TOKEN) | (quoted_text as u8 * QUOTED_TEXT);
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

/// Whether there is neither a control character nor a backslash. By chunks: this way it is
/// vectorised.
fn is_plain(text: &[u8]) -> bool {
    let odd = |byte: u8| u8::from((byte < b' ') | (byte == 0x7f) | (byte == b'\\'));
    let any = |chunk: &[u8; 64]| chunk.iter().fold(0, |any, byte| any | odd(*byte)) != 0;
    let (chunks, rest) = text.as_chunks();
    let mut last = [b' '; 64];
    if let Some(start) = last.get_mut(..rest.len()) {
        start.copy_from_slice(rest);
    }
    !(chunks.iter().any(any) || any(&last))
}

/// The name of a parameter as a word in lower case.
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
const ALGORITH: u64 = word(b"algorith");

/// Where the next quote is. Values are short: looking at a few words costs less than a call of what
/// is made for long texts.
#[inline]
fn quote(text: &[u8]) -> Option<usize> {
    let (words, _) = text.as_chunks();
    for (number, word) in words.iter().take(6).enumerate() {
        let marks = marks(u64::from_le_bytes(*word), b'"');
        if marks != 0 {
            return Some(number * 8 + usize::try_from(marks.trailing_zeros() / 8).ok()?);
        }
    }
    let looked_at = words.len().min(6) * 8;
    Some(looked_at + memchr(b'"', text.get(looked_at..)?)?)
}

/// A bit in each byte of a word that is `byte`; those above the lowest may be wrong.
#[inline]
const fn marks(word: u64, byte: u8) -> u64 {
    let zero_where_found = word ^ all(byte);
    // borrows can only set others above the lowest
    zero_where_found.wrapping_sub(all(1)) & !zero_where_found & all(0x80)
}

/// Every byte of a word.
const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Reads the grammar; what it has not read yet is `rest`.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whether there is neither a control character nor a backslash in it, so that a quoted string
    /// goes to the next quote.
    plain: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: value, plain: is_plain(value) }
    }

    /// The scheme, whole, and white space behind it.
    pub(super) fn digest_scheme(&mut self) -> bool {
        self.skip_white_space();
        let is_digest = self.token().eq_ignore_ascii_case(b"Digest");
        is_digest && self.skip_white_space()
    }

    /// Moves to the next list element that is not empty; false at the end.
    #[inline]
    pub(super) fn next_element(&mut self) -> bool {
        // as nearly all are written
        if let Some(rest) = self.rest.strip_prefix(b", ")
            && rest.first().is_some_and(|byte| *byte > b',')
        {
            self.rest = rest;
            return true;
        }
        self.skip_white_space();
        while self.skip(b',') {
            self.skip_white_space();
        }
        !self.rest.is_empty()
    }

    /// Whether nothing more stands in this list element.
    #[inline]
    pub(super) fn element_ends(&mut self) -> bool {
        if let [] | [b',', ..] = self.rest {
            return true;
        }
        self.skip_white_space();
        matches!(self.rest, [] | [b',', ..])
    }

    /// `name = value`.
    #[inline]
    pub(super) fn parameter(&mut self) -> Option<(Parameter, Value<'a>)> {
        let name = self.usual_name().or_else(|| self.any_name())?;
        self.skip_white_space();
        if self.skip(b'"') {
            return self.quoted().map(|value| (name, value));
        }
        let raw = self.token();
        (!raw.is_empty()).then_some((name, Value { raw, quoted: false, escaped: false }))
    }

    /// One of the usual names and the `=` directly behind it, told without looking at each byte.
    /// Nothing is read if it is not there.
    #[inline]
    fn usual_name(&mut self) -> Option<Parameter> {
        let (start, behind) = self.rest.split_first_chunk()?;
        let bytes = u64::from_le_bytes(*start);
        let marks = marks(bytes, b'=');
        let below = (marks ^ marks.wrapping_sub(1)) >> 8;
        // some bytes that are no letters change too, but none of them into a letter
        let lower = bytes | ((bytes & all(0x40)) >> 1);
        let (parameter, rest) = if marks == 0 {
            match (lower, behind) {
                (USERNAME, [b'=', rest @ ..]) => (Parameter::Username, rest),
                (RESPONSE, [b'=', rest @ ..]) => (Parameter::Response, rest),
                (ALGORITH, [b'm' | b'M', b'=', rest @ ..]) => (Parameter::Algorithm, rest),
                _ => return None,
            }
        } else {
            let parameter = match lower & below {
                NC => Parameter::Nc,
                URI => Parameter::Uri,
                QOP => Parameter::Qop,
                REALM => Parameter::Realm,
                NONCE => Parameter::Nonce,
                CNONCE => Parameter::Cnonce,
                OPAQUE => Parameter::Opaque,
                _ => return None,
            };
            let len = usize::try_from(marks.trailing_zeros() / 8).ok()? + 1;
            (parameter, self.rest.get(len..)?)
        };
        // a NUL at the end of a name would be taken for the end of the word
        self.plain.then(|| {
            self.rest = rest;
            parameter
        })
    }

    /// Any name and the `=` behind it.
    fn any_name(&mut self) -> Option<Parameter> {
        let name = self.token();
        self.skip_white_space();
        (!name.is_empty() && self.skip(b'=')).then(|| Parameter::from_name(name))
    }

    /// The rest of a quoted string, whose opening quote is read.
    #[inline]
    fn quoted(&mut self) -> Option<Value<'a>> {
        if !self.plain {
            return self.quoted_by_bytes();
        }
        let (raw, rest) = self.rest.split_at_checked(quote(self.rest)?)?;
        self.rest = rest.get(1..)?;
        Some(Value { raw, quoted: true, escaped: false })
    }

    #[cold]
    fn quoted_by_bytes(&mut self) -> Option<Value<'a>> {
        let mut escaped = false;
        let mut bytes = self.rest.iter().enumerate();
        loop {
            match bytes.find(|&(_, &byte)| !is(byte, QUOTED_TEXT))? {
                (len, b'"') => {
                    let (raw, rest) = self.rest.split_at_checked(len)?;
                    self.rest = rest.get(1..)?;
                    return Some(Value { raw, quoted: true, escaped });
                }
                (_, b'\\') => {
                    escaped = true;
                    bytes.next().filter(|(_, byte)| matches!(byte, b' '..=b'~'))?;
                }
                _ => return None,
            }
        }
    }

    #[inline]
    fn token(&mut self) -> &'a [u8] {
        let len = self.rest.iter().take_while(|&&byte| is(byte, TOKEN)).count();
        let (token, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        token
    }

    /// Spaces, tabs and folds (CRLF and a space or tab); whether there were any.
    #[inline]
    fn skip_white_space(&mut self) -> bool {
        if self.rest.first().is_some_and(|byte| *byte > b' ') {
            return false;
        }
        let before = self.rest.len();
        while let [b' ' | b'\t', rest @ ..] | [b'\r', b'\n', b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.len() < before
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}
