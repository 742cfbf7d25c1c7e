//! Errors in a configuration file, each with its place.

use std::fmt;
use std::sync::Arc;

use crate::place::Place;

/// An error in a configuration, with the file, the line and column, and the key.
///
/// Its `Display` is one line: `edge.toml:12:8: domains[0].name: message`. No password, hash or token
/// appears in it. `Debug` writes the same, because `fn main() -> Result` prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: Arc<str>,
    place: Option<Place>,
    key: Option<String>,
    message: String,
}

impl ConfigError {
    pub(crate) fn new(
        file: Arc<str>,
        place: Option<Place>,
        key: Option<String>,
        message: String,
    ) -> Self {
        Self { file, place, key, message }
    }

    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1. `None` if the error concerns the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.map(|place| place.line)
    }

    /// The column in characters, counted from 1; a tab counts as one. `None` if the error concerns the
    /// file as a whole.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.map(|place| place.column)
    }

    /// The path of the key, such as `domains[0].name`. `None` if no key belongs to the place.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The message: the expected value, and the value that was found.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

/// A warning about a valid configuration, with its place as for [`ConfigError`].
///
/// Its `Display` is one line: `edge.toml:12:8: domains[0].name: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning(ConfigError);

impl ConfigWarning {
    pub(crate) fn new(warning: ConfigError) -> Self {
        Self(warning)
    }

    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        self.0.file()
    }

    /// The line, counted from 1. `None` if the warning concerns the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.0.line()
    }

    /// The column in characters, as [`ConfigError::column`].
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.0.column()
    }

    /// The path of the key, such as `domains[0].name`. `None` if no key belongs to the place.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key()
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.message()
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All errors in a configuration, in the order of the text; at least one.
///
/// Its `Display` has one line for each error and no line end after the last. `Debug` writes the same, because
/// `fn main() -> Result` prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    first: ConfigError,
    others: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors, or `None` if there are none.
    pub(crate) fn new(errors: impl IntoIterator<Item = ConfigError>) -> Option<Self> {
        let mut errors = errors.into_iter();
        Some(Self { first: errors.next()?, others: errors.collect() })
    }

    /// The first error in the text.
    #[must_use]
    pub fn first(&self) -> &ConfigError {
        &self.first
    }

    /// The errors in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The number of errors, at least one.
    // there is no empty list, so `is_empty` would say nothing
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(first: ConfigError) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}
