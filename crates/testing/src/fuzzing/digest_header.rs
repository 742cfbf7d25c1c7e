//! Parses bytes as the value of a credentials header.

use sip_authz::digest::{
    Credentials, MAX_HEX_LEN, MAX_USERNAME, Parsed, Username, parse as parse_credentials, split,
};

use super::FUZZ_REALM;
use crate::digest_header_oracle::{OracleCredentials, OracleParsed};

/// Parses `value` as a credentials header, and checks the guarantees of every result. Then passes the
/// result to `compare`, which runs another parser.
pub fn fuzz_digest_header(value: &[u8], compare: impl FnOnce(&Parsed<'_>)) {
    let parsed = parse_credentials(value, FUZZ_REALM);
    if let Parsed::Credentials(credentials) = &parsed {
        check_credentials(credentials);
    }
    let parts: Vec<_> = split(value).collect();
    assert!(parts.concat() == value && !parts.is_empty(), "split");
    if matches!(parsed, Parsed::Credentials(_)) {
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
        assert!(fields.nc != 0 && (1..=8).contains(&fields.nc_text.len()), "nc");
        let nc_text = str::from_utf8(fields.nc_text).unwrap_or_default();
        assert_eq!(u32::from_str_radix(nc_text, 16), Ok(fields.nc), "nc");
    }
}

/// The result of the parser in the type of the reference parser.
pub fn in_oracle_terms(parsed: &Parsed<'_>) -> OracleParsed {
    let credentials = match parsed {
        Parsed::Ignored => return OracleParsed::Ignored,
        Parsed::Unreadable => return OracleParsed::Unreadable,
        Parsed::Incomplete => return OracleParsed::Incomplete,
        Parsed::Malformed { nonce, defect } => {
            return OracleParsed::Malformed(defect.to_string(), nonce.to_vec());
        }
        Parsed::Credentials(credentials) => credentials,
    };
    OracleParsed::Credentials(OracleCredentials {
        username: credentials.username.as_str().to_owned(),
        is_hash: matches!(credentials.username, Username::Hash(_)),
        nonce: credentials.nonce.to_vec(),
        uri: credentials.uri.to_vec(),
        response: credentials.response.to_vec(),
        algorithm: credentials.algorithm.name().to_owned(),
        qop: credentials.qop.map(|fields| {
            let qop = fields.qop.name().to_owned();
            (qop, fields.cnonce.to_vec(), fields.nc, fields.nc_text.to_vec())
        }),
    })
}
