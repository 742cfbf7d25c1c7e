//! Compares From, and To of a REGISTER, with the authenticated user.

use super::{Blame, Judge, Proved, Verdict};
use crate::authorizer::explain::{FromOutcome, Step, ToOutcome, Trace};
use crate::decision::{Cause, Reason};
use crate::model::FromCheck;
use crate::uri::{Host, SipUri, name_addr};

impl<'s> Judge<'s, '_, '_> {
    /// Compares From with the authenticated user, if the policy requires it.
    pub(super) fn check_from<T: Trace>(&self, proved: Proved<'s>, trace: &mut T) -> Verdict<'s> {
        let or_anonymous = match self.policy.from_must_match {
            FromCheck::Off => return Verdict::Proved(proved),
            FromCheck::User => false,
            FromCheck::UserOrAnonymous => true,
        };
        let name = proved.credential.username.as_str();
        let from =
            self.invite.from().and_then(name_addr).and_then(|from| SipUri::parse(from.uri).ok());
        let outcome = match from {
            Some(from) if from.user_is(name) => FromOutcome::Matches,
            Some(from) if from.is_anonymous() => match or_anonymous {
                true => FromOutcome::Anonymous,
                false => FromOutcome::AnonymousRefused,
            },
            Some(_) => FromOutcome::Differs,
            None => FromOutcome::Unreadable,
        };
        trace.step(|| Step::From(outcome));
        let cause = match outcome {
            FromOutcome::Matches | FromOutcome::Anonymous => return Verdict::Proved(proved),
            FromOutcome::Differs => Cause::FromOfOtherUser,
            FromOutcome::AnonymousRefused => Cause::FromAnonymous,
            FromOutcome::Unreadable => Cause::FromUnreadable,
        };
        Verdict::Refused(Reason::FromMismatch, Blame::of_proved(cause, proved.credential))
    }

    /// Refuses a verified REGISTER unless its To names the user at this domain, or one that the
    /// policy or a role lets the user register.
    #[inline(never)]
    pub(super) fn check_to<T: Trace>(&self, proved: Proved<'s>, trace: &mut T) -> Verdict<'s> {
        let outcome = self.compare_to(&proved);
        trace.step(|| Step::To(outcome));
        let cause = match outcome {
            ToOutcome::Matches | ToOutcome::Permitted => return Verdict::Proved(proved),
            ToOutcome::OtherUser => Cause::ToOfOtherUser,
            ToOutcome::OtherDomain => Cause::ToOfOtherDomain,
            ToOutcome::Unreadable => Cause::ToUnreadable,
        };
        Verdict::Refused(Reason::ToMismatch, Blame::of_proved(cause, proved.credential))
    }

    /// Compares user and host of To, the address-of-record that a registrar binds (RFC 3261 §10.3).
    fn compare_to(&self, proved: &Proved<'s>) -> ToOutcome {
        let to = self.invite.to().and_then(name_addr).and_then(|to| SipUri::parse(to.uri).ok());
        // registrars do not agree on the user of a URI with a password
        let Some(to) = to.filter(|to| to.password.is_none()) else { return ToOutcome::Unreadable };
        // a domain has one name, so no other host names it
        if !Host::parse(to.host).is_ok_and(|host| host.as_str() == self.host) {
            return ToOutcome::OtherDomain;
        }
        if self.policy.register_as.names(&to, proved.credential.username.as_str()) {
            return ToOutcome::Matches;
        }
        let permissions = self.snapshot.permissions(proved.roles());
        match permissions.registers().any(|user| to.user_is(user)) {
            true => ToOutcome::Permitted,
            false => ToOutcome::OtherUser,
        }
    }
}
