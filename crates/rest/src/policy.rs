//! The policy of a domain or trunk: how its callers are authenticated. This program's own resource.

use std::num::NonZeroU32;

use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::dates::{iso8601, rfc2822};
use super::error::Refusal;
use super::form::{Form, Param};
use super::links::sip_uri;
use super::routes::Routes;
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::model::{
    AlgorithmOffer, ChallengeKind, Policy, PolicyRecord, QopOffer, Target, UriCheck, WrongAnswer,
};
use sip_authz::{AccountSid, DomainSid, TrunkSid};
use sip_authz_directory::{DirectoryError, Kind};
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";
const TRUNK: &str = "TrunkSid";

const PARAMS: &[Param] = &[
    Param::text("Algorithms"),
    Param::text("Qop"),
    Param::flag("AllowRfc2069"),
    Param::text("UriCheck"),
    Param::integer("NonceLifetime"),
    Param::flag("BindSource"),
    Param::text("WrongAnswer"),
    Param::flag("FromMustMatch"),
    Param::flag("Userhash"),
    Param::text("Challenge"),
    Param::integer("GuessSourceBurst"),
    Param::integer("GuessSourceRefillMs"),
    Param::integer("GuessPairBurst"),
    Param::integer("GuessPairRefillMs"),
    Param::integer("GuessNameBurst"),
    Param::integer("GuessNameRefillMs"),
    Param::integer("GuessAnyNameBurst"),
    Param::integer("GuessAnyNameRefillMs"),
];

/// Names for common offers of algorithms.
const PRESETS: [(&str, AlgorithmOffer); 3] = [
    ("md5-only", AlgorithmOffer::MD5_ONLY),
    ("md5-first", AlgorithmOffer::MD5_FIRST),
    ("strongest-first", AlgorithmOffer::STRONGEST_FIRST),
];

/// The policies of domains, below `sip`, where SIP resources are.
pub(super) fn domain_routes<S: Store>(routes: &mut Routes<S>, sip: &str) {
    routes
        .at(format!("{sip}/Domains/{{{DOMAIN}}}/Policy.json"), Kind::Domain)
        .fetch(fetch_of_domain::<S>)
        .update(PARAMS, update_of_domain::<S>);
}

/// The policies of trunks.
pub(super) fn trunk_routes<S: Store>(routes: &mut Routes<S>) {
    routes
        .at(format!("/v1/Trunks/{{{TRUNK}}}/Policy"), Kind::Trunk)
        .fetch(fetch_of_trunk::<S>)
        .update(PARAMS, update_of_trunk::<S>);
}

/// How the callers of a domain or trunk are authenticated.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicySettings)]
struct PolicyAnswer {
    algorithms: Vec<&'static str>,
    #[schema(value_type = String)]
    qop: QopOffer,
    allow_rfc2069: bool,
    #[schema(value_type = String)]
    uri_check: UriCheck,
    /// In seconds.
    nonce_lifetime: u32,
    bind_source: bool,
    #[schema(value_type = String)]
    wrong_answer: WrongAnswer,
    from_must_match: bool,
    userhash: bool,
    #[schema(value_type = String)]
    challenge: ChallengeKind,
    guess_source_burst: u32,
    guess_source_refill_ms: u32,
    guess_pair_burst: u32,
    guess_pair_refill_ms: u32,
    /// Null where guesses at a name from anywhere are not counted.
    guess_name_burst: Option<u32>,
    guess_name_refill_ms: Option<u32>,
    /// Null where guesses from one address at any names are not counted together.
    guess_any_name_burst: Option<u32>,
    guess_any_name_refill_ms: Option<u32>,
}

impl From<&Policy> for PolicyAnswer {
    fn from(policy: &Policy) -> Self {
        let guesses = policy.guesses;
        Self {
            algorithms: policy.algorithms.iter().map(Algorithm::name).collect(),
            qop: policy.qop,
            allow_rfc2069: policy.allow_rfc2069,
            uri_check: policy.uri_check,
            nonce_lifetime: policy.nonce_lifetime,
            bind_source: policy.bind_source,
            wrong_answer: policy.wrong_answer,
            from_must_match: policy.from_must_match,
            userhash: policy.userhash,
            challenge: policy.challenge,
            guess_source_burst: guesses.source.burst.get(),
            guess_source_refill_ms: guesses.source.refill_ms.get(),
            guess_pair_burst: guesses.pair.burst.get(),
            guess_pair_refill_ms: guesses.pair.refill_ms.get(),
            guess_name_burst: guesses.name.map(|rate| rate.burst.get()),
            guess_name_refill_ms: guesses.name.map(|rate| rate.refill_ms.get()),
            guess_any_name_burst: guesses.any_name.map(|rate| rate.burst.get()),
            guess_any_name_refill_ms: guesses.any_name.map(|rate| rate.refill_ms.get()),
        }
    }
}

