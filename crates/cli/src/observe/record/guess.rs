//! The wrong digest of a record, for questions about guess limits.

use std::net::IpAddr;

use sip_authz::Cause;
use sip_authz::model::Target;

use super::Record;
use super::texts::Text;

/// A request whose digest was wrong or not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) target: Target,
    /// The claimed user name as the client sent it, in one of the spellings that the header allows.
    pub(crate) user: String,
    /// None if the caller's address is unknown.
    pub(crate) source: Option<IpAddr>,
    /// Microseconds since 1970.
    pub(crate) time: u64,
    /// Whether the digest was verified, so that it took a token.
    pub(crate) is_counted: bool,
}

impl Record {
    /// The wrong digest that a guess limit counted or refused; none for other records, and for one whose
    /// personal fields are erased.
    pub(crate) fn guess(&self) -> Option<Guess> {
        let cause = self.cause?;
        let is_counted = match cause {
            Cause::AlgorithmNotOffered
            | Cause::QopNotOffered
            | Cause::UserhashNotOffered
            | Cause::UserUnknown
            | Cause::UserDisabled
            | Cause::HashMissing
            | Cause::WrongPassword
            | Cause::BeyondCopies => true,
            Cause::GuessLimit | Cause::GuessLimitOfSource | Cause::GuessLimitOfName => false,
            _ => return None,
        };
        if self.texts.is_shortened(Text::ClaimedUser) {
            return None;
        }
        let user = self.texts.get(Text::ClaimedUser)?;
        Some(Guess {
            target: self.target?,
            user: user.into_owned(),
            source: self.source.map(|(ip, _)| ip.to_canonical()),
            time: self.time,
            is_counted,
        })
    }
}
