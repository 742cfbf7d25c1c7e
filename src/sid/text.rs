//! The text of a SID.

use std::fmt;
use std::ops::Deref;

/// Two letters and 32 digits.
const LEN: usize = 34;

/// The text of a SID, stored inline: two capital letters and 32 hexadecimal digits in lower case.
///
/// Made by `as_str` of each SID, which has 16 bytes and no text to borrow. It is `Copy` and dereferences
/// to `str`. Keep it in a variable to keep a `&str` of it.
///
/// ```
/// use sip_authz::AccountSid;
///
/// let account = AccountSid::from_bytes([0xab; 16]);
/// assert_eq!(account.as_str(), "ACabababababababababababababababab");
/// let text = account.as_str();
/// let digits: &str = &text[2..];
/// assert_eq!(digits.len(), 32);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SidText([u8; LEN]);

impl SidText {
    /// Writes all digits at once, because loading a store formats the keys of millions of records.
    pub(super) fn new(prefix: &str, bytes: &[u8; 16]) -> Self {
        let mut text = [0; LEN];
        if let Some((letters, digits)) = text.split_first_chunk_mut::<2>() {
            letters.iter_mut().zip(prefix.bytes()).for_each(|(letter, from)| *letter = from);
            // there are two digits for each byte
            let _ = hex::encode_to_slice(bytes, digits);
        }
        Self(text)
    }

    /// The text as `&str`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // all bytes are ASCII
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for SidText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SidText {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for SidText {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for SidText {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for SidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for SidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
