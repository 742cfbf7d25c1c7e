//! The hot path, top to bottom: one snapshot, one INVITE, one decision.
//!
//! Nothing here opens a socket, waits, or panics; accept and reject allocate nothing. The steps are
//! those of the list in the crate's documentation, in its order.

use std::ops::ControlFlow;

use super::State;
use super::explain::{Step, Trace};
use super::judge::{Ahead, Judge, Verdict};
use crate::decision::{Accept, AddressMatch, Challenge, Decision, Reason, Reject};
use crate::digest::{Binding, ChallengeText};
use crate::invite::Invite;
use crate::model::{AccountStatus, Policy, Realm, Target, WrongAnswer};
use crate::sid::AccountSid;
use crate::snapshot::{Snapshot, TargetEntry};
use crate::uri::{Host, Scheme, SipUri, UriError};

/// What a decision is made with: all of it is fixed when the decision begins.
#[derive(Clone, Copy)]
pub(super) struct Deciding<'s> {
    pub(super) state: &'s State,
    pub(super) snapshot: &'s Snapshot,
    pub(super) now_ms: u64,
}

/// The Request-URI, read.
#[derive(Clone, Copy)]
pub(super) struct Asked<'i> {
    uri: SipUri<'i>,
    /// In the form hosts are compared in.
    pub(super) host: &'i str,
    /// Not so if it names nothing: it has not been looked at.
    pub(super) at_sight: bool,
}

/// A target that admits the source, with credential lists that are still to be satisfied.
pub(super) struct Gate<'s> {
    pub(super) entry: &'s TargetEntry,
    pub(super) realm: &'s Realm,
    pub(super) policy: &'s Policy,
    address: Option<AddressMatch>,
    account: AccountSid,
}

pub(super) fn reject(target: Option<&TargetEntry>, reason: Reason) -> Decision {
    Decision::Reject(Reject { target: target.map(|entry| entry.target), reason })
}

impl<'i> Asked<'i> {
    /// A Request-URI as most are, whose host is one if it is found to name something: what names a
    /// target is a host in the form that hosts are compared in.
    #[inline]
    pub(super) fn at_sight(invite: &'i Invite<'_>) -> Option<Self> {
        SipUri::at_sight(invite.request_uri()).map(|uri| Self {
            uri,
            host: uri.host,
            at_sight: true,
        })
    }

    /// `host` is a place to write in, where the host was not sent in the form it is compared in.
    pub(super) fn of(invite: &'i Invite<'_>, host: &'i mut Host) -> Result<Self, Reason> {
        match SipUri::parse_with_host(invite.request_uri(), host) {
            Ok((uri, host)) => Ok(Self { uri, host, at_sight: false }),
            Err(UriError::UnsupportedScheme) => Err(Reason::UnsupportedScheme),
            Err(_) => Err(Reason::BadRequestUri),
        }
    }
}

impl<'s> Deciding<'s> {
    pub(super) fn decide<T: Trace>(&self, invite: &Invite<'_>, trace: &mut T) -> Decision {
        if let Some(asked) = Asked::at_sight(invite)
            && let entry @ Some(_) = self.snapshot.named_entry(asked.host)
        {
            return self.decide_asked(&asked, entry, invite, trace);
        }
        let mut host = Host::empty();
        match Asked::of(invite, &mut host) {
            Ok(asked) => {
                let entry = self.snapshot.named_entry(asked.host);
                self.decide_asked(&asked, entry, invite, trace)
            }
            Err(reason) => reject(None, reason),
        }
    }

    fn decide_asked<T: Trace>(
        &self,
        asked: &Asked<'_>,
        entry: Option<&'s TargetEntry>,
        invite: &Invite<'_>,
        trace: &mut T,
    ) -> Decision {
        let address = |entry: &_, trace: &mut T| self.match_address(entry, invite, trace);
        match self.gate(asked, entry, invite, address, trace) {
            ControlFlow::Continue(gate) => self.pass(asked, &gate, invite, None, trace),
            ControlFlow::Break(decision) => decision,
        }
    }

    /// All that is decided before credentials are looked at: a decision, or the gate to what needs
    /// them. Uses up and counts nothing. `address` is asked which entry of the access lists admits the
    /// source.
    pub(super) fn gate<T: Trace>(
        &self,
        asked: &Asked<'_>,
        entry: Option<&'s TargetEntry>,
        invite: &Invite<'_>,
        address: impl FnOnce(&TargetEntry, &mut T) -> Option<AddressMatch>,
        trace: &mut T,
    ) -> ControlFlow<Decision, Gate<'s>> {
        let Some(entry) = entry else {
            trace.step(|| Step::UnknownHost { host: asked.host.to_owned() });
            return ControlFlow::Break(reject(None, Reason::UnknownHost));
        };
        let refuse = |reason| ControlFlow::Break(reject(Some(entry), reason));

