//! Decides many INVITEs at once, with memory reads and hashing interleaved across the batch.
//!
//! Only side-effect-free work runs for the whole batch first: parsing headers, lookups and hashing.
//! None of it depends on state that a decision changes, so each decision equals that of a single
//! call.

use std::hint::black_box;
use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use super::decide::{DecisionContext, PendingAuth, RequestTarget, reject, reject_uri};
use super::explain::NoTrace;
use super::judge::{Checked, Claim, Precomputed, offers};
use crate::decision::{AddressMatch, Cause, Decision};
use crate::digest::{
    Credentials, DigestCheck, Freshness, MAX_BATCH, Username, parse_fast, verify_batch,
};
use crate::invite::Invite;
use crate::method::Method;
use crate::snapshot::{AccessList, MappedList, TargetEntry};
use crate::uri::{Host, UriError};

/// Smaller batches are decided one by one, because precomputing has a fixed cost.
const MIN_BATCH: usize = 24;

/// One value for each INVITE of a chunk.
type Each<T> = ArrayVec<T, MAX_BATCH>;

impl<'s> DecisionContext<'s> {
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

    /// Not inlined, so that small batches do not pay for its large stack frame.
    #[inline(never)]
    fn decide_chunk(&self, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
        let mut hosts: [Host; MAX_BATCH] = std::array::from_fn(|_| Host::empty());
        let mut hosts = hosts.iter_mut();
        // an INVITE takes at most one buffer: it goes through the full parser at most once
        let mut read = |invite| match hosts.next() {
            Some(host) => RequestTarget::parse_full(invite, host),
            None => Err(UriError::TooLong),
        };
        let mut requests = Each::new();
        for invite in invites {
            requests.push(RequestTarget::parse_fast(invite).map_or_else(|| read(invite), Ok));
        }
        let mut entries = self.look_up_hosts(&requests);
        // hosts that the fast path did not find go through the full parser
        for ((request, entry), invite) in requests.iter_mut().zip(&mut entries).zip(invites) {
            if entry.is_none() && request.as_ref().is_ok_and(|request| request.parsed_fast) {
                *request = read(invite);
                *entry = request.as_ref().ok().and_then(|it| self.snapshot.named_entry(it.host));
            }
            if entry.is_none()
                && !invite.domain_hosts().is_empty()
                && let Some((named, found)) =
                    self.name_by_domain_host(*request, invite, &mut NoTrace)
            {
                (*request, *entry) = (Ok(named), Some(found));
            }
        }
        let addresses = self.match_first_lists(&entries, invites);

        // store the final decisions now; the others get a placeholder rejection until they are
        // judged
        let first = out.len();
        let mut pending = Each::<Option<(&RequestTarget<'_>, PendingAuth<'_>)>>::new();
        let places = requests.iter().zip(entries).zip(addresses).zip(invites);
        for (((request, entry), first), invite) in places {
            let address = |entry: &TargetEntry, trace: &mut NoTrace| {
                let others = || self.match_address(entry, invite, trace);
                first.or_else(|| (entry.access_lists.len() > 1).then(others).flatten())
            };
            let (auth, decision) = match request {
                Ok(request) => {
                    match self.check_before_auth(request, entry, invite, address, &mut NoTrace) {
                        ControlFlow::Continue(auth) => {
                            (Some((request, auth)), reject(entry, Cause::UserUnknown))
                        }
                        ControlFlow::Break(decision) => (None, decision),
                    }
                }
                Err(error) => (None, reject_uri(*error, invite)),
            };
            pending.push(auth);
            out.push(decision);
        }
        if pending.iter().all(Option::is_none) {
            return;
        }
        let read: Each<Option<(Credentials<'_>, Freshness)>> = pending
            .iter()
            .zip(invites)
            .map(|(pending, invite)| {
                let ((request, auth), [(_, value)]) = (pending.as_ref()?, invite.credentials())
                else {
                    return None;
                };
                let credentials = parse_fast(value, auth.realm.as_str())?;
                let freshness = self.judge(request, auth, invite).freshness(credentials.nonce);
                Some((credentials, freshness))
            })
            .collect();
        let checked = self.precompute_checks(invites, &pending, &read);

        let places = out.iter_mut().skip(first);
        let precomputed = read.iter().zip(checked);
        for (((invite, auth), precomputed), place) in
            invites.iter().zip(&pending).zip(precomputed).zip(places)
        {
            if let Some((request, auth)) = auth {
                let (read, checked) = precomputed;
                let precomputed = read.as_ref().map(|(credentials, freshness)| Precomputed {
                    credentials,
                    freshness: *freshness,
                    checked,
                });
                *place = self.authenticate(request, auth, invite, precomputed, &mut NoTrace);
            }
        }
    }

    /// The target of each host. Each step runs for the whole batch before the next step uses its
    /// result, so the cache misses overlap.
    fn look_up_hosts(
        &self,
        requests: &[Result<RequestTarget<'_>, UriError>],
    ) -> Each<Option<&'s TargetEntry>> {
        let targets = self.snapshot.targets();
        let hosts =
            || requests.iter().map(|request| request.as_ref().ok().map(|request| request.host));
        let keys: Each<_> = hosts().map(|host| host.map(|host| targets.key(host))).collect();
        let slots: Each<_> =
            keys.iter().map(|key| key.and_then(|key| targets.prefetch(key))).collect();
        black_box(
            slots.iter().flatten().fold(false, |any, slot| any ^ targets.prefetch_entry(*slot)),
        );
        keys.iter().zip(hosts()).map(|(key, host)| targets.named((*key)?, host?)).collect()
    }

    /// The entry of the first mapped access list that admits each source, with the same
    /// interleaving.
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
            .map(|(list, invite)| list.as_ref()?.number(invite.caller_ip()?))
            .collect();
        let entry = |(list, number): (&Option<&AccessList>, &Option<usize>)| {
            let (list, (address, _)) = (list.as_ref()?, list.as_ref()?.entry((*number)?)?);
            Some(AddressMatch { list: list.sid, address })
        };
        lists.iter().zip(&numbers).map(entry).collect()
    }

