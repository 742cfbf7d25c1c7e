//! Eight bytes of text at once, as a word: the first byte is the lowest. For short texts, where a call
//! of a search made for long ones costs more than the search.

/// `byte` in every place.
#[inline(always)]
pub(crate) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Letters in lower case. Some other bytes change too, but none of them into a letter, a digit or a
/// hyphen.
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

/// The bits of the bytes before the first `byte`, and its position.
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

/// A bit in each byte that is `byte`. The lowest is right; a borrow can set others above it.
#[inline(always)]
const fn marks(word: u64, byte: u8) -> u64 {
    let zero_where_found = word ^ all(byte);
    zero_where_found.wrapping_sub(all(1)) & !zero_where_found & all(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bytes of a word take every value, at every two positions, beside neighbours of the byte
    /// that is looked for.
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
    fn letters_become_lower_case_and_nothing_becomes_a_letter_a_digit_or_a_hyphen() {
        for byte in 0..=u8::MAX {
            let [lowered, ..] = lower(all(byte)).to_le_bytes();
            assert_eq!(lower(all(byte)), all(lowered));
            let is_kept = lowered.is_ascii_alphanumeric() || lowered == b'-';
            let expected = byte.to_ascii_lowercase();
            assert!(lowered == expected || !is_kept, "{}", byte.escape_ascii());
        }
    }
}
