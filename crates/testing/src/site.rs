//! A directory with its authorizer: a store that counts and yields and can be made to fail, an
//! authorizer that a follower keeps at its head, and calls.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use sip_authz::model::{Commit, Key, Record};
use sip_authz::{Authorizer, Capacity, Decision, Invite, Snapshot, Transport};
use sip_authz_directory::{Directory, Settings};
use sip_authz_store::{
    Applied, Collection, CommitEntry, CommitOutcome, Edge, Feed, Follower, FollowerError, Format,
    Head, LocalFeed, Lookup, MemoryStore, Records, Store, StoreError, StoreSnapshot, Sum,
};
use tokio::task::JoinHandle;

use crate::kit::{Header, REALM, Request};

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1_700_000_000_000) };
}

/// A clock for single-threaded tests. Each test has its own.
pub fn now_ms() -> u64 {
    NOW_MS.get()
}

/// Moves that clock forward or back.
pub fn tick(by_ms: i64) {
    NOW_MS.set(NOW_MS.get().saturating_add_signed(by_ms));
}

tokio::task_local! {
    /// The number of the commit of this task's last command, by [`committed`].
    pub static COMMITTED: Cell<u64>;
}

/// Notes the number of a command's commit in [`COMMITTED`].
pub fn committed(number: u64) {
    let _ = COMMITTED.try_with(|committed| committed.set(number));
}

/// A store that counts and records the calls to an inner store. Clones share their counts.
#[derive(Clone)]
pub struct Probe<S> {
    pub inner: S,
    pub counts: Arc<Counts>,
    /// Lets other tasks run before and after each operation.
    yields: bool,
}

#[derive(Default)]
pub struct Counts {
    /// The number of read operations.
    pub reads: AtomicU64,
    /// The number of records that they returned.
    pub rows: AtomicU64,
    pub commits: AtomicU64,
    pub conflicts: AtomicU64,
    /// The requested length of each pause.
    pub pauses: Mutex<Vec<Duration>>,
    /// Makes every commit conflict.
    pub contended: AtomicBool,
    /// The most writes of a commit that is not too large; 0 for no limit.
    pub most_writes: AtomicUsize,
    /// The reports of edges.
    pub edges: Mutex<Vec<Edge>>,
    /// How long edges that are in no report may still decide. Pauses count against it.
    pub unlisted_for: Mutex<Duration>,
}

impl Counts {
    pub fn take(&self) -> [u64; 4] {
        [&self.reads, &self.rows, &self.commits, &self.conflicts]
            .map(|count| count.swap(0, Ordering::Relaxed))
    }
}

