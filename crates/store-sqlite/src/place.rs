//! Notices that the files of an open database were removed or replaced. SQLite would go on with the open files,
//! and lose all commits at the end of the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sip_authz_store::StoreError;

/// The files of an open database, each with its identity.
#[derive(Debug)]
pub(super) struct Place {
    files: Vec<(PathBuf, Identity)>,
}

/// The device and the inode of a file.
#[cfg(unix)]
type Identity = (u64, u64);
/// Without inodes, only the existence of a file is checked.
#[cfg(not(unix))]
type Identity = ();

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.dev(), metadata.ino())
    };
    #[cfg(not(unix))]
    let identity = drop(metadata);
    Ok(identity)
}

impl Place {
    /// The files that exist of these.
    pub(super) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let known = |path: PathBuf| identity(&path).ok().map(|identity| (path, identity));
        Self { files: paths.into_iter().filter_map(known).collect() }
    }

    /// Checks that each file is still in its place.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] if one is not: commits would be lost.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, known) in &self.files {
            if identity(path).ok().as_ref() != Some(known) {
                let name = path.file_name().unwrap_or_default().display();
                let why = format!("`{name}` was removed or replaced, so changes would be lost");
                return Err(StoreError::ReadOnly(why));
            }
        }
        Ok(())
    }
}
