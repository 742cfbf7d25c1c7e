//! What is served at present: a store in memory or in a folder, the authorizer that follows it, and
//! the HTTP surface over it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use sip_authz::directory::{Directory, Settings};
use sip_authz::model::{Commit, Vocabulary};
use sip_authz::rest::{self, RestOptions};
use sip_authz::store::{Head, MemoryStore, Outcome, SqliteStore, Store};
use sip_authz::{Authorizer, Follower, Snapshot};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::failure::Failure;
use crate::progress::Progress;

/// How often it is looked how far the loading of a folder has come.
const LOOK: Duration = Duration::from_millis(100);

/// Where records come from, and where changes go.
pub(crate) enum Source {
    /// These, kept in memory.
    Records(Commit),
    /// What a folder keeps.
    Folder(PathBuf),
}

/// Records, and all that depends on them.
pub(crate) struct Resources {
    pub(crate) authorizer: Arc<Authorizer>,
    /// What answers HTTP. It is replaced with the store.
    pub(crate) router: Arc<ArcSwap<Router>>,
    settings: Settings,
    options: RestOptions,
    follower: Mutex<Option<AbortHandle>>,
    stopped: UnboundedSender<String>,
}

/// Tells why the authorizer no longer follows the store, should that happen.
pub(crate) type Stopped = UnboundedReceiver<String>;

impl Resources {
    /// Serves what `source` has. To be called within the runtime.
    pub(crate) async fn start(
        source: Source,
        settings: Settings,
        options: RestOptions,
    ) -> Result<(Self, Stopped), Failure> {
        match source {
            Source::Records(commit) => {
                Self::on(open(commit, settings.vocabulary).await?, settings, options)
            }
            Source::Folder(folder) => {
                Self::on(open_folder(&folder, settings.vocabulary).await?, settings, options)
            }
        }
    }

    fn on<S: Store + Clone>(
        (store, snapshot, head): (S, Snapshot, Head),
        settings: Settings,
        options: RestOptions,
    ) -> Result<(Self, Stopped), Failure> {
        let failed = |error: sip_authz::SeedError| Failure::Runtime(error.to_string());
        let authorizer = Arc::new(Authorizer::new(snapshot).map_err(failed)?);
        let (stopped, receiver) = unbounded_channel();
        let router = Arc::new(ArcSwap::from_pointee(Router::new()));
        let follower = Mutex::new(None);
        let resources = Self { authorizer, router, settings, options, follower, stopped };
        resources.attach(store, head);
        Ok((resources, receiver))
    }

    /// Puts the records of `commit` in the place of all that there are, for calls and for HTTP.
    pub(crate) async fn replace(&self, commit: Commit) -> Result<(), Failure> {
        let (store, snapshot, head) = open(commit, self.settings.vocabulary).await?;
        self.detach();
        self.authorizer.replace(snapshot);
        self.attach(store, head);
        Ok(())
    }

    /// Has the authorizer follow `store`, which its snapshot was loaded from.
    fn attach<S: Store + Clone>(&self, store: S, head: Head) {
        let follower = Follower::new(store.clone(), Arc::clone(&self.authorizer), head);
        let applied = follower.applied();
        let task = tokio::spawn(follower.run());
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        let stopped = self.stopped.clone();
        tokio::spawn(async move {
            let why = match task.await {
                Ok(Err(error)) => error.to_string(),
                Err(error) if error.is_cancelled() => return,
                Err(error) => error.to_string(),
            };
            // nobody listens when the program ends
            let _ = stopped.send(why);
        });
        let directory = Directory::new(store, self.settings.clone(), Some(applied));
        let router = rest::router(Arc::new(directory), self.options.clone());
        self.router.store(Arc::new(router));
    }

    fn detach(&self) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.abort();
        }
    }
}

/// A store with these records, and what they come to.
async fn open(
    commit: Commit,
    vocabulary: &'static Vocabulary,
) -> Result<(MemoryStore, Snapshot, Head), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
    // many records take their time, which no call should wait for
    let opened = tokio::task::spawn_blocking(move || {
        Handle::current().block_on(async move {
            let store = MemoryStore::new();
            if !commit.is_empty() {
                match store.commit(0, commit).await.map_err(|error| failed(&error))? {
                    Outcome::Committed(_) => {}
                    Outcome::Conflict => return Err(failed(&"the new store is not empty")),
                }
            }
            let loaded = Follower::load(&store, vocabulary).await;
            let (snapshot, head) = loaded.map_err(|error| failed(&error))?;
            Ok((store, snapshot, head))
        })
    });
    opened.await.map_err(|error| failed(&error))?
}

/// The store in a folder, and what it comes to.
async fn open_folder(
    folder: &Path,
    vocabulary: &'static Vocabulary,
) -> Result<(SqliteStore, Snapshot, Head), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
    let store = SqliteStore::open(folder).map_err(|error| Failure::Setup(error.0))?;
    let total = store.head().await.map_err(|error| failed(&error))?.records;
    let loading = tokio::task::spawn_blocking({
        let store = store.clone();
        move || {
            let loaded = Handle::current().block_on(Follower::load(&store, vocabulary));
            loaded.map_err(|error| Failure::Setup(error.to_string()))
        }
    });
    let count = |records: u64| usize::try_from(records).unwrap_or(usize::MAX);
    let mut progress = Progress::begin("reading records", count(total));
    tokio::pin!(loading);
    let (snapshot, head) = loop {
        match tokio::time::timeout(LOOK, &mut loading).await {
            Ok(loaded) => break loaded.map_err(|error| failed(&error))??,
            Err(_) => progress.at(count(store.read())),
        }
    };
    Ok((store, snapshot, head))
}
