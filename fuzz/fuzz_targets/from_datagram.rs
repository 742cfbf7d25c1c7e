//! Any bytes as a datagram: what is read in them, compared with what rsip reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_from_datagram;

fuzz_target!(|bytes: &[u8]| {
    fuzz_from_datagram(bytes);
});
