//! Where something stands in a TOML text: its line, and the key that leads to it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The number of the line that follows `before`, from 1.
pub(crate) fn count_lines(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The longest key, such as `domains[0].name`, whose name or value holds the byte at `offset`.
pub(crate) fn key_at(text: &str, offset: usize) -> Option<String> {
    // what can be read of a text with an error in it is enough
    let (table, _) = DeTable::parse_recoverable(text);
    let mut found = Found { offset, depth: 0, key: None };
    found.search_table(table.get_ref(), "", 1);
    found.key
}

struct Found {
    offset: usize,
    depth: usize,
    key: Option<String>,
}

impl Found {
    fn search_table(&mut self, table: &DeTable<'_>, path: &str, depth: usize) {
        for (key, value) in table {
            let name = bare_or_quoted(key.get_ref());
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.offer(&key.span(), &path, depth);
            self.search(value, &path, depth);
        }
    }

    /// All of the tree, since the span of a table is its header and not what stands under it.
    fn search(&mut self, value: &Spanned<DeValue<'_>>, path: &str, depth: usize) {
        self.offer(&value.span(), path, depth);
        match value.get_ref() {
            DeValue::Table(table) => self.search_table(table, path, depth + 1),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.search(item, &format!("{path}[{at}]"), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn offer(&mut self, span: &Range<usize>, path: &str, depth: usize) {
        if (span.contains(&self.offset) || span.start == self.offset) && depth >= self.depth {
            self.depth = depth;
            self.key = Some(path.to_owned());
        }
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}
