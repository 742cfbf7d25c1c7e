//! The names and sources that the guess limits of this edge hold.
//!
//! The limits keep keyed hashes and no names. So the kept decisions are the candidates: of each refused name
//! and source, the limits are asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use sip_authz::model::Target;
use sip_authz::{Authorizer, GuessLimit, GuessState, Snapshot};
use sip_authz_rest::decisions::{Asker, Held, micros, rfc3339};

use crate::observe::recent::Recent;
use crate::observe::record::guess::Guess;

/// The tolerance between the time of a record and that of its decision.
const SKEW: Duration = Duration::from_secs(1);

/// The guess limits of this edge, and its kept decisions.
pub(crate) struct Limits<'a> {
    pub(crate) authorizer: &'a Authorizer,
    pub(crate) recent: &'a Recent,
    /// The name of this edge.
    pub(crate) edge: &'a str,
}

/// A name, a source, or both, as a limit counts them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holding {
    limit: GuessLimit,
    target: Target,
    user: Option<String>,
    /// An IPv4 address, or the first address of an IPv6 /64.
    source: Option<IpAddr>,
}

/// The present time, by both clocks.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    time: SystemTime,
}

impl Now {
    fn read() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    fn time_of(self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.time + later,
            None => self.time - self.instant.duration_since(instant),
        }
    }
}

impl Holding {
    /// The holdings that a wrong digest can belong to.
    fn of(guess: &Guess) -> Vec<Self> {
        let source = guess.source.map(network);
        let mut all = Vec::new();
        for limit in GuessLimit::ALL {
            let needs_source = limit != GuessLimit::Name;
            if needs_source && source.is_none() {
                // an unknown caller counts for its proxy, whose address the record does not have
                continue;
            }
            let users = match limit {
                GuessLimit::Source => vec![None],
                _ => spellings(&guess.user).into_iter().map(Some).collect(),
            };
            let source = source.filter(|_| needs_source);
            all.extend(users.into_iter().map(|user| Self {
                limit,
                target: guess.target,
                user,
                source,
            }));
        }
        all
    }

    /// The name and the source to ask the limits for. A limit without one of them ignores it.
    fn parts(&self) -> (&str, IpAddr) {
        let source = self.source.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        (self.user.as_deref().unwrap_or_default(), source)
    }

    fn state(&self, authorizer: &Authorizer, now: Now) -> Option<GuessState> {
        let (user, source) = self.parts();
        let states = authorizer.guesses(self.target, user, source, now.instant);
        states.into_iter().find(|state| state.limit == self.limit)
    }

    /// An id without the name and the address, so that it can be part of a URL. It is the same at each edge
    /// of a fleet.
    fn id(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        let source = self.source.map(|source| source.to_string()).unwrap_or_default();
        let parts = [kind(self.limit), &self.target.to_string(), &source, user];
        let mut hash = Sha256::new();
        for part in parts {
            // lengths make the encoding injective
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        hex::encode(hash.get(..16).unwrap_or_default())
    }
}

impl Limits<'_> {
    /// The names and sources that are held now and that the asker may see, the longest held first.
    pub(crate) fn held(&self, asker: Asker) -> Vec<Held> {
        let (now, snapshot) = (Now::read(), self.authorizer.snapshot());
        let mut held: Vec<_> = self
            .candidates(asker, &snapshot, now)
            .into_iter()
            .filter_map(|(holding, times)| self.show(&holding, &times, &snapshot, now))
            .collect();
        // the texts have a fixed length
        held.sort_unstable_by(|one, other| (&one.since, &one.id).cmp(&(&other.since, &other.id)));
        held
    }

    /// Forgets the wrong digests of the holding with this id. False if the asker may not see it, or if it is
    /// not held.
    pub(crate) fn release(&self, asker: Asker, id: &str) -> bool {
        let (now, snapshot) = (Now::read(), self.authorizer.snapshot());
        let candidates = self.candidates(asker, &snapshot, now);
        let found = candidates.keys().find(|holding| holding.id() == id);
        found.is_some_and(|holding| {
            let is_held = holding.state(self.authorizer, now).is_some_and(|state| state.is_held());
            let (user, source) = holding.parts();
            let (limit, target) = (holding.limit, holding.target);
            is_held && self.authorizer.release(limit, target, user, source, now.instant)
        })
    }

    /// The names and sources of the kept decisions that the asker may see, with the times of their wrong
    /// digests in microseconds since 1970.
    fn candidates(
        &self,
        asker: Asker,
        snapshot: &Snapshot,
        now: Now,
    ) -> HashMap<Holding, Vec<u64>> {
        let mut found = HashMap::<Holding, Vec<u64>>::new();
        self.recent.each_shown(now.time, |record| {
            let Some(guess) = record.guess() else { return };
            let owner = snapshot.target_view(guess.target).map(|view| view.account);
            if owner.is_none() || asker.account.is_some_and(|account| owner != Some(account)) {
                return;
            }
            for holding in Holding::of(&guess) {
                let times = found.entry(holding).or_default();
                if guess.is_counted {
                    times.push(guess.time);
                }
            }
        });
        found
    }

    fn show(
        &self,
        holding: &Holding,
        times: &[u64],
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<Held> {
        let state = holding.state(self.authorizer, now)?;
        let until = now.time_of(state.held_until?);
        let (earliest, latest) = (state.since_earliest?, state.since_latest?);
        // the oldest kept decision within the bounds; the limits do not know the time itself
        let bounds = micros(now.time_of(earliest) - SKEW)..=micros(now.time_of(latest) + SKEW);
        let oldest = times.iter().copied().filter(|time| bounds.contains(time)).min();
        let since = oldest.unwrap_or_else(|| micros(now.time_of(latest)));
        let view = snapshot.target_view(holding.target)?;
        Some(Held {
            id: holding.id(),
            edge: self.edge.to_owned(),
            kind: kind(holding.limit).to_owned(),
            account: view.account.to_string(),
            target: holding.target.to_string(),
            domain: view.name.map(ToString::to_string),
            user: holding.user.clone(),
            source: holding.source.map(shown),
            since: rfc3339(since),
            wrong: state.wrong.into(),
            until: rfc3339(micros(until)),
        })
    }
}

fn kind(limit: GuessLimit) -> &'static str {
    match limit {
        GuessLimit::Source => "source",
        GuessLimit::Name => "name",
        _ => "name-from-source",
    }
}

/// The source as the limits count it: an IPv4 address, or the /64 of an IPv6 address.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

fn shown(network: IpAddr) -> String {
    match network {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{ip}/64"),
    }
}

/// The user names that a header parameter can stand for. A record has the text of the parameter, and the
/// limits count the name: without the backslashes of a quoted string, decoded if it is `username*` (RFC 8187),
/// and a hash in lower case.
fn spellings(sent: &str) -> Vec<String> {
    let mut all = vec![sent.to_owned()];
    let mut unquoted = String::with_capacity(sent.len());
    let mut characters = sent.chars();
    while let Some(c) = characters.next() {
        unquoted.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    all.push(unquoted);
    let is_extended = sent.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("utf-8''"));
    if let Some(encoded) = sent.get(7..).filter(|_| is_extended) {
        all.extend(percent_decoded(encoded));
    }
    if matches!(sent.len(), 32 | 64) && sent.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        all.push(sent.to_ascii_lowercase());
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
