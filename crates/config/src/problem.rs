//! Errors while a file is read. Their places are ranges of bytes.

use std::fmt;
use std::ops::Range;

/// An error whose place is still a range of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) subject: Subject,
}

/// The part of the text to which an error applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The value at the place.
    Value,
    /// The key at the place.
    Key,
    /// A missing key of the table around the place.
    Missing,
    /// The syntax of a value or key.
    Syntax,
    /// The syntax of the header of a table, which has no key.
    Header,
}

impl Subject {
    pub(crate) fn is_syntax(self) -> bool {
        matches!(self, Self::Syntax | Self::Header)
    }
}

/// The errors found so far, in any order.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Adds an error about the value at `span`.
    pub(crate) fn push(&mut self, span: Range<usize>, message: impl fmt::Display) {
        self.add(span, message, Subject::Value);
    }

    /// Adds an error about a missing key of the table around `span`.
    pub(crate) fn push_missing(&mut self, span: Range<usize>, message: impl fmt::Display) {
        self.add(span, message, Subject::Missing);
    }

    pub(crate) fn add(&mut self, span: Range<usize>, message: impl fmt::Display, subject: Subject) {
        self.0.push(Problem { span, message: message.to_string(), subject });
    }
}
