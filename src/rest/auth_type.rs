//! By what kinds of lists the callers of a domain or trunk are let in.

use crate::directory::{Directory, DirectoryError, MappingScope, Page};
use crate::model::Target;
use crate::sid::AccountSid;
use crate::store::Store;

const KINDS: [(MappingScope, &str); 2] = [
    (MappingScope::CredentialLists, "CREDENTIAL_LIST"),
    (MappingScope::IpAccessControlLists, "IP_ACL"),
];

/// The kinds of lists that are mapped for calls.
pub(super) async fn auth_types<S: Store>(
    directory: &Directory<S>,
    account: AccountSid,
    target: Target,
) -> Result<Vec<&'static str>, DirectoryError> {
    let mut types = Vec::new();
    for (scope, name) in KINDS {
        if !directory.mappings(account, target, scope, Page::first(1)).await?.rows.is_empty() {
            types.push(name);
        }
    }
    Ok(types)
}
