//! The form in which records leave and enter by whole batches: JSON, one array for each kind of
//! record, every value checked by the type it becomes.
//!
//! Passwords and hashes are never shown by an error, whatever stands in their place.

use serde::{Deserialize, Serialize};

use super::value::{ListSid, Secret, Stamp, TargetSid};
use sip_authz::acl::Prefix;
use sip_authz::digest::GuessRate;
use sip_authz::model::{
    AccountStatus, ChallengeKind, DomainName, HttpMethod, QopOffer, Realm, RoleKind,
    TransferCallerId, TransferMode, UriCheck, UserName, WrongAnswer,
};
use sip_authz::{
    AccountSid, ByocTrunkSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid,
    IpAddressSid, PhoneNumberSid, RoleSid, ServiceSid, TrunkSid,
};

/// The name of the form, which a document begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// The only one there is.
    #[default]
    #[serde(rename = "sip-authz/1")]
    V1,
}

/// Records of all kinds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Which form this is.
    pub format: Format,
    /// The accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountEntry>,
    /// The IP access control lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_access_control_lists: Vec<AccessListEntry>,
    /// Their entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<AddressEntry>,
    /// The credential lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credential_lists: Vec<CredentialListEntry>,
    /// Their users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<CredentialEntry>,
    /// The SIP domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<DomainEntry>,
    /// The trunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<TrunkEntry>,
    /// The policies of domains and trunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyEntry>,
    /// The roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleEntry>,
    /// Which list is mapped to what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<MappingEntry>,
}

impl Document {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
            + self.ip_access_control_lists.len()
            + self.ip_addresses.len()
            + self.credential_lists.len()
            + self.credentials.len()
            + self.domains.len()
            + self.trunks.len()
            + self.policies.len()
            + self.roles.len()
            + self.mappings.len()
    }

    /// The same without dates: whoever imports it gives them.
    #[must_use]
    pub fn without_dates(mut self) -> Self {
        self.accounts.iter_mut().for_each(|entry| entry.dates = None);
        self.ip_access_control_lists.iter_mut().for_each(|entry| entry.dates = None);
        self.ip_addresses.iter_mut().for_each(|entry| entry.dates = None);
        self.credential_lists.iter_mut().for_each(|entry| entry.dates = None);
        self.credentials.iter_mut().for_each(|entry| entry.dates = None);
        self.domains.iter_mut().for_each(|entry| entry.dates = None);
        self.trunks.iter_mut().for_each(|entry| entry.dates = None);
        self.policies.iter_mut().for_each(|entry| entry.dates = None);
        self.roles.iter_mut().for_each(|entry| entry.dates = None);
        self.mappings.iter_mut().for_each(|entry| entry.dates = None);
        self
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// When a record was made and changed, as `2018-04-27T22:02:11Z`; what nobody knows is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatesEntry {
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Stamp>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Stamp>,
}

/// An account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AccountEntry {
    pub sid: AccountSid,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default)]
    pub status: AccountStatus,
    /// The SHA-256 of its auth token. Without it the account keeps the token it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// An IP access control list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AccessListEntry {
    pub sid: IpAccessControlListSid,
    pub account_sid: AccountSid,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// An entry of an IP access control list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AddressEntry {
    pub sid: IpAddressSid,
    pub ip_access_control_list_sid: IpAccessControlListSid,
    pub address: Prefix,
    /// Says on purpose that a prefix of length 0 is meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_all: bool,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// A credential list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CredentialListEntry {
    pub sid: CredentialListSid,
    pub account_sid: AccountSid,
    pub realm: Realm,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// A user of a credential list, with a password, with hashes, or with neither: then those that are
/// there stay.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CredentialEntry {
    pub sid: CredentialSid,
    pub credential_list_sid: CredentialListSid,
    pub username: UserName,
    /// Never in an export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha1: Option<Ha1Entry>,
    /// Where it is not named, a user that is disabled stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Where it is not named, a user keeps the role that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sid: Option<RoleSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// H(username:realm:password) in hexadecimal, for at least one algorithm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Ha1Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Secret>,
    #[serde(default, rename = "sha-256", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Secret>,
    #[serde(default, rename = "sha-512-256", skip_serializing_if = "Option::is_none")]
    pub sha512_256: Option<Secret>,
}

/// A URL and how it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CallbackEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// A SIP domain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DomainEntry {
    pub sid: DomainSid,
    pub account_sid: AccountSid,
    pub domain_name: DomainName,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default)]
    pub secure: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub voice: CallbackEntry,
    #[serde(default, skip_serializing_if = "is_default")]
    pub voice_fallback: CallbackEntry,
    #[serde(default, skip_serializing_if = "is_default")]
    pub voice_status_callback: CallbackEntry,
    #[serde(default, skip_serializing_if = "is_false")]
    pub sip_registration: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub emergency_calling_enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byoc_trunk_sid: Option<ByocTrunkSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_caller_sid: Option<PhoneNumberSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// A trunk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct TrunkEntry {
    pub sid: TrunkSid,
    pub account_sid: AccountSid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_name: Option<DomainName>,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default)]
    pub secure: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub disaster_recovery: CallbackEntry,
    #[serde(default)]
    pub transfer_mode: TransferMode,
    #[serde(default)]
    pub transfer_caller_id: TransferCallerId,
    #[serde(default, skip_serializing_if = "is_false")]
    pub cnam_lookup_enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// The policy of a domain or trunk. What is left out has its default.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct PolicyEntry {
    pub target_sid: TargetSid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qop: Option<QopOffer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_rfc2069: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri_check: Option<UriCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_lifetime: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_source: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_answer: Option<WrongAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_must_match: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userhash: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guesses: Option<GuessesEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// How fast passwords may be guessed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct GuessesEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<GuessRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<GuessRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<GuessRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_name: Option<GuessRate>,
}

/// A role.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RoleEntry {
    pub sid: RoleSid,
    pub account_sid: AccountSid,
    pub service_sid: ServiceSid,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(rename = "type")]
    pub kind: RoleKind,
    pub permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// What a mapped list is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Deciding calls.
    #[default]
    Calls,
    /// Registrations at a domain.
    Registrations,
}

/// A list mapped to a domain or trunk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct MappingEntry {
    pub target_sid: TargetSid,
    pub list_sid: ListSid,
    #[serde(default)]
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sid: Option<RoleSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

// the form that skip_serializing_if wants
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
