//! The hot path: one snapshot, one INVITE, one decision.
//!
//! Nothing here does I/O, waits or panics; accept and reject do not allocate. The steps follow the
//! order of the list in the crate documentation.

use std::cell::OnceCell;
use std::ops::ControlFlow;

use super::State;
use super::explain::{Step, Trace};
use super::judge::{Blame, Judge, Precomputed, Verdict};
use crate::decision::{Accept, AddressMatch, Cause, Challenge, Decision, Reason, Reject};
use crate::digest::{Body, ChallengeText};
use crate::invite::Invite;
use crate::method::Method;
use crate::model::{AccountStatus, ChallengeKind, Policy, Realm, Target, WrongAnswer};
use crate::sid::AccountSid;
use crate::snapshot::{Snapshot, TargetEntry};
use crate::uri::{Host, Scheme, SipUri, UriError, is_hostless};

/// Inputs of a decision that stay fixed until it ends.
#[derive(Clone, Copy)]
pub(super) struct DecisionContext<'s> {
    pub(super) state: &'s State,
    pub(super) snapshot: &'s Snapshot,
    pub(super) now_ms: u64,
}

/// The parsed Request-URI and the host that names the target.
#[derive(Clone, Copy)]
pub(super) struct RequestTarget<'i> {
    /// None for a URI without a host, such as `tel:`.
    uri: Option<SipUri<'i>>,
    /// Canonical host of the Request-URI, for comparison with a digest-uri; empty if it has none.
    uri_host: &'i str,
    /// Canonical host that names the target: that of the Request-URI, or the one that decides in
    /// its place ([`Invite::with_domain_host`]).
    pub(super) host: &'i str,
    /// Set when the fast path parsed the URI; the host is validated only if a target is found for
    /// it.
    pub(super) parsed_fast: bool,
}

/// A target that admits the source address and requires credentials.
pub(super) struct PendingAuth<'s> {
    pub(super) entry: &'s TargetEntry,
    pub(super) realm: &'s Realm,
    pub(super) policy: &'s Policy,
    address: Option<AddressMatch>,
    account: AccountSid,
}

/// A rejection before credentials are looked at.
pub(super) fn reject(target: Option<&TargetEntry>, cause: Cause) -> Decision {
    // only causes of rejections come here
    let reason = cause.reason().unwrap_or(Reason::WrongCredentials);
    Decision::Reject(Reject::new(target.map(|entry| entry.target), reason).with_cause(cause))
}

/// The rejection of a Request-URI that cannot be read.
#[cold]
pub(super) fn reject_uri(error: UriError, invite: &Invite<'_>) -> Decision {
    let cause = match error {
        UriError::UnsupportedScheme if is_hostless(invite.request_uri()) => Cause::HostlessUri,
        UriError::UnsupportedScheme => Cause::UnsupportedScheme,
        UriError::NoScheme => Cause::UriWithoutScheme,
        UriError::TooLong => Cause::UriTooLong,
        UriError::Backslash | UriError::Space | UriError::Control | UriError::Character => {
            Cause::UriCharacter
        }
        UriError::EmptyUser => Cause::UriUser,
        UriError::EmptyHost | UriError::Brackets | UriError::Host(_) => Cause::UriHost,
        UriError::Port => Cause::UriPort,
        UriError::Parameter | UriError::Header | UriError::TooMany => Cause::BadRequestUri,
    };
    reject(None, cause)
}

/// A rejection by the credentials.
fn refuse(target: &TargetEntry, reason: Reason, blame: &Blame) -> Decision {
    let (target, cause, claimed) = (Some(target.target), blame.cause(), blame.claimed());
    Decision::Reject(Reject { target, reason, cause, claimed })
}

impl<'i> RequestTarget<'i> {
    /// Replaces the host that names the target.
    pub(super) fn with_host(self, host: &'i str) -> Self {
        Self { host, ..self }
    }

    /// The target of a URI without a host.
    pub(super) fn hostless() -> Self {
        Self { uri: None, uri_host: "", host: "", parsed_fast: false }
    }

    /// Parses a Request-URI on the fast path. The host is not validated: finding a target validates
    /// it, because target names are canonical hosts.
    #[inline]
    pub(super) fn parse_fast(invite: &'i Invite<'_>) -> Option<Self> {
        SipUri::parse_fast(invite.request_uri()).map(|uri| Self {
            uri: Some(uri),
            uri_host: uri.host,
            host: uri.host,
            parsed_fast: true,
        })
    }

    /// Parses any Request-URI. `host` is the buffer for a host that is not canonical as sent.
    pub(super) fn parse_full(invite: &'i Invite<'_>, host: &'i mut Host) -> Result<Self, UriError> {
        let (uri, host) = SipUri::parse_with_host(invite.request_uri(), host)?;
        Ok(Self { uri: Some(uri), uri_host: host, host, parsed_fast: false })
    }
}

