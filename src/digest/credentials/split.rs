//! Splits a header field that holds several credentials. RFC 3261 §7.3.1 forbids to join them with
//! commas, and some clients do it.

use super::reader::Reader;

/// The credentials in a header value, in order: usually one, the whole value.
///
/// New credentials start where a scheme, a space and more text follow a comma: `, Digest username=`.
/// A comma in a quoted string separates nothing. The parts cover the whole value, and none is parsed
/// yet. Time is linear in the length of `value`.
pub fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, next) = match next_credentials(text) {
            Some(at) => (text.get(..at)?, text.get(at..)),
            None => (text, None),
        };
        rest = next;
        Some(part)
    })
}

/// The position of the scheme of the second credentials in `text`.
fn next_credentials(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += comma(text.get(from..)?)? + 1;
        let behind = text.get(from..)?;
        if let Some(spaces) = Reader::new(behind).credentials_start() {
            return Some(from + spaces);
        }
    }
}

/// The position of the first comma outside of quoted strings. An unclosed string has no end.
fn comma(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(value: &str) -> Vec<&str> {
        split(value.as_bytes()).map(|part| str::from_utf8(part).unwrap()).collect()
    }

    #[test]
    fn a_scheme_after_a_comma_starts_new_credentials() {
        for (value, expected) in [
            ("", vec![""]),
            ("Digest a=b, c=d", vec!["Digest a=b, c=d"]),
            ("Digest a=b, Digest c=d,e=f", vec!["Digest a=b, ", "Digest c=d,e=f"]),
            ("Digest a=b,Digest c=d", vec!["Digest a=b,", "Digest c=d"]),
            ("Digest a=b,\r\n\tdigest  c = d", vec!["Digest a=b,\r\n\t", "digest  c = d"]),
            ("Basic eA==, Digest a=b, x", vec!["Basic eA==, ", "Digest a=b, x"]),
            ("Digest a=b, Basic /A==, c", vec!["Digest a=b, ", "Basic /A==, c"]),
            (
                "Digest a=b, NTLM c=\"d\", Digest e=f",
                vec!["Digest a=b, ", "NTLM c=\"d\", ", "Digest e=f"],
            ),
            // no scheme, nothing behind it, or within a quoted string
            ("Digest a=b, c =d", vec!["Digest a=b, c =d"]),
            ("Digest a=b, Digest", vec!["Digest a=b, Digest"]),
            ("Digest a=\", Digest c=d\"", vec!["Digest a=\", Digest c=d\""]),
            ("Digest a=\"\\\", Digest c=d\"", vec!["Digest a=\"\\\", Digest c=d\""]),
            ("Digest a=\"b, Digest c=d", vec!["Digest a=\"b, Digest c=d"]),
        ] {
            assert_eq!(parts(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_value(value in r#"(Digest | |,|"|\\|a|=|\t|\r\n ){0,30}"#) {
            let parts = parts(&value);
            prop_assert_eq!(&parts.concat(), &value);
            prop_assert!(parts.iter().skip(1).all(|part| !part.starts_with([',', ' ', '\t'])));
        }
    }
}
