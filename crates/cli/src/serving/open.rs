//! Opens the store that the options select.

use sip_authz::model::Commit;

use crate::args::{ServeArgs, StoreChoice};
use crate::serving::resources::{Resources, Setup};
#[cfg(feature = "etcd")]
use crate::serving::{etcd, fleet};
use crate::system::output::ProgramError;

/// Opens the store that the options name and serves its records; without one, serves `records` from
/// memory. Call it within the runtime.
///
/// A further kind of store is a variant of [`StoreChoice`] and an arm here. A store that a fleet shares
/// implements [`SharedStore`](sip_authz_store::SharedStore) and goes through `fleet::start`.
pub(crate) async fn open(
    args: &ServeArgs,
    records: Commit,
    setup: Setup,
) -> Result<Resources, ProgramError> {
    match args.store() {
        None => Resources::of_records(records, setup).await,
        Some(StoreChoice::Folder(folder)) => Resources::of_folder(folder, setup).await,
        #[cfg(feature = "etcd")]
        Some(StoreChoice::Etcd(urls, access)) => {
            fleet::start(etcd::open(urls, access)?, args, setup).await
        }
    }
}
