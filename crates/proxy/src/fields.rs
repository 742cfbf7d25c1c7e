//! The header fields of a message with all their bytes, and the values that a field lists.

use memchr::{memchr, memchr2};
use sip_authz::message::{Field, Message};

/// A header field with its bytes.
#[derive(Clone, Copy)]
pub(crate) struct RawField<'a> {
    pub(crate) field: Field<'a>,
    /// The whole field, with its folds and line end.
    pub(crate) raw: &'a [u8],
}

impl<'a> RawField<'a> {
    /// The bytes before the value, and those after it. There must be no space before the colon.
    pub(crate) fn around_value(&self) -> (&'a [u8], &'a [u8]) {
        let after = self.raw.get(self.field.name.len() + 1..).unwrap_or_default();
        let spaces = after.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        let start = self.raw.len() - after.len() + spaces;
        let before = self.raw.get(..start).unwrap_or(self.raw);
        (before, self.raw.get(start + self.field.value.len()..).unwrap_or_default())
    }

    /// Whether the value has line ends: inside, before or after its text.
    pub(crate) fn is_folded(&self) -> bool {
        memchr(b'\n', self.raw).is_some_and(|end| end + 1 < self.raw.len())
    }

    /// Whether the name is followed by the colon at once.
    pub(crate) fn has_tight_colon(&self) -> bool {
        self.raw.get(self.field.name.len()) == Some(&b':')
    }

    /// The folded lines, without the white space that they begin with.
    pub(crate) fn folded_lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.raw.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::trim_ascii_start)
    }
}

/// The fields of a message without a defect, in order.
pub(crate) fn raw_fields<'a>(message: &Message<'a>) -> impl Iterator<Item = RawField<'a>> {
    message.fields().map(|field| RawField { field, raw: field.raw })
}

/// The bytes after the first LF.
pub(crate) fn after_line(bytes: &[u8]) -> &[u8] {
    memchr(b'\n', bytes).and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
}

/// The values in a list, which commas separate (RFC 3261 §7.3.1), each without white space around it.
/// A comma within quotes or angle brackets separates nothing.
#[derive(Clone)]
pub(crate) struct Values<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(list: &'a [u8]) -> Self {
        Self { rest: Some(list) }
    }

    /// The text of the values that are still to come; `None` after the last one.
    pub(crate) fn rest(&self) -> Option<&'a [u8]> {
        self.rest.map(<[u8]>::trim_ascii_start)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let (value, after) = match find_comma(text) {
            Some(end) => (text.get(..end)?, text.get(end + 1..)),
            None => (text, None),
        };
        self.rest = after;
        Some(value.trim_ascii())
    }
}

/// The position of the first comma outside of quotes and angle brackets.
fn find_comma(text: &[u8]) -> Option<usize> {
    // most fields have one value
    memchr(b',', text)?;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b',' => return Some(at),
            b'<' => at += memchr(b'>', text.get(at..)?)?,
            b'"' => at += quoted_len(text.get(at..)?)? - 1,
            _ => {}
        }
        at += 1;
    }
}

/// The length of the quoted string at the start of the text, with its quotes. `None` if it has no end.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Whether a byte can be part of a token (RFC 3261 §25.1).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    // the compiler makes a bit test of this, but a loop of `contains`
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_by_commas_outside_quotes_and_brackets() {
        for (list, expected) in [
            ("", vec![""]),
            ("a", vec!["a"]),
            (" a ,\tb,", vec!["a", "b", ""]),
            (
                "<sip:a,b@c>, \"d, \\\", e\" <f>;x=\",\" ,g",
                vec!["<sip:a,b@c>", "\"d, \\\", e\" <f>;x=\",\"", "g"],
            ),
            ("<a, b", vec!["<a, b"]),
            ("\"a, b", vec!["\"a, b"]),
            ("\"a\\", vec!["\"a\\"]),
            ("<\">, \"b\"", vec!["<\">", "\"b\""]),
        ] {
            let read: Vec<_> =
                Values::new(list.as_bytes()).map(|value| str::from_utf8(value).unwrap()).collect();
            assert_eq!(read, expected, "{list}");
        }
        let mut values = Values::new(b"a ,  b , c");
        assert_eq!(values.next(), Some(&b"a"[..]));
        assert_eq!(values.rest(), Some(&b"b , c"[..]));
        assert_eq!(values.by_ref().count(), 2);
        assert_eq!(values.rest(), None);
    }

    #[test]
    fn fields_have_all_their_bytes() {
        let head = "OPTIONS sip:a SIP/2.0\r\nVia:x \r\nFrom:\t<sip:a>\r\nS : a\r\n b\r\n\tc\r\n\
                    Empty:\r\nTo: b\r\n\r\n";
        let message = Message::scan(head.as_bytes()).unwrap();
        let fields: Vec<_> = raw_fields(&message).collect();
        let raw: Vec<_> = fields.iter().map(|field| field.raw).collect();
        assert_eq!(
            [&b"OPTIONS sip:a SIP/2.0\r\n"[..], &raw.concat(), b"\r\n"].concat(),
            head.as_bytes()
        );
        assert_eq!(raw.len(), 5);
        assert_eq!(fields[0].around_value(), (&b"Via:"[..], &b" \r\n"[..]));
        assert_eq!(fields[1].around_value(), (&b"From:\t"[..], &b"\r\n"[..]));
        assert_eq!(fields[3].around_value(), (&b"Empty:\r\n"[..], &b""[..]));
        let folded: Vec<_> = fields.iter().map(RawField::is_folded).collect();
        assert_eq!(folded, [false, false, true, false, false]);
        let tight: Vec<_> = fields.iter().map(RawField::has_tight_colon).collect();
        assert_eq!(tight, [true, true, false, true, true]);
        let lines: Vec<_> = fields[2].folded_lines().collect();
        assert_eq!(lines, [&b"b\r"[..], b"c\r", b""]);
    }
}
