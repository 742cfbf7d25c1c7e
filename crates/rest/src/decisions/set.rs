//! Reads the fields of a filter from the texts of query parameters.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sip_authz::{DomainSid, TrunkSid};

use super::{Filter, Outcome};
use crate::error::excerpt;

/// The longest text to compare with, in bytes.
const MAX_TEXT: usize = 255;

const DAY_MICROS: i64 = 86_400_000_000;
const SECOND_MICROS: i64 = 1_000_000;

const TIME: &str =
    "a date such as 2026-11-22 or a time such as 2026-11-22T14:03:00Z (RFC 3339; write `+` as %2B)";

/// A query parameter of a filter is invalid. The text names the parameter and the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} must be {expected}, got `{found}`")]
pub struct FilterError {
    parameter: &'static str,
    expected: &'static str,
    found: String,
}

impl FilterError {
    /// The name of the parameter.
    #[must_use]
    pub const fn parameter(&self) -> &'static str {
        self.parameter
    }
}

impl Filter {
    /// The names of the query parameters.
    pub const PARAMETERS: [&'static str; 8] =
        ["Domain", "User", "Source", "Outcome", "Reason", "CallId", "Since", "Until"];

    /// Sets the field of a query parameter from its text; an empty text clears it. Returns whether a field
    /// has this parameter.
    ///
    /// # Errors
    ///
    /// The text does not have the form of the parameter.
    pub fn set(&mut self, parameter: &str, text: &str) -> Result<bool, FilterError> {
        let value = Some(text).filter(|text| !text.is_empty());
        match parameter {
            "Domain" => self.domain = value.map(domain).transpose()?,
            "User" => self.user = value.map(|text| line("User", text)).transpose()?,
            "Reason" => self.reason = value.map(|text| line("Reason", text)).transpose()?,
            "CallId" => self.call_id = value.map(|text| line("CallId", text)).transpose()?,
            "Source" => {
                let expected = "an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32";
                let read = |text: &str| text.parse().map_err(|_| wrong("Source", expected, text));
                self.source = value.map(read).transpose()?;
            }
            "Outcome" => self.outcome = value.map(outcome).transpose()?,
            "Since" => self.since = value.map(|text| start("Since", text)).transpose()?,
            "Until" => self.until = value.map(|text| end("Until", text)).transpose()?,
            _ => return Ok(false),
        }
        let span = self.since.zip(self.until);
        if parameter == "Since" && span.is_some_and(|(since, until)| since > until) {
            return Err(wrong("Since", "no later than Until", text));
        }
        if parameter == "Until" && span.is_some_and(|(since, until)| since > until) {
            return Err(wrong("Until", "no earlier than Since", text));
        }
        Ok(true)
    }
}

fn wrong(parameter: &'static str, expected: &'static str, found: &str) -> FilterError {
    FilterError { parameter, expected, found: excerpt(found) }
}

/// A host name, an address or a SID.
fn domain(text: &str) -> Result<String, FilterError> {
    if let Ok(sid) = text.parse::<DomainSid>() {
        return Ok(sid.to_string());
    }
    if let Ok(sid) = text.parse::<TrunkSid>() {
        return Ok(sid.to_string());
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if text.len() > MAX_TEXT || !text.chars().all(is_host) {
        let expected = "a host name, an address, or the SID of a domain or trunk";
        return Err(wrong("Domain", expected, text));
    }
    Ok(text.to_owned())
}

fn line(parameter: &'static str, text: &str) -> Result<String, FilterError> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        let expected = "a text of at most 255 bytes without control characters";
        return Err(wrong(parameter, expected, text));
    }
    Ok(text.to_owned())
}

fn outcome(text: &str) -> Result<Outcome, FilterError> {
    let known = Outcome::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| wrong("Outcome", "accept, challenge, reject, refused or alert", text))
}

/// The first moment of a date, or a time.
pub(super) fn start(parameter: &'static str, text: &str) -> Result<SystemTime, FilterError> {
    let time = date(text).or_else(|| text.parse().ok()).map(SystemTime::from);
    time.ok_or_else(|| wrong(parameter, TIME, text))
}

/// The last microsecond of a date, or of a second without a fraction.
pub(super) fn end(parameter: &'static str, text: &str) -> Result<SystemTime, FilterError> {
    let (time, length) = match date(text) {
        Some(date) => (Some(date), DAY_MICROS),
        None if text.contains('.') => (text.parse::<Timestamp>().ok(), 1),
        None => (text.parse::<Timestamp>().ok(), SECOND_MICROS),
    };
    let last = time.map(|time| time.as_microsecond().saturating_add(length - 1));
    let last = last.and_then(|last| Timestamp::from_microsecond(last).ok());
    last.map(SystemTime::from).ok_or_else(|| wrong(parameter, TIME, text))
}

