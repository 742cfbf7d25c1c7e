//! Numbers, times and words of decisions.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use sip_authz::Cause;
use sip_authz_rest::decisions::{DecisionRecord, Outcome};

/// A number with separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An age in words.
pub(crate) fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", grouped(seconds / 3_600)),
    }
}

/// A time as a page shows it without the script, and for the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// RFC 3339.
    pub(crate) exact: String,
    /// The time of day in UTC.
    pub(crate) clock: String,
}

/// The time of a record.
pub(crate) fn time(exact: &str) -> Time {
    let clock = exact.parse::<Timestamp>().ok().and_then(|at| strtime::format("%H:%M:%S", at).ok());
    Time { exact: exact.to_owned(), clock: clock.unwrap_or_else(|| exact.to_owned()) }
}

/// The date and time of a stored second; empty if it is unknown.
pub(crate) fn date(unix: u64) -> String {
    let seconds = i64::try_from(unix).ok().filter(|seconds| *seconds > 0);
    let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.and_then(|at| strtime::format("%Y-%m-%dT%H:%M:%SZ", at).ok()).unwrap_or_default()
}

/// An outcome in a word, with its sign and its class in the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) word: &'static str,
    pub(crate) sign: &'static str,
    pub(crate) class: &'static str,
}

/// Whether a message was refused: the same messages as those of the filter.
pub(crate) fn is_refused(record: &DecisionRecord) -> bool {
    Outcome::Refused.selects(record)
}

/// The word for the outcome of a record.
pub(crate) fn outcome(record: &DecisionRecord) -> Word {
    if is_refused(record) { decided("reject") } else { decided(&record.outcome) }
}

/// The word for the outcome of a decision.
pub(crate) fn decided(outcome: &str) -> Word {
    let (word, sign, class) = match outcome {
        "accept" => ("accepted", "\u{2713}", "good"),
        "challenge" => ("challenged", "?", "quiet"),
        "reject" => ("refused", "\u{2717}", "bad"),
        "answered" => ("answered", "\u{2022}", "quiet"),
        _ => ("other", "\u{2022}", "quiet"),
    };
    Word { word, sign, class }
}

/// The cause of a record in words, for a row: short, without the advice.
pub(crate) fn why(record: &DecisionRecord) -> String {
    if record.outcome == "accept" { String::new() } else { record.cause_in_words().meaning }
}

/// The answer to the caller: status and phrase.
pub(crate) fn answer(record: &DecisionRecord) -> String {
    let phrase = |status: u16| match status {
        100 => "Trying",
        200 => "OK",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        603 => "Decline",
        _ => "",
    };
    match (record.status, record.outcome.as_str()) {
        (Some(status), _) => format!("{status} {}", phrase(status)).trim_end().to_owned(),
        (None, "dropped") => "none: the message was dropped".to_owned(),
        (None, "accept") => "that of the next hop or of the policy".to_owned(),
        (None, _) => record.reason.clone(),
    }
}

/// The address of a source without its port.
pub(crate) fn address_of(source: &str) -> &str {
    match source.parse::<std::net::SocketAddr>() {
        Ok(_) => {
            source.rsplit_once(':').map_or(source, |(address, _)| address.trim_matches(['[', ']']))
        }
        Err(_) => source,
    }
}

/// Whether the caller learns less than the operator: one public reason stands for several causes.
pub(crate) fn is_hidden(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::UserUnknown
            | Cause::UserDisabled
            | Cause::HashMissing
            | Cause::WrongPassword
            | Cause::GuessLimit
            | Cause::GuessLimitOfName
            | Cause::GuessLimitOfSource
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ages_and_addresses() {
        assert_eq!(
            [0, 999, 1_000, 18_204, 1_234_567].map(grouped),
            ["0", "999", "1,000", "18,204", "1,234,567"]
        );
        let words = [2, 119, 120, 7_200].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(words, ["2 s ago", "119 s ago", "2 min ago", "2 h ago"]);
        assert_eq!(address_of("192.0.2.7:5060"), "192.0.2.7");
        assert_eq!(address_of("[2001:db8::1]:5060"), "2001:db8::1");
        assert_eq!((address_of("2001:db8::1"), address_of("<b>")), ("2001:db8::1", "<b>"));
    }

    #[test]
    fn times_have_a_clock() {
        let read = time("2026-11-29T14:03:12.5Z");
        assert_eq!(
            (read.clock.as_str(), read.exact.as_str()),
            ("14:03:12", "2026-11-29T14:03:12.5Z")
        );
        assert_eq!(time("<b>").clock, "<b>");
        assert_eq!((date(0).as_str(), date(1_524_866_531).as_str()), ("", "2018-04-27T22:02:11Z"));
    }
}
