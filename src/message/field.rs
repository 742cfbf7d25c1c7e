//! Lines, header fields and header names. Common input is compared by words and chunks of bytes;
//! rare input byte by byte.

use memchr::memchr;

use super::{Defect, Field, Header, NAMES, is_token, token_len, trim};
use crate::words::{find_before, lower};

/// Splits after the first LF.
pub(super) fn take_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(memchr(b'\n', bytes)? + 1)
}

/// The extent of a header field.
pub(super) struct Extent<'a> {
    /// The field with its folds and line end.
    pub(super) raw: &'a [u8],
    /// The bytes after it.
    pub(super) rest: &'a [u8],
    /// Number of folded lines.
    pub(super) folds: usize,
}

/// The field at the start of `bytes`; none if one of its lines is incomplete.
pub(super) fn take_field(bytes: &[u8]) -> Option<Extent<'_>> {
    let (mut raw, mut rest) = take_line(bytes)?;
    let mut folds = 0;
    while let [b' ' | b'\t', ..] = rest {
        (_, rest) = take_line(rest)?;
        (raw, rest) = bytes.split_at_checked(bytes.len() - rest.len())?;
        folds += 1;
    }
    Some(Extent { raw, rest, folds })
}

/// Length of the blank line at the start of `bytes`, if there is one; 1 for a bare LF.
pub(super) fn blank_line(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

/// Parses the first `len` of `bytes` as a field; none if the colon is missing or the name is not a
/// token.
#[inline]
pub(super) fn field(bytes: &[u8], len: usize) -> Option<Field<'_>> {
    let raw = bytes.get(..len)?;
    let (header, name) = field_name_fast(bytes).or_else(|| field_name_full(raw))?;
    let (name, behind) = raw.split_at_checked(name)?;
    let value = match behind {
        // fast path: one space and CRLF
        [b':', b' ', value @ .., b'\r', b'\n'] if is_trimmed(value) => value,
        [b':', value @ ..] => trim(value),
        _ => trim(trim(behind).strip_prefix(b":")?),
    };
    Some(Field { header, name, value, raw })
}

/// Whether the first and the last byte are not white space.
fn is_trimmed(text: &[u8]) -> bool {
    matches!((text.first(), text.last()), (Some(b'!'..), Some(b'!'..)))
}

/// Fast path: the header at the start of `bytes` and the length of its name. Handles tokens of less
/// than 16 bytes and `Proxy-Authorization`, with the colon directly after them.
#[inline]
fn field_name_fast(bytes: &[u8]) -> Option<(Header, usize)> {
    let (low, rest) = bytes.split_first_chunk()?;
    let (low, high) = (u64::from_le_bytes(*low), u64::from_le_bytes(*rest.first_chunk()?));
    let (header, len) = if let Some((below, len)) = find_before(low, b':') {
        (by_words(lower(low) & below, 0, len), len)
    } else if let Some((below, len)) = find_before(high, b':') {
        (by_words(lower(low), lower(high) & below, 8 + len), 8 + len)
    } else {
        // the last word overlaps the one before
        let last = u64::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
        let is_longest = [low, high, last].map(lower) == LONGEST;
        return is_longest.then_some((Header::ProxyAuthorization, 19));
    };
    // neither a known name nor a token contains a line end
    let proper = header != Header::Other || is_token(bytes.get(..len)?);
    proper.then_some((header, len))
}

/// `Proxy-Authorization:` in lower case: bytes 0 to 7, 8 to 15 and 12 to 19.
const LONGEST: [u64; 3] = [
    u64::from_le_bytes(*b"proxy-au"),
    u64::from_le_bytes(*b"thorizat"),
    u64::from_le_bytes(*b"ization:"),
];

/// Full parser: the header and the length of any token name, with or without white space before the
/// colon.
fn field_name_full(raw: &[u8]) -> Option<(Header, usize)> {
    let (name, rest) = raw.split_at_checked(token_len(raw))?;
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let proper = !name.is_empty() && rest.get(spaces) == Some(&b':');
    proper.then(|| (Header::of(name), name.len()))
}

impl Header {
    /// Finds the header for a name in any case, long or compact.
    pub(crate) fn of(name: &[u8]) -> Header {
        let mut text = [0; 16];
        match text.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name),
            None if name.eq_ignore_ascii_case(b"Proxy-Authorization") => {
                return Header::ProxyAuthorization;
            }
            None => return Header::Other,
        }
        let [low, high] = words(&text);
        by_words(lower(low), lower(high), name.len())
    }
}

/// A lower-case name of at most 16 bytes.
#[derive(Clone, Copy)]
struct Word {
    low: u64,
    high: u64,
    /// Distinguishes a NUL in a name from padding.
    len: usize,
    header: Header,
}

/// All names and compact forms, each at index [`slot`].
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static WORDS: [Word; 32] = {
    let mut table = [Word { low: 0, high: 0, len: 0, header: Header::Other }; 32];
    let mut at = 0;
    while at < NAMES.len() {
        let (header, long, compact) = NAMES[at];
        let names = [long.as_bytes(), compact.as_bytes()];
        let mut which = 0;
        while which < names.len() {
            let name = names[which];
            if !name.is_empty() && name.len() <= 16 {
                let mut text = [0; 16];
                let mut byte = 0;
                while byte < name.len() {
                    text[byte] = name[byte].to_ascii_lowercase();
                    byte += 1;
                }
                let [low, high] = words(&text);
                let entry = &mut table[slot(low, high)];
                assert!(entry.len == 0, "two names in one slot: look for another multiplier");
                *entry = Word { low, high, len: name.len(), header };
            }
            which += 1;
        }
        at += 1;
    }
    table
};

