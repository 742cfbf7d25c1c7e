//! Credential lists and their credentials.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::dates::rfc2822;
use crate::error::ApiError;
use crate::form::{Form, Param};
use crate::links::sip_uri;
use crate::page::Rows;
use crate::request::ApiRequest;
use crate::routes::Routes;
use sip_authz::digest::HashFunction;
use sip_authz::model::{Credential, CredentialList, Key, Password};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, RoleSid};
use sip_authz_directory::{CredentialChange, Kind, Secret};
use sip_authz_store::Store;

const LIST: &str = "CredentialListSid";
const CREDENTIAL: &str = "CredentialSid";

const CREATE_LIST: &[Param] = &[Param::text("FriendlyName").required(), Param::text("Realm")];
const UPDATE_LIST: &[Param] = &[Param::text("FriendlyName").required()];
static CREATE: LazyLock<Vec<Param>> =
    LazyLock::new(|| params(&[Param::text("Username").required()]));
static UPDATE: LazyLock<Vec<Param>> = LazyLock::new(|| params(&[]));

/// The hash parameter of each hash function, such as `Ha1Md5` or `Ha1Sha512256`.
static HASHES: LazyLock<Vec<(HashFunction, String)>> = LazyLock::new(|| {
    let name = |function: HashFunction| {
        let mut name = "Ha1".to_owned();
        for part in function.stored_name().split('_') {
            let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
            name += &first.to_ascii_uppercase();
            name += rest;
        }
        name
    };
    HashFunction::ALL.into_iter().map(|function| (function, name(function))).collect()
});

/// `first`, and the parameters that creation and update share.
fn params(first: &[Param]) -> Vec<Param> {
    let hashes = HASHES.iter().map(|(_, name)| Param::secret(name));
    let others = [Param::flag("Disabled"), Param::text("RoleSid")];
    first.iter().copied().chain([Param::secret("Password")]).chain(hashes).chain(others).collect()
}

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    let lists = format!("{SIP}/CredentialLists");
    let credentials = format!("{lists}/{{{LIST}}}/Credentials");
    routes
        .at(format!("{lists}.json"), Kind::CredentialList)
        .list("credential_lists", list::<S>)
        .create(CREATE_LIST, create::<S>);
    routes
        .at(format!("{lists}/{{{LIST}}}.json"), Kind::CredentialList)
        .fetch(fetch::<S>)
        .update(UPDATE_LIST, update::<S>)
        .delete(delete::<S>);
    routes
        .at(format!("{credentials}.json"), Kind::Credential)
        .list("credentials", list_credentials::<S>)
        .create(&CREATE, create_credential::<S>);
    routes
        .at(format!("{credentials}/{{{CREDENTIAL}}}.json"), Kind::Credential)
        .fetch(fetch_credential::<S>)
        .update(&UPDATE, update_credential::<S>)
        .delete(delete_credential::<S>);
}

/// A credential list.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialList)]
struct ListBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    friendly_name: String,
    #[schema(value_type = String)]
    sid: CredentialListSid,
    #[schema(inline)]
    subresource_uris: ListSubresources,
    uri: String,
}

#[derive(Serialize, ToSchema)]
struct ListSubresources {
    credentials: String,
}

impl From<CredentialList> for ListBody {
    fn from(list: CredentialList) -> Self {
        let place = format!("CredentialLists/{}", list.sid);
        Self {
            account_sid: list.account,
            date_created: rfc2822(list.dates.created),
            date_updated: rfc2822(list.dates.updated),
            friendly_name: list.friendly_name,
            sid: list.sid,
            subresource_uris: ListSubresources {
                credentials: sip_uri(list.account, format_args!("{place}/Credentials")),
            },
            uri: sip_uri(list.account, place),
        }
    }
}

/// A credential, without its password and hashes.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
struct CredentialBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    #[schema(value_type = String)]
    credential_list_sid: CredentialListSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// True for a disabled credential; otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    /// The deployment role, only if the credential has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    #[schema(value_type = String)]
    sid: CredentialSid,
    uri: String,
    username: String,
}

