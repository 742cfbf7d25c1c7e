//! Bytes as changed and replayed messages of calls before a proxy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_proxy;

fuzz_target!(|bytes: &[u8]| {
    fuzz_proxy(bytes);
});
