//! Reads a table dump of MySQL, PostgreSQL or a spreadsheet: a line with the column names, then one
//! line per row, separated by tabs, semicolons or commas.

use std::borrow::Cow;

use csv::{ReaderBuilder, StringRecord};

use super::FileError;
use crate::commands::progress::Progress;

/// The syntax of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dialect {
    separator: u8,
    /// Whether fields may be quoted, with quotes doubled (RFC 4180). Otherwise a backslash escapes
    /// special characters, as in the output of `mysql -B` and `\copy`.
    quotes: bool,
}

/// The column names in lower case.
pub(super) fn columns(text: &str) -> Result<Vec<String>, FileError> {
    let mut reader = reader(text, dialect(text));
    let mut header = StringRecord::new();
    reader.read_record(&mut header).map_err(|error| csv_error(&error))?;
    Ok(header.iter().map(|name| name.trim().to_ascii_lowercase()).collect())
}

/// One row of a table.
pub(super) struct Row<'r> {
    /// The line of the file where the row begins.
    pub(super) line: u64,
    columns: &'r [String],
    record: &'r StringRecord,
    dialect: Dialect,
}

impl Row<'_> {
    /// The value in a column; `None` if the column is missing or the value is empty or NULL.
    pub(super) fn get(&self, column: &str) -> Option<Cow<'_, str>> {
        let at = self.columns.iter().position(|name| name == column)?;
        match self.record.get(at)? {
            "" | "NULL" | "\\N" => None,
            field if self.dialect.quotes => Some(Cow::Borrowed(field)),
            field => Some(unescaped(field)),
        }
    }

    /// An error about the value in a column.
    pub(super) fn wrong(&self, column: &str, message: impl std::fmt::Display) -> FileError {
        FileError::at(self.line, column, message)
    }
}

/// Calls `each` for each row and stops at the first error. `needed` are the required columns.
pub(super) fn for_each(
    text: &str,
    needed: &[&str],
    mut each: impl FnMut(&Row<'_>) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let dialect = dialect(text);
    let columns = columns(text)?;
    for (at, name) in columns.iter().enumerate() {
        if columns.iter().take(at).any(|other| other == name) {
            return Err(FileError::at(1, name, "duplicate column"));
        }
    }
    if let Some(missing) = needed.iter().find(|name| !columns.iter().any(|c| c == *name)) {
        let message = format!("expected a first line of column names with `{missing}`");
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
            let message = format!("expected {want} fields as in the first line, found {have}");
            return Err(FileError { line: Some(line), ..FileError::new(message) });
        }
        each(&Row { line, columns: &columns, record: &record, dialect })?;
        let done = position.map_or(0, csv::Position::byte);
        progress.at(usize::try_from(done).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// Detects the syntax from the first line.
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

/// Decodes the backslash escapes of a field.
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

/// The line where a record begins. The position may be that of empty lines before it.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.as_bytes().get(at..));
    let ends = rest.unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    ends.filter(|byte| **byte == b'\n').fold(position.line(), |line, _| line.saturating_add(1))
}

fn csv_error(error: &csv::Error) -> FileError {
    let line = error.position().map(csv::Position::line);
    // the text of the csv error is left out: it could quote a secret
    FileError { line, ..FileError::new("expected a CSV table") }
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
    fn dumps_of_common_tools_are_read() {
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
    fn broken_tables_are_errors() {
        let error = |text: &str, needed: &[&str]| {
            for_each(text, needed, |_| Ok(())).unwrap_err().describe("f")
        };
        assert_eq!(
            error("", &["username"]),
            "f:1: expected a first line of column names with `username`"
        );
        assert_eq!(error("a,b\n1\n", &[]), "f:2: expected 2 fields as in the first line, found 1");
        assert_eq!(error("a,b,A\n", &[]), "f:1: a: duplicate column");
    }
}
