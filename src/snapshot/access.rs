//! An IP access control list and its compiled form.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::table::Entry;
use crate::acl::{Prefix, PrefixTable, TooManyPrefixes};
use crate::sid::{AccountSid, IpAccessControlListSid, IpAddressSid};

/// An entry of a list, sorted by prefix, then SID. The table needs this order, so building it takes
/// no sort; of equal prefixes the lowest SID wins.
type Member = (Prefix, IpAddressSid);

/// Members that a commit adds (true) or removes (false). Applying them together avoids one copy of
/// the list for each.
pub(super) type Changes = BTreeMap<Member, bool>;

/// An IP access control list.
#[derive(Clone)]
pub(crate) struct AccessList {
    pub(crate) sid: IpAccessControlListSid,
    pub(crate) account: AccountSid,
    pub(crate) mappings: usize,
    /// Number of members, including those not compiled yet.
    pub(super) len: usize,
    compiled: Arc<Compiled>,
}

/// A member's number in the table is its index in `members`.
#[derive(Default)]
struct Compiled {
    table: PrefixTable,
    members: Box<[Member]>,
}

impl Entry for AccessList {
    type Key = IpAccessControlListSid;

    fn key(&self) -> IpAccessControlListSid {
        self.sid
    }
}

impl AccessList {
    pub(super) fn new(sid: IpAccessControlListSid, account: AccountSid) -> Self {
        Self { sid, account, mappings: 0, len: 0, compiled: Arc::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The most specific entry that contains `source`.
    #[inline]
    pub(crate) fn admits(&self, source: IpAddr) -> Option<(IpAddressSid, Prefix)> {
        self.entry(self.number(source)?)
    }

    /// The number of the most specific entry that contains `source`.
    #[inline]
    pub(crate) fn number(&self, source: IpAddr) -> Option<usize> {
        self.compiled.table.longest(source)
    }

    /// The entry with this number.
    #[inline]
    pub(crate) fn entry(&self, number: usize) -> Option<(IpAddressSid, Prefix)> {
        self.compiled.members.get(number).map(|(prefix, sid)| (*sid, *prefix))
    }

    /// Whether the compiled form has this entry.
    #[cfg(feature = "unstable-internals")]
    pub(super) fn has(&self, sid: IpAddressSid, prefix: Prefix) -> bool {
        self.compiled.members.binary_search(&(prefix, sid)).is_ok()
    }

    /// Applies `changes` and compiles the list, in one pass over the members. Clones are not
    /// affected.
    pub(super) fn compile(&mut self, changes: Changes) -> Result<(), TooManyPrefixes> {
        let mut members = Vec::with_capacity(self.len);
        let mut rest = &*self.compiled.members;
        for (member, present) in changes {
            let (before, after) = rest.split_at(rest.partition_point(|other| *other < member));
            members.extend_from_slice(before);
            rest = match after.split_first() {
                Some((same, after)) if *same == member => after,
                _ => after,
            };
            if present {
                members.push(member);
            }
        }
        members.extend_from_slice(rest);
        let table = PrefixTable::build(members.iter().map(|(prefix, _)| *prefix))?;
        self.compiled = Arc::new(Compiled { table, members: members.into() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn list() -> AccessList {
        let sid = IpAccessControlListSid::from_name(&["list"]);
        AccessList::new(sid, AccountSid::from_name(&["account"]))
    }

    fn sid(n: u8) -> IpAddressSid {
        IpAddressSid::from_bytes([n; 16])
    }

    /// Nested and equal prefixes of both families, from a small range.
    fn prefix(at: u8, len: u8) -> Prefix {
        let free = len % 9;
        let kept = u16::from(at) >> free << free;
        if at.is_multiple_of(3) {
            Prefix::new(Ipv6Addr::from_bits(kept.into()).into(), 128 - free).unwrap()
        } else {
            Prefix::new(Ipv4Addr::from_bits(kept.into()).into(), 32 - free).unwrap()
        }
    }

    #[test]
    fn of_equal_prefixes_the_lowest_sid_answers() {
        let mut list = list();
        let prefix = "192.0.2.0/24".parse().unwrap();
        let source = "192.0.2.1".parse().unwrap();
        for n in [5, 3, 7] {
            list.compile([((prefix, sid(n)), true)].into()).unwrap();
        }
        assert_eq!(list.admits(source), Some((sid(3), prefix)));
        list.compile([((prefix, sid(3)), false)].into()).unwrap();
        assert_eq!(list.admits(source), Some((sid(5), prefix)));
    }

    proptest! {
        /// Compares with a set that is scanned for each answer; earlier clones must stay unchanged.
        #[test]
        fn does_what_a_set_of_prefixes_does(
            commits in prop::collection::vec(
                prop::collection::vec((any::<u8>(), any::<u8>(), 0..4_u8, any::<bool>()), 0..40),
                0..12,
            )
        ) {
            let mut list = list();
            let mut oracle: BTreeSet<Member> = BTreeSet::new();
            let mut kept = Vec::new();
            for commit in commits {
                kept.push((list.clone(), oracle.clone()));
                let changes: Changes = commit
                    .into_iter()
                    .map(|(at, len, n, present)| ((prefix(at, len), sid(n)), present))
                    .collect();
                for (member, present) in &changes {
                    if *present { oracle.insert(*member) } else { oracle.remove(member) };
                }
                list.compile(changes).unwrap();
            }
            kept.push((list, oracle));
            for (list, oracle) in kept {
                prop_assert!(list.compiled.members.iter().eq(&oracle));
                prop_assert!(oracle.iter().all(|(prefix, sid)| list.has(*sid, *prefix)));
                prop_assert!(oracle.iter().all(|(prefix, _)| !list.has(sid(4), *prefix)));
                for at in 0..=255_u8 {
                    let v4 = IpAddr::from(Ipv4Addr::from_bits(at.into()));
                    let v6 = IpAddr::from(Ipv6Addr::from_bits(at.into()));
                    for source in [v4, v6] {
                        let around = oracle.iter().filter(|(prefix, _)| prefix.contains(source));
                        let best = around.min_by_key(|(prefix, sid)| {
                            (Reverse(prefix.len()), *sid)
                        });
                        prop_assert_eq!(list.admits(source), best.map(|(prefix, sid)| (*sid, *prefix)));
                    }
                }
            }
        }
    }
}
