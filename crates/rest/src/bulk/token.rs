//! The beginning of a document, by number and hash of its entries.

use std::fmt;
use std::str::FromStr;

/// The entries at the beginning of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) count: u64,
    /// Each entry changes it to the hash of its value and that of the entry.
    chain: [u8; 32],
}

impl Prefix {
    /// Adds the entry with this hash.
    pub(super) fn add(&mut self, entry: [u8; 32]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.chain).update(&entry);
        self.chain = hasher.finalize().into();
        self.count += 1;
    }

    pub(super) fn token(&self) -> Token {
        let mut hash = [0; 16];
        hash.copy_from_slice(self.chain.first_chunk::<16>().unwrap_or(&[0; 16]));
        Token { count: self.count, hash }
    }
}

/// A prefix as a client gives it back: the number of entries, a hyphen, and half of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) count: u64,
    hash: [u8; 16],
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.count, hex::encode(self.hash))
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (count, digits) = text.split_once('-').ok_or(())?;
        let mut hash = [0; 16];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| ())?;
        Ok(Self { count: count.parse().map_err(|_| ())?, hash })
    }
}
