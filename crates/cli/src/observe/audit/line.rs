//! The lines of the decision log.

use std::io::{self, Write};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use sip_authz::Decision;

use super::{Entry, Subject};
use crate::observe::cause::{Cause, Handling};
use crate::observe::reasons::{PerReason, reasons};

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    transport: &'static str,
    outcome: &'static str,
    reason: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

/// A message that is no decision.
#[derive(Serialize)]
struct OtherLine {
    time: String,
    transport: &'static str,
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

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

impl<'a> Line<'a> {
    fn of(entry: &Entry, decision: &'a Decision, names: bool) -> Self {
        let accept = match decision {
            Decision::Accept(accept) => Some(accept),
            _ => None,
        };
        let address = accept.and_then(|accept| accept.address);
        let credential = accept.and_then(|accept| accept.credential.as_ref());
        Self {
            time: text(entry.time),
            snapshot: entry.snapshot,
            transport: entry.transport.as_str(),
            outcome: decision.outcome(),
            reason: decision.reason(),
            status: decision.status(),
            code: match decision {
                Decision::Reject(reject) => reject.reason.code(),
                _ => None,
            },
            account: accept.map(|accept| accept.account.to_string()),
            target: decision.target().map(|target| target.to_string()),
            access_list: address.map(|matched| matched.list.to_string()),
            address: address.map(|matched| matched.address.to_string()),
            credential_list: credential.map(|matched| matched.list.to_string()),
            credential: credential.map(|matched| matched.credential.to_string()),
            repeat: accept.is_some_and(|accept| accept.repeat),
            source: names.then(|| entry.source.to_string()),
            username: credential.filter(|_| names).map(|matched| matched.username.as_str()),
        }
    }
}

impl OtherLine {
    fn of(entry: &Entry, cause: Cause, names: bool) -> Self {
        Self {
            time: text(entry.time),
            transport: entry.transport.as_str(),
            outcome: cause.handling().as_str(),
            reason: cause.as_str(),
            status: match cause.handling() {
                Handling::Answered(status) => Some(status),
                _ => None,
            },
            source: names.then(|| entry.source.to_string()),
        }
    }
}

/// Appends the line of an entry.
pub(super) fn push_entry(bytes: &mut Vec<u8>, entry: &Entry, names: bool) {
    match &entry.subject {
        Subject::Decision(decision) => push(bytes, &Line::of(entry, decision, names)),
        Subject::Other(cause) => push(bytes, &OtherLine::of(entry, *cause, names)),
    }
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
        let time = text(SystemTime::now());
        let mut line = Missing { time, lost: None, left_out: None, reasons: Reasons(counts) };
        set(&mut line, total);
        push(bytes, &line);
    }
}

/// The time in UTC, to the microsecond.
fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

fn push(bytes: &mut Vec<u8>, line: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *bytes, Ascii);
    // serializing strings and numbers to a Vec does not fail
    if line.serialize(&mut serializer).is_ok() {
        bytes.push(b'\n');
    }
}

/// Writes JSON in printable ASCII. Some readers end a line at U+2028, and terminals obey
/// bidirectional controls; a JSON parser reads the same text.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
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
        let name = "ä\u{7f}\u{85}\u{2028}\u{202e}\u{1f600}\"\\\n\u{0}";
        let mut bytes = Vec::new();
        push(&mut bytes, &name);
        let text = String::from_utf8(bytes).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
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
