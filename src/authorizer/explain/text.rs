//! Explanations as text: a line for each step.

use std::fmt;

use super::{Explanation, FromOutcome, HeaderStep, NonceState, Step, ToOutcome, UserOutcome};
use crate::decision::{Cause, Decision, UsedHeader};
use crate::digest::Qop;
use crate::invite::CredentialsField;
use crate::model::AccountStatus;
use crate::model::rules::MAX_COPIES;
use crate::printable::escape_name;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        if let Some(cause) = self.decision.cause() {
            writeln!(f, "cause: {} ({cause})", cause.meaning())?;
        }
        match &self.decision {
            Decision::Accept(accept) => {
                let again = if accept.repeat { " (a retransmission)" } else { "" };
                write!(f, "decision: accept{again}")
            }
            Decision::Challenge(challenge) => {
                let stale = if challenge.stale { ", stale=true" } else { "" };
                write!(f, "decision: challenge {}{stale}", challenge.status())
            }
            Decision::Reject(reject) => {
                write!(f, "decision: reject {} {}", reject.reason.status(), reject.reason)?;
                reject.reason.code().map_or(Ok(()), |code| write!(f, ", code {code}"))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProcess => f.write_str(
                "process: another one created the authorizer; create it after the fork, and after \
                 daemonizing",
            ),
            Self::UnreadableUri { error } => write!(f, "Request-URI: {error}"),
            Self::UnknownHost { host } => {
                write!(f, "host: no domain or trunk has the name `{}`", escape_name(host))
            }
            Self::DomainHost { index, host } => {
                let (place, host) = (index + 1, escape_name(host));
                write!(
                    f,
                    "Request-URI: names no domain or trunk; domain host {place}, `{host}`, does"
                )
            }
            Self::Stale => f.write_str("snapshot: too long since it was last confirmed"),
            Self::Named { host, target, account } => {
                write!(f, "host: `{}` is {target} of {account}", escape_name(host))
            }
            Self::Account { account, status } => match status {
                Some(AccountStatus::Active) => write!(f, "account: {account} is active"),
                Some(AccountStatus::Suspended) => write!(f, "account: {account} is suspended"),
                Some(AccountStatus::Closed) => write!(f, "account: {account} is closed"),
                None => write!(f, "account: {account} does not exist"),
            },
            Self::NeedsTls { transport } => {
                let has = if transport.is_secure() { "is secure" } else { "is not" };
                write!(f, "transport: TLS is required, {transport:?} {has}")
            }
            Self::NothingMapped => f.write_str("lists: none is mapped, every call is rejected"),
            Self::UnknownSource => {
                f.write_str("access lists: the source is unknown, so none admits it")
            }
            Self::AccessList { list, source, entry } => match entry {
                Some((sid, prefix)) => {
                    write!(f, "access list {list}: {source} matches {prefix} ({sid})")
                }
                None => write!(f, "access list {list}: {source} matches no entry"),
            },
            Self::Method { method, admitted } => {
                let is = if *admitted { "is" } else { "is not" };
                write!(f, "method: `{}` {is} admitted", escape_name(method))
            }
            Self::Registrations { enabled: false, .. } => {
                f.write_str("registrations: switched off at this domain or trunk")
            }
            Self::Registrations { lists: 0, .. } => {
                f.write_str("registrations: no list is mapped for them")
            }
            Self::Registrations { lists, .. } => {
                let s = if *lists == 1 { "" } else { "s" };
                write!(f, "registrations: {lists} list{s} mapped")
            }
            Self::Header(header, step) => write!(f, "{header}: {step}"),
            Self::StaleLimit => f.write_str(
                "flow: too many answers with stale=true, a challenge without it follows",
            ),
            Self::From(outcome) => f.write_str(match outcome {
                FromOutcome::Matches => "From: matches the authenticated user",
                FromOutcome::Anonymous => "From: is anonymous, which the policy admits",
                FromOutcome::Differs => "From: does not match the authenticated user",
                FromOutcome::AnonymousRefused => {
                    "From: is anonymous, which the policy does not admit"
                }
                FromOutcome::Unreadable => "From: absent, malformed, or no SIP URI",
            }),
            Self::To(outcome) => f.write_str(match outcome {
                ToOutcome::Matches => "To: names the authenticated user at this domain",
                ToOutcome::Permitted => "To: names a user that a permission admits",
                ToOutcome::OtherUser => "To: names another user than the authenticated one",
                ToOutcome::OtherDomain => "To: names another domain",
                ToOutcome::Unreadable => "To: absent, malformed, no SIP URI, or with a password",
            }),
        }
    }
}

