//! The records. `friendly_name` takes no part in decisions.

use std::fmt;

use subtle::ConstantTimeEq as _;

use super::credential::Ha1Set;
use super::name::{DomainName, Realm, UserName};
use super::on_accept::OnAccept;
use super::permission::RoleKind;
use super::policy::Policy;
use super::settings::{DomainSettings, TrunkSettings};
use crate::acl::Prefix;
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    RoleSid, ServiceSid, TrunkSid,
};

/// Creation and last-change times of a record, in seconds since 1970; 0 if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Dates {
    /// The time of creation.
    pub created: u64,
    /// The time of the last change.
    pub updated: u64,
}

/// The SHA-256 of an account's auth token. A token is 128 random bits, so it needs no slow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// Whether an account can make calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum AccountStatus {
    /// The lists decide each call.
    #[default]
    Active,
    /// All calls are rejected until the account is active again.
    Suspended,
    /// All calls are rejected permanently.
    Closed,
}

/// The target of a Request-URI: a SIP domain or a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A SIP domain.
    Domain(DomainSid),
    /// A trunk.
    Trunk(TrunkSid),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(sid) => sid.fmt(f),
            Self::Trunk(sid) => sid.fmt(f),
        }
    }
}

impl From<DomainSid> for Target {
    fn from(sid: DomainSid) -> Self {
        Self::Domain(sid)
    }
}

impl From<TrunkSid> for Target {
    fn from(sid: TrunkSid) -> Self {
        Self::Trunk(sid)
    }
}

/// An account: the owner of domains, trunks and lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its SID.
    pub sid: AccountSid,
    /// Human-readable name.
    pub friendly_name: String,
    /// Whether the account can make calls.
    pub status: AccountStatus,
    /// The hash of the owner's auth token. Without it the account cannot authenticate to the API.
    pub token: Option<TokenHash>,
    /// The hash of a second auth token, which works too until it replaces the first one.
    pub secondary_token: Option<TokenHash>,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// A SIP domain, addressed by the host of a Request-URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its SID.
    pub sid: DomainSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The host in the Request-URI; unique across all domains and trunks.
    pub name: DomainName,
    /// Human-readable name.
    pub friendly_name: String,
    /// Whether calls must arrive over TLS or secure WebSocket.
    pub secure: bool,
    /// The answer to accepted calls, or none for the default of the server.
    pub on_accept: Option<OnAccept>,
    /// Whether phones may register, and settings that take no part in decisions.
    pub settings: DomainSettings,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// A trunk. Callers can reach it only if it has a domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Its SID.
    pub sid: TrunkSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The host in the Request-URI, if any; unique across all domains and trunks.
    pub name: Option<DomainName>,
    /// Human-readable name.
    pub friendly_name: String,
    /// Whether calls must arrive over TLS or secure WebSocket.
    pub secure: bool,
    /// The answer to accepted calls, or none for the default of the server.
    pub on_accept: Option<OnAccept>,
    /// Settings that take no part in decisions.
    pub settings: TrunkSettings,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// An IP access control list. If the only mapped list is empty, the target admits no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAccessControlList {
    /// Its SID.
    pub sid: IpAccessControlListSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// Human-readable name.
    pub friendly_name: String,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// One entry of an IP access control list.
#[derive(Clone, PartialEq, Eq)]
pub struct IpAddress {
    /// Its SID.
    pub sid: IpAddressSid,
    /// The list that holds it. It cannot change.
    pub list: IpAccessControlListSid,
    /// The admitted addresses.
    pub prefix: Prefix,
    /// Human-readable name.
    pub friendly_name: String,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// A list of credentials. Its realm cannot change, because the hashes depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialList {
    /// Its SID.
    pub sid: CredentialListSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The realm of all hashes in the list.
    pub realm: Realm,
    /// Human-readable name.
    pub friendly_name: String,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// One user of a credential list.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its SID.
    pub sid: CredentialSid,
    /// The list that holds it. It cannot change.
    pub list: CredentialListSid,
    /// The user name, unique within the list. It cannot change, because the hashes depend on it.
    pub username: UserName,
    /// The password hashes.
    pub ha1: Ha1Set,
    /// Whether the credential is disabled. A disabled user gets the same answer as an unknown one.
    pub disabled: bool,
    /// The deployment role of the user on every target that the list is mapped to.
    pub role: Option<RoleSid>,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// Hides the addresses, because a commit may be logged.
impl fmt::Debug for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpAddress")
            .field("sid", &self.sid)
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

/// Hides the user name and the hashes, because a commit may be logged.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("sid", &self.sid)
            .field("list", &self.list)
            .field("ha1", &self.ha1)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// The assignment of a list to a domain or trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mapping {
    /// The source of a call to the target must be in this list or in another mapped access list.
    IpAccessControlList(Target, IpAccessControlListSid),
    /// The caller must be a user of this list or of another mapped credential list.
    CredentialList(Target, CredentialListSid),
    /// Users of the list may register at the domain. Takes no part in deciding calls.
    Registration(DomainSid, CredentialListSid),
}

