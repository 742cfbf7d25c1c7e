//! Counts the `stale=true` answers of each flow, in fixed memory.

use std::net::SocketAddr;

use siphasher::sip128::SipHasher13;

use super::buckets::{Buckets, Entry, Ways};
use super::framed::{Framed, Key, octets, words};
use super::rate::GuessRate;

/// The token buckets of flows. In a full bucket of the table, a new flow replaces the one with the
/// fewest missing tokens. A flow that is forgotten starts full.
pub(crate) struct StaleAnswers {
    flows: Buckets<Ways<Flow>>,
    key: Key,
}

struct Flow {
    id: u128,
    idle_from_ms: u64,
}

/// Whose `stale=true` answers are counted together.
#[derive(Clone, Copy)]
pub(crate) struct StaleFlow<'a> {
    /// Address and port.
    pub(crate) source: SocketAddr,
    /// The SID of the domain or trunk.
    pub(crate) target: &'a [u8; 16],
    /// Whether the nonce was issued for this target and source.
    pub(crate) was_issued: bool,
}

impl Entry for Flow {
    type Id = u128;

    fn id(&self) -> u128 {
        self.id
    }
}

impl StaleAnswers {
    /// Creates a table for `entries` flows. `key` must be random and secret.
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        Self { flows: Buckets::new(entries), key: words(key) }
    }

    /// Whether the flow has a token left; takes it if `commits`.
    pub(crate) fn allows(
        &self,
        flow: StaleFlow<'_>,
        rate: GuessRate,
        now_ms: u64,
        commits: bool,
    ) -> bool {
        let id = self.id(flow);
        let mut bucket = self.flows.lock(id);
        let idle_from_ms = bucket.find(&id).map_or(0, |flow| flow.idle_from_ms);
        let allows = !rate.is_over(idle_from_ms, now_ms);
        if allows && commits {
            let idle_from_ms = rate.take(idle_from_ms, now_ms);
            bucket.put(Flow { id, idle_from_ms }, |flow| flow.idle_from_ms);
        }
        allows
    }

    fn id(&self, flow: StaleFlow<'_>) -> u128 {
        let StaleFlow { source, target, was_issued } = flow;
        let mut text = Framed::<{ 16 + 16 + 2 + 1 }>::default();
        text.push(&octets(source.ip()));
        text.push(target);
        text.push(&source.port().to_le_bytes());
        text.push(&[u8::from(was_issued)]);
        let [low, high] = *self.key;
        SipHasher13::new_with_keys(low, high).hash(text.as_bytes()).as_u128()
    }
}
