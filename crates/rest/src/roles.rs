//! `/v2/Services/{ServiceSid}/Roles`: roles. A service is only a name space, so any service SID works.

use serde::Serialize;
use utoipa::ToSchema;

use super::dates::iso8601;
use super::error::excerpt;
use super::error::{ApiError, BAD_ROLE_TYPE};
use super::form::Param;
use super::links::Links;
use super::page::Rows;
use super::request::ApiRequest;
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
struct RoleBody {
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

impl RoleBody {
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

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<RoleBody>, ApiError> {
    let (account, service) = (request.account()?, request.sid(SERVICE)?);
    let key = |sid| Key::Role(RoleSid::from_bytes(sid));
    let rows = request.page()?.rows(key, |page| request.directory.roles(account, service, page));
    Ok(rows.await?.map(|role| RoleBody::new(&request.links, role)))
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<RoleBody, ApiError> {
    let (account, service, form) = (request.account()?, request.sid(SERVICE)?, &request.form);
    let kind = match form.required("Type")? {
        "channel" => RoleKind::Channel,
        "deployment" => RoleKind::Deployment,
        other => {
            let message = format!("Type must be channel or deployment, got `{}`", excerpt(other));
            return Err(ApiError::bad(BAD_ROLE_TYPE, message));
        }
    };
    let (name, permissions) = (form.required("FriendlyName")?, form.all("Permission"));
    let role = request.directory.create_role(account, service, name, kind, permissions).await?;
    Ok(RoleBody::new(&request.links, role))
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<RoleBody, ApiError> {
    let (account, service) = (request.account()?, request.sid(SERVICE)?);
    let role = request.directory.role(account, service, request.sid(ROLE)?).await?;
    Ok(RoleBody::new(&request.links, role))
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<RoleBody, ApiError> {
    let (account, service, sid) = (request.account()?, request.sid(SERVICE)?, request.sid(ROLE)?);
    let permissions = request.form.all("Permission");
    let role = request.directory.update_role(account, service, sid, permissions).await?;
    Ok(RoleBody::new(&request.links, role))
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    let (account, service) = (request.account()?, request.sid(SERVICE)?);
    Ok(request.directory.delete_role(account, service, request.sid(ROLE)?).await?)
}
