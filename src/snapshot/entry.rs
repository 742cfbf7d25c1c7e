//! Compact forms of the records: only the fields that decisions need.

use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::access::AccessList;
use super::table::{Entry, Slot};
use super::users::{CredentialList, MappedList};
use crate::acl::Prefix;
use crate::digest::Algorithm;
use crate::method::Method;
use crate::model::{AccountStatus, DomainName, OnAccept, Policy, QopOffer, Realm, Target};
use crate::sid::{AccountSid, IpAddressSid};

#[derive(Clone, Copy)]
pub(crate) struct AccountEntry {
    pub(crate) sid: AccountSid,
    pub(crate) status: AccountStatus,
    /// Number of domains, trunks, lists and roles that this account owns.
    pub(crate) owned: usize,
}

impl Entry for AccountEntry {
    type Key = AccountSid;

    fn key(&self) -> AccountSid {
        self.sid
    }
}

/// A short list; up to `N` values are stored inline.
#[derive(Clone)]
pub(crate) enum Few<T, const N: usize> {
    Inline(ArrayVec<T, N>),
    Boxed(Box<[T]>),
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::Inline(ArrayVec::new())
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Inline(few) => few,
            Self::Boxed(many) => many,
        }
    }
}

impl<T, const N: usize> From<Vec<T>> for Few<T, N> {
    fn from(all: Vec<T>) -> Self {
        if all.len() > N {
            return Self::Boxed(all.into());
        }
        Self::Inline(all.into_iter().collect())
    }
}

/// A domain or trunk with its policy and mappings.
#[derive(Clone)]
pub(crate) struct TargetEntry {
    pub(crate) target: Target,
    pub(crate) account: Slot<AccountEntry>,
    pub(crate) name: Option<DomainName>,
    pub(crate) secure: bool,
    /// Whether the policy does not admit INVITE: the method of nearly all requests, for which nothing
    /// else of the policy is then read.
    refuses_invite: bool,
    /// Whether phones may register (`DomainSettings::sip_registration`); never at a trunk.
    pub(crate) registers: bool,
    /// None means the default policy.
    policy: Option<Arc<Policy>>,
    /// None means the default of the program.
    pub(crate) on_accept: Option<Arc<OnAccept>>,
    /// Mapped for calls, sorted by SID.
    pub(crate) access_lists: Few<Slot<AccessList>, 4>,
    pub(crate) credential_lists: Few<MappedList, 2>,
    /// Mapped for registrations, sorted by SID; without roles.
    pub(crate) registrations: Few<MappedList, 2>,
    /// The common realm of all mapped credential lists.
    pub(crate) realm: Option<Realm>,
}

impl Entry for TargetEntry {
    type Key = Target;

    fn key(&self) -> Target {
        self.target
    }
}

impl TargetEntry {
    pub(crate) fn new(target: Target, account: Slot<AccountEntry>) -> Self {
        Self {
            target,
            account,
            name: None,
            secure: false,
            refuses_invite: false,
            registers: false,
            policy: None,
            on_accept: None,
            access_lists: Few::default(),
            credential_lists: Few::default(),
            registrations: Few::default(),
            realm: None,
        }
    }

