//! Backups: a consistent copy of the file while a program serves it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::database::{named, open_to_read, read_head};
use super::load::load;
use super::{failed, folder};
use sip_authz_store::{Head, StoreError};

/// The number of pages copied between two progress reports.
const PAGES: i32 = 1_000;

/// Copies the store in the folder `from` to the new file `to`. Another program may serve the folder
/// meanwhile; the copy is consistent. It is loaded and its checksum verified before it gets its name.
/// To restore it, make it the only file in a folder, under the name `sip-authz.db`.
///
/// `progress` receives the pages copied and the total. Blocks until the copy is complete.
///
/// # Errors
///
/// [`StoreError`] if the source cannot be read, or if `to` exists or cannot be written. A partial file
/// is removed.
pub fn backup(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Head, StoreError> {
    let source = folder::file(from);
    if to.symlink_metadata().is_ok() {
        return Err(named(to, StoreError::Other("already exists".to_owned())));
    }
    if !source.is_file() {
        return Err(named(&source, StoreError::Other("no such file".to_owned())));
    }
    folder::check_files(from)?;
    let part = PartialFile::make(to).map_err(|error| named(to, folder::failed(&error)))?;
    let reader = open_to_read(&source).map_err(|error| named(&source, error))?;
    copy(&reader, &part.0, &mut progress).map_err(|error| named(&source, error))?;
    drop(reader);
    let checked = load(&part.0, &AtomicU64::new(0)).map_err(|error| named(&source, error))?;
    part.finish(to).map_err(|error| named(to, folder::failed(&error)))?;
    Ok(checked.head)
}

fn copy(
    reader: &Connection,
    to: &Path,
    progress: &mut impl FnMut(usize, usize),
) -> Result<(), StoreError> {
    // starts the read transaction, so that other writes do not restart the copy
    read_head(reader)?;
    let mut copy = Connection::open(to).map_err(failed)?;
    copy.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
    {
        let backup = Backup::new(reader, &mut copy).map_err(failed)?;
        loop {
            let step = backup.step(PAGES).map_err(failed)?;
            let at = backup.progress();
            let total = usize::try_from(at.pagecount).unwrap_or_default();
            let left = usize::try_from(at.remaining).unwrap_or_default();
            progress(total.saturating_sub(left), total);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => {
                    return Err(StoreError::Unreachable("locked by another program".to_owned()));
                }
            }
        }
    }
    // the copy is one file without a log
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(failed)
}

/// A file that is removed when this is dropped.
struct PartialFile(PathBuf);

impl PartialFile {
    fn make(beside: &Path) -> io::Result<Self> {
        let mut name = beside.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = beside.with_file_name(name);
        let mut options = File::options();
        options.write(true).create_new(true);
        folder::private(&mut options);
        options.open(&path)?;
        Ok(Self(path))
    }

    fn finish(&self, name: &Path) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        // unlike a rename, this fails if a file with this name was created meanwhile
        fs::hard_link(&self.0, name)?;
        let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder::sync(folder.unwrap_or(Path::new(".")))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
