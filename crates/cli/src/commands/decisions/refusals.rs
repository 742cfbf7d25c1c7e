//! The records of all refusals, for tests of their words.

use std::collections::BTreeMap;

use sip_authz::Cause;
use sip_authz_rest::decisions::DecisionRecord;

use crate::observe::cause::{Cause as OtherCause, Handling};

/// A record for each cause of a decision and of another message that is refused.
pub(crate) fn refusals() -> Vec<DecisionRecord> {
    let decided = Cause::ALL.iter().map(|cause| {
        let mut record = DecisionRecord::default();
        record.outcome =
            if cause.as_str().contains("nonce") { "challenge" } else { "reject" }.to_owned();
        record.reason = "reason".to_owned();
        record.cause = Some(cause.as_str().to_owned());
        record.claimed_user = Some("alice".to_owned());
        record
    });
    let others = OtherCause::ALL.into_iter().filter(|cause| cause.is_logged()).map(other);
    decided.chain(others).collect()
}

/// The record of a message without a decision.
fn other(cause: OtherCause) -> DecisionRecord {
    let mut record = DecisionRecord::default();
    record.outcome = cause.handling().as_str().to_owned();
    record.reason = cause.as_str().to_owned();
    if let Handling::Answered(status) = cause.handling() {
        record.status = Some(status);
    }
    record
}

/// The advice for a text that `sip_authz_rest` does not know.
fn unknown() -> Option<&'static str> {
    let mut record = DecisionRecord::default();
    record.reason = "of a later version".to_owned();
    record.cause_in_words().advice
}

#[test]
fn no_two_causes_have_the_same_words() {
    let mut known = BTreeMap::new();
    for record in refusals() {
        let words = record.cause_in_words();
        assert!(words.advice.is_some() && words.advice != unknown(), "{}", words.name);
        assert_eq!(known.insert(words.meaning.clone(), words.name), None, "{}", words.meaning);
    }
}

#[test]
fn each_logged_cause_has_words_and_each_other_one_is_known() {
    for cause in OtherCause::ALL {
        let words = other(cause).cause_in_words();
        assert_eq!(words.advice.is_some(), cause.is_logged(), "{cause:?}");
        assert_ne!(words.advice, unknown(), "{cause:?}");
        if !cause.is_logged() {
            continue;
        }
        assert_ne!(words.meaning, words.name, "{cause:?}");
        for text in [words.meaning.as_str(), words.advice.unwrap()] {
            assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('|'), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}
