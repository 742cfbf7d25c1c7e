//! The shape of the file: which keys its tables have, and the type of each value.

use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer};
use sip_authz::acl::Prefix;
use sip_authz::digest::{GuessRate, HashFunction};
use sip_authz::model::{
    self, AccountStatus, DomainName, GuessPolicy, NextHop, OnAccept, Password, PolicyError, Realm,
    TokenHash, UserName,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    TrunkSid,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::edge::Edge;
use crate::keys;
use crate::problem::Problems;
use crate::read::{Elements, Fields, Given};
use crate::value;

type Span = Range<usize>;
type Value<'t> = Spanned<DeValue<'t>>;

pub(crate) struct File {
    /// The realm of credential lists without one.
    pub(crate) realm: Given<Realm>,
    /// The settings of the edge, which are no records.
    pub(crate) edge: Edge,
    /// The next hops that `on_accept` can name.
    pub(crate) next_hop_allow: Elements<NextHop>,
    pub(crate) accounts: Elements<Account>,
    pub(crate) ip_access_control_lists: Elements<AccessList>,
    pub(crate) credential_lists: Elements<CredentialList>,
    pub(crate) domains: Vec<Domain>,
    pub(crate) trunks: Vec<Trunk>,
}

pub(crate) struct Account {
    pub(crate) span: Span,
    pub(crate) name: Given<String>,
    pub(crate) sid: Option<AccountSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) status: AccountStatus,
    pub(crate) token_sha256: Option<TokenSha256>,
}

/// The SHA-256 hash of an account's auth token.
pub(crate) struct TokenSha256(pub(crate) TokenHash);

pub(crate) struct AccessList {
    pub(crate) span: Span,
    pub(crate) name: Given<String>,
    pub(crate) sid: Option<IpAccessControlListSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Given<String>,
    pub(crate) addresses: Vec<Address>,
}

/// An address entry: a prefix as text, or a table with further keys.
pub(crate) struct Address {
    pub(crate) span: Span,
    pub(crate) address: Prefix,
    pub(crate) sid: Option<IpAddressSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) allow_all: Given<bool>,
}

pub(crate) struct CredentialList {
    pub(crate) span: Span,
    pub(crate) name: Given<String>,
    pub(crate) sid: Option<CredentialListSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Given<String>,
    pub(crate) realm: Given<Realm>,
    pub(crate) credentials: Vec<Credential>,
}

pub(crate) struct Credential {
    pub(crate) span: Span,
    pub(crate) username: Given<UserName>,
    pub(crate) sid: Option<CredentialSid>,
    pub(crate) password: Given<Secret>,
    pub(crate) ha1: Given<Ha1>,
    pub(crate) disabled: bool,
}

/// The given hashes, with their functions.
pub(crate) struct Ha1(pub(crate) Vec<(HashFunction, Spanned<Secret>)>);

pub(crate) struct Domain {
    pub(crate) span: Span,
    pub(crate) name: Given<DomainName>,
    pub(crate) sid: Option<DomainSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Given<String>,
    pub(crate) secure: bool,
    pub(crate) on_accept: Given<OnAccept>,
    pub(crate) ip_access_control_lists: Vec<Spanned<String>>,
    pub(crate) credential_lists: Vec<Spanned<String>>,
    pub(crate) registrations: Vec<Spanned<String>>,
    pub(crate) policy: Given<model::Policy>,
}

pub(crate) struct Trunk {
    pub(crate) span: Span,
    pub(crate) name: Given<String>,
    pub(crate) domain_name: Given<DomainName>,
    pub(crate) sid: Option<TrunkSid>,
    pub(crate) friendly_name: Option<String>,
    pub(crate) account: Given<String>,
    pub(crate) secure: bool,
    pub(crate) on_accept: Given<OnAccept>,
    pub(crate) ip_access_control_lists: Vec<Spanned<String>>,
    pub(crate) credential_lists: Vec<Spanned<String>>,
    pub(crate) policy: Given<model::Policy>,
}

