//! Reads all records of a collection of the store.

use super::DirectoryError;
use sip_authz::model::Record;
use sip_authz_store::{Collection, Store};

/// The most members of a collection that one read returns.
const CHUNK: usize = 1_000;

/// The records of a whole collection.
pub(super) async fn members<S: Store>(
    store: &S,
    collection: Collection,
) -> Result<Vec<Record>, DirectoryError> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let chunk = store.range(collection, all.last().map(Record::key), CHUNK).await?;
        let is_last = chunk.len() < CHUNK;
        all.extend(chunk);
        if is_last {
            return Ok(all);
        }
    }
}
