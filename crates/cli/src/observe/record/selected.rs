//! The facts of a record that questions about kept records select by.

use sip_authz::model::Target;
use sip_authz::{AccountSid, Cause, Snapshot};
use sip_authz_rest::decisions::{Filter, Outcome, micros};

use super::texts::{Text, Texts};
use super::{Record, Verdict};
use crate::observe::cause::Handling;

/// The length of a SID as text.
const SID: usize = 34;

impl Record {
    /// The time in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// The domain or trunk of the request.
    pub(crate) fn target(&self) -> Option<Target> {
        self.target
    }

    /// The account that sees the record: the one that admitted the call, or the present owner of the
    /// domain or trunk. None for a request that belongs to no account.
    pub(crate) fn owner(&self, snapshot: &Snapshot) -> Option<AccountSid> {
        let owner = || Some(snapshot.target_view(self.target?)?.account);
        self.account.or_else(owner)
    }

    /// Whether it is a challenge of a request without credentials, which most calls begin with.
    pub(crate) fn is_first_challenge(&self) -> bool {
        matches!(self.verdict, Verdict::Challenge { stale: false, .. })
            && self.cause == Some(Cause::NoCredentials)
    }

    /// Whether it still has the source or a text of the caller.
    pub(crate) fn is_personal(&self) -> bool {
        self.source.is_some() || !self.texts.is_empty()
    }

    /// Erases the source and the texts of the caller.
    pub(crate) fn forget_caller(&mut self) {
        self.source = None;
        self.texts = Texts::default();
    }

    /// Whether the filter selects the record, as [`Filter::selects`] defines it. Without `names` its personal fields fit no filter.
    pub(crate) fn is_selected(&self, filter: &Filter, names: bool, snapshot: &Snapshot) -> bool {
        let since = filter.since.is_none_or(|since| micros(since) <= self.time);
        let until = filter.until.is_none_or(|until| self.time <= micros(until));
        since
            && until
            && filter.outcome.is_none_or(|outcome| self.verdict.is(outcome))
            && filter.reason.as_deref().is_none_or(|reason| self.has_reason(reason))
            && filter.domain.as_deref().is_none_or(|it| self.is_for(it, names, snapshot))
            && filter.user.as_deref().is_none_or(|user| names && self.has(Text::ClaimedUser, user))
            && filter.call_id.as_deref().is_none_or(|id| names && self.has(Text::CallId, id))
            && filter.source.is_none_or(|prefix| {
                names && self.source.is_some_and(|(ip, _)| prefix.contains(ip.to_canonical()))
            })
    }

    /// Whether `reason` is the text of its reason or of its internal cause.
    fn has_reason(&self, reason: &str) -> bool {
        self.verdict.reason() == reason || self.cause.is_some_and(|it| it.as_str() == reason)
    }

    /// Whether `domain` is the SID or the name of its domain or trunk, or the host that was asked for.
    fn is_for(&self, domain: &str, names: bool, snapshot: &Snapshot) -> bool {
        let name = || snapshot.target_view(self.target?)?.name;
        let is_target = |target: Target| target.to_string().eq_ignore_ascii_case(domain);
        self.target.is_some_and(|target| domain.len() == SID && is_target(target))
            || name().is_some_and(|name| name.as_str().eq_ignore_ascii_case(domain))
            || names && self.has_by(Text::Host, domain, str::eq_ignore_ascii_case)
    }

    /// Whether a text is `wanted`, as far as it is kept.
    fn has(&self, text: Text, wanted: &str) -> bool {
        self.has_by(text, wanted, |kept, wanted| kept == wanted)
    }

    fn has_by(&self, text: Text, wanted: &str, equals: impl Fn(&str, &str) -> bool) -> bool {
        let Some(kept) = self.texts.get(text) else { return false };
        if !self.texts.is_shortened(text) {
            return equals(&kept, wanted);
        }
        let start = wanted.get(..kept.len()).filter(|start| start.len() < wanted.len());
        start.is_some_and(|start| equals(&kept, start))
    }
}

impl Verdict {
    /// Whether it is selected by [`Filter::outcome`].
    fn is(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Accept => matches!(self, Self::Accept { .. }),
            Outcome::Challenge => matches!(self, Self::Challenge { .. }),
            Outcome::Reject => matches!(self, Self::Reject(_)),
            Outcome::Alert => matches!(self, Self::Reject(reason) if reason.code().is_some()),
            Outcome::Refused => match self {
                Self::Reject(_) => true,
                Self::Other(cause) => match cause.handling() {
                    Handling::Answered(status) => status >= 400,
                    Handling::Dropped => true,
                    Handling::Ignored | Handling::Forwarded => false,
                },
                Self::Accept { .. } | Self::Challenge { .. } => false,
            },
        }
    }
}
