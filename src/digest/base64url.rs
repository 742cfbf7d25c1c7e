//! 16 bytes as 22 characters of base64url without padding (RFC 4648 §5), the form of a nonce. Of a
//! length that never changes, so it costs a fraction of what a general decoder does.

use arrayvec::ArrayString;

/// The length in characters.
pub(super) const LEN: usize = 22;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Stands for a byte that is not of the alphabet.
const OTHER: u8 = 0xff;

/// The six bits of each byte.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static VALUES: [u8; 256] = {
    let mut values = [OTHER; 256];
    let mut value = 0_u8;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The characters, of which the last holds two bits only.
pub(super) fn encode(bytes: &[u8; 16]) -> ArrayString<LEN> {
    let number = u128::from_be_bytes(*bytes);
    let mut text = ArrayString::new();
    for at in 0..LEN {
        // six bits from the top, the last ones with four zero bits behind them
        let six = (number << (6 * at) >> 122) & 63;
        let byte = ALPHABET.get(six as usize).copied().unwrap_or_default();
        text.push(char::from(byte));
    }
    text
}

/// The bytes that exactly 22 characters stand for; none if one is not of the alphabet, or if the
/// four bits that nothing needs are not zero.
#[inline]
pub(super) fn decode(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let (mut number, mut seen) = (0_u64, 0);
    let mut take = |part: &[u8]| {
        number = 0;
        for byte in part {
            let value = VALUES.get(usize::from(*byte)).copied().unwrap_or(OTHER);
            seen |= value;
            // more than six bits are seen below
            number = number << 6 | u64::from(value);
        }
        number
    };
    let (first, rest) = text.split_at(10);
    let (second, last) = rest.split_at(10);
    let [high, middle, low] = [first, second, last].map(&mut take);
    if seen > 63 || low & 15 != 0 {
        return None;
    }
    let number = u128::from(high) << 68 | u128::from(middle) << 8 | u128::from(low >> 4);
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_general_encoder(bytes: [u8; 16]) {
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(encode(&bytes).as_str() == text);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }

        #[test]
        fn takes_what_a_general_decoder_takes(
            text in proptest::collection::vec(any::<u8>(), 20..25),
            good: [u8; 16],
            at in 0_usize..22,
            byte: u8,
        ) {
            let general = |text: &[u8]| {
                URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
            };
            prop_assert_eq!(decode(&text), general(&text));
            let mut changed = encode(&good).as_bytes().to_vec();
            changed[at] = byte;
            prop_assert_eq!(decode(&changed), general(&changed));
            changed.push(b'A');
            prop_assert_eq!(decode(&changed), None);
        }
    }
}
