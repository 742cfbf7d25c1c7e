//! Any bytes as a key and a value of a store: read, written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_store_record;

fuzz_target!(|bytes: &[u8]| {
    fuzz_store_record(bytes);
});