impl<'s> DecisionContext<'s> {
    pub(super) fn decide<T: Trace>(&self, invite: &Invite<'_>, trace: &mut T) -> Decision {
        let named = |host, trace: &T| self.snapshot.named_entry(host).filter(|it| trace.sees(it));
        if let Some(request) = RequestTarget::parse_fast(invite)
            && let entry @ Some(_) = named(request.host, trace)
        {
            return self.decide_request(&request, entry, invite, trace);
        }
        let mut host = Host::empty();
        let parsed = RequestTarget::parse_full(invite, &mut host);
        let entry = parsed.as_ref().ok().and_then(|it| named(it.host, trace));
        if entry.is_none()
            && !invite.domain_hosts().is_empty()
            && let Some((request, entry)) = self.name_by_domain_host(parsed, invite, trace)
        {
            return self.decide_request(&request, Some(entry), invite, trace);
        }
        match parsed {
            Ok(request) => self.decide_request(&request, entry, invite, trace),
            Err(error) => {
                trace.step(|| Step::UnreadableUri { error });
                reject_uri(error, invite)
            }
        }
    }

    fn decide_request<T: Trace>(
        &self,
        request: &RequestTarget<'_>,
        entry: Option<&'s TargetEntry>,
        invite: &Invite<'_>,
        trace: &mut T,
    ) -> Decision {
        let address = |entry: &_, trace: &mut T| self.match_address(entry, invite, trace);
        match self.check_before_auth(request, entry, invite, address, trace) {
            ControlFlow::Continue(pending) => {
                self.authenticate(request, &pending, invite, None, trace)
            }
            ControlFlow::Break(decision) => decision,
        }
    }

    /// Runs every check before credentials: returns a decision or the target to authenticate for.
    /// Changes no state. `address` returns the access list entry that admits the source.
    pub(super) fn check_before_auth<T: Trace>(
        &self,
        request: &RequestTarget<'_>,
        entry: Option<&'s TargetEntry>,
        invite: &Invite<'_>,
        address: impl FnOnce(&TargetEntry, &mut T) -> Option<AddressMatch>,
        trace: &mut T,
    ) -> ControlFlow<Decision, PendingAuth<'s>> {
        let Some(entry) = entry else {
            trace.step(|| Step::UnknownHost { host: request.host.to_owned() });
            return ControlFlow::Break(reject(None, Cause::UnknownHost));
        };
        let refuse = |cause| ControlFlow::Break(reject(Some(entry), cause));

