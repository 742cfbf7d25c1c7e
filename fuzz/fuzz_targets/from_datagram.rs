//! Bytes as a datagram, parsed and compared with rsip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_from_datagram;

fuzz_target!(|bytes: &[u8]| {
    fuzz_from_datagram(bytes);
});
