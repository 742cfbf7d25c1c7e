//! Limits the number of connections with permits.
//!
//! If all permits are taken, a new connection evicts one without an accepted call: the oldest of the
//! network with the most such connections, provided that this network has more than its own. So a
//! host that holds many idle connections loses its own ones.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The permits of a listener.
pub(crate) struct ConnectionPermits {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    next: u64,
    /// Connections without an accepted call by network, oldest first. Dropping a sender signals the
    /// connection that it is evicted.
    unproven: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<Evicted>>>,
}

/// The message type of a channel that signals only by being closed.
pub(crate) enum Evicted {}

/// The permit of one connection; freed on drop.
pub(crate) struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    network: IpAddr,
    number: u64,
    /// The sender of a connection that can no longer be evicted.
    kept: Option<oneshot::Sender<Evicted>>,
}

impl ConnectionPermits {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Takes a permit for a connection from `source`. The receiver ends when the connection is evicted.
    /// `None` if all permits are taken and no connection can be evicted.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        source: IpAddr,
    ) -> Option<(ConnectionPermit, oneshot::Receiver<Evicted>)> {
        let network = network(source);
        let mut taken = self.taken();
        if taken.count < self.most {
            taken.count += 1;
        } else {
            taken.evict_for(network)?;
        }
        let number = taken.next;
        taken.next += 1;
        let (sender, evicted) = oneshot::channel();
        taken.unproven.entry(network).or_default().insert(number, sender);
        let permit = ConnectionPermit { permits: Arc::clone(self), network, number, kept: None };
        Some((permit, evicted))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Evicts a connection in favour of `newcomer`. `count` stays: the newcomer takes over the permit.
    fn evict_for(&mut self, newcomer: IpAddr) -> Option<()> {
        let own = self.unproven.get(&newcomer).map_or(0, BTreeMap::len);
        let (network, most) = self.unproven.iter().max_by_key(|(_, theirs)| theirs.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        let network = *network;
        self.unproven.get_mut(&network)?.pop_first().map(|_| ())
    }

    fn remove(&mut self, network: IpAddr, number: u64) -> Option<oneshot::Sender<Evicted>> {
        let theirs = self.unproven.get_mut(&network)?;
        let sender = theirs.remove(&number);
        if theirs.is_empty() {
            self.unproven.remove(&network);
        }
        sender
    }
}

impl ConnectionPermit {
    /// Protects the connection from eviction.
    pub(crate) fn keep(&mut self) {
        if self.kept.is_none() {
            self.kept = self.permits.taken().remove(self.network, self.number);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken();
        // an evicted connection has passed its permit on
        if self.kept.is_some() || taken.remove(self.network, self.number).is_some() {
            taken.count -= 1;
        }
    }
}

/// The network of one host: an IPv4 address or an IPv6 /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    type Acquired = (ConnectionPermit, oneshot::Receiver<Evicted>);

    fn is_evicted((_, evicted): &mut Acquired) -> bool {
        matches!(evicted.try_recv(), Err(TryRecvError::Closed))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_network_with_the_most_connections_loses_one() {
        let permits = ConnectionPermits::new(4);
        let acquire = |text| permits.acquire(ip(text));
        let mut greedy: Vec<Acquired> = (0..4).map(|_| acquire("192.0.2.1").unwrap()).collect();
        assert!(acquire("192.0.2.1").is_none(), "it evicts none of its own");
        let mut first = acquire("192.0.2.2").unwrap();
        assert!(is_evicted(&mut greedy[0]) && !is_evicted(&mut greedy[1]), "the oldest");
        // the end of an evicted connection frees no permit
        drop(greedy.remove(0));
        let mut second = acquire("192.0.2.3").unwrap();
        assert!(is_evicted(&mut greedy[0]));
        assert!(acquire("192.0.2.2").is_none() && acquire("192.0.2.1").is_none());
        assert!(acquire("192.0.2.4").is_some_and(|_| is_evicted(&mut greedy[1])));
        assert!(![&mut first, &mut second, &mut greedy[2]].into_iter().any(is_evicted));
        drop(greedy.pop());
        assert!(
            acquire("192.0.2.1").is_some() && acquire("192.0.2.1").is_some(),
            "permits are free"
        );
    }

    #[test]
    fn a_connection_with_an_accepted_call_is_not_evicted() {
        let permits = ConnectionPermits::new(3);
        let mut callers: Vec<Acquired> =
            (0..3).map(|_| permits.acquire(ip("192.0.2.1")).unwrap()).collect();
        for (permit, _) in &mut callers {
            permit.keep();
            permit.keep();
        }
        assert!(permits.acquire(ip("192.0.2.2")).is_none());
        assert!(!callers.iter_mut().any(is_evicted));
        drop(callers.pop());
        assert!(permits.acquire(ip("192.0.2.2")).is_some());
        drop(callers);
        let all: Vec<_> = (0..3).map(|_| permits.acquire(ip("192.0.2.3")).unwrap()).collect();
        assert!(all.len() == 3 && permits.acquire(ip("192.0.2.3")).is_none());
        assert_eq!(permits.taken().unproven.len(), 1);
        drop(all);
        assert!(permits.taken().unproven.is_empty() && permits.taken().count == 0);
    }

    #[test]
    fn keep_after_an_eviction_has_no_effect() {
        let permits = ConnectionPermits::new(2);
        let mut both: Vec<Acquired> =
            (0..2).map(|_| permits.acquire(ip("192.0.2.1")).unwrap()).collect();
        let next = permits.acquire(ip("192.0.2.2")).unwrap();
        assert!(is_evicted(&mut both[0]));
        // its call was accepted at the same moment
        both[0].0.keep();
        drop(both);
        assert_eq!(permits.taken().count, 1);
        drop(next);
        assert_eq!(permits.taken().count, 0);
    }

    #[test]
    fn networks_of_ipv6_are_64s() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
