//! The document of an import: a JSON file, which is read in pieces, or a document in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sip_authz_rest::bulk::{DocumentReader, Entry, ReadError};
use zeroize::Zeroizing;

use super::FileError;
use crate::args::FileFormat;
use crate::commands::progress::Progress;
use crate::system::words::file_error;

/// The most bytes that are read at once.
const PIECE: usize = 64 << 10;
/// The number of addresses that are remembered to notice that a list has one twice.
const REMEMBERED: usize = 100_000;
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A document that can be read several times.
pub(super) enum Source {
    File(PathBuf),
    Memory(Document),
}

/// A document as JSON, wiped on drop.
#[derive(Clone)]
pub(super) struct Document(Arc<Zeroizing<Vec<u8>>>);

impl AsRef<[u8]> for Document {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source {
    pub(super) fn of(document: Vec<u8>) -> Self {
        Self::Memory(Document(Arc::new(document.into())))
    }

    /// Opens the document, without a byte order mark. Also returns its size in bytes; 0 is unknown.
    pub(super) fn open(&self) -> io::Result<(Box<dyn Read + Send>, usize)> {
        match self {
            Self::File(path) => {
                let mut file = File::open(path)?;
                let metadata = file.metadata()?;
                if metadata.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                let mut first = Vec::new();
                file.by_ref().take(3).read_to_end(&mut first)?;
                let size = usize::try_from(metadata.len()).unwrap_or_default();
                if metadata.is_file() {
                    let begin = if first == BYTE_ORDER_MARK { 3 } else { 0 };
                    file.seek(SeekFrom::Start(begin))?;
                    return Ok((Box::new(file), size));
                }
                Ok((Box::new(Cursor::new(first).chain(file)), 0))
            }
            Self::Memory(document) => {
                Ok((Box::new(Cursor::new(document.clone())), document.0.len()))
            }
        }
    }

    /// Makes the checks of the server that need no other record, so that an error names the place in the
    /// file. Returns warnings about addresses that a list has twice.
    pub(super) fn check(&self, file: &str) -> Result<Vec<String>, FileError> {
        let unreadable = |error: io::Error| FileError::new(file_error(&error));
        let (mut document, size) = self.open().map_err(unreadable)?;
        let mut progress = Progress::begin("reading", size);
        let (mut reader, mut repeats) = (DocumentReader::default(), Repeats::default());
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let mut done = 0;
        loop {
            let count = document.read(&mut piece).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            reader.push(piece.get(..count).unwrap_or_default());
            while let Some(read) = reader.next_entry().map_err(wrong)? {
                repeats.look_at(&read.entry, read.index, file);
                read.into_incoming().map_err(|error| FileError {
                    place: Some(error.place),
                    ..FileError::new(error.message)
                })?;
            }
            done += count;
            progress.at(done);
        }
        reader.finish().map_err(wrong)?;
        Ok(repeats.warnings)
    }
}

fn wrong(error: ReadError) -> FileError {
    let ReadError { line, place, message, .. } = error;
    let place = Some(place).filter(|place| !place.is_empty());
    FileError { line: Some(line), place, message }
}

/// Looks for addresses that a list has twice. JSON has no useful lines, since an export is one line; the places
/// are those of the errors about a document.
#[derive(Default)]
struct Repeats {
    first: HashMap<(sip_authz::IpAccessControlListSid, sip_authz::acl::Prefix), usize>,
    warnings: Vec<String>,
}

impl Repeats {
    fn look_at(&mut self, entry: &Entry, at: usize, file: &str) {
        let Entry::Addresses(entry) = entry else { return };
        let (address, prefix) = ((entry.ip_access_control_list_sid, entry.address), entry.address);
        if let Some(earlier) = self.first.get(&address) {
            if self.warnings.len() < REMEMBERED {
                self.warnings.push(format!(
                    "{file}: ip_addresses[{at}]: `{prefix}` is in the list twice, first in \
                     ip_addresses[{earlier}]"
                ));
            }
        } else if self.first.len() < REMEMBERED {
            self.first.insert(address, at);
        }
    }
}

/// Whether this file, which is not stdin, is a JSON document by its format, its name or its first character.
pub(super) fn is_json(path: &Path, format: FileFormat) -> io::Result<bool> {
    if format != FileFormat::Auto || path == Path::new("-") {
        return Ok(format == FileFormat::Json && path != Path::new("-"));
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => return Ok(true),
        Some("toml") => return Ok(false),
        _ => {}
    }
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        // what is read from a pipe is gone
        return Ok(false);
    }
    let mut first = Vec::new();
    file.take(4_096).read_to_end(&mut first)?;
    let text = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&first);
    Ok(text.trim_ascii_start().first() == Some(&b'{'))
}
