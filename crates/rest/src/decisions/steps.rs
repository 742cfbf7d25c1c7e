//! The steps of a decision in words, as far as its record tells.
//!
//! A refused decision ends at the first step that fails (docs/decisions.md), so all steps
//! before that of the cause were passed.

use serde::Serialize;
use sip_authz::Cause;

use super::DecisionRecord;
use super::words::{joined, quoted};

/// A step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordStep {
    /// The check in words, as one line.
    pub text: String,
    /// Whether the check was passed. False for the step that ended a challenge, a rejection or a message
    /// without a decision.
    pub passed: bool,
}

/// The names of resources that a record has by SID. A name that is none leaves the SID in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepNames {
    /// The name of [`DecisionRecord::account`].
    pub account: Option<String>,
    /// The name of [`DecisionRecord::access_list`].
    pub access_list: Option<String>,
    /// The prefix of [`DecisionRecord::address`].
    pub address: Option<String>,
    /// The name of the list that has [`DecisionRecord::credential`] or [`DecisionRecord::claimed`].
    pub credential_list: Option<String>,
}

/// The steps of a decision, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Snapshot,
    RequestUri,
    Host,
    Account,
    Tls,
    Mapping,
    AccessList,
    Method,
    Credentials,
    Nonce,
    Form,
    GuessLimit,
    Offer,
    User,
    Enabled,
    Hash,
    Digest,
    NonceCount,
    From,
    To,
}

impl Stage {
    const ALL: [Self; 20] = [
        Self::Snapshot,
        Self::RequestUri,
        Self::Host,
        Self::Account,
        Self::Tls,
        Self::Mapping,
        Self::AccessList,
        Self::Method,
        Self::Credentials,
        Self::Nonce,
        Self::Form,
        Self::GuessLimit,
        Self::Offer,
        Self::User,
        Self::Enabled,
        Self::Hash,
        Self::Digest,
        Self::NonceCount,
        Self::From,
        Self::To,
    ];

    /// The step that fails with this cause; none for a cause that this program does not know.
    fn of(cause: Cause) -> Option<Self> {
        Some(match cause {
            // no step comes before either
            Cause::OtherProcess | Cause::SnapshotStale => Self::Snapshot,
            Cause::UnsupportedScheme
            | Cause::HostlessUri
            | Cause::UriWithoutScheme
            | Cause::UriTooLong
            | Cause::UriCharacter
            | Cause::UriUser
            | Cause::UriHost
            | Cause::UriPort
            | Cause::BadRequestUri => Self::RequestUri,
            Cause::UnknownHost => Self::Host,
            Cause::AccountSuspended | Cause::AccountClosed | Cause::AccountMissing => Self::Account,
            Cause::TargetNeedsTls | Cause::UriNeedsTls => Self::Tls,
            Cause::NothingMapped | Cause::OnlyRegistrationsMapped => Self::Mapping,
            Cause::SourceUnknown | Cause::AddressNotListed => Self::AccessList,
            Cause::MethodNotAllowed
            | Cause::RegistrationAtTrunk
            | Cause::RegistrationsOff
            | Cause::NoRegistrationList => Self::Method,
            Cause::TooManyHeaders
            | Cause::TooManyCredentials
            | Cause::NoCredentials
            | Cause::NotDigest
            | Cause::OtherRealm
            | Cause::UnreadableCredentials
            | Cause::IncompleteCredentials => Self::Credentials,
            Cause::StaleLimit
            | Cause::NonceMalformed
            | Cause::NonceOfOtherProcess
            | Cause::NonceOfOtherBinding
            | Cause::NonceExpired => Self::Nonce,
            Cause::MalformedCredentials
            | Cause::QopMissing
            | Cause::QopMissingForAlgorithm
            | Cause::UriUnreadable
            | Cause::UriOfOtherHost
            | Cause::UriOfOtherUser
            | Cause::UriDiffers
            | Cause::TooManyBodyHashes => Self::Form,
            Cause::GuessLimit | Cause::GuessLimitOfSource | Cause::GuessLimitOfName => {
                Self::GuessLimit
            }
            Cause::AlgorithmNotOffered | Cause::QopNotOffered | Cause::UserhashNotOffered => {
                Self::Offer
            }
            Cause::UserUnknown => Self::User,
            Cause::UserDisabled => Self::Enabled,
            Cause::HashMissing => Self::Hash,
            Cause::WrongPassword | Cause::BeyondCopies => Self::Digest,
            Cause::NonceCountUsed | Cause::NonceForgotten => Self::NonceCount,
            Cause::FromUnreadable | Cause::FromAnonymous | Cause::FromOfOtherUser => Self::From,
            Cause::ToUnreadable | Cause::ToOfOtherDomain | Cause::ToOfOtherUser => Self::To,
            _ => return None,
        })
    }

    /// The last step of a record that passed them all: a source that is in an access list needs no
    /// credentials.
    fn last_accepted(record: &DecisionRecord) -> Self {
        if record.credential.is_some() || record.username.is_some() {
            Self::To
        } else {
            Self::Method
        }
    }

