//! Running edges, and records that they serve.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_authz::model::{Account, Commit, Domain, Target, Vocabulary};
use sip_authz::{AccountSid, Authorizer, Capacity, DomainSid};
use sip_authz_store::{Applied, CommitOutcome, Follower, Head, Lease, Store as _, Timer};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};
use sip_authz_testing::etcd_cluster::Cluster;
use tokio::task::JoinHandle;

/// The maximum wait for a state that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

struct Clock;

impl Timer for Clock {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn account(n: u8) -> AccountSid {
    AccountSid::from_bytes([n; 16])
}

pub(crate) fn store(cluster: &Cluster) -> EtcdStore {
    EtcdStore::new(&EtcdOptions::new(cluster.urls())).unwrap()
}

pub(crate) fn domain(n: u8) -> DomainSid {
    DomainSid::from_bytes([n; 16])
}

pub(crate) fn with_domain(n: u8) -> Commit {
    let mut commit = Commit::new();
    commit.put(Account::new(account(n)).into());
    let name = format!("d{n}.example.com").parse().unwrap();
    commit.put(Domain::new(domain(n), account(n), name).into());
    commit
}

/// Makes an account with a domain, and returns the head with it.
#[allow(dead_code, reason = "not every test adds accounts")]
pub(crate) async fn add(store: &EtcdStore, n: u8) -> Head {
    let commit = with_domain(n);
    let head = store.head().await.unwrap();
    let number = head.number + 1;
    assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
    store.head().await.unwrap()
}

/// An edge with a follower and a lease.
pub(crate) struct Running {
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) applied: Applied,
    pub(crate) tasks: [JoinHandle<()>; 2],
}

impl Running {
    pub(crate) async fn start(cluster: &Cluster, name: &str, lease: Duration) -> Self {
        let store = store(cluster);
        let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
        let capacity = Capacity::default().with_nonces(8_192).with_repeats(64).with_guesses(1_024);
        let authorizer =
            Arc::new(Authorizer::from_seed(snapshot, capacity, &[7; 32], Instant::now()));
        let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
        let applied = follower.applied();
        let (name, length) = (name.to_owned(), Some(lease));
        let lease =
            Lease::new(store, Arc::clone(&authorizer), applied.clone(), name, length, &Clock);
        let tasks = [
            tokio::spawn(async move { match follower.keep(Clock, |_| ()).await {} }),
            tokio::spawn(async move { match lease.run(Clock, |_| ()).await {} }),
        ];
        let edge = Self { authorizer, applied, tasks };
        edge.until("it decides", |edge| !edge.authorizer.is_stale(Instant::now())).await;
        edge
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it decides by a state with this domain.
    pub(crate) fn serves(&self, n: u8) -> bool {
        let target = Target::Domain(domain(n));
        !self.authorizer.is_stale(Instant::now())
            && self.authorizer.snapshot().target_view(target).is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
