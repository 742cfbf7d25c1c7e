//! Bytes as a message that a proxy forwards, compared with a slow second writer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_forward;

fuzz_target!(|bytes: &[u8]| {
    fuzz_forward(bytes);
});
