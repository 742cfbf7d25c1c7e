//! The JSON format of export and import: one array for each kind of record. Each value is checked by the
//! type of its field.
//!
//! Error messages never contain a password or hash, nor an invalid value in its field.

use serde::{Deserialize, Serialize};

use super::value::{ListSid, Secret, Stamp, TargetSid};
use sip_authz::acl::Prefix;
use sip_authz::digest::PerHashFunction;
use sip_authz::model::{
    AccountStatus, Callback, CredentialList, Dates, Domain, DomainName, DomainSettings,
    GuessPolicy, IpAccessControlList, OnAccept, Policy, PolicyRecord, Realm, Record, Role,
    RoleKind, TransferCallerId, TransferMode, Trunk, TrunkSettings, UserName,
};
use sip_authz::{
    AccountSid, ByocTrunkSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid,
    IpAddressSid, PhoneNumberSid, RoleSid, ServiceSid, TrunkSid,
};
use sip_authz_directory::{Incoming, IncomingRecord};

/// An invalid entry of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct DocumentError {
    /// The path of the entry or field, such as `credentials[3].ha1`.
    pub place: String,
    /// The reason.
    pub message: String,
}

/// The name and version of the document format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// Version 1, the only one.
    #[default]
    #[serde(rename = "sip-authz/1")]
    V1,
}

/// A document with records of all kinds. In the order of its arrays, each record refers only to records
/// before it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The name and version of the format.
    pub format: Format,
    /// The accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountEntry>,
    /// The roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleEntry>,
    /// The IP access control lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_access_control_lists: Vec<AccessListEntry>,
    /// The addresses of IP access control lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<AddressEntry>,
    /// The credential lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credential_lists: Vec<CredentialListEntry>,
    /// The users of credential lists.
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
    /// The mappings of lists to domains and trunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<MappingEntry>,
}

impl Document {
    /// The document of these records. It has hashes of passwords and tokens only if `secrets` is set.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>, secrets: bool) -> Self {
        let mut document = Self::default();
        for record in records {
            document.push(record, secrets);
        }
        document
    }

    /// The number of records.
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

    /// The same document without dates; an import then sets them to its own time.
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

    /// Whether the document has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The dates of a record, as `2018-04-27T22:02:11Z`. An unknown date is omitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatesEntry {
    /// The time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Stamp>,
    /// The time of the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Stamp>,
}

impl From<Dates> for DatesEntry {
    fn from(dates: Dates) -> Self {
        let stamp = |unix: u64| (unix > 0).then_some(Stamp(unix));
        Self { created: stamp(dates.created), updated: stamp(dates.updated) }
    }
}

impl From<DatesEntry> for Dates {
    fn from(entry: DatesEntry) -> Self {
        let unix = |stamp: Option<Stamp>| stamp.map_or(0, |Stamp(unix)| unix);
        Self { created: unix(entry.created), updated: unix(entry.updated) }
    }
}

pub(super) fn whole(record: impl Into<Record>, dates: Option<DatesEntry>) -> Incoming {
    Incoming { record: IncomingRecord::Whole(record.into()), dates: dates.map(Dates::from) }
}

