//! Reads the records of a folder that another program may serve.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::database::named;
use super::folder;
use super::load::load;
use sip_authz_store::{StoreError, StoreSnapshot};

/// Reads all records of the store in a folder, as of one commit. Another program may serve the folder
/// meanwhile. Changes no record, and needs no lock of the folder.
///
/// SQLite reads the write-ahead log by a file in the folder (`sip-authz.db-shm`), which it makes if no
/// program serves the folder. So this user must be able to write to it then.
///
/// Blocks until all records are read and their checksum is verified.
///
/// # Errors
///
/// [`StoreError`] if the folder has no store, or if it is damaged, from a newer release, or cannot be read.
pub fn read(folder: &Path) -> Result<StoreSnapshot, StoreError> {
    let file = folder::file(folder);
    if !file.is_file() {
        return Err(named(&file, StoreError::Other("no such file".to_owned())));
    }
    folder::check_files(folder)?;
    folder::check(&file)?;
    load(&file, &AtomicU64::new(0)).map_err(|error| named(&file, error))
}
