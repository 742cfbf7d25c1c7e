//! The shape of the file. Every key that is not here is an error.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use sip_authz::acl::Prefix;
use sip_authz::model::{
    self, AccountStatus, DomainName, GuessPolicy, Password, Realm, TokenHash, UserName,
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

macro_rules! policy_table {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        /// What is left out keeps its default.
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Policy {
            $(pub(crate) $field: Option<Spanned<$type>>,)*
            pub(crate) guesses: Option<Spanned<GuessPolicy>>,
        }

        impl Policy {
            /// The policy, with the default of what is left out.
            pub(crate) fn with_defaults(self) -> model::Policy {
                let default = model::Policy::DEFAULT;
                model::Policy {
                    $($field: self.$field.map_or(default.$field, Spanned::into_inner),)*
                    guesses: self.guesses.map_or(default.guesses, Spanned::into_inner),
                }
            }
        }
    };
}
sip_authz::policy_fields!(policy_table);

/// A password or a hash. No error shows what stands in its place.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) Password);

impl<'de> Deserialize<'de> for TokenSha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Password::deserialize(deserializer)?;
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
