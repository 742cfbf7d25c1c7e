//! The two tables that this side keeps: the hop of each recent transaction, and the last renewal of each
//! dialog.
//!
//! Both have a fixed size. A lost entry costs a new choice of the hop or an early end of a token, and is
//! never a reason to accept.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sip_authz::model::Target;

use crate::keys::{Keys, Purpose};
use crate::leg::Leg;
use crate::route_token::Bound;
use crate::table::Table;
use crate::transaction::Branch;

/// The length of a leg to a hop in bytes: kind, IPv6 address and port.
const HOP_LEN: usize = 1 + 16 + 2;

/// The first byte of a hop that stands for none. No leg begins with it.
const NO_HOP: u8 = 0xff;

/// A table from the branches of recent requests to the hops that they went to, so that retransmissions,
/// CANCEL and the ACK of a failure follow their INVITE.
///
/// It takes 60 bytes for an entry, allocated at once. If it is too small for the calls of
/// [`LIFE`](Self::LIFE), the oldest are forgotten first. It shares no state with other processes, and is
/// empty after a restart.
pub(crate) struct Recent {
    table: Table<Sent>,
    /// The time of the first call.
    start: OnceLock<Instant>,
}

/// The destination of an INVITE, or of another request that makes a dialog.
#[derive(Clone, Copy)]
struct Sent {
    hop: [u8; HOP_LEN],
    /// The SID of the domain or trunk. A domain and a trunk have different ones.
    target: [u8; 16],
    /// The time in its tokens, in seconds since 1970.
    issued: u32,
}

impl Recent {
    /// The time for which a hop is remembered: timer C of a proxy that keeps transactions (RFC 3261
    /// §16.6 item 11).
    pub(crate) const LIFE: Duration = Duration::from_secs(180);

    /// Creates a table of at least this many entries.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity), start: OnceLock::new() }
    }

    /// Remembers that an INVITE with this branch, for this domain or trunk, went to this leg, and for
    /// [`LIFE`](Self::LIFE) from `now`. Its tokens have the time `issued`, in seconds since 1970. Of a leg
    /// that is no hop only the branch and that time are remembered.
    pub(crate) fn remember(
        &self,
        branch: Branch,
        target: Target,
        leg: Leg,
        issued: u32,
        now: Instant,
    ) {
        let mut hop = [NO_HOP; HOP_LEN];
        if leg.is_hop() {
            hop.iter_mut().zip(leg.encoded()).for_each(|(to, byte)| *to = byte);
        }
        let sent = Sent { hop, target: sid(target), issued };
        self.table.put(*branch.as_bytes(), sent, self.seconds(now));
    }

    /// The hop that an INVITE with this branch went to.
    #[must_use]
    pub(crate) fn find(&self, branch: Branch, now: Instant) -> Option<Leg> {
        Leg::decode(&mut self.sent(branch, now)?.hop.as_slice())
    }

    /// The hop that an INVITE with this branch went to, if it was for this domain or trunk.
    ///
    /// The caller chooses the fields that the branch is made of. So it could lead a call for one domain to the hop
    /// of another, with the identity fields of the first.
    #[must_use]
    pub(crate) fn find_for(&self, branch: Branch, target: Target, now: Instant) -> Option<Leg> {
        let sent = self.sent(branch, now).filter(|sent| sent.target == sid(target))?;
        Leg::decode(&mut sent.hop.as_slice())
    }

    /// The time in the tokens of the INVITE that was forwarded with this branch, in seconds since 1970.
    ///
    /// A retransmission with other tokens would be another request to a next hop that compares bytes.
    #[must_use]
    pub(crate) fn issued(&self, branch: Branch, now: Instant) -> Option<u32> {
        self.sent(branch, now).map(|sent| sent.issued)
    }

    /// Whether an INVITE with this branch was forwarded.
    #[must_use]
    pub(crate) fn knows(&self, branch: Branch, now: Instant) -> bool {
        self.sent(branch, now).is_some()
    }

    fn sent(&self, branch: Branch, now: Instant) -> Option<Sent> {
        let (sent, time) = self.table.get(branch.as_bytes())?;
        let age = self.seconds(now).saturating_sub(time);
        (u64::from(age) <= Self::LIFE.as_secs()).then_some(sent)
    }

    fn seconds(&self, now: Instant) -> u32 {
        let start = *self.start.get_or_init(|| now);
        u32::try_from(now.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX)
    }
}

/// The bytes of a SID.
fn sid(target: Target) -> [u8; 16] {
    match target {
        Target::Domain(sid) => *sid.as_bytes(),
        Target::Trunk(sid) => *sid.as_bytes(),
    }
}

/// A table from dialogs to the time of their last renewal.
///
/// The peers cannot carry this time: the route set of a dialog never changes (RFC 3261 §12.2), so they
/// send the token of the first INVITE for ever. A renewal is lost at a restart, and other processes do
/// not see it.
///
/// It takes 20 bytes for an entry, allocated at once. If it is too small, the oldest renewals are
/// forgotten first.
pub(crate) struct Renewed {
    table: Table<()>,
}