    /// Verifies each header that batched hashing supports, for targets with one mapped list.
    fn precompute_checks(
        &self,
        invites: &[Invite<'_>],
        pending: &[Option<(&RequestTarget<'_>, PendingAuth<'s>)>],
        read: &[Option<(Credentials<'_>, Freshness)>],
    ) -> Each<Option<Checked<'s>>> {
        // only a live nonce leads to a verification
        let live = |read: &'_ Option<(Credentials<'_>, Freshness)>| match read {
            Some((credentials, Freshness::Live(_))) => DigestCheck::is_batchable(credentials),
            _ => false,
        };
        let mut checked: Each<_> = invites.iter().map(|_| None).collect();
        if !read.iter().any(live) {
            return checked;
        }
        // prefetch the claimed users as `look_up_hosts` prefetches the targets
        let users = self.snapshot.users();
        let mut named = Each::<(_, _, &MappedList, _)>::new();
        for (number, (read, auth)) in read.iter().zip(pending).enumerate() {
            if let (Some((credentials, _)), Some((_, auth))) = (read, auth)
                && live(read)
                && let Some(invite) = invites.get(number)
                && let [mapped] = auth.entry.lists_for(invite.method)
                && offers(auth.policy, credentials).is_ok()
            {
                let key = match &credentials.username {
                    Username::Plain(name) => Some(users.key(mapped.list, name)),
                    Username::Hash(_) => None,
                };
                named.push((number, credentials, mapped, key));
            }
        }
        let slots: Each<_> = named.iter().filter_map(|it| users.prefetch(it.3?)).collect();
        black_box(slots.iter().fold(false, |any, slot| any ^ users.prefetch_entry(*slot)));

        // (INVITE index, header, method, stored HA1) for each response to verify
        let mut claims = Each::<(usize, &Credentials<'_>, Method<'_>, Claim<'s>)>::new();
        for (number, credentials, mapped, key) in &named {
            let places = (pending.get(*number), invites.get(*number));
            let (Some(Some((request, auth))), Some(invite)) = places else { continue };
            let judge = self.judge(request, auth, invite);
            let claim = match (key, &credentials.username) {
                (Some(key), Username::Plain(name)) => {
                    judge.claim_of(credentials.algorithm, users.look_up(*key, mapped.list, name))
                }
                _ => judge.claim(mapped, credentials),
            };
            claims.push((*number, *credentials, invite.method, claim));
        }
        let questions: Each<_> = claims
            .iter()
            .map(|(_, credentials, method, claim)| DigestCheck {
                credentials,
                method: *method,
                ha1: claim.ha1(),
            })
            .collect();
        for ((number, .., claim), right) in claims.iter().zip(verify_batch(&questions)) {
            if let (Some(place), Some(right)) = (checked.get_mut(*number), right) {
                *place = Some(claim.checked(right));
            }
        }
        checked
    }
}
