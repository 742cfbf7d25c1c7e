//! Bytes as the value of a credentials header, compared with the slow parser of the tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{OracleCredentials, OracleParsed};
use sip_authz::digest::{Parsed, Username};
use sip_authz_testing::digest_header_oracle as oracle;
use sip_authz_testing::fuzzing::{FUZZ_REALM, fuzz_digest_header};

fuzz_target!(|value: &[u8]| {
    fuzz_digest_header(value, |parsed| {
        assert_eq!(in_oracle_terms(parsed), oracle::parse(value, FUZZ_REALM));
    });
});

fn in_oracle_terms(parsed: &Parsed<'_>) -> OracleParsed {
    let credentials = match parsed {
        Parsed::Ignored => return OracleParsed::Ignored,
        Parsed::Empty => return OracleParsed::Empty,
        Parsed::Malformed(kind) => return OracleParsed::Malformed(kind.to_string()),
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
