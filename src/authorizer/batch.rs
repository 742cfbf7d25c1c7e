//! Many INVITEs at once: what takes waiting for memory or hashing is done for all of them side by
//! side, before they are decided one after the other.
//!
//! Only what has no effect and depends on nothing that a decision changes is done ahead: reading
//! headers, looking up, hashing. So each decision is the one that it would be alone.

use std::hint::black_box;
use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use super::decide::{Asked, Deciding, Gate, reject};
use super::explain::NoTrace;
use super::judge::{Ahead, Checked, Claim, offers};
use crate::decision::{AddressMatch, Decision, Reason};
use crate::digest::{Credentials, DigestCheck, MAX_BATCH, Parsed, Username, parse, verify_batch};
use crate::invite::Invite;
use crate::snapshot::{AccessList, MappedList, TargetEntry};
use crate::uri::Host;

/// Fewer than these are decided one by one: what is done ahead costs something too.
const MIN_BATCH: usize = 24;

/// As many as are hashed side by side.
type Each<T> = ArrayVec<T, MAX_BATCH>;

impl<'s> Deciding<'s> {
    pub(super) fn decide_batch(&self, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
        if invites.len() < MIN_BATCH {
            out.extend(invites.iter().map(|invite| self.decide(invite, &mut NoTrace)));
            return;
        }
        out.reserve(invites.len());
        for invites in invites.chunks(MAX_BATCH) {
            if invites.len() < MIN_BATCH {
                out.extend(invites.iter().map(|invite| self.decide(invite, &mut NoTrace)));
            } else {
                self.decide_chunk(invites, out);
            }
        }
    }

    /// Apart, as what it needs on the stack would be made ready for few too.
    #[inline(never)]
    fn decide_chunk(&self, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
        let mut hosts: [Host; MAX_BATCH] = std::array::from_fn(|_| Host::empty());
        let mut hosts = hosts.iter_mut();
        // each takes a place at most, as the one that took it is not read again
        let mut read = |invite| match hosts.next() {
            Some(host) => Asked::of(invite, host),
            None => Err(Reason::BadRequestUri),
        };
        let mut asked = Each::new();
        for invite in invites {
            asked.push(Asked::at_sight(invite).map_or_else(|| read(invite), Ok));
        }
        let mut entries = self.look_up_hosts(&asked);
        // what names nothing at first sight is read closely
        for ((asked, entry), invite) in asked.iter_mut().zip(&mut entries).zip(invites) {
            if entry.is_none() && asked.as_ref().is_ok_and(|asked| asked.at_sight) {
                *asked = read(invite);
                *entry = asked.as_ref().ok().and_then(|it| self.snapshot.named_entry(it.host));
            }
        }
        let addresses = self.match_first_lists(&entries, invites);

        // the decisions of those that get no further stand in their places at once; the others' are
        // refusals until they are decided
        let first = out.len();
        let mut gates = Each::<Option<(&Asked<'_>, Gate<'_>)>>::new();
        let places = asked.iter().zip(entries).zip(addresses).zip(invites);
        for (((asked, entry), first), invite) in places {
            let address = |entry: &TargetEntry, trace: &mut NoTrace| {
                let others = || self.match_address(entry, invite, trace);
                first.or_else(|| (entry.access_lists.len() > 1).then(others).flatten())
            };
            let (gate, decision) = match asked {
                Ok(asked) => match self.gate(asked, entry, invite, address, &mut NoTrace) {
                    ControlFlow::Continue(gate) => {
                        (Some((asked, gate)), reject(entry, Reason::WrongCredentials))
                    }
                    ControlFlow::Break(decision) => (None, decision),
                },
                Err(reason) => (None, reject(None, *reason)),
            };
            gates.push(gate);
            out.push(decision);
        }
        if gates.iter().all(Option::is_none) {
            return;
        }
        let parsed: Each<Option<Parsed<'_>>> = gates
            .iter()
            .zip(invites)
            .map(|(gate, invite)| match (gate, invite.credentials()) {
                (Some((_, gate)), [(_, value)]) => Some(parse(value, gate.realm.as_str())),
                _ => None,
            })
            .collect();
        let checked = self.check_ahead(invites, &gates, &parsed);

        let places = out.iter_mut().skip(first);
        let ahead = parsed.iter().zip(checked);
        for (((invite, gate), ahead), place) in invites.iter().zip(&gates).zip(ahead).zip(places) {
            if let Some((asked, gate)) = gate {
                let (parsed, checked) = ahead;
                let ahead = parsed.as_ref().map(|parsed| Ahead { parsed, checked });
                *place = self.pass(asked, gate, invite, ahead, &mut NoTrace);
            }
        }
    }

