//! Typed SIDs: two capital letters for the kind of resource and 32 hexadecimal digits.
//!
//! Each kind has its own type, so a list cannot be passed in place of a domain. A SID has 16 bytes
//! and is `Copy`. Its text has lower-case digits; parsing accepts either case.

mod text;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

pub use self::text::SidText;

/// The text is not a SID of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a SID of the form {prefix} and 32 hexadecimal digits")]
pub struct SidError {
    prefix: &'static str,
    input: String,
}

macro_rules! sids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
        pub struct $name([u8; 16]);

        impl $name {
            /// The two letters at the start of every SID of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// Creates the SID with these 16 bytes. For a new resource, take them from a
            /// cryptographic random source: a SID is not secret, but it must be unique.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Creates the SID of a resource created at `unix_ms` (milliseconds since 1970, of
            /// which 48 bits are used). Such SIDs sort by age. Take `random` from a cryptographic
            /// source.
            #[must_use]
            pub fn from_time(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(timed(unix_ms, random))
            }

            /// Derives the SID of a resource that has only a name, for example in a configuration
            /// file. The same parts give the same SID in every process.
            #[must_use]
            pub fn from_name(parts: &[&str]) -> Self {
                Self(derive($prefix, parts))
            }

            /// The 16 bytes that the digits encode.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The text, made without allocation.
            ///
            /// A SID holds no text to borrow, so this is a value that dereferences to `str`.
            #[must_use]
            pub fn as_str(&self) -> SidText {
                SidText::new($prefix, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = SidError;

            fn from_str(text: &str) -> Result<Self, SidError> {
                parse($prefix, text).map(Self).ok_or_else(|| SidError {
                    prefix: $prefix,
                    // limits the length of the message
                    input: text.chars().take(40).collect(),
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = SidError;

            fn try_from(text: String) -> Result<Self, SidError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(sid: $name) -> Self {
                sid.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

sids! {
    /// An account, which owns all other resources.
    AccountSid "AC";
    /// A SIP domain.
    DomainSid "SD";
    /// A trunk.
    TrunkSid "TK";
    /// A list of credentials.
    CredentialListSid "CL";
    /// A credential: a user name and its hashes in one list.
    CredentialSid "CR";
    /// An IP access control list.
    IpAccessControlListSid "AL";
    /// An address or prefix in an IP access control list.
    IpAddressSid "IP";
    /// A role.
    RoleSid "RL";
    /// A service: the name space of an account's roles. It need not be created.
    ServiceSid "IS";
    /// A trunk for bring your own carrier (BYOC), as an opaque value.
    ByocTrunkSid "BY";
    /// A phone number, as an opaque value.
    PhoneNumberSid "PN";
    /// A decision that was made, or another message that an edge answered.
    DecisionSid "NO";
}

/// Parses `prefix` and exactly 32 hexadecimal digits.
fn parse(prefix: &str, text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix(prefix)?;
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// Concatenates six bytes of time and ten of `random`.
fn timed(unix_ms: u64, random: [u8; 10]) -> [u8; 16] {
    let [_, _, time @ ..] = unix_ms.to_be_bytes();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(time.into_iter().chain(random)).for_each(|(byte, from)| *byte = from);
    bytes
}

/// Hashes the parts with their lengths, so that the boundaries between parts count.
fn derive(prefix: &str, parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix(prefix);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_either_case_is_accepted() {
        let text = "SD0123456789abcdef0123456789abcdef";
        let sid: DomainSid = text.parse().unwrap();
        assert_eq!(sid.to_string(), text);
        assert_eq!("SD0123456789ABCDEF0123456789ABCDEF".parse::<DomainSid>().unwrap(), sid);
        assert_eq!(DomainSid::from_bytes(*sid.as_bytes()), sid);
    }

    #[test]
    fn other_kinds_and_forms_are_refused() {
        for text in [
            "",
            "SD",
            "TK0123456789abcdef0123456789abcdef",
            "sd0123456789abcdef0123456789abcdef",
            "SD0123456789abcdef0123456789abcde",
            "SD0123456789abcdef0123456789abcdef0",
            "SD0123456789abcdef0123456789abcdeg",
            "SD0123456789abcdef0123456789abcdé",
        ] {
            let error = text.parse::<DomainSid>().unwrap_err().to_string();
            assert!(error.contains("of the form SD"), "{error}");
        }
    }

    #[test]
    fn sids_of_later_times_sort_after_earlier_ones() {
        let early = RoleSid::from_time(1_700_000_000_000, [255; 10]);
        let late = RoleSid::from_time(1_700_000_000_001, [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string(), "RL018bcfe56800ffffffffffffffffffff");
    }

    #[test]
    fn each_kind_has_its_text_without_allocation() {
        fn same(text: SidText, shown: &dyn fmt::Display, prefix: &str, digits: &str) {
            let expected = format!("{prefix}{digits}");
            assert_eq!(text, *expected);
            assert_eq!((text.as_str(), text.as_ref()), (&*expected, &*expected));
            assert_eq!((text.to_string(), shown.to_string()), (expected.clone(), expected));
            assert_eq!(format!("{text:?}"), format!("\"{prefix}{digits}\""));
        }
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let digits = hex::encode(bytes);
            macro_rules! each {
                ($($name:ident)*) => {$({
                    let sid = $name::from_bytes(bytes);
                    same(sid.as_str(), &sid, $name::PREFIX, &digits);
                })*};
            }
            each!(AccountSid DomainSid TrunkSid CredentialListSid CredentialSid);
            each!(IpAccessControlListSid IpAddressSid RoleSid ServiceSid ByocTrunkSid);
            each!(PhoneNumberSid DecisionSid);
        }
    }

    #[test]
    fn derived_sids_depend_on_every_part() {
        let sid = AccountSid::from_name(&["a", "bc"]);
        assert_eq!(sid, AccountSid::from_name(&["a", "bc"]));
        assert_ne!(sid, AccountSid::from_name(&["ab", "c"]));
        assert_ne!(sid.as_bytes(), DomainSid::from_name(&["a", "bc"]).as_bytes());
    }
}
