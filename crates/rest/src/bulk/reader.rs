//! Reads a document that arrives in pieces, entry by entry.

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::document::{DocumentError, Format};
use super::entry::{Array, Entry};
use sip_authz_directory::Incoming;

/// The longest entry in bytes. A credential with all its hashes takes about 500.
const MAX_ENTRY: usize = 1 << 20;

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}{message}", prefix(place))]
#[non_exhaustive]
pub struct ReadError {
    /// The line, from 1.
    pub line: u64,
    /// The path of the entry or field, such as `credentials[3].ha1`; empty outside the entries.
    pub place: String,
    /// The reason. It has no password and no hash.
    pub message: String,
}

fn prefix(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("{place}: ") }
}

/// An entry of a document, with its place.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadEntry {
    /// The entry.
    pub entry: Entry,
    /// The index in its array.
    pub index: usize,
    /// The line where it begins, from 1.
    pub line: u64,
    /// The hash of its array and bytes.
    pub(super) hash: [u8; 32],
    /// The number of its bytes.
    pub(super) len: usize,
}

impl ReadEntry {
    /// Converts the entry to a record. References to other records are not checked.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if it is invalid.
    pub fn into_incoming(self) -> Result<Incoming, DocumentError> {
        self.entry.into_incoming(self.index)
    }
}

/// Reads a document that arrives in pieces. It holds one piece and one entry, whose memory is wiped.
#[derive(Debug)]
pub struct DocumentReader {
    /// The bytes that are not yet read, from `at` on.
    buffer: Zeroizing<Vec<u8>>,
    at: usize,
    line: u64,
    next: Next,
    /// The value that begins at `at`, as far as it was scanned.
    scan: Scan,
    /// The number of entries in the current array.
    count: usize,
    seen: Vec<Field>,
}

/// A field of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Format,
    Array(Array),
}

/// What comes next, after whitespace.
#[derive(Clone, Copy, Debug)]
enum Next {
    Document,
    FirstKey,
    Key,
    Colon(Field),
    Value(Field),
    FirstEntry(Array),
    Entry(Array),
    AfterEntry(Array),
    AfterValue,
    End,
}

/// The state within a value.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    len: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Default for DocumentReader {
    fn default() -> Self {
        Self {
            buffer: Zeroizing::default(),
            at: 0,
            line: 1,
            next: Next::Document,
            scan: Scan::default(),
            count: 0,
            seen: Vec::new(),
        }
    }
}

impl DocumentReader {
    /// Adds the next piece. Call [`Self::next_entry`] until it has none before the next one.
    pub fn push(&mut self, piece: &[u8]) {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            // a buffer that grows by itself leaves copies in memory
            let mut grown = Zeroizing::new(Vec::with_capacity(2 * (rest.len() + piece.len())));
            grown.extend_from_slice(rest);
            self.buffer = grown;
        } else {
            let left = rest.len();
            self.buffer.copy_within(self.at.., 0);
            self.buffer.truncate(left);
        }
        self.at = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Whether the format was read.
    pub(super) fn has_format(&self) -> bool {
        self.seen.contains(&Field::Format)
    }

    /// The next entry, if the pieces so far have it whole.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; the document cannot be read further.
    pub fn next_entry(&mut self) -> Result<Option<ReadEntry>, ReadError> {
        loop {
            self.skip_whitespace();
            let Some(first) = self.buffer.get(self.at).copied() else { return Ok(None) };
            self.next = match (self.next, first) {
                (Next::Document, b'{') => self.pass(Next::FirstKey),
                (Next::FirstKey | Next::AfterValue, b'}') => self.pass(Next::End),
                (Next::AfterValue, b',') => self.pass(Next::Key),
                (Next::FirstKey | Next::Key, b'"') => {
                    let Some(len) = self.scan(String::new())? else { return Ok(None) };
                    let name: String = self.value(len, "")?;
                    self.skip(len);
                    Next::Colon(self.field(&name)?)
                }
                (Next::Colon(field), b':') => self.pass(Next::Value(field)),
                (Next::Value(Field::Format), _) => {
                    let Some(len) = self.scan("format".to_owned())? else { return Ok(None) };
                    self.value::<Format>(len, "format")?;
                    self.skip(len);
                    Next::AfterValue
                }
                (Next::Value(Field::Array(array)), b'[') => {
                    self.count = 0;
                    self.pass(Next::FirstEntry(array))
                }
                (Next::FirstEntry(_) | Next::AfterEntry(_), b']') => self.pass(Next::AfterValue),
                (Next::AfterEntry(array), b',') => self.pass(Next::Entry(array)),
                (Next::FirstEntry(array) | Next::Entry(array), _) => {
                    let index = self.count;
                    let place = format!("{}[{index}]", array.name());
                    let Some(len) = self.scan(place)? else { return Ok(None) };
                    let read = self.entry(array, index, len)?;
                    self.count += 1;
                    self.skip(len);
                    self.next = Next::AfterEntry(array);
                    return Ok(Some(read));
                }
                (next, _) => return Err(self.error(String::new(), next.expected())),
            };
        }
    }

