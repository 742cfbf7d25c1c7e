//! The stored format of each kind of record, separate from the record types. Only these types implement
//! `Serialize`, so secrets are serialized here only.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use sip_authz::acl::Prefix;
use sip_authz::digest::{GuessRate, HashFunction};
use sip_authz::model::{
    Account, AccountStatus, Callback, Credential, CredentialList, Dates, Domain, DomainName,
    DomainSettings, GuessPolicy, Ha1Error, IpAccessControlList, IpAddress, Key, Mapping,
    MappingRecord, OnAccept, Policy, PolicyRecord, Realm, Record, Role, RoleKind, Target,
    TokenHash, TransferCallerId, TransferMode, Trunk, TrunkSettings, UserName,
};
use sip_authz::{
    AccountSid, ByocTrunkSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid,
    IpAddressSid, PhoneNumberSid, RoleSid, ServiceSid, TrunkSid,
};

use super::hashes::{self, WithHashes};

/// The version of the format.
const VERSION: u32 = 1;

/// Serializes as [`VERSION`], and rejects every other version.
struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u32::deserialize(from)? {
            VERSION => Ok(Self),
            other => Err(de::Error::custom(format!("unsupported version {other}"))),
        }
    }
}

/// Bytes in hexadecimal, wiped when they are dropped.
#[derive(PartialEq, Eq)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Drop for Hex<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new([0_u8; 64]);
        let text = text.get_mut(..N * 2).ok_or_else(|| serde::ser::Error::custom("too long"))?;
        hex::encode_to_slice(self.0, text).map_err(serde::ser::Error::custom)?;
        to.serialize_str(str::from_utf8(text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Digits<const N: usize>;

        impl<const N: usize> Visitor<'_> for Digits<N> {
            type Value = Hex<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} hexadecimal digits", N * 2)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<N>, E> {
                let mut bytes = Hex([0; N]);
                match hex::decode_to_slice(text, &mut bytes.0) {
                    Ok(()) => Ok(bytes),
                    // the text is secret and stays out of the error
                    Err(_) => Err(E::custom("expected hexadecimal digits")),
                }
            }
        }

        from.deserialize_str(Digits::<N>)
    }
}

/// The fields that a reader may ignore. This version writes none, and ignores those of later versions.
#[derive(Default, Deserialize)]
struct Ignorable {}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The stored type of a field of type `T`.
trait Stored<'a, T> {
    fn of(field: &'a T) -> Self;
    fn into_field(self) -> T;
}

impl<T: Clone> Stored<'_, T> for T {
    fn of(field: &T) -> Self {
        field.clone()
    }

    fn into_field(self) -> T {
        self
    }
}

impl<'a> Stored<'a, String> for Cow<'a, str> {
    fn of(field: &'a String) -> Self {
        Cow::Borrowed(field)
    }

    fn into_field(self) -> String {
        self.into_owned()
    }
}

impl<'a> Stored<'a, Vec<String>> for Cow<'a, [String]> {
    fn of(field: &'a Vec<String>) -> Self {
        Cow::Borrowed(field)
    }

    fn into_field(self) -> Vec<String> {
        self.into_owned()
    }
}

impl Stored<'_, Option<TokenHash>> for Option<Hex<32>> {
    fn of(field: &Option<TokenHash>) -> Self {
        field.map(|TokenHash(hash)| Hex(hash))
    }

    fn into_field(self) -> Option<TokenHash> {
        self.map(|hash| TokenHash(hash.0))
    }
}