impl<S> Probe<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, counts: Arc::default(), yields: false }
    }

    pub fn yielding(inner: S) -> Self {
        Self { yields: true, ..Self::new(inner) }
    }

    async fn around<T>(&self, operation: impl Future<Output = T>) -> T {
        if self.yields {
            tokio::task::yield_now().await;
        }
        let outcome = operation.await;
        if self.yields {
            tokio::task::yield_now().await;
        }
        outcome
    }

    fn read(&self, rows: usize) {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.counts.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

impl<S: Store> Store for Probe<S> {
    type Feed = S::Feed;

    async fn head(&self) -> Result<Head, StoreError> {
        self.around(self.inner.head()).await
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        let found = self.around(self.inner.get(key)).await?;
        self.read(usize::from(found.is_some()));
        Ok(found)
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        let found = self.around(self.inner.find(lookup)).await?;
        self.read(usize::from(found.is_some()));
        Ok(found)
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let found = self.around(self.inner.range(collection, after, limit)).await?;
        self.read(found.len());
        Ok(found)
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        self.around(self.inner.count(collection)).await
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        let operation = async {
            let most = self.counts.most_writes.load(Ordering::Relaxed);
            let outcome = if self.counts.contended.load(Ordering::Relaxed) {
                Ok(CommitOutcome::Conflict)
            } else if most > 0 && commit.writes().len() > most {
                Err(StoreError::TooLarge("simulated limit".to_owned()))
            } else {
                self.inner.commit(head, commit).await
            };
            // recorded before another task may run
            match outcome {
                Ok(CommitOutcome::Committed(_)) => {
                    self.counts.commits.fetch_add(1, Ordering::Relaxed);
                }
                Ok(CommitOutcome::Conflict) => {
                    self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {}
            }
            outcome
        };
        self.around(operation).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.around(self.inner.raise_format(head, format)).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.around(self.inner.load()).await
    }

    async fn load_records(&self) -> Result<Records, StoreError> {
        self.around(self.inner.load_records()).await
    }

    async fn follow(&self, from: Head) -> Result<Self::Feed, StoreError> {
        self.inner.follow(from).await
    }

    async fn unlisted_for(&self) -> Result<Duration, StoreError> {
        let waited: Duration = self.counts.pauses.lock().unwrap().iter().sum();
        Ok(self.counts.unlisted_for.lock().unwrap().saturating_sub(waited))
    }

    async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        Ok(self.counts.edges.lock().unwrap().clone())
    }

    async fn pause(&self, time: Duration) {
        self.counts.pauses.lock().unwrap().push(time);
        tokio::task::yield_now().await;
    }
}

/// A store in memory whose feed first delivers a script instead of the actual commits. Counts and
/// checksums are right if the script writes only new records.
#[derive(Clone, Default)]
pub struct Scripted {
    pub inner: MemoryStore,
    script: Arc<Mutex<VecDeque<Entry>>>,
    /// Writes that the head contains but the script does not deliver.
    lost: Commit,
}

type Entry = Result<(u64, Commit), StoreError>;

pub struct ScriptedFeed {
    script: Arc<Mutex<VecDeque<Entry>>>,
    lost: Commit,
    head: Head,
    rest: LocalFeed,
}

impl Scripted {
    pub fn new(script: impl IntoIterator<Item = Entry>) -> Self {
        let script = script.into_iter().collect();
        let (inner, lost) = (MemoryStore::new(), Commit::new());
        Self { inner, script: Arc::new(Mutex::new(script)), lost }
    }

    pub fn losing(self, lost: Commit) -> Self {
        Self { lost, ..self }
    }
}

impl Store for Scripted {
    type Feed = ScriptedFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    crate::reads_of!(self => self.inner);

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.inner.commit(head, commit).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.inner.raise_format(head, format).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.inner.load().await
    }

    async fn follow(&self, from: Head) -> Result<ScriptedFeed, StoreError> {
        let (rest, head) = (self.inner.follow(from).await?, self.inner.head().await?);
        let (script, lost) = (Arc::clone(&self.script), self.lost.clone());
        Ok(ScriptedFeed { script, lost, head, rest })
    }
}

impl Feed for ScriptedFeed {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        let scripted = self.script.lock().unwrap().pop_front();
        match scripted {
            Some(entry) => {
                let (number, commit) = entry?;
                let (put, replaced) = new_records(&commit);
                let (lost, (put_lost, none)) = (&self.lost, new_records(&self.lost));
                let head = self.head.after(&commit, &put, &replaced)?;
                let head = head.after(lost, &put_lost, &none)?;
                self.head = Head { number, ..head };
                let commit = Arc::new(commit);
                let (put, replaced) = (put.into(), replaced.into());
                Ok(CommitEntry { head: self.head, commit, put, replaced })
            }
            None => self.rest.next().await,
        }
    }
}

/// The checksums of a commit that replaces no record.
fn new_records(commit: &Commit) -> (Vec<Option<Sum>>, Vec<Option<Sum>>) {
    let put = commit.writes().iter().map(|write| Sum::of_write(write).unwrap());
    (put.collect(), vec![None; commit.writes().len()])
}

/// A directory, and an authorizer kept at its store's head.
pub struct Site<S: Store> {
    pub directory: Directory<S>,
    pub authorizer: Arc<Authorizer>,
    pub applied: Applied,
    pub follower: JoinHandle<FollowerError>,
}