    /// The text of the step for a record that passed it; none if the record does not tell.
    fn passed(self, record: &DecisionRecord, names: &StepNames) -> Option<String> {
        let is_register = record.method.as_deref() == Some("REGISTER");
        let named = |text: &str, value: &Option<String>| {
            value.as_deref().map(|value| format!("{text} {}", quoted(value)))
        };
        Some(match self {
            Self::Snapshot => format!("snapshot {} is in force", record.snapshot?),
            Self::RequestUri => named("the Request-URI names the host", &record.host)?,
            Self::Host => {
                let name = record.name.as_deref().map(quoted);
                let target = record.target.as_ref()?;
                let kind = if target.starts_with("TK") { "trunk" } else { "domain" };
                joined(
                    [
                        Some(format!("the host is that of the {kind}")),
                        name,
                        Some(format!("({target})")),
                    ],
                    " ",
                )
            }
            Self::Account => {
                let sid = record.account.as_deref()?;
                let name = names.account.as_deref().map_or(sid.to_owned(), quoted);
                format!("the account {name} is active")
            }
            Self::Tls => format!("the transport {} suffices", record.transport),
            // a REGISTER has lists of its own, which are looked at later
            Self::Mapping if is_register => return None,
            Self::Mapping => "a list is mapped for calls".to_owned(),
            Self::AccessList => {
                let source = record.source.as_deref().map(quoted);
                match record.access_list.as_deref() {
                    Some(sid) => {
                        let list = names.access_list.as_deref().map_or(sid.to_owned(), quoted);
                        let entry = names.address.as_deref().map(|prefix| format!("({prefix})"));
                        let text = Some(format!("the access list {list} has the source"));
                        joined([text, source, entry], " ")
                    }
                    None => format!("no mapped access list refuses the source {}", source?),
                }
            }
            Self::Method => named("the policy admits the method", &record.method)?,
            Self::Credentials => {
                let realm =
                    record.realm.as_deref().map(|realm| format!("for the realm {}", quoted(realm)));
                let header = record.header.as_deref().map(|header| format!("in {header}"));
                joined([Some("the request has credentials".to_owned()), realm, header], " ")
            }
            Self::Nonce => {
                "the nonce is live: issued here, for this source and host, not too long ago"
                    .to_owned()
            }
            Self::Form => "the credentials are well-formed and for this Request-URI".to_owned(),
            Self::GuessLimit => "no guess limit is used up".to_owned(),
            Self::Offer => {
                let algorithm = record.algorithm.as_deref();
                let qop = record.qop.as_deref().map(|qop| format!("with qop {}", quoted(qop)));
                joined(
                    [Some("the challenge offered".to_owned()), algorithm.map(str::to_owned), qop],
                    " ",
                )
            }
            Self::User => {
                let sid = record.claimed.as_ref().or(record.credential.as_ref());
                let sid = sid.map(|sid| format!("({sid})"));
                let name = record.claimed_user.as_ref().or(record.username.as_ref());
                let name = name.map(|name| quoted(name));
                let list = names.credential_list.as_deref().map(quoted);
                let has = match list {
                    Some(list) => format!("the credential list {list} has the user"),
                    None => "a mapped list has the user".to_owned(),
                };
                joined([Some(has), name, sid], " ")
            }
            Self::Enabled => "the user is enabled".to_owned(),
            Self::Hash => named("the user has a hash for", &record.algorithm)?,
            Self::Digest => "the digest is right".to_owned(),
            Self::NonceCount => "the nonce count was not used before".to_owned(),
            Self::From => "From fits the user".to_owned(),
            Self::To => return None,
        })
    }
}

