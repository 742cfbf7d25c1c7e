//! Names of resources by SID, for one page.

use std::collections::HashMap;

use sip_authz::model::{Credential, Key, Mapping, MappingRecord, Record, Target};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid};
use sip_authz_store::{Collection, ListKey, Store};

use super::App;
use super::problem::Problem;
use super::visit::Visit;

/// The maximum number of mappings that are read for a page.
const MAX_MAPPINGS: usize = 1_000;

/// A list that is mapped to a domain or trunk, or a use of a list.
pub(crate) struct ListName {
    pub(crate) sid: String,
    pub(crate) name: String,
    /// The page of the list below `/console/`.
    pub(crate) path: String,
    pub(crate) is_users: bool,
    pub(crate) mapping: Mapping,
}

/// A domain or trunk with its name.
pub(crate) struct TargetName {
    pub(crate) name: String,
    /// Its page below `/console/`.
    pub(crate) path: String,
}

/// The text that names a resource: its friendly name, or else its SID.
pub(crate) fn named(friendly_name: &str, sid: impl std::fmt::Display) -> String {
    if friendly_name.is_empty() { sid.to_string() } else { friendly_name.to_owned() }
}

/// The page of a domain or trunk below `/console/`.
pub(crate) fn target_path(target: Target) -> String {
    match target {
        Target::Domain(sid) => format!("domains/{sid}"),
        Target::Trunk(sid) => format!("trunks/{sid}"),
    }
}

/// The use of a mapping in words.
pub(crate) fn purpose(mapping: &Mapping) -> &'static str {
    match mapping {
        Mapping::IpAccessControlList(..) => "source addresses of calls",
        Mapping::CredentialList(..) => "users of calls",
        Mapping::Registration(..) => "users of registrations",
    }
}

/// The name of a domain or trunk and its owner.
pub(crate) async fn target<S: Store>(
    app: &App<S>,
    target: Target,
) -> Result<Option<(TargetName, AccountSid)>, Problem> {
    let path = target_path(target);
    Ok(match record(app, Key::Target(target)).await? {
        Some(Record::Domain(domain)) => {
            Some((TargetName { name: domain.name.to_string(), path }, domain.account))
        }
        Some(Record::Trunk(trunk)) => {
            let name = trunk.name.as_ref().map(ToString::to_string);
            let name = name.unwrap_or_else(|| named(&trunk.friendly_name, trunk.sid));
            Some((TargetName { name, path }, trunk.account))
        }
        _ => None,
    })
}

/// The lists that are mapped to a domain or trunk.
pub(crate) async fn mapped<S: Store>(
    app: &App<S>,
    target: Target,
) -> Result<Vec<ListName>, Problem> {
    let mut lists = Vec::new();
    for record in mappings(app, Collection::Mappings(target)).await? {
        lists.push(list_of(app, record.mapping).await?);
    }
    Ok(lists)
}

async fn list_of<S: Store>(app: &App<S>, mapping: Mapping) -> Result<ListName, Problem> {
    Ok(match mapping {
        Mapping::IpAccessControlList(_, sid) => ListName {
            name: access_list(app, sid).await?,
            path: format!("lists/addresses/{sid}"),
            sid: sid.to_string(),
            is_users: false,
            mapping,
        },
        Mapping::CredentialList(_, sid) | Mapping::Registration(_, sid) => ListName {
            name: credential_list(app, sid).await?,
            path: format!("lists/users/{sid}"),
            sid: sid.to_string(),
            is_users: true,
            mapping,
        },
    })
}

/// The domains and trunks that use a list, each once.
pub(crate) async fn users_of<S: Store>(
    app: &App<S>,
    list: ListKey,
) -> Result<Vec<TargetName>, Problem> {
    let mut seen = HashMap::new();
    for record in mappings(app, Collection::MappingsOf(list)).await? {
        let of = record.mapping.target();
        if !seen.contains_key(&of)
            && let Some((name, _)) = target(app, of).await?
        {
            seen.insert(of, name);
        }
    }
    let mut names: Vec<_> = seen.into_values().collect();
    names.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(names)
}

/// The mappings of a collection, in the order they were made.
pub(crate) async fn mappings<S: Store>(
    app: &App<S>,
    of: Collection,
) -> Result<Vec<MappingRecord>, Problem> {
    let records = app.directory.store().range(of, None, MAX_MAPPINGS).await;
    let records = records.map_err(sip_authz_directory::DirectoryError::from)?;
    let mut mappings: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Mapping(record) => Some(record),
            _ => None,
        })
        .collect();
    mappings.sort_by_key(|record| (record.since, record.mapping));
    Ok(mappings)
}

/// The name of an access list.
pub(crate) async fn access_list<S: Store>(
    app: &App<S>,
    sid: IpAccessControlListSid,
) -> Result<String, Problem> {
    Ok(match record(app, Key::IpAccessControlList(sid)).await? {
        Some(Record::IpAccessControlList(list)) => named(&list.friendly_name, sid),
        _ => sid.to_string(),
    })
}

/// The name of a credential list.
pub(crate) async fn credential_list<S: Store>(
    app: &App<S>,
    sid: CredentialListSid,
) -> Result<String, Problem> {
    Ok(match record(app, Key::CredentialList(sid)).await? {
        Some(Record::CredentialList(list)) => named(&list.friendly_name, sid),
        _ => sid.to_string(),
    })
}

/// A user and the name of its list, if the holder of the session may see it.
pub(crate) async fn credential<S: Store>(
    app: &App<S>,
    visit: &Visit,
    sid: CredentialSid,
) -> Result<Option<(Credential, String)>, Problem> {
    let Some(Record::Credential(credential)) = record(app, Key::Credential(sid)).await? else {
        return Ok(None);
    };
    match record(app, Key::CredentialList(credential.list)).await? {
        Some(Record::CredentialList(list)) if visit.may_see(list.account) => {
            let name = named(&list.friendly_name, list.sid);
            Ok(Some((credential, name)))
        }
        _ => Ok(None),
    }
}

/// A record of the store.
pub(crate) async fn record<S: Store>(app: &App<S>, key: Key) -> Result<Option<Record>, Problem> {
    let record = app.directory.store().get(key).await;
    Ok(record.map_err(sip_authz_directory::DirectoryError::from)?)
}

/// The number of records in a collection.
pub(crate) async fn count<S: Store>(app: &App<S>, of: Collection) -> Result<usize, Problem> {
    let count = app.directory.store().count(of).await;
    Ok(count.map_err(sip_authz_directory::DirectoryError::from)?)
}