impl Mapping {
    /// The target that the list is mapped to.
    #[must_use]
    pub fn target(&self) -> Target {
        match *self {
            Self::IpAccessControlList(target, _) | Self::CredentialList(target, _) => target,
            Self::Registration(domain, _) => Target::Domain(domain),
        }
    }
}

/// A mapping and its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRecord {
    /// The list and its target.
    pub mapping: Mapping,
    /// The channel role that the users of a credential list have on the target.
    pub role: Option<RoleSid>,
    /// The number of the commit that created it. Mappings of a target are sorted by it.
    pub since: u64,
    /// Creation and last-change times.
    pub dates: Dates,
}

impl From<Mapping> for MappingRecord {
    fn from(mapping: Mapping) -> Self {
        Self { mapping, role: None, since: 0, dates: Dates::default() }
    }
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its SID.
    pub sid: RoleSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The service, which is the name space of the role.
    pub service: ServiceSid,
    /// Human-readable name.
    pub friendly_name: String,
    /// Whether credentials or mappings carry the role. It cannot change.
    pub kind: RoleKind,
    /// The permissions, in the order in which the caller gave them.
    pub permissions: Vec<String>,
    /// Creation and last-change times.
    pub dates: Dates,
}

/// The policy of one domain or trunk. A target without this record has [`Policy::default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// The domain or trunk.
    pub target: Target,
    /// The settings.
    pub policy: Policy,
    /// Creation and last-change times.
    pub dates: Dates,
}

impl Key {
    /// The lowest key: every other key sorts after it.
    pub const FIRST: Self = Self::Account(AccountSid::from_bytes([0; 16]));
}

/// A record of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An account.
    Account(Account),
    /// An IP access control list.
    IpAccessControlList(IpAccessControlList),
    /// A credential list.
    CredentialList(CredentialList),
    /// An entry of an IP access control list.
    IpAddress(IpAddress),
    /// A user of a credential list.
    Credential(Credential),
    /// A SIP domain.
    Domain(Domain),
    /// A trunk.
    Trunk(Trunk),
    /// A policy.
    Policy(PolicyRecord),
    /// A mapping.
    Mapping(MappingRecord),
    /// A role.
    Role(Role),
}

/// The unique key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An account.
    Account(AccountSid),
    /// An IP access control list.
    IpAccessControlList(IpAccessControlListSid),
    /// A credential list.
    CredentialList(CredentialListSid),
    /// An entry of an IP access control list.
    IpAddress(IpAddressSid),
    /// A user of a credential list.
    Credential(CredentialSid),
    /// A SIP domain or a trunk.
    Target(Target),
    /// The policy of a domain or trunk.
    Policy(Target),
    /// A mapping.
    Mapping(Mapping),
    /// A role.
    Role(RoleSid),
}

