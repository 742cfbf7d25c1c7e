//! Reads the realm of credentials, for a proxy that removes those for its own realms (RFC 3261 §22.3).

use arrayvec::ArrayVec;

use super::reader::{Reader, Value};
use super::{InlineText, Parameter};

/// The maximum length of a realm in bytes, after unescaping.
pub const MAX_REALM: usize = 128;

/// The realms that one set of digest credentials names: usually one. `value` is a header value, or a
/// part of one from [`split`](super::split).
///
/// These are the realms for which [`parse`](super::parse) does not ignore the credentials. A text that
/// is longer than [`MAX_REALM`] or not UTF-8 is the realm of no credential list and is left out. Other
/// schemes than Digest have none. Allocates nothing.
pub fn realms(value: &[u8]) -> impl Iterator<Item = InlineText<MAX_REALM>> + '_ {
    let mut reader = Reader::new(value);
    let mut is_readable = reader.digest_scheme();
    std::iter::from_fn(move || {
        while is_readable && reader.next_element() {
            let parameter = reader.parameter();
            is_readable = parameter.is_some() && reader.element_ends();
            if let Some((Parameter::Realm, value)) = parameter
                && let Some(realm) = text(value)
            {
                return Some(realm);
            }
        }
        None
    })
}

fn text(value: Value<'_>) -> Option<InlineText<MAX_REALM>> {
    let mut bytes = ArrayVec::<u8, MAX_REALM>::new();
    for byte in value.unescaped() {
        bytes.try_push(byte).ok()?;
    }
    let text = arrayvec::ArrayString::from(str::from_utf8(&bytes).ok()?);
    text.ok().map(InlineText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Parsed, parse};
    use super::*;

    fn read(value: &[u8]) -> Vec<String> {
        realms(value).map(|realm| realm.to_string()).collect()
    }

    #[test]
    fn every_realm_up_to_a_syntax_error_is_read() {
        let longest = "r".repeat(MAX_REALM);
        for (value, expected) in [
            (r#"Digest realm="a b""#, vec!["a b"]),
            (r#"digest username="x",REALM = a, nonce=n"#, vec!["a"]),
            (r#"Digest realm="a", realm="b\"\\c""#, vec!["a", "b\"\\c"]),
            (r#"Digest realm="a", =, realm="b""#, vec!["a"]),
            (r#"Digest x="realm=a", realm="""#, vec![""]),
            (r#"Digest realm="a"#, vec![]),
            (r#"Basic realm="a""#, vec![]),
            ("", vec![]),
            (&format!("Digest realm=\"{longest}\""), vec![&longest]),
            (&format!("Digest realm=\"{longest}r\", realm=b"), vec!["b"]),
        ] {
            assert_eq!(read(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(read(b"Digest realm=\"\xff\", realm=\"\xc3\xa9\""), ["é"]);
    }

    proptest! {
        /// The parser of the decision and this one agree on which credentials are ours.
        #[test]
        fn agrees_with_parse(
            value in r#"(Digest )?((realm|nonce|Realm|x)? ?= ?("(a|b|\\a|\\\\|é){0,2}"|a|b)[, x]{1,2}){0,5}"#,
            realm in "a|b|aa|ab|é|\\\\",
        ) {
            let is_ours = !matches!(parse(value.as_bytes(), &realm), Parsed::Ignored);
            prop_assert_eq!(read(value.as_bytes()).contains(&realm), is_ours, "{}", value);
        }
    }
}
