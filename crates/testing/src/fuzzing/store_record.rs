//! Bytes as a record of a store.

use sip_authz_store::{Sum, encoding};

/// Reads `bytes` as a key, a line end and a value, and checks that what can be read is the same when
/// it was written again, in one form. Returns whether it can be read.
pub fn fuzz_store_record(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(Ok(key)) = str::from_utf8(text).map(encoding::decode_key) else { return false };
    assert_eq!(encoding::key(key).as_bytes(), text, "one form of a key");
    let Ok(record) = encoding::decode(key, value) else { return false };
    assert!(record.key() == key, "the record of the key");
    let written = encoding::encode(&record);
    let again = written.as_ref().map(|written| encoding::decode(key, written.as_bytes()));
    assert!(again == Ok(Ok(record.clone())), "read, written and read again");
    let sums = written.map(|written| Sum::of_encoded(&encoding::key(key), written.as_bytes()));
    assert!(sums == Sum::of(&record), "one form of a value");
    true
}
