//! What a command can come to besides being done.

use sip_authz::ApplyError;
use sip_authz::model::rules::RuleError;
use sip_authz::model::{Key, Target};
use sip_authz_store::StoreError;

/// The kinds of resources that commands are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An account.
    Account,
    /// A SIP domain.
    Domain,
    /// A trunk.
    Trunk,
    /// An IP access control list.
    IpAccessControlList,
    /// An entry of one.
    IpAddress,
    /// A credential list.
    CredentialList,
    /// A user of one.
    Credential,
    /// A list mapped to a domain.
    DomainMapping,
    /// A list mapped to a trunk.
    TrunkMapping,
    /// The policy of a domain or trunk.
    Policy,
    /// A role.
    Role,
}

impl Kind {
    /// The kind of the record with this key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        match key {
            Key::Account(_) => Self::Account,
            Key::Target(Target::Domain(_)) => Self::Domain,
            Key::Target(Target::Trunk(_)) => Self::Trunk,
            Key::IpAccessControlList(_) => Self::IpAccessControlList,
            Key::IpAddress(_) => Self::IpAddress,
            Key::CredentialList(_) => Self::CredentialList,
            Key::Credential(_) => Self::Credential,
            Key::Policy(_) => Self::Policy,
            Key::Role(_) => Self::Role,
            Key::Mapping(mapping) => match mapping.target() {
                Target::Domain(_) => Self::DomainMapping,
                Target::Trunk(_) => Self::TrunkMapping,
            },
        }
    }

    /// The kind in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Domain => "domain",
            Self::Trunk => "trunk",
            Self::IpAccessControlList => "IP access control list",
            Self::IpAddress => "IP address",
            Self::CredentialList => "credential list",
            Self::Credential => "credential",
            Self::DomainMapping => "mapping",
            Self::TrunkMapping => "association",
            Self::Policy => "policy",
            Self::Role => "role",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that was not carried out. Nothing has changed, except that after
/// [`DirectoryError::Store`] the outcome may be unknown, and after [`DirectoryError::NotFollowed`] it
/// has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// There is none, or it belongs to another account: the two are not told apart.
    #[error("there is no such {0}")]
    NotFound(Kind),
    /// A value is not what it may be.
    #[error("{message}")]
    Invalid {
        /// What it is a value of.
        kind: Kind,
        /// What is wrong.
        message: String,
    },
    /// One more would be too many.
    #[error("there can be no more than {limit}: {kind}")]
    TooMany {
        /// Of what.
        kind: Kind,
        /// How many there can be.
        limit: usize,
    },
    /// What was to be deleted is in use.
    #[error("the {kind} is in use: {by}")]
    InUse {
        /// What was to be deleted.
        kind: Kind,
        /// What uses it.
        by: &'static str,
    },
    /// The host name is none, or not one that the installation admits.
    #[error("{message}")]
    BadName {
        /// Who wanted it.
        kind: Kind,
        /// What is wrong.
        message: String,
    },
    /// The host name is another domain's or trunk's.
    #[error("the name `{name}` is taken")]
    NameTaken {
        /// Who wanted it.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// A permission that roles of the type cannot have.
    #[error("there is no permission `{0}` for this type of role")]
    UnknownPermission(String),
    /// Others committed in between too often. To be tried again later.
    #[error("too many changes at once, try again")]
    Busy,
    /// This process's decisions no longer follow the store. A change may be made, and then stays.
    #[error("decisions here no longer follow the store")]
    NotFollowed,
    /// The store could not be asked or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(String),
    /// What the store holds breaks a rule by itself.
    #[error("the store's records break a rule: {0}")]
    Corrupt(ApplyError),
}

impl DirectoryError {
    pub(super) fn invalid(kind: Kind, message: impl Into<String>) -> Self {
        Self::Invalid { kind, message: message.into() }
    }
}

impl From<ApplyError> for DirectoryError {
    fn from(error: ApplyError) -> Self {
        let ApplyError::Rule { key, error } = error else {
            return Self::invalid(Kind::IpAddress, error.to_string());
        };
        let kind = Kind::of(&key);
        match error {
            RuleError::Missing(key) => Self::NotFound(Kind::of(&key)),
            RuleError::NameTaken { name, .. } => Self::NameTaken { kind, name: name.to_string() },
            RuleError::InUse { by, .. } => Self::InUse { kind, by },
            // whose it is must not be told
            RuleError::OtherAccount { .. } => Self::NotFound(Kind::CredentialList),
            RuleError::UserNameTaken { username, .. } => {
                Self::invalid(kind, format!("the user name `{username}` is taken in this list"))
            }
            RuleError::Role { .. } => Self::NotFound(Kind::Role),
            error => Self::invalid(kind, error.to_string()),
        }
    }
}
