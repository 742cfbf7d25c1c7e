//! The head of a store: the numbers of commits and records, and a checksum over all records with which
//! a follower detects a missed write.

use std::fmt;
use std::io;

use super::encoding::{self, EncodingError};
use super::{CommitEntry, Format, Incarnation, StoreError};
use sip_authz::model::{Commit, Record, Write};

/// The state of a store in three numbers, within one history of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// The history that the number counts in.
    pub incarnation: Incarnation,
    /// The number of the last commit; 0 before the first.
    pub number: u64,
    /// The number of records.
    pub records: u64,
    /// The checksum over all records.
    pub sum: Sum,
    /// The format of the store.
    pub format: Format,
}

/// A checksum over records: the sum of their BLAKE3 hashes, modulo 2^256.
///
/// Each record adds the hash of its key and value as [`encoding`] writes them, with the length of the key
/// (eight bytes, most significant first) in front. A store updates the sum with the records that a commit
/// removes and adds; the order of records does not matter.
///
/// The sum detects accidental loss and damage. It does not stop an attacker who can write to the store,
/// since that attacker can write the sum too.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum([u8; 32]);

impl Sum {
    /// The sum over no record.
    pub const ZERO: Self = Self([0; 32]);

    /// The sum over one record.
    ///
    /// # Errors
    ///
    /// [`EncodingError`] if the record cannot be encoded.
    pub fn of(record: &Record) -> Result<Self, EncodingError> {
        let mut hash = hasher_for(&encoding::key(record.key()));
        encoding::write(record, &mut HashWriter(&mut hash))?;
        Ok(Self(hash.finalize().into()))
    }

    /// The sum over the record that a write puts; none for a deletion.
    ///
    /// # Errors
    ///
    /// [`EncodingError`] if the record cannot be encoded.
    pub fn of_write(write: &Write) -> Result<Option<Self>, EncodingError> {
        match write {
            Write::Put(record) => Self::of(record).map(Some),
            Write::Delete(_) => Ok(None),
        }
    }

    /// The sum over one record that is already encoded.
    #[must_use]
    pub fn of_encoded(key: &str, value: &[u8]) -> Self {
        Self(hasher_for(key).update(value).finalize().into())
    }

    /// The sum with these bytes, the least significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the sum, the least significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// This sum and `other`.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.by_digit(other, u64::overflowing_add)
    }

    /// This sum without `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.by_digit(other, u64::overflowing_sub)
    }

    /// Adds or subtracts eight bytes at a time, with carry.
    fn by_digit(mut self, other: Self, step: fn(u64, u64) -> (u64, bool)) -> Self {
        let (digits, _) = self.0.as_chunks_mut::<8>();
        let (others, _) = other.0.as_chunks::<8>();
        let mut carry = false;
        for (digit, other) in digits.iter_mut().zip(others) {
            let (next, first) = step(u64::from_le_bytes(*digit), u64::from_le_bytes(*other));
            let (next, second) = step(next, carry.into());
            (*digit, carry) = (next.to_le_bytes(), first || second);
        }
        self
    }
}

fn hasher_for(key: &str) -> blake3::Hasher {
    let mut hash = blake3::Hasher::new();
    hash.update(&(key.len() as u64).to_be_bytes()).update(key.as_bytes());
    hash
}

/// A writer that hashes its input.
struct HashWriter<'h>(&'h mut blake3::Hasher);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Head {
    /// The head after one more commit. For each write of the commit, `put` has the checksum of the record that it
    /// puts, if any, and `replaced` that of the record that it replaces or deletes, if any.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if the checksums do not fit the writes, or if more records would be removed than
    /// there are.
    pub fn after(
        self,
        commit: &Commit,
        put: &[Option<Sum>],
        replaced: &[Option<Sum>],
    ) -> Result<Self, StoreError> {
        let writes = commit.writes();
        let fits = writes.len() == put.len()
            && writes.len() == replaced.len()
            && writes.iter().zip(put).all(|(write, put)| match write {
                Write::Put(_) => put.is_some(),
                Write::Delete(_) => put.is_none(),
            });
        if !fits {
            return Err(StoreError::Corrupt(format!(
                "the checksums of a commit do not fit its {} writes",
                writes.len()
            )));
        }
        let mut next = Self { format: self.next_format(), ..self };
        for (put, replaced) in put.iter().zip(replaced) {
            next = next.with(*replaced, *put)?;
        }
        Ok(Self { number: self.number.saturating_add(1), ..next })
    }

    /// This head after one write: the checksum of the old record subtracted and that of the new record
    /// added. The number stays the same.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a record would be removed from an empty store.
    pub fn with(self, replaced: Option<Sum>, put: Option<Sum>) -> Result<Self, StoreError> {
        let Self { mut records, mut sum, .. } = self;
        if let Some(put) = put {
            sum = sum.plus(put);
            records = records.saturating_add(1);
        }
        if let Some(replaced) = replaced {
            sum = sum.minus(replaced);
            records = records.checked_sub(1).ok_or_else(|| {
                StoreError::Corrupt("a commit deletes more records than there are".to_owned())
            })?;
        }
        Ok(Self { records, sum, ..self })
    }

    /// The format of the next commit. The first commit of a store begins with the newest one.
    #[must_use]
    pub fn next_format(&self) -> Format {
        if self.number == 0 { Format::NEWEST } else { self.format }
    }

