//! The text of a key file: the current key and the previous one, each on a line with its number.

use std::fmt::Write as _;
use std::num::ParseIntError;

use zeroize::Zeroizing;

use crate::keys::Keys;

/// The length of a secret in hexadecimal digits.
const DIGITS: usize = 64;

const HEAD: &str = "\
# Keys of sip-authz for forwarded calls: the current key, then the previous one.
# Keep them secret. `sip-authz keys rotate FILE` makes a new key.
";

/// The content of a key file: the current key, and the previous one if there is one.
///
/// The file is text. Each line has the number of a key (0 to 255) and 64 hexadecimal digits; the current
/// key comes first. `#` begins a comment. Secrets are wiped on drop.
pub struct KeyFile {
    current: Secret,
    previous: Option<Secret>,
}

struct Secret {
    number: u8,
    bytes: Zeroizing<[u8; 32]>,
}

/// The first error in a key file. Its text shows nothing of the file, which holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFileError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The reason.
    pub defect: KeyFileDefect,
}

/// The reason of a [`KeyFileError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileDefect {
    /// A line does not begin with the number of a key.
    #[error("expected the number of a key, 0 to 255")]
    Number,
    /// A line has no secret after the number.
    #[error("expected a space and {DIGITS} hexadecimal digits after the number")]
    NoSecret,
    /// A secret has another length.
    #[error("expected {DIGITS} hexadecimal digits, found {0}")]
    Length(usize),
    /// A character of a secret is not a hexadecimal digit.
    #[error("expected a hexadecimal digit")]
    Digit,
    /// A line has more than a number and a secret.
    #[error("expected the end of the line after {DIGITS} hexadecimal digits")]
    Rest,
    /// Both keys have the same number.
    #[error("both keys have the number {0}")]
    SameNumber(u8),
    /// There are more keys than two.
    #[error("expected at most two keys: the current and the previous one")]
    TooMany,
    /// There is no key.
    #[error("expected a key: its number and {DIGITS} hexadecimal digits")]
    Empty,
}

/// Shows `line:column: message`.
impl std::fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.defect)
    }
}

impl std::error::Error for KeyFileError {}

impl KeyFile {
    /// Creates the content of a new file, with this secret of random bytes as key 1.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { current: Secret { number: 1, bytes: Zeroizing::new(*secret) }, previous: None }
    }

    /// Parses the text of a key file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] with the place of the first error.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut current, mut previous) = (None::<Secret>, None);
        let mut last = 1;
        for (line, text) in (1..).zip(text.lines()) {
            last = line;
            let text = text.split('#').next().unwrap_or_default();
            let start = text.chars().take_while(|c| c.is_ascii_whitespace()).count();
            let failed = |(column, defect)| KeyFileError { line, column, defect };
            let Some(key) = Secret::parse(text).map_err(failed)? else { continue };
            match &current {
                None => current = Some(key),
                Some(_) if previous.is_some() => {
                    return Err(failed((start + 1, KeyFileDefect::TooMany)));
                }
                Some(first) if first.number == key.number => {
                    return Err(failed((start + 1, KeyFileDefect::SameNumber(key.number))));
                }
                Some(_) => previous = Some(key),
            }
        }
        let empty = KeyFileError { line: last, column: 1, defect: KeyFileDefect::Empty };
        Ok(Self { current: current.ok_or(empty)?, previous })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // allocate the full size: a buffer that grows leaves copies in memory
        let mut text = Zeroizing::new(String::with_capacity(HEAD.len() + 2 * (DIGITS + 5)));
        text.push_str(HEAD);
        for key in std::iter::once(&self.current).chain(&self.previous) {
            let mut digits = Zeroizing::new([0; DIGITS]);
            // writing to a String does not fail, and the length is right
            let _ = hex::encode_to_slice(*key.bytes, digits.as_mut_slice());
            let digits = str::from_utf8(digits.as_slice()).unwrap_or_default();
            let _ = writeln!(text, "{} {digits}", key.number);
        }
        text
    }

    /// Makes this secret of random bytes the current key, under the next number. The current key becomes
    /// the previous one, whose tokens are still valid. Those of the key before it no longer are.
    #[must_use]
    pub fn rotated(self, secret: &[u8; 32]) -> Self {
        let number = self.current.number.wrapping_add(1);
        let current = Secret { number, bytes: Zeroizing::new(*secret) };
        Self { current, previous: Some(self.current) }
    }

    /// The number of the current key, and of the previous one.
    #[must_use]
    pub fn numbers(&self) -> (u8, Option<u8>) {
        (self.current.number, self.previous.as_ref().map(|key| key.number))
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        Keys::derive(secrets.map(|key| (key.number, &*key.bytes)))
    }
}

impl Secret {
    /// Parses a line without its comment. None if it is empty; the column of an error is from 1.
    fn parse(line: &str) -> Result<Option<Self>, (usize, KeyFileDefect)> {
        let column = |rest: &str| {
            line.get(..line.len() - rest.len()).map_or(0, |before| before.chars().count()) + 1
        };
        let text = line.trim_ascii_start();
        if text.is_empty() {
            return Ok(None);
        }
        let (number, rest) = split_word(text);
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let parsed: Result<u8, ParseIntError> = number.parse();
        let Some(number) = parsed.ok().filter(|_| is_number) else {
            return Err((column(text), KeyFileDefect::Number));
        };
        let text = rest.trim_ascii_start();
        if text.is_empty() {
            return Err((column(rest), KeyFileDefect::NoSecret));
        }
        let (digits, rest) = split_word(text);
        if let Some((at, _)) = digits.char_indices().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return Err((column(text) + at, KeyFileDefect::Digit));
        }
        let mut bytes = Zeroizing::new([0; DIGITS / 2]);
        if hex::decode_to_slice(digits, bytes.as_mut_slice()).is_err() {
            return Err((column(text), KeyFileDefect::Length(digits.len())));
        }
        let end = rest.trim_ascii_start();
        let key = Self { number, bytes };
        if end.is_empty() { Ok(Some(key)) } else { Err((column(end), KeyFileDefect::Rest)) }
    }
}

