//! Limits the number of connections with permits.
//!
//! A newcomer always gets a permit. If all are taken, it replaces another connection, which
//! [`ranking`] selects. No connection is exempt: an accepted call raises its rank for an hour, and
//! only while the records that the call rested on uphold it.

mod ranking;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use sip_authz::{AcceptBasis, Authorizer, Snapshot};
use tokio::sync::oneshot;

use ranking::{Place, Ranking};

/// The permits of a listener.
pub(crate) struct ConnectionPermits {
    authorizer: Arc<Authorizer>,
    state: Mutex<State>,
}

struct State {
    ranking: Ranking<Held>,
    /// The snapshot that all accepted calls were last compared with. Weak, so that the listener does
    /// not spend its time on dropping an old one.
    compared: Weak<Snapshot>,
}

/// The value of a place. Dropping the sender signals the connection that it is evicted.
struct Held {
    basis: Option<AcceptBasis>,
    _evict: oneshot::Sender<Evicted>,
}

/// The message type of a channel that signals only by being closed.
pub(crate) enum Evicted {}

/// The permit of one connection; freed on drop.
pub(crate) struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    place: Place,
}

impl ConnectionPermits {
    /// Permits for `most` connections, whose calls `authorizer` decides.
    pub(crate) fn new(most: usize, authorizer: Arc<Authorizer>) -> Arc<Self> {
        let compared = Arc::downgrade(&authorizer.snapshot());
        let state = State { ranking: Ranking::new(most), compared };
        Arc::new(Self { authorizer, state: Mutex::new(state) })
    }