impl CredentialBody {
    fn new(account: AccountSid, credential: &Credential) -> Self {
        let Credential { sid, list, username, disabled, role, dates, .. } = credential;
        Self {
            account_sid: account,
            credential_list_sid: *list,
            date_created: rfc2822(dates.created),
            date_updated: rfc2822(dates.updated),
            disabled: *disabled,
            role_sid: *role,
            sid: *sid,
            uri: sip_uri(account, format_args!("CredentialLists/{list}/Credentials/{sid}")),
            username: username.as_str().to_owned(),
        }
    }
}

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<ListBody>, ApiError> {
    let account = request.account()?;
    let key = |sid| Key::CredentialList(CredentialListSid::from_bytes(sid));
    let rows = request.page()?.rows(key, |page| request.directory.credential_lists(account, page));
    Ok(rows.await?.map(ListBody::from))
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    let name = request.form.required("FriendlyName")?;
    let realm = request.form.clearable("Realm")?.flatten();
    Ok(request.directory.create_credential_list(request.account()?, name, realm).await?.into())
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    Ok(request.directory.credential_list(request.account()?, request.sid(LIST)?).await?.into())
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    let (account, sid) = (request.account()?, request.sid(LIST)?);
    let name = request.form.required("FriendlyName")?;
    Ok(request.directory.update_credential_list(account, sid, name).await?.into())
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    Ok(request.directory.delete_credential_list(request.account()?, request.sid(LIST)?).await?)
}

async fn list_credentials<S: Store>(
    request: ApiRequest<S>,
) -> Result<Rows<CredentialBody>, ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    let key = |sid| Key::Credential(CredentialSid::from_bytes(sid));
    let rows = request.page()?.rows(key, |page| request.directory.credentials(account, list, page));
    Ok(rows.await?.map(|credential| CredentialBody::new(account, &credential)))
}

async fn create_credential<S: Store>(request: ApiRequest<S>) -> Result<CredentialBody, ApiError> {
    let (account, list, form) = (request.account()?, request.sid(LIST)?, &request.form);
    let username = form.parsed("Username")?;
    let username = username.ok_or_else(|| form.wrong("Username", "is required"))?;
    let secret = secret(form)?.ok_or_else(|| form.wrong("Password", "is required"))?;
    let disabled = form.flag("Disabled")?.unwrap_or(false);
    let role = form.clearable("RoleSid")?.flatten();
    let made = request.directory.create_credential(account, list, username, secret, disabled, role);
    Ok(CredentialBody::new(account, &made.await?))
}

async fn fetch_credential<S: Store>(request: ApiRequest<S>) -> Result<CredentialBody, ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    let credential = request.directory.credential(account, list, request.sid(CREDENTIAL)?).await?;
    Ok(CredentialBody::new(account, &credential))
}

async fn update_credential<S: Store>(request: ApiRequest<S>) -> Result<CredentialBody, ApiError> {
    let (account, list, sid) = (request.account()?, request.sid(LIST)?, request.sid(CREDENTIAL)?);
    let change = CredentialChange::default()
        .with_secret(secret(&request.form)?)
        .with_disabled(request.form.flag("Disabled")?)
        .with_role(request.form.clearable("RoleSid")?);
    let changed = request.directory.update_credential(account, list, sid, change).await?;
    Ok(CredentialBody::new(account, &changed))
}

async fn delete_credential<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    Ok(request.directory.delete_credential(account, list, request.sid(CREDENTIAL)?).await?)
}

/// The password or the hashes in a form.
fn secret(form: &Form) -> Result<Option<Secret>, ApiError> {
    let given = |(function, name): &(HashFunction, String)| {
        form.text(name).map(|hash| (*function, hash.to_owned()))
    };
    let hashes: Vec<_> = HASHES.iter().filter_map(given).collect();
    match form.text("Password") {
        Some(_) if !hashes.is_empty() => {
            Err(form.wrong("Password", "must not be combined with hashes"))
        }
        Some(password) => Ok(Some(Secret::Password(Password::new(password.to_owned())))),
        None if hashes.is_empty() => Ok(None),
        None => Ok(Some(Secret::Ha1(hashes))),
    }
}
