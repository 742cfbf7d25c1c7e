//! How one domain or trunk wants its callers authenticated.

use std::num::NonZeroU32;

use arrayvec::ArrayVec;

use crate::digest::{Algorithm, GuessRate, Qop};

#[cfg(feature = "serde")]
mod written;

/// The settings of a domain or trunk. Every field has a default that suits most deployed phones
/// without opening anything; what each choice costs stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The algorithms that are offered, in this order, one challenge header each (RFC 8760 §2.4).
    /// Default: MD5 alone, since most user agents know nothing else and several take offence at a
    /// second header.
    pub algorithms: AlgorithmOffer,
    /// The quality of protection that is offered. Default: `auth`. With `auth-int` the body is
    /// protected too, but whatever rewrites SDP on the way then breaks the response.
    pub qop: QopOffer,
    /// Whether a response without `qop` (RFC 2069) is admitted: MD5 only, and a nonce then serves
    /// once. Default: no. Such a response binds neither a count nor a client nonce.
    pub allow_rfc2069: bool,
    /// How the digest-uri must match the Request-URI. Default: [`UriCheck::Off`], because deployed
    /// clients and rewriting proxies differ; without a check, a response relayed by a dishonest
    /// server can be used for another number.
    pub uri_check: UriCheck,
    /// How long a nonce is good for, in seconds, 1 to 86,400. Default: 60. An expired nonce costs
    /// the client one more round trip, never a password prompt.
    pub nonce_lifetime: u32,
    /// Whether a nonce is good only for the source address (never the port) it was issued to.
    /// Default: yes. No is for clients whose address changes between two requests; a captured
    /// challenge can then be answered from anywhere, and whoever can forge a source address can
    /// use up the guesses of a (name, address) pair.
    pub bind_source: bool,
    /// What wrong credentials are answered with. Default: 403.
    pub wrong_answer: WrongAnswer,
    /// Whether the user of the From header must be the authenticated user. Default: no, since a
    /// caller's number often is not its user name.
    pub from_must_match: bool,
    /// Whether hashed user names are offered and understood (RFC 7616 §3.4.4). Default: no; few
    /// user agents know them.
    pub userhash: bool,
    /// Whether the caller is challenged as by a proxy or as by a user agent server.
    /// Default: 407, as the caller of a service that routes calls on expects.
    pub challenge: ChallengeKind,
    /// How fast passwords may be guessed.
    pub guesses: GuessPolicy,
}

/// Calls the macro `$expand` with all fields of [`Policy`] except `guesses`. TOML, REST, bulk JSON and
/// the stores take their fields from this list, in this order.
///
/// A line has the field, its type, the REST parameter, and attributes for the stored form in brackets.
/// Policies in a store may lack a field that is newer than they are, and must keep their bytes: a new
/// `bool` has `[serde(default, skip_serializing_if = "is_default")]`. Its absence means `false` for ever,
/// whatever the default becomes. A comment goes into the description of the REST answer.
#[doc(hidden)]
#[macro_export]
macro_rules! policy_fields {
    ($expand:ident) => {
        $expand! {
            algorithms: $crate::model::AlgorithmOffer = "Algorithms" [];
            qop: $crate::model::QopOffer = "Qop" [];
            allow_rfc2069: bool = "AllowRfc2069" [];
            uri_check: $crate::model::UriCheck = "UriCheck" [];
            /// In seconds.
            nonce_lifetime: u32 = "NonceLifetime" [];
            bind_source: bool = "BindSource" [];
            wrong_answer: $crate::model::WrongAnswer = "WrongAnswer" [];
            from_must_match: bool = "FromMustMatch" [];
            userhash: bool = "Userhash" [];
            challenge: $crate::model::ChallengeKind = "Challenge" [];
        }
    };
}

macro_rules! list_is_complete {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        // does not compile with a field that is not in the list
        const _: fn(Policy) = |Policy { $($field: _,)* guesses: _ }| {};
    };
}
policy_fields!(list_is_complete);

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A setting outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The nonce lifetime is out of range.
    #[error("a nonce lifetime is 1 to {max} seconds, not {0}", max = Policy::MAX_NONCE_LIFETIME)]
    NonceLifetime(u32),
    /// RFC 2069 responses are MD5 only, and MD5 is not offered.
    #[error("RFC 2069 responses are MD5 only, and MD5 is not offered")]
    Rfc2069WithoutMd5,
    /// A wrong digest would be held against somebody for too long.
    #[error(
        "after {max} ms at most one more wrong digest must be let pass, not after {0}",
        max = Policy::MAX_GUESS_REFILL_MS
    )]
    GuessRefill(u32),
}