/// Found by search: no two known names share a slot.
const MULTIPLIER: u64 = 0xcb03_be7f_c6ca_728d;

/// Perfect hash of the known names.
const fn slot(low: u64, high: u64) -> usize {
    ((low ^ high).wrapping_mul(MULTIPLIER) >> 59) as usize
}

/// The header with this lower-case name.
#[inline]
fn by_words(low: u64, high: u64, len: usize) -> Header {
    let same = |word: &&Word| word.low == low && word.high == high && word.len == len;
    WORDS.get(slot(low, high)).filter(same).map_or(Header::Other, |word| word.header)
}

/// Low and high eight bytes, in little-endian order.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
const fn words(text: &[u8; 16]) -> [u64; 2] {
    let word = u128::from_le_bytes(*text);
    [word as u64, (word >> 64) as u64]
}

/// The first defect in the line ends and characters of a field and its folds.
pub(super) fn flaw(raw: &[u8]) -> Option<Defect> {
    if raw.strip_suffix(b"\r\n").is_some_and(|text| controls(text) == 0) {
        return None;
    }
    flaws(raw).next()
}

/// The first defect of each line of a field and its folds.
pub(super) fn flaws(raw: &[u8]) -> impl Iterator<Item = Defect> {
    let lines = raw.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines.filter_map(|(at, line)| match line.strip_suffix(b"\r\n") {
        None => Some(Defect::LineEnd),
        Some(text) => text_flaw(text, at > 0),
    })
}

/// The first defect of each line of a text that is a part of a field and has no line end of its own:
/// a name, or a value with its folds. A line end that is not followed by a fold is a defect.
pub(super) fn part_flaws(part: &[u8]) -> impl Iterator<Item = Defect> {
    let last = part.split(|byte| *byte == b'\n').count() - 1;
    let lines = part.split(|byte| *byte == b'\n').enumerate();
    lines.filter_map(move |(at, line)| {
        let is_fold = at > 0;
        if is_fold && !matches!(line, [b' ' | b'\t', ..]) {
            return Some(Defect::LineEnd);
        }
        match line.strip_suffix(b"\r") {
            Some(text) if at < last => text_flaw(text, is_fold),
            None if at == last => text_flaw(line, is_fold),
            _ => Some(Defect::LineEnd),
        }
    })
}

/// The first defect of a line without its line end.
fn text_flaw(text: &[u8], is_fold: bool) -> Option<Defect> {
    if text.contains(&b'\r') {
        Some(Defect::LineEnd)
    } else if is_fold && is_blank(text) {
        Some(Defect::Fold)
    } else {
        (controls(text) > 0).then_some(Defect::Control)
    }
}

/// Whether a parser that takes control characters for white space would see an empty line.
fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte <= b' ' || *byte == 0x7f)
}

/// Number of control characters other than HTAB. Counts by chunk in `u8` sums that cannot overflow,
/// so that the compiler vectorises it.
pub(super) fn controls(text: &[u8]) -> usize {
    let control = |byte: u8| u8::from((byte < b' ' && byte != b'\t') | (byte == 0x7f));
    let count = |chunk: &[u8; 64]| {
        usize::from(chunk.iter().fold(0_u8, |count, byte| count.wrapping_add(control(*byte))))
    };
    let (chunks, rest) = text.as_chunks();
    let mut last = [b' '; 64];
    if let Some(start) = last.get_mut(..rest.len()) {
        start.copy_from_slice(rest);
    }
    chunks.iter().fold(count(&last), |sum, chunk| sum + count(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_indexed_by_discriminant() {
        for (at, (header, name, compact)) in NAMES.iter().enumerate() {
            assert_eq!(*header as usize, at);
            assert_eq!(Header::of(name.to_ascii_uppercase().as_bytes()), *header);
            assert!(compact.is_empty() || Header::of(compact.as_bytes()) == *header);
        }
        assert_eq!(Header::Other as usize, NAMES.len());
        assert_eq!((Header::of(b""), Header::of(b"k")), (Header::Other, Header::Other));
    }

    /// Replaces each byte of each name by every byte value; compares the word lookup with a
    /// bytewise one.
    #[test]
    fn word_comparison_equals_byte_comparison() {
        let names = NAMES.iter().flat_map(|(_, long, compact)| [*long, *compact]);
        for name in names.filter(|name| !name.is_empty()) {
            for (at, byte) in (0..name.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut text = name.as_bytes().to_vec();
                text[at] = byte;
                let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(&text);
                let entry = NAMES.iter().find(|entry| is(entry.1) || is(entry.2));
                let expected = entry.map_or(Header::Other, |entry| entry.0);
                assert_eq!(Header::of(&text), expected, "{}", text.escape_ascii());
                let line = [&text[..], b": some value\r\n more"].concat();
                let name = line.split(|byte| *byte == b':').next().unwrap();
                let header = if name.len() < text.len() { Header::of(name) } else { expected };
                let plain = is_token(name) && (name.len() < 16 || header != Header::Other);
                let read = field_name_fast(&line);
                assert_eq!(read, plain.then_some((header, name.len())), "{}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn every_control_character_counts_at_every_place() {
        for len in [1, 15, 16, 17, 100, 16 * 255 + 3] {
            for at in [0, len / 2, len - 1] {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    let counts = byte.is_ascii_control() && byte != b'\t';
                    assert_eq!(controls(&text), usize::from(counts), "{byte} at {at} of {len}");
                }
            }
            assert_eq!(controls(&vec![0; len]), len);
        }
    }
}
