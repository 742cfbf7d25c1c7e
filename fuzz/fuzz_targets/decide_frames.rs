//! Bytes as a stream of the decision service, compared with a slow second reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::fuzz_decide_frames;

fuzz_target!(|bytes: &[u8]| {
    fuzz_decide_frames(bytes);
});