impl File {
    /// Reads the whole file; reports and removes invalid parts.
    pub(crate) fn read(root: &Spanned<DeTable<'_>>, problems: &mut Problems) -> Self {
        let fields = Fields::of_table(root.get_ref(), root.span(), keys::FILE, problems);
        Self {
            realm: fields.optional("realm", problems),
            edge: fields.read("edge", problems, Edge::read).into_value().unwrap_or_default(),
            next_hop_allow: fields.each("next_hop_allow", problems, value::read),
            accounts: fields.each("accounts", problems, Account::read),
            ip_access_control_lists: fields.each(
                "ip_access_control_lists",
                problems,
                AccessList::read,
            ),
            credential_lists: fields.each("credential_lists", problems, CredentialList::read),
            domains: fields.each("domains", problems, Domain::read).read,
            trunks: fields.each("trunks", problems, Trunk::read).read,
        }
    }
}

impl Account {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::ACCOUNT, problems)?;
        Some(Self {
            span: fields.span(),
            name: fields.required("name", problems),
            sid: fields.optional("sid", problems).into_value(),
            friendly_name: fields.optional("friendly_name", problems).into_value(),
            status: fields.optional("status", problems).into_value().unwrap_or_default(),
            token_sha256: fields.optional("token_sha256", problems).into_value(),
        })
    }
}

impl AccessList {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::ACCESS_LIST, problems)?;
        Some(Self {
            span: fields.span(),
            name: fields.required("name", problems),
            sid: fields.optional("sid", problems).into_value(),
            friendly_name: fields.optional("friendly_name", problems).into_value(),
            account: fields.optional("account", problems),
            addresses: fields.each("addresses", problems, Address::read).read,
        })
    }
}

impl Address {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(_) => {
                let address = value::read(value, problems)?;
                let allow_all = Given::Absent;
                Some(Self { span, address, sid: None, friendly_name: None, allow_all })
            }
            DeValue::Table(_) => {
                let fields = Fields::of(value, keys::ADDRESS, problems)?;
                let address = fields.required("address", problems);
                let sid = fields.optional("sid", problems).into_value();
                let friendly_name = fields.optional("friendly_name", problems).into_value();
                let allow_all = fields.optional("allow_all", problems);
                let address = address.into_value()?;
                Some(Self { span, address, sid, friendly_name, allow_all })
            }
            other => {
                let found = value::kind(other);
                let message = format_args!(
                    "expected an address or prefix in quotes, or a table with `address` in it, \
                     found {found}"
                );
                problems.push(span, message);
                None
            }
        }
    }
}

impl CredentialList {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::CREDENTIAL_LIST, problems)?;
        Some(Self {
            span: fields.span(),
            name: fields.required("name", problems),
            sid: fields.optional("sid", problems).into_value(),
            friendly_name: fields.optional("friendly_name", problems).into_value(),
            account: fields.optional("account", problems),
            realm: fields.optional("realm", problems),
            credentials: fields.each("credentials", problems, Credential::read).read,
        })
    }
}

impl Credential {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::CREDENTIAL, problems)?;
        Some(Self {
            span: fields.span(),
            username: fields.required("username", problems),
            sid: fields.optional("sid", problems).into_value(),
            password: fields.optional("password", problems),
            ha1: fields.read("ha1", problems, Ha1::read),
            disabled: fields.optional("disabled", problems).into_value().unwrap_or_default(),
        })
    }
}

impl Ha1 {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let errors = problems.0.len();
        let fields = Fields::of(value, &HashFunction::ALL.map(HashFunction::key), problems)?;
        let mut hashes = Vec::new();
        for function in HashFunction::ALL {
            if let Given::Value(hash) = fields.optional(function.key(), problems) {
                hashes.push((function, hash));
            }
        }
        (problems.0.len() == errors).then_some(Self(hashes))
    }
}

impl Domain {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::DOMAIN, problems)?;
        Some(Self {
            span: fields.span(),
            name: fields.required("name", problems),
            sid: fields.optional("sid", problems).into_value(),
            friendly_name: fields.optional("friendly_name", problems).into_value(),
            account: fields.optional("account", problems),
            secure: fields.optional("secure", problems).into_value().unwrap_or_default(),
            on_accept: fields.optional("on_accept", problems),
            ip_access_control_lists: fields.values("ip_access_control_lists", problems),
            credential_lists: fields.values("credential_lists", problems),
            registrations: fields.values("registrations", problems),
            policy: fields.read("policy", problems, read_policy),
        })
    }
}

