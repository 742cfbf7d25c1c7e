//! The authentication policy of a domain or trunk.

use std::num::NonZeroU32;

use arrayvec::ArrayVec;

use super::methods::MethodSet;
use super::register_as::RegisterAs;
use crate::digest::{Algorithm, GuessRate, HashFunction, Qop};

#[cfg(feature = "serde")]
mod written;

/// The authentication settings of a domain or trunk. The defaults are safe and work with most
/// deployed phones. The cost of each choice is in the description of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The offered algorithms, in this order, one challenge header each (RFC 8760 §2.4).
    /// Default: MD5 only, because most user agents know nothing else and several fail on a second
    /// header. `docs/clients.md` lists which clients pass with which offer.
    pub algorithms: AlgorithmOffer,
    /// The offered quality of protection. Default: `auth`. `auth-int` also protects the body, but
    /// the response then fails if a proxy rewrites the SDP.
    pub qop: QopOffer,
    /// Whether responses without `qop` (RFC 2069) are accepted. Default: no. They are limited to
    /// MD5 and one use of each nonce, and protect neither a nonce count nor a client nonce.
    pub allow_rfc2069: bool,
    /// How the digest-uri must match the Request-URI. Default: [`UriCheck::Off`], because many
    /// clients send a different URI and many proxies rewrite it; each value says which callers it
    /// refuses. Without the check, a dishonest server can relay a response to call another number.
    pub uri_check: UriCheck,
    /// The nonce lifetime in seconds, 1 to 86,400. Default: 60. An expired nonce costs the client
    /// one more round trip, never a password prompt.
    pub nonce_lifetime: u32,
    /// Whether a nonce is valid only for the source address (not the port) that requested it.
    /// Default: yes. Disable it for clients whose address changes between two requests. Then a
    /// captured challenge can be answered from any address, and an attacker with forged source
    /// addresses can use up the guesses of a (name, address) pair.
    pub bind_source: bool,
    /// The answer to wrong credentials. Default: 403.
    pub wrong_answer: WrongAnswer,
    /// Whether the user of the From header must be the authenticated user. Default:
    /// [`FromCheck::Off`], because a caller's number often differs from its user name.
    pub from_must_match: FromCheck,
    /// Whether hashed user names are offered and accepted (RFC 7616 §3.4.4). Default: no, because
    /// few user agents support them.
    pub userhash: bool,
    /// Whether the challenge is that of a proxy (407) or of a user agent server (401).
    /// Default: 407, which callers of a routing service expect.
    pub challenge: ChallengeKind,
    /// The methods of requests from outside a dialog that are admitted; others get 405. Default: INVITE
    /// and OPTIONS. Each further one, such as MESSAGE, lets callers reach more of the program behind.
    pub methods: MethodSet,
    /// The users in To that an authenticated caller may register. Default: the caller's own name
    /// alone. Each template lets callers receive the calls of other names, such as numbers.
    pub register_as: RegisterAs,
    /// Limits on password guesses.
    pub guesses: GuessPolicy,
}

