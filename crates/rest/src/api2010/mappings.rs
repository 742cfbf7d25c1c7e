//! Lists mapped to a domain, in the newer form (`Auth/Calls`, `Auth/Registrations`) and the older.
//! Both forms of a mapping for calls show the same one.

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::call::Call;
use crate::dates::rfc2822;
use crate::error::Refusal;
use crate::form::Param;
use crate::links::sip_uri;
use crate::mapped::{self, Lists, Shown};
use crate::page::Rows;
use crate::routes::{Answer, Routes};
use sip_authz::model::Target;
use sip_authz::{AccountSid, DomainSid, RoleSid};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";

/// Which of a domain's mappings a path shows.
#[derive(Clone, Copy)]
struct Part {
    /// Behind the domain's own path.
    path: &'static str,
    lists: fn(DomainSid) -> Lists,
    params: &'static [Param],
}

const CREDENTIALS: fn(DomainSid) -> Lists = |domain| Lists::Credentials(Target::Domain(domain));
const ADDRESSES: fn(DomainSid) -> Lists = |domain| Lists::Addresses(Target::Domain(domain));

const NEWER: [Part; 3] = [
    Part {
        path: "Auth/Calls/CredentialListMappings",
        lists: CREDENTIALS,
        params: mapped::CALL_CREDENTIALS,
    },
    Part {
        path: "Auth/Calls/IpAccessControlListMappings",
        lists: ADDRESSES,
        params: mapped::ADDRESSES,
    },
    Part {
        path: "Auth/Registrations/CredentialListMappings",
        lists: Lists::Registrations,
        params: mapped::REGISTRATION_CREDENTIALS,
    },
];

/// With the key that each is listed under.
const OLDER: [(Part, &str); 2] = [
    (
        Part {
            path: "CredentialListMappings",
            lists: CREDENTIALS,
            params: mapped::CALL_CREDENTIALS,
        },
        "credential_list_mappings",
    ),
    (
        Part { path: "IpAccessControlListMappings", lists: ADDRESSES, params: mapped::ADDRESSES },
        "ip_access_control_list_mappings",
    ),
];

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    for part in NEWER {
        add::<S, MappingAnswer>(routes, part, "contents");
    }
    for (part, key) in OLDER {
        add::<S, OlderMappingAnswer>(routes, part, key);
    }
}

fn add<S: Store, A: MappingForm>(routes: &mut Routes<S>, part: Part, key: &'static str) {
    let path = format!("{SIP}/Domains/{{{DOMAIN}}}/{}", part.path);
    routes
        .at(format!("{path}.json"), Kind::DomainMapping)
        .list(key, move |call: Call<S>| list::<S, A>(call, part))
        .create(part.params, move |call: Call<S>| create::<S, A>(call, part));
    routes
        .at(format!("{path}/{{{}}}.json", mapped::SID), Kind::DomainMapping)
        .fetch(move |call: Call<S>| fetch::<S, A>(call, part))
        .delete(move |call: Call<S>| delete(call, part));
}

/// One of the two forms.
trait MappingForm: Answer + Send {
    fn new(account: AccountSid, domain: DomainSid, part: Part, shown: Shown) -> Self;
}

/// A list mapped to a domain.
#[derive(Serialize, ToSchema)]
#[schema(as = Mapping)]
struct MappingAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// The list's.
    friendly_name: String,
    /// Only of a mapping that carries a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    /// The list's.
    sid: String,
}

impl MappingForm for MappingAnswer {
    fn new(account_sid: AccountSid, _: DomainSid, _: Part, shown: Shown) -> Self {
        let Shown { record, friendly_name, sid } = shown;
        Self {
            account_sid,
            date_created: rfc2822(record.dates.created),
            date_updated: rfc2822(record.dates.updated),
            friendly_name,
            role_sid: record.role,
            sid,
        }
    }
}

/// A list mapped to a domain, in the older form.
#[derive(Serialize, ToSchema)]
#[schema(as = OlderMapping)]
struct OlderMappingAnswer {
    #[serde(flatten)]
    mapping: MappingAnswer,
    #[schema(value_type = String)]
    domain_sid: DomainSid,
    uri: String,
}

impl MappingForm for OlderMappingAnswer {
    fn new(account: AccountSid, domain_sid: DomainSid, part: Part, shown: Shown) -> Self {
        let place = format_args!("Domains/{domain_sid}/{}/{}", part.path, shown.sid).to_string();
        Self {
            mapping: MappingAnswer::new(account, domain_sid, part, shown),
            domain_sid,
            uri: sip_uri(account, place),
        }
    }
}

async fn list<S: Store, A: MappingForm>(call: Call<S>, part: Part) -> Result<Rows<A>, Refusal> {
    let (account, domain) = (call.account()?, call.sid(DOMAIN)?);
    let rows = mapped::list(&call, (part.lists)(domain)).await?;
    Ok(rows.map(|shown| A::new(account, domain, part, shown)))
}

async fn create<S: Store, A: MappingForm>(call: Call<S>, part: Part) -> Result<A, Refusal> {
    let (account, domain) = (call.account()?, call.sid(DOMAIN)?);
    let shown = mapped::create(&call, (part.lists)(domain)).await?;
    Ok(A::new(account, domain, part, shown))
}

async fn fetch<S: Store, A: MappingForm>(call: Call<S>, part: Part) -> Result<A, Refusal> {
    let (account, domain) = (call.account()?, call.sid(DOMAIN)?);
    let shown = mapped::fetch(&call, (part.lists)(domain)).await?;
    Ok(A::new(account, domain, part, shown))
}

async fn delete<S: Store>(call: Call<S>, part: Part) -> Result<(), Refusal> {
    mapped::delete(&call, (part.lists)(call.sid(DOMAIN)?)).await
}