    /// Checks that the format of this head can become `format`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] if this version does not support it, [`StoreError::Format`] if it is no later one.
    pub fn check_raise(&self, format: Format) -> Result<(), StoreError> {
        format.check_supported()?;
        if format > self.format {
            return Ok(());
        }
        Err(StoreError::Format(format!("it has format {}, which never falls", self.format)))
    }

    /// Whether the two heads are those of the same commit and records, in any history.
    #[must_use]
    pub fn has_records_of(self, other: Self) -> bool {
        Self { incarnation: other.incarnation, ..self } == other
    }

    /// Checks a count of records and their checksum against the head.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] with the difference.
    pub fn check(&self, records: u64, sum: Sum) -> Result<(), StoreError> {
        if self.records != records {
            return Err(StoreError::Corrupt(format!(
                "expected {} records at commit {}, found {records}",
                self.records, self.number
            )));
        }
        if self.sum != sum {
            return Err(StoreError::Corrupt(format!(
                "the checksum of the records does not match the head of commit {}",
                self.number
            )));
        }
        Ok(())
    }
}

impl CommitEntry {
    /// Checks that this commit follows `head` by number, count and checksum, in its incarnation. The first
    /// commit of a store draws the incarnation.
    ///
    /// # Errors
    ///
    /// [`StoreError::Restored`] for another incarnation, [`StoreError::Corrupt`] for another difference.
    pub fn check(&self, head: Head) -> Result<(), StoreError> {
        if head.incarnation != self.head.incarnation && head.number > 0 {
            return Err(StoreError::restored(self.head.number));
        }
        let expected = head.after(&self.commit, &self.put, &self.replaced)?;
        if self.head.format < head.format {
            let (from, to) = (head.format, self.head.format);
            return Err(StoreError::Corrupt(format!("the format fell from {from} to {to}")));
        }
        if expected.number != self.head.number {
            let (expected, found) = (expected.number, self.head.number);
            return Err(StoreError::Corrupt(format!("expected commit {expected}, found {found}")));
        }
        self.head.check(expected.records, expected.sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use sip_authz::AccountSid;
    use sip_authz::model::Account;

    fn account(n: u8) -> Record {
        Account::new(AccountSid::from_bytes([n; 16])).into()
    }

    #[test]
    fn sums_wrap_around() {
        let one = Sum::from_bytes(std::array::from_fn(|n| u8::from(n == 0)));
        let most = Sum::from_bytes([0xff; 32]);
        assert_eq!(most.plus(one), Sum::ZERO);
        assert_eq!(Sum::ZERO.minus(one), most);
        assert_eq!(one.to_string(), format!("{:064x}", 1));
    }

    #[test]
    fn the_sum_of_a_record_equals_the_sum_of_its_encoding() {
        for record in [account(1), account(2)] {
            let value = encoding::encode(&record).unwrap();
            let key = encoding::key(record.key());
            assert_eq!(Sum::of(&record).unwrap(), Sum::of_encoded(&key, value.as_bytes()));
        }
        // the boundary between key and value is hashed too
        assert_ne!(Sum::of_encoded("ab", b"c"), Sum::of_encoded("a", b"bc"));
    }

    #[test]
    fn commits_update_the_head() {
        let mut commit = Commit::new();
        commit.put(account(1)).put(account(2));
        let [one, two] = [1, 2].map(|n| Sum::of(&account(n)).unwrap());
        let head = Head::default().after(&commit, &[Some(one), Some(two)], &[None, None]).unwrap();
        let format = Format::NEWEST;
        let (number, records, sum) = (1, 2, one.plus(two));
        assert_eq!(head, Head { number, records, sum, format, ..Head::default() });
        let mut deleted = Commit::new();
        deleted.delete(account(1).key());
        let next = head.after(&deleted, &[None], &[Some(one)]).unwrap();
        assert_eq!(next, Head { number: 2, records: 1, sum: two, format, ..Head::default() });
        assert!(head.check(2, one.plus(two)).is_ok());
        assert!(head.check(1, one.plus(two)).is_err() && head.check(2, one).is_err());
        for (put, replaced) in
            [(&[None][..], &[][..]), (&[], &[Some(one)]), (&[Some(one)], &[None])]
        {
            assert!(head.after(&deleted, put, replaced).is_err());
        }
        assert!(head.after(&commit, &[Some(one), None], &[None, None]).is_err());
        assert!(Head::default().after(&deleted, &[None], &[Some(one)]).is_err());
    }

    #[test]
    fn the_format_of_a_store_rises_and_never_falls() {
        let of = |format| Head { number: 7, format, ..Head::default() };
        let entry = |format| CommitEntry {
            head: Head { number: 8, ..of(format) },
            commit: Commit::new().into(),
            put: [].into(),
            replaced: [].into(),
        };
        let [first, newest] = [Format::FIRST, Format::NEWEST];
        assert!(entry(newest).check(of(first)).is_ok() && entry(newest).check(of(newest)).is_ok());
        let fell = entry(first).check(of(newest)).unwrap_err();
        assert_eq!(fell, StoreError::Corrupt("the format fell from 2 to 1".to_owned()));
    }

    proptest! {
        #[test]
        fn sums_are_a_group(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let [a, b, c] = [a, b, c].map(Sum::from_bytes);
            prop_assert_eq!(a.plus(b), b.plus(a));
            prop_assert_eq!(a.plus(b).plus(c), a.plus(b.plus(c)));
            prop_assert_eq!(a.plus(b).minus(b), a);
            prop_assert_eq!(a.minus(a), Sum::ZERO);
        }
    }
}