/// Calls the macro `$expand` with all fields of [`Policy`] except `guesses`. TOML, REST, bulk JSON
/// and the stores take their fields from this list, in this order.
///
/// Each line has the field, its type, the REST parameter, and in brackets the attributes of the
/// stored form. A stored policy may lack newer fields and must keep its bytes: a new `bool` needs
/// `[serde(default, skip_serializing_if = "is_default")]`. An absent field means `false`, for
/// `methods` INVITE and OPTIONS, and for `register_as` `{user}`, even if the default changes later. A
/// doc comment becomes part of the description in the REST API.
#[doc(hidden)]
#[macro_export]
macro_rules! policy_fields {
    ($expand:ident) => {
        $expand! {
            /// The offered algorithms, in this order. Many phones fail if several are offered and
            /// SHA-256 or SHA-512-256 comes first: see docs/clients.md.
            algorithms: $crate::model::AlgorithmOffer = "Algorithms" [];
            qop: $crate::model::QopOffer = "Qop" [];
            allow_rfc2069: bool = "AllowRfc2069" [];
            /// How the digest-uri must match the Request-URI. off refuses no caller. same-host refuses
            /// callers behind a proxy that rewrites the host, and clients that hash the address of their
            /// outbound proxy. same-user-and-host also refuses callers whose number a dial plan or proxy
            /// rewrites. equivalent also refuses clients whose digest-uri lacks the port or a parameter of
            /// the Request-URI, such as LiveKit (RFC 3261 §19.1.4).
            uri_check: $crate::model::UriCheck = "UriCheck" [];
            /// In seconds.
            nonce_lifetime: u32 = "NonceLifetime" [];
            bind_source: bool = "BindSource" [];
            wrong_answer: $crate::model::WrongAnswer = "WrongAnswer" [];
            /// Whether From must name the authenticated user: false, true, or the string or-anonymous,
            /// which also admits an anonymous From (RFC 3323), sip:anonymous@anonymous.invalid.
            from_must_match: $crate::model::FromCheck = "FromMustMatch" [];
            userhash: bool = "Userhash" [];
            challenge: $crate::model::ChallengeKind = "Challenge" [];
            /// The methods that are admitted from outside a dialog, in the case in which they are sent; others
            /// get 405. At most 16 tokens of at most 32 bytes; not ACK, BYE, CANCEL, PRACK and REGISTER.
            methods: $crate::model::MethodSet = "Methods"
                [serde(default, skip_serializing_if = "is_default")];
            /// The users in To that an authenticated caller may register: 1 to 8 templates of at most 64 bytes,
            /// with {user} once for the authenticated user. A role with the permission register=NAME admits NAME
            /// besides.
            register_as: $crate::model::RegisterAs = "RegisterAs"
                [serde(default, skip_serializing_if = "is_default")];
        }
    };
}

macro_rules! list_is_complete {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        // does not compile if a field is missing from the list
        const _: fn(Policy) = |Policy { $($field: _,)* guesses: _ }| {};
    };
}
policy_fields!(list_is_complete);

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An invalid policy setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The nonce lifetime is out of range.
    #[error("nonce lifetime must be 1 to {max} seconds, got {0}", max = Policy::MAX_NONCE_LIFETIME)]
    NonceLifetime(u32),
    /// RFC 2069 responses are allowed, but MD5 is not offered.
    #[error("RFC 2069 responses need MD5, which is not offered")]
    Rfc2069WithoutMd5,
    /// The refill interval of a guess limit is too long.
    #[error(
        "guess refill interval must be at most {max} ms, got {0}",
        max = Policy::MAX_GUESS_REFILL_MS
    )]
    GuessRefill(u32),
}

impl PolicyError {
    /// The invalid field of [`Policy`].
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NonceLifetime(_) => "nonce_lifetime",
            Self::Rfc2069WithoutMd5 => "allow_rfc2069",
            Self::GuessRefill(_) => "guesses",
        }
    }
}

impl Policy {
    /// The policy of a target without its own.
    pub const DEFAULT: Self = Self {
        algorithms: AlgorithmOffer::MD5_ONLY,
        qop: QopOffer::Auth,
        allow_rfc2069: false,
        uri_check: UriCheck::Off,
        nonce_lifetime: 60,
        bind_source: true,
        wrong_answer: WrongAnswer::Reject,
        from_must_match: FromCheck::Off,
        userhash: false,
        challenge: ChallengeKind::Proxy,
        methods: MethodSet::DEFAULT,
        register_as: RegisterAs::DEFAULT,
        guesses: GuessPolicy::DEFAULT,
    };

    /// The longest nonce lifetime, in seconds.
    pub const MAX_NONCE_LIFETIME: u32 = 86_400;

    /// The longest [`GuessRate::refill_ms`], one hour. All targets share the guess counters;
    /// counters with a slower refill could crowd out those of other targets.
    pub const MAX_GUESS_REFILL_MS: u32 = 3_600_000;

    /// Checks that the settings are in range and compatible.
    ///
    /// # Errors
    ///
    /// The first [`PolicyError`] found.
    pub fn check(&self) -> Result<(), PolicyError> {
        if !(1..=Self::MAX_NONCE_LIFETIME).contains(&self.nonce_lifetime) {
            return Err(PolicyError::NonceLifetime(self.nonce_lifetime));
        }
        if self.allow_rfc2069 && !self.algorithms.contains(Algorithm::Md5) {
            return Err(PolicyError::Rfc2069WithoutMd5);
        }
        let GuessPolicy { source, pair, name, any_name } = self.guesses;
        for rate in [source, pair].into_iter().chain(name).chain(any_name) {
            if rate.refill_ms.get() > Self::MAX_GUESS_REFILL_MS {
                return Err(PolicyError::GuessRefill(rate.refill_ms.get()));
            }
        }
        Ok(())
    }
}

