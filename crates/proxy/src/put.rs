//! Writes values into a message.

use std::io::Write as _;
use std::net::IpAddr;

/// Writes a value on one line: removes all control characters except HTAB, among them the line ends of
/// folds. The space after a fold stays.
pub fn put_line(value: &[u8], out: &mut Vec<u8>) {
    // the common case has none; without an early exit the loop is vectorised
    if !value.iter().fold(false, |found, byte| found | is_removed(*byte)) {
        return out.extend_from_slice(value);
    }
    out.extend(value.iter().filter(|byte| !is_removed(**byte)));
}

/// Whether [`put_line`] removes a byte.
#[must_use]
pub fn is_removed(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
}

/// Writes a number in decimal.
pub fn put_number(number: u16, out: &mut Vec<u8>) {
    let digit = |unit: u16| u8::try_from(number / unit % 10).map_or(b'0', |digit| b'0' + digit);
    let units = [10_000, 1_000, 100, 10, 1].into_iter();
    out.extend(units.skip_while(|unit| *unit > 1 && number < *unit).map(digit));
}

/// Writes an IP address.
pub fn put_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        // the usual kind, without the detour of formatting
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                put_number(octet.into(), out);
            }
        }
        IpAddr::V6(ip) => {
            // writing to a Vec does not fail
            let _ = write!(out, "{ip}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_on_one_line() {
        for (value, expected) in [
            ("", ""),
            ("a b\tc", "a b\tc"),
            ("a\r\n b\r\n\tc", "a b\tc"),
            ("a\rX: y\nZ: \r\nQ", "aX: yZ: Q"),
            ("\0a\u{1f}\u{7f}é\u{1}", "aé"),
        ] {
            let mut out = Vec::new();
            put_line(value.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_equal_their_display() {
        for number in 0..=u16::MAX {
            let mut out = Vec::new();
            put_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn addresses_equal_their_display() {
        for text in
            ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "::ffff:192.0.2.1"]
        {
            let (ip, mut out) = (text.parse::<IpAddr>().unwrap(), Vec::new());
            put_ip(ip, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
