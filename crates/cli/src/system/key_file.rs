//! Key files on disk: readable and writable only by their owner, and replaced as a whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sip_authz_proxy::{KeyFile, Keys};
use zeroize::Zeroizing;

use crate::system::private_file;
use crate::system::words::{file_error, output_error};

/// The maximum number of bytes of a file; longer than two keys with comments.
const MAX_FILE: u64 = 64 << 10;

/// Reads the keys in a key file. The error begins with the path.
pub(crate) fn load_keys(path: &Path) -> Result<Keys, String> {
    load(path).map(|file| file.keys())
}

/// A key file with a random key.
pub(crate) fn new_keys() -> Result<KeyFile, String> {
    Ok(KeyFile::new(&*random_secret()?))
}

/// A random secret for a key.
pub(crate) fn random_secret() -> Result<Zeroizing<[u8; 32]>, String> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|error| format!("random source: {error}"))?;
    Ok(secret)
}

/// Reads a key file. The error begins with the path.
pub(crate) fn load(path: &Path) -> Result<KeyFile, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let (file, metadata) = open(path).map_err(failed)?;
    let text = private_file::text(&file, &metadata, MAX_FILE, "a key file").map_err(failed)?;
    KeyFile::parse(&text).map_err(|error| format!("{}:{error}", path.display()))
}

/// Writes a new file, readable and writable only by its owner. The error begins with the path.
pub(crate) fn create(path: &Path, keys: &KeyFile) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {}", path.display(), output_error(&error));
    let file = private().open(path).map_err(failed)?;
    // from here on the file is ours to remove
    let unfinished = Unfinished(path.to_owned());
    write(file, keys, None).map_err(failed)?;
    // a file system without permissions shows here, not when a server starts
    load_keys(path)?;
    unfinished.keep();
    sync_folder(path).map_err(failed)
}

/// Replaces a file by a new one with the same owner, so that readers see the old keys or the new ones. The
/// error begins with the path.
pub(crate) fn replace(path: &Path, keys: &KeyFile) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {}", path.display(), output_error(&error));
    let (_, metadata) = open(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let Some(name) = path.file_name() else {
        return Err(format!("{}: expected a file name", path.display()));
    };
    let mut part = name.to_owned();
    part.push(format!(".part-{}", std::process::id()));
    let part = path.with_file_name(part);
    let file = private().open(&part).map_err(failed)?;
    let unfinished = Unfinished(part.clone());
    write(file, keys, Some(&metadata)).map_err(failed)?;
    load_keys(&part)?;
    fs::rename(&part, path).map_err(failed)?;
    unfinished.keep();
    sync_folder(path).map_err(failed)
}

/// Opens a regular file that only its owner can read and write.
fn open(path: &Path) -> Result<(File, Metadata), String> {
    // before opening: a pipe would wait for a writer
    let named = fs::symlink_metadata(path).map_err(|error| file_error(&error))?;
    if named.is_symlink() {
        return Err("is a symbolic link; expected a regular file".to_owned());
    }
    if named.is_dir() {
        return Err("expected a file, found a directory".to_owned());
    }
    if !named.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| file_error(&error))?;
    let metadata = file.metadata().map_err(|error| file_error(&error))?;
    match refusal(&named, &metadata) {
        Some(why) => Err(why),
        None => Ok((file, metadata)),
    }
}

/// The reason to refuse a file, with its metadata by name and after it was opened.
#[cfg(unix)]
fn refusal(named: &Metadata, opened: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
        return Some("was replaced while it was opened; try again".to_owned());
    }
    let mode = opened.mode() & 0o7777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "other users can read or write the file (mode {mode:04o}) and could send calls through the \
             edge; remove the permission (chmod 600), then replace both keys (`sip-authz keys rotate`, \
             twice)"
        )
    })
}

/// Other systems have access control lists, which std does not read.
#[cfg(not(unix))]
fn refusal(_: &Metadata, _: &Metadata) -> Option<String> {
    None
}

/// Options for a new file that only its owner can read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes the keys to a new file, which gets the owner of `old`.
fn write(mut file: File, keys: &KeyFile, old: Option<&Metadata>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(old) = old {
        use std::os::unix::fs::MetadataExt as _;
        let new = file.metadata()?;
        // root may rotate the keys of the user that runs the server
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
    }
    #[cfg(not(unix))]
    let _ = old;
    file.write_all(keys.to_text().as_bytes())?;
    file.sync_all()
}

/// Syncs the folder of a file, so that its name survives a power failure.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // other systems cannot open a folder
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A file that is removed on drop.
struct Unfinished(PathBuf);

impl Unfinished {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