crate::setters! {
    Policy {
        with_algorithms: algorithms: AlgorithmOffer,
        with_qop: qop: QopOffer,
        with_allow_rfc2069: allow_rfc2069: bool,
        with_uri_check: uri_check: UriCheck,
        with_nonce_lifetime: nonce_lifetime: u32,
        with_bind_source: bind_source: bool,
        with_wrong_answer: wrong_answer: WrongAnswer,
        with_from_must_match: from_must_match: impl Into<FromCheck>,
        with_userhash: userhash: bool,
        with_challenge: challenge: ChallengeKind,
        with_methods: methods: MethodSet,
        with_register_as: register_as: RegisterAs,
        with_guesses: guesses: GuessPolicy,
    }
}

/// An invalid list of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The list is empty.
    #[error("at least one algorithm must be offered")]
    Empty,
    /// The list has an algorithm twice.
    #[error("{0} is offered twice")]
    Twice(Algorithm),
}

/// The offered algorithms, in order: at least one, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmOffer {
    // an offer has no duplicates, so it never exceeds `COUNT`
    algorithms: [Option<Algorithm>; Algorithm::COUNT],
}

impl AlgorithmOffer {
    /// MD5 only: passes with all of six common user agents (`docs/clients.md`).
    pub const MD5_ONLY: Self = Self::preset(&[Algorithm::Md5]);
    /// MD5, then SHA-256. Fails with one of six common user agents (`docs/clients.md`).
    pub const MD5_FIRST: Self = Self::preset(&[Algorithm::Md5, Algorithm::Sha256]);
    /// SHA-256, then MD5. `docs/clients.md` lists the user agents that fail.
    pub const SHA256_FIRST: Self = Self::preset(&[Algorithm::Sha256, Algorithm::Md5]);
    /// Strongest first, as in RFC 8760 §2.4. Fails with five of six common user agents
    /// (`docs/clients.md`).
    pub const STRONGEST_FIRST: Self =
        Self::preset(&[Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5]);

    /// The named offers that a configuration can choose.
    pub const PRESETS: [(&str, Self); 4] = [
        ("md5-only", Self::MD5_ONLY),
        ("md5-first", Self::MD5_FIRST),
        ("sha256-first", Self::SHA256_FIRST),
        ("strongest-first", Self::STRONGEST_FIRST),
    ];

    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const fn preset(offered: &[Algorithm]) -> Self {
        let (mut algorithms, mut at) = ([None; Algorithm::COUNT], 0);
        while at < offered.len() {
            algorithms[at] = Some(offered[at]);
            at += 1;
        }
        Self { algorithms }
    }

    /// Creates an offer of these algorithms in this order.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if the list is empty or has duplicates.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Result<Self, OfferError> {
        let mut offered = ArrayVec::<Algorithm, { Algorithm::COUNT }>::new();
        for algorithm in algorithms {
            if offered.contains(&algorithm) || offered.is_full() {
                return Err(OfferError::Twice(algorithm));
            }
            offered.push(algorithm);
        }
        if offered.is_empty() {
            return Err(OfferError::Empty);
        }
        let mut places = [None; Algorithm::COUNT];
        for (place, algorithm) in places.iter_mut().zip(offered) {
            *place = Some(algorithm);
        }
        Ok(Self { algorithms: places })
    }

    /// The algorithms, in the order of the offer.
    pub fn iter(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.algorithms.iter().flatten().copied()
    }

    /// Whether the offer contains `algorithm`.
    #[must_use]
    pub fn contains(&self, algorithm: Algorithm) -> bool {
        self.iter().any(|offered| offered == algorithm)
    }

    /// The first algorithm, if it is no MD5 and others follow. Many phones fail at such an offer:
    /// they take the first header that they find, or none if they do not know its algorithm
    /// (`docs/clients.md`).
    #[must_use]
    pub fn stronger_first(&self) -> Option<Algorithm> {
        let mut offered = self.iter();
        let first = offered.next().filter(|first| first.hash_function() != HashFunction::Md5)?;
        offered.next().map(|_| first)
    }
}

