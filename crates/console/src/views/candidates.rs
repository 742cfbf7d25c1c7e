//! Lists that can be mapped to a domain or trunk, and mappings as forms send them.

use sip_authz::AccountSid;
use sip_authz::model::{Mapping, Target};
use sip_authz_directory::Page;
use sip_authz_store::{Collection, Store};

use crate::App;
use crate::names::{self, named, purpose};
use crate::problem::Problem;

/// A list that can be mapped.
pub(super) struct Candidate {
    pub(super) value: String,
    pub(super) label: String,
}

/// The maximum number of lists of one kind that are offered.
const MAX_LISTS: usize = 200;

/// A mapping as a form sends it: the use, a colon and the SID of the list.
pub(super) fn value(mapping: &Mapping) -> String {
    match mapping {
        Mapping::IpAccessControlList(_, sid) => format!("addresses:{sid}"),
        Mapping::CredentialList(_, sid) => format!("users:{sid}"),
        Mapping::Registration(_, sid) => format!("registrations:{sid}"),
    }
}

pub(super) fn read(target: Target, value: &str) -> Option<Mapping> {
    let (usage, sid) = value.split_once(':')?;
    Some(match (usage, target) {
        ("addresses", _) => Mapping::IpAccessControlList(target, sid.parse().ok()?),
        ("users", _) => Mapping::CredentialList(target, sid.parse().ok()?),
        ("registrations", Target::Domain(domain)) => {
            Mapping::Registration(domain, sid.parse().ok()?)
        }
        _ => return None,
    })
}

/// The mappings that do not exist yet.
pub(super) async fn candidates<S: Store>(
    app: &App<S>,
    account: AccountSid,
    target: Target,
) -> Result<Vec<Candidate>, Problem> {
    let present = names::mappings(app, Collection::Mappings(target)).await?;
    let is_new = |mapping: &Mapping| !present.iter().any(|record| record.mapping == *mapping);
    let mut all = Vec::new();
    let mut add = |mapping: Mapping, name: &str| {
        if is_new(&mapping) {
            let label = format!("{name}: {}", purpose(&mapping));
            all.push(Candidate { value: value(&mapping), label });
        }
    };
    for list in app.directory.credential_lists(account, Page::first(MAX_LISTS)).await?.rows {
        let name = named(&list.friendly_name, list.sid);
        add(Mapping::CredentialList(target, list.sid), &name);
        if let Target::Domain(domain) = target {
            add(Mapping::Registration(domain, list.sid), &name);
        }
    }
    for list in app.directory.ip_access_control_lists(account, Page::first(MAX_LISTS)).await?.rows {
        let name = named(&list.friendly_name, list.sid);
        add(Mapping::IpAccessControlList(target, list.sid), &name);
    }
    Ok(all)
}
