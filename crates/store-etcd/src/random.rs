//! Random bytes of the system.

use super::StoreError;

/// A new ID for a commit or a process: 128 random bits.
pub(super) fn new_id() -> Result<String, StoreError> {
    Ok(hex::encode(random::<16>()?))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(|error| StoreError::Other(error.to_string()))?;
    Ok(random)
}
