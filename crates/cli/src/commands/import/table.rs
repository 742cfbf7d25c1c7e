//! A dump of a table, as the tools of MySQL and PostgreSQL and spreadsheets write it: a line with
//! the names of the columns, then a line for each row; separated by tabs, semicolons or commas.

use std::borrow::Cow;

use csv::{ReaderBuilder, StringRecord};

use super::FileError;
use crate::commands::progress::Progress;

/// How a table is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dialect {
    separator: u8,
    /// Fields may stand in quotes, where a quote is doubled (RFC 4180). Without quotes a backslash
    /// announces what could not stand for itself, as `mysql -B` and `\copy` have it.
    quotes: bool,
}

/// The names of the columns, in small letters.
pub(super) fn columns(text: &str) -> Result<Vec<String>, FileError> {
    let mut reader = reader(text, dialect(text));
    let mut header = StringRecord::new();
    reader.read_record(&mut header).map_err(|error| csv_error(&error))?;
    Ok(header.iter().map(|name| name.trim().to_ascii_lowercase()).collect())
}

/// One row of a table.
pub(super) struct Row<'r> {
    /// The line of the file that it begins at.
    pub(super) line: u64,
    columns: &'r [String],
    record: &'r StringRecord,
    dialect: Dialect,
}

impl Row<'_> {
    /// The value in a column; none if there is no such column, or nothing in it.
    pub(super) fn get(&self, column: &str) -> Option<Cow<'_, str>> {
        let at = self.columns.iter().position(|name| name == column)?;
        match self.record.get(at)? {
            "" | "NULL" | "\\N" => None,
            field if self.dialect.quotes => Some(Cow::Borrowed(field)),
            field => Some(unescaped(field)),
        }
    }

    /// What is wrong with the value in a column.
    pub(super) fn wrong(&self, column: &str, message: impl std::fmt::Display) -> FileError {
        FileError::at(self.line, column, message)
    }
}

/// Hands each row to `each`, until one is wrong.
pub(super) fn for_each(
    text: &str,
    needed: &[&str],
    mut each: impl FnMut(&Row<'_>) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let dialect = dialect(text);
    let columns = columns(text)?;
    for (at, name) in columns.iter().enumerate() {
        if columns.iter().take(at).any(|other| other == name) {
            return Err(FileError::at(1, name, "there are two columns of this name"));
        }
    }
    if let Some(missing) = needed.iter().find(|name| !columns.iter().any(|c| c == *name)) {
        let message = format!("the first line must name the columns, and there is no `{missing}`");
        return Err(FileError { line: Some(1), ..FileError::new(message) });
    }
    let mut progress = Progress::begin("reading", text.len());
    let mut reader = reader(text, dialect);
    let mut record = StringRecord::new();
    let mut header = true;
    while reader.read_record(&mut record).map_err(|error| csv_error(&error))? {
        if std::mem::take(&mut header) {
            continue;
        }
        let position = record.position();
        let line = position.map_or(0, |position| line_of(text, position));
        let (have, want) = (record.len(), columns.len());
        if have != want {
            let message = format!("{have} fields, where the first line names {want} columns");
            return Err(FileError { line: Some(line), ..FileError::new(message) });
        }
        each(&Row { line, columns: &columns, record: &record, dialect })?;
        let done = position.map_or(0, csv::Position::byte);
        progress.at(usize::try_from(done).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// How the table is written down, by its first line.
fn dialect(text: &str) -> Dialect {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |separator: char| first.matches(separator).count();
    let separator = match (count('\t'), count(';'), count(',')) {
        (0, semicolons, commas) if semicolons > commas => b';',
        (0, ..) => b',',
        _ => b'\t',
    };
    Dialect { separator, quotes: separator != b'\t' || first.starts_with('"') }
}

fn reader(text: &str, dialect: Dialect) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(dialect.separator)
        .quoting(dialect.quotes)
        .from_reader(text.as_bytes())
}

/// What a field stands for whose tabs, line ends and backslashes are announced by a backslash.
fn unescaped(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return Cow::Borrowed(field);
    }
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.push(match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            }),
            c => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// The line that a record begins at; its position may lie before empty lines.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.as_bytes().get(at..));
    let ends = rest.unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    ends.filter(|byte| **byte == b'\n').fold(position.line(), |line, _| line.saturating_add(1))
}

fn csv_error(error: &csv::Error) -> FileError {
    let line = error.position().map(csv::Position::line);
    // no message of the crate shows a field
    FileError { line, ..FileError::new("not a table") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, column: &str) -> Vec<(u64, Option<String>)> {
        let mut fields = Vec::new();
        for_each(text, &[], |row| {
            fields.push((row.line, row.get(column).map(Cow::into_owned)));
            Ok(())
        })
        .unwrap();
        fields
    }

    #[test]
    fn what_tools_write() {
        let some = |line, text: &str| vec![(line, Some(text.to_owned()))];
        for (text, line, b) in [
            ("a,b\n1,2\n", 2, "2"),
            ("A; B \n1;2", 2, "2"),
            ("\"a\",\"b\"\r\n\"1\",\"2 \"\"x\"\", y\"\r\n", 2, "2 \"x\", y"),
            ("a\tb\n1\t\"2\"\n", 2, "\"2\""),
            ("a\tb\n1\t2\\t3\\\\\n", 2, "2\t3\\"),
            ("\"a\"\t\"b\"\n1\t\"2\"\n", 2, "2"),
            ("a,b\n1,a\\tb\n", 2, "a\\tb"),
            ("\n\na,b\n\n1,2\n\n", 5, "2"),
            ("a,b\n\"1\n\",2\n", 2, "2"),
        ] {
            assert_eq!(fields(text, "b"), some(line, b), "{text:?}");
        }
        for text in
            ["a,b\n1,\n", "a,b\n1,NULL\n", "a\tb\n1\t\\N\n", "a\tb\n1\tNULL\n", "a;c\n1;2\n"]
        {
            assert_eq!(fields(text, "b"), [(2, None)], "{text:?}");
        }
        assert_eq!(fields("a,b\n", "b"), []);
    }

    #[test]
    fn what_is_no_table() {
        let said =
            |text: &str, needed: &[&str]| for_each(text, needed, |_| Ok(())).unwrap_err().told("f");
        assert_eq!(
            said("", &["username"]),
            "f:1: the first line must name the columns, and there is no `username`"
        );
        assert_eq!(said("a,b\n1\n", &[]), "f:2: 1 fields, where the first line names 2 columns");
        assert_eq!(said("a,b,A\n", &[]), "f:1: a: there are two columns of this name");
    }
}
