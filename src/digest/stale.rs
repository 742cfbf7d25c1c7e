//! Counts the `stale=true` answers of each target to each flow, in fixed memory.

use std::net::{IpAddr, SocketAddr};

use siphasher::sip128::SipHasher13;

use super::buckets::{Buckets, Entry, Ways};
use super::framed::{Key, words};
use super::rate::GuessRate;

/// The token buckets of askers. In a full bucket of the table, a new asker replaces the one with the
/// fewest missing tokens. An asker that is forgotten starts full.
pub(crate) struct StaleAnswers {
    askers: Buckets<Ways<Asked>>,
    key: Key,
}

/// A flow that asks one target with nonces that are not live.
pub(crate) struct Asker<'a> {
    /// Address and port.
    pub(crate) flow: SocketAddr,
    /// The SID of the domain or trunk.
    pub(crate) target: &'a [u8; 16],
    /// Whether the nonces have expired; otherwise they are foreign.
    pub(crate) expired: bool,
}

struct Asked {
    id: u128,
    idle_from_ms: u64,
}

impl Entry for Asked {
    type Id = u128;

    fn id(&self) -> u128 {
        self.id
    }
}

impl StaleAnswers {
    /// Creates a table for `entries` askers. `key` must be random and secret.
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        Self { askers: Buckets::new(entries), key: words(key) }
    }

    /// Whether the asker has a token left; takes it if `commits`.
    pub(crate) fn allows(
        &self,
        asker: &Asker<'_>,
        rate: GuessRate,
        now_ms: u64,
        commits: bool,
    ) -> bool {
        let id = self.id(asker);
        let mut bucket = self.askers.lock(id);
        let idle_from_ms = bucket.find(&id).map_or(0, |asked| asked.idle_from_ms);
        let allows = !rate.is_over(idle_from_ms, now_ms);
        if allows && commits {
            let idle_from_ms = rate.take(idle_from_ms, now_ms);
            bucket.put(Asked { id, idle_from_ms }, |asked| asked.idle_from_ms);
        }
        allows
    }

    fn id(&self, asker: &Asker<'_>) -> u128 {
        let address = match asker.flow.ip().to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut text = [0; 35];
        let (ip, rest) = text.split_at_mut(16);
        let (target, rest) = rest.split_at_mut(16);
        let (port, expired) = rest.split_at_mut(2);
        ip.copy_from_slice(&address.octets());
        target.copy_from_slice(asker.target);
        port.copy_from_slice(&asker.flow.port().to_be_bytes());
        expired.fill(u8::from(asker.expired));
        let [low, high] = *self.key;
        SipHasher13::new_with_keys(low, high).hash(&text).as_u128()
    }
}