/// Declares the format of a kind of record, and the conversions in both directions. The field after
/// `by` is in the key. A format with a lifetime has a friendly name; all have dates.
macro_rules! value {
    ($name:ident$(<$a:lifetime>)? of $record:ident by $key:ident: $key_type:ty {
        $($(#[$meta:meta])* $field:ident: $type:ty,)*
    } $(settings: $settings:ident {
        $($(#[$setting_meta:meta])* $setting:ident: $setting_type:ty,)*
    })?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name$(<$a>)? {
            v: Version,
            $($(#[$meta])* $field: $type,)*
            $($($(#[$setting_meta])* $setting: $setting_type,)*)?
            $(
                #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
                friendly_name: Cow<$a, str>,
            )?
            #[serde(default, skip_serializing_if = "is_default")]
            created: u64,
            #[serde(default, skip_serializing_if = "is_default")]
            updated: u64,
            #[serde(default, skip_serializing)]
            ignorable: Ignorable,
        }

        impl$(<$a>)? $name$(<$a>)? {
            fn of(record: &$($a)? $record) -> Self {
                Self {
                    v: Version,
                    $($field: Stored::of(&record.$field),)*
                    $($($setting: Stored::of(&record.settings.$setting),)*)?
                    $(friendly_name: <Cow<$a, str>>::of(&record.friendly_name),)?
                    created: record.dates.created,
                    updated: record.dates.updated,
                    ignorable: Ignorable {},
                }
            }

            fn into_record(self, $key: $key_type) -> Record {
                let Ignorable {} = self.ignorable;
                $record {
                    $key,
                    $($field: self.$field.into_field(),)*
                    $(settings: $settings { $($setting: self.$setting.into_field(),)* },)?
                    $(friendly_name: <Cow<$a, str>>::into_field(self.friendly_name),)?
                    dates: Dates { created: self.created, updated: self.updated },
                }
                .into()
            }
        }
    };
}

value! {
    AccountValue<'a> of Account by sid: AccountSid {
        status: AccountStatus,
        #[serde(rename = "token_sha256", default, skip_serializing_if = "Option::is_none")]
        token: Option<Hex<32>>,
        // format 2
        #[serde(rename = "secondary_token_sha256", default, skip_serializing_if = "Option::is_none")]
        secondary_token: Option<Hex<32>>,
    }
}

value! {
    AccessListValue<'a> of IpAccessControlList by sid: IpAccessControlListSid {
        account: AccountSid,
    }
}

value! {
    CredentialListValue<'a> of CredentialList by sid: CredentialListSid {
        account: AccountSid,
        realm: Realm,
    }
}

value! {
    AddressValue<'a> of IpAddress by sid: IpAddressSid {
        list: IpAccessControlListSid,
        prefix: Prefix,
    }
}

value! {
    DomainValue<'a> of Domain by sid: DomainSid {
        account: AccountSid,
        name: DomainName,
        #[serde(default, skip_serializing_if = "is_default")]
        secure: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_accept: Option<OnAccept>,
    } settings: DomainSettings {
        #[serde(default, skip_serializing_if = "is_default")]
        voice: Callback,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_fallback: Callback,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_status_callback: Callback,
        #[serde(default, skip_serializing_if = "is_default")]
        sip_registration: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        emergency_calling_enabled: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        byoc_trunk: Option<ByocTrunkSid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        emergency_caller: Option<PhoneNumberSid>,
    }
}

value! {
    TrunkValue<'a> of Trunk by sid: TrunkSid {
        account: AccountSid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<DomainName>,
        #[serde(default, skip_serializing_if = "is_default")]
        secure: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_accept: Option<OnAccept>,
    } settings: TrunkSettings {
        #[serde(default, skip_serializing_if = "is_default")]
        disaster_recovery: Callback,
        transfer_mode: TransferMode,
        transfer_caller_id: TransferCallerId,
        #[serde(default, skip_serializing_if = "is_default")]
        cnam_lookup_enabled: bool,
    }
}

value! {
    MappingValue of MappingRecord by mapping: Mapping {
        since: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleSid>,
    }
}

value! {
    RoleValue<'a> of Role by sid: RoleSid {
        account: AccountSid,
        service: ServiceSid,
        kind: RoleKind,
        permissions: Cow<'a, [String]>,
    }
}

macro_rules! policy_value {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct PolicyValue {
            v: Version,
            $($(#[$stored])? $field: $type,)*
            guesses_by_source: GuessRate,
            guesses_by_pair: GuessRate,
            // the field may be null but must be present
            #[serde(deserialize_with = "Option::deserialize")]
            guesses_by_name: Option<GuessRate>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            guesses_by_any_name: Option<GuessRate>,
            #[serde(default, skip_serializing_if = "is_default")]
            created: u64,
            #[serde(default, skip_serializing_if = "is_default")]
            updated: u64,
            #[serde(default, skip_serializing)]
            ignorable: Ignorable,
        }

        impl PolicyValue {
            fn of(PolicyRecord { target: _, policy, dates }: &PolicyRecord) -> Self {
                let GuessPolicy { source, pair, name, any_name, .. } = policy.guesses;
                Self {
                    v: Version,
                    $($field: Stored::of(&policy.$field),)*
                    guesses_by_source: source,
                    guesses_by_pair: pair,
                    guesses_by_name: name,
                    guesses_by_any_name: any_name,
                    created: dates.created,
                    updated: dates.updated,
                    ignorable: Ignorable {},
                }
            }

            fn into_record(self, target: Target) -> Record {
                let Ignorable {} = self.ignorable;
                let mut policy = Policy::default();
                $(policy.$field = self.$field;)*
                policy.guesses = GuessPolicy::default()
                    .with_source(self.guesses_by_source)
                    .with_pair(self.guesses_by_pair)
                    .with_name(self.guesses_by_name)
                    .with_any_name(self.guesses_by_any_name);
                let dates = Dates { created: self.created, updated: self.updated };
                PolicyRecord { target, policy, dates }.into()
            }
        }
    };
}
sip_authz::policy_fields!(policy_value);

/// A credential without its hashes, which [`WithHashes`] reads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialValue {
    #[serde(rename = "v")]
    _version: Version,
    list: CredentialListSid,
    username: UserName,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    role: Option<RoleSid>,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    updated: u64,
    #[serde(rename = "ignorable", default)]
    _ignorable: Ignorable,
}

fn into_credential(
    value: WithHashes<CredentialValue>,
    sid: CredentialSid,
) -> Result<Record, Ha1Error> {
    let ha1 = value.ha1()?;
    let CredentialValue { _version, list, username, disabled, role, created, updated, _ignorable } =
        value.others;
    let dates = Dates { created, updated };
    Ok(Credential { sid, list, username, ha1, disabled, role, dates }.into())
}

/// A credential with its hashes. The fields depend on the hash functions.
pub(super) struct WrittenCredential<'a>(&'a Credential);

impl Serialize for WrittenCredential<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Credential { sid: _, list, username, ha1, disabled, role, dates } = self.0;
        let mut fields = to.serialize_struct("Credential", 7 + HashFunction::COUNT)?;
        fields.serialize_field("v", &Version)?;
        fields.serialize_field("list", list)?;
        fields.serialize_field("username", username)?;
        hashes::write(ha1, &mut fields)?;
        if *disabled {
            fields.serialize_field("disabled", disabled)?;
        }
        if let Some(role) = role {
            fields.serialize_field("role", role)?;
        }
        for (name, date) in [("created", dates.created), ("updated", dates.updated)] {
            if date > 0 {
                fields.serialize_field(name, &date)?;
            }
        }
        fields.end()
    }
}

