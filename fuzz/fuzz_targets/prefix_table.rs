//! Bytes as a list of prefixes: table lookups compared with a scan of the list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_prefix_table;

fuzz_target!(|bytes: &[u8]| {
    fuzz_prefix_table(bytes);
});
