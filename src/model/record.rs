//! The records themselves. Names for people (`friendly_name`) take no part in a decision.

use std::fmt;

use super::credential::Ha1Set;
use super::name::{DomainName, Realm, UserName};
use super::permission::RoleKind;
use super::policy::Policy;
use super::settings::{DomainSettings, TrunkSettings};
use crate::acl::Prefix;
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    RoleSid, ServiceSid, TrunkSid,
};

/// When a record was made and last changed, in seconds since 1970; 0 where nobody has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Dates {
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub updated: u64,
}

/// What is kept of an account's auth token: its SHA-256. A token is 128 random bits, so nothing
/// slower is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// Whether an account's calls are let through at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum AccountStatus {
    /// Calls are decided by lists.
    #[default]
    Active,
    /// Every call is refused until the account is active again.
    Suspended,
    /// Every call is refused for good.
    Closed,
}

/// What a Request-URI can name: a SIP domain or a trunk.
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
    /// A name for people.
    pub friendly_name: String,
    /// Whether its calls are decided at all.
    pub status: AccountStatus,
    /// The hash of the token that its owner authenticates with; none can without one.
    pub token: Option<TokenHash>,
    /// When it was made and changed.
    pub dates: Dates,
}

/// A SIP domain, named by the host of a Request-URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its SID.
    pub sid: DomainSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The host that names it; unique across all domains and trunks.
    pub name: DomainName,
    /// A name for people.
    pub friendly_name: String,
    /// Whether calls must come over TLS or secure WebSocket.
    pub secure: bool,
    /// What takes no part in a decision.
    pub settings: DomainSettings,
    /// When it was made and changed.
    pub dates: Dates,
}

/// A trunk. It can be called once it has a domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Its SID.
    pub sid: TrunkSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The host that names it, if any; unique across all domains and trunks.
    pub name: Option<DomainName>,
    /// A name for people.
    pub friendly_name: String,
    /// Whether calls must come over TLS or secure WebSocket.
    pub secure: bool,
    /// What takes no part in a decision.
    pub settings: TrunkSettings,
    /// When it was made and changed.
    pub dates: Dates,
}

/// An IP access control list. One that is mapped and empty admits nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAccessControlList {
    /// Its SID.
    pub sid: IpAccessControlListSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// A name for people.
    pub friendly_name: String,
    /// When it was made and changed.
    pub dates: Dates,
}

/// One entry of an IP access control list.
#[derive(Clone, PartialEq, Eq)]
pub struct IpAddress {
    /// Its SID.
    pub sid: IpAddressSid,
    /// The list it is in, for good.
    pub list: IpAccessControlListSid,
    /// The addresses it admits.
    pub prefix: Prefix,
    /// A name for people.
    pub friendly_name: String,
    /// When it was made and changed.
    pub dates: Dates,
}

/// A list of credentials. Its realm is fixed when it is made, since the hashes depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialList {
    /// Its SID.
    pub sid: CredentialListSid,
    /// The account that owns it.
    pub account: AccountSid,
    /// The realm of every hash in it.
    pub realm: Realm,
    /// A name for people.
    pub friendly_name: String,
    /// When it was made and changed.
    pub dates: Dates,
}

/// One user of a credential list.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its SID.
    pub sid: CredentialSid,
    /// The list it is in, for good.
    pub list: CredentialListSid,
    /// The user name, unique within the list and fixed, since the hashes depend on it.
    pub username: UserName,
    /// What is kept of the password.
    pub ha1: Ha1Set,
    /// A disabled user is answered like one that does not exist.
    pub disabled: bool,
    /// A deployment role that the user has wherever the credential is used.
    pub role: Option<RoleSid>,
    /// When it was made and changed.
    pub dates: Dates,
}

/// Does not show the addresses: a commit may end up in a log.
impl fmt::Debug for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpAddress")
            .field("sid", &self.sid)
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

/// Does not show the user name: a commit may end up in a log.
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

/// A list put to work on a domain or trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mapping {
    /// Calls to the target must come from the list (and others of this kind mapped to it).
    IpAccessControlList(Target, IpAccessControlListSid),
    /// Calls to the target must be made by a user of the list (or of others mapped to it).
    CredentialList(Target, CredentialListSid),
    /// Registrations at the domain are made by users of the list. Plays no part in deciding calls.
    Registration(DomainSid, CredentialListSid),
}

impl Mapping {
    /// What the list is mapped to.
    #[must_use]
    pub fn target(&self) -> Target {
        match *self {
            Self::IpAccessControlList(target, _) | Self::CredentialList(target, _) => target,
            Self::Registration(domain, _) => Target::Domain(domain),
        }
    }
}

/// A mapping with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRecord {
    /// Which list is mapped to what.
    pub mapping: Mapping,
    /// A channel role that the users of a credential list have on the target.
    pub role: Option<RoleSid>,
    /// The number of the commit that made it: mappings of a target are listed in this order.
    pub since: u64,
    /// When it was made and changed.
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
    /// The name space it is in.
    pub service: ServiceSid,
    /// A name for people.
    pub friendly_name: String,
    /// What it is given to, for good.
    pub kind: RoleKind,
    /// The permissions, in the order they were given.
    pub permissions: Vec<String>,
    /// When it was made and changed.
    pub dates: Dates,
}

/// The policy of one domain or trunk. A target without this record has [`Policy::default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Whose policy it is.
    pub target: Target,
    /// The settings.
    pub policy: Policy,
    /// When it was made and changed.
    pub dates: Dates,
}

impl Key {
    /// A key that none is below.
    pub const FIRST: Self = Self::Account(AccountSid::from_bytes([0; 16]));
}

/// Any record.
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

/// What names a record among all others.
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
    /// The key that the record is written under.
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
    /// An active account without a name for people.
    #[must_use]
    pub fn new(sid: AccountSid) -> Self {
        Self {
            sid,
            friendly_name: String::new(),
            status: AccountStatus::Active,
            token: None,
            dates: Dates::default(),
        }
    }
}

impl Domain {
    /// A domain that any transport may reach, without a name for people.
    #[must_use]
    pub fn new(sid: DomainSid, account: AccountSid, name: DomainName) -> Self {
        Self {
            sid,
            account,
            name,
            friendly_name: String::new(),
            secure: false,
            settings: Default::default(),
            dates: Dates::default(),
        }
    }
}

impl Trunk {
    /// A trunk that any transport may reach, without a name for people.
    #[must_use]
    pub fn new(sid: TrunkSid, account: AccountSid, name: Option<DomainName>) -> Self {
        Self {
            sid,
            account,
            name,
            friendly_name: String::new(),
            secure: false,
            settings: Default::default(),
            dates: Dates::default(),
        }
    }
}

impl IpAccessControlList {
    /// A list without a name for people.
    #[must_use]
    pub fn new(sid: IpAccessControlListSid, account: AccountSid) -> Self {
        Self { sid, account, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl IpAddress {
    /// An entry without a name for people.
    #[must_use]
    pub fn new(sid: IpAddressSid, list: IpAccessControlListSid, prefix: Prefix) -> Self {
        Self { sid, list, prefix, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl CredentialList {
    /// A list without a name for people.
    #[must_use]
    pub fn new(sid: CredentialListSid, account: AccountSid, realm: Realm) -> Self {
        Self { sid, account, realm, friendly_name: String::new(), dates: Dates::default() }
    }
}

impl Credential {
    /// A credential that is not disabled.
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
    /// The policy of `target`.
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