impl fmt::Display for UsedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.field {
            CredentialsField::Authorization => "Authorization",
            CredentialsField::ProxyAuthorization => "Proxy-Authorization",
        };
        write!(f, "{name} ({})", self.index + 1)
    }
}

impl fmt::Display for HeaderStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDigest => f.write_str("not digest credentials, ignored"),
            Self::OtherRealm => f.write_str("not credentials for this realm, ignored"),
            Self::Unreadable => f.write_str("cannot be parsed, ignored"),
            Self::Incomplete => f.write_str("without nonce or response, ignored"),
            Self::Malformed(kind) => write!(f, "malformed ({kind})"),
            Self::Read { username, algorithm, qop } => {
                let qop = qop.map_or("none", Qop::name);
                write!(f, "user `{}`, algorithm {algorithm}, qop {qop}", escape_name(username))
            }
            Self::Nonce(NonceState::Live) => f.write_str("the nonce is live"),
            Self::Nonce(NonceState::Expired) => f.write_str("the nonce has expired"),
            Self::Nonce(NonceState::OfOtherServer) => f.write_str(Cause::NonceMalformed.meaning()),
            Self::Nonce(NonceState::OfOtherProcess) => {
                f.write_str(Cause::NonceOfOtherProcess.meaning())
            }
            Self::Nonce(NonceState::OfOtherBinding) => {
                f.write_str(Cause::NonceOfOtherBinding.meaning())
            }
            Self::TooManyGuesses(cause) | Self::NotOffered(cause) => f.write_str(cause.meaning()),
            Self::AlgorithmTwice => {
                f.write_str("an earlier header has the same algorithm; the newest nonce counts")
            }
            Self::List { list, outcome } => match outcome {
                UserOutcome::Unknown => write!(f, "list {list}: no such user"),
                UserOutcome::Disabled(sid) => write!(f, "list {list}: {sid} is disabled"),
                UserOutcome::NoHash(sid) => {
                    write!(f, "list {list}: {sid} has no hash for the algorithm")
                }
                UserOutcome::Wrong(sid) => write!(f, "list {list}: {sid}, the digest is wrong"),
                UserOutcome::Right(sid) => write!(f, "list {list}: {sid}, the digest is right"),
                UserOutcome::BeyondCopies(sid) => write!(
                    f,
                    "list {list}: {sid} is not compared, {MAX_COPIES} other lists have the name"
                ),
            },
            Self::Admitted => f.write_str("the nonce and its count are accepted"),
            Self::NotAdmitted(cause) => {
                write!(f, "{}, a new challenge follows", cause.meaning())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn names_of_the_message_stay_in_their_quotes_and_line() {
        let names = ["\u{1b}[1m\nforged", "a`, qop none\u{2028}", "\u{202e}\\", "alice"];
        let expected = [r"\u{1b}[1m\u{a}forged", r"a\`, qop none\u{2028}", r"\u{202e}\\", "alice"];
        for (name, expected) in names.into_iter().zip(expected) {
            let step = HeaderStep::Read {
                username: name.to_owned(),
                algorithm: Algorithm::Md5,
                qop: Some(Qop::Auth),
            };
            let text = format!("user `{expected}`, algorithm MD5, qop auth");
            assert_eq!(step.to_string(), text);
            let step = Step::UnknownHost { host: name.to_owned() };
            let text = format!("host: no domain or trunk has the name `{expected}`");
            assert_eq!(step.to_string(), text);
        }
    }
}
