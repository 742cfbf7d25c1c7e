//! Bytes as a sequence of commits, applied in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_commits;

fuzz_target!(|bytes: &[u8]| fuzz_commits(bytes));