/// The settings of tests, with the realm [`REALM`].
pub fn settings() -> Settings {
    Settings::new(REALM.parse().unwrap())
}

impl Site<Probe<MemoryStore>> {
    /// A site with its own store, and with the clock [`now_ms`].
    pub async fn new(settings: Settings) -> Self {
        let store = Probe::new(MemoryStore::new());
        Self::with(store, settings, |directory| directory.with_clock(now_ms)).await
    }
}

impl<S: Store + Clone> Site<S> {
    pub async fn on(store: S, settings: Settings) -> Self {
        Self::with(store, settings, |directory| directory).await
    }

    async fn with(
        store: S,
        settings: Settings,
        change: impl FnOnce(Directory<S>) -> Directory<S>,
    ) -> Self {
        let (snapshot, head) = Follower::load(&store, settings.vocabulary).await.unwrap();
        let authorizer = Arc::new(authorizer(snapshot));
        let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
        let applied = follower.applied();
        let follower = tokio::spawn(async move {
            match follower.run().await {
                Ok(never) => match never {},
                Err(error) => {
                    // commands of a site whose follower has stopped would wait forever
                    println!("the follower stopped: {error}");
                    error
                }
            }
        });
        let directory = Directory::new(store, settings, Some(applied.clone()));
        let directory = change(directory.with_on_commit(committed));
        Self { directory, authorizer, applied, follower }
    }

    pub fn call(&self, host: &str, source: &str) -> Decision {
        call(&self.authorizer, &Request::to(host), source)
    }

    pub fn call_as(&self, host: &str, username: &str, password: &str) -> Decision {
        call_as(&self.authorizer, host, crate::kit::INSIDE, username, password)
    }
}

impl<S: Store> Drop for Site<S> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// An authorizer with little memory, so that it is created quickly.
pub fn authorizer(snapshot: Snapshot) -> Authorizer {
    let capacity = Capacity::default().with_nonces(8_192).with_repeats(64).with_guesses(1_024);
    Authorizer::from_seed(snapshot, capacity, &[7; 32], Instant::now())
}

fn call(authorizer: &Authorizer, request: &Request, source: &str) -> Decision {
    let bytes = request.bytes();
    let invite = Invite::from_datagram(&bytes, source.parse().unwrap(), Transport::Tcp).unwrap();
    authorizer.authorize_now(&invite)
}

/// The decision on a caller who answers the challenge, if there is one.
pub fn call_as(
    authorizer: &Authorizer,
    host: &str,
    source: &str,
    username: &str,
    password: &str,
) -> Decision {
    let request = Request::to(host);
    match call(authorizer, &request, source) {
        Decision::Challenge(challenge) => {
            let header = Header::answer(&challenge.values[0], &request, username, password);
            call(authorizer, &request.next().with(&header.text()), source)
        }
        other => other,
    }
}

/// The decisions on every caller from every source to every host.
pub fn behaviour(
    snapshot: &Snapshot,
    hosts: &[&str],
    sources: &[&str],
    users: &[(&str, &str)],
) -> Vec<String> {
    let authorizer = authorizer(snapshot.clone());
    let mut all = Vec::new();
    for host in hosts {
        for source in sources {
            for (username, password) in users {
                let decision = call_as(&authorizer, host, source, username, password);
                all.push(match decision {
                    Decision::Challenge(challenge) => format!("challenge by {}", challenge.target),
                    other => format!("{other:?}"),
                });
            }
        }
    }
    all.extend(snapshot.warnings().iter().map(ToString::to_string));
    all
}

/// The output of `future`, or `None` once it has been polled this often. Then it is dropped.
pub async fn cut<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(fewer) => {
            left = fewer;
            match future.as_mut().poll(context) {
                Poll::Pending if left == 0 => Poll::Ready(None),
                outcome => outcome.map(Some),
            }
        }
    })
    .await
}
