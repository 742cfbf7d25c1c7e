//! Validated names: host names of domains and trunks, realms and user names.

mod text;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use self::text::Text;

use crate::digest::MAX_USERNAME;
use crate::uri::Host;

/// An invalid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is not a DNS name, an IPv4 address, or an IPv6 address in brackets.
    #[error("`{0}` is not a host name")]
    NotAHost(String),
    /// The name is empty.
    #[error("a {0} must not be empty")]
    Empty(&'static str),
    /// The name is too long to store or send.
    #[error("a {what} has at most {max} bytes, this one has {len}")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// The maximum length in bytes.
        max: usize,
        /// The actual length in bytes.
        len: usize,
    },
    /// The name has a character that would change the hashed text or the meaning of a header.
    #[error("{character:?} must not be in a {what}")]
    Character {
        /// The kind of name.
        what: &'static str,
        /// The first such character.
        character: char,
    },
}

/// The host by which a Request-URI addresses a domain or trunk: a DNS name or an IP literal in
/// canonical form (RFC 3261 §19.1.4: case-insensitive).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct DomainName(Text<30>);

/// The protection space of digest credentials (RFC 7616 §3.3). Every list has a realm; all lists
/// mapped to one domain or trunk have the same.
///
/// 1 to 128 bytes without control characters, `"` and `\`. User agents escape these differently and
/// would hash different texts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Realm(Arc<str>);

/// The user name of a credential. Names are equal if all bytes are equal, including case.
///
/// 1 to 64 bytes without control characters, `"` and `:`, which ends the name in
/// `username:realm:password` (RFC 7616 §3.4.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct UserName(Text<22>);

impl Realm {
    /// The maximum length of a realm in bytes.
    pub const MAX_LEN: usize = 128;
}

impl DomainName {
    /// Compares by bytes, which avoids the UTF-8 check of `as_str`.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.as_bytes() == name.as_bytes()
    }
}

impl UserName {
    /// Compares by bytes, which avoids the UTF-8 check of `as_str`.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.as_bytes() == name.as_bytes()
    }

    /// The bytes of [`Self::as_str`].
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The maximum length of a user name in bytes.
    pub const MAX_LEN: usize = MAX_USERNAME;
}

impl FromStr for DomainName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match Host::parse(text) {
            Ok(host) => Ok(Self(Text::new(host.as_str()))),
            Err(_) => Err(NameError::NotAHost(text.chars().take(80).collect())),
        }
    }
}

impl FromStr for Realm {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked("realm", text, Self::MAX_LEN, &['"', '\\'])?;
        Ok(Self(text.into()))
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked("user name", text, Self::MAX_LEN, &[':', '"'])?;
        Ok(Self(Text::new(text)))
    }
}

macro_rules! text {
    ($($name:ident)*) => {$(
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

text! { DomainName Realm UserName }

fn checked(what: &'static str, text: &str, max: usize, refused: &[char]) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty(what));
    }
    if text.len() > max {
        return Err(NameError::TooLong { what, max, len: text.len() });
    }
    match text.chars().find(|c| c.is_control() || refused.contains(c)) {
        Some(character) => Err(NameError::Character { what, character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names_have_a_canonical_form() {
        for text in ["sip.Example.COM", "SIP.example.com.", "sip.example.com"] {
            assert_eq!(text.parse::<DomainName>().unwrap().as_str(), "sip.example.com");
        }
        let literal: DomainName = "[2001:DB8:0:0::1]".parse().unwrap();
        assert_eq!(literal.as_str(), "[2001:db8::1]");
        for text in ["", ".", "a..b", "sip example", "2001:db8::1", "[::1", "999.0.0.1"] {
            let error = text.parse::<DomainName>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not a host name"));
        }
    }

    #[test]
    fn realms_and_user_names_are_bounded() {
        assert!("Größe 1".parse::<Realm>().is_ok());
        assert!("al\\ice".parse::<UserName>().is_ok());
        for text in ["", "a\"b", "a\\b", "a\nb", &"r".repeat(129)] {
            assert!(text.parse::<Realm>().is_err(), "{text:?}");
        }
        for text in ["", "a:b", "a\"b", "a\0b", &"u".repeat(65)] {
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
        }
        let error = "a:b".parse::<UserName>().unwrap_err();
        assert_eq!(error.to_string(), "':' must not be in a user name");
    }
}
