//! The policy of a domain or trunk: how its callers are authenticated. Twilio has no such resource.

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::change::{FormValue, changes};
use super::dates::{iso8601, rfc2822};
use super::error::ApiError;
use super::form::{Form, Param};
use super::links::sip_uri;
use super::request::ApiRequest;
use super::routes::Routes;
use sip_authz::digest::GuessRate;
use sip_authz::model::{GuessPolicy, Policy, PolicyRecord, Target};
use sip_authz::{AccountSid, DomainSid, TrunkSid};
use sip_authz_directory::{DirectoryError, Kind};
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";
const TRUNK: &str = "TrunkSid";

macro_rules! policy_forms {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        changes! {
            Policy {
                $($parameter => $field: $type,)*
                "GuessSourceBurst" => guesses.source.burst: NonZeroU32,
                "GuessSourceRefillMs" => guesses.source.refill_ms: NonZeroU32,
                "GuessPairBurst" => guesses.pair.burst: NonZeroU32,
                "GuessPairRefillMs" => guesses.pair.refill_ms: NonZeroU32,
            }
            and Param::integer("GuessNameBurst"), Param::integer("GuessNameRefillMs"),
                Param::integer("GuessAnyNameBurst"), Param::integer("GuessAnyNameRefillMs")
        }

        #[derive(Serialize)]
        struct PolicyBody {
            $($field: $type,)*
            #[serde(flatten)]
            guesses: GuessBody,
        }

        impl From<Policy> for PolicyBody {
            fn from(policy: Policy) -> Self {
                Self { $($field: policy.$field,)* guesses: policy.guesses.into() }
            }
        }

        impl PartialSchema for PolicyBody {
            fn schema() -> RefOr<Schema> {
                let mut schema = GuessBody::schema();
                if let RefOr::T(Schema::Object(object)) = &mut schema {
                    $(
                        let field = described(<$type>::field_schema(), concat!($($doc),*));
                        object.properties.insert(stringify!($field).to_owned(), field);
                        object.required.push(stringify!($field).to_owned());
                    )*
                }
                schema
            }
        }
    };
}
sip_authz::policy_fields!(policy_forms);

impl ToSchema for PolicyBody {
    fn name() -> Cow<'static, str> {
        "PolicySettings".into()
    }
}

fn described(mut schema: RefOr<Schema>, description: &str) -> RefOr<Schema> {
    let text = Some(description.trim().to_owned()).filter(|text| !text.is_empty());
    match &mut schema {
        RefOr::T(Schema::Object(object)) if text.is_some() => object.description = text,
        RefOr::T(Schema::Array(array)) if text.is_some() => array.description = text,
        _ => {}
    }
    schema
}

/// How the callers of a domain or trunk are authenticated.
#[derive(Serialize, ToSchema)]
struct GuessBody {
    /// Has no effect: it limited responses without a live nonce, which are no longer verified. Older
    /// policies may still have it.
    guess_source_burst: u32,
    /// Has no effect, as `guess_source_burst`.
    guess_source_refill_ms: u32,
    guess_pair_burst: u32,
    guess_pair_refill_ms: u32,
    /// Null if guesses at one user name from all addresses are not limited.
    guess_name_burst: Option<u32>,
    guess_name_refill_ms: Option<u32>,
    /// Null if guesses from one address at all user names together are not limited.
    guess_any_name_burst: Option<u32>,
    guess_any_name_refill_ms: Option<u32>,
}

impl From<GuessPolicy> for GuessBody {
    fn from(guesses: GuessPolicy) -> Self {
        let GuessPolicy { source, pair, name, any_name, .. } = guesses;
        Self {
            guess_source_burst: source.burst.get(),
            guess_source_refill_ms: source.refill_ms.get(),
            guess_pair_burst: pair.burst.get(),
            guess_pair_refill_ms: pair.refill_ms.get(),
            guess_name_burst: name.map(|rate| rate.burst.get()),
            guess_name_refill_ms: name.map(|rate| rate.refill_ms.get()),
            guess_any_name_burst: any_name.map(|rate| rate.burst.get()),
            guess_any_name_refill_ms: any_name.map(|rate| rate.refill_ms.get()),
        }
    }
}

/// Adds the policies of domains, below the prefix `sip` of SIP resources.
pub(super) fn domain_routes<S: Store>(routes: &mut Routes<S>, sip: &str) {
    routes
        .at(format!("{sip}/Domains/{{{DOMAIN}}}/Policy.json"), Kind::Domain)
        .fetch(fetch_of_domain::<S>)
        .update(PARAMS, update_of_domain::<S>);
}

/// Adds the policies of trunks.
pub(super) fn trunk_routes<S: Store>(routes: &mut Routes<S>) {
    routes
        .at(format!("/v1/Trunks/{{{TRUNK}}}/Policy"), Kind::Trunk)
        .fetch(fetch_of_trunk::<S>)
        .update(PARAMS, update_of_trunk::<S>);
}

