//! Bytes as messages, hashed with every instruction set of the machine.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_lanes;

fuzz_target!(|bytes: &[u8]| {
    fuzz_lanes(bytes);
});
