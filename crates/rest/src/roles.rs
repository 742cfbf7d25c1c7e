//! `/v2/Services/{ServiceSid}/Roles`: roles. A service is a name space; any SID serves.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::dates::iso8601;
use super::error::{BAD_ROLE_TYPE, Refusal};
use super::form::Param;
use super::links::Links;
use super::page::Rows;
use super::routes::Routes;
use sip_authz::model::{Key, Role, RoleKind};
use sip_authz::{AccountSid, RoleSid, ServiceSid};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

const SERVICE: &str = "ServiceSid";
const ROLE: &str = "RoleSid";

const PERMISSIONS: Param = Param::text("Permission").required().repeated();
const CREATE: &[Param] =
    &[Param::text("FriendlyName").required(), Param::text("Type").required(), PERMISSIONS];
const UPDATE: &[Param] = &[PERMISSIONS];

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    let roles = format!("/v2/Services/{{{SERVICE}}}/Roles");
    routes.at(roles.clone(), Kind::Role).list("roles", list::<S>).create(CREATE, create::<S>);
    routes
        .at(format!("{roles}/{{{ROLE}}}"), Kind::Role)
        .fetch(fetch::<S>)
        .update(UPDATE, update::<S>)
        .delete(delete::<S>);
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    friendly_name: String,
    permissions: Vec<String>,
    #[schema(value_type = String)]
    service_sid: ServiceSid,
    #[schema(value_type = String)]
    sid: RoleSid,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: RoleKind,
    url: String,
}

impl RoleAnswer {
    fn new(links: &Links, role: Role) -> Self {
        let Role { sid, account, service, friendly_name, kind, permissions, dates } = role;
        Self {
            account_sid: account,
            date_created: iso8601(dates.created),
            date_updated: iso8601(dates.updated),
            friendly_name,
            permissions,
            service_sid: service,
            sid,
            kind,
            url: links.absolute(&format!("/v2/Services/{service}/Roles/{sid}")),
        }
    }
}

async fn list<S: Store>(call: Call<S>) -> Result<Rows<RoleAnswer>, Refusal> {
    let (account, service) = (call.account()?, call.sid(SERVICE)?);
    let key = |sid| Key::Role(RoleSid::from_bytes(sid));
    let rows = call.page()?.rows(key, |page| call.directory.roles(account, service, page));
    Ok(rows.await?.map(|role| RoleAnswer::new(&call.links, role)))
}

async fn create<S: Store>(call: Call<S>) -> Result<RoleAnswer, Refusal> {
    let (account, service, form) = (call.account()?, call.sid(SERVICE)?, &call.form);
    let kind = match form.required("Type")? {
        "channel" => RoleKind::Channel,
        "deployment" => RoleKind::Deployment,
        _ => return Err(Refusal::bad(BAD_ROLE_TYPE, "Type must be channel or deployment")),
    };
    let (name, permissions) = (form.required("FriendlyName")?, form.all("Permission"));
    let role = call.directory.create_role(account, service, name, kind, permissions).await?;
    Ok(RoleAnswer::new(&call.links, role))
}

async fn fetch<S: Store>(call: Call<S>) -> Result<RoleAnswer, Refusal> {
    let (account, service) = (call.account()?, call.sid(SERVICE)?);
    let role = call.directory.role(account, service, call.sid(ROLE)?).await?;
    Ok(RoleAnswer::new(&call.links, role))
}

async fn update<S: Store>(call: Call<S>) -> Result<RoleAnswer, Refusal> {
    let (account, service, sid) = (call.account()?, call.sid(SERVICE)?, call.sid(ROLE)?);
    let permissions = call.form.all("Permission");
    let role = call.directory.update_role(account, service, sid, permissions).await?;
    Ok(RoleAnswer::new(&call.links, role))
}

async fn delete<S: Store>(call: Call<S>) -> Result<(), Refusal> {
    let (account, service) = (call.account()?, call.sid(SERVICE)?);
    Ok(call.directory.delete_role(account, service, call.sid(ROLE)?).await?)
}
