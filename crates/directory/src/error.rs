//! The errors of commands.

use sip_authz::ApplyError;
use sip_authz::model::rules::RuleError;
use sip_authz::model::{Key, Target};
use sip_authz_store::{Format, StoreError};

/// The kinds of resources.
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
    /// An address or prefix in an IP access control list.
    IpAddress,
    /// A credential list.
    CredentialList,
    /// A user in a credential list.
    Credential,
    /// A list mapped to a domain.
    DomainMapping,
    /// A list mapped to a trunk.
    TrunkMapping,
    /// The policy of a domain or trunk.
    Policy,
    /// A role.
    Role,
    /// The secondary auth token of an account.
    SecondaryAuthToken,
    /// The store itself.
    Store,
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
            Self::SecondaryAuthToken => "secondary auth token",
            Self::Store => "store",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command failed. Nothing has changed, with two exceptions: after [`DirectoryError::Store`] the
/// result may be unknown, and after [`DirectoryError::NotFollowed`] the change may be in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The resource does not exist or belongs to another account; the error does not say which.
    #[error("{0} not found")]
    NotFound(Kind),
    /// A value is invalid.
    #[error("{message}")]
    Invalid {
        /// The kind of resource with the value.
        kind: Kind,
        /// The reason, with the name of the parameter.
        message: String,
    },
    /// The quota of a kind of resource is used up.
    #[error("{kind} limit reached: at most {limit}")]
    TooMany {
        /// The kind of resource.
        kind: Kind,
        /// The quota.
        limit: usize,
    },
    /// The resource to delete is in use.
    #[error("the {kind} is in use: {by}")]
    InUse {
        /// The kind of resource to delete.
        kind: Kind,
        /// The resources that use it.
        by: &'static str,
    },
    /// The host name is invalid, or the installation does not admit it.
    #[error("{message}")]
    BadName {
        /// The kind of resource with the name.
        kind: Kind,
        /// The reason, with the name of the parameter.
        message: String,
    },
    /// Another domain or trunk has the host name.
    #[error("the name `{name}` is taken by another domain or trunk")]
    NameTaken {
        /// The kind of resource with the name.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Roles of this type cannot have the permission.
    #[error("unknown permission `{0}` for this type of role")]
    UnknownPermission(String),
    /// The format of the store cannot become `format`, since some edges do not support it.
    #[error("format {format} needs an upgrade of these edges: {}", edges.join(", "))]
    EdgesBehind {
        /// The format.
        format: Format,
        /// The names of the edges.
        edges: Vec<String>,
    },
    /// The format of the store cannot rise yet: a backup, from which the store was restored, may lack the report of an
    /// edge that does not support it.
    #[error(
        "the store was restored from a backup, which may lack reports of edges; try again in {seconds} s"
    )]
    Unlisted {
        /// The time until such an edge decides nothing more, if it has a lease.
        seconds: u64,
    },
    /// Concurrent commits made every attempt fail. The caller can try again later.
    #[error("too many concurrent changes, try again later")]
    Busy,
    /// The authorizer of this process no longer follows the store. The change may have been committed.
    #[error("this process no longer follows the store; the change may have been committed")]
    NotFollowed,
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system has no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Random(String),
    /// The records in the store break a rule already.
    #[error("the records in the store break a rule: {0}")]
    Corrupt(ApplyError),
}

impl DirectoryError {
    pub(super) fn invalid(kind: Kind, message: impl Into<String>) -> Self {
        Self::Invalid { kind, message: message.into() }
    }
}

impl From<ApplyError> for DirectoryError {
    fn from(error: ApplyError) -> Self {
        let (key, error) = match error {
            ApplyError::Rule { key, error } => (key, error),
            // the authorizer of another process follows no store
            ApplyError::OtherProcess => return Self::NotFollowed,
            error => return Self::invalid(Kind::IpAddress, error.to_string()),
        };
        let kind = Kind::of(&key);
        match error {
            RuleError::Missing(key) => Self::NotFound(Kind::of(&key)),
            RuleError::NameTaken { name, .. } => Self::NameTaken { kind, name: name.to_string() },
            RuleError::InUse { by, .. } => Self::InUse { kind, by },
            // the answer must not reveal the owner
            RuleError::OtherAccount { .. } => Self::NotFound(Kind::CredentialList),
            RuleError::UserNameTaken { username, .. } => {
                Self::invalid(kind, format!("the user name `{username}` is taken in this list"))
            }
            RuleError::Role { .. } => Self::NotFound(Kind::Role),
            error => Self::invalid(kind, error.to_string()),
        }
    }
}
