//! The two date formats. A time of 0 is unknown and becomes `null`.

use jiff::Timestamp;
use jiff::fmt::strtime;

/// The date format of 2010-04-01: `Thu, 30 Jul 2015 20:00:00 +0000`.
pub(super) fn rfc2822(unix: u64) -> Option<String> {
    formatted("%a, %d %b %Y %H:%M:%S +0000", unix)
}

/// The date format of the other APIs: `2018-04-27T22:02:11Z`, without a fraction.
pub(super) fn iso8601(unix: u64) -> Option<String> {
    formatted("%Y-%m-%dT%H:%M:%SZ", unix)
}

fn formatted(format: &str, unix: u64) -> Option<String> {
    let seconds = i64::try_from(unix).ok().filter(|seconds| *seconds > 0)?;
    strtime::format(format, Timestamp::from_second(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_formats_of_the_reference() {
        assert_eq!(rfc2822(1_438_286_400).as_deref(), Some("Thu, 30 Jul 2015 20:00:00 +0000"));
        assert_eq!(rfc2822(1_709_164_805).as_deref(), Some("Thu, 29 Feb 2024 00:00:05 +0000"));
        assert_eq!(iso8601(1_524_866_531).as_deref(), Some("2018-04-27T22:02:11Z"));
        for unknown in [0, u64::MAX] {
            assert_eq!((rfc2822(unknown), iso8601(unknown)), (None, None));
        }
    }
}
