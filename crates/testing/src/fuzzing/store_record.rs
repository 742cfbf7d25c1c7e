//! Decodes bytes as a stored record.

use sip_authz_store::{Sum, encoding};

/// Decodes `bytes` as a key, a line end and a value. Checks that a valid record encodes to the same
/// bytes or an equal record. Returns whether it is valid.
pub fn fuzz_store_record(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(Ok(key)) = str::from_utf8(text).map(encoding::decode_key) else { return false };
    assert_eq!(encoding::key(key).as_bytes(), text, "the encoding of a key is unique");
    let Ok(record) = encoding::decode(key, value) else { return false };
    assert!(record.key() == key, "the record has another key");
    let written = encoding::encode(&record);
    let again = written.as_ref().map(|written| encoding::decode(key, written.as_bytes()));
    assert!(again == Ok(Ok(record.clone())), "encoded and decoded again");
    let sums = written.map(|written| Sum::of_encoded(&encoding::key(key), written.as_bytes()));
    assert!(sums == Sum::of(&record), "the encoding of a value is unique");
    true
}
