//! Credential lists and their credentials.

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::call::Call;
use crate::dates::rfc2822;
use crate::error::Refusal;
use crate::form::{Form, Param};
use crate::links::sip_uri;
use crate::page::Rows;
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

/// The parameters of a hash for each function: `Ha1Md5`, `Ha1Sha512256`.
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

/// `first`, and what can be set and changed alike.
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
struct ListAnswer {
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

impl From<CredentialList> for ListAnswer {
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

/// A credential, without anything that is secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Credential)]
struct CredentialAnswer {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    #[schema(value_type = String)]
    credential_list_sid: CredentialListSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// Only of a credential that is disabled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    /// Only of a credential that carries a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    role_sid: Option<RoleSid>,
    #[schema(value_type = String)]
    sid: CredentialSid,
    uri: String,
    username: String,
}

impl CredentialAnswer {
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

async fn list<S: Store>(call: Call<S>) -> Result<Rows<ListAnswer>, Refusal> {
    let account = call.account()?;
    let key = |sid| Key::CredentialList(CredentialListSid::from_bytes(sid));
    let rows = call.page()?.rows(key, |page| call.directory.credential_lists(account, page));
    Ok(rows.await?.map(ListAnswer::from))
}

async fn create<S: Store>(call: Call<S>) -> Result<ListAnswer, Refusal> {
    let name = call.form.required("FriendlyName")?;
    let realm = call.form.clearable("Realm")?.flatten();
    Ok(call.directory.create_credential_list(call.account()?, name, realm).await?.into())
}

async fn fetch<S: Store>(call: Call<S>) -> Result<ListAnswer, Refusal> {
    Ok(call.directory.credential_list(call.account()?, call.sid(LIST)?).await?.into())
}

async fn update<S: Store>(call: Call<S>) -> Result<ListAnswer, Refusal> {
    let (account, sid) = (call.account()?, call.sid(LIST)?);
    let name = call.form.required("FriendlyName")?;
    Ok(call.directory.update_credential_list(account, sid, name).await?.into())
}

async fn delete<S: Store>(call: Call<S>) -> Result<(), Refusal> {
    Ok(call.directory.delete_credential_list(call.account()?, call.sid(LIST)?).await?)
}

async fn list_credentials<S: Store>(call: Call<S>) -> Result<Rows<CredentialAnswer>, Refusal> {
    let (account, list) = (call.account()?, call.sid(LIST)?);
    let key = |sid| Key::Credential(CredentialSid::from_bytes(sid));
    let rows = call.page()?.rows(key, |page| call.directory.credentials(account, list, page));
    Ok(rows.await?.map(|credential| CredentialAnswer::new(account, &credential)))
}

async fn create_credential<S: Store>(call: Call<S>) -> Result<CredentialAnswer, Refusal> {
    let (account, list, form) = (call.account()?, call.sid(LIST)?, &call.form);
    let username = form.parsed("Username")?;
    let username = username.ok_or_else(|| form.wrong("Username", "is required"))?;
    let secret = secret(form)?.ok_or_else(|| form.wrong("Password", "is required"))?;
    let disabled = form.flag("Disabled")?.unwrap_or(false);
    let role = form.clearable("RoleSid")?.flatten();
    let made = call.directory.create_credential(account, list, username, secret, disabled, role);
    Ok(CredentialAnswer::new(account, &made.await?))
}

async fn fetch_credential<S: Store>(call: Call<S>) -> Result<CredentialAnswer, Refusal> {
    let (account, list) = (call.account()?, call.sid(LIST)?);
    let credential = call.directory.credential(account, list, call.sid(CREDENTIAL)?).await?;
    Ok(CredentialAnswer::new(account, &credential))
}

async fn update_credential<S: Store>(call: Call<S>) -> Result<CredentialAnswer, Refusal> {
    let (account, list, sid) = (call.account()?, call.sid(LIST)?, call.sid(CREDENTIAL)?);
    let change = CredentialChange::default()
        .with_secret(secret(&call.form)?)
        .with_disabled(call.form.flag("Disabled")?)
        .with_role(call.form.clearable("RoleSid")?);
    let changed = call.directory.update_credential(account, list, sid, change).await?;
    Ok(CredentialAnswer::new(account, &changed))
}

async fn delete_credential<S: Store>(call: Call<S>) -> Result<(), Refusal> {
    let (account, list) = (call.account()?, call.sid(LIST)?);
    Ok(call.directory.delete_credential(account, list, call.sid(CREDENTIAL)?).await?)
}

/// A password, or hashes that stand in for it.
fn secret(form: &Form) -> Result<Option<Secret>, Refusal> {
    let given = |(function, name): &(HashFunction, String)| {
        form.text(name).map(|hash| (*function, hash.to_owned()))
    };
    let hashes: Vec<_> = HASHES.iter().filter_map(given).collect();
    match form.text("Password") {
        Some(_) if !hashes.is_empty() => Err(form.wrong("Password", "goes without hashes")),
        Some(password) => Ok(Some(Secret::Password(Password::new(password.to_owned())))),
        None if hashes.is_empty() => Ok(None),
        None => Ok(Some(Secret::Ha1(hashes))),
    }
}
