//! The encoding of a commit, in the log for feeds and in staged parts.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::StoreError;
use super::page::{take, unreadable};
use sip_authz::model::{Commit, Key, Record, Write};
use sip_authz_store::{CommitEntry, Head, Sum, encoding};

/// One write of a commit.
pub(super) struct Entry {
    pub(super) key: Key,
    /// The encoded key.
    pub(super) text: String,
    /// The encoded record, or `None` for a deletion.
    pub(super) value: Option<Zeroizing<Vec<u8>>>,
    /// The checksum of the replaced record, if any.
    pub(super) replaced: Option<Sum>,
}

impl Entry {
    pub(super) fn of(write: &Write) -> Result<Self, StoreError> {
        let key = write.key();
        let value = match write {
            Write::Put(record) => {
                Some(Zeroizing::new(encoding::encode(record)?.as_bytes().to_vec()))
            }
            Write::Delete(_) => None,
        };
        Ok(Self { key, text: encoding::key(key), value, replaced: None })
    }

    pub(super) fn sum(&self) -> Option<Sum> {
        self.value.as_ref().map(|value| Sum::of_encoded(&self.text, value))
    }

    pub(super) fn record(&self) -> Result<Option<Record>, StoreError> {
        match &self.value {
            Some(value) => Ok(Some(encoding::decode(self.key, value)?)),
            None => Ok(None),
        }
    }

    /// The maximum encoded size in bytes.
    fn size(&self) -> usize {
        self.text.len() + self.value.as_ref().map_or(0, |value| value.len()) + 39
    }

    /// Appends a byte of flags, the key, and the checksum and the value if present.
    fn write(&self, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let long = |_| StoreError::TooLarge("too long to be written".to_owned());
        bytes.push(u8::from(self.value.is_some()) | (u8::from(self.replaced.is_some()) << 1));
        bytes.extend_from_slice(&u16::try_from(self.text.len()).map_err(long)?.to_be_bytes());
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.extend_from_slice(self.replaced.as_ref().map_or(&[], |sum| sum.as_bytes()));
        if let Some(value) = &self.value {
            bytes.extend_from_slice(&u32::try_from(value.len()).map_err(long)?.to_be_bytes());
            bytes.extend_from_slice(value);
        }
        Ok(())
    }

    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), StoreError> {
        let (what, rest) = bytes.split_first().ok_or_else(unreadable)?;
        let (text, mut rest) = take::<2>(rest)?;
        let text = str::from_utf8(text).map_err(|_| unreadable())?.to_owned();
        let key = encoding::decode_key(&text)?;
        let mut replaced = None;
        if what & 2 != 0 {
            let (sum, behind) = rest.split_first_chunk::<32>().ok_or_else(unreadable)?;
            (replaced, rest) = (Some(Sum::from_bytes(*sum)), behind);
        }
        let mut value = None;
        if what & 1 != 0 {
            let (bytes, behind) = take::<4>(rest)?;
            (value, rest) = (Some(Zeroizing::new(bytes.to_vec())), behind);
        }
        Ok((Self { key, text, value, replaced }, rest))
    }
}

/// Encodes entries into parts of at most `limit` bytes. A longer entry gets a part of its own.
pub(super) fn parts(entries: &[Entry], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut parts = vec![Vec::new()];
    for entry in entries {
        match parts.last_mut() {
            Some(part) if part.is_empty() || part.len() + entry.size() <= limit => {
                entry.write(part)?;
            }
            _ => {
                let mut part = Vec::new();
                entry.write(&mut part)?;
                parts.push(part);
            }
        }
    }
    Ok(parts)
}

/// Decodes the entries of one part or of a whole commit.
pub(super) fn entries(mut bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = Entry::read(bytes)?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The commit as a feed delivers it.
pub(super) fn commit_entry(head: Head, entries: &[Entry]) -> Result<CommitEntry, StoreError> {
    let mut commit = Commit::new();
    for entry in entries {
        match entry.record()? {
            Some(record) => commit.put(record),
            None => commit.delete(entry.key),
        };
    }
    let put: Arc<[_]> = entries.iter().map(Entry::sum).collect();
    let replaced: Arc<[_]> = entries.iter().map(|entry| entry.replaced).collect();
    Ok(CommitEntry { head, commit: Arc::new(commit), put, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_authz::AccountSid;
    use sip_authz::model::Account;

    #[test]
    fn entries_survive_encoding_in_parts_of_any_size() {
        let record = |n| Record::from(Account::new(AccountSid::from_bytes([n; 16])));
        let mut written: Vec<_> =
            (0..20).map(|n| Entry::of(&Write::Put(record(n))).unwrap()).collect();
        written.push(Entry::of(&Write::Delete(record(30).key())).unwrap());
        for entry in written.iter_mut().step_by(2) {
            entry.replaced = Some(Sum::of(&record(40)).unwrap());
        }
        let commit = commit_entry(Head::default(), &written).unwrap();
        for limit in [1, 100, 1_000, 1 << 20] {
            let parts = parts(&written, limit).unwrap();
            assert!(parts.iter().all(|part| part.len() <= limit.max(200)));
            let read: Vec<_> = parts.iter().flat_map(|part| entries(part).unwrap()).collect();
            let again = commit_entry(Head::default(), &read).unwrap();
            assert_eq!((&again.commit, &again.put), (&commit.commit, &commit.put));
            assert_eq!(again.replaced, commit.replaced);
        }
        let bytes = parts(&written, 1 << 20).unwrap().remove(0);
        assert!(entries(&bytes[..bytes.len() - 1]).is_err());
    }
}
