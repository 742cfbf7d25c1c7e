//! The `algorithm` and `qop` values of RFC 7616 §3.3 and RFC 8760 §2.

use std::fmt;

use super::function::Algorithm;

impl Algorithm {
    /// The algorithm of this name, in any case. The whole name must match.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The quality of protection of a response (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `auth`: protects the method and the digest-uri.
    Auth,
    /// `auth-int`: also protects the body.
    AuthInt,
}

impl Qop {
    /// The value of this name, in any case.
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

    /// The value in a header.
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
