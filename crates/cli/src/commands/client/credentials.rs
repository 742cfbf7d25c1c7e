//! The credentials of a command, and the places that settings come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;

use sip_authz::AccountSid;
use zeroize::Zeroizing;

/// The place that a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The option `--api`.
    Option,
    /// An environment variable.
    Environment(&'static str),
    /// A key of the configuration file.
    File(PathBuf, &'static str),
    /// The default of the program.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => f.write_str("--api"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path, key) => write!(f, "{}: {key}", path.display()),
            Self::Default => f.write_str("the default of --api"),
        }
    }
}

/// The user of the API that a command acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// The admin.
    Admin,
    /// An account.
    Account(AccountSid),
}

/// The credentials of a command.
pub(super) struct Credentials {
    pub(super) user: User,
    pub(super) token: Zeroizing<String>,
    /// The origin of the token.
    pub(super) origin: Origin,
}

/// Reads the SID of an account. The error does not show the text, which may be a token at the wrong place.
pub(super) fn account_sid(text: &str) -> Result<AccountSid, &'static str> {
    AccountSid::from_str(text).map_err(|_| "expected the SID of an account: `AC` and 32 hex digits")
}
