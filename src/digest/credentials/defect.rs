//! The parameters of a credentials header, and the reasons why a header is malformed.

use std::fmt;

use super::{EXT_PREFIX, MAX_DIGEST_URI, MAX_RESPONSE, MAX_USERNAME};

/// A parameter of the credentials header (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parameter {
    /// `username`.
    Username,
    /// `username*`, a name encoded as in RFC 8187 §3.2.
    UsernameExt,
    /// `userhash`.
    Userhash,
    /// `realm`.
    Realm,
    /// `nonce`.
    Nonce,
    /// `uri`.
    Uri,
    /// `response`.
    Response,
    /// `algorithm`.
    Algorithm,
    /// `qop`.
    Qop,
    /// `nc`.
    Nc,
    /// `cnonce`.
    Cnonce,
    /// `opaque`.
    Opaque,
    /// Any other auth-param.
    Other,
}

impl Parameter {
    /// The name in lower case; `other` for [`Parameter::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::UsernameExt => "username*",
            Self::Userhash => "userhash",
            Self::Realm => "realm",
            Self::Nonce => "nonce",
            Self::Uri => "uri",
            Self::Response => "response",
            Self::Algorithm => "algorithm",
            Self::Qop => "qop",
            Self::Nc => "nc",
            Self::Cnonce => "cnonce",
            Self::Opaque => "opaque",
            Self::Other => "other",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("nc") => Self::Nc,
            3 if is("uri") => Self::Uri,
            3 if is("qop") => Self::Qop,
            5 if is("realm") => Self::Realm,
            5 if is("nonce") => Self::Nonce,
            6 if is("cnonce") => Self::Cnonce,
            6 if is("opaque") => Self::Opaque,
            8 if is("username") => Self::Username,
            8 if is("response") => Self::Response,
            8 if is("userhash") => Self::Userhash,
            9 if is("algorithm") => Self::Algorithm,
            9 if is("username*") => Self::UsernameExt,
            _ => Self::Other,
        }
    }

    /// The maximum length of the value in bytes, as sent between the quotes.
    pub(super) const fn max_len(self) -> usize {
        match self {
            Self::Username => 3 * MAX_USERNAME,
            Self::UsernameExt => EXT_PREFIX.len() + 3 * MAX_USERNAME,
            Self::Realm => 255,
            Self::Nonce | Self::Cnonce | Self::Opaque => 256,
            Self::Response => MAX_RESPONSE,
            _ => MAX_DIGEST_URI,
        }
    }

    /// Whether the digest uses the value as sent. Clients would hash an escape in it in different
    /// ways.
    pub(super) const fn is_taken_as_sent(self) -> bool {
        matches!(self, Self::Nonce | Self::Uri | Self::Response | Self::Cnonce)
    }
}

/// The reason why a header for our realm is malformed. No user is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedCredentials {
    /// A known parameter appears twice, even with equal values.
    Duplicate(Parameter),
    /// A value is too long.
    TooLong(Parameter),
    /// A value that is hashed as sent has a backslash.
    Backslash(Parameter),
    /// A mandatory parameter is missing or empty. For `qop`: a `-sess` algorithm needs it.
    Missing(Parameter),
    /// The header has both `username` and `username*` (RFC 7616 §3.4).
    TwoUsernames,
    /// The name is not UTF-8 or has control characters, or `username*` does not start with
    /// `UTF-8''`.
    BadUsername,
    /// `userhash` is neither true nor false, or it is true and `username` is not a hexadecimal
    /// hash.
    BadUserhash,
    /// The `algorithm` is not in RFC 7616 or RFC 8760.
    UnknownAlgorithm,
    /// `qop` is not exactly `auth` or `auth-int`.
    UnknownQop,
    /// `nc` does not have one to eight hex digits, or is zero.
    BadNonceCount,
    /// `qop=auth-int` in a request with a body of more than 32,768 bytes, which would be hashed.
    BodyTooLong,
}

impl MalformedCredentials {
    /// The kind as text, without the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate(_) => "duplicate",
            Self::TooLong(_) => "too-long",
            Self::Backslash(_) => "backslash",
            Self::Missing(_) => "missing",
            Self::TwoUsernames => "two-usernames",
            Self::BadUsername => "bad-username",
            Self::BadUserhash => "bad-userhash",
            Self::UnknownAlgorithm => "unknown-algorithm",
            Self::UnknownQop => "unknown-qop",
            Self::BadNonceCount => "bad-nonce-count",
            Self::BodyTooLong => "body-too-long",
        }
    }

    /// The parameter of a kind that is about one.
    #[must_use]
    pub const fn parameter(self) -> Option<Parameter> {
        match self {
            Self::Duplicate(parameter)
            | Self::TooLong(parameter)
            | Self::Backslash(parameter)
            | Self::Missing(parameter) => Some(parameter),
            _ => None,
        }
    }
}

/// Writes the kind and the parameter: `unknown-qop`, `missing-uri`.
impl fmt::Display for MalformedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.parameter().map_or(Ok(()), |parameter| write!(f, "-{}", parameter.as_str()))
    }
}
