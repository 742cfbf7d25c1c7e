//! The store of the fleet, which an operator can restore from a backup.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sip_authz::model::{Commit, Record};
use sip_authz_store::{
    CommitOutcome, Edge, Format, Head, Incarnation, LocalFeed, MemoryStore, Records, Store as _,
    StoreError, StoreSnapshot, Sum,
};

use super::{CALLERS, EDGES, LEASE, after};

/// Whether each account is active, and whether its list is mapped.
type States = [(bool, bool); CALLERS];

/// The store as of a commit.
#[derive(Clone, Copy)]
struct State {
    head: Head,
    states: States,
}

/// The contents of the store at the time of the backup.
struct Backup {
    records: Vec<Record>,
    edges: BTreeMap<String, Edge>,
    /// The edge whose report it lacks.
    without: usize,
    commits: usize,
}

/// The store that all processes share, and what is true of it.
pub(crate) struct Storage {
    pub(crate) inner: MemoryStore,
    pub(crate) edges: BTreeMap<String, Edge>,
    /// The commit that a change waits for.
    pub(crate) awaited: u64,
    incarnation: Incarnation,
    /// Restored, and no process has noticed.
    is_restored: bool,
    /// The time until which edges decide that the backup lacks.
    unlisted_until: Duration,
    /// The state after each commit of the present history, from commit 0 on.
    history: Vec<State>,
    /// Whether each caller may call, for each checksum of records that there ever was.
    allowed: HashMap<[u8; 32], [bool; CALLERS]>,
    backup: Option<Backup>,
    /// The number of restores.
    pub(crate) restores: u64,
    /// For each head that there ever was, the checksums of the histories that led to it.
    lineages: HashMap<(u64, [u8; 32]), Vec<Vec<Sum>>>,
    /// The newest revocation of this history that all edges have confirmed: its number and checksum.
    fence: Option<(u64, Sum)>,
}

impl Storage {
    pub(crate) fn new() -> Self {
        let state = State { head: Head::default(), states: [(true, false); CALLERS] };
        let mut storage = Self {
            inner: MemoryStore::new(),
            edges: BTreeMap::new(),
            awaited: 0,
            incarnation: Incarnation { generation: 1, id: 1 },
            is_restored: false,
            unlisted_until: Duration::ZERO,
            history: Vec::new(),
            allowed: HashMap::new(),
            backup: None,
            restores: 0,
            lineages: HashMap::new(),
            fence: None,
        };
        storage.push(state);
        storage
    }

    /// Makes the first commit, as a version without formats.
    pub(crate) async fn begin(&mut self, first: &Commit) {
        self.inner.commit(Head::default(), first.clone()).await.map(drop).unwrap();
        let StoreSnapshot { head, records } = self.inner.load().await.unwrap();
        let head = Head { format: Format::FIRST, ..head };
        self.inner = MemoryStore::from(Records::from(StoreSnapshot { head, records }));
        self.push(State { head, states: after(self.last().states, first) });
    }

    /// The format of the present history.
    pub(crate) fn format(&self) -> Format {
        self.last().head.format
    }

    fn push(&mut self, state: State) {
        let allowed = state.states.map(|(active, mapped)| active && mapped);
        self.allowed.insert(*state.head.sum.as_bytes(), allowed);
        self.history.push(state);
        let lineage = self.history.iter().map(|state| state.head.sum).collect();
        let head = (state.head.number, *state.head.sum.as_bytes());
        self.lineages.entry(head).or_default().push(lineage);
    }

    fn last(&self) -> State {
        self.history[self.history.len() - 1]
    }

    /// A process reads the head, and notices a restore: the cluster has another id.
    pub(crate) fn head(&mut self, now: Duration) -> Head {
        if std::mem::take(&mut self.is_restored) {
            let generation = self.incarnation.generation + 1;
            self.incarnation = Incarnation { generation, id: generation.into() };
            self.unlisted_until = now + LEASE;
        }
        self.of_present(self.last().head)
    }

    /// A head or an entry's head of the store in memory, in the present incarnation.
    pub(crate) fn of_present(&self, head: Head) -> Head {
        match head.number {
            0 => head,
            _ => Head { incarnation: self.incarnation, ..head },
        }
    }

    pub(crate) fn unlisted_for(&self, now: Duration) -> Duration {
        self.unlisted_until.saturating_sub(now)
    }

    /// Notes the outcome of a commit to `inner`.
    pub(crate) async fn committed(
        &mut self,
        commit: &Commit,
        outcome: CommitOutcome,
    ) -> Result<(), StoreError> {
        if let CommitOutcome::Committed(number) = outcome {
            assert_eq!(usize::try_from(number).unwrap(), self.history.len());
            let state =
                State { head: self.inner.head().await?, states: after(self.last().states, commit) };
            self.push(state);
        }
        Ok(())
    }

    /// The commits after a head of the present history.
    pub(crate) async fn follow(&self, from: Head) -> Result<LocalFeed, StoreError> {
        let present = self.of_present(self.last().head);
        if from.number > 0 && from.incarnation != present.incarnation {
            return Err(StoreError::restored(present.number));
        }
        self.inner.follow(from).await
    }

    /// Makes a backup. It lacks the report of this edge, as if the edge joined later. None is made before the edge
    /// without a lease has reported: after a restore it could not be found.
    pub(crate) async fn back_up(&mut self, without: usize) {
        if !self.edges.contains_key(&format!("edge {}", EDGES - 1)) {
            return;
        }
        let StoreSnapshot { records, .. } = self.inner.load().await.unwrap();
        let mut edges = self.edges.clone();
        edges.remove(&format!("edge {without}"));
        self.backup = Some(Backup { records, edges, without, commits: self.history.len() });
    }

    /// Restores the last backup, and returns the edge that it lacks. None without a backup.
    pub(crate) fn restore(&mut self) -> Option<usize> {
        let Backup { records, edges, without, commits } = self.backup.take()?;
        self.history.truncate(commits);
        let head = self.last().head;
        let restored = StoreSnapshot::new(head, records).unwrap();
        self.inner = MemoryStore::from(Records::from(restored));
        (self.edges, self.is_restored, self.fence) = (edges, true, None);
        self.restores += 1;
        Some(without)
    }

    /// The checksum of the records after this commit of the present history, if it has one.
    pub(crate) fn sum_of(&self, number: u64) -> Option<Sum> {
        let state = self.history.get(usize::try_from(number).unwrap());
        state.map(|state| state.head.sum)
    }

    /// Whether each caller may call by the records with this head.
    pub(crate) fn allowed(&self, head: Head) -> [bool; CALLERS] {
        self.allowed[head.sum.as_bytes()]
    }

    /// All edges have confirmed this commit, unless a restore has undone it.
    pub(crate) fn confirmed(&mut self, number: u64, sum: Sum) {
        let is_newer = self.fence.is_none_or(|(fenced, _)| fenced < number);
        if self.sum_of(number) == Some(sum) && is_newer {
            self.fence = Some((number, sum));
        }
    }

    /// Panics if all edges have confirmed a revocation that an edge at this head lacks.
    pub(crate) fn check_fence(&self, edge: usize, head: Head) {
        let Some((number, sum)) = self.fence else { return };
        let at = usize::try_from(number).unwrap();
        let lineages = &self.lineages[&(head.number, *head.sum.as_bytes())];
        assert!(
            lineages.iter().any(|lineage| lineage.get(at) == Some(&sum)),
            "edge {edge} decides by {head:?}, after {number} was confirmed"
        );
    }
}