        // an account that owns something is never gone; were it, nobody would answer for the call
        let Some(account) = self.snapshot.account_entry(entry.account) else {
            return refuse(Reason::AccountInactive);
        };
        trace.step(|| Step::Named {
            host: asked.host.to_owned(),
            target: entry.target,
            account: account.sid,
        });
        trace.step(|| Step::Account { account: account.sid, status: Some(account.status) });
        if account.status != AccountStatus::Active {
            return refuse(Reason::AccountInactive);
        }
        let needs_tls = entry.secure || asked.uri.scheme == Scheme::Sips;
        if needs_tls {
            trace.step(|| Step::NeedsTls { transport: invite.transport() });
        }
        if needs_tls && !invite.transport().is_secure() {
            return refuse(Reason::NotSecure);
        }
        if entry.access_lists.is_empty() && entry.credential_lists.is_empty() {
            trace.step(|| Step::NothingMapped);
            return refuse(Reason::NothingMapped);
        }
        let address = address(entry, trace);
        if address.is_none() && !entry.access_lists.is_empty() {
            return refuse(Reason::AddressNotListed);
        }
        if entry.credential_lists.is_empty() {
            return ControlFlow::Break(Decision::Accept(self.accept(
                account.sid,
                entry.target,
                address,
            )));
        }
        // a target with a credential list always has a realm; without one nobody could answer
        let Some(realm) = &entry.realm else { return refuse(Reason::NothingMapped) };
        let policy = entry.policy.as_deref().unwrap_or(&Policy::DEFAULT);
        ControlFlow::Continue(Gate { entry, realm, policy, address, account: account.sid })
    }

    /// The judge of an INVITE's credentials.
    pub(super) fn judge<'r, 'i>(
        &self,
        asked: &'r Asked<'_>,
        gate: &Gate<'s>,
        invite: &'r Invite<'i>,
    ) -> Judge<'s, 'r, 'i>
    where
        's: 'r,
    {
        let Gate { entry, realm, policy, .. } = *gate;
        let Self { state, snapshot, now_ms } = *self;
        let (host, request_uri) = (asked.host, &asked.uri);
        Judge { state, snapshot, entry, policy, realm, host, request_uri, invite, now_ms }
    }

    /// The decision where credentials count.
    pub(super) fn pass<'i, T: Trace>(
        &self,
        asked: &Asked<'_>,
        gate: &Gate<'s>,
        invite: &Invite<'i>,
        ahead: Option<Ahead<'_, 's, 'i>>,
        trace: &mut T,
    ) -> Decision {
        let judge = self.judge(asked, gate, invite);
        match judge.judge(ahead, trace) {
            Verdict::Proved(proved) => Decision::Accept(Accept {
                account: gate.account,
                target: gate.entry.target,
                address: gate.address,
                credential: Some(proved.into_match()),
                permissions: self.snapshot.permissions(proved.roles()),
                repeat: proved.is_repeat(),
            }),
            Verdict::NoCredentials => self.challenge(gate, &judge.binding(), false),
            Verdict::Stale => self.challenge(gate, &judge.binding(), true),
            Verdict::Wrong(reason) => match gate.policy.wrong_answer {
                WrongAnswer::Reject => reject(Some(gate.entry), reason),
                WrongAnswer::Challenge => self.challenge(gate, &judge.binding(), false),
            },
            Verdict::Refused(reason) => reject(Some(gate.entry), reason),
        }
    }

    /// The accept of a source by its address alone.
    fn accept(&self, account: AccountSid, target: Target, address: Option<AddressMatch>) -> Accept {
        Accept {
            account,
            target,
            address,
            credential: None,
            permissions: self.snapshot.permissions([None, None]),
            repeat: false,
        }
    }

    fn challenge(&self, gate: &Gate<'_>, binding: &Binding<'_>, stale: bool) -> Decision {
        let Gate { entry, realm, policy, .. } = gate;
        let nonce = self.state.nonces.issue(self.now_ms, binding);
        let text = ChallengeText {
            realm: realm.as_str(),
            nonce: &nonce,
            qop: policy.qop.name(),
            stale,
            userhash: policy.userhash,
        };
        Decision::Challenge(Challenge {
            target: entry.target,
            kind: policy.challenge,
            values: policy.algorithms.iter().map(|offered| text.value(offered)).collect(),
            stale,
        })
    }

    /// The entry that admits the source, in the first mapped list that has one.
    pub(super) fn match_address<T: Trace>(
        &self,
        entry: &TargetEntry,
        invite: &Invite<'_>,
        trace: &mut T,
    ) -> Option<AddressMatch> {
        let source = invite.source().ip();
        entry.access_lists.iter().find_map(|list| {
            let list = self.snapshot.access_list_entry(*list)?;
            let found = list.admits(source);
            trace.step(|| Step::AccessList { list: list.sid, source, entry: found });
            found.map(|(address, _)| AddressMatch { list: list.sid, address })
        })
    }
}