    /// What the hosts name. Each step reads for all of them before the next one needs what it has
    /// read, so that they wait for memory together.
    fn look_up_hosts(&self, asked: &[Result<Asked<'_>, Reason>]) -> Each<Option<&'s TargetEntry>> {
        let targets = self.snapshot.targets();
        let hosts = || asked.iter().map(|asked| asked.as_ref().ok().map(|asked| asked.host));
        let keys: Each<_> = hosts().map(|host| host.map(|host| targets.key(host))).collect();
        let slots: Each<_> =
            keys.iter().map(|key| key.and_then(|key| targets.read_ahead(key))).collect();
        black_box(slots.iter().flatten().fold(false, |any, slot| any ^ targets.touch(*slot)));
        keys.iter().zip(hosts()).map(|(key, host)| targets.named((*key)?, host?)).collect()
    }

    /// The entry of the first mapped access list that admits each source, looked up as the hosts are.
    fn match_first_lists(
        &self,
        entries: &[Option<&'s TargetEntry>],
        invites: &[Invite<'_>],
    ) -> Each<Option<AddressMatch>> {
        let lists: Each<_> = entries
            .iter()
            .map(|entry| {
                self.snapshot.access_list_entry(entry.as_ref()?.access_lists.first().copied()?)
            })
            .collect();
        let numbers: Each<_> = lists
            .iter()
            .zip(invites)
            .map(|(list, invite)| list.as_ref()?.number(invite.source().ip()))
            .collect();
        let entry = |(list, number): (&Option<&AccessList>, &Option<usize>)| {
            let (list, (address, _)) = (list.as_ref()?, list.as_ref()?.entry((*number)?)?);
            Some(AddressMatch { list: list.sid, address })
        };
        lists.iter().zip(&numbers).map(entry).collect()
    }

    /// What the first mapped list says to each header that was read, where it is of the usual kind.
    fn check_ahead(
        &self,
        invites: &[Invite<'_>],
        gates: &[Option<(&Asked<'_>, Gate<'s>)>],
        parsed: &[Option<Parsed<'_>>],
    ) -> Each<Option<Checked<'s>>> {
        let usual = |parsed: &'_ Option<Parsed<'_>>| -> bool {
            matches!(parsed, Some(Parsed::Credentials(it)) if DigestCheck::is_batchable(it))
        };
        let mut checked: Each<_> = invites.iter().map(|_| None).collect();
        if !parsed.iter().any(usual) {
            return checked;
        }
        // the users that are named, read ahead as the hosts are
        let users = self.snapshot.users();
        let mut named = Each::<(_, _, &MappedList, _)>::new();
        for (number, (parsed, gate)) in parsed.iter().zip(gates).enumerate() {
            if let (Some(Parsed::Credentials(credentials)), Some((_, gate))) = (parsed, gate)
                && let Some(mapped) = gate.entry.credential_lists.first()
                && DigestCheck::is_batchable(credentials)
                && offers(gate.policy, credentials)
            {
                let key = match &credentials.username {
                    Username::Plain(name) => Some(users.key(mapped.list, name)),
                    Username::Hash(_) => None,
                };
                named.push((number, credentials, mapped, key));
            }
        }
        let slots: Each<_> = named.iter().filter_map(|it| users.read_ahead(it.3?)).collect();
        black_box(slots.iter().fold(false, |any, slot| any ^ users.touch(*slot)));

        // whoever has to be compared with, and for which INVITE
        let mut claims = Each::<(usize, &Credentials<'_>, Claim<'s>)>::new();
        for (number, credentials, mapped, key) in &named {
            let places = (gates.get(*number), invites.get(*number));
            let (Some(Some((asked, gate))), Some(invite)) = places else { continue };
            let judge = self.judge(asked, gate, invite);
            let claim = match (key, &credentials.username) {
                (Some(key), Username::Plain(name)) => {
                    judge.claim_of(credentials.algorithm, users.look_up(*key, mapped.list, name))
                }
                _ => judge.claim(mapped, credentials),
            };
            claims.push((*number, *credentials, claim));
        }
        let questions: Each<_> = claims
            .iter()
            .map(|(_, credentials, claim)| DigestCheck { credentials, ha1: claim.ha1() })
            .collect();
        for ((number, _, claim), right) in claims.iter().zip(verify_batch(&questions)) {
            if let (Some(place), Some(right)) = (checked.get_mut(*number), right) {
                *place = Some(claim.checked(right));
            }
        }
        checked
    }
}
