//! The `auth_type` of a domain or trunk.

use sip_authz::AccountSid;
use sip_authz::model::Target;
use sip_authz_directory::{Directory, DirectoryError, MappingScope};
use sip_authz_store::Store;

const KINDS: [(MappingScope, &str); 2] = [
    (MappingScope::CredentialLists, "CREDENTIAL_LIST"),
    (MappingScope::IpAccessControlLists, "IP_ACL"),
];

/// The kinds of lists that are mapped to `target` for calls.
pub(super) async fn auth_types<S: Store>(
    directory: &Directory<S>,
    account: AccountSid,
    target: Target,
) -> Result<Vec<&'static str>, DirectoryError> {
    let mapped = directory.mapped_kinds(account, target).await?;
    let types = KINDS.into_iter().filter(|(scope, _)| mapped.contains(scope));
    Ok(types.map(|(_, name)| name).collect())
}
