//! The fields of queries and forms.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

/// The characters that a query value keeps.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// The fields of a query or form. They may hold passwords, so they are wiped.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, Zeroizing<String>)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(text: &str) -> Self {
        let decode = |text: &str| {
            let spaced = Zeroizing::new(text.replace('+', " "));
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let field = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), Zeroizing::new(decode(value)))
        };
        Self(pairs.map(field).collect())
    }

    /// The first field of this name, as sent; empty if there is none.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The first field of this name without spaces around; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Whether there is a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// A query of the pairs with a value, with its question mark; empty if there are none.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.extend(utf8_percent_encode(value, VALUE));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_queries_keep_their_values() {
        let fields = Fields::read("a=1&b=x+y%26%3C&a=2&c&=z&%ff=%ff");
        assert_eq!((fields.get("a"), fields.raw("b"), fields.get("none")), ("1", "x y&<", ""));
        assert!(fields.has("c") && !fields.has("d"));
        let written = query(&[("u", "a&b=c <\u{e9}>\"'"), ("none", ""), ("d", "sip.example")]);
        assert_eq!(written, "?u=a%26b%3Dc%20%3C%C3%A9%3E%22%27&d=sip.example");
        let read = Fields::read(&written[1..]);
        assert_eq!(read.raw("u"), "a&b=c <\u{e9}>\"'");
    }
}
