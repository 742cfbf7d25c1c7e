//! Bytes as the parts that a SIP stack has parsed, compared with the datagram of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_fields;

fuzz_target!(|bytes: &[u8]| {
    fuzz_fields(bytes);
});
