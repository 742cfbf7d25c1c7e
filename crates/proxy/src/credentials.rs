//! The realms that a credentials field names, read more widely than by any server.

use std::borrow::Cow;

use crate::fields::is_token_byte;

/// The realms in the value of an Authorization or Proxy-Authorization field, whatever its scheme.
///
/// Every parameter `realm` counts, in any case: repeated ones, those within quotes, and those of
/// credentials that are joined by commas or malformed. So no credentials are passed on because another
/// server reads them in another way. If servers differ about the end or the escapes of a realm, each
/// reading is given. Bytes that are not UTF-8 are replaced, and a text ends after 512 bytes.
///
/// Compare realms in any case: RFC 7616 §3.4 requires equal texts, but Kamailio ignores case.
///
/// Allocates only for a realm with escapes, and for one that is not UTF-8.
pub fn named_realms(value: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let mut at = 0;
    let texts = std::iter::from_fn(move || {
        loop {
            let rest = value.get(at..)?;
            let start =
                rest.windows(NAME.len()).position(|name| name.eq_ignore_ascii_case(NAME))?;
            let before = (at + start).checked_sub(1).and_then(|before| value.get(before));
            at += start + NAME.len();
            if before.is_some_and(|byte| is_token_byte(*byte)) {
                continue;
            }
            if let Some(text) = value.get(at..).and_then(after_equals) {
                return Some(text);
            }
        }
    });
    texts.flat_map(readings).flatten()
}

const NAME: &[u8] = b"realm";
/// The maximum length of a realm that is read, so that the time is linear. No realm of a list is longer.
const MAX_LEN: usize = 512;

/// The text after the `=` of a parameter.
fn after_equals(after: &[u8]) -> Option<&[u8]> {
    let text = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    Some(text.get(..MAX_LEN).unwrap_or(text))
}

/// The values that servers read at the start of a text.
fn readings(text: &[u8]) -> [Option<Cow<'_, str>>; 3] {
    let until = |text: &'static [u8]| move |byte: &u8| text.contains(byte);
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // Kamailio ends a token at white space and commas only
        let longest = cut(text, until(b" \t\r\n,"));
        let token = cut(longest, until(b";\""));
        let shorter = (token.len() < longest.len()).then(|| String::from_utf8_lossy(token));
        return [Some(String::from_utf8_lossy(longest)), shorter, None];
    };
    // Kamailio knows no escapes
    let first = cut(quoted, until(b"\""));
    let mut escaped = false;
    let closed = cut(quoted, |byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    let unescaped = closed.contains(&b'\\').then(|| Cow::Owned(unescape(closed)));
    let raw = (first.len() < closed.len()).then(|| String::from_utf8_lossy(closed));
    [unescaped, raw, Some(String::from_utf8_lossy(first))]
}

/// The text before the first byte that ends it.
fn cut(text: &[u8], ends: impl FnMut(&u8) -> bool) -> &[u8] {
    let end = text.iter().position(ends).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Removes the backslashes of quoted-pairs.
fn unescape(text: &[u8]) -> String {
    let mut bytes = text.iter().copied();
    let unescaped = std::iter::from_fn(|| match bytes.next() {
        Some(b'\\') => bytes.next(),
        byte => byte,
    });
    String::from_utf8_lossy(&unescaped.collect::<Vec<_>>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_realm_counts() {
        for (value, expected) in [
            ("", vec![]),
            ("Basic eA==", vec![]),
            ("Digest username=\"a\"", vec![]),
            ("Digest realm=\"a.example\", nonce=\"n\"", vec!["a.example"]),
            ("DIGEST REALM = \"a\"", vec!["a"]),
            ("Digest\r\n\trealm\r\n =\r\n \"a b\"", vec!["a b"]),
            ("realm=\"a\"", vec!["a"]),
            ("Digest realm=a,nonce=n", vec!["a"]),
            ("Digest realm=a;nonce=n", vec!["a;nonce=n", "a"]),
            ("Digest realm=a\"b,c", vec!["a\"b", "a"]),
            ("Digest realm=\"\"", vec![""]),
            ("Digest realm=", vec![""]),
            ("Digest realm=\"open", vec!["open"]),
            ("Digest realm=\"a\"b\"", vec!["a"]),
            ("Digest realm=\"a\\.b\\\"c\"", vec!["a.b\"c", "a\\.b\\\"c", "a\\.b\\"]),
            ("Digest realm=\"x\\\", realm=\"a\"", vec!["x\", realm=", "x\\\", realm=", "x\\", "a"]),
            ("Digest,realm=\"a\\b\"", vec!["ab", "a\\b"]),
            ("Digest realm=\"a\",realm=\"b\"", vec!["a", "b"]),
            ("Digest realm=\"a\", x=y, Digest realm=\"b\"", vec!["a", "b"]),
            ("Digest opaque=\"x, realm=b,\", realm=\"a\"", vec!["b", "a"]),
            ("Digest nonce=\"open, realm=\"a\"", vec!["a"]),
            ("Digest xrealm=\"b\",realmx=\"c\",realm\"d\",realm:e,realm=\"a\"", vec!["a"]),
            ("Digest realm realm=a", vec!["a"]),
            ("Digest realmrealm=b,realm=a", vec!["a"]),
            ("Digest realm", vec![]),
        ] {
            let read: Vec<_> = named_realms(value.as_bytes()).collect();
            assert_eq!(read, expected, "{value}");
        }
        let read: Vec<_> = named_realms(b"Digest realm=\"\xff\"").collect();
        assert_eq!(read, ["\u{fffd}"]);
    }
}
