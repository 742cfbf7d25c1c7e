//! Times of records in the time zone of the user.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time (RFC 3339) as local date and time with milliseconds. Another text stays as it is.
pub(crate) fn local(time: &str) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%S%.3f", TimeZone::system())
}

/// A time (RFC 3339) as local date and time with milliseconds and the offset from UTC.
pub(crate) fn local_with_offset(time: &str) -> String {
    formatted(time, "%Y-%m-%d %H:%M:%S%.3f %:z", TimeZone::system())
}

fn formatted(time: &str, format: &str, zone: TimeZone) -> String {
    match time.parse::<Timestamp>() {
        Ok(read) => read.to_zoned(zone).strftime(format).to_string(),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_its_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let format = "%Y-%m-%d %H:%M:%S%.3f %:z";
        let shown = |time| formatted(time, format, zone.clone());
        assert_eq!(shown("2026-11-29T23:03:07.123456Z"), "2026-11-30 01:03:07.123 +02:00");
        assert_eq!(shown("2026-11-29T23:03:07Z"), "2026-11-30 01:03:07.000 +02:00");
        assert_eq!(shown("later"), "later");
    }
}
