//! The lines of the decision log.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use sip_authz_rest::decisions::{micros, rfc3339};

use crate::observe::reasons::{PerReason, reasons};
use crate::observe::record::shown::Shown;

/// Decisions without a line: how many, and how many for each reason.
#[derive(Serialize)]
struct Missing<'a> {
    time: String,
    /// The queue was full or a write failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    /// A limit of lines a second was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    reasons: Reasons<'a>,
}

/// The reasons with a count above zero.
struct Reasons<'a>(&'a PerReason);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(reasons().zip(self.0).filter(|(_, count)| **count > 0))
    }
}

/// Appends the line of a record.
pub(super) fn push_record(bytes: &mut Vec<u8>, shown: &Shown<'_>) {
    push(bytes, shown);
}

/// Appends a line about decisions that were lost, unless there are none.
pub(super) fn push_lost(bytes: &mut Vec<u8>, counts: &PerReason) {
    push_missing(bytes, counts, |line, total| line.lost = Some(total));
}

/// Appends a line about decisions that were left out, unless there are none.
pub(super) fn push_left_out(bytes: &mut Vec<u8>, counts: &PerReason) {
    push_missing(bytes, counts, |line, total| line.left_out = Some(total));
}

fn push_missing(bytes: &mut Vec<u8>, counts: &PerReason, set: impl Fn(&mut Missing<'_>, u64)) {
    let total = counts.iter().sum();
    if total > 0 {
        let time = rfc3339(micros(SystemTime::now()));
        let mut line = Missing { time, lost: None, left_out: None, reasons: Reasons(counts) };
        set(&mut line, total);
        push(bytes, &line);
    }
}

fn push(bytes: &mut Vec<u8>, line: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *bytes, Ascii);
    // serializing strings and numbers to a Vec does not fail
    if line.serialize(&mut serializer).is_ok() {
        bytes.push(b'\n');
    }
}

/// Writes JSON in printable ASCII. Some readers end a line at U+2028, and terminals obey
/// bidirectional controls. Filters of log readers look for the braces at the ends of a line, so that a
/// caller's text must not have any. A JSON parser reads the same text.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '{' | '}');
        if fragment.bytes().all(|byte| is_plain(byte.into())) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if is_plain(c) {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printable_ascii_and_is_read_back() {
        let name = "}{ä\u{7f}\u{85}\u{2028}\u{202e}\u{1f600}\"\\\n\u{0}";
        let mut bytes = Vec::new();
        push(&mut bytes, &name);
        let text = String::from_utf8(bytes).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        assert!(!line.contains(['{', '}']), "{line}");
        assert_eq!(serde_json::from_str::<String>(line).unwrap(), name);
    }

    #[test]
    fn missing_decisions_are_counted_by_reason() {
        let mut counts = crate::observe::reasons::NONE;
        let mut bytes = Vec::new();
        push_lost(&mut bytes, &counts);
        assert_eq!(bytes, b"");
        (counts[0], counts[2]) = (3, 4);
        push_lost(&mut bytes, &counts);
        push_left_out(&mut bytes, &counts);
        let text = String::from_utf8(bytes).unwrap();
        let ends: Vec<_> = text.lines().map(|line| line.split_once("Z\",").unwrap().1).collect();
        let reasons = r#""reasons":{"passed":3,"asked":4}}"#;
        assert_eq!(ends, [format!("\"lost\":7,{reasons}"), format!("\"left_out\":7,{reasons}")]);
    }
}
