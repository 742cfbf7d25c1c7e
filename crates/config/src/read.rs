//! Reads a table of the file key by key, so that each invalid value is a separate error.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problems, Subject};
use crate::value::{self, kind, missing_key, nearest, unknown_key};

/// The value of a key.
#[derive(Clone, Debug, Default)]
pub(crate) enum Given<T> {
    /// The table does not have the key.
    #[default]
    Absent,
    /// An error about the key or its value has been reported.
    Wrong,
    /// The value and its place.
    Value(Spanned<T>),
}

impl<T> Given<T> {
    /// The value, if it is present and valid.
    pub(crate) fn into_value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value.into_inner()),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Whether an error about the key or its value has been reported.
    pub(crate) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    /// The place of the value, if it is present and valid.
    pub(crate) fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Value(value) => Some(value.span()),
            Self::Absent | Self::Wrong => None,
        }
    }
}

impl Given<String> {
    /// Whether the value is present and empty.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Value(value) if value.get_ref().is_empty())
    }
}

impl Given<bool> {
    /// Whether the value is true.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Self::Value(value) if *value.get_ref())
    }
}

/// The valid tables or values of an array.
#[derive(Debug)]
pub(crate) struct Elements<T> {
    pub(crate) read: Vec<T>,
    /// Whether an error hides elements.
    pub(crate) is_incomplete: bool,
}

/// Reads a table key by key.
pub(crate) struct Fields<'t> {
    table: &'t DeTable<'t>,
    span: Range<usize>,
    /// The known keys of which the table probably has a misspelling.
    meant: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// The fields of a table; reports keys that are not in `known`. `None` if the value is not a table.
    pub(crate) fn of(
        value: &'t Spanned<DeValue<'t>>,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::of_table(table, value.span(), known, problems)),
            other => {
                problems
                    .push(value.span(), format_args!("expected a table, found {}", kind(other)));
                None
            }
        }
    }

    pub(crate) fn of_table(
        table: &'t DeTable<'t>,
        span: Range<usize>,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Self {
        let mut meant = Vec::new();
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                problems.add(key.span(), unknown_key(name, known), Subject::Key);
                meant.extend(nearest(name, known));
            }
        }
        Self { table, span, meant }
    }

    /// The place of the table: its header, or the whole inline table.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The place of the value of a key, valid or not.
    pub(crate) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Spanned::span)
    }

    /// The value of an optional key.
    pub(crate) fn optional<T: DeserializeOwned>(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Given<T> {
        self.read(key, problems, |value, problems| {
            let errors = problems.0.len();
            let read = value::read(value, problems);
            // a value without its invalid parts is not the intended one
            read.filter(|_| problems.0.len() == errors)
        })
    }

    /// The value of a required key.
    pub(crate) fn required<T: DeserializeOwned>(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Given<T> {
        match self.optional(key, problems) {
            Given::Absent => {
                problems.push_missing(self.span(), missing_key(key));
                Given::Wrong
            }
            given => given,
        }
    }

    /// The value of an optional key, converted by `read`.
    pub(crate) fn read<T>(
        &self,
        key: &'static str,
        problems: &mut Problems,
        read: impl FnOnce(&'t Spanned<DeValue<'t>>, &mut Problems) -> Option<T>,
    ) -> Given<T> {
        match self.table.get(key) {
            Some(value) => match read(value, problems) {
                Some(read) => Given::Value(Spanned::new(value.span(), read)),
                None => Given::Wrong,
            },
            None if self.meant.contains(&key) => Given::Wrong,
            None => Given::Absent,
        }
    }

    /// The elements of an array, each converted by `read`; none if the key is absent.
    pub(crate) fn each<T>(
        &self,
        key: &'static str,
        problems: &mut Problems,
        mut read: impl FnMut(&'t Spanned<DeValue<'t>>, &mut Problems) -> Option<T>,
    ) -> Elements<T> {
        let array = self.read(key, problems, |value, problems| match value.get_ref() {
            DeValue::Array(items) => Some(items),
            other => {
                problems
                    .push(value.span(), format_args!("expected an array, found {}", kind(other)));
                None
            }
        });
        let mut elements = Elements { read: Vec::new(), is_incomplete: array.is_wrong() };
        for item in array.into_value().into_iter().flatten() {
            match read(item, problems) {
                Some(read) => elements.read.push(read),
                None => elements.is_incomplete = true,
            }
        }
        elements
    }

    /// The values of an array.
    pub(crate) fn values<T: DeserializeOwned>(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Vec<Spanned<T>> {
        let values = self.each(key, problems, |value, problems| {
            value::read(value, problems).map(|read| Spanned::new(value.span(), read))
        });
        values.read
    }
}