/// The offered quality of protection. A challenge always has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum QopOffer {
    /// `auth`.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "auth"))]
    Auth,
    /// `auth-int`.
    #[cfg_attr(feature = "serde", serde(rename = "auth-int"))]
    AuthInt,
    /// `auth,auth-int`: a client that supports both chooses one.
    #[cfg_attr(feature = "serde", serde(rename = "auth,auth-int"))]
    Both,
}

impl QopOffer {
    /// The value of the challenge's `qop` parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
            Self::Both => "auth,auth-int",
        }
    }

    /// Whether the offer includes `qop`.
    #[must_use]
    pub const fn contains(self, qop: Qop) -> bool {
        match self {
            Self::Auth => matches!(qop, Qop::Auth),
            Self::AuthInt => matches!(qop, Qop::AuthInt),
            Self::Both => true,
        }
    }
}

/// How the digest-uri must match the Request-URI (RFC 7616 §3.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum UriCheck {
    /// Accepts any digest-uri. The hash uses the bytes as sent. Refuses no caller.
    #[default]
    Off,
    /// Both have the same host. Refuses callers behind a proxy that rewrites the host of the
    /// Request-URI, and clients that hash the name or IP address of their outbound proxy.
    SameHost,
    /// Both have the same user and host. Recommended if no proxy in front rewrites the URI. Refuses
    /// the same callers as [`SameHost`](Self::SameHost), and callers whose number a dial plan or
    /// proxy rewrites after the client has hashed it.
    SameUserAndHost,
    /// Both are equivalent by RFC 3261 §19.1.4. Refuses the same callers as
    /// [`SameUserAndHost`](Self::SameUserAndHost), and clients whose digest-uri leaves out the port
    /// or a parameter of the Request-URI, such as LiveKit. A URI with the default port is not
    /// equivalent to one without a port, and `transport`, `user`, `method`, `ttl` and `maddr` must
    /// be in both or in neither.
    Equivalent,
}

/// Whether From must name the authenticated user.
///
/// In TOML, JSON and stores the values are `false`, `true` and `"or-anonymous"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FromCheck {
    /// Accepts any From.
    #[default]
    Off,
    /// The user of From is the authenticated user. Refuses callers who withhold their identity, and
    /// callers whose number differs from their user name.
    User,
    /// As [`User`](Self::User), and also accepts an anonymous From
    /// ([`SipUri::is_anonymous`](crate::uri::SipUri::is_anonymous), RFC 3323 §4.1.1.3).
    UserOrAnonymous,
}

impl FromCheck {
    /// The text of [`UserOrAnonymous`](Self::UserOrAnonymous) in written forms.
    pub const OR_ANONYMOUS: &str = "or-anonymous";
}

/// `true` becomes [`FromCheck::User`].
impl From<bool> for FromCheck {
    fn from(must_match: bool) -> Self {
        if must_match { Self::User } else { Self::Off }
    }
}

/// The answer to wrong credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum WrongAnswer {
    /// 403, after which the caller stops.
    #[default]
    Reject,
    /// A new challenge, as in many deployments: the caller may try again at once.
    Challenge,
}

/// The status and header of a challenge (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum ChallengeKind {
    /// 407 with Proxy-Authenticate.
    #[default]
    Proxy,
    /// 401 with WWW-Authenticate.
    Server,
}

/// Limits on wrong digests. Above a limit the answer does not depend on the digest, so it does not
/// reveal whether a guess is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "written::GuessPolicyForm"))]
#[non_exhaustive]
pub struct GuessPolicy {
    /// Has no effect: it limited responses without a live nonce, which are no longer verified. Older
    /// policies may still have it.
    pub source: GuessRate,
    /// Per claimed name and source, for requests with a live nonce. Default: a burst of 10, then
    /// one every 6 s. Above the limit this pair gets the answer for wrong credentials.
    pub pair: GuessRate,
    /// Per claimed name, over all sources. Default: no limit, because an attacker who knows a name
    /// could lock out its owner.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<GuessRate>,
    /// Per source (IPv6: per /64) with a live nonce, over all names: limits one password tried with
    /// many names. Default: no limit, because callers behind one address, for example a proxy,
    /// share it. Above the limit they all get the answer for wrong credentials.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub any_name: Option<GuessRate>,
}

