//! The shape of the file. Every key that is not here is an error.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use sip_authz::acl::Prefix;
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::model::{
    self, AccountStatus, AlgorithmOffer, ChallengeKind, DomainName, GuessPolicy, Password,
    QopOffer, Realm, TokenHash, UriCheck, UserName, WrongAnswer,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    TrunkSid,
};
use toml::Spanned;

use crate::Problem;

/// Reads the text, without looking at what its parts mean to each other.
pub(crate) fn parse(text: &str) -> Result<File, Problem> {
    toml::from_str(text).map_err(|error| {
        // the display of the error would show the line, which may hold a password
        let mut message = error.message().to_owned();
        if message == "duplicate key"
            && let Some(key) = error.span().and_then(|span| text.get(span))
        {
            message = format!("{message} `{key}`");
        }
        Problem { span: error.span(), message }
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The realm of credential lists that name none.
    pub(crate) realm: Option<Realm>,
    #[serde(default)]
    pub(crate) accounts: Vec<Account>,
    #[serde(default)]
    pub(crate) ip_access_control_lists: Vec<AccessList>,
    #[serde(default)]
    pub(crate) credential_lists: Vec<CredentialList>,
    #[serde(default)]
    pub(crate) domains: Vec<Domain>,
    #[serde(default)]
    pub(crate) trunks: Vec<Trunk>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) name: Spanned<String>,
    pub(crate) sid: Option<AccountSid>,
    pub(crate) friendly_name: Option<String>,
    #[serde(default)]
    pub(crate) status: AccountStatus,
    pub(crate) token_sha256: Option<TokenSha256>,
}

/// What is kept of an account's auth token.
pub(crate) struct TokenSha256(pub(crate) TokenHash);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessList {
    pub(crate) name: Spanned<String>,
    pub(crate) sid: Option<IpAccessControlListSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) addresses: Vec<Spanned<Address>>,
}

/// A prefix as text, or a table with more about it.
pub(crate) struct Address {
    pub(crate) address: Prefix,
    pub(crate) sid: Option<IpAddressSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) allow_all: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressTable {
    address: Prefix,
    sid: Option<IpAddressSid>,
    friendly_name: Option<String>,
    #[serde(default)]
    allow_all: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialList {
    pub(crate) name: Spanned<String>,
    pub(crate) sid: Option<CredentialListSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Option<Spanned<String>>,
    pub(crate) realm: Option<Realm>,
    #[serde(default)]
    pub(crate) credentials: Vec<Spanned<Credential>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    pub(crate) username: Spanned<UserName>,
    pub(crate) sid: Option<CredentialSid>,
    pub(crate) password: Option<Spanned<Secret>>,
    pub(crate) ha1: Option<Spanned<Ha1>>,
    #[serde(default)]
    pub(crate) disabled: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ha1 {
    pub(crate) md5: Option<Spanned<Secret>>,
    #[serde(rename = "sha-256")]
    pub(crate) sha256: Option<Spanned<Secret>>,
    #[serde(rename = "sha-512-256")]
    pub(crate) sha512_256: Option<Spanned<Secret>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Domain {
    pub(crate) name: Spanned<DomainName>,
    pub(crate) sid: Option<DomainSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) secure: bool,
    #[serde(default)]
    pub(crate) ip_access_control_lists: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) credential_lists: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) registrations: Vec<Spanned<String>>,
    pub(crate) policy: Option<Spanned<Policy>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trunk {
    pub(crate) name: Spanned<String>,
    pub(crate) domain_name: Option<Spanned<DomainName>>,
    pub(crate) sid: Option<TrunkSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) secure: bool,
    #[serde(default)]
    pub(crate) ip_access_control_lists: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) credential_lists: Vec<Spanned<String>>,
    pub(crate) policy: Option<Spanned<Policy>>,
}

/// What is left out keeps its default.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) algorithms: Option<Algorithms>,
    pub(crate) qop: Option<QopOffer>,
    pub(crate) allow_rfc2069: Option<Spanned<bool>>,
    pub(crate) uri_check: Option<UriCheck>,
    pub(crate) nonce_lifetime: Option<Spanned<u32>>,
    pub(crate) bind_source: Option<bool>,
    pub(crate) wrong_answer: Option<WrongAnswer>,
    pub(crate) from_must_match: Option<bool>,
    pub(crate) userhash: Option<bool>,
    pub(crate) challenge: Option<ChallengeKind>,
    pub(crate) guesses: Option<Spanned<Guesses>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guesses {
    pub(crate) source: Option<GuessRate>,
    pub(crate) pair: Option<GuessRate>,
    pub(crate) name: Option<GuessRate>,
    pub(crate) any_name: Option<GuessRate>,
}

