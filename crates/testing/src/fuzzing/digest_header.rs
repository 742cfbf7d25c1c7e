//! Parses bytes as the value of a credentials header.

use sip_authz::digest::{Credentials, Parsed, Username, parse as parse_credentials};

use super::FUZZ_REALM;
use sip_authz::digest::{MAX_HEX_LEN, MAX_USERNAME};

/// Parses `value` as a credentials header, and checks the guarantees of every result. Then passes the
/// result to `compare`, which runs another parser.
pub fn fuzz_digest_header(value: &[u8], compare: impl FnOnce(&Parsed<'_>)) {
    let parsed = parse_credentials(value, FUZZ_REALM);
    if let Parsed::Credentials(credentials) = &parsed {
        check_credentials(credentials);
    }
    if !matches!(parsed, Parsed::Ignored | Parsed::Malformed(_)) {
        let other = parse_credentials(value, "EXAMPLE.com");
        assert!(matches!(other, Parsed::Ignored), "credentials for two realms");
    }
    compare(&parsed);
}

fn check_credentials(credentials: &Credentials<'_>) {
    let sound = |value: &[u8], max: usize| {
        let clean = |byte: &u8| !byte.is_ascii_control() && !b"\"\\".contains(byte);
        (1..=max).contains(&value.len()) && value.iter().all(clean)
    };
    assert!(sound(credentials.nonce, 256), "nonce");
    assert!(sound(credentials.uri, 1024), "uri");
    assert!(sound(credentials.response, 128), "response");
    let name = credentials.username.as_str();
    let max = match &credentials.username {
        Username::Plain(_) => MAX_USERNAME,
        Username::Hash(_) => MAX_HEX_LEN,
    };
    assert!((1..=max).contains(&name.len()), "length of the name");
    assert!(!name.contains(char::is_control), "control character in the name");
    if let Username::Hash(hash) = &credentials.username {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(hash.len() >= 32 && hash.bytes().all(digit), "userhash");
    }
    assert!(credentials.qop.is_some() || !credentials.algorithm.is_session(), "-sess without qop");
    if let Some(fields) = credentials.qop {
        assert!(sound(fields.cnonce, 256), "cnonce");
        assert!(fields.nc != 0 && fields.nc_text.len() == 8, "nc");
        let nc_text = str::from_utf8(fields.nc_text).unwrap_or_default();
        assert_eq!(u32::from_str_radix(nc_text, 16), Ok(fields.nc), "nc");
    }
}