/// Splits before the first white space.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Shows the numbers only.
impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyFile").field(&self.numbers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Purpose;

    const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const B: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn error(text: &str) -> String {
        KeyFile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_has_one_key_or_two() {
        for text in [
            format!("1 {A}"),
            format!("1 {A}\n"),
            format!("\r\n# a comment\r\n \t 01\t {A} # another\r\n\r\n"),
        ] {
            let file = KeyFile::parse(&text).unwrap();
            assert_eq!(file.numbers(), (1, None));
            assert_eq!(file.current.bytes[..3], [0, 1, 2]);
        }
        let file = KeyFile::parse(&format!("0 {A}\n\n255 {B}\n")).unwrap();
        assert_eq!(file.numbers(), (0, Some(255)));
        assert_eq!(*file.previous.unwrap().bytes, [255; 32]);
    }

    #[test]
    fn an_error_has_its_place_and_shows_no_secret() {
        let short = &A[..63];
        for (text, expected) in [
            (String::new(), "1:1: expected a key: its number and 64 hexadecimal digits".into()),
            ("# x\n\n".into(), "2:1: expected a key: its number and 64 hexadecimal digits".into()),
            (A.into(), "1:1: expected the number of a key, 0 to 255".into()),
            (format!("\n  256 {A}"), "2:3: expected the number of a key, 0 to 255".into()),
            (format!("+1 {A}"), "1:1: expected the number of a key, 0 to 255".into()),
            (format!("-1 {A}"), "1:1: expected the number of a key, 0 to 255".into()),
            (format!("\u{feff}1 {A}"), "1:1: expected the number of a key, 0 to 255".into()),
            ("1".into(), "1:2: expected a space and 64 hexadecimal digits after the number".into()),
            (
                format!(" 1 # {A}"),
                "1:3: expected a space and 64 hexadecimal digits after the number".into(),
            ),
            (format!("1:{A}"), "1:1: expected the number of a key, 0 to 255".into()),
            (format!("1 {short}"), "1:3: expected 64 hexadecimal digits, found 63".into()),
            (format!("1 {A}00"), "1:3: expected 64 hexadecimal digits, found 66".into()),
            (format!("1 {short}g"), "1:66: expected a hexadecimal digit".into()),
            (format!("1 é{short}"), "1:3: expected a hexadecimal digit".into()),
            (format!("1 0x{short}"), "1:4: expected a hexadecimal digit".into()),
            (
                format!("1 {A} {A}"),
                "1:68: expected the end of the line after 64 hexadecimal digits".into(),
            ),
            (format!("1 {A}\n 1 {B}"), "2:2: both keys have the number 1".into()),
            (
                format!("1 {A}\n2 {B}\n3 {A}"),
                "3:1: expected at most two keys: the current and the previous one".into(),
            ),
        ] as [(String, String); 18]
        {
            assert_eq!(error(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_rotation_keeps_the_current_key_as_the_previous_one() {
        let first = KeyFile::new(&[1; 32]);
        assert_eq!(first.numbers(), (1, None));
        let mac = first.keys().mac(Purpose::Branch, &[b"x"]);
        let second = first.rotated(&[2; 32]);
        assert_eq!(second.numbers(), (2, Some(1)));
        assert!(second.keys().macs(Purpose::Branch, &[b"x"]).nth(1) == Some(mac));
        let third = second.rotated(&[3; 32]);
        assert_eq!(third.numbers(), (3, Some(2)));
        assert!(third.keys().macs(Purpose::Branch, &[b"x"]).all(|found| found != mac));
        let last = KeyFile::parse(&format!("255 {A}")).unwrap().rotated(&[0; 32]);
        assert_eq!(last.numbers(), (0, Some(255)));
    }

    #[test]
    fn a_buffer_for_the_text_does_not_grow() {
        let file = KeyFile::parse(&format!("254 {A}")).unwrap().rotated(&[0; 32]);
        assert!(file.to_text().len() <= HEAD.len() + 2 * (DIGITS + 5));
        assert_eq!(format!("{file:?}"), "KeyFile((255, Some(254)))");
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_it_was_written(number: u8, first: [u8; 32], second: [u8; 32]) {
            let line = format!("{number} {}", hex::encode(first));
            let one = KeyFile::parse(&line).unwrap();
            let text = format!("{line}\n");
            prop_assert!(one.to_text().ends_with(&text));
            let two = one.rotated(&second);
            let again = KeyFile::parse(&two.to_text()).unwrap();
            prop_assert_eq!(again.numbers(), two.numbers());
            prop_assert_eq!(*again.current.bytes, second);
            prop_assert_eq!(*again.previous.unwrap().bytes, first);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f# \t\r\né]{0,200}|\\PC{0,100}") {
            if let Err(error) = KeyFile::parse(&text) {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                prop_assert!(error.column <= line.chars().count() + 1);
            }
        }
    }
}