/// The name of a preset, or a list of algorithms.
pub(crate) struct Algorithms(pub(crate) AlgorithmOffer);

/// A password or a hash. No error shows what stands in its place.
pub(crate) struct Secret(pub(crate) Password);

impl Policy {
    /// The policy, with the default of what is left out.
    pub(crate) fn with_defaults(self) -> model::Policy {
        let default = model::Policy::DEFAULT;
        let guesses = self.guesses.map(Spanned::into_inner);
        let guesses = guesses.map_or(GuessPolicy::DEFAULT, |guesses| {
            GuessPolicy::default()
                .with_source(guesses.source.unwrap_or(GuessPolicy::DEFAULT.source))
                .with_pair(guesses.pair.unwrap_or(GuessPolicy::DEFAULT.pair))
                .with_name(guesses.name)
                .with_any_name(guesses.any_name)
        });
        model::Policy::default()
            .with_algorithms(self.algorithms.map_or(default.algorithms, |offer| offer.0))
            .with_qop(self.qop.unwrap_or(default.qop))
            .with_allow_rfc2069(
                self.allow_rfc2069.map_or(default.allow_rfc2069, Spanned::into_inner),
            )
            .with_uri_check(self.uri_check.unwrap_or(default.uri_check))
            .with_nonce_lifetime(
                self.nonce_lifetime.map_or(default.nonce_lifetime, Spanned::into_inner),
            )
            .with_bind_source(self.bind_source.unwrap_or(default.bind_source))
            .with_wrong_answer(self.wrong_answer.unwrap_or(default.wrong_answer))
            .with_from_must_match(self.from_must_match.unwrap_or(default.from_must_match))
            .with_userhash(self.userhash.unwrap_or(default.userhash))
            .with_challenge(self.challenge.unwrap_or(default.challenge))
            .with_guesses(guesses)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        macro_rules! refuse {
            ($($method:ident $kind:ty,)*) => {$(
                // the default would quote the value
                fn $method<E: de::Error>(self, _: $kind) -> Result<Secret, E> {
                    Err(E::custom("it must stand in quotes"))
                }
            )*};
        }

        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret(Password::new(text)))
            }

            refuse! {
                visit_bool bool, visit_i64 i64, visit_i128 i128, visit_u64 u64, visit_u128 u128,
                visit_f64 f64,
            }
        }

        deserializer.deserialize_string(Text)
    }
}

impl<'de> Deserialize<'de> for TokenSha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Secret(text) = Secret::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text.expose(), &mut hash)
            .map_err(|_| de::Error::custom("a SHA-256 is 64 hexadecimal digits"))?;
        Ok(Self(TokenHash(hash)))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or prefix in quotes, or a table with `address` in it")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Address, E> {
                let address = text.parse().map_err(E::custom)?;
                Ok(Address { address, sid: None, friendly_name: None, allow_all: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Address, A::Error> {
                let table = AddressTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let AddressTable { address, sid, friendly_name, allow_all } = table;
                Ok(Address { address, sid, friendly_name, allow_all })
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

impl<'de> Deserialize<'de> for Algorithms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PresetOrList;

        impl<'de> Visitor<'de> for PresetOrList {
            type Value = Algorithms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`md5-only`, `md5-first`, `strongest-first`, or a list of names such as `MD5`",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Algorithms, E> {
                match text {
                    "md5-only" => Ok(Algorithms(AlgorithmOffer::MD5_ONLY)),
                    "md5-first" => Ok(Algorithms(AlgorithmOffer::MD5_FIRST)),
                    "strongest-first" => Ok(Algorithms(AlgorithmOffer::STRONGEST_FIRST)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Algorithms, A::Error> {
                let mut algorithms = Vec::new();
                while let Some(name) = items.next_element::<String>()? {
                    let known = Algorithm::from_name(name.as_bytes());
                    algorithms.push(known.ok_or_else(|| {
                        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
                        de::Error::custom(format!("unknown algorithm `{name}`, not one of {known}"))
                    })?);
                }
                AlgorithmOffer::new(algorithms).map(Algorithms).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(PresetOrList)
    }
}