impl Record {
    /// The key of the record.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Account(account) => Key::Account(account.sid),
            Self::IpAccessControlList(list) => Key::IpAccessControlList(list.sid),
            Self::CredentialList(list) => Key::CredentialList(list.sid),
            Self::IpAddress(address) => Key::IpAddress(address.sid),
            Self::Credential(credential) => Key::Credential(credential.sid),
            Self::Domain(domain) => Key::Target(domain.sid.into()),
            Self::Trunk(trunk) => Key::Target(trunk.sid.into()),
            Self::Policy(record) => Key::Policy(record.target),
            Self::Mapping(record) => Key::Mapping(record.mapping),
            Self::Role(role) => Key::Role(role.sid),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(sid) => write!(f, "account {sid}"),
            Self::IpAccessControlList(sid) => write!(f, "IP access control list {sid}"),
            Self::CredentialList(sid) => write!(f, "credential list {sid}"),
            Self::IpAddress(sid) => write!(f, "IP address {sid}"),
            Self::Credential(sid) => write!(f, "credential {sid}"),
            Self::Target(Target::Domain(sid)) => write!(f, "domain {sid}"),
            Self::Target(Target::Trunk(sid)) => write!(f, "trunk {sid}"),
            Self::Policy(target) => write!(f, "policy of {target}"),
            Self::Role(sid) => write!(f, "role {sid}"),
            Self::Mapping(Mapping::IpAccessControlList(target, list)) => {
                write!(f, "mapping of {list} to {target}")
            }
            Self::Mapping(Mapping::CredentialList(target, list)) => {
                write!(f, "mapping of {list} to {target}")
            }
            Self::Mapping(Mapping::Registration(domain, list)) => {
                write!(f, "mapping of {list} to registrations at {domain}")
            }
        }
    }
}

impl Account {
    /// Creates an active account with an empty friendly name.
    #[must_use]
    pub fn new(sid: AccountSid) -> Self {
        Self {
            sid,
            friendly_name: String::new(),
            status: AccountStatus::Active,
            token: None,
            secondary_token: None,
            dates: Dates::default(),
        }
    }

    /// Whether this is the hash of one of its auth tokens. Takes the same time for any hash.
    #[must_use]
    pub fn has_token(&self, given: TokenHash) -> bool {
        [self.token, self.secondary_token].iter().fold(false, |found, kept| {
            let same: bool = kept.unwrap_or(TokenHash([0; 32])).0.ct_eq(&given.0).into();
            found | (same & kept.is_some())
        })
    }
}

impl Domain {
    /// Creates a domain that accepts every transport and has an empty friendly name.
    #[must_use]
    pub fn new(sid: DomainSid, account: AccountSid, name: DomainName) -> Self {
        Self {
            sid,
            account,
            name,
            friendly_name: String::new(),
            secure: false,
            on_accept: None,
            settings: Default::default(),
            dates: Dates::default(),
        }
    }
}

impl Trunk {
    /// Creates a trunk that accepts every transport and has an empty friendly name.
    #[must_use]
    pub fn new(sid: TrunkSid, account: AccountSid, name: Option<DomainName>) -> Self {
        Self {
            sid,
            account,
            name,
            friendly_name: String::new(),
            secure: false,
            on_accept: None,
            settings: Default::default(),
            dates: Dates::default(),
        }
    }
}

impl IpAccessControlList {
    /// Creates a list with an empty friendly name.
    #[must_use]
    pub fn new(sid: IpAccessControlListSid, account: AccountSid) -> Self {
        Self { sid, account, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl IpAddress {
    /// Creates an entry with an empty friendly name.
    #[must_use]
    pub fn new(sid: IpAddressSid, list: IpAccessControlListSid, prefix: Prefix) -> Self {
        Self { sid, list, prefix, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl CredentialList {
    /// Creates a list with an empty friendly name.
    #[must_use]
    pub fn new(sid: CredentialListSid, account: AccountSid, realm: Realm) -> Self {
        Self { sid, account, realm, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl Credential {
    /// Creates an enabled credential without a role.
    #[must_use]
    pub fn new(
        sid: CredentialSid,
        list: CredentialListSid,
        username: UserName,
        ha1: Ha1Set,
    ) -> Self {
        Self { sid, list, username, ha1, disabled: false, role: None, dates: Dates::default() }
    }
}

impl PolicyRecord {
    /// Creates the policy record of `target`.
    #[must_use]
    pub fn new(target: impl Into<Target>, policy: Policy) -> Self {
        Self { target: target.into(), policy, dates: Dates::default() }
    }
}

impl From<Mapping> for Record {
    fn from(mapping: Mapping) -> Self {
        Self::Mapping(mapping.into())
    }
}

macro_rules! into_record {
    ($($variant:ident($kind:ident))*) => {$(
        impl From<$kind> for Record {
            fn from(record: $kind) -> Self {
                Self::$variant(record)
            }
        }
    )*};
}

into_record! {
    Account(Account) IpAccessControlList(IpAccessControlList) CredentialList(CredentialList)
    IpAddress(IpAddress) Credential(Credential) Domain(Domain) Trunk(Trunk) Policy(PolicyRecord)
    Mapping(MappingRecord) Role(Role)
}
