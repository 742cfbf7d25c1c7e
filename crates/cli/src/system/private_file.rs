//! Reads files that hold secrets. Each kind of file has its own rule for readers.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::system::words::file_error;

/// Opens a regular file. A symbolic link is followed, as in folders of dotfiles.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), String> {
    // before opening: a pipe would wait for a writer
    let named = std::fs::metadata(path).map_err(|error| file_error(&error))?;
    if named.is_dir() {
        return Err("expected a file, found a directory".to_owned());
    }
    if !named.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| file_error(&error))?;
    // of the open file: the name may have changed
    let metadata = file.metadata().map_err(|error| file_error(&error))?;
    Ok((file, metadata))
}

/// Reads the text of an open file of at most `most` bytes; `kind` names the file that was expected. The
/// text is wiped on drop.
pub(crate) fn text(
    file: &File,
    metadata: &Metadata,
    most: u64,
    kind: &str,
) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    // reserve the full size: a buffer that grows leaves copies of a secret in memory
    let size = usize::try_from(metadata.len().min(most)).unwrap_or_default();
    text.reserve_exact(size.saturating_add(1));
    file.take(most + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "expected text in UTF-8".to_owned(),
        _ => file_error(&error),
    })?;
    if text.len() as u64 > most {
        return Err(format!("expected {kind}, found a file of over {} KiB", most >> 10));
    }
    Ok(text)
}
