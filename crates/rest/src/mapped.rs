//! The operations on mappings that all representations share, for domains and trunks.

use sip_authz::model::{Key, Mapping, MappingRecord, Target};
use sip_authz::{AccountSid, CredentialListSid, DomainSid, IpAccessControlListSid};
use sip_authz_directory::{Directory, DirectoryError, MappingScope};
use sip_authz_store::Store;

use super::error::ApiError;
use super::form::Param;
use super::page::Rows;
use super::request::ApiRequest;

/// The path parameter with the SID of the mapped list, which is also the SID of the mapping.
pub(super) const SID: &str = "Sid";

pub(super) const CALL_CREDENTIALS: &[Param] =
    &[Param::text("CredentialListSid").required(), Param::text("RoleSid")];
pub(super) const REGISTRATION_CREDENTIALS: &[Param] =
    &[Param::text("CredentialListSid").required()];
pub(super) const ADDRESSES: &[Param] = &[Param::text("IpAccessControlListSid").required()];

/// The lists of one kind that are mapped to one target for one purpose.
#[derive(Clone, Copy)]
pub(super) enum Lists {
    Addresses(Target),
    Credentials(Target),
    Registrations(DomainSid),
}

/// A mapping with the name and the SID of its list.
pub(super) struct Shown {
    pub(super) record: MappingRecord,
    pub(super) friendly_name: String,
    pub(super) sid: String,
}

impl Lists {
    fn target(self) -> Target {
        match self {
            Self::Addresses(target) | Self::Credentials(target) => target,
            Self::Registrations(domain) => domain.into(),
        }
    }

    fn scope(self) -> MappingScope {
        match self {
            Self::Addresses(_) => MappingScope::IpAccessControlLists,
            Self::Credentials(_) => MappingScope::CredentialLists,
            Self::Registrations(_) => MappingScope::Registrations,
        }
    }

    /// The mapping for the list with this SID.
    fn mapping(self, sid: [u8; 16]) -> Mapping {
        let credentials = CredentialListSid::from_bytes(sid);
        match self {
            Self::Addresses(target) => {
                let addresses = IpAccessControlListSid::from_bytes(sid);
                Mapping::IpAccessControlList(target, addresses)
            }
            Self::Credentials(target) => Mapping::CredentialList(target, credentials),
            Self::Registrations(domain) => Mapping::Registration(domain, credentials),
        }
    }

    /// The mapping in the path.
    fn named<S: Store>(self, request: &ApiRequest<S>) -> Result<Mapping, ApiError> {
        Ok(match self {
            Self::Addresses(target) => Mapping::IpAccessControlList(target, request.sid(SID)?),
            Self::Credentials(target) => Mapping::CredentialList(target, request.sid(SID)?),
            Self::Registrations(domain) => Mapping::Registration(domain, request.sid(SID)?),
        })
    }

    /// The mapping in the form.
    fn wanted<S: Store>(self, request: &ApiRequest<S>) -> Result<Mapping, ApiError> {
        let form = &request.form;
        let list = match self {
            Self::Addresses(target) => form
                .parsed("IpAccessControlListSid")?
                .map(|list| Mapping::IpAccessControlList(target, list)),
            Self::Credentials(target) => {
                form.parsed("CredentialListSid")?.map(|list| Mapping::CredentialList(target, list))
            }
            Self::Registrations(domain) => {
                form.parsed("CredentialListSid")?.map(|list| Mapping::Registration(domain, list))
            }
        };
        list.ok_or_else(|| form.wrong("the list's SID", "is required"))
    }
}

pub(super) async fn list<S: Store>(
    request: &ApiRequest<S>,
    lists: Lists,
) -> Result<Rows<Shown>, ApiError> {
    let (account, target, scope) = (request.account()?, lists.target(), lists.scope());
    let key = |sid| Key::Mapping(lists.mapping(sid));
    let rows = |page| request.directory.mappings(account, target, scope, page);
    let rows = request.page()?.rows(key, rows).await?;
    rows.try_map(async |record| Ok(shown(&request.directory, account, record).await?)).await
}

pub(super) async fn create<S: Store>(
    request: &ApiRequest<S>,
    lists: Lists,
) -> Result<Shown, ApiError> {
    let account = request.account()?;
    let role = request.form.clearable("RoleSid")?.flatten();
    let record = request.directory.map(account, lists.wanted(request)?, role).await?;
    Ok(shown(&request.directory, account, record).await?)
}

pub(super) async fn fetch<S: Store>(
    request: &ApiRequest<S>,
    lists: Lists,
) -> Result<Shown, ApiError> {
    let account = request.account()?;
    let record = request.directory.mapping(account, lists.named(request)?).await?;
    Ok(shown(&request.directory, account, record).await?)
}

pub(super) async fn delete<S: Store>(
    request: &ApiRequest<S>,
    lists: Lists,
) -> Result<(), ApiError> {
    Ok(request.directory.unmap(request.account()?, lists.named(request)?).await?)
}

async fn shown<S: Store>(
    directory: &Directory<S>,
    account: AccountSid,
    record: MappingRecord,
) -> Result<Shown, DirectoryError> {
    let (friendly_name, sid) = match record.mapping {
        Mapping::IpAccessControlList(_, list) => {
            let list = directory.ip_access_control_list(account, list).await?;
            (list.friendly_name, list.sid.to_string())
        }
        Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
            let list = directory.credential_list(account, list).await?;
            (list.friendly_name, list.sid.to_string())
        }
    };
    Ok(Shown { record, friendly_name, sid })
}
