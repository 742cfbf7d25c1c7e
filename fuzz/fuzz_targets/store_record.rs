//! Bytes as a key and value of a store, decoded, encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_store_record;

fuzz_target!(|bytes: &[u8]| {
    fuzz_store_record(bytes);
});
