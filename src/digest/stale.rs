//! Counts the `stale=true` answers of each flow, in fixed memory.

use std::net::{IpAddr, SocketAddr};

use siphasher::sip128::SipHasher13;

use super::buckets::{Buckets, Entry, Ways};
use super::framed::{Key, words};
use super::rate::GuessRate;

/// The token buckets of flows (address and port). In a full bucket of the table, a new flow
/// replaces the one with the fewest missing tokens. A flow that is forgotten starts full.
pub(crate) struct StaleAnswers {
    flows: Buckets<Ways<Flow>>,
    key: Key,
}

struct Flow {
    id: u128,
    idle_from_ms: u64,
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
        flow: SocketAddr,
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

    fn id(&self, flow: SocketAddr) -> u128 {
        let address = match flow.ip().to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut text = [0; 18];
        let (ip, port) = text.split_at_mut(16);
        ip.copy_from_slice(&address.octets());
        port.copy_from_slice(&flow.port().to_be_bytes());
        let [low, high] = *self.key;
        SipHasher13::new_with_keys(low, high).hash(&text).as_u128()
    }
}