/// The policy of a domain. The dates are null as long as it is the default.
#[derive(Serialize, ToSchema)]
#[schema(as = DomainPolicy)]
struct DomainPolicyAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    #[schema(value_type = String)]
    domain_sid: DomainSid,
    #[serde(flatten)]
    policy: PolicyAnswer,
    uri: String,
}

/// The policy of a trunk. The dates are null as long as it is the default.
#[derive(Serialize, ToSchema)]
#[schema(as = TrunkPolicy)]
struct TrunkPolicyAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    #[serde(flatten)]
    policy: PolicyAnswer,
    #[schema(value_type = String)]
    trunk_sid: TrunkSid,
    url: String,
}

async fn fetch_of_domain<S: Store>(call: Call<S>) -> Result<DomainPolicyAnswer, Refusal> {
    let (account, domain) = (call.account()?, call.sid(DOMAIN)?);
    let record = call.directory.policy(account, Target::Domain(domain)).await?;
    Ok(domain_answer(account, domain, &record))
}

async fn update_of_domain<S: Store>(call: Call<S>) -> Result<DomainPolicyAnswer, Refusal> {
    let (account, domain) = (call.account()?, call.sid(DOMAIN)?);
    let record = update(&call, Target::Domain(domain), Kind::Domain).await?;
    Ok(domain_answer(account, domain, &record))
}

fn domain_answer(
    account_sid: AccountSid,
    domain_sid: DomainSid,
    record: &PolicyRecord,
) -> DomainPolicyAnswer {
    DomainPolicyAnswer {
        account_sid,
        date_created: rfc2822(record.dates.created),
        date_updated: rfc2822(record.dates.updated),
        domain_sid,
        policy: (&record.policy).into(),
        uri: sip_uri(account_sid, format_args!("Domains/{domain_sid}/Policy")),
    }
}

async fn fetch_of_trunk<S: Store>(call: Call<S>) -> Result<TrunkPolicyAnswer, Refusal> {
    let (account, trunk) = (call.account()?, call.sid(TRUNK)?);
    let record = call.directory.policy(account, Target::Trunk(trunk)).await?;
    Ok(trunk_answer(&call, account, trunk, &record))
}

async fn update_of_trunk<S: Store>(call: Call<S>) -> Result<TrunkPolicyAnswer, Refusal> {
    let (account, trunk) = (call.account()?, call.sid(TRUNK)?);
    let record = update(&call, Target::Trunk(trunk), Kind::Trunk).await?;
    Ok(trunk_answer(&call, account, trunk, &record))
}

fn trunk_answer<S: Store>(
    call: &Call<S>,
    account_sid: AccountSid,
    trunk_sid: TrunkSid,
    record: &PolicyRecord,
) -> TrunkPolicyAnswer {
    TrunkPolicyAnswer {
        account_sid,
        date_created: iso8601(record.dates.created),
        date_updated: iso8601(record.dates.updated),
        policy: (&record.policy).into(),
        trunk_sid,
        url: call.links.absolute(&format!("/v1/Trunks/{trunk_sid}/Policy")),
    }
}

async fn update<S: Store>(
    call: &Call<S>,
    target: Target,
    kind: Kind,
) -> Result<PolicyRecord, Refusal> {
    let change = PolicyChange::read(&call.form)?;
    let apply = |policy: &mut Policy| {
        change.apply(policy).map_err(|message| DirectoryError::Invalid { kind, message })
    };
    Ok(call.directory.update_policy(call.account()?, target, apply).await?)
}

/// What a form says of a policy; what it does not say stays.
struct PolicyChange {
    algorithms: Option<AlgorithmOffer>,
    qop: Option<QopOffer>,
    allow_rfc2069: Option<bool>,
    uri_check: Option<UriCheck>,
    nonce_lifetime: Option<u32>,
    bind_source: Option<bool>,
    wrong_answer: Option<WrongAnswer>,
    from_must_match: Option<bool>,
    userhash: Option<bool>,
    challenge: Option<ChallengeKind>,
    source: RateChange,
    pair: RateChange,
    /// `Some(None)` takes the limit away.
    name: LimitChange,
    any_name: LimitChange,
}

