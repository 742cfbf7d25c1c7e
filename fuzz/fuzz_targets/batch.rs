//! Any bytes as batches of INVITEs: decided at once, and one by one by a twin.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_batch;

fuzz_target!(|bytes: &[u8]| {
    fuzz_batch(bytes);
});
