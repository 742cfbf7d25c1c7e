//! Places in a TOML text: the line, the column and the path of the key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Subject};

/// A line and a column, each counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Translates ascending byte offsets to places in one pass over the text.
pub(crate) struct Places<'t> {
    text: &'t str,
    offset: usize,
    place: Place,
}

impl<'t> Places<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        // a byte order mark does not count as a character
        let offset = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, offset, place: Place { line: 1, column: 1 } }
    }

    /// The place of the byte at `offset`, which is not before that of the last call.
    pub(crate) fn at(&mut self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        for (_, c) in self.text.get(self.offset..).unwrap_or_default().char_indices() {
            if self.offset >= offset {
                break;
            }
            self.offset += c.len_utf8();
            if c == '\n' {
                self.place = Place { line: self.place.line + 1, column: 1 };
            } else {
                self.place.column += 1;
            }
        }
        self.place
    }
}

/// Finds the line of any byte offset.
pub(crate) struct Lines {
    /// The offset of each line end.
    ends: Vec<usize>,
}

impl Lines {
    /// The lines of a text. If they are not `needed`, the text is not read.
    pub(crate) fn of(text: &str, needed: bool) -> Self {
        let text = if needed { text } else { "" };
        Self { ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// The line, counted from 1, of the byte at `offset`.
    pub(crate) fn at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }
}

/// The path of the key of each problem, for example `domains[0].name`: the longest path whose key or
/// value contains the place. The problems must be sorted by offset.
pub(crate) fn keys_at(
    root: &DeTable<'_>,
    problems: &[Problem],
    is_known: fn(&str) -> bool,
) -> Vec<Option<String>> {
    let found = vec![(0, None); problems.len()];
    let mut search = Search { problems, is_known, path: Vec::new(), found };
    search.table(root);
    search.found.into_iter().map(|(_, key)| key).collect()
}

enum Step<'t> {
    Key(&'t str),
    Index(usize),
}

struct Search<'t, 'p> {
    problems: &'p [Problem],
    is_known: fn(&str) -> bool,
    path: Vec<Step<'t>>,
    /// The depth and the key found for each problem.
    found: Vec<(usize, Option<String>)>,
}

impl<'t> Search<'t, '_> {
    fn table(&mut self, table: &'t DeTable<'_>) {
        for (key, value) in table {
            self.path.push(Step::Key(key.get_ref()));
            self.offer(key.span(), true);
            self.value(value);
            self.path.pop();
        }
    }

    /// Searches the whole tree: the span of a table covers only its header.
    fn value(&mut self, value: &'t Spanned<DeValue<'_>>) {
        self.offer(value.span(), false);
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(at));
                    self.value(item);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// Notes the current path for the problems in `span`, unless a longer one is known.
    fn offer(&mut self, span: Range<usize>, is_key: bool) {
        let end = span.end.max(span.start + 1);
        let from = self.problems.partition_point(|problem| problem.span.start < span.start);
        let to = self.problems.partition_point(|problem| problem.span.start <= end);
        let depth = self.path.len();
        let in_span = self.problems.iter().zip(&mut self.found).take(to).skip(from);
        for (problem, (known_depth, key)) in in_span {
            let is_inside = problem.span.start < end;
            let fits = match problem.subject {
                Subject::Key => is_key && is_inside,
                Subject::Value | Subject::Missing => is_inside,
                // an unclosed string is an error at its end
                Subject::Syntax => true,
                Subject::Header => false,
            };
            if fits && depth >= *known_depth {
                *known_depth = depth;
                // after a syntax error the text of a password may have been read as a key
                *key = render(&self.path, problem.subject.is_syntax(), self.is_known);
            }
        }
    }
}

/// The maximum number of steps of a path that are shown; no valid key has as many.
const MAX_STEPS: usize = 12;

/// The path as text, cut off before the first key that must not be shown.
fn render(path: &[Step<'_>], known_only: bool, is_known: fn(&str) -> bool) -> Option<String> {
    let mut text = String::new();
    for step in path.iter().take(MAX_STEPS) {
        match step {
            Step::Key(key) if is_known(key) || (!known_only && is_plain(key)) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Key(_) => break,
            Step::Index(at) => text.push_str(&format!("[{at}]")),
        }
    }
    if path.len() > MAX_STEPS {
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// Whether a key is a short word. Other keys are not shown in errors: they could be a misplaced password
/// or hash.
pub(crate) fn is_plain(key: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=30).contains(&key.len()) && key.chars().all(bare)
}