/// The start of a date (UTC).
fn date(text: &str) -> Option<Timestamp> {
    if text.len() != "2026-11-22".len() {
        return None;
    }
    let midnight = text.parse::<Date>().ok()?.at(0, 0, 0, 0);
    TimeZone::UTC.to_timestamp(midnight).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(parameter: &str, text: &str) -> Result<Filter, String> {
        let mut filter = Filter::default();
        let known = filter.set(parameter, text).map_err(|error| error.to_string())?;
        assert!(known, "{parameter}");
        Ok(filter)
    }

    #[test]
    fn each_parameter_is_read_and_written() {
        for (parameter, text, written) in [
            ("Domain", "SIP.example.com", "SIP.example.com"),
            ("Domain", "SD0123456789ABCDEF0123456789ABCDEF", "SD0123456789abcdef0123456789abcdef"),
            ("Domain", "[2001:db8::1]", "%5B2001:db8::1%5D"),
            ("User", "a b+c", "a%20b%2Bc"),
            ("Source", "192.0.2.7", "192.0.2.7%2F32"),
            ("Source", "192.0.2.0/255.255.255.0", "192.0.2.0%2F24"),
            ("Outcome", "alert", "alert"),
            ("Reason", "wrong-credentials", "wrong-credentials"),
            ("CallId", "7f3a@host", "7f3a%40host"),
            ("Since", "2026-11-22", "2026-11-22T00:00:00.000000Z"),
            ("Since", "2026-11-22T06:00:00+01:00", "2026-11-22T05:00:00.000000Z"),
            ("Until", "2026-11-22", "2026-11-22T23:59:59.999999Z"),
            ("Until", "2026-11-22T05:00:00Z", "2026-11-22T05:00:00.999999Z"),
            ("Until", "2026-11-22T05:00:00.5Z", "2026-11-22T05:00:00.500000Z"),
        ] {
            let filter = set(parameter, text).unwrap();
            assert_eq!(filter.query(), format!("{parameter}={written}"));
        }
        for parameter in Filter::PARAMETERS {
            assert_eq!(set(parameter, ""), Ok(Filter::default()), "{parameter}");
        }
        assert_eq!(Filter::default().set("PageSize", "3"), Ok(false));
    }

    #[test]
    fn a_wrong_text_names_its_parameter_and_the_form() {
        let long = "x".repeat(256);
        for (parameter, text, form) in [
            ("Domain", "a b", "a host name"),
            ("Domain", "a/b", "SID of a domain"),
            ("Domain", &long, "a host name"),
            ("User", "a\nb", "without control characters"),
            ("User", &long, "at most 255 bytes"),
            ("Source", "192.0.2", "192.0.2.0/24"),
            ("Source", "192.0.2.7:5060", "192.0.2.0/24"),
            ("Source", "192.0.2.7/24", "a prefix"),
            ("Outcome", "Accept", "accept, challenge, reject, refused or alert"),
            ("Reason", "\u{7}", "without control characters"),
            ("CallId", &long, "at most 255 bytes"),
            ("Since", "yesterday", "2026-11-22"),
            ("Since", "2026-13-01", "a date"),
            ("Since", "2026-11-22T05:00:00", "Z"),
            ("Since", "1795324811", "a date"),
            ("Until", "2026-11-22T06:00:00 01:00", "%2B"),
            ("Until", "9999-12-31T23:59:59Z", "a date"),
        ] {
            let error = set(parameter, text).unwrap_err();
            assert!(error.starts_with(&format!("{parameter} must be ")), "{error}");
            assert!(error.contains(form), "{error}");
            assert!(error.len() < 200 && !error.chars().any(char::is_control), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_the_same(
            at in 0..Filter::PARAMETERS.len(),
            text in "\\PC{0,20}|[0-9:.TZ+-]{4,25}|[0-9a-f:./]{2,20}",
        ) {
            let parameter = Filter::PARAMETERS[at];
            let Ok(filter) = set(parameter, &text) else { return Ok(()) };
            let written = filter.query();
            let Some((name, value)) = written.split_once('=') else {
                proptest::prop_assert_eq!(text, "");
                return Ok(());
            };
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            proptest::prop_assert_eq!(name, parameter);
            proptest::prop_assert_eq!(set(parameter, &value), Ok(filter));
        }
    }

    #[test]
    fn since_stands_before_until() {
        let mut filter = set("Until", "2026-11-22").unwrap();
        assert_eq!(filter.set("Since", "2026-11-22T23:00:00Z"), Ok(true));
        let mut later = filter.clone();
        let error = later.set("Since", "2026-11-23").unwrap_err();
        assert_eq!(error.to_string(), "Since must be no later than Until, got `2026-11-23`");
        let error = filter.set("Until", "2026-11-21").unwrap_err();
        assert_eq!(error.to_string(), "Until must be no earlier than Since, got `2026-11-21`");
    }
}
