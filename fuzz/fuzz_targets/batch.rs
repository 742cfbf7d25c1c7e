//! Bytes as batches of INVITEs: batch decisions must equal single decisions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_batch;

fuzz_target!(|bytes: &[u8]| {
    fuzz_batch(bytes);
});
