//! Request-URIs without a host, over small alphabets, through the body of the fuzz target for requests.

use sip_authz_testing::fuzzing::fuzz_request;

fn request(uri: &str) -> Vec<u8> {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:1@strict.example.com>\r\nCall-ID: 1\r\n\
         CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The body compares the rule for domain hosts with a slow reader.
#[test]
fn uris_without_a_host_are_recognised_as_a_slow_reader_does() {
    let mut decided = 0;
    for (start, letters, length) in
        [("tel:", "1a+-;@#", 3), ("TeL:+", "1f-;=", 3), ("urn:service:", "a1-.@;", 3)]
    {
        let mut texts = vec![String::new()];
        for _ in 0..length {
            let longer: Vec<String> = texts
                .iter()
                .flat_map(|text| letters.chars().map(move |letter| format!("{text}{letter}")))
                .collect();
            texts.extend(longer);
            texts.sort();
            texts.dedup();
        }
        for text in texts {
            decided += usize::from(fuzz_request(&request(&format!("{start}{text}"))).is_some());
        }
    }
    assert!(decided > 800, "{decided}");
}
