//! Room for connections, a bounded number. Where all places are taken, a newcomer gets that of a
//! connection without an accepted call, of the network that has the most of those, if it has more than
//! the newcomer's own. So a host that opens connections and keeps them pushes out its own.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All places of a listener.
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    next: u64,
    /// Connections without an accepted call, oldest first, by network. Dropping what is here tells the
    /// connection that its place is another's.
    strangers: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<Gone>>>,
}

/// Nothing is ever sent; what tells is that the sender is gone.
pub(crate) enum Gone {}

/// The place of one connection, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    network: IpAddr,
    number: u64,
    /// Of a connection that keeps its place.
    kept: Option<oneshot::Sender<Gone>>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// A place for a connection from `source`, and what ends when it is taken away. None if nobody has to
    /// give way.
    pub(crate) fn enter(
        self: &Arc<Self>,
        source: IpAddr,
    ) -> Option<(Place, oneshot::Receiver<Gone>)> {
        let network = network(source);
        let mut taken = self.taken();
        if taken.count < self.most {
            taken.count += 1;
        } else {
            taken.push_out_for(network)?;
        }
        let number = taken.next;
        taken.next += 1;
        let (stays, gone) = oneshot::channel();
        taken.strangers.entry(network).or_default().insert(number, stays);
        let place = Place { places: Arc::clone(self), network, number, kept: None };
        Some((place, gone))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes a stranger's place away; whoever it was, the place is counted as taken from now on.
    fn push_out_for(&mut self, newcomer: IpAddr) -> Option<()> {
        let own = self.strangers.get(&newcomer).map_or(0, BTreeMap::len);
        let (network, most) = self.strangers.iter().max_by_key(|(_, theirs)| theirs.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        let network = *network;
        self.strangers.get_mut(&network)?.pop_first().map(|_| ())
    }

    fn remove(&mut self, network: IpAddr, number: u64) -> Option<oneshot::Sender<Gone>> {
        let theirs = self.strangers.get_mut(&network)?;
        let stays = theirs.remove(&number);
        if theirs.is_empty() {
            self.strangers.remove(&network);
        }
        stays
    }
}

impl Place {
    /// Keeps the place for as long as the connection wants it.
    pub(crate) fn keep(&mut self) {
        if self.kept.is_none() {
            self.kept = self.places.taken().remove(self.network, self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        // else it is another's by now
        if self.kept.is_some() || taken.remove(self.network, self.number).is_some() {
            taken.count -= 1;
        }
    }
}

/// What one customer of a provider has: an IPv4 address or an IPv6 /64.
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

    type Entered = (Place, oneshot::Receiver<Gone>);

    fn is_out((_, gone): &mut Entered) -> bool {
        matches!(gone.try_recv(), Err(TryRecvError::Closed))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_has_the_most_gives_way() {
        let places = Places::new(4);
        let enter = |text| places.enter(ip(text));
        let mut greedy: Vec<Entered> = (0..4).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none(), "it pushes out nobody of its own");
        let mut first = enter("192.0.2.2").unwrap();
        assert!(is_out(&mut greedy[0]) && !is_out(&mut greedy[1]), "the oldest");
        // that it goes by itself later makes no room
        drop(greedy.remove(0));
        let mut second = enter("192.0.2.3").unwrap();
        assert!(is_out(&mut greedy[0]));
        assert!(enter("192.0.2.2").is_none() && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.4").is_some_and(|_| is_out(&mut greedy[1])));
        assert!(![&mut first, &mut second, &mut greedy[2]].into_iter().any(is_out));
        drop(greedy.pop());
        assert!(enter("192.0.2.1").is_some() && enter("192.0.2.1").is_some(), "there is room");
    }

    #[test]
    fn who_made_a_call_stays() {
        let places = Places::new(3);
        let mut callers: Vec<Entered> =
            (0..3).map(|_| places.enter(ip("192.0.2.1")).unwrap()).collect();
        for (place, _) in &mut callers {
            place.keep();
            place.keep();
        }
        assert!(places.enter(ip("192.0.2.2")).is_none());
        assert!(!callers.iter_mut().any(is_out));
        drop(callers.pop());
        assert!(places.enter(ip("192.0.2.2")).is_some());
        drop(callers);
        let all: Vec<_> = (0..3).map(|_| places.enter(ip("192.0.2.3")).unwrap()).collect();
        assert!(all.len() == 3 && places.enter(ip("192.0.2.3")).is_none());
        assert_eq!(places.taken().strangers.len(), 1);
        drop(all);
        assert!(places.taken().strangers.is_empty() && places.taken().count == 0);
    }

    #[test]
    fn one_that_was_pushed_out_keeps_nothing() {
        let places = Places::new(2);
        let mut both: Vec<Entered> =
            (0..2).map(|_| places.enter(ip("192.0.2.1")).unwrap()).collect();
        let next = places.enter(ip("192.0.2.2")).unwrap();
        assert!(is_out(&mut both[0]));
        // its call was accepted at the same moment
        both[0].0.keep();
        drop(both);
        assert_eq!(places.taken().count, 1);
        drop(next);
        assert_eq!(places.taken().count, 0);
    }

    #[test]
    fn networks_of_ipv6_are_64s() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
