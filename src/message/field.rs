//! Lines, header fields and their names. What is there in every message is told by whole words and
//! chunks of bytes; what is rare is looked at byte by byte.

use memchr::memchr;

use super::{Defect, Field, Header, NAMES, is_token, token_len, trim};
use crate::words::{find_before, lower};

/// Up to and with the first LF, and what follows it.
pub(super) fn take_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(memchr(b'\n', bytes)? + 1)
}

/// Where a field ends.
pub(super) struct Extent<'a> {
    /// The field with its folds and its line end.
    pub(super) raw: &'a [u8],
    /// What follows it.
    pub(super) rest: &'a [u8],
    /// How many lines it goes on for.
    pub(super) folds: usize,
}

/// The field that starts `bytes`. None if a line of it is cut off.
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

/// The length of the blank line that starts `bytes`, if one does; 1 is a bare LF.
pub(super) fn blank_line(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

/// Name and value of the field that is the first `len` of `bytes`; None if it has no colon or no
/// proper name.
#[inline]
pub(super) fn field(bytes: &[u8], len: usize) -> Option<Field<'_>> {
    let raw = bytes.get(..len)?;
    let (header, name) = plain_name(bytes).or_else(|| any_name(raw))?;
    let (name, behind) = raw.split_at_checked(name)?;
    let value = match behind {
        // as nearly all are written
        [b':', b' ', value @ .., b'\r', b'\n'] if is_trimmed(value) => value,
        [b':', value @ ..] => trim(value),
        _ => trim(trim(behind).strip_prefix(b":")?),
    };
    Some(Field { header, name, value })
}

/// Whether the text has something other than white space at both ends.
fn is_trimmed(text: &[u8]) -> bool {
    matches!((text.first(), text.last()), (Some(b'!'..), Some(b'!'..)))
}

/// The header that `bytes` start with and the length of its name, if the name is a token of less
/// than 16 bytes, or the longest of those known, and the colon follows directly.
#[inline]
fn plain_name(bytes: &[u8]) -> Option<(Header, usize)> {
    let (low, rest) = bytes.split_first_chunk()?;
    let (low, high) = (u64::from_le_bytes(*low), u64::from_le_bytes(*rest.first_chunk()?));
    let (header, len) = if let Some((below, len)) = find_before(low, b':') {
        (by_words(lower(low) & below, 0, len), len)
    } else if let Some((below, len)) = find_before(high, b':') {
        (by_words(lower(low), lower(high) & below, 8 + len), 8 + len)
    } else {
        let longest = b"Proxy-Authorization:";
        let is_longest = bytes.get(..longest.len())?.eq_ignore_ascii_case(longest);
        return is_longest.then_some((Header::ProxyAuthorization, longest.len() - 1));
    };
    // a known name has no line end in it; what is a token has none either
    let proper = header != Header::Other || is_token(bytes.get(..len)?);
    proper.then_some((header, len))
}

/// The header and the length of any name that is a token with a colon after it, white space between
/// them or not.
fn any_name(raw: &[u8]) -> Option<(Header, usize)> {
    let (name, rest) = raw.split_at_checked(token_len(raw))?;
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let proper = !name.is_empty() && rest.get(spaces) == Some(&b':');
    proper.then(|| (Header::of(name), name.len()))
}

impl Header {
    /// The header of a name in any case, long or compact.
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

/// A name of at most 16 bytes in lower case.
#[derive(Clone, Copy)]
struct Word {
    low: u64,
    high: u64,
    /// Tells a NUL at the end of a name from what is not there.
    len: usize,
    header: Header,
}

/// Names and compact forms as words, each at its [`slot`].
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

/// Found by trial: no two known names share a slot.
const MULTIPLIER: u64 = 0xcb03_be7f_c6ca_728d;

/// A hash without collisions among the known names.
const fn slot(low: u64, high: u64) -> usize {
    ((low ^ high).wrapping_mul(MULTIPLIER) >> 59) as usize
}

/// The header whose name these are.
#[inline]
fn by_words(low: u64, high: u64, len: usize) -> Header {
    let same = |word: &&Word| word.low == low && word.high == high && word.len == len;
    WORDS.get(slot(low, high)).filter(same).map_or(Header::Other, |word| word.header)
}

/// The first and the last eight bytes; the lowest byte is the first.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
const fn words(text: &[u8; 16]) -> [u64; 2] {
    let word = u128::from_le_bytes(*text);
    [word as u64, (word >> 64) as u64]
}

/// What is wrong with the line ends and characters of a line and its folds.
pub(super) fn flaw(raw: &[u8]) -> Option<Defect> {
    if raw.strip_suffix(b"\r\n").is_some_and(|text| controls(text) == 0) {
        return None;
    }
    for (at, line) in raw.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match line.strip_suffix(b"\r\n") {
            None => return Some(Defect::LineEnd),
            Some(text) if text.contains(&b'\r') => return Some(Defect::LineEnd),
            Some(text) if controls(text) > 0 => return Some(Defect::Control),
            Some(text) if at > 0 && trim(text).is_empty() => return Some(Defect::Fold),
            Some(_) => {}
        }
    }
    None
}

/// How many control characters there are other than HTAB. Counted by whole chunks, in bytes that
/// cannot overflow: this way it is vectorised.
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
    fn names_stand_at_their_discriminants() {
        for (at, (header, name, compact)) in NAMES.iter().enumerate() {
            assert_eq!(*header as usize, at);
            assert_eq!(Header::of(name.to_ascii_uppercase().as_bytes()), *header);
            assert!(compact.is_empty() || Header::of(compact.as_bytes()) == *header);
        }
        assert_eq!(Header::Other as usize, NAMES.len());
        assert_eq!((Header::of(b""), Header::of(b"k")), (Header::Other, Header::Other));
    }

    /// Each name with each byte of it replaced by each byte there is: the same by whole words, by
    /// single bytes, and by the library's own comparison.
    #[test]
    fn words_are_compared_as_bytes_are() {
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
                let read = plain_name(&line);
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
