//! The basis of an accept, to compare it with a later snapshot.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use arrayvec::ArrayString;
use siphasher::sip::SipHasher13;

use super::Snapshot;
use super::entry::TargetEntry;
use super::index::random_key;
use super::users::CredentialEntry;
use crate::decision::Accept;
use crate::digest::InlineText;
use crate::invite::Invite;
use crate::method::Method;
use crate::model::{AccountStatus, MethodSet, Target};
use crate::sid::{AccountSid, CredentialSid};

/// The basis of an accept: account, target, method, source, transport and password.
///
/// A program that grants something beyond the call, such as a place for its connection, keeps the
/// basis and asks [`Snapshot::upholds`] after a change. The password is kept as a keyed hash of its
/// stored hashes, with a random key for each basis.
#[derive(Clone)]
pub struct AcceptBasis {
    account: AccountSid,
    target: Target,
    /// None for INVITE.
    other_method: Option<InlineText<{ MethodSet::MAX_LEN }>>,
    /// None if it was unknown.
    source: Option<IpAddr>,
    is_secure: bool,
    credential: Option<CredentialBasis>,
}

/// A verified credential.
#[derive(Clone)]
struct CredentialBasis {
    sid: CredentialSid,
    key: SipHasher13,
    /// The hash of the stored hashes under `key`.
    tag: u64,
}

impl AcceptBasis {
    /// The account that owns the target of the accept.
    #[must_use]
    pub const fn account(&self) -> AccountSid {
        self.account
    }

    fn method(&self) -> Method<'_> {
        self.other_method.as_deref().map_or(Method::INVITE, Method::new)
    }
}

/// Omits the source, because addresses do not belong in logs.
impl fmt::Debug for AcceptBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptBasis")
            .field("account", &self.account)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl CredentialBasis {
    fn of(entry: &CredentialEntry) -> Self {
        let key = random_key();
        Self { sid: entry.sid, tag: tag(key, entry), key }
    }
}

/// The hash of the stored hashes of a user.
fn tag(mut hasher: SipHasher13, entry: &CredentialEntry) -> u64 {
    for (function, hash) in entry.ha1.iter() {
        hasher.write_usize(function.index());
        hasher.write(hash);
    }
    hasher.finish()
}

impl Snapshot {
    /// The basis of `accept`, a decision on `invite`. None if this snapshot does not uphold it.
    ///
    /// Use the snapshot that decided: with a later one, a password that was changed meanwhile would
    /// count as the one that was proved.
    #[must_use]
    pub fn basis(&self, accept: &Accept, invite: &Invite<'_>) -> Option<AcceptBasis> {
        let credential = match &accept.credential {
            Some(proved) => Some(CredentialBasis::of(self.users.get(proved.credential)?)),
            None => None,
        };
        let other_method = match invite.method.other() {
            // a longer method is never accepted
            Some(method) => Some(InlineText(ArrayString::from(method).ok()?)),
            None => None,
        };
        let basis = AcceptBasis {
            account: accept.account,
            target: accept.target,
            other_method,
            source: invite.caller_ip(),
            is_secure: invite.transport().is_secure(),
            credential,
        };
        self.upholds(&basis).then_some(basis)
    }

    /// Whether the same request with the same password would still be accepted.
    ///
    /// The account must be active, and the policy and the access lists of the target must admit the
    /// method and the source. The user
    /// must be enabled and in a list mapped for the method, with the same stored hashes. From and To
    /// are not compared again.
    #[must_use]
    pub fn upholds(&self, basis: &AcceptBasis) -> bool {
        let Some(entry) = self.targets.get(basis.target) else { return false };
        let account = self.account_entry(entry.account);
        account.is_some_and(|account| {
            account.sid == basis.account && account.status == AccountStatus::Active
        }) && entry.admits(basis.method())
            && (basis.is_secure || !entry.secure)
            && self.upholds_source(entry, basis.source)
            && self.upholds_credential(entry, basis.method(), basis.credential.as_ref())
    }

    /// Whether the access lists of a target admit a source, or none are mapped.
    fn upholds_source(&self, entry: &TargetEntry, source: Option<IpAddr>) -> bool {
        let admits = |list, source| {
            self.access_list_entry(list).is_some_and(|list| list.admits(source).is_some())
        };
        entry.access_lists.is_empty()
            || source
                .is_some_and(|source| entry.access_lists.iter().any(|list| admits(*list, source)))
    }

    fn upholds_credential(
        &self,
        entry: &TargetEntry,
        method: Method<'_>,
        basis: Option<&CredentialBasis>,
    ) -> bool {
        let Some(basis) = basis else {
            // the address alone was checked, which must still be enough
            return entry.credential_lists.is_empty()
                && !entry.access_lists.is_empty()
                && !method.is_register();
        };
        self.users.get(basis.sid).is_some_and(|user| {
            !user.disabled
                && entry.lists_for(method).iter().any(|mapped| mapped.list == user.list)
                && tag(basis.key, user) == basis.tag
        })
    }
}