impl GuessPolicy {
    /// The limits of a target without its own policy.
    pub const DEFAULT: Self =
        Self { source: rate(20, 2_000), pair: rate(10, 6_000), name: None, any_name: None };
}

impl Default for GuessPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

crate::setters! {
    GuessPolicy {
        with_source: source: GuessRate,
        with_pair: pair: GuessRate,
        with_name: name: Option<GuessRate>,
        with_any_name: any_name: Option<GuessRate>,
    }
}

const fn rate(burst: u32, refill_ms: u32) -> GuessRate {
    const fn at_least_one(n: u32) -> NonZeroU32 {
        match NonZeroU32::new(n) {
            Some(n) => n,
            None => NonZeroU32::MIN,
        }
    }
    GuessRate { burst: at_least_one(burst), refill_ms: at_least_one(refill_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_hold_each_algorithm_once_in_order() {
        assert_eq!(AlgorithmOffer::new([]), Err(OfferError::Empty));
        let twice = AlgorithmOffer::new([Algorithm::Md5, Algorithm::Sha256, Algorithm::Md5]);
        assert_eq!(twice, Err(OfferError::Twice(Algorithm::Md5)));
        let all = AlgorithmOffer::new(Algorithm::ALL).unwrap();
        assert!(all.iter().eq(Algorithm::ALL));
        let preset = AlgorithmOffer::new([Algorithm::Md5, Algorithm::Sha256]).unwrap();
        assert_eq!(preset, AlgorithmOffer::MD5_FIRST);
        assert!(!preset.contains(Algorithm::Md5Sess));
    }

    #[test]
    fn an_offer_that_many_phones_fail_at_has_several_algorithms_and_no_md5_first() {
        for (name, offer) in AlgorithmOffer::PRESETS {
            let first = match name {
                "md5-only" | "md5-first" => None,
                "sha256-first" => Some(Algorithm::Sha256),
                _ => Some(Algorithm::Sha512_256),
            };
            assert_eq!(offer.stronger_first(), first, "{name}");
        }
        use Algorithm::{Md5, Md5Sess, Sha256, Sha256Sess};
        for (algorithms, first) in [
            (&[Sha256][..], None),
            (&[Md5Sess, Sha256], None),
            (&[Sha256Sess, Md5], Some(Sha256Sess)),
            (&[Sha256, Sha256Sess], Some(Sha256)),
        ] {
            let offer = AlgorithmOffer::new(algorithms.iter().copied()).unwrap();
            assert_eq!(offer.stronger_first(), first, "{algorithms:?}");
        }
    }

    #[test]
    fn invalid_settings_are_refused() {
        assert_eq!(Policy::default().check(), Ok(()));
        for nonce_lifetime in [0, 86_401] {
            let policy = Policy { nonce_lifetime, ..Policy::default() };
            assert_eq!(policy.check(), Err(PolicyError::NonceLifetime(nonce_lifetime)));
        }
        let policy = Policy {
            allow_rfc2069: true,
            algorithms: AlgorithmOffer::new([Algorithm::Sha256]).unwrap(),
            ..Policy::default()
        };
        assert_eq!(policy.check(), Err(PolicyError::Rfc2069WithoutMd5));
        let default = GuessPolicy::DEFAULT;
        for refill_ms in [3_600_000, 3_600_001, u32::MAX] {
            let rate = rate(u32::MAX, refill_ms);
            for guesses in [
                GuessPolicy { source: rate, ..default },
                GuessPolicy { pair: rate, ..default },
                GuessPolicy { name: Some(rate), ..default },
                GuessPolicy { any_name: Some(rate), ..default },
            ] {
                let expected = match refill_ms {
                    3_600_000 => Ok(()),
                    _ => Err(PolicyError::GuessRefill(refill_ms)),
                };
                assert_eq!(Policy { guesses, ..Policy::default() }.check(), expected);
            }
        }
    }
}
