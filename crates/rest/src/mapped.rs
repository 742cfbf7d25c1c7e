//! What all mappings have in common, to a domain or a trunk, in whichever form they are shown.

use sip_authz::model::{Key, Mapping, MappingRecord, Target};
use sip_authz::{AccountSid, CredentialListSid, DomainSid, IpAccessControlListSid};
use sip_authz_directory::{Directory, DirectoryError, MappingScope};
use sip_authz_store::Store;

use super::call::Call;
use super::error::Refusal;
use super::form::Param;
use super::page::Rows;

/// The place in a path that holds the mapped list's SID, which is the mapping's too.
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

/// A mapping with the name of the list.
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

    /// The mapping of the list with this SID.
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

    /// The mapping that a path names.
    fn named<S: Store>(self, call: &Call<S>) -> Result<Mapping, Refusal> {
        Ok(match self {
            Self::Addresses(target) => Mapping::IpAccessControlList(target, call.sid(SID)?),
            Self::Credentials(target) => Mapping::CredentialList(target, call.sid(SID)?),
            Self::Registrations(domain) => Mapping::Registration(domain, call.sid(SID)?),
        })
    }

    /// The mapping that a form asks for.
    fn wanted<S: Store>(self, call: &Call<S>) -> Result<Mapping, Refusal> {
        let form = &call.form;
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

pub(super) async fn list<S: Store>(call: &Call<S>, lists: Lists) -> Result<Rows<Shown>, Refusal> {
    let (account, target, scope) = (call.account()?, lists.target(), lists.scope());
    let key = |sid| Key::Mapping(lists.mapping(sid));
    let rows = |page| call.directory.mappings(account, target, scope, page);
    let rows = call.page()?.rows(key, rows).await?;
    rows.try_map(async |record| Ok(shown(&call.directory, account, record).await?)).await
}

pub(super) async fn create<S: Store>(call: &Call<S>, lists: Lists) -> Result<Shown, Refusal> {
    let account = call.account()?;
    let role = call.form.clearable("RoleSid")?.flatten();
    let record = call.directory.map(account, lists.wanted(call)?, role).await?;
    Ok(shown(&call.directory, account, record).await?)
}

pub(super) async fn fetch<S: Store>(call: &Call<S>, lists: Lists) -> Result<Shown, Refusal> {
    let account = call.account()?;
    let record = call.directory.mapping(account, lists.named(call)?).await?;
    Ok(shown(&call.directory, account, record).await?)
}

pub(super) async fn delete<S: Store>(call: &Call<S>, lists: Lists) -> Result<(), Refusal> {
    Ok(call.directory.unmap(call.account()?, lists.named(call)?).await?)
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
