//! The cause of a record in words, and the advice to the operator.

mod other;

use std::fmt::Display;

use sip_authz::{Cause, Reason, escape_line, escape_name};

use self::other::Words;
use super::DecisionRecord;

/// The advice for a cause that this program does not know.
const NEWER: &str = "update this program to the version of the edge, which knows this cause";

/// The cause of a record in words. The texts are one line each, and their unusual characters are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CauseInWords {
    /// The stable text of the cause, or of the reason if there is none.
    pub name: String,
    /// The meaning, with the values of the record that belong to it.
    pub meaning: String,
    /// The advice; none for an accepted request and others that need none.
    pub advice: Option<&'static str>,
}

impl DecisionRecord {
    /// The internal cause; none for an accepted request, for a message without a decision, and for a cause
    /// that this version does not know.
    #[must_use]
    pub fn internal_cause(&self) -> Option<Cause> {
        let text = self.cause.as_deref()?;
        Cause::ALL.iter().copied().find(|cause| cause.as_str() == text)
    }

    /// The cause of a refusal in words with advice, or what admitted the request. A message that was answered
    /// or dropped without a decision has the words of its reason.
    #[must_use]
    pub fn cause_in_words(&self) -> CauseInWords {
        let text = self.cause.as_ref().unwrap_or(&self.reason);
        let name = escape_line(text).to_string();
        if let Some(cause) = self.internal_cause() {
            let meaning = meaning(cause, self);
            return CauseInWords { name, meaning, advice: Some(cause.advice()) };
        }
        if self.outcome == "accept" {
            return CauseInWords { name, meaning: admission(self), advice: None };
        }
        match other::words(text) {
            Some(Words { meaning, advice }) => {
                CauseInWords { name, meaning: meaning.to_owned(), advice: Some(advice) }
            }
            // the text alone says it, such as `ack`
            None if other::is_plain(text) => {
                CauseInWords { meaning: name.clone(), name, advice: None }
            }
            None => CauseInWords { meaning: name.clone(), name, advice: Some(NEWER) },
        }
    }
}

/// The text of a reason that callers learn. One public reason can stand for several, so that callers cannot
/// tell an unknown user from a wrong password. A text of no known reason is returned as it is.
#[must_use]
pub fn public_reason(reason: &str) -> &str {
    let known = Reason::ALL.iter().find(|known| known.as_str() == reason);
    known.map_or(reason, |known| known.public().as_str())
}

/// A text that a caller or tenant chose, as a part of a line: in quotation marks unless all its characters
/// are those of usual names.
#[must_use]
pub fn quoted(text: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+@:%~!*/[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_usual) {
        return text.to_owned();
    }
    format!("\"{}\"", escape_name(text))
}

/// Joins the texts that are present.
pub(super) fn joined<T: Display>(parts: impl IntoIterator<Item = Option<T>>, with: &str) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| part.to_string()).collect();
    parts.join(with)
}

/// The meaning of a cause, with the value that it is about.
fn meaning(cause: Cause, record: &DecisionRecord) -> String {
    let value = match cause {
        Cause::MalformedCredentials => record.defect.as_ref(),
        Cause::OtherRealm => record.realm.as_ref(),
        Cause::UnknownHost => record.host.as_ref(),
        Cause::AlgorithmNotOffered | Cause::HashMissing => record.algorithm.as_ref(),
        Cause::QopNotOffered => record.qop.as_ref(),
        Cause::UserUnknown => record.claimed_user.as_ref(),
        Cause::MethodNotAllowed => record.method.as_ref(),
        _ => None,
    };
    match value {
        Some(value) => format!("{}: {}", cause.meaning(), quoted(value)),
        None => cause.meaning().to_owned(),
    }
}

fn admission(record: &DecisionRecord) -> String {
    if record.repeat == Some(true) {
        return "a retransmission of an admitted request".to_owned();
    }
    match (&record.address, &record.credential) {
        (Some(_), Some(_)) => "admitted by its address and its password",
        (Some(_), None) => "admitted by its address",
        (None, Some(_)) => "admitted by its password",
        (None, None) => "admitted",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meaning_has_the_value_that_it_is_about() {
        let record = |cause: &str| DecisionRecord {
            cause: Some(cause.to_owned()),
            defect: Some("unknown-qop".to_owned()),
            realm: Some("other realm".to_owned()),
            ..DecisionRecord::default()
        };
        let said = record("malformed-credentials").cause_in_words();
        assert!(said.meaning.ends_with("says how: unknown-qop"), "{}", said.meaning);
        let said = record("other-realm").cause_in_words();
        assert!(said.meaning.ends_with(": \"other realm\""), "{}", said.meaning);
        let said = record("of-a-later-version").cause_in_words();
        assert_eq!((said.meaning.as_str(), said.advice), ("of-a-later-version", Some(NEWER)));
    }

    #[test]
    fn an_accept_says_what_admitted_it() {
        let mut record = DecisionRecord {
            outcome: "accept".to_owned(),
            credential: Some("CR".to_owned()),
            ..DecisionRecord::default()
        };
        assert_eq!(record.cause_in_words().meaning, "admitted by its password");
        record.address = Some("IP".to_owned());
        assert_eq!(record.cause_in_words().meaning, "admitted by its address and its password");
        record.repeat = Some(true);
        assert_eq!(record.cause_in_words().meaning, "a retransmission of an admitted request");
        assert_eq!(record.cause_in_words().advice, None);
    }

    #[test]
    fn a_message_without_a_decision_has_words_and_advice() {
        let mut record =
            DecisionRecord { outcome: "answered".to_owned(), ..DecisionRecord::default() };
        for (reason, has_advice) in
            [("method not allowed", true), ("bad cseq", true), ("ack", false)]
        {
            record.reason = reason.to_owned();
            let said = record.cause_in_words();
            assert_eq!((said.meaning == reason, said.advice.is_some()), (!has_advice, has_advice));
            assert_ne!(said.advice, Some(NEWER));
        }
        record.reason = "x\u{1b}[2J\n".to_owned();
        assert!(record.cause_in_words().meaning.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn callers_learn_one_reason_for_several() {
        assert_eq!(public_reason("too-many-guesses"), "wrong-credentials");
        assert_eq!(public_reason("unknown-host"), "unknown-host");
        assert_eq!(public_reason("bad cseq"), "bad cseq");
    }

    #[test]
    fn unusual_names_are_quoted_and_escaped() {
        for usual in ["alice", "+4930123", "sip.example.com", "[2001:db8::1]:5060", "a@b"] {
            assert_eq!(quoted(usual), usual);
        }
        for (unusual, expected) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a\" -> b", r#""a\" -> b""#),
            ("a\u{1b}[2J", r#""a\u{1b}[2J""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("a\nb", r#""a\u{a}b""#),
            ("<b>", r#""<b>""#),
        ] {
            assert_eq!(quoted(unusual), expected);
        }
    }
}
