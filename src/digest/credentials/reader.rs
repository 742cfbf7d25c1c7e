//! A reader for the grammar of a credentials header.

use super::Parameter;

/// A value as sent: a token, or the content of a quoted string.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) raw: &'a [u8],
    pub(super) quoted: bool,
    /// Whether `raw` has quoted-pairs. Only ASCII characters can be escaped.
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

/// The classes of each byte: allowed in a token (RFC 7230 §3.2.6, which allows a few more
/// characters than RFC 3261), and allowed unescaped in a quoted string.
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

/// Whether a token may contain `byte`.
#[inline(always)]
pub(super) fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Reads the grammar; `rest` is the unread part.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// Reads the whole scheme and the white space after it; false if it is not Digest.
    pub(super) fn digest_scheme(&mut self) -> bool {
        self.skip_white_space();
        let is_digest = self.token().eq_ignore_ascii_case(b"Digest");
        is_digest && self.skip_white_space()
    }

    /// The number of bytes of white space before a scheme that a space and more text follow; `None`
    /// for something else, for example a parameter.
    pub(super) fn credentials_start(&mut self) -> Option<usize> {
        let before = self.rest.len();
        self.skip_white_space();
        let spaces = before - self.rest.len();
        let is_scheme = !self.token().is_empty() && self.skip_white_space();
        // a parameter or a token68 (RFC 7235 §2.1), which may start with a slash
        let more = matches!(self.rest, [byte, ..] if is_token(*byte) || *byte == b'/');
        (is_scheme && more).then_some(spaces)
    }

    /// Moves to the next list element that is not empty; false at the end.
    pub(super) fn next_element(&mut self) -> bool {
        self.skip_white_space();
        while self.skip(b',') {
            self.skip_white_space();
        }
        !self.rest.is_empty()
    }

    /// Skips white space and returns whether the list element ends there.
    pub(super) fn element_ends(&mut self) -> bool {
        self.skip_white_space();
        matches!(self.rest, [] | [b',', ..])
    }

    /// Reads `name = value`.
    pub(super) fn parameter(&mut self) -> Option<(Parameter, Value<'a>)> {
        let name = self.name()?;
        self.skip_white_space();
        if self.skip(b'"') {
            return self.quoted().map(|value| (name, value));
        }
        let raw = self.token();
        (!raw.is_empty()).then_some((name, Value { raw, quoted: false, escaped: false }))
    }

    /// Reads a name and its `=`.
    fn name(&mut self) -> Option<Parameter> {
        let name = self.token();
        self.skip_white_space();
        (!name.is_empty() && self.skip(b'=')).then(|| Parameter::from_name(name))
    }

    /// Reads a quoted string after its opening quote.
    fn quoted(&mut self) -> Option<Value<'a>> {
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

    fn token(&mut self) -> &'a [u8] {
        let len = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        token
    }

    /// Skips spaces, tabs and folds (CRLF and a space or tab); returns whether there were any.
    fn skip_white_space(&mut self) -> bool {
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