        // an account that owns something cannot be deleted; fail closed if it is missing all the
        // same
        let Some(account) = self.snapshot.account_entry(entry.account) else {
            return refuse(Cause::AccountMissing);
        };
        trace.step(|| Step::Named {
            host: request.host.to_owned(),
            target: entry.target,
            account: account.sid,
        });
        trace.step(|| Step::Account { account: account.sid, status: Some(account.status) });
        match account.status {
            AccountStatus::Active => {}
            AccountStatus::Suspended => return refuse(Cause::AccountSuspended),
            AccountStatus::Closed => return refuse(Cause::AccountClosed),
        }
        let is_sips = request.uri.is_some_and(|uri| uri.scheme == Scheme::Sips);
        let needs_tls = entry.secure || is_sips;
        if needs_tls {
            trace.step(|| Step::NeedsTls { transport: invite.transport() });
        }
        if needs_tls && !invite.transport().is_secure() {
            return refuse(if entry.secure { Cause::TargetNeedsTls } else { Cause::UriNeedsTls });
        }
        if entry.access_lists.is_empty()
            && entry.credential_lists.is_empty()
            && !invite.method.is_register()
        {
            trace.step(|| Step::NothingMapped);
            return refuse(match entry.registrations.is_empty() {
                true => Cause::NothingMapped,
                false => Cause::OnlyRegistrationsMapped,
            });
        }
        let address = address(entry, trace);
        if address.is_none() && !entry.access_lists.is_empty() {
            return refuse(match invite.is_source_known() {
                true => Cause::AddressNotListed,
                false => Cause::SourceUnknown,
            });
        }
        // after the address, so that a source that is not listed learns nothing about the policy
        let admitted = entry.admits(invite.method);
        if !admitted || invite.method != Method::INVITE {
            trace.step(|| Step::of_method(invite, entry, admitted));
        }
        if !admitted {
            return refuse(match (invite.method.is_register(), entry.target) {
                (false, _) => Cause::MethodNotAllowed,
                (true, Target::Trunk(_)) => Cause::RegistrationAtTrunk,
                (true, Target::Domain(_)) if !entry.registers => Cause::RegistrationsOff,
                (true, Target::Domain(_)) => Cause::NoRegistrationList,
            });
        }
        // an address alone never registers
        if entry.credential_lists.is_empty() && !invite.method.is_register() {
            return ControlFlow::Break(Decision::Accept(self.accept(
                account.sid,
                entry.target,
                address,
            )));
        }
        // a target with a credential list always has a realm; without one no client could
        // authenticate
        let Some(realm) = &entry.realm else { return refuse(Cause::NothingMapped) };
        let policy = entry.policy();
        ControlFlow::Continue(PendingAuth { entry, realm, policy, address, account: account.sid })
    }

    /// The judge of an INVITE's credentials.
    pub(super) fn judge<'r, 'i>(
        &self,
        request: &'r RequestTarget<'_>,
        pending: &PendingAuth<'s>,
        invite: &'r Invite<'i>,
    ) -> Judge<'s, 'r, 'i>
    where
        's: 'r,
    {
        let PendingAuth { entry, realm, policy, account, .. } = *pending;
        let Self { state, snapshot, now_ms } = *self;
        let RequestTarget { host, uri_host, .. } = *request;
        let fingerprint = OnceCell::new();
        Judge {
            state,
            snapshot,
            entry,
            account,
            policy,
            realm,
            host,
            uri_host,
            request_uri: request.uri.as_ref(),
            invite,
            now_ms,
            body: Body::new(invite.body()),
            fingerprint,
        }
    }

    /// Decides by the credentials headers.
    pub(super) fn authenticate<'i, T: Trace>(
        &self,
        request: &RequestTarget<'_>,
        pending: &PendingAuth<'s>,
        invite: &Invite<'i>,
        precomputed: Option<Precomputed<'_, 's, 'i>>,
        trace: &mut T,
    ) -> Decision {
        let judge = self.judge(request, pending, invite);
        match judge.judge(precomputed, trace) {
            Verdict::Proved(proved) => Decision::Accept(Accept {
                account: pending.account,
                target: pending.entry.target,
                address: pending.address,
                credential: Some(proved.into_match()),
                permissions: self.snapshot.permissions(proved.roles()),
                repeat: proved.is_repeat(),
            }),
            Verdict::NoCredentials(cause) => {
                self.challenge::<T>(pending, &judge, false, &Blame::of(cause))
            }
            Verdict::Stale(blame) => self.challenge::<T>(pending, &judge, true, &blame),
            Verdict::NotLive(nonce) => {
                self.challenge::<T>(pending, &judge, true, &Blame::of(nonce.cause()))
            }
            Verdict::Wrong(reason, blame) => match pending.policy.wrong_answer {
                WrongAnswer::Reject => refuse(pending.entry, reason, &blame),
                WrongAnswer::Challenge => self.challenge::<T>(pending, &judge, false, &blame),
            },
            Verdict::Refused(reason, blame) => refuse(pending.entry, reason, &blame),
        }
    }

    /// Accepts a source by its address alone.
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

    fn challenge<T: Trace>(
        &self,
        pending: &PendingAuth<'_>,
        judge: &Judge<'_, '_, '_>,
        stale: bool,
        blame: &Blame,
    ) -> Decision {
        let PendingAuth { entry, realm, policy, .. } = pending;
        let (nonces, binding) = (&self.state.nonces, judge.binding());
        let nonce = match T::COMMITS {
            true => nonces.issue(self.now_ms, &binding),
            false => nonces.would_issue(self.now_ms, &binding),
        };
        let text = ChallengeText {
            realm: realm.as_str(),
            nonce: &nonce,
            qop: policy.qop.name(),
            stale,
            userhash: policy.userhash,
        };
        Decision::Challenge(Challenge {
            target: entry.target,
            kind: match judge.invite.method.is_register() {
                // this side answers in place of the registrar (RFC 3261 §22.2)
                true => ChallengeKind::Server,
                false => policy.challenge,
            },
            values: policy.algorithms.iter().map(|offered| text.value(offered)).collect(),
            stale,
            cause: blame.cause(),
            claimed: blame.claimed(),
        })
    }

    /// The entry that admits the source, from the first mapped list that has one.
    pub(super) fn match_address<T: Trace>(
        &self,
        entry: &TargetEntry,
        invite: &Invite<'_>,
        trace: &mut T,
    ) -> Option<AddressMatch> {
        let Some(source) = invite.caller_ip() else {
            if !entry.access_lists.is_empty() {
                trace.step(|| Step::UnknownSource);
            }
            return None;
        };
        entry.access_lists.iter().find_map(|list| {
            let list = self.snapshot.access_list_entry(*list)?;
            let found = list.admits(source);
            trace.step(|| Step::AccessList { list: list.sid, source, entry: found });
            found.map(|(address, _)| AddressMatch { list: list.sid, address })
        })
    }
}
