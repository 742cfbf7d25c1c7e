//! A page: a small sorted map of bytes, the value of one key of the engine.
//!
//! The engine keeps an index entry in memory for each of its keys, and some hundred bytes on disk
//! beside each value. Packed into pages, ten million records are some hundred thousand keys.

use std::collections::BTreeMap;

use super::StoreError;

/// The version of the form, the first byte.
const VERSION: u8 = 1;

/// What a page holds.
pub(super) type Page = BTreeMap<Vec<u8>, Vec<u8>>;

/// A page written down: the version, then each entry as the length of its key (two bytes, most
/// significant first), the key, the length of its value (four bytes) and the value.
pub(super) fn encode(page: &Page) -> Result<Vec<u8>, StoreError> {
    let size: usize = page.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
    let mut bytes = Vec::with_capacity(size + 1);
    bytes.push(VERSION);
    for (key, value) in page {
        put(&mut bytes, key, value)?;
    }
    Ok(bytes)
}

/// The page that is written so; an empty one where there is none.
pub(super) fn decode(bytes: Option<&[u8]>) -> Result<Page, StoreError> {
    let mut page = Page::new();
    each(bytes, |key, value| {
        page.insert(key.to_vec(), value.to_vec());
        Ok(())
    })?;
    Ok(page)
}

/// Looks at each entry of a page.
pub(super) fn each(
    bytes: Option<&[u8]>,
    mut look: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let (version, mut rest) = bytes.split_first().ok_or_else(unreadable)?;
    if *version != VERSION {
        return Err(StoreError::Corrupt(format!("a page of the unknown form {version}")));
    }
    while !rest.is_empty() {
        let (key, value);
        (key, rest) = take::<2>(rest)?;
        (value, rest) = take::<4>(rest)?;
        look(key, value)?;
    }
    Ok(())
}

/// Appends bytes and their length.
pub(super) fn put(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let long = |_| StoreError::TooLarge("too long for a page".to_owned());
    bytes.extend_from_slice(&u16::try_from(key.len()).map_err(long)?.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&u32::try_from(value.len()).map_err(long)?.to_be_bytes());
    bytes.extend_from_slice(value);
    Ok(())
}

/// Bytes behind a length of `N` bytes, and what follows them.
pub(super) fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8], &[u8]), StoreError> {
    let (length, rest) = bytes.split_at_checked(N).ok_or_else(unreadable)?;
    let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    rest.split_at_checked(length).ok_or_else(unreadable)
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Corrupt(
        "what etcd holds cannot be read: it was cut off or written by something else".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back() {
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
