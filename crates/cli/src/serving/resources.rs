//! The current store, the authorizer that follows it, and the REST API on top of it.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use sip_authz::model::{Commit, Vocabulary};
use sip_authz::{Authorizer, Capacity, Snapshot};
use sip_authz_config::DomainSource;
use sip_authz_console::Console;
use sip_authz_directory::{Directory, Settings};
use sip_authz_rest::{RestOptions, SharedDecisions, SharedHealth};
#[cfg(feature = "etcd")]
use sip_authz_store::SharedStore;
use sip_authz_store::{
    Applied, CommitOutcome, Follower, FollowerError, Head, MemoryStore, Store, StoreError,
};
use sip_authz_store_sqlite::SqliteStore;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::commands::progress::Progress;
use crate::observe::recent::Recent;
use crate::serving::console::ConsoleSetup;
use crate::serving::decisions::LocalDecisions;
use crate::serving::follow;
#[cfg(feature = "etcd")]
use crate::serving::peers::{Fleet, Peers};
use crate::serving::state::State;
use crate::serving::summary::Changes;
use crate::system::output::{ProgramError, say};

/// The interval between two checks of the load progress.
const LOOK: Duration = Duration::from_millis(100);
/// The longest wait until records that the API keeps in memory are compared with the store.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Time limit for the threads of the store to stop, and for the store to close.
const END: Duration = Duration::from_secs(2);
/// Time limit to withdraw the edge's report from the store.
const LEAVE: Duration = Duration::from_secs(1);

/// Settings that do not depend on the records.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) options: RestOptions,
    pub(crate) capacity: Capacity,
    /// The recent decisions, which `options` make visible.
    pub(crate) recent: Arc<Recent>,
    /// Whether the API is served. Only then records are kept in memory for it.
    pub(crate) has_api: bool,
    /// The name of this edge.
    pub(crate) edge: String,
    /// The facts for the console, if it is served.
    pub(crate) console: Option<ConsoleSetup>,
    /// The sources of the domain of a call whose Request-URI names none, for explanations.
    pub(crate) default_domain: Vec<DomainSource>,
    /// The other edges, which answer questions about decisions too.
    #[cfg(feature = "etcd")]
    pub(crate) fleet: Option<Arc<Fleet>>,
}

impl Setup {
    /// The decisions for the API: those of this process, and of the other edges of a fleet.
    fn decisions(&self, own: &LocalDecisions) -> SharedDecisions {
        #[cfg(feature = "etcd")]
        if let Some(fleet) = &self.fleet {
            return SharedDecisions(Arc::new(Peers::new(Arc::new(own.clone()), Arc::clone(fleet))));
        }
        SharedDecisions(Arc::new(own.clone()))
    }
}

