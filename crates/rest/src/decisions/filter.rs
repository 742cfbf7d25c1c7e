//! Selections of decisions: the query parameters that name them, and the records that they select.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sip_authz::acl::Prefix;

use super::{DecisionRecord, micros, rfc3339};

/// The characters of a query parameter that need no escape.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A selection of decisions. Every field that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// A host, compared without case, or the SID of a domain or trunk.
    pub domain: Option<String>,
    /// A user name that was proved or claimed, compared whole and by case.
    pub user: Option<String>,
    /// The prefix of the source address.
    pub source: Option<Prefix>,
    /// An outcome.
    pub outcome: Option<Outcome>,
    /// The text of a reason or of an internal cause.
    pub reason: Option<String>,
    /// A Call-ID, compared whole. A long one is kept shortened, and compared as far as it is kept.
    pub call_id: Option<String>,
    /// The earliest time.
    pub since: Option<SystemTime>,
    /// The latest time.
    pub until: Option<SystemTime>,
}

/// The outcome that a [`Filter`] selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request was admitted.
    Accept,
    /// The request was challenged.
    Challenge,
    /// The request was rejected by a decision.
    Reject,
    /// Every message that was rejected, or answered with an error without a decision, or dropped.
    Refused,
    /// The request was rejected for a reason with a code of Twilio's numbering, so it is an alert.
    Alert,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Accept, Self::Challenge, Self::Reject, Self::Refused, Self::Alert];

    /// The value of the query parameter `Outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Challenge => "challenge",
            Self::Reject => "reject",
            Self::Refused => "refused",
            Self::Alert => "alert",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Filter {
    /// The query parameters of this filter, without a leading `?`. Empty if it selects everything.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let separator = if query.is_empty() { "" } else { "&" };
                let value = encoded(value);
                // writing into a text does not fail
                let _ = write!(query, "{separator}{name}={value}");
            }
        };
        let text = |time: SystemTime| rfc3339(micros(time));
        let (since, until) = (self.since.map(text), self.until.map(text));
        add("Domain", self.domain.as_deref());
        add("User", self.user.as_deref());
        add("Source", self.source.map(|prefix| prefix.to_string()).as_deref());
        add("Outcome", self.outcome.map(Outcome::as_str));
        add("Reason", self.reason.as_deref());
        add("CallId", self.call_id.as_deref());
        add("Since", since.as_deref());
        add("Until", until.as_deref());
        query
    }

    /// Whether the filter selects this record. This defines the meaning of each field.
    #[must_use]
    pub fn selects(&self, record: &DecisionRecord) -> bool {
        fn every(wanted: Option<&str>, fits: impl Fn(&str) -> bool) -> bool {
            wanted.is_none_or(fits)
        }
        let is = |field: &Option<String>, wanted: &str| field.as_deref() == Some(wanted);
        // a text that is kept shortened is compared as far as it is kept
        let kept = |name: &str, field: &Option<String>, wanted: &str| match field {
            Some(kept) if record.shortened.iter().any(|known| known == name) => {
                wanted.len() > kept.len() && wanted.starts_with(kept)
            }
            field => is(field, wanted),
        };
        let in_case = |field: &Option<String>, wanted: &str| {
            field.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(wanted))
        };
        every(self.domain.as_deref(), |domain| {
            let host = record.host.as_deref().map(str::to_ascii_lowercase);
            in_case(&record.target, domain)
                || in_case(&record.name, domain)
                || kept("host", &host, &domain.to_ascii_lowercase())
        }) && every(self.user.as_deref(), |user| {
            is(&record.username, user) || kept("claimed_user", &record.claimed_user, user)
        }) && every(self.reason.as_deref(), |reason| {
            record.reason == reason || is(&record.cause, reason)
        }) && every(self.call_id.as_deref(), |id| kept("call_id", &record.call_id, id))
            && self.source.is_none_or(|prefix| {
                record.source_address().is_some_and(|source| prefix.contains(source.ip()))
            })
            && self.outcome.is_none_or(|outcome| outcome.selects(record))
            && self.selects_time(record)
    }

    fn selects_time(&self, record: &DecisionRecord) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        record.micros().is_some_and(|made| {
            self.since.is_none_or(|since| micros(since) <= made)
                && self.until.is_none_or(|until| made <= micros(until))
        })
    }
}

impl Outcome {
    /// Whether a record has this outcome. This defines the meaning of each outcome.
    #[must_use]
    pub fn selects(self, record: &DecisionRecord) -> bool {
        let is_rejected = record.outcome == "reject";
        match self {
            Self::Accept | Self::Challenge | Self::Reject => record.outcome == self.as_str(),
            Self::Refused => {
                let is_error = record.status.is_some_and(|status| status >= 400);
                is_rejected
                    || record.outcome == "dropped"
                    || record.outcome == "answered" && is_error
            }
            Self::Alert => is_rejected && record.code.is_some(),
        }
    }
}

