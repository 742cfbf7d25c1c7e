//! Search in eight bytes of text at once, held in a word whose lowest byte is the first. For short
//! texts this is faster than a call of a general search.

/// A word in which every byte is `byte`.
#[inline(always)]
pub(crate) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Converts letters to lower case. Also changes some other bytes, but never into a letter, a digit
/// or a hyphen.
#[inline(always)]
pub(crate) const fn lower(word: u64) -> u64 {
    word | ((word & all(0x40)) >> 1)
}

/// The position of the first `byte`.
#[inline(always)]
pub(crate) fn find(word: u64, byte: u8) -> Option<usize> {
    let marks = marks(word, byte);
    if marks == 0 { None } else { usize::try_from(marks.trailing_zeros() / 8).ok() }
}

/// A mask of the bytes before the first `byte`, and the position of that byte.
#[inline(always)]
pub(crate) fn find_before(word: u64, byte: u8) -> Option<(u64, usize)> {
    let marks = marks(word, byte);
    let before = (marks ^ marks.wrapping_sub(1)) >> 8;
    if marks == 0 {
        None
    } else {
        Some((before, usize::try_from(marks.trailing_zeros() / 8).ok()?))
    }
}

/// Marks each byte that equals `byte`. The lowest mark is exact; a borrow can set false marks above
/// it.
#[inline(always)]
const fn marks(word: u64, byte: u8) -> u64 {
    let zero_where_found = word ^ all(byte);
    zero_where_found.wrapping_sub(all(1)) & !zero_where_found & all(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places the byte and a second byte of any value at every pair of positions, among fillers
    /// that are close to the byte.
    #[test]
    fn the_first_byte_is_found() {
        for byte in *b"\",:=" {
            for filler in [b'a', 0, 0xff, byte ^ 1, byte ^ 0x80, byte + 1, byte - 1] {
                for (at, other) in (0..8).flat_map(|at| (0..8).map(move |other| (at, other))) {
                    for value in 0..=u8::MAX {
                        let mut text = [filler; 8];
                        (text[at], text[other]) = (byte, value);
                        let expected = text.iter().position(|it| *it == byte);
                        let word = u64::from_le_bytes(text);
                        assert_eq!(find(word, byte), expected, "{}", text.escape_ascii());
                        let before = expected.map(|at| ((1_u64 << (8 * at)).wrapping_sub(1), at));
                        assert_eq!(find_before(word, byte), before, "{}", text.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn letters_become_lower_case_and_no_other_byte_becomes_a_letter_digit_or_hyphen() {
        for byte in 0..=u8::MAX {
            let [lowered, ..] = lower(all(byte)).to_le_bytes();
            assert_eq!(lower(all(byte)), all(lowered));
            let is_kept = lowered.is_ascii_alphanumeric() || lowered == b'-';
            let expected = byte.to_ascii_lowercase();
            assert!(lowered == expected || !is_kept, "{}", byte.escape_ascii());
        }
    }
}
