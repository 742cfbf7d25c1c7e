//! The destination of the decision log, and the rotation of its file.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Stdout, Write as _};
use std::path::{Path, PathBuf};

/// The destination of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogSink {
    Stdout,
    File(PathBuf),
}

impl std::fmt::Display for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// When to rotate the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// The maximum size of a file in bytes; longer than a write.
    pub(crate) size: u64,
    /// The number of old files to keep, at least one.
    pub(crate) keep: u32,
}

/// The open destination.
pub(super) enum Output {
    Stdout(Stdout),
    File(LogFile),
}

impl Output {
    pub(super) fn open(sink: &LogSink, rotation: Option<Rotation>) -> io::Result<Self> {
        Ok(match sink {
            LogSink::Stdout => Self::Stdout(io::stdout()),
            LogSink::File(path) => Self::File(LogFile::open(path, rotation)?),
        })
    }

    /// Opens the path again, after another program moved the file. Returns whether it is another file now.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        match self {
            Self::Stdout(_) => Ok(false),
            Self::File(file) => file.reopen(),
        }
    }

    /// Starts a new file if this one has no room for so many bytes, and returns whether it did. After an
    /// error the old file stays in use, until it has grown by its maximum size again.
    pub(super) fn make_room(&mut self, bytes: usize) -> io::Result<bool> {
        match self {
            Self::Stdout(_) => Ok(false),
            Self::File(file) => file.make_room(bytes),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Self::File(file) => file.write(bytes),
        }
    }
}

/// A file that lines are appended to.
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    /// The length of the file in bytes; zero for a pipe or device, which is never rotated.
    length: u64,
    /// The length at which to rotate.
    limit: u64,
}

impl LogFile {
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let (file, length) = append(path)?;
        let limit = rotation.map_or(u64::MAX, |rotation| rotation.size);
        Ok(Self { path: path.to_owned(), rotation, file, length, limit })
    }

    fn reopen(&mut self) -> io::Result<bool> {
        let is_moved = !self.is_at_its_path();
        *self = Self::open(&self.path, self.rotation)?;
        Ok(is_moved)
    }

    fn make_room(&mut self, bytes: usize) -> io::Result<bool> {
        let after = self.length.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(rotation) = self.rotation.filter(|_| self.length > 0 && after > self.limit) else {
            return Ok(false);
        };
        self.limit = self.length.saturating_add(rotation.size);
        // another program may have moved the file and not sent the signal yet
        if self.is_at_its_path() {
            for number in (1..rotation.keep).rev() {
                rename(&self.old(number), &self.old(number + 1))?;
            }
            rename(&self.path, &self.old(1))?;
        }
        self.reopen().map(|_| true)
    }

    /// The path of an old file; 1 is the newest. External tools for rotation use other names.
    fn old(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".old.{number}"));
        name.into()
    }

    fn is_at_its_path(&self) -> bool {
        match (self.file.metadata(), self.path.metadata()) {
            (Ok(open), Ok(there)) => is_same(&open, &there),
            _ => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        // measured, since a part may be written before an error; a pipe or device stays at zero
        self.length = length(&self.file);
        written
    }
}

/// Opens the file to append to, and returns its length. A new file is readable and writable only by its
/// owner.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let length = length(&file);
    Ok((file, length))
}

fn length(file: &File) -> u64 {
    file.metadata().ok().filter(Metadata::is_file).map_or(0, |metadata| metadata.len())
}

/// Renames a file, unless it does not exist.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Other systems do not let another program rename an open file.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn reopening_tells_whether_the_file_is_another_one() {
        let path = std::env::temp_dir().join(format!("reopened-{}", std::process::id()));
        let mut file = LogFile::open(&path, None).unwrap();
        file.write(b"half a li").unwrap();
        assert!(!file.reopen().unwrap(), "not moved");
        let moved = path.with_extension("1");
        fs::rename(&path, &moved).unwrap();
        assert!(file.reopen().unwrap(), "moved");
        assert!(!file.reopen().unwrap(), "once");
        fs::remove_file(&path).unwrap();
        assert!(file.reopen().unwrap(), "removed");
        for path in [path, moved] {
            fs::remove_file(path).unwrap();
        }
        let mut device = LogFile::open(Path::new("/dev/null"), None).unwrap();
        assert!(!device.reopen().unwrap(), "a device");
        assert!(!Output::Stdout(io::stdout()).reopen().unwrap(), "stdout");
    }
}