/// The format of a record of any kind. The key determines the kind.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    Account(AccountValue<'a>),
    AccessList(AccessListValue<'a>),
    CredentialList(CredentialListValue<'a>),
    Address(AddressValue<'a>),
    Credential(WrittenCredential<'a>),
    Domain(Box<DomainValue<'a>>),
    Trunk(TrunkValue<'a>),
    Policy(PolicyValue),
    Mapping(MappingValue),
    Role(RoleValue<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        match record {
            Record::Account(account) => Self::Account(AccountValue::of(account)),
            Record::IpAccessControlList(list) => Self::AccessList(AccessListValue::of(list)),
            Record::CredentialList(list) => Self::CredentialList(CredentialListValue::of(list)),
            Record::IpAddress(address) => Self::Address(AddressValue::of(address)),
            Record::Credential(credential) => Self::Credential(WrittenCredential(credential)),
            Record::Domain(domain) => Self::Domain(Box::new(DomainValue::of(domain))),
            Record::Trunk(trunk) => Self::Trunk(TrunkValue::of(trunk)),
            Record::Policy(record) => Self::Policy(PolicyValue::of(record)),
            Record::Mapping(record) => Self::Mapping(MappingValue::of(record)),
            Record::Role(role) => Self::Role(RoleValue::of(role)),
        }
    }
}

/// Decodes a record of the kind that the key has.
pub(super) fn record(key: Key, value: &[u8]) -> Result<Record, serde_json::Error> {
    fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice(value)
    }
    Ok(match key {
        Key::Account(sid) => read::<AccountValue<'_>>(value)?.into_record(sid),
        Key::IpAccessControlList(sid) => read::<AccessListValue<'_>>(value)?.into_record(sid),
        Key::CredentialList(sid) => read::<CredentialListValue<'_>>(value)?.into_record(sid),
        Key::IpAddress(sid) => read::<AddressValue<'_>>(value)?.into_record(sid),
        Key::Credential(sid) => into_credential(read(value)?, sid).map_err(de::Error::custom)?,
        Key::Target(Target::Domain(sid)) => read::<DomainValue<'_>>(value)?.into_record(sid),
        Key::Target(Target::Trunk(sid)) => read::<TrunkValue<'_>>(value)?.into_record(sid),
        Key::Policy(target) => read::<PolicyValue>(value)?.into_record(target),
        Key::Mapping(mapping) => read::<MappingValue>(value)?.into_record(mapping),
        Key::Role(sid) => read::<RoleValue<'_>>(value)?.into_record(sid),
    })
}
