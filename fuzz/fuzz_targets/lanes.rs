//! Any messages, hashed by every set of instructions that the machine has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_lanes;

fuzz_target!(|bytes: &[u8]| {
    fuzz_lanes(bytes);
});