impl Trunk {
    fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(value, keys::TRUNK, problems)?;
        Some(Self {
            span: fields.span(),
            name: fields.required("name", problems),
            domain_name: fields.optional("domain_name", problems),
            sid: fields.optional("sid", problems).into_value(),
            friendly_name: fields.optional("friendly_name", problems).into_value(),
            account: fields.optional("account", problems),
            secure: fields.optional("secure", problems).into_value().unwrap_or_default(),
            on_accept: fields.optional("on_accept", problems),
            ip_access_control_lists: fields.values("ip_access_control_lists", problems),
            credential_lists: fields.values("credential_lists", problems),
            policy: fields.read("policy", problems, read_policy),
        })
    }
}

/// Reads a policy and checks its ranges. A value out of range is reported at its place.
fn read_policy(value: &Value<'_>, problems: &mut Problems) -> Option<model::Policy> {
    let before = problems.0.len();
    let mut policy = value::read::<Policy>(value, problems)?.with_defaults();
    let offered = span_at(value, &["algorithms"]);
    let mut read_errors = problems.0.iter().skip(before);
    let is_offer_wrong = read_errors.any(|problem| offered.contains(&problem.span.start));
    let default = model::Policy::DEFAULT;
    let at = |path: &[&str]| span_at(value, path);
    // the check stops at the first error, so the invalid value is replaced by its default
    while let Err(error) = policy.check() {
        let span = match error {
            PolicyError::NonceLifetime(_) => {
                policy.nonce_lifetime = default.nonce_lifetime;
                at(&["nonce_lifetime"])
            }
            PolicyError::Rfc2069WithoutMd5 => {
                policy.allow_rfc2069 = default.allow_rfc2069;
                if is_offer_wrong {
                    continue;
                }
                at(&["allow_rfc2069"])
            }
            PolicyError::GuessRefill(refill) => {
                let is_it = |rate: GuessRate| rate.refill_ms.get() == refill;
                let guesses = &mut policy.guesses;
                let name = if is_it(guesses.source) {
                    guesses.source = default.guesses.source;
                    "source"
                } else if is_it(guesses.pair) {
                    guesses.pair = default.guesses.pair;
                    "pair"
                } else if guesses.name.is_some_and(is_it) {
                    guesses.name = None;
                    "name"
                } else {
                    guesses.any_name = None;
                    "any_name"
                };
                at(&["guesses", name, "refill_ms"])
            }
            // other errors are reported at the whole policy
            _ => {
                policy = default.clone();
                value.span()
            }
        };
        problems.push(span, error);
    }
    Some(policy)
}

/// The place of the value at a path, or of the innermost table that exists on the path.
fn span_at(value: &Value<'_>, path: &[&str]) -> Span {
    let mut value = value;
    for key in path {
        match value.get_ref().get(*key) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    value.span()
}

macro_rules! policy_table {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        /// A policy table; absent fields keep their defaults.
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Policy {
            $(pub(crate) $field: Option<$type>,)*
            pub(crate) guesses: Option<GuessPolicy>,
        }

        impl Policy {
            /// The policy, with the defaults of absent fields.
            pub(crate) fn with_defaults(self) -> model::Policy {
                let mut policy = model::Policy::DEFAULT;
                $(policy.$field = self.$field.unwrap_or(policy.$field);)*
                policy.guesses = self.guesses.unwrap_or(policy.guesses);
                policy
            }
        }
    };
}
sip_authz::policy_fields!(policy_table);

/// A password or a hash. Errors never show its value.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) Password);

impl<'de> Deserialize<'de> for TokenSha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Password::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text.expose(), &mut hash)
            .map_err(|_| de::Error::custom("a SHA-256 hash is 64 hexadecimal digits"))?;
        Ok(Self(TokenHash(hash)))
    }
}