    /// Takes a permit for a connection from `source`. The receiver ends when the connection is
    /// evicted.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        source: IpAddr,
        now: Instant,
    ) -> (ConnectionPermit, oneshot::Receiver<Evicted>) {
        let (evict, evicted) = oneshot::channel();
        let mut state = self.state();
        if state.ranking.is_full() {
            state.evict_revoked(&self.authorizer);
        }
        // dropping the connection that it replaces evicts it
        let (place, _) = state.ranking.add(source, now, Held { basis: None, _evict: evict });
        drop(state);
        (ConnectionPermit { permits: Arc::clone(self), place }, evicted)
    }

    /// Evicts the connections whose last accepted call would now be refused. Does nothing if the
    /// snapshot is the same as at the last call.
    pub(crate) fn evict_revoked(&self) {
        self.state().evict_revoked(&self.authorizer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict_revoked(&mut self, authorizer: &Authorizer) {
        let snapshot = authorizer.snapshot();
        if self.compared.as_ptr() != Arc::as_ptr(&snapshot) {
            let upholds = |basis: &AcceptBasis| snapshot.upholds(basis);
            self.ranking.retain(|held| held.basis.as_ref().is_none_or(upholds));
            self.compared = Arc::downgrade(&snapshot);
        }
    }
}

impl ConnectionPermit {
    /// Ranks the connection by a call that was accepted at `now`.
    pub(crate) fn accepted(&mut self, basis: AcceptBasis, now: Instant) {
        let mut state = self.permits.state();
        // with the lock held: a change that this snapshot lacks is found by the next comparison
        if !self.permits.authorizer.snapshot().upholds(&basis) {
            state.ranking.remove(self.place);
            return;
        }
        let account = basis.account();
        let place = state.ranking.accept(self.place, account, now, |held| held.basis = Some(basis));
        // an evicted connection has no place
        self.place = place.unwrap_or(self.place);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        // an evicted connection has passed its place on
        self.permits.state().ranking.remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use sip_authz::model::{
        Account, AccountStatus, Commit, Domain, IpAccessControlList, IpAddress, Key, Mapping,
        Record,
    };
    use sip_authz::{
        AccountSid, Decision, DomainSid, Invite, IpAccessControlListSid, IpAddressSid, Transport,
    };
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    type Acquired = (ConnectionPermit, oneshot::Receiver<Evicted>);

    fn is_evicted((_, evicted): &mut Acquired) -> bool {
        matches!(evicted.try_recv(), Err(TryRecvError::Closed))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn account(name: &str) -> AccountSid {
        AccountSid::from_name(&[name])
    }

    /// An authorizer with two accounts, `one` and `two`; each has a domain of its name that admits
    /// every IPv4 address.
    fn authorizer() -> Arc<Authorizer> {
        let mut builder = Snapshot::builder();
        for name in ["one", "two"] {
            let (domain, list) =
                (DomainSid::from_name(&[name]), IpAccessControlListSid::from_name(&[name]));
            let everywhere = "0.0.0.0/0".parse().unwrap();
            let host = format!("{name}.example").parse().unwrap();
            builder = builder
                .account(Account::new(account(name)))
                .domain(Domain::new(domain, account(name), host))
                .ip_access_control_list(IpAccessControlList::new(list, account(name)))
                .ip_address(IpAddress::new(IpAddressSid::from_name(&[name]), list, everywhere))
                .mapping(Mapping::IpAccessControlList(domain.into(), list));
        }
        Arc::new(Authorizer::new(builder.build().unwrap()).unwrap())
    }

    fn basis(authorizer: &Authorizer, name: &str) -> AcceptBasis {
        let uri = format!("sip:1@{name}.example");
        let source = ([192, 0, 2, 1], 5060).into();
        let invite = Invite::new(&uri, source, Transport::Tcp);
        let Decision::Accept(accept) = authorizer.authorize_now(&invite) else { panic!("refused") };
        authorizer.snapshot().basis(&accept, &invite).unwrap()
    }

    fn set_status(authorizer: &Authorizer, name: &str, status: AccountStatus) {
        let mut commit = Commit::new();
        commit.put(Record::Account(Account { status, ..Account::new(account(name)) }));
        authorizer.apply(&commit).unwrap();
    }

    #[test]
    fn a_newcomer_replaces_a_connection_and_frees_its_place_at_the_end() {
        let permits = ConnectionPermits::new(2, authorizer());
        let now = Instant::now();
        let acquire = |text| permits.acquire(ip(text), now);
        let mut both = vec![acquire("192.0.2.1"), acquire("192.0.2.1")];
        let mut next = acquire("192.0.2.2");
        assert!(is_evicted(&mut both[0]) && !is_evicted(&mut both[1]) && !is_evicted(&mut next));
        // the end of an evicted connection frees no place
        drop(both.remove(0));
        drop(acquire("192.0.2.3"));
        assert!(is_evicted(&mut both[0]), "the oldest of equals");
        drop((both, next));
        let mut all = [acquire("192.0.2.1"), acquire("192.0.2.1")];
        assert!(!all.iter_mut().any(is_evicted));
    }

    #[test]
    fn an_accept_after_an_eviction_has_no_effect() {
        let authorizer = authorizer();
        let permits = ConnectionPermits::new(1, Arc::clone(&authorizer));
        let now = Instant::now();
        let mut first = permits.acquire(ip("192.0.2.1"), now);
        let mut second = permits.acquire(ip("192.0.2.2"), now);
        assert!(is_evicted(&mut first));
        // its call was accepted at the same moment
        first.0.accepted(basis(&authorizer, "one"), now);
        drop(first);
        assert!(!is_evicted(&mut second));
        drop(second);
        assert!(!is_evicted(&mut permits.acquire(ip("192.0.2.1"), now)));
    }

    #[test]
    fn closing_an_account_evicts_what_rests_on_it_and_nothing_else() {
        let authorizer = authorizer();
        let permits = ConnectionPermits::new(8, Arc::clone(&authorizer));
        let now = Instant::now();
        let mut all: Vec<Acquired> =
            (0..3).map(|_| permits.acquire(ip("192.0.2.1"), now)).collect();
        all[0].0.accepted(basis(&authorizer, "one"), now);
        all[1].0.accepted(basis(&authorizer, "two"), now);
        let evicted = |all: &mut Vec<Acquired>| -> Vec<bool> {
            permits.evict_revoked();
            all.iter_mut().map(is_evicted).collect()
        };
        assert_eq!(evicted(&mut all), [false; 3]);
        for status in [AccountStatus::Suspended, AccountStatus::Closed, AccountStatus::Active] {
            set_status(&authorizer, "two", status);
            assert_eq!(evicted(&mut all), [false, true, false], "{status:?}");
        }
        let mut commit = Commit::new();
        commit.delete(Key::IpAddress(IpAddressSid::from_name(&["one"])));
        authorizer.apply(&commit).unwrap();
        assert_eq!(evicted(&mut all), [true, true, false]);
    }

    #[test]
    fn the_last_accept_is_what_a_connection_rests_on() {
        let authorizer = authorizer();
        let permits = ConnectionPermits::new(8, Arc::clone(&authorizer));
        let now = Instant::now();
        let mut proxy = permits.acquire(ip("192.0.2.1"), now);
        proxy.0.accepted(basis(&authorizer, "one"), now);
        proxy.0.accepted(basis(&authorizer, "two"), now);
        set_status(&authorizer, "one", AccountStatus::Closed);
        permits.evict_revoked();
        assert!(!is_evicted(&mut proxy));
        set_status(&authorizer, "two", AccountStatus::Closed);
        permits.evict_revoked();
        assert!(is_evicted(&mut proxy));
    }

    #[test]
    fn an_accept_that_was_revoked_meanwhile_evicts() {
        let authorizer = authorizer();
        let permits = ConnectionPermits::new(8, Arc::clone(&authorizer));
        let now = Instant::now();
        let mut late = permits.acquire(ip("192.0.2.1"), now);
        let accepted = basis(&authorizer, "one");
        set_status(&authorizer, "one", AccountStatus::Closed);
        // the comparison runs before the connection reports its accept
        permits.evict_revoked();
        late.0.accepted(accepted, now);
        assert!(is_evicted(&mut late));
    }

    #[test]
    fn a_full_listener_frees_revoked_places_first() {
        let authorizer = authorizer();
        let permits = ConnectionPermits::new(4, Arc::clone(&authorizer));
        let now = Instant::now();
        let mut revoked = permits.acquire(ip("192.0.2.1"), now);
        revoked.0.accepted(basis(&authorizer, "one"), now);
        let mut strangers: Vec<Acquired> =
            (0..3).map(|_| permits.acquire(ip("192.0.2.2"), now)).collect();
        set_status(&authorizer, "one", AccountStatus::Closed);
        let mut newcomer = permits.acquire(ip("192.0.2.2"), now);
        assert!(is_evicted(&mut revoked) && !strangers.iter_mut().any(is_evicted));
        assert!(!is_evicted(&mut newcomer));
    }
}
