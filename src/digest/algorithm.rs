//! The digest algorithms and quality-of-protection values of RFC 7616 §3.3 and RFC 8760 §2.

use std::fmt;

/// A hash function that digest authentication is defined for (RFC 7616 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HashFunction {
    /// MD5, 16 bytes. All that most deployed user agents know.
    Md5,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512/256 (FIPS 180-4 §5.3.6), 32 bytes: a function of its own, not SHA-512 cut short.
    Sha512_256,
}

impl HashFunction {
    /// Every function, weakest first.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha256, Self::Sha512_256];

    /// The length of an output in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 | Self::Sha512_256 => 32,
        }
    }

    /// The name as the `algorithm` parameter has it, without `-sess`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }
}

impl fmt::Display for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The value of the `algorithm` parameter: a hash function, plain or in its session form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Algorithm {
    /// `MD5`; also what a missing `algorithm` parameter means (RFC 7616 §3.3).
    #[cfg_attr(feature = "serde", serde(rename = "MD5"))]
    Md5,
    /// `MD5-sess`.
    #[cfg_attr(feature = "serde", serde(rename = "MD5-sess"))]
    Md5Sess,
    /// `SHA-256`.
    #[cfg_attr(feature = "serde", serde(rename = "SHA-256"))]
    Sha256,
    /// `SHA-256-sess`.
    #[cfg_attr(feature = "serde", serde(rename = "SHA-256-sess"))]
    Sha256Sess,
    /// `SHA-512-256`.
    #[cfg_attr(feature = "serde", serde(rename = "SHA-512-256"))]
    Sha512_256,
    /// `SHA-512-256-sess`.
    #[cfg_attr(feature = "serde", serde(rename = "SHA-512-256-sess"))]
    Sha512_256Sess,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::Md5,
        Self::Md5Sess,
        Self::Sha256,
        Self::Sha256Sess,
        Self::Sha512_256,
        Self::Sha512_256Sess,
    ];

    /// The algorithm that a whole `algorithm` value names, in any case; never by prefix.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The value as it stands in a challenge.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// The hash function underneath.
    #[must_use]
    pub const fn hash_function(self) -> HashFunction {
        match self {
            Self::Md5 | Self::Md5Sess => HashFunction::Md5,
            Self::Sha256 | Self::Sha256Sess => HashFunction::Sha256,
            Self::Sha512_256 | Self::Sha512_256Sess => HashFunction::Sha512_256,
        }
    }

    /// Whether this is a `-sess` form, whose A1 takes in the nonce and the cnonce (RFC 7616 §3.4.2).
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The quality of protection that a response was made with (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `auth`: method and digest-uri are protected.
    Auth,
    /// `auth-int`: the body too.
    AuthInt,
}

impl Qop {
    /// The value that `name` is, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"auth") {
            Some(Self::Auth)
        } else if name.eq_ignore_ascii_case(b"auth-int") {
            Some(Self::AuthInt)
        } else {
            None
        }
    }

    /// The value as it stands in a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole_and_in_any_case() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name().as_bytes()), Some(algorithm));
            assert_eq!(
                Algorithm::from_name(algorithm.name().to_lowercase().as_bytes()),
                Some(algorithm)
            );
        }
        for other in ["", "MD", "MD55", "MD5-ses", "MD5-sess2", "SHA-512", "SHA-25", "SHA-256-"] {
            assert_eq!(Algorithm::from_name(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Qop::from_name(b"AUTH"), Some(Qop::Auth));
        assert_eq!(Qop::from_name(b"auth-int"), Some(Qop::AuthInt));
        assert_eq!(Qop::from_name(b"auth,auth-int"), None);
    }
}
