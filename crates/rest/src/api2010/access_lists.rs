//! IP access control lists and their addresses.

use std::fmt::Display;
use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::SIP;
use crate::dates::rfc2822;
use crate::error::{ApiError, excerpt};
use crate::form::{Form, Param};
use crate::links::sip_uri;
use crate::page::Rows;
use crate::request::ApiRequest;
use crate::routes::Routes;
use sip_authz::acl::Prefix;
use sip_authz::model::{IpAccessControlList, IpAddress, Key};
use sip_authz::{AccountSid, IpAccessControlListSid, IpAddressSid};
use sip_authz_directory::{DirectoryError, Kind};
use sip_authz_store::Store;

const LIST: &str = "IpAccessControlListSid";
const ADDRESS: &str = "IpAddressSid";
const LENGTH: &str = "CidrPrefixLength";

const NAMED: &[Param] = &[Param::text("FriendlyName").required()];
const CREATE_ADDRESS: &[Param] = &[
    Param::text("FriendlyName").required(),
    Param::text("IpAddress").required(),
    Param::integer(LENGTH),
    Param::flag("AllowAll"),
];
const UPDATE_ADDRESS: &[Param] = &[
    Param::text("FriendlyName"),
    Param::text("IpAddress"),
    Param::integer(LENGTH),
    Param::flag("AllowAll"),
];

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    let lists = format!("{SIP}/IpAccessControlLists");
    let addresses = format!("{lists}/{{{LIST}}}/IpAddresses");
    routes
        .at(format!("{lists}.json"), Kind::IpAccessControlList)
        .list("ip_access_control_lists", list::<S>)
        .create(NAMED, create::<S>);
    routes
        .at(format!("{lists}/{{{LIST}}}.json"), Kind::IpAccessControlList)
        .fetch(fetch::<S>)
        .update(NAMED, update::<S>)
        .delete(delete::<S>);
    routes
        .at(format!("{addresses}.json"), Kind::IpAddress)
        .list("ip_addresses", list_addresses::<S>)
        .create(CREATE_ADDRESS, create_address::<S>);
    routes
        .at(format!("{addresses}/{{{ADDRESS}}}.json"), Kind::IpAddress)
        .fetch(fetch_address::<S>)
        .update(UPDATE_ADDRESS, update_address::<S>)
        .delete(delete_address::<S>);
}

/// An IP access control list.
#[derive(Serialize, ToSchema)]
#[schema(as = IpAccessControlList)]
struct ListBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    friendly_name: String,
    #[schema(value_type = String)]
    sid: IpAccessControlListSid,
    #[schema(inline)]
    subresource_uris: ListSubresources,
    uri: String,
}

#[derive(Serialize, ToSchema)]
struct ListSubresources {
    ip_addresses: String,
}

impl From<IpAccessControlList> for ListBody {
    fn from(list: IpAccessControlList) -> Self {
        let place = format!("IpAccessControlLists/{}", list.sid);
        Self {
            account_sid: list.account,
            date_created: rfc2822(list.dates.created),
            date_updated: rfc2822(list.dates.updated),
            friendly_name: list.friendly_name,
            sid: list.sid,
            subresource_uris: ListSubresources {
                ip_addresses: sip_uri(list.account, format_args!("{place}/IpAddresses")),
            },
            uri: sip_uri(list.account, place),
        }
    }
}

/// An address or prefix of an IP access control list.
#[derive(Serialize, ToSchema)]
#[schema(as = IpAddress)]
struct AddressBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    cidr_prefix_length: u8,
    date_created: Option<String>,
    date_updated: Option<String>,
    friendly_name: String,
    #[schema(value_type = String)]
    ip_access_control_list_sid: IpAccessControlListSid,
    #[schema(value_type = String)]
    ip_address: IpAddr,
    #[schema(value_type = String)]
    sid: IpAddressSid,
    uri: String,
}