/// A text as the value of a query parameter.
pub(super) fn encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, ESCAPED)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn record() -> DecisionRecord {
        DecisionRecord {
            sid: "NO09090909090909090909090909090909".to_owned(),
            time: "2026-11-22T05:20:11.043102Z".to_owned(),
            outcome: "reject".to_owned(),
            reason: "wrong-credentials".to_owned(),
            cause: Some("user-unknown".to_owned()),
            code: Some(32_202),
            status: Some(403),
            target: Some("SD09090909090909090909090909090909".to_owned()),
            name: Some("sip.example.com".to_owned()),
            host: Some("pbx.example.com".to_owned()),
            claimed_user: Some("Alice".to_owned()),
            call_id: Some("long-call".to_owned()),
            source: Some("[2001:db8::7]:5060".to_owned()),
            shortened: vec!["call_id".to_owned()],
            ..DecisionRecord::default()
        }
    }

    #[test]
    fn each_field_selects_by_its_meaning() {
        let text = |text: &str| Some(text.to_owned());
        let at = |micros| Some(UNIX_EPOCH + Duration::from_micros(micros));
        let made = record().micros().unwrap();
        let all = Filter::default();
        let domain = |host| Filter { domain: text(host), ..all.clone() };
        let user = |name| Filter { user: text(name), ..all.clone() };
        let reason = |name| Filter { reason: text(name), ..all.clone() };
        let call = |id| Filter { call_id: text(id), ..all.clone() };
        let source = |prefix: &str| Filter { source: prefix.parse().ok(), ..all.clone() };
        let outcome = |outcome| Filter { outcome: Some(outcome), ..all.clone() };
        for (filter, wanted) in [
            (all.clone(), true),
            (domain("SIP.example.com"), true),
            (domain("pbx.EXAMPLE.com"), true),
            (domain("SD09090909090909090909090909090909"), true),
            (domain("example.com"), false),
            (domain("pbx.example.com.other"), false),
            (user("Alice"), true),
            (user("alice"), false),
            (user("Alice2"), false),
            (reason("wrong-credentials"), true),
            (reason("user-unknown"), true),
            (reason("user"), false),
            (call("long-call-that-was-cut@host"), true),
            (call("long-call"), false),
            (call("long"), false),
            (source("2001:db8::/32"), true),
            (source("2001:db8::8"), false),
            (source("192.0.2.0/24"), false),
            (outcome(Outcome::Reject), true),
            (outcome(Outcome::Refused), true),
            (outcome(Outcome::Alert), true),
            (outcome(Outcome::Accept), false),
            (outcome(Outcome::Challenge), false),
            (Filter { since: at(made), until: at(made), ..all.clone() }, true),
            (Filter { since: at(made + 1), ..all.clone() }, false),
            (Filter { until: at(made - 1), ..all.clone() }, false),
            (Filter { user: text("Alice"), outcome: Some(Outcome::Accept), ..all.clone() }, false),
        ] {
            assert_eq!(filter.selects(&record()), wanted, "{filter:?}");
        }
    }

    #[test]
    fn refused_messages_without_a_decision_are_selected_and_are_no_alerts() {
        for (outcome, status, is_refused) in [
            ("answered", Some(200), false),
            ("answered", Some(405), true),
            ("dropped", None, true),
            ("ignored", None, false),
            ("forwarded", None, false),
        ] {
            let outcome = outcome.to_owned();
            let record = DecisionRecord { outcome, status, code: None, ..record() };
            assert_eq!(Outcome::Refused.selects(&record), is_refused, "{record:?}");
            assert!(!Outcome::Alert.selects(&record) && !Outcome::Reject.selects(&record));
        }
        assert!(!Outcome::Alert.selects(&DecisionRecord { code: None, ..record() }));
    }

    #[test]
    fn a_record_has_its_place() {
        let place = record().place().unwrap();
        assert_eq!(place.to_string(), "1795324811043102-NO09090909090909090909090909090909");
        assert_eq!(DecisionRecord { time: String::new(), ..record() }.place(), None);
        assert_eq!(DecisionRecord { sid: "NO09".to_owned(), ..record() }.place(), None);
    }

    #[test]
    fn the_query_escapes_its_values() {
        let filter = Filter {
            user: Some("a&b=c d+ü%".to_owned()),
            source: "2001:db8::/32".parse().ok(),
            outcome: Some(Outcome::Refused),
            since: Some(UNIX_EPOCH + Duration::from_micros(1)),
            ..Filter::default()
        };
        let wanted = "User=a%26b%3Dc%20d%2B%C3%BC%25&Source=2001:db8::%2F32&Outcome=refused\
                      &Since=1970-01-01T00:00:00.000001Z";
        assert_eq!(filter.query(), wanted);
        assert_eq!(Filter::default().query(), "");
    }
}
