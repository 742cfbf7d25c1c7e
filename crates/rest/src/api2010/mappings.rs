//! Lists mapped to a domain, on the newer paths (`Auth/Calls`, `Auth/Registrations`) and the older ones.
//! A mapping for calls is on both.

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::dates::rfc2822;
use crate::error::ApiError;
use crate::form::Param;
use crate::links::sip_uri;
use crate::mapped::{self, Lists, Shown};
use crate::page::Rows;
use crate::request::ApiRequest;
use crate::routes::{ResponseBody, Routes};
use sip_authz::model::Target;
use sip_authz::{AccountSid, DomainSid, RoleSid};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

const DOMAIN: &str = "DomainSid";

/// A collection of mappings of a domain.
#[derive(Clone, Copy)]
struct Part {
    /// The path below that of the domain.
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

/// The older collections, each with the JSON key of its rows.
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
        add::<S, MappingBody>(routes, part, "contents");
    }
    for (part, key) in OLDER {
        add::<S, OlderMappingBody>(routes, part, key);
    }
}

fn add<S: Store, A: MappingForm>(routes: &mut Routes<S>, part: Part, key: &'static str) {
    let path = format!("{SIP}/Domains/{{{DOMAIN}}}/{}", part.path);
    routes
        .at(format!("{path}.json"), Kind::DomainMapping)
        .list(key, move |request: ApiRequest<S>| list::<S, A>(request, part))
        .create(part.params, move |request: ApiRequest<S>| create::<S, A>(request, part));
    routes
        .at(format!("{path}/{{{}}}.json", mapped::SID), Kind::DomainMapping)
        .fetch(move |request: ApiRequest<S>| fetch::<S, A>(request, part))
        .delete(move |request: ApiRequest<S>| delete(request, part));
}

/// One of the two representations of a mapping.
trait MappingForm: ResponseBody + Send {
    fn new(account: AccountSid, domain: DomainSid, part: Part, shown: Shown) -> Self;
}

/// A list mapped to a domain.
#[derive(Serialize, ToSchema)]
#[schema(as = Mapping)]
struct MappingBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// The name of the list.
    friendly_name: String,
    /// The channel role, only if the mapping has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    /// The SID of the list.
    sid: String,
}

impl MappingForm for MappingBody {
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

/// A list mapped to a domain, as the older paths represent it.
#[derive(Serialize, ToSchema)]
#[schema(as = OlderMapping)]
struct OlderMappingBody {
    #[serde(flatten)]
    mapping: MappingBody,
    #[schema(value_type = String)]
    domain_sid: DomainSid,
    uri: String,
}

impl MappingForm for OlderMappingBody {
    fn new(account: AccountSid, domain_sid: DomainSid, part: Part, shown: Shown) -> Self {
        let place = format_args!("Domains/{domain_sid}/{}/{}", part.path, shown.sid).to_string();
        Self {
            mapping: MappingBody::new(account, domain_sid, part, shown),
            domain_sid,
            uri: sip_uri(account, place),
        }
    }
}

async fn list<S: Store, A: MappingForm>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<Rows<A>, ApiError> {
    let (account, domain) = (request.account()?, request.sid(DOMAIN)?);
    let rows = mapped::list(&request, (part.lists)(domain)).await?;
    Ok(rows.map(|shown| A::new(account, domain, part, shown)))
}

async fn create<S: Store, A: MappingForm>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<A, ApiError> {
    let (account, domain) = (request.account()?, request.sid(DOMAIN)?);
    let shown = mapped::create(&request, (part.lists)(domain)).await?;
    Ok(A::new(account, domain, part, shown))
}

async fn fetch<S: Store, A: MappingForm>(
    request: ApiRequest<S>,
    part: Part,
) -> Result<A, ApiError> {
    let (account, domain) = (request.account()?, request.sid(DOMAIN)?);
    let shown = mapped::fetch(&request, (part.lists)(domain)).await?;
    Ok(A::new(account, domain, part, shown))
}

async fn delete<S: Store>(request: ApiRequest<S>, part: Part) -> Result<(), ApiError> {
    mapped::delete(&request, (part.lists)(request.sid(DOMAIN)?)).await
}