    /// Ends the document.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it is not complete.
    pub fn finish(&self) -> Result<(), ReadError> {
        let message = match self.next {
            Next::End if self.has_format() => return Ok(()),
            Next::End => "missing field `format`",
            Next::Document | Next::Value(_) => "EOF while parsing a value",
            Next::FirstEntry(_) | Next::Entry(_) | Next::AfterEntry(_) => {
                "EOF while parsing a list"
            }
            Next::FirstKey | Next::Key | Next::Colon(_) | Next::AfterValue => {
                "EOF while parsing an object"
            }
        };
        Err(self.error(String::new(), message))
    }

    fn entry(&self, array: Array, index: usize, len: usize) -> Result<ReadEntry, ReadError> {
        let text = self.text(len);
        let line = self.line;
        let entry = Entry::parse(array, text).map_err(|(path, error)| {
            let separator = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            self.value_error(format!("{}[{index}]{separator}{path}", array.name()), &error)
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(array.name().as_bytes()).update(b"\0").update(text);
        Ok(ReadEntry { entry, index, line, hash: hasher.finalize().into(), len })
    }

    fn field(&mut self, name: &str) -> Result<Field, ReadError> {
        let array = Array::ALL.iter().find(|array| array.name() == name);
        let field = match array {
            Some(array) => Field::Array(*array),
            None if name == "format" => Field::Format,
            None => {
                let name: String = name.chars().take(40).collect();
                let known: Vec<_> = Array::ALL.iter().map(|array| array.name()).collect();
                let known = known.join("`, `");
                let message =
                    format!("unknown field `{name}`, expected one of `format`, `{known}`");
                return Err(self.error(String::new(), message));
            }
        };
        if self.seen.contains(&field) {
            return Err(self.error(String::new(), format!("duplicate field `{name}`")));
        }
        self.seen.push(field);
        Ok(field)
    }

    /// The length of the value that begins at `at`, if it is whole.
    fn scan(&mut self, place: String) -> Result<Option<usize>, ReadError> {
        let len = self.scanned();
        if len.unwrap_or(self.scan.len) > MAX_ENTRY {
            return Err(self.error(place, format!("expected at most {MAX_ENTRY} bytes")));
        }
        Ok(len)
    }

    fn scanned(&mut self) -> Option<usize> {
        let mut scan = self.scan;
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        for byte in rest.get(scan.len..).unwrap_or_default() {
            let is_first = scan.len == 0;
            if scan.in_string {
                match byte {
                    _ if scan.is_escaped => scan.is_escaped = false,
                    b'\\' => scan.is_escaped = true,
                    b'"' => scan.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' if is_first || scan.depth > 0 => scan.in_string = true,
                    b'{' | b'[' if is_first || scan.depth > 0 => scan.depth += 1,
                    b'}' | b']' if scan.depth > 0 => scan.depth -= 1,
                    // a value of another kind
                    _ if scan.depth == 0 => match byte {
                        b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                            return Some(scan.len.max(1));
                        }
                        _ => {
                            scan.len += 1;
                            continue;
                        }
                    },
                    _ => {}
                }
            }
            scan.len += 1;
            if scan.depth == 0 && !scan.in_string {
                return Some(scan.len);
            }
        }
        self.scan = scan;
        None
    }

    fn text(&self, len: usize) -> &[u8] {
        self.buffer.get(self.at..self.at + len).unwrap_or_default()
    }

    fn value<T: DeserializeOwned>(&self, len: usize, place: &str) -> Result<T, ReadError> {
        serde_json::from_slice(self.text(len))
            .map_err(|error| self.value_error(place.to_owned(), &error))
    }

    /// Passes one byte.
    fn pass(&mut self, next: Next) -> Next {
        self.at += 1;
        next
    }

    /// Passes a value.
    fn skip(&mut self, len: usize) {
        self.line += lines(self.text(len));
        self.at += len;
        self.scan = Scan::default();
    }

    fn skip_whitespace(&mut self) {
        if self.scan.len > 0 {
            return;
        }
        while let Some(byte) = self.buffer.get(self.at)
            && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        {
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
    }

    fn error(&self, place: String, message: impl ToString) -> ReadError {
        ReadError { line: self.line, place, message: message.to_string() }
    }

    fn value_error(&self, place: String, error: &serde_json::Error) -> ReadError {
        let text = error.to_string();
        // that line and column count from the beginning of the value
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let below = u64::try_from(error.line()).unwrap_or_default().saturating_sub(1);
        ReadError { line: self.line + below, place, message: message.to_owned() }
    }
}

impl Next {
    fn expected(self) -> &'static str {
        match self {
            Self::Document => "expected a document, which begins with `{`",
            Self::FirstKey => "expected a key or `}`",
            Self::Key => "expected a key",
            Self::Colon(_) => "expected `:`",
            Self::Value(_) => "expected an array",
            Self::FirstEntry(_) | Self::Entry(_) => "expected an entry",
            Self::AfterEntry(_) => "expected `,` or `]`",
            Self::AfterValue => "expected `,` or `}`",
            Self::End => "trailing characters",
        }
    }
}

fn lines(text: &[u8]) -> u64 {
    u64::try_from(text.iter().filter(|byte| **byte == b'\n').count()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The entries and the error of a document that arrives in pieces of this size.
    fn read(text: &str, piece: usize) -> (Vec<(String, u64)>, Option<ReadError>) {
        let mut reader = DocumentReader::default();
        let mut entries = Vec::new();
        for piece in text.as_bytes().chunks(piece) {
            reader.push(piece);
            loop {
                match reader.next_entry() {
                    Ok(Some(read)) => {
                        entries.push((serde_json::to_string(&read.entry).unwrap(), read.line));
                    }
                    Ok(None) => break,
                    Err(error) => return (entries, Some(error)),
                }
            }
        }
        (entries, reader.finish().err())
    }

    fn account(name: &str) -> String {
        format!(r#"{{"sid":"AC{}","friendly_name":"{name}","status":"active"}}"#, "0".repeat(32))
    }

    #[test]
    fn entries_are_the_same_in_pieces_of_any_size() {
        let names = ["", "a", r"\\", r#"\"]}"#, "],[{}", r#"\u00e9\\\""#];
        let accounts: Vec<_> = names.iter().map(|name| account(name)).collect();
        let text = format!(
            " {{ \"format\" :\n \"sip-authz/1\" , \"accounts\" : [ {} ] , \"roles\":[] }}\n",
            accounts.join(" ,\n")
        );
        let (whole, error) = read(&text, usize::MAX);
        assert_eq!((whole.len(), error), (names.len(), None));
        assert_eq!(whole.iter().map(|(_, line)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
        let document: super::super::Document = serde_json::from_str(&text).unwrap();
        for (account, (entry, _)) in document.accounts.iter().zip(&whole) {
            assert_eq!(*entry, serde_json::to_string(account).unwrap());
        }
        for piece in 1..40 {
            assert_eq!(read(&text, piece), (whole.clone(), None), "{piece}");
        }
    }

    /// Each document that the reader takes is one that serde takes, and the other way round.
    #[test]
    fn documents_that_are_cut_or_changed_are_refused_as_by_serde() {
        let text = format!(
            r#"{{"format":"sip-authz/1","accounts":[{},{}],"roles":[],"trunks":[]}}"#,
            account("x"),
            account("y")
        );
        let mut texts: Vec<_> = (0..text.len()).map(|len| text[..len].to_owned()).collect();
        for at in 0..text.len() {
            for byte in ["", "\"", ",", "{", "}", "[", "]", ":", "\\", " ", "1", "n"] {
                texts.push(format!("{}{byte}{}", &text[..at], &text[at + 1..]));
            }
        }
        for text in texts {
            let expected = serde_json::from_str::<super::super::Document>(&text).is_ok();
            for piece in [1, 7, usize::MAX] {
                let (_, error) = read(&text, piece);
                assert_eq!(error.is_none(), expected, "{text}: {error:?}");
            }
        }
    }

    #[test]
    fn errors_name_line_and_place() {
        let sid = format!("\"sid\":\"AC{}\"", "0".repeat(32));
        for (text, line, place, message) in [
            ("{", 1, "", "EOF while parsing an object"),
            ("", 1, "", "EOF while parsing a value"),
            ("[]", 1, "", "expected a document, which begins with `{`"),
            ("{}", 1, "", "missing field `format`"),
            ("{\"format\":\n\"x\"}", 2, "format", "unknown variant `x`, expected `sip-authz/1`"),
            (
                "{\"accounts\":[\n{\n\"x\":1}]}",
                3,
                "accounts[0].x",
                "unknown field `x`, expected one of `sid`, `friendly_name`, `status`, `token_sha256`, `secondary_token_sha256`, `dates`",
            ),
            (
                &format!("{{\"accounts\":[{{{sid}}},\n{{{sid},\"dates\":{{\"created\":7}}}}]}}"),
                2,
                "accounts[1].dates.created",
                "invalid type: integer `7`, expected a string",
            ),
            ("{\"accounts\":{}}", 1, "", "expected an array"),
            ("{\"accounts\":[],\"accounts\":[]}", 1, "", "duplicate field `accounts`"),
        ] {
            let (_, error) = read(text, usize::MAX);
            let expected = ReadError { line, place: place.to_owned(), message: message.to_owned() };
            assert_eq!(error, Some(expected), "{text}");
        }
    }

    #[test]
    fn an_entry_has_a_largest_size() {
        let text = format!("{{\"accounts\":[{}", account(&"x".repeat(MAX_ENTRY)));
        let (_, error) = read(&text, 64 << 10);
        assert_eq!(error.unwrap().message, "expected at most 1048576 bytes");
    }
}