impl DecisionRecord {
    /// The steps in the order of the decision: those that were passed, then the one that ended it. A
    /// message without a decision has the last step alone, and so has the retransmission of an admitted
    /// request.
    #[must_use]
    pub fn steps(&self, names: &StepNames) -> Vec<RecordStep> {
        let is_accepted = self.outcome == "accept";
        let end = match self.internal_cause() {
            Some(cause) => Stage::of(cause),
            None if is_accepted && self.repeat != Some(true) => Some(Stage::last_accepted(self)),
            None => None,
        };
        let is_before =
            |stage: &Stage| end.is_some_and(|end| *stage < end || is_accepted && *stage == end);
        let passed = Stage::ALL.into_iter().filter(is_before);
        let passed = passed.filter_map(|stage| stage.passed(self, names));
        let mut steps: Vec<_> = passed.map(|text| RecordStep { text, passed: true }).collect();
        steps.push(RecordStep { text: self.cause_in_words().meaning, passed: is_accepted });
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(record: &DecisionRecord) -> Vec<String> {
        named(record, &StepNames::default())
    }

    fn named(record: &DecisionRecord, names: &StepNames) -> Vec<String> {
        let mark =
            |step: RecordStep| format!("{} {}", if step.passed { "yes" } else { "no" }, step.text);
        record.steps(names).into_iter().map(mark).collect()
    }

    fn record(cause: &str) -> DecisionRecord {
        let text = |text: &str| Some(text.to_owned());
        DecisionRecord {
            outcome: "reject".to_owned(),
            transport: "udp".to_owned(),
            snapshot: Some(7),
            host: text("SIP.example.com"),
            name: text("sip.example.com"),
            target: text("SD01"),
            account: text("AC01"),
            source: text("192.0.2.7:5060"),
            method: text("INVITE"),
            claimed_user: text("alice"),
            claimed: text("CR01"),
            realm: text("sip.example.com"),
            header: text("Proxy-Authorization"),
            algorithm: text("MD5"),
            qop: text("auth"),
            cause: text(cause),
            ..DecisionRecord::default()
        }
    }

    #[test]
    fn each_cause_belongs_to_a_step_and_the_stages_are_in_order() {
        for cause in Cause::ALL {
            assert!(Stage::of(*cause).is_some(), "{cause}");
        }
        assert!(Stage::ALL.is_sorted());
        assert!(
            Stage::ALL
                .iter()
                .all(|stage| Cause::ALL.iter().any(|cause| Stage::of(*cause) == Some(*stage)))
        );
    }

    #[test]
    fn a_wrong_password_has_passed_all_steps_before_it() {
        assert_eq!(
            texts(&record("wrong-password")),
            [
                "yes snapshot 7 is in force",
                "yes the Request-URI names the host SIP.example.com",
                "yes the host is that of the domain sip.example.com (SD01)",
                "yes the account AC01 is active",
                "yes the transport udp suffices",
                "yes a list is mapped for calls",
                "yes no mapped access list refuses the source 192.0.2.7:5060",
                "yes the policy admits the method INVITE",
                "yes the request has credentials for the realm sip.example.com in Proxy-Authorization",
                "yes the nonce is live: issued here, for this source and host, not too long ago",
                "yes the credentials are well-formed and for this Request-URI",
                "yes no guess limit is used up",
                "yes the challenge offered MD5 with qop auth",
                "yes a mapped list has the user alice (CR01)",
                "yes the user is enabled",
                "yes the user has a hash for MD5",
                "no the user exists, and the digest is wrong",
            ]
        );
    }

    #[test]
    fn a_guess_limit_says_nothing_about_the_user() {
        let all = texts(&record("guess-limit")).join("\n");
        assert!(!all.contains("alice") && all.contains("well-formed"), "{all}");
    }

    #[test]
    fn a_record_without_its_personal_fields_leaves_their_steps_out() {
        let bare = DecisionRecord {
            cause: Some("address-not-listed".to_owned()),
            transport: "tls".to_owned(),
            ..DecisionRecord::default()
        };
        assert_eq!(
            texts(&bare),
            [
                "yes the transport tls suffices",
                "yes a list is mapped for calls",
                "no the source address is in no mapped access list",
            ]
        );
    }

    #[test]
    fn a_message_without_a_decision_has_the_failed_step_alone() {
        let other = DecisionRecord {
            outcome: "answered".to_owned(),
            reason: "bad cseq".to_owned(),
            ..DecisionRecord::default()
        };
        assert_eq!(texts(&other), ["no CSeq is not a number and a method"]);
    }

    #[test]
    fn names_stand_for_their_sids() {
        let mut record = record("wrong-password");
        (record.access_list, record.address) = (Some("AL01".to_owned()), Some("IP01".to_owned()));
        let names = StepNames {
            account: Some("acme".to_owned()),
            access_list: Some("our offices".to_owned()),
            address: Some("192.0.2.0/24".to_owned()),
            credential_list: Some("phones".to_owned()),
        };
        let all = named(&record, &names);
        for text in [
            "yes the account acme is active",
            "yes the access list \"our offices\" has the source 192.0.2.7:5060 (192.0.2.0/24)",
            "yes the credential list phones has the user alice (CR01)",
        ] {
            assert!(all.iter().any(|step| step == text), "{text}: {all:?}");
        }
        let all = texts(&record).join("\n");
        assert!(
            all.contains("the access list AL01 has") && all.contains("a mapped list has"),
            "{all}"
        );
    }

    #[test]
    fn an_accepted_call_has_the_steps_that_it_needed() {
        let mut accepted = record("");
        (accepted.outcome, accepted.cause) = ("accept".to_owned(), None);
        (accepted.access_list, accepted.address) =
            (Some("AL01".to_owned()), Some("IP01".to_owned()));
        let all = texts(&accepted);
        assert!(all.iter().all(|step| step.starts_with("yes ")), "{all:?}");
        assert_eq!(all.last().unwrap(), "yes admitted by its address");
        assert!(!all.join("\n").contains("digest"), "{all:?}");
        accepted.username = accepted.claimed_user.take();
        accepted.credential = accepted.claimed.take();
        let all = texts(&accepted);
        assert!(all.iter().any(|step| step == "yes the digest is right"), "{all:?}");
        assert!(all.iter().any(|step| step == "yes a mapped list has the user alice (CR01)"));
        assert_eq!(all.last().unwrap(), "yes admitted by its address and its password");
        accepted.repeat = Some(true);
        assert_eq!(texts(&accepted), ["yes a retransmission of an admitted request"]);
    }
}