impl PolicyChange {
    fn read(form: &Form) -> Result<Self, Refusal> {
        Ok(Self {
            algorithms: algorithms(form)?,
            qop: form.choice("Qop")?,
            allow_rfc2069: form.flag("AllowRfc2069")?,
            uri_check: form.choice("UriCheck")?,
            nonce_lifetime: form.parsed("NonceLifetime")?,
            bind_source: form.flag("BindSource")?,
            wrong_answer: form.choice("WrongAnswer")?,
            from_must_match: form.flag("FromMustMatch")?,
            userhash: form.flag("Userhash")?,
            challenge: form.choice("Challenge")?,
            source: RateChange::read(form, "GuessSourceBurst", "GuessSourceRefillMs")?,
            pair: RateChange::read(form, "GuessPairBurst", "GuessPairRefillMs")?,
            name: LimitChange::read(form, "GuessNameBurst", "GuessNameRefillMs")?,
            any_name: LimitChange::read(form, "GuessAnyNameBurst", "GuessAnyNameRefillMs")?,
        })
    }

    fn apply(&self, policy: &mut Policy) -> Result<(), String> {
        if let Some(algorithms) = &self.algorithms {
            policy.algorithms.clone_from(algorithms);
        }
        policy.qop = self.qop.unwrap_or(policy.qop);
        policy.allow_rfc2069 = self.allow_rfc2069.unwrap_or(policy.allow_rfc2069);
        policy.uri_check = self.uri_check.unwrap_or(policy.uri_check);
        policy.nonce_lifetime = self.nonce_lifetime.unwrap_or(policy.nonce_lifetime);
        policy.bind_source = self.bind_source.unwrap_or(policy.bind_source);
        policy.wrong_answer = self.wrong_answer.unwrap_or(policy.wrong_answer);
        policy.from_must_match = self.from_must_match.unwrap_or(policy.from_must_match);
        policy.userhash = self.userhash.unwrap_or(policy.userhash);
        policy.challenge = self.challenge.unwrap_or(policy.challenge);
        self.source.apply(&mut policy.guesses.source);
        self.pair.apply(&mut policy.guesses.pair);
        self.name.apply(&mut policy.guesses.name)?;
        self.any_name.apply(&mut policy.guesses.any_name)?;
        policy.check().map_err(|error| error.to_string())
    }
}

/// What a form says of a rate.
struct RateChange {
    burst: Option<NonZeroU32>,
    refill_ms: Option<NonZeroU32>,
}

impl RateChange {
    fn read(form: &Form, burst: &str, refill_ms: &str) -> Result<Self, Refusal> {
        Ok(Self { burst: form.parsed(burst)?, refill_ms: form.parsed(refill_ms)? })
    }

    fn apply(&self, rate: &mut GuessRate) {
        rate.burst = self.burst.unwrap_or(rate.burst);
        rate.refill_ms = self.refill_ms.unwrap_or(rate.refill_ms);
    }
}

/// What a form says of a rate that there may be none of.
struct LimitChange {
    /// What they are called.
    names: [&'static str; 2],
    burst: Option<Option<NonZeroU32>>,
    refill_ms: Option<Option<NonZeroU32>>,
}

impl LimitChange {
    fn read(form: &Form, burst: &'static str, refill_ms: &'static str) -> Result<Self, Refusal> {
        let names = [burst, refill_ms];
        Ok(Self { names, burst: form.clearable(burst)?, refill_ms: form.clearable(refill_ms)? })
    }

    fn apply(&self, limit: &mut Option<GuessRate>) -> Result<(), String> {
        let burst = self.burst.unwrap_or(limit.map(|rate| rate.burst));
        let refill_ms = self.refill_ms.unwrap_or(limit.map(|rate| rate.refill_ms));
        *limit = match (burst, refill_ms) {
            (Some(burst), Some(refill_ms)) => Some(GuessRate { burst, refill_ms }),
            // an empty burst alone takes the limit away
            (None, _) if self.refill_ms.flatten().is_none() => None,
            _ => return Err(format!("{} go together", self.names.join(" and "))),
        };
        Ok(())
    }
}

/// A preset, or names with commas between them.
fn algorithms(form: &Form) -> Result<Option<AlgorithmOffer>, Refusal> {
    let Some(text) = form.text("Algorithms") else {
        return Ok(None);
    };
    if let Some((_, offer)) = PRESETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(Some(offer.clone()));
    }
    let mut named = Vec::new();
    for name in text.split(',').map(str::trim) {
        let algorithm = Algorithm::from_name(name.as_bytes());
        named.push(algorithm.ok_or_else(|| {
            let name: String = name.chars().take(40).collect();
            form.wrong("Algorithms", format_args!("has an unknown one: `{name}`"))
        })?);
    }
    let offer = AlgorithmOffer::new(named);
    offer.map(Some).map_err(|error| form.wrong("Algorithms", format_args!("is wrong: {error}")))
}
