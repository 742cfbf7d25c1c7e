//! The forms of the values, which stand between the records and serde: no record can be serialised
//! but by them, and secrets are written nowhere else.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use sip_authz::acl::Prefix;
use sip_authz::digest::{Algorithm, GuessRate, HashFunction};
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Callback, ChallengeKind, Credential, CredentialList,
    Dates, Domain, DomainName, DomainSettings, GuessPolicy, Ha1Set, HttpMethod,
    IpAccessControlList, IpAddress, Key, MappingRecord, Policy, PolicyRecord, QopOffer, Realm,
    Record, Role, RoleKind, Target, TokenHash, TransferCallerId, TransferMode, Trunk,
    TrunkSettings, UriCheck, UserName, WrongAnswer,
};
use sip_authz::{
    AccountSid, ByocTrunkSid, CredentialListSid, IpAccessControlListSid, PhoneNumberSid, RoleSid,
    ServiceSid,
};

/// The version of the forms.
const VERSION: u32 = 1;

/// Stands for [`VERSION`] and no other.
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
            other => Err(de::Error::custom(format!("version {other} is not known"))),
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
                    // without the text, which is secret
                    Err(_) => Err(E::custom("not hexadecimal digits")),
                }
            }
        }

        from.deserialize_str(Digits::<N>)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! value {
    (struct $name:ident<'a> { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name<'a> {
            v: Version,
            $($(#[$meta])* $field: $type,)*
            #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
            friendly_name: Cow<'a, str>,
            #[serde(default, skip_serializing_if = "is_default")]
            created: u64,
            #[serde(default, skip_serializing_if = "is_default")]
            updated: u64,
        }
    };
    (struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            v: Version,
            $($(#[$meta])* $field: $type,)*
            #[serde(default, skip_serializing_if = "is_default")]
            created: u64,
            #[serde(default, skip_serializing_if = "is_default")]
            updated: u64,
        }
    };
}

value! {
    struct AccountValue<'a> {
        status: AccountStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_sha256: Option<Hex<32>>,
    }
}

value! {
    struct AccessListValue<'a> {
        account: AccountSid,
    }
}

value! {
    struct CredentialListValue<'a> {
        account: AccountSid,
        realm: Realm,
    }
}

value! {
    struct AddressValue<'a> {
        list: IpAccessControlListSid,
        prefix: Prefix,
    }
}

value! {
    struct CredentialValue {
        list: CredentialListSid,
        username: UserName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        md5: Option<Hex<16>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Hex<32>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha512_256: Option<Hex<32>>,
        #[serde(default, skip_serializing_if = "is_default")]
        disabled: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleSid>,
    }
}

value! {
    struct DomainValue<'a> {
        account: AccountSid,
        name: DomainName,
        #[serde(default, skip_serializing_if = "is_default")]
        secure: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        voice: CallbackValue,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_fallback: CallbackValue,
        #[serde(default, skip_serializing_if = "is_default")]
        voice_status_callback: CallbackValue,
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
    struct TrunkValue<'a> {
        account: AccountSid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<DomainName>,
        #[serde(default, skip_serializing_if = "is_default")]
        secure: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        disaster_recovery: CallbackValue,
        transfer_mode: TransferMode,
        transfer_caller_id: TransferCallerId,
        #[serde(default, skip_serializing_if = "is_default")]
        cnam_lookup_enabled: bool,
    }
}

value! {
    struct PolicyValue {
        algorithms: Vec<Algorithm>,
        qop: QopOffer,
        allow_rfc2069: bool,
        uri_check: UriCheck,
        nonce_lifetime: u32,
        bind_source: bool,
        wrong_answer: WrongAnswer,
        from_must_match: bool,
        userhash: bool,
        challenge: ChallengeKind,
        guesses_by_source: GuessRate,
        guesses_by_pair: GuessRate,
        // may be null, must not be missing
        #[serde(deserialize_with = "Option::deserialize")]
        guesses_by_name: Option<GuessRate>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guesses_by_any_name: Option<GuessRate>,
    }
}

