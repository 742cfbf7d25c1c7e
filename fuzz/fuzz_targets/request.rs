//! Bytes as a datagram, parsed and decided; checks the decision.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_request;

fuzz_target!(|bytes: &[u8]| {
    fuzz_request(bytes);
});
