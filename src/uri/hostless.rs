//! URIs without a host that a call can have as its Request-URI: `tel:` (RFC 3966) and
//! `urn:service:` (RFC 5031).

use super::MAX_URI;

/// The number of a `tel:` URI as sent: with `+` and visual separators, without parameters. None for
/// any other URI, and for one that is not well-formed.
///
/// RFC 3966 §3 requires `phone-context` for a local number; this function does not, because phones
/// leave it out.
#[must_use]
pub fn tel_number(uri: &str) -> Option<&str> {
    let rest = strip_scheme(uri, "tel:")?;
    let (number, params) = match rest.split_once(';') {
        Some((number, params)) => (number, Some(params)),
        None => (rest, None),
    };
    let digits = number.strip_prefix('+').unwrap_or(number);
    let is_global = digits.len() < number.len();
    // RFC 3966 §3: phonedigit, phonedigit-hex
    let is_digit = |byte: u8| match byte {
        b'0'..=b'9' => true,
        b'A'..=b'F' | b'a'..=b'f' | b'*' | b'#' => !is_global,
        _ => false,
    };
    let fits = |byte: u8| is_digit(byte) || b"-.()".contains(&byte);
    let is_number = digits.bytes().any(is_digit) && digits.bytes().all(fits);
    // another parser could take these for the end of the URI or of a user part
    let is_param = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\@?#".contains(&byte);
    let are_params = params.is_none_or(|params| params.bytes().all(is_param));
    (is_number && are_params).then_some(number)
}

/// Whether this is a service URN (RFC 5031 §4.1), such as `urn:service:sos`.
fn is_service_urn(uri: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    strip_scheme(uri, "urn:service:").is_some_and(|service| service.split('.').all(is_label))
}

/// Whether this is a well-formed URI of a call without a host.
pub(crate) fn is_hostless(uri: &str) -> bool {
    uri.len() <= MAX_URI && (tel_number(uri).is_some() || is_service_urn(uri))
}

/// The text after a scheme in any case.
fn strip_scheme<'t>(uri: &'t str, scheme: &str) -> Option<&'t str> {
    let (start, rest) = uri.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_tel_uris() {
        for (uri, number) in [
            ("tel:+14155550100", "+14155550100"),
            ("TEL:911", "911"),
            ("tel:+1-(415)-555.0100;ext=5", "+1-(415)-555.0100"),
            ("tel:7042;phone-context=example.com", "7042"),
            ("tel:*67#", "*67#"),
            ("tel:863-1234;phone-context=+1-914-555", "863-1234"),
            ("tel:1;", "1"),
        ] {
            assert_eq!(tel_number(uri), Some(number), "{uri}");
            assert!(is_hostless(uri), "{uri}");
        }
        for uri in [
            "",
            "tel",
            "tel:",
            "tel:+",
            "tel:-",
            "tel:;ext=1",
            "tel:+a1",
            "tel:+1#",
            "tel:alice",
            "tel:1@b",
            "tel:1;x=a@b",
            "tel:1;x=<y>",
            "tel:1;x=\"",
            "tel:1;x=\\",
            "tel:1;x= y",
            "tel:1;x=?y",
            "tel:1?a=b",
            "tel:1 2",
            "tel: 1",
            "tel:1\u{f6}",
            "tel:+1\r\nX: y",
            "sip:1@b",
            "tell:1",
            "telé:1",
        ] {
            assert_eq!(tel_number(uri), None, "{uri:?}");
            assert!(!is_hostless(uri), "{uri:?}");
        }
        assert!(!is_hostless(&format!("tel:{}", "1".repeat(MAX_URI))));
    }

    #[test]
    fn service_urns() {
        for uri in
            ["urn:service:sos", "URN:Service:sos.police", "urn:service:counseling.child-care"]
        {
            assert!(is_hostless(uri), "{uri}");
        }
        for uri in [
            "urn:service:",
            "urn:service:.",
            "urn:service:sos.",
            "urn:service:-sos",
            "urn:service:a b",
            "urn:service:sos@b",
            "urn:service:sos;x",
            "urn:service:sos?x",
            "urn:uuid:1",
            "urn:service",
            "urn:nena:service:sos",
        ] {
            assert!(!is_hostless(uri), "{uri:?}");
        }
    }
}
