//! The folder of the database. Only its owner can write to it, and one program at a time serves it.

mod safety;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::schema;
use sip_authz_store::StoreError;

/// The name of the database file.
const FILE: &str = "sip-authz.db";
/// The write-ahead log of the database.
const LOG: &str = "sip-authz.db-wal";
/// The name of the file that a program locks while it serves the folder. It holds the ID of the last
/// process.
const LOCK: &str = "lock";

/// The path of the database in a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// The path of its write-ahead log.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join(LOG)
}

/// The database, and the files that SQLite keeps beside it.
const DATABASE_FILES: [&str; 4] = [FILE, LOG, "sip-authz.db-shm", "sip-authz.db-journal"];

/// Refuses a folder in which a file of the database is not a regular file, for example a symbolic
/// link, or in which another user could change one. SQLite opens these files by their names.
pub(super) fn check_files(folder: &Path) -> Result<(), StoreError> {
    DATABASE_FILES.iter().try_for_each(|name| safety::check_file(folder, name))
}

/// Creates the folder and the file if needed, and locks the folder for as long as the returned file lives.
///
/// Refuses a folder that other users can write to: they could replace its files.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let failing = |what: &'static str| {
        move |error: io::Error| {
            failed(&error).context(format_args!("`{}`: {what}", folder.display()))
        }
    };
    if !folder.is_dir() {
        make(folder).map_err(failing("cannot create the folder"))?;
    }
    safety::check_folder(folder)?;
    let path = folder.join(LOCK);
    // the program truncates it
    safety::check_file(folder, LOCK)?;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    safety::follow_no_link(&mut options);
    let mut lock = options.open(&path).map_err(failing("cannot write to the folder"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            let (folder, pid) = (folder.display(), pid.trim());
            return Err(StoreError::Unreachable(format!("`{folder}` is in use by process {pid}")));
        }
        Err(TryLockError::Error(error)) => return Err(failing("cannot lock the folder")(error)),
    }
    let written = lock.set_len(0).and_then(|()| lock.rewind());
    let written = written.and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(failing("cannot write to the folder"))?;

    // the lock prevents other processes from creating or opening the file
    check_files(folder)?;
    if file(folder).exists() {
        check(&file(folder))?;
    } else {
        let mut options = File::options();
        options.write(true).create_new(true);
        private(&mut options);
        let made = options.open(file(folder)).and_then(|file| file.sync_all());
        made.map_err(failing("cannot write to the folder"))?;
        sync(folder).map_err(failing("cannot write to the folder"))?;
    }
    Ok(lock)
}

/// Checks the header of the file before SQLite can change anything.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let unreadable =
        |error: io::Error| failed(&error).context(format_args!("`{}`", path.display()));
    let mut header = Vec::new();
    let mut options = File::options();
    options.read(true);
    safety::follow_no_link(&mut options);
    let file = options.open(path).map_err(unreadable)?;
    file.take(100).read_to_end(&mut header).map_err(unreadable)?;
    if header.is_empty() {
        return Ok(());
    }
    let number = |at: usize| {
        let bytes = header.get(at..at + 4)?;
        Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))
    };
    match (header.starts_with(b"SQLite format 3\0"), number(68), number(60)) {
        (true, Some(application_id), Some(version)) => {
            let checked = schema::check_header(application_id, version);
            checked.map_err(|error| error.context(format_args!("`{}`", path.display())))
        }
        _ => {
            let why = "not an SQLite database, or damaged";
            Err(StoreError::Corrupt(format!("`{}`: {why}", path.display())))
        }
    }
}

/// Converts an error of the file system.
pub(super) fn failed(error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull => StoreError::NoSpace(error.to_string()),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly(error.to_string())
        }
        _ => StoreError::Unreachable(error.to_string()),
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)?;
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(Path::new(".")),
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// Lets only the owner read the new file.
pub(super) fn private(options: &mut fs::OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = options;
}

/// Syncs a folder, so that its file names survive a power failure.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    // other systems cannot open a folder
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
