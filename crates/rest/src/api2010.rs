//! `/2010-04-01`: accounts and their SIP resources.

mod access_lists;
mod accounts;
mod credential_lists;
mod domains;
mod mappings;

use super::routes::Routes;
use sip_authz_store::Store;

/// The prefix of all paths of SIP resources.
const SIP: &str = "/2010-04-01/Accounts/{AccountSid}/SIP";

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    accounts::routes(routes);
    domains::routes(routes);
    mappings::routes(routes);
    access_lists::routes(routes);
    credential_lists::routes(routes);
    super::policy::domain_routes(routes, SIP);
}