/// The policy of a domain. The dates are null while the default applies.
#[derive(Serialize, ToSchema)]
#[schema(as = DomainPolicy)]
struct DomainPolicyBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    #[schema(value_type = String)]
    domain_sid: DomainSid,
    #[serde(flatten)]
    policy: PolicyBody,
    uri: String,
}

/// The policy of a trunk. The dates are null while the default applies.
#[derive(Serialize, ToSchema)]
#[schema(as = TrunkPolicy)]
struct TrunkPolicyBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    #[serde(flatten)]
    policy: PolicyBody,
    #[schema(value_type = String)]
    trunk_sid: TrunkSid,
    url: String,
}

async fn fetch_of_domain<S: Store>(request: ApiRequest<S>) -> Result<DomainPolicyBody, ApiError> {
    let (account, domain) = (request.account()?, request.sid(DOMAIN)?);
    let record = request.directory.policy(account, Target::Domain(domain)).await?;
    Ok(domain_answer(account, domain, record))
}

async fn update_of_domain<S: Store>(request: ApiRequest<S>) -> Result<DomainPolicyBody, ApiError> {
    let (account, domain) = (request.account()?, request.sid(DOMAIN)?);
    let record = update(&request, Target::Domain(domain), Kind::Domain).await?;
    Ok(domain_answer(account, domain, record))
}

fn domain_answer(
    account_sid: AccountSid,
    domain_sid: DomainSid,
    record: PolicyRecord,
) -> DomainPolicyBody {
    DomainPolicyBody {
        account_sid,
        date_created: rfc2822(record.dates.created),
        date_updated: rfc2822(record.dates.updated),
        domain_sid,
        policy: record.policy.into(),
        uri: sip_uri(account_sid, format_args!("Domains/{domain_sid}/Policy")),
    }
}

async fn fetch_of_trunk<S: Store>(request: ApiRequest<S>) -> Result<TrunkPolicyBody, ApiError> {
    let (account, trunk) = (request.account()?, request.sid(TRUNK)?);
    let record = request.directory.policy(account, Target::Trunk(trunk)).await?;
    Ok(trunk_answer(&request, account, trunk, record))
}

async fn update_of_trunk<S: Store>(request: ApiRequest<S>) -> Result<TrunkPolicyBody, ApiError> {
    let (account, trunk) = (request.account()?, request.sid(TRUNK)?);
    let record = update(&request, Target::Trunk(trunk), Kind::Trunk).await?;
    Ok(trunk_answer(&request, account, trunk, record))
}

fn trunk_answer<S: Store>(
    request: &ApiRequest<S>,
    account_sid: AccountSid,
    trunk_sid: TrunkSid,
    record: PolicyRecord,
) -> TrunkPolicyBody {
    TrunkPolicyBody {
        account_sid,
        date_created: iso8601(record.dates.created),
        date_updated: iso8601(record.dates.updated),
        policy: record.policy.into(),
        trunk_sid,
        url: request.links.absolute(&format!("/v1/Trunks/{trunk_sid}/Policy")),
    }
}

async fn update<S: Store>(
    request: &ApiRequest<S>,
    target: Target,
    kind: Kind,
) -> Result<PolicyRecord, ApiError> {
    let change = changes(&request.form)?;
    let name = LimitChange::read(&request.form, "GuessNameBurst", "GuessNameRefillMs")?;
    let any_name = LimitChange::read(&request.form, "GuessAnyNameBurst", "GuessAnyNameRefillMs")?;
    let apply = |policy: &mut Policy| {
        change.apply(policy);
        let invalid = |message| DirectoryError::Invalid { kind, message };
        name.apply(&mut policy.guesses.name).map_err(invalid)?;
        any_name.apply(&mut policy.guesses.any_name).map_err(invalid)?;
        policy.check().map_err(|error| invalid(error.to_string()))
    };
    Ok(request.directory.update_policy(request.account()?, target, apply).await?)
}

/// The change that a form makes to an optional guess limit.
struct LimitChange {
    /// The parameter names of burst and refill interval.
    names: [&'static str; 2],
    burst: Option<Option<NonZeroU32>>,
    refill_ms: Option<Option<NonZeroU32>>,
}

impl LimitChange {
    fn read(form: &Form, burst: &'static str, refill_ms: &'static str) -> Result<Self, ApiError> {
        let names = [burst, refill_ms];
        let (burst, refill_ms) =
            (form.clearable_integer(burst)?, form.clearable_integer(refill_ms)?);
        Ok(Self { names, burst, refill_ms })
    }

    fn apply(&self, limit: &mut Option<GuessRate>) -> Result<(), String> {
        let burst = self.burst.unwrap_or(limit.map(|rate| rate.burst));
        let refill_ms = self.refill_ms.unwrap_or(limit.map(|rate| rate.refill_ms));
        *limit = match (burst, refill_ms) {
            (Some(burst), Some(refill_ms)) => Some(GuessRate { burst, refill_ms }),
            // an empty burst alone removes the limit
            (None, _) if self.refill_ms.flatten().is_none() => None,
            _ => return Err(format!("{} must be set together", self.names.join(" and "))),
        };
        Ok(())
    }
}
