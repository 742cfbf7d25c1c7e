//! Headers of tables with the wrong brackets, such as `[domains]` instead of `[[domains]]`.
//!
//! The parser cannot go on after such a header, or reads a table of another kind. So the header is
//! reported and replaced by the right one, and the text is parsed again: errors below it are found too.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// The tables that a file has any number of, each with its header in double brackets.
const ARRAYS: &[&str] = &[
    "accounts",
    "ip_access_control_lists",
    "ip_access_control_lists.addresses",
    "credential_lists",
    "credential_lists.credentials",
    "domains",
    "trunks",
];

/// The tables with a header in single brackets.
const TABLES: &[&str] =
    &["edge", "domains.policy", "trunks.policy", "credential_lists.credentials.ha1"];

/// A header with the wrong brackets.
pub(crate) struct WrongHeader {
    /// The header, from its first bracket to its last.
    span: Range<usize>,
    right: String,
}

impl WrongHeader {
    /// The message of the error.
    pub(crate) fn message(&self, text: &str) -> String {
        let found = text.get(self.span.clone()).unwrap_or_default();
        format!("expected `{}`, found `{found}`", self.right)
    }
}

/// Finds the headers with wrong brackets. `errors` are the places of the parser's errors, ascending.
pub(crate) fn wrong_headers(
    text: &str,
    root: &DeTable<'_>,
    errors: &[(Range<usize>, String)],
) -> Vec<WrongHeader> {
    let mut wrong = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let begin = offset;
        offset += line.len();
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let Some((length, path, brackets)) = header(line.get(indent..).unwrap_or_default()) else {
            continue;
        };
        let depth = match (ARRAYS.contains(&path), TABLES.contains(&path)) {
            (true, _) => 2,
            (_, true) => 1,
            _ => continue,
        };
        if brackets == (depth, depth) {
            continue;
        }
        // the same text inside a string of several lines is no header
        let at = errors.partition_point(|(span, _)| span.start < begin);
        let has_error = errors.get(at).is_some_and(|(span, _)| span.start < offset);
        if has_error || is_misread(root, path, depth == 2) {
            let right = format!("{}{path}{}", "[".repeat(depth), "]".repeat(depth));
            wrong.push(WrongHeader { span: begin + indent..begin + indent + length, right });
        }
    }
    wrong
}

/// The length of a header at the begin of a line, its path, and the numbers of opening and closing
/// brackets. `None` if the line has more than a header.
fn header(line: &str) -> Option<(usize, &str, (usize, usize))> {
    let inner = line.trim_start_matches('[');
    let opening = line.len() - inner.len();
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let path = inner.get(..inner.find(|c| !is_path(c)).unwrap_or(inner.len()))?;
    let after = inner.get(path.len()..)?;
    let rest = after.trim_start_matches(']');
    let closing = after.len() - rest.len();
    // other white space is an error of its own, whose column the repair would move
    let behind = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    let ends = matches!(behind.chars().next(), None | Some('#'));
    (opening > 0 && ends).then_some((line.len() - rest.len(), path, (opening, closing)))
}

/// Whether the tree has a table at this path where an array is expected, or the other way round.
fn is_misread(root: &DeTable<'_>, path: &str, wants_array: bool) -> bool {
    fn walk(value: &DeValue<'_>, path: &[&str], wants_array: bool) -> bool {
        match (value, path) {
            (DeValue::Array(items), [_, ..]) => {
                items.iter().any(|item| walk(item.get_ref(), path, wants_array))
            }
            (DeValue::Table(table), [key, rest @ ..]) => {
                table.get(*key).is_some_and(|value| walk(value.get_ref(), rest, wants_array))
            }
            (DeValue::Array(_), []) => !wants_array,
            (DeValue::Table(_), []) => wants_array,
            _ => false,
        }
    }
    let path: Vec<&str> = path.split('.').collect();
    match path.split_first() {
        Some((key, rest)) => {
            root.get(*key).is_some_and(|value| walk(value.get_ref(), rest, wants_array))
        }
        None => false,
    }
}

/// The text with the right headers. Lines stay the same, and so do the columns of other lines.
pub(crate) fn repaired(text: &str, wrong: &[WrongHeader]) -> Zeroizing<String> {
    // allocate the full size: a buffer that grows leaves copies in memory
    let more: usize = wrong.iter().map(|header| header.right.len()).sum();
    let mut copy = Zeroizing::new(String::with_capacity(text.len() + more));
    let mut done = 0;
    for header in wrong {
        copy.push_str(text.get(done..header.span.start).unwrap_or_default());
        copy.push_str(&header.right);
        done = header.span.end;
    }
    copy.push_str(text.get(done..).unwrap_or_default());
    copy
}

/// The offsets of the headers in the repaired text, each with its message.
pub(crate) fn reports(text: &str, wrong: &[WrongHeader]) -> Vec<(usize, String)> {
    let mut moved = 0_isize;
    let reports = wrong.iter().map(|header| {
        let at = header.span.start.saturating_add_signed(moved);
        moved += header.right.len().cast_signed() - header.span.len().cast_signed();
        (at, header.message(text))
    });
    reports.collect()
}

/// The place in the repaired text of an offset that is in no header.
pub(crate) fn moved(wrong: &[WrongHeader], offset: usize) -> usize {
    let before = wrong.iter().filter(|header| header.span.end <= offset);
    before.fold(offset, |offset, header| {
        (offset + header.right.len()).saturating_sub(header.span.len())
    })
}
