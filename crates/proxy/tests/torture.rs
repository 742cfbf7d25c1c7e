//! The torture messages of RFC 4475 and RFC 5118 as a proxy: which ones are forwarded, and why others
//! are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::{Message, StartLine};
use sip_authz_proxy::Strict;
use sip_authz_testing::fuzzing::fuzz_forward;
use sip_authz_testing::torture::{CASES, Intent};

/// Valid messages that are not forwarded. The RFC lets each hop read these forms, but hops read them in
/// different ways.
const REFUSED: [(&str, &str); 5] = [
    ("rfc4475/wsinv", "space before the colon of a header field"),
    ("rfc4475/intmeth", "control character in the head"),
    ("rfc4475/esc01", "folded header `Contact`"),
    ("rfc4475/longreq", "space before the colon of a header field"),
    // its Content-Length is wrong
    ("rfc5118/ipv6-in-sdp", "body shorter than its content-length"),
];

/// Malformed messages that are forwarded: the fault is in a field that no hop decides by.
const FORWARDED: [&str; 2] = ["rfc4475/baddate", "rfc4475/badbranch"];

#[test]
fn valid_messages_are_forwarded_and_malformed_ones_are_not() {
    let mut forwarded = 0;
    for case in &CASES {
        let bytes = case.bytes();
        let flaw = Message::scan(&bytes).map(|message| {
            let strict = match message.start_line() {
                StartLine::Request { .. } => Strict::request(&message),
                StartLine::Response { .. } => Strict::response(&message),
            };
            strict.err().map(|flaw| flaw.to_string())
        });
        let refused = REFUSED.iter().find(|(file, _)| *file == case.file);
        match (case.intent, flaw) {
            (Intent::Valid, Some(flaw)) => {
                assert_eq!(flaw.as_deref(), refused.map(|(_, why)| *why), "{}", case.file);
            }
            (Intent::Malformed | Intent::Tolerable, Some(None)) => {
                assert!(FORWARDED.contains(&case.file), "{}", case.file);
            }
            (Intent::Valid, None) => panic!("{}", case.file),
            _ => assert!(!FORWARDED.contains(&case.file), "{}", case.file),
        }
        forwarded += usize::from(fuzz_forward(&bytes) == "request");
    }
    assert_eq!(forwarded, 30);
}
