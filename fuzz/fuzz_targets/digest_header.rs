//! Bytes as the value of a credentials header, compared with the slow parser of the tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::digest_header_oracle as oracle;
use sip_authz_testing::fuzzing::{FUZZ_REALM, fuzz_digest_header, in_oracle_terms};

fuzz_target!(|value: &[u8]| {
    fuzz_digest_header(value, |parsed| {
        assert_eq!(in_oracle_terms(parsed), oracle::parse(value, FUZZ_REALM));
    });
});