impl AddressBody {
    fn new(account: AccountSid, address: IpAddress) -> Self {
        let IpAddress { sid, list, prefix, friendly_name, dates } = address;
        let place = format_args!("IpAccessControlLists/{list}/IpAddresses/{sid}").to_string();
        Self {
            account_sid: account,
            cidr_prefix_length: prefix.len(),
            date_created: rfc2822(dates.created),
            date_updated: rfc2822(dates.updated),
            friendly_name,
            ip_access_control_list_sid: list,
            ip_address: prefix.addr(),
            sid,
            uri: sip_uri(account, place),
        }
    }
}

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<ListBody>, ApiError> {
    let account = request.account()?;
    let key = |sid| Key::IpAccessControlList(IpAccessControlListSid::from_bytes(sid));
    let list = |page| request.directory.ip_access_control_lists(account, page);
    Ok(request.page()?.rows(key, list).await?.map(ListBody::from))
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    let name = request.form.required("FriendlyName")?;
    Ok(request.directory.create_ip_access_control_list(request.account()?, name).await?.into())
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    Ok(request
        .directory
        .ip_access_control_list(request.account()?, request.sid(LIST)?)
        .await?
        .into())
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<ListBody, ApiError> {
    let (account, sid) = (request.account()?, request.sid(LIST)?);
    let name = request.form.required("FriendlyName")?;
    Ok(request.directory.update_ip_access_control_list(account, sid, name).await?.into())
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    Ok(request
        .directory
        .delete_ip_access_control_list(request.account()?, request.sid(LIST)?)
        .await?)
}

async fn list_addresses<S: Store>(request: ApiRequest<S>) -> Result<Rows<AddressBody>, ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    let key = |sid| Key::IpAddress(IpAddressSid::from_bytes(sid));
    let rows =
        request.page()?.rows(key, |page| request.directory.ip_addresses(account, list, page));
    Ok(rows.await?.map(|address| AddressBody::new(account, address)))
}

async fn create_address<S: Store>(request: ApiRequest<S>) -> Result<AddressBody, ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    let change = AddressChange::read(&request.form)?;
    let name = request.form.required("FriendlyName")?;
    let addr = change.addr.ok_or_else(|| request.form.wrong("IpAddress", "is required"))?;
    let prefix = change.prefix(addr.into())?;
    let made = request.directory.create_ip_address(account, list, name, prefix, change.allow_all);
    Ok(AddressBody::new(account, made.await?))
}

async fn fetch_address<S: Store>(request: ApiRequest<S>) -> Result<AddressBody, ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    let address = request.directory.ip_address(account, list, request.sid(ADDRESS)?).await?;
    Ok(AddressBody::new(account, address))
}

async fn update_address<S: Store>(request: ApiRequest<S>) -> Result<AddressBody, ApiError> {
    let (account, list, sid) = (request.account()?, request.sid(LIST)?, request.sid(ADDRESS)?);
    let change = AddressChange::read(&request.form)?;
    let apply = |address: &mut IpAddress| {
        address.prefix = change.prefix(address.prefix)?;
        if let Some(name) = &change.friendly_name {
            address.friendly_name.clone_from(name);
        }
        Ok(())
    };
    let changed = request.directory.update_ip_address(account, list, sid, change.allow_all, apply);
    Ok(AddressBody::new(account, changed.await?))
}

async fn delete_address<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    let (account, list) = (request.account()?, request.sid(LIST)?);
    Ok(request.directory.delete_ip_address(account, list, request.sid(ADDRESS)?).await?)
}

/// The change that a form makes to an address.
struct AddressChange {
    friendly_name: Option<String>,
    addr: Option<IpAddr>,
    len: Option<u8>,
    allow_all: bool,
}

/// Reads a length: digits only, without sign and spaces.
fn read_length(text: &str) -> Result<u8, DirectoryError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let len = text.parse().ok().filter(|len| digits && *len <= 128);
    len.ok_or_else(|| wrong_length("0 to 32 for IPv4, 0 to 128 for IPv6", text))
}

fn wrong_length(range: &str, found: impl Display) -> DirectoryError {
    let found = excerpt(&found.to_string());
    let message = format!("{LENGTH} must be a number from {range}, got `{found}`");
    DirectoryError::Invalid { kind: Kind::IpAddress, message }
}

impl AddressChange {
    fn read(form: &Form) -> Result<Self, ApiError> {
        Ok(Self {
            friendly_name: form.text("FriendlyName").map(str::to_owned),
            addr: form.parsed("IpAddress")?,
            len: form.text(LENGTH).map(read_length).transpose()?,
            allow_all: form.flag("AllowAll")?.unwrap_or(false),
        })
    }

    /// The prefix after the change. A new address of the same family keeps the old length.
    fn prefix(&self, old: Prefix) -> Result<Prefix, DirectoryError> {
        let addr = self.addr.unwrap_or_else(|| old.addr());
        let len = match self.len {
            Some(len) => len,
            None if addr.is_ipv4() == old.addr().is_ipv4() => old.len(),
            None => return Ok(addr.into()),
        };
        if addr.is_ipv4() && len > 32 {
            return Err(wrong_length("0 to 32 for IPv4", len));
        }
        Prefix::new(addr, len).map_err(|error| DirectoryError::Invalid {
            kind: Kind::IpAddress,
            message: error.to_string(),
        })
    }
}