/// The authorizer, the API and the follower of the current store.
pub(crate) struct Resources {
    pub(crate) authorizer: Arc<Authorizer>,
    /// The router of the API; replaced together with the store.
    pub(crate) router: Arc<ArcSwap<Router>>,
    pub(crate) state: State,
    /// Withdraws the report of an edge in a fleet.
    pub(crate) leaving: Mutex<Option<Leaving>>,
    /// The recent decisions of this process.
    pub(crate) decisions: LocalDecisions,
    /// The console, whose sessions outlive each router.
    console: Option<Arc<Console>>,
    setup: Setup,
    /// The store of records that came from a file, to compare the next file with.
    records: Mutex<Option<MemoryStore>>,
    /// The threads and tasks of the current store: dropping a sender stops its thread or task.
    threads: Mutex<Vec<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// A future to run after the last call.
pub(crate) type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Resources {
    /// Serves these records from memory. Call it within the runtime.
    pub(crate) async fn of_records(commit: Commit, setup: Setup) -> Result<Self, ProgramError> {
        let opened = open(commit, 0, setup.settings.vocabulary).await?;
        let store = opened.0.clone();
        let (mut resources, _) = Self::on(opened, setup)?;
        resources.records = Mutex::new(Some(store));
        Ok(resources)
    }

    /// Serves the SQLite store in a folder. Call it within the runtime.
    pub(crate) async fn of_folder(folder: &Path, setup: Setup) -> Result<Self, ProgramError> {
        let opened = open_folder(folder, setup.settings.vocabulary).await?;
        let (resources, _) = Self::on(opened, setup)?;
        Ok(resources)
    }

    /// Serves a store that other processes write too.
    #[cfg(feature = "etcd")]
    pub(crate) async fn of_shared<S: SharedStore>(
        store: S,
        setup: Setup,
    ) -> Result<(Self, Applied), ProgramError> {
        let (snapshot, head) = load(&store, setup.settings.vocabulary).await?;
        Self::on((store, snapshot, head), setup)
    }

    fn on<S: Store + Clone>(
        (store, snapshot, head): (S, Snapshot, Head),
        mut setup: Setup,
    ) -> Result<(Self, Applied), ProgramError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| ProgramError::Runtime(format!("no random bytes: {error}")))?;
        let authorizer = Authorizer::from_seed(snapshot, setup.capacity, &seed, Instant::now());
        let authorizer = Arc::new(authorizer);
        // each router that replaces another one has the same recent decisions
        let recent = Arc::clone(&setup.recent);
        let decisions = LocalDecisions::new(recent, Arc::clone(&authorizer), &setup.edge)
            .with_default_domain(&setup.default_domain);
        let shared = setup.decisions(&decisions);
        let state = State::new(Arc::clone(&authorizer));
        let health = SharedHealth(Arc::new(state.clone()));
        setup.options = setup
            .options
            .with_decisions(Some(shared))
            .with_edge_name(Some(setup.edge.clone()))
            .with_health(Some(health));
        let router = Arc::new(ArcSwap::from_pointee(Router::new()));
        let threads = Mutex::default();
        let (leaving, records) = (Mutex::default(), Mutex::default());
        let console = match &setup.console {
            Some(console) => {
                Some(console.open(&setup.options, &setup.edge, &authorizer, &state)?)
            }
            None => None,
        };
        let resources = Self {
            authorizer,
            router,
            state,
            leaving,
            decisions,
            console,
            setup,
            records,
            threads,
        };
        let applied = resources.attach(store, head);
        Ok((resources, applied))
    }

    /// The rings of recent decisions.
    pub(crate) fn recent(&self) -> &Arc<Recent> {
        &self.setup.recent
    }

    /// Replaces all records by those of `commit`, for calls and for the API. The number of the snapshot
    /// counts on. Returns the changes.
    pub(crate) async fn replace(&self, commit: Commit) -> Result<Changes, ProgramError> {
        let records = || self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (former, number) = (records().clone(), self.authorizer.snapshot().number());
        // on a thread of its own: many records take long
        let compared = tokio::task::spawn_blocking(move || {
            let loaded = former.map(|store| Handle::current().block_on(store.load()));
            let former = loaded.and_then(Result::ok).map(|loaded| loaded.records);
            (Changes::between(&former.unwrap_or_default(), &commit), commit)
        });
        let compared = compared.await;
        let (changes, commit) =
            compared.map_err(|error| ProgramError::Runtime(error.to_string()))?;
        let (store, snapshot, head) = open(commit, number, self.setup.settings.vocabulary).await?;
        drop(self.detach());
        *records() = Some(store.clone());
        self.authorizer.replace_numbered(snapshot);
        self.attach(store, head);
        Ok(changes)
    }

    /// Starts a follower of `store`, from which the authorizer's snapshot was loaded.
    fn attach<S: Store + Clone>(&self, store: S, head: Head) -> Applied {
        let follower = Follower::new(store.clone(), Arc::clone(&self.authorizer), head);
        let applied = follower.applied();
        self.state.follow(applied.clone());
        let mut threads = vec![until_stopped(async move {
            let mut log = follow::Log::default();
            match follower.keep(follow::Tokio, |event| log.report(&event)).await {}
        })];
        threads.push(beside(self.state.clone().check(store.clone())));
        let directory = Directory::new(store, self.setup.settings.clone(), Some(applied.clone()));
        let directory = Arc::new(directory);
        if self.setup.has_api {
            threads.push(until_stopped(catch_up(Arc::downgrade(&directory), applied.clone())));
        }
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        let mut router = sip_authz_rest::router(Arc::clone(&directory), self.setup.options.clone());
        if let Some(console) = &self.console {
            router = router.merge(console.router(directory));
        }
        self.router.store(Arc::new(router));
        applied
    }

    /// Stops the threads of the store. Returns them; they end soon.
    fn detach(&self) -> Vec<JoinHandle<()>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.drain(..).map(|(_, ended)| ended).collect()
    }

    /// Withdraws the report, stops the threads of the store and closes it, each within a time limit.
    ///
    /// Call it before the runtime ends: the threads use the runtime's timers.
    pub(crate) async fn end(&self) {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(leaving) = leaving {
            let _ = tokio::time::timeout(LEAVE, leaving).await;
        }
        for ended in self.detach() {
            let _ = tokio::time::timeout(END, ended).await;
        }
        // no request holds the store now; a clean close leaves no write-ahead log behind
        let router = self.router.swap(Arc::default());
        let closed = tokio::task::spawn_blocking(move || drop(router));
        let _ = tokio::time::timeout(END, closed).await;
    }
}