impl PolicyError {
    /// The field of [`Policy`] that the error is about.
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
    /// What a target without a policy of its own has.
    pub const DEFAULT: Self = Self {
        algorithms: AlgorithmOffer::MD5_ONLY,
        qop: QopOffer::Auth,
        allow_rfc2069: false,
        uri_check: UriCheck::Off,
        nonce_lifetime: 60,
        bind_source: true,
        wrong_answer: WrongAnswer::Reject,
        from_must_match: false,
        userhash: false,
        challenge: ChallengeKind::Proxy,
        guesses: GuessPolicy::DEFAULT,
    };

    /// The longest nonce lifetime, in seconds.
    pub const MAX_NONCE_LIFETIME: u32 = 86_400;

    /// The longest [`GuessRate::refill_ms`], an hour. All targets share the memory that wrong digests are
    /// counted in, and one with a slower refill could fill it for the others.
    pub const MAX_GUESS_REFILL_MS: u32 = 3_600_000;

    /// Whether the settings are in range and go together.
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
        with_from_must_match: from_must_match: bool,
        with_userhash: userhash: bool,
        with_challenge: challenge: ChallengeKind,
        with_guesses: guesses: GuessPolicy,
    }
}

/// A list of algorithms that cannot be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Nothing is offered.
    #[error("at least one algorithm must be offered")]
    Empty,
    /// The same algorithm stands twice.
    #[error("{0} is offered twice")]
    Twice(Algorithm),
}

/// The algorithms offered, in order: at least one, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmOffer {
    // no algorithm stands twice, so a place for each holds any offer
    algorithms: [Option<Algorithm>; Algorithm::COUNT],
}

impl AlgorithmOffer {
    /// MD5 alone: works with every user agent.
    pub const MD5_ONLY: Self = Self::preset(&[Algorithm::Md5]);
    /// MD5, then SHA-256: of six common user agents, one fails.
    pub const MD5_FIRST: Self = Self::preset(&[Algorithm::Md5, Algorithm::Sha256]);
    /// Strongest first, as RFC 8760 §2.4 has it: of six common user agents, several fail.
    pub const STRONGEST_FIRST: Self =
        Self::preset(&[Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5]);

    /// The offers that have a name, by which a configuration can choose them.
    pub const PRESETS: [(&str, Self); 3] = [
        ("md5-only", Self::MD5_ONLY),
        ("md5-first", Self::MD5_FIRST),
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

    /// An offer of these algorithms in this order.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if there is none, or one stands twice.
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

    /// The algorithms in the order they are offered.
    pub fn iter(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.algorithms.iter().flatten().copied()
    }

    /// Whether `algorithm` is offered.
    #[must_use]
    pub fn contains(&self, algorithm: Algorithm) -> bool {
        self.iter().any(|offered| offered == algorithm)
    }
}

/// The quality of protection offered. Some is always offered.
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
    /// `auth,auth-int`; a client that knows both may well choose the second.
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

    /// Whether a response with `qop` was invited.
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
    /// Anything is taken, and hashed as it was sent.
    #[default]
    Off,
    /// Both name the same host.
    SameHost,
    /// Both name the same user at the same host. Recommended where no proxy in front rewrites.
    SameUserAndHost,
    /// Both are equivalent as RFC 3261 §19.1.4 has it.
    Equivalent,
}

/// What wrong credentials are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum WrongAnswer {
    /// 403: the caller is told, and stops.
    #[default]
    Reject,
    /// A new challenge, as many deployments do: the caller may try again at once.
    Challenge,
}

/// Which challenge is sent, and in which header (RFC 3261 §22.2, §22.3).
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

/// How many wrong digests are looked at. Requests beyond a limit are answered whatever theirs is, so right
/// and wrong look alike there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "written::GuessPolicyForm"))]
#[non_exhaustive]
pub struct GuessPolicy {
    /// For one source (IPv6: one /64) whose nonce is not live. Default: 20 at once, one more every
    /// 2 s. Beyond it a new challenge is sent; requests with live nonces are not touched.
    pub source: GuessRate,
    /// For one claimed name from one source, with a live nonce. Default: 10 at once, one more every
    /// 6 s. Beyond it the answer is that for wrong credentials, for that pair alone.
    pub pair: GuessRate,
    /// For one claimed name from anywhere. Default: none, since whoever knows a name could lock its
    /// owner out.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<GuessRate>,
    /// For one source (IPv6: one /64) with a live nonce, whatever names it claims: one password tried at
    /// many names. Default: none, since all callers behind one address, such as that of a proxy, are
    /// answered as for wrong credentials beyond it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub any_name: Option<GuessRate>,
}

impl GuessPolicy {
    /// The limits of a target without a policy of its own.
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
    fn settings_out_of_range_are_refused() {
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
