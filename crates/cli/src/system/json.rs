//! The JSON that commands print, in ASCII.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use crate::system::output::ProgramError;

/// A value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, ProgramError> {
    serde_json::to_string(value).map(|text| ascii(&text)).map_err(failed)
}

/// A value as indented lines of JSON.
pub(crate) fn json_lines(value: &impl Serialize) -> Result<String, ProgramError> {
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    // texts in JSON have no line ends
    Ok(text.lines().map(ascii).collect::<Vec<_>>().join("\n"))
}

/// JSON as one line in ASCII: other characters could change how a terminal shows the line.
pub(crate) fn ascii(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        // a line end between two values
        push(&mut line, if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c });
    }
    line
}

/// Adds a character of a text in JSON in ASCII.
fn push(to: &mut String, c: char) {
    match c {
        ' '..='~' => to.push(c),
        // JSON escapes a character beyond U+FFFF as two surrogates
        _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
            // writing into a text does not fail
            let _ = write!(to, "\\u{unit:04x}");
        }),
    }
}

/// Writes JSON in ASCII while it arrives in parts. Line ends stay.
pub(crate) struct AsciiWriter<W> {
    to: W,
    /// The start of a character whose end has not arrived.
    rest: Vec<u8>,
}

impl<W: io::Write> AsciiWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, rest: Vec::new() }
    }
}

impl<W: io::Write> io::Write for AsciiWriter<W> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(part);
        let (text, rest) = match str::from_utf8(&self.rest) {
            Ok(text) => (text, &[][..]),
            Err(error) if error.error_len().is_none() => {
                let (text, rest) = self.rest.split_at(error.valid_up_to());
                (str::from_utf8(text).map_err(invalid)?, rest)
            }
            Err(error) => return Err(invalid(error)),
        };
        let mut ascii = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '\t' | '\n' | '\r') { ascii.push(c) } else { push(&mut ascii, c) }
        }
        let rest = rest.to_vec();
        self.to.write_all(ascii.as_bytes())?;
        self.rest = rest;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn invalid(error: std::str::Utf8Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn failed(error: serde_json::Error) -> ProgramError {
    ProgramError::Runtime(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_parts_is_ascii_however_it_is_cut() {
        use io::Write as _;
        let text = "{\n\t\"ü\u{202e}\": \"\u{1f600}\u{9b}\"\r\n}";
        for size in 1..=text.len() {
            let mut written = Vec::new();
            let mut writer = AsciiWriter::new(&mut written);
            text.as_bytes().chunks(size).for_each(|part| writer.write_all(part).unwrap());
            assert_eq!(
                String::from_utf8(written).unwrap(),
                "{\n\t\"\\u00fc\\u202e\": \"\\ud83d\\ude00\\u009b\"\r\n}",
                "{size}"
            );
        }
        assert!(AsciiWriter::new(Vec::new()).write_all(b"\"\xff\"").is_err());
    }

    #[test]
    fn json_is_ascii_and_reads_back() {
        let text = "ü\u{202e}\u{1f600}\u{7f}\u{9b}\u{1b}\u{2028}\"\\\n";
        let line = json_line(&text).unwrap();
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        let value = serde_json::json!({ "name": text, text: [1, text] });
        let lines = json_lines(&value).unwrap();
        assert!(lines.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{lines}");
        assert!(lines.contains("\n  \"name\": "), "{lines}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&lines).unwrap(), value);
    }
}