/// Runs a future on a thread of its own, since many records take long, until the sender is dropped.
fn until_stopped(
    work: impl Future<Output = ()> + Send + 'static,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, work) = stoppable(work);
    (stop, tokio::task::spawn_blocking(move || Handle::current().block_on(work)))
}

/// Runs a future that never occupies a thread for long, until the sender is dropped.
fn beside(
    work: impl Future<Output = ()> + Send + 'static,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, work) = stoppable(work);
    (stop, tokio::spawn(work))
}

/// The future, which ends early once the sender is dropped.
fn stoppable(work: impl Future<Output = ()>) -> (oneshot::Sender<()>, impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel();
    let work = async move {
        tokio::select! {
            // first, as the runtime's timers may have ended by then
            biased;
            _ = stopped => {}
            () = work => {}
        }
    };
    (stop, work)
}

/// Keeps the records of a directory at the store's head, until it is dropped.
async fn catch_up<S: Store>(directory: Weak<Directory<S>>, applied: Applied) {
    loop {
        let number = applied.number();
        let Some(directory) = directory.upgrade() else { return };
        // each request tries again, and has the error
        let _ = directory.catch_up().await;
        drop(directory);
        // ends at a commit, and at once if the follower has ended or cannot go on
        let waiting = applied.wait(number.saturating_add(1));
        if !matches!(tokio::time::timeout(CATCH_UP, waiting).await, Ok(true)) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Creates a memory store with these records, and their snapshot, whose number is the next one after
/// `last`.
async fn open(
    commit: Commit,
    last: u64,
    vocabulary: &'static Vocabulary,
) -> Result<(MemoryStore, Snapshot, Head), ProgramError> {
    let failed = |error: &dyn std::fmt::Display| ProgramError::Runtime(error.to_string());
    // on a thread of its own: many records take long
    let opened = tokio::task::spawn_blocking(move || {
        Handle::current().block_on(async move {
            let store = MemoryStore::starting_at(last);
            if !commit.is_empty() {
                let head = store.head().await.map_err(|error| failed(&error))?;
                match store.commit(head, commit).await.map_err(|error| failed(&error))? {
                    CommitOutcome::Committed(_) => {}
                    CommitOutcome::Conflict => return Err(failed(&"the new store is not empty")),
                }
            }
            let loaded = Follower::load(&store, vocabulary).await;
            let (snapshot, head) = loaded.map_err(|error| failed(&error))?;
            Ok((store, snapshot, head))
        })
    });
    opened.await.map_err(|error| failed(&error))?
}

/// Opens the store in a folder, and loads its snapshot.
async fn open_folder(
    folder: &Path,
    vocabulary: &'static Vocabulary,
) -> Result<(SqliteStore, Snapshot, Head), ProgramError> {
    let store = SqliteStore::open(folder)
        .map_err(|error| ProgramError::Setup(error.reason().to_owned()))?;
    let loaded = load(&store, vocabulary).await;
    let (snapshot, head) = loaded.map_err(|error| ProgramError::Setup(error.to_string()))?;
    Ok((store, snapshot, head))
}

/// Loads the snapshot of a store. Shows the progress, and prints the time that it took.
async fn load<S: Store + Clone>(
    store: &S,
    vocabulary: &'static Vocabulary,
) -> Result<(Snapshot, Head), ProgramError> {
    let failed = |error: &dyn std::fmt::Display| ProgramError::Runtime(error.to_string());
    let unreadable = |error: StoreError| match error {
        // only an upgrade helps
        StoreError::Newer(_) => ProgramError::Setup(error.to_string()),
        error => ProgramError::Runtime(error.to_string()),
    };
    let begun = Instant::now();
    let total = store.head().await.map_err(unreadable)?.records;
    // on a thread of its own: many records take long
    let loading = tokio::task::spawn_blocking({
        let store = store.clone();
        move || {
            let loaded = Handle::current().block_on(Follower::load(&store, vocabulary));
            loaded.map_err(|error| match error {
                FollowerError::Store(error) => unreadable(error),
                error => ProgramError::Runtime(error.to_string()),
            })
        }
    });
    let count = |records: u64| usize::try_from(records).unwrap_or(usize::MAX);
    let mut progress = Progress::begin("reading records", count(total));
    tokio::pin!(loading);
    let loaded = loop {
        match tokio::time::timeout(LOOK, &mut loading).await {
            Ok(loaded) => break loaded.map_err(|error| failed(&error))?,
            Err(_) => progress.at(count(store.load_progress())),
        }
    };
    drop(progress);
    let (snapshot, head) = loaded?;
    let took = begun.elapsed();
    say(format_args!("loaded {} records as of commit {} in {took:.1?}", head.records, head.number));
    Ok((snapshot, head))
}