/// Declares an entry with the fields of a record, and the conversions in both directions. The record's
/// field follows each field of the entry.
macro_rules! entry {
    ($(#[$doc:meta])* $name:ident of $record:ident {
        $($(#[$meta:meta])* $field:ident: $type:ty = $of:ident,)*
    } $(settings: $settings:ident {
        $($(#[$setting_meta:meta])* $setting:ident: $setting_type:ty = $of_setting:ident,)*
    })?) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs)]
        pub struct $name {
            $($(#[$meta])* pub $field: $type,)*
            $($($(#[$setting_meta])* pub $setting: $setting_type,)*)?
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub dates: Option<DatesEntry>,
        }

        impl From<&$record> for $name {
            fn from(record: &$record) -> Self {
                let $record { $($of,)* $(settings: $settings { $($of_setting,)* },)? dates } =
                    record.clone();
                Self {
                    $($field: $of,)*
                    $($($setting: $of_setting,)*)?
                    dates: Some(dates.into()),
                }
            }
        }

        impl From<$name> for Incoming {
            fn from(entry: $name) -> Self {
                let record = $record {
                    $($of: entry.$field,)*
                    $(settings: $settings { $($of_setting: entry.$setting,)* },)?
                    dates: Dates::default(),
                };
                whole(record, entry.dates)
            }
        }
    };
}

entry! {
    /// An IP access control list.
    AccessListEntry of IpAccessControlList {
        sid: IpAccessControlListSid = sid,
        account_sid: AccountSid = account,
        #[serde(default)]
        friendly_name: String = friendly_name,
    }
}

entry! {
    /// A credential list.
    CredentialListEntry of CredentialList {
        sid: CredentialListSid = sid,
        account_sid: AccountSid = account,
        realm: Realm = realm,
        #[serde(default)]
        friendly_name: String = friendly_name,
    }
}

entry! {
    /// A SIP domain.
    DomainEntry of Domain {
        sid: DomainSid = sid,
        account_sid: AccountSid = account,
        domain_name: DomainName = name,
        #[serde(default)]
        friendly_name: String = friendly_name,
        #[serde(default)]
        secure: bool = secure,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_accept: Option<OnAccept> = on_accept,
    } settings: DomainSettings {
        #[serde(default, skip_serializing_if = "is_default")]
        voice: Callback = voice,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_fallback: Callback = voice_fallback,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_status_callback: Callback = voice_status_callback,
        #[serde(default, skip_serializing_if = "is_default")]
        sip_registration: bool = sip_registration,
        #[serde(default, skip_serializing_if = "is_default")]
        emergency_calling_enabled: bool = emergency_calling_enabled,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        byoc_trunk_sid: Option<ByocTrunkSid> = byoc_trunk,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        emergency_caller_sid: Option<PhoneNumberSid> = emergency_caller,
    }
}

entry! {
    /// A trunk.
    TrunkEntry of Trunk {
        sid: TrunkSid = sid,
        account_sid: AccountSid = account,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain_name: Option<DomainName> = name,
        #[serde(default)]
        friendly_name: String = friendly_name,
        #[serde(default)]
        secure: bool = secure,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_accept: Option<OnAccept> = on_accept,
    } settings: TrunkSettings {
        #[serde(default, skip_serializing_if = "is_default")]
        disaster_recovery: Callback = disaster_recovery,
        #[serde(default)]
        transfer_mode: TransferMode = transfer_mode,
        #[serde(default)]
        transfer_caller_id: TransferCallerId = transfer_caller_id,
        #[serde(default, skip_serializing_if = "is_default")]
        cnam_lookup_enabled: bool = cnam_lookup_enabled,
    }
}

entry! {
    /// A role.
    RoleEntry of Role {
        sid: RoleSid = sid,
        account_sid: AccountSid = account,
        service_sid: ServiceSid = service,
        #[serde(default)]
        friendly_name: String = friendly_name,
        #[serde(rename = "type")]
        kind: RoleKind = kind,
        permissions: Vec<String> = permissions,
    }
}

macro_rules! policy_entry {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        /// The policy of a domain or trunk. Omitted fields have their defaults.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs)]
        pub struct PolicyEntry {
            pub target_sid: TargetSid,
            $(
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub guesses: Option<GuessPolicy>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub dates: Option<DatesEntry>,
        }

        impl From<&PolicyRecord> for PolicyEntry {
            fn from(record: &PolicyRecord) -> Self {
                let policy = record.policy.clone();
                Self {
                    target_sid: TargetSid(record.target),
                    $($field: Some(policy.$field),)*
                    guesses: Some(policy.guesses),
                    dates: Some(record.dates.into()),
                }
            }
        }

        impl From<PolicyEntry> for Incoming {
            fn from(entry: PolicyEntry) -> Self {
                let mut policy = Policy::DEFAULT;
                $(policy.$field = entry.$field.unwrap_or(policy.$field);)*
                policy.guesses = entry.guesses.unwrap_or(policy.guesses);
                whole(PolicyRecord::new(entry.target_sid.0, policy), entry.dates)
            }
        }
    };
}
sip_authz::policy_fields!(policy_entry);

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
    /// The SHA-256 of the auth token in hexadecimal. Without it an existing account keeps its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Secret>,
    /// The same for the secondary auth token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_token_sha256: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// An address or prefix of an IP access control list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AddressEntry {
    pub sid: IpAddressSid,
    pub ip_access_control_list_sid: IpAccessControlListSid,
    pub address: Prefix,
    /// Permits a prefix of length 0, which admits every address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_all: bool,
    #[serde(default)]
    pub friendly_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// A user of a credential list, with a password or hashes. With neither, an existing user keeps its hashes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CredentialEntry {
    pub sid: CredentialSid,
    pub credential_list_sid: CredentialListSid,
    pub username: UserName,
    /// The password in clear text. An export never has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha1: Option<PerHashFunction<Secret>>,
    /// Whether the user is disabled. If omitted, an existing user stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The deployment role. If omitted, an existing user keeps its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_sid: Option<RoleSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<DatesEntry>,
}

/// The purpose of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Authorizes calls.
    #[default]
    Calls,
    /// Authenticates registrations at a domain.
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

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
