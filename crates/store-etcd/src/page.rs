//! A page: a small sorted map of bytes, stored as the value of one etcd key.
//!
//! etcd keeps an index entry in memory for each key, and about a hundred bytes on disk beside each
//! value. Packed into pages, ten million records need a few hundred thousand keys.

use std::collections::BTreeMap;

use super::StoreError;

/// The version of the format, stored in the first byte.
const VERSION: u8 = 1;

/// The entries of a page.
pub(super) type Page = BTreeMap<Vec<u8>, Vec<u8>>;

/// Encodes a page: the version, then for each entry the length of its key (two bytes, most significant
/// first), the key, the length of its value (four bytes) and the value.
pub(super) fn encode(page: &Page) -> Result<Vec<u8>, StoreError> {
    let size: usize = page.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
    let mut bytes = Vec::with_capacity(size + 1);
    bytes.push(VERSION);
    for (key, value) in page {
        put(&mut bytes, key, value)?;
    }
    Ok(bytes)
}

/// Decodes a page. A missing value is an empty page.
pub(super) fn decode(bytes: Option<&[u8]>) -> Result<Page, StoreError> {
    let mut page = Page::new();
    each(bytes, |key, value| {
        page.insert(key.to_vec(), value.to_vec());
        Ok(())
    })?;
    Ok(page)
}

/// Calls `visit` with each entry of a page.
pub(super) fn each(
    bytes: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let (version, mut rest) = bytes.split_first().ok_or_else(unreadable)?;
    if *version != VERSION {
        return Err(StoreError::Corrupt(format!("unsupported page version {version}")));
    }
    while !rest.is_empty() {
        let (key, value);
        (key, rest) = take::<2>(rest)?;
        (value, rest) = take::<4>(rest)?;
        visit(key, value)?;
    }
    Ok(())
}

/// Appends a key and a value, each after its length.
pub(super) fn put(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let long = |_| StoreError::TooLarge("too long for a page".to_owned());
    bytes.extend_from_slice(&u16::try_from(key.len()).map_err(long)?.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&u32::try_from(value.len()).map_err(long)?.to_be_bytes());
    bytes.extend_from_slice(value);
    Ok(())
}

/// Splits off bytes that follow their length of `N` bytes. Returns them and the rest.
pub(super) fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8], &[u8]), StoreError> {
    let (length, rest) = bytes.split_at_checked(N).ok_or_else(unreadable)?;
    let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    rest.split_at_checked(length).ok_or_else(unreadable)
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Corrupt("a value in etcd is truncated or was not written by sip-authz".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_survive_encoding() {
        let mut page = Page::new();
        assert_eq!(decode(None).unwrap(), page);
        assert_eq!(decode(Some(&encode(&page).unwrap())).unwrap(), page);
        page.insert(b"b".to_vec(), vec![7; 70_000]);
        page.insert(b"a".to_vec(), Vec::new());
        let bytes = encode(&page).unwrap();
        assert_eq!(decode(Some(&bytes)).unwrap(), page);
        for cut in [0, 2, 5, bytes.len() - 1] {
            assert!(decode(Some(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        assert!(decode(Some(&[2])).is_err());
    }
}
