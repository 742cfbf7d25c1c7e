//! The times of decisions: microseconds since 1970, and their text.

use std::time::SystemTime;

use jiff::Timestamp;

/// A time in microseconds since 1970; 0 for an earlier time.
#[must_use]
pub fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A time in microseconds since 1970 as text (RFC 3339, UTC), always with six digits after the second, so that
/// texts sort by time. A time after the year 9999 gives the last one of that year.
#[must_use]
pub fn rfc3339(micros: u64) -> String {
    let time = i64::try_from(micros).ok().and_then(|it| Timestamp::from_microsecond(it).ok());
    format!("{:.6}", time.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn texts_have_six_digits_and_sort_by_time() {
        let times = [0, 1, 999_999, 1_000_000, 1_000_010, 1_900_000_000_000_000];
        let texts = times.map(rfc3339);
        assert_eq!(texts[0], "1970-01-01T00:00:00.000000Z");
        assert_eq!(texts[4], "1970-01-01T00:00:01.000010Z");
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == texts[0].len()));
        for (micros, text) in times.into_iter().zip(&texts) {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(self::micros(SystemTime::from(time)), micros);
        }
        assert!(rfc3339(u64::MAX).starts_with("9999-12-30T"), "{}", rfc3339(u64::MAX));
        assert_eq!(micros(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
