//! The realms that a credentials field names, read more widely than by any server.

use std::borrow::Cow;

use crate::fields::is_token_byte;

/// The realms in the value of an Authorization or Proxy-Authorization field, whatever its scheme.
///
/// Every parameter `realm` counts, in any case: repeated ones, those within quotes, and those of
/// credentials that are joined by commas or malformed. So credentials are not passed on because another
/// server reads them in another way. A realm with escapes is given twice: unescaped, and as sent.
/// Bytes that are not UTF-8 are replaced.
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
            let before = start.checked_sub(1).and_then(|before| rest.get(before));
            let before = before.or_else(|| value.get(at.checked_sub(1)?));
            at += start + NAME.len();
            if before.is_some_and(|byte| is_token_byte(*byte)) {
                continue;
            }
            if let Some(text) = value.get(at..).and_then(realm) {
                return Some(text);
            }
        }
    });
    texts.flat_map(|text| {
        let unescaped = text.contains(&b'\\').then(|| unescape(text));
        [unescaped.map(Cow::Owned), Some(String::from_utf8_lossy(text))].into_iter().flatten()
    })
}

const NAME: &[u8] = b"realm";
/// The maximum length of a realm that is read, so that the time is linear. No realm of a list is longer.
const MAX_LEN: usize = 512;

/// The value after the name of the parameter, without quotes; `None` if there is no `=`.
fn realm(after: &[u8]) -> Option<&[u8]> {
    let text = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let text = text.get(..MAX_LEN).unwrap_or(text);
    let end = match text.strip_prefix(b"\"") {
        Some(quoted) => {
            let mut escaped = false;
            let closes = |byte: &u8| {
                let closes = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                closes
            };
            return quoted.get(..quoted.iter().position(closes).unwrap_or(quoted.len()));
        }
        None => text.iter().position(|byte| b" \t\r\n,;\"".contains(byte)),
    };
    text.get(..end.unwrap_or(text.len()))
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
            ("Digest realm=a;nonce=n", vec!["a"]),
            ("Digest realm=\"\"", vec![""]),
            ("Digest realm=", vec![""]),
            ("Digest realm=\"open", vec!["open"]),
            ("Digest realm=\"a\"b\"", vec!["a"]),
            ("Digest realm=\"a\\.b\\\"c\"", vec!["a.b\"c", "a\\.b\\\"c"]),
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