    /// The policy, or the default one.
    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        self.policy.as_deref().unwrap_or(&Policy::DEFAULT)
    }

    pub(crate) fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    pub(crate) fn set_policy(&mut self, policy: Option<Arc<Policy>>) {
        self.policy = policy;
        self.refuses_invite = !self.policy().methods.admits(Method::INVITE);
    }

    /// Whether the policy admits requests with this method. REGISTER is no matter of the policy: the
    /// domain must take registrations and have a list for them.
    #[inline]
    pub(crate) fn admits(&self, method: Method<'_>) -> bool {
        match method.other() {
            None => !self.refuses_invite,
            Some(_) if method.is_register() => self.registers && !self.registrations.is_empty(),
            Some(_) => self.policy().methods.admits(method),
        }
    }

    /// The credential lists whose users may send requests with this method.
    #[inline]
    pub(crate) fn lists_for(&self, method: Method<'_>) -> &[MappedList] {
        if method.is_register() { &self.registrations } else { &self.credential_lists }
    }

    /// All mapped credential lists. A list that is mapped for calls and registrations comes twice.
    pub(crate) fn all_lists(&self) -> impl Iterator<Item = Slot<CredentialList>> {
        self.credential_lists.iter().chain(&*self.registrations).map(|mapped| mapped.list)
    }

    pub(crate) fn mappings(&self) -> usize {
        self.access_lists.len() + self.credential_lists.len() + self.registrations.len()
    }

    pub(crate) fn wants_userhash(&self) -> bool {
        self.policy().userhash
    }

    /// Encodes the offered algorithms and qop as one number. Nonces are bound to it, so a nonce
    /// issued under one offer is invalid under another.
    pub(crate) fn offer_code(policy: &Policy) -> u32 {
        // positional code: the digits are the choices; no digit is zero, so the code is unique
        let qop = match policy.qop {
            QopOffer::Auth => 4,
            QopOffer::AuthInt => 5,
            QopOffer::Both => 6,
        };
        policy.algorithms.iter().fold(qop, |code, algorithm| {
            code.wrapping_mul(OFFER_BASE).wrapping_add(algorithm as u32 + 1)
        })
    }
}

/// Base of [`TargetEntry::offer_code`]: more than the number of algorithms; 8 if that suffices,
/// because multiplying by 8 is a shift.
#[expect(clippy::cast_possible_truncation, reason = "there are few algorithms")]
const OFFER_BASE: u32 = if Algorithm::COUNT < 8 { 8 } else { Algorithm::COUNT as u32 + 1 };
/// Checks that the code of the longest offer fits in 32 bits.
const _: () = {
    let (mut bound, mut digits) = (7_u32, 0);
    while digits < Algorithm::COUNT {
        assert!(bound <= u32::MAX / OFFER_BASE, "an offer takes more than 32 bits");
        bound *= OFFER_BASE;
        digits += 1;
    }
};

/// An IP address record: its list and prefix.
#[derive(Clone, Copy)]
pub(crate) struct AddressEntry {
    pub(crate) sid: IpAddressSid,
    pub(crate) list: Slot<AccessList>,
    pub(crate) prefix: Prefix,
}

impl Entry for AddressEntry {
    type Key = IpAddressSid;

    fn key(&self) -> IpAddressSid {
        self.sid
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::AlgorithmOffer;

    /// Every offer: all orders of all subsets of the algorithms.
    fn offers(chosen: &mut Vec<Algorithm>, all: &mut Vec<AlgorithmOffer>) {
        for algorithm in Algorithm::ALL {
            if !chosen.contains(&algorithm) {
                chosen.push(algorithm);
                all.push(AlgorithmOffer::new(chosen.iter().copied()).unwrap());
                offers(chosen, all);
                chosen.pop();
            }
        }
    }

    #[test]
    fn few_keeps_its_values() {
        for len in 0..6_u32 {
            let all: Vec<u32> = (0..len).collect();
            let few = Few::<u32, 4>::from(all.clone());
            assert_eq!(*few, *all);
            assert_eq!(matches!(few, Few::Inline(_)), len <= 4);
        }
    }

    /// Guards the memory of a million targets; see the memory report in `benches`.
    #[test]
    fn a_target_is_small() {
        assert_eq!(size_of::<Option<TargetEntry>>(), 160);
    }

    #[test]
    fn no_two_offers_have_one_code() {
        let mut all = Vec::new();
        offers(&mut Vec::new(), &mut all);
        let mut codes = HashSet::new();
        for algorithms in &all {
            for qop in [QopOffer::Auth, QopOffer::AuthInt, QopOffer::Both] {
                let policy = Policy::default().with_algorithms(algorithms.clone()).with_qop(qop);
                codes.insert(TargetEntry::offer_code(&policy));
            }
        }
        // recurrence for the number of ordered non-empty subsets
        let choices = (0..Algorithm::COUNT).fold(1, |choices, n| 1 + (n + 1) * choices) - 1;
        assert_eq!((all.len(), codes.len()), (choices, 3 * choices));
    }
}