value! {
    struct MappingValue {
        since: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleSid>,
    }
}

value! {
    struct RoleValue<'a> {
        account: AccountSid,
        service: ServiceSid,
        kind: RoleKind,
        permissions: Cow<'a, [String]>,
    }
}

#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallbackValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<HttpMethod>,
}

impl CallbackValue {
    fn of(callback: &Callback) -> Self {
        Self { url: callback.url.clone(), method: callback.method }
    }

    fn into_callback(self) -> Callback {
        Callback { url: self.url, method: self.method }
    }
}

/// The form of a record of any kind; the key says which.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    Account(AccountValue<'a>),
    AccessList(AccessListValue<'a>),
    CredentialList(CredentialListValue<'a>),
    Address(AddressValue<'a>),
    Credential(CredentialValue),
    Domain(Box<DomainValue<'a>>),
    Trunk(TrunkValue<'a>),
    Policy(PolicyValue),
    Mapping(MappingValue),
    Role(RoleValue<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let named = |name: &'a String| Cow::Borrowed(name.as_str());
        match record {
            Record::Account(Account { sid: _, friendly_name, status, token, dates }) => {
                Self::Account(AccountValue {
                    v: Version,
                    status: *status,
                    token_sha256: token.map(|TokenHash(hash)| Hex(hash)),
                    friendly_name: named(friendly_name),
                    created: dates.created,
                    updated: dates.updated,
                })
            }
            Record::IpAccessControlList(list) => {
                let IpAccessControlList { sid: _, account, friendly_name, dates } = list;
                Self::AccessList(AccessListValue {
                    v: Version,
                    account: *account,
                    friendly_name: named(friendly_name),
                    created: dates.created,
                    updated: dates.updated,
                })
            }
            Record::CredentialList(list) => {
                let CredentialList { sid: _, account, realm, friendly_name, dates } = list;
                Self::CredentialList(CredentialListValue {
                    v: Version,
                    account: *account,
                    realm: realm.clone(),
                    friendly_name: named(friendly_name),
                    created: dates.created,
                    updated: dates.updated,
                })
            }
            Record::IpAddress(IpAddress { sid: _, list, prefix, friendly_name, dates }) => {
                Self::Address(AddressValue {
                    v: Version,
                    list: *list,
                    prefix: *prefix,
                    friendly_name: named(friendly_name),
                    created: dates.created,
                    updated: dates.updated,
                })
            }
            Record::Credential(credential) => Self::Credential(of_credential(credential)),
            Record::Domain(domain) => Self::Domain(Box::new(of_domain(domain))),
            Record::Trunk(trunk) => Self::Trunk(of_trunk(trunk)),
            Record::Policy(record) => Self::Policy(of_policy(record)),
            Record::Mapping(MappingRecord { mapping: _, role, since, dates }) => {
                Self::Mapping(MappingValue {
                    v: Version,
                    since: *since,
                    role: *role,
                    created: dates.created,
                    updated: dates.updated,
                })
            }
            Record::Role(role) => {
                let Role { sid: _, account, service, friendly_name, kind, permissions, dates } =
                    role;
                Self::Role(RoleValue {
                    v: Version,
                    account: *account,
                    service: *service,
                    kind: *kind,
                    permissions: Cow::Borrowed(permissions),
                    friendly_name: named(friendly_name),
                    created: dates.created,
                    updated: dates.updated,
                })
            }
        }
    }
}

fn of_credential(credential: &Credential) -> CredentialValue {
    let Credential { sid: _, list, username, ha1, disabled, role, dates } = credential;
    fn hex<const N: usize>(ha1: &Ha1Set, function: HashFunction) -> Option<Hex<N>> {
        let hash = ha1.get(function)?;
        let mut bytes = Hex([0; N]);
        bytes.0.iter_mut().zip(hash).for_each(|(byte, from)| *byte = *from);
        Some(bytes)
    }
    CredentialValue {
        v: Version,
        list: *list,
        username: username.clone(),
        md5: hex(ha1, HashFunction::Md5),
        sha256: hex(ha1, HashFunction::Sha256),
        sha512_256: hex(ha1, HashFunction::Sha512_256),
        disabled: *disabled,
        role: *role,
        created: dates.created,
        updated: dates.updated,
    }
}

fn of_domain(domain: &Domain) -> DomainValue<'_> {
    let Domain { sid: _, account, name, friendly_name, secure, settings, dates } = domain;
    let DomainSettings {
        voice,
        voice_fallback,
        voice_status_callback,
        sip_registration,
        emergency_calling_enabled,
        byoc_trunk,
        emergency_caller,
    } = settings;
    DomainValue {
        v: Version,
        account: *account,
        name: name.clone(),
        secure: *secure,
        voice: CallbackValue::of(voice),
        voice_fallback: CallbackValue::of(voice_fallback),
        voice_status_callback: CallbackValue::of(voice_status_callback),
        sip_registration: *sip_registration,
        emergency_calling_enabled: *emergency_calling_enabled,
        byoc_trunk: *byoc_trunk,
        emergency_caller: *emergency_caller,
        friendly_name: Cow::Borrowed(friendly_name),
        created: dates.created,
        updated: dates.updated,
    }
}

fn of_trunk(trunk: &Trunk) -> TrunkValue<'_> {
    let Trunk { sid: _, account, name, friendly_name, secure, settings, dates } = trunk;
    let TrunkSettings { disaster_recovery, transfer_mode, transfer_caller_id, cnam_lookup_enabled } =
        settings;
    TrunkValue {
        v: Version,
        account: *account,
        name: name.clone(),
        secure: *secure,
        disaster_recovery: CallbackValue::of(disaster_recovery),
        transfer_mode: *transfer_mode,
        transfer_caller_id: *transfer_caller_id,
        cnam_lookup_enabled: *cnam_lookup_enabled,
        friendly_name: Cow::Borrowed(friendly_name),
        created: dates.created,
        updated: dates.updated,
    }
}

fn of_policy(record: &PolicyRecord) -> PolicyValue {
    let PolicyRecord { target: _, policy, dates } = record;
    let Policy {
        algorithms,
        qop,
        allow_rfc2069,
        uri_check,
        nonce_lifetime,
        bind_source,
        wrong_answer,
        from_must_match,
        userhash,
        challenge,
        guesses: GuessPolicy { source, pair, name, any_name, .. },
        ..
    } = policy;
    PolicyValue {
        v: Version,
        algorithms: algorithms.iter().collect(),
        qop: *qop,
        allow_rfc2069: *allow_rfc2069,
        uri_check: *uri_check,
        nonce_lifetime: *nonce_lifetime,
        bind_source: *bind_source,
        wrong_answer: *wrong_answer,
        from_must_match: *from_must_match,
        userhash: *userhash,
        challenge: *challenge,
        guesses_by_source: *source,
        guesses_by_pair: *pair,
        guesses_by_name: *name,
        guesses_by_any_name: *any_name,
        created: dates.created,
        updated: dates.updated,
    }
}

/// Reads the form that the key says.
pub(super) fn record(key: Key, value: &[u8]) -> Result<Record, serde_json::Error> {
    fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice(value)
    }
    Ok(match key {
        Key::Account(sid) => {
            let value: AccountValue<'_> = read(value)?;
            let token = value.token_sha256.map(|hash| TokenHash(hash.0));
            let (friendly_name, status) = (value.friendly_name.into_owned(), value.status);
            let dates = Dates { created: value.created, updated: value.updated };
            Account { sid, friendly_name, status, token, dates }.into()
        }
        Key::IpAccessControlList(sid) => {
            let value: AccessListValue<'_> = read(value)?;
            let (account, friendly_name) = (value.account, value.friendly_name.into_owned());
            let dates = Dates { created: value.created, updated: value.updated };
            IpAccessControlList { sid, account, friendly_name, dates }.into()
        }
        Key::CredentialList(sid) => {
            let value: CredentialListValue<'_> = read(value)?;
            let CredentialListValue { account, realm, friendly_name, created, updated, .. } = value;
            let (friendly_name, dates) = (friendly_name.into_owned(), Dates { created, updated });
            CredentialList { sid, account, realm, friendly_name, dates }.into()
        }
        Key::IpAddress(sid) => {
            let value: AddressValue<'_> = read(value)?;
            let AddressValue { list, prefix, friendly_name, created, updated, .. } = value;
            let (friendly_name, dates) = (friendly_name.into_owned(), Dates { created, updated });
            IpAddress { sid, list, prefix, friendly_name, dates }.into()
        }
        Key::Credential(sid) => {
            let value: CredentialValue = read(value)?;
            let (md5, sha256) = (value.md5.map(|hash| hash.0), value.sha256.map(|hash| hash.0));
            let ha1 = Ha1Set::from_bytes(md5, sha256, value.sha512_256.map(|hash| hash.0));
            Credential {
                sid,
                list: value.list,
                username: value.username,
                ha1: ha1.map_err(de::Error::custom)?,
                disabled: value.disabled,
                role: value.role,
                dates: Dates { created: value.created, updated: value.updated },
            }
            .into()
        }
        Key::Target(Target::Domain(sid)) => {
            let value: DomainValue<'_> = read(value)?;
            let settings = DomainSettings {
                voice: value.voice.into_callback(),
                voice_fallback: value.voice_fallback.into_callback(),
                voice_status_callback: value.voice_status_callback.into_callback(),
                sip_registration: value.sip_registration,
                emergency_calling_enabled: value.emergency_calling_enabled,
                byoc_trunk: value.byoc_trunk,
                emergency_caller: value.emergency_caller,
            };
            Domain {
                sid,
                account: value.account,
                name: value.name,
                friendly_name: value.friendly_name.into_owned(),
                secure: value.secure,
                settings,
                dates: Dates { created: value.created, updated: value.updated },
            }
            .into()
        }
        Key::Target(Target::Trunk(sid)) => {
            let value: TrunkValue<'_> = read(value)?;
            let settings = TrunkSettings {
                disaster_recovery: value.disaster_recovery.into_callback(),
                transfer_mode: value.transfer_mode,
                transfer_caller_id: value.transfer_caller_id,
                cnam_lookup_enabled: value.cnam_lookup_enabled,
            };
            Trunk {
                sid,
                account: value.account,
                name: value.name,
                friendly_name: value.friendly_name.into_owned(),
                secure: value.secure,
                settings,
                dates: Dates { created: value.created, updated: value.updated },
            }
            .into()
        }
        Key::Policy(target) => {
            let value: PolicyValue = read(value)?;
            let policy = Policy::default()
                .with_algorithms(AlgorithmOffer::new(value.algorithms).map_err(de::Error::custom)?)
                .with_qop(value.qop)
                .with_allow_rfc2069(value.allow_rfc2069)
                .with_uri_check(value.uri_check)
                .with_nonce_lifetime(value.nonce_lifetime)
                .with_bind_source(value.bind_source)
                .with_wrong_answer(value.wrong_answer)
                .with_from_must_match(value.from_must_match)
                .with_userhash(value.userhash)
                .with_challenge(value.challenge)
                .with_guesses(
                    GuessPolicy::default()
                        .with_source(value.guesses_by_source)
                        .with_pair(value.guesses_by_pair)
                        .with_name(value.guesses_by_name)
                        .with_any_name(value.guesses_by_any_name),
                );
            let dates = Dates { created: value.created, updated: value.updated };
            PolicyRecord { target, policy, dates }.into()
        }
        Key::Mapping(mapping) => {
            let MappingValue { v: Version, since, role, created, updated } = read(value)?;
            MappingRecord { mapping, role, since, dates: Dates { created, updated } }.into()
        }
        Key::Role(sid) => {
            let value: RoleValue<'_> = read(value)?;
            let RoleValue { account, service, kind, permissions, created, updated, .. } = value;
            Role {
                sid,
                account,
                service,
                friendly_name: value.friendly_name.into_owned(),
                kind,
                permissions: permissions.into_owned(),
                dates: Dates { created, updated },
            }
            .into()
        }
    })
}
