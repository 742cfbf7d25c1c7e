//! Reads a configuration file from disk.

use std::fs::Metadata;
use std::io::{Error, ErrorKind, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sip_authz::model::Dates;
use zeroize::Zeroizing;

use crate::error::{ConfigError, ConfigErrors, ConfigWarning};
use crate::options::Options;
use crate::{Config, parse_with};

/// Reads a configuration file. The buffer with its text is wiped, since it may hold passwords.
///
/// Errors and warnings name the file. The warnings also say whether other users of the machine can read its
/// passwords or write to it. In an async program, call this on a thread that may block: it reads the file
/// and computes the hashes of each password, which takes seconds for tens of thousands.
///
/// # Errors
///
/// [`ConfigErrors`] with every error in the file, or with one error if it cannot be read.
pub fn load(path: &Path, options: &Options) -> Result<Config, ConfigErrors> {
    let mut options = options.clone();
    let file = options.file.get_or_insert_with(|| path.display().to_string()).clone();
    let failed = |message: String| {
        ConfigErrors::from(ConfigError::new(Arc::from(file.as_str()), None, None, message))
    };
    let (bytes, metadata) = read(path).map_err(|error| failed(error_text(&error)))?;
    options.dates.get_or_insert_with(|| dates_of(&metadata));
    if let Some(found) = other_encoding(&bytes) {
        return Err(failed(format!("expected TOML in UTF-8, found {found}")));
    }
    let copy;
    let (text, unreadable) = match str::from_utf8(&bytes) {
        Ok(text) => (text, Vec::new()),
        Err(_) => {
            let unreadable;
            (copy, unreadable) = decoded(&bytes);
            (copy.as_str(), unreadable)
        }
    };
    let mut config = parse_with(text, unreadable, &options)?;
    config.edge.resolve_paths(path.parent().unwrap_or(Path::new("")));
    let mut warn = |message: &str| {
        let warning = ConfigError::new(Arc::from(file.as_str()), None, None, message.to_owned());
        config.warnings.insert(0, ConfigWarning::new(warning));
    };
    if is_readable_by_others(&metadata) && has_secrets(text) {
        warn(
            "the file holds passwords and is readable by all users of this machine; \
             `chmod o-r` removes that permission",
        );
    }
    if is_writable_by_others(&metadata) {
        warn(
            "all users of this machine can write to the file and so decide who may call; \
             `chmod o-w` removes that permission",
        );
    }
    Ok(config)
}

fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Metadata), Error> {
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    // reserve the full size: a buffer that grows leaves copies in memory
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    bytes.reserve_exact(size.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}

/// The encoding or type of a file that is no UTF-8 text at all.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ if str::from_utf8(bytes).is_ok() => None,
        // no text has such a byte
        _ if bytes.contains(&0) => Some("binary data"),
        _ => None,
    }
}

/// The text, and the places of bytes that are not UTF-8. Each is replaced by U+FFFD.
fn decoded(bytes: &[u8]) -> (Zeroizing<String>, Vec<Range<usize>>) {
    // allocate the full size: a buffer that grows leaves copies in memory
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 3));
    let mut unreadable = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let begin = text.len();
            text.push(char::REPLACEMENT_CHARACTER);
            unreadable.push(begin..text.len());
        }
    }
    (text, unreadable)
}

/// The time of the last change; 0 if the system does not provide it.
fn dates_of(metadata: &Metadata) -> Dates {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let seconds = since.map_or(0, |since| since.as_secs());
    Dates { created: seconds, updated: seconds }
}

fn has_secrets(text: &str) -> bool {
    // a match in a comment causes a needless but harmless warning
    text.contains("password") || text.contains("ha1")
}

fn error_text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "expected a file, found a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether all users of the machine can read a file.
#[cfg(unix)]
#[must_use]
pub fn is_readable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.is_file() && metadata.permissions().mode() & 0o004 != 0
}

/// Whether all users of the machine can read a file; always false without Unix permissions.
#[cfg(not(unix))]
#[must_use]
pub fn is_readable_by_others(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn is_writable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.is_file() && metadata.permissions().mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn is_writable_by_others(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_all_users_can_read_or_write_is_a_warning() {
        let path = std::env::temp_dir().join(format!("sip-authz-mode-{}.toml", std::process::id()));
        let warnings = |text: &str, mode: u32| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let config = load(&path, &Options::default()).unwrap();
            let messages = config.warnings().iter().map(ConfigWarning::message);
            messages.filter(|it| it.contains("all users")).map(str::to_owned).collect::<Vec<_>>()
        };
        let can_write = "all users of this machine can write to the file and so decide who may call; \
                         `chmod o-w` removes that permission";
        let can_read = "the file holds passwords and is readable by all users of this machine; \
                        `chmod o-r` removes that permission";
        for (mode, expected) in [
            (0o600, vec![]),
            (0o660, vec![]),
            (0o644, vec![can_read]),
            (0o602, vec![can_write]),
            (0o666, vec![can_write, can_read]),
        ] {
            assert_eq!(warnings("# password", mode), expected, "{mode:o}");
        }
        assert_eq!(warnings("", 0o646), [can_write], "without passwords");
        std::fs::remove_file(&path).unwrap();
    }
}
