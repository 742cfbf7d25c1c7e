//! Writes values into a message.

/// Whether a value can be echoed in a header field: no control characters except HTAB and folds.
pub(crate) fn is_echoable(value: &[u8]) -> bool {
    // the common case has no control characters; without an early exit the loop is vectorised
    let control = |byte: u8| (byte < b' ') | (byte == 0x7f);
    if !value.iter().fold(false, |found, byte| found | control(*byte)) {
        return true;
    }
    let mut rest = value;
    loop {
        rest = match rest {
            [] => return true,
            [b'\r', b'\n', b' ' | b'\t', after @ ..] | [b'\t', after @ ..] => after,
            [byte, ..] if byte.is_ascii_control() => return false,
            [_, after @ ..] => after,
        }
    }
}

/// Writes a value on one line: removes the line ends of folds and keeps the space after them.
pub(crate) fn put_unfolded(value: &[u8], out: &mut Vec<u8>) {
    let line_end = |byte: u8| (byte == b'\r') | (byte == b'\n');
    if !value.iter().fold(false, |found, byte| found | line_end(*byte)) {
        return out.extend_from_slice(value);
    }
    out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
}

/// Writes a number in decimal.
pub(crate) fn put_number(number: u16, out: &mut Vec<u8>) {
    let digit = |unit: u16| u8::try_from(number / unit % 10).map_or(b'0', |digit| b'0' + digit);
    let units = [10_000, 1_000, 100, 10, 1].into_iter();
    out.extend(units.skip_while(|unit| *unit > 1 && number < *unit).map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_equal_their_display() {
        for number in 0..=u16::MAX {
            let mut out = Vec::new();
            put_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
