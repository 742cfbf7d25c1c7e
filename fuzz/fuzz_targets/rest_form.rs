//! Bytes as a form body, compared with another parser, and as the query of a list with a page token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_authz_testing::fuzzing::{fuzz_rest_form, fuzz_rest_params};

fuzz_target!(|bytes: &[u8]| {
    let theirs: Vec<_> = form_urlencoded::parse(bytes).collect();
    let expected: Vec<_> = fuzz_rest_params()
        .flat_map(|(known, ..)| {
            let values = theirs.iter().filter(move |(name, _)| name == known);
            values.map(move |(_, value)| (known, value.to_string()))
        })
        .collect();
    let wrong = |(known, required, repeated): (&str, bool, bool)| {
        let mut values = expected.iter().filter(|(name, _)| *name == known);
        let first = values.next();
        (required && first.is_none_or(|(_, value)| value.is_empty()))
            || (!repeated && values.next().is_some())
    };
    match fuzz_rest_form(bytes) {
        Some(values) => {
            assert_eq!(values, expected);
            assert!(!fuzz_rest_params().any(wrong));
        }
        None => {
            // the library rejects invalid UTF-8, the other parser replaces it
            let mended = theirs.iter().any(|(name, value)| {
                name.contains(char::REPLACEMENT_CHARACTER)
                    || value.contains(char::REPLACEMENT_CHARACTER)
            });
            assert!(mended || fuzz_rest_params().any(wrong));
        }
    }
});