impl Renewed {
    /// Creates a table of at least this many entries.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Table::new(capacity) }
    }

    /// Notes a renewal of a dialog at `now` (seconds since 1970).
    pub(crate) fn renew(&self, keys: &Keys, dialog: Bound<'_>, now: u32) {
        self.table.put(keys.mac(Purpose::Dialog, &dialog.parts()), (), now);
    }

    /// The time of the last renewal of a dialog, in seconds since 1970.
    #[must_use]
    pub(crate) fn last(&self, keys: &Keys, dialog: Bound<'_>) -> Option<u32> {
        // the key may have changed since
        let parts = dialog.parts();
        let found = keys.macs(Purpose::Dialog, &parts);
        found.filter_map(|mac| self.table.get(&mac)).map(|((), time)| time).max()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sip_authz::{DomainSid, Transport, TrunkSid};

    use super::*;
    use crate::leg::Way;
    use crate::table::entry_size;

    fn branch(number: u64) -> Branch {
        let hash = blake3::hash(&number.to_be_bytes());
        let digits = hash.to_hex();
        Branch::read(format!("z9hG4bK{}", &digits[..32]).as_bytes()).unwrap()
    }

    fn target(number: u8) -> Target {
        Target::Domain(DomainSid::from_bytes([number; 16]))
    }

    fn hop(number: u16) -> Leg {
        let address = if number.is_multiple_of(2) { "192.0.2.1" } else { "2001:db8::1" };
        Leg::hop(Transport::Tls, (address.parse::<std::net::IpAddr>().unwrap(), number).into())
    }

    proptest! {
        #[test]
        fn hops_are_remembered_for_three_minutes(
            steps in prop::collection::vec((any::<bool>(), 0..40_u64, any::<u16>(), 0..60_u64), 0..200),
        ) {
            let (recent, mut map) = (Recent::new(10_000), HashMap::new());
            let start = Instant::now();
            let mut now = 0;
            for (remembers, number, port, wait) in steps {
                now += wait;
                let at = start + Duration::from_secs(now);
                if remembers {
                    recent.remember(branch(number), target(1), hop(port), u32::try_from(number).unwrap(), at);
                    map.insert(number, (port, now));
                } else {
                    let expected = map.get(&number).filter(|(_, time)| now - time <= 180);
                    let found = recent.find(branch(number), at);
                    prop_assert_eq!(found, expected.map(|(port, _)| hop(*port)));
                    let issued = recent.issued(branch(number), at);
                    prop_assert_eq!(issued, expected.map(|_| u32::try_from(number).unwrap()));
                }
            }
        }
    }

    #[test]
    fn of_other_legs_only_the_branch_is_remembered() {
        let (recent, now) = (Recent::new(8), Instant::now());
        for way in [Way::Listener(1), Way::Connection(2)] {
            recent.remember(branch(1), target(1), Leg { way, ..hop(1) }, 7, now);
            assert_eq!(recent.find(branch(1), now), None);
            assert_eq!(recent.find_for(branch(1), target(1), now), None);
            assert!(recent.knows(branch(1), now));
            assert_eq!(recent.issued(branch(1), now), Some(7));
        }
        assert!(!recent.knows(branch(2), now));
        assert_eq!(recent.issued(branch(2), now), None);
        recent.remember(branch(1), target(1), hop(1), 7, now);
        assert_eq!(recent.find(branch(1), now), Some(hop(1)));
        let late = now + Recent::LIFE + Duration::from_secs(1);
        assert!(!recent.knows(branch(1), late));
    }

    #[test]
    fn a_hop_is_found_for_its_target_only() {
        let (recent, now) = (Recent::new(8), Instant::now());
        recent.remember(branch(1), target(1), hop(1), 7, now);
        assert_eq!(recent.find_for(branch(1), target(1), now), Some(hop(1)));
        let trunk = Target::Trunk(TrunkSid::from_bytes([2; 16]));
        for other in [target(2), trunk] {
            assert_eq!(recent.find_for(branch(1), other, now), None);
        }
    }

    #[test]
    fn the_threads_may_see_the_time_in_another_order() {
        let (recent, now) = (Recent::new(8), Instant::now());
        let before = now.checked_sub(Duration::from_secs(5)).unwrap();
        recent.remember(branch(1), target(1), hop(1), 7, now);
        recent.remember(branch(2), target(1), hop(2), 7, before);
        assert_eq!(recent.find(branch(1), before), Some(hop(1)));
        assert_eq!(recent.find(branch(2), now), Some(hop(2)));
    }

    #[test]
    fn an_entry_has_a_fixed_size() {
        assert_eq!(entry_size::<Sent>(), 60);
        assert_eq!(entry_size::<()>(), 20);
    }

    #[test]
    fn a_renewal_counts_for_its_dialog_also_after_the_key_changes() {
        let secrets = [[1; 32], [2; 32], [3; 32]];
        let keys = |current: u8, previous: Option<u8>| {
            let key = |number: u8| (number, &secrets[usize::from(number)]);
            Keys::new(key(current), previous.map(key)).unwrap()
        };
        let dialog = Bound { call_id: b"call", initiator_tag: b"tag" };
        let other = Bound { call_id: b"callt", initiator_tag: b"ag" };
        let (renewed, first, second) = (Renewed::new(100), keys(0, None), keys(1, Some(0)));
        assert_eq!(renewed.last(&first, dialog), None);
        renewed.renew(&first, dialog, 1_800_000_000);
        assert_eq!(renewed.last(&first, dialog), Some(1_800_000_000));
        assert_eq!(renewed.last(&second, dialog), Some(1_800_000_000));
        assert_eq!(renewed.last(&second, other), None);
        renewed.renew(&second, dialog, 1_800_000_100);
        assert_eq!(renewed.last(&second, dialog), Some(1_800_000_100));
        assert_eq!(renewed.last(&keys(2, Some(1)), dialog), Some(1_800_000_100));
        assert_eq!(renewed.last(&keys(2, None), dialog), None);
    }
}
