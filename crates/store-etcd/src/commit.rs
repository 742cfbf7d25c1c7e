//! Commits: one etcd transaction with the condition that the head and the history are unchanged.
//!
//! A commit that is too large for one transaction is first staged in parts, which no reader uses. Then
//! a new head makes the whole commit visible. After that its writer folds it into the pages piece by
//! piece. If the writer dies, the next process that reads or commits continues.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use etcd_client::{
    Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, KeyValue, Txn, TxnOp,
    TxnOpResponse, WatchOptions,
};

use super::history::{History, Seen};
use super::layout::State;
use super::link::{At, unexpected};
use super::payload::{self, Entry};
use super::race::Request;
use super::random::{new_id, random};
use super::work::{self, OPERATIONS, Progress, Work};
use super::{Etcd, StoreError, size_limits};
use sip_authz::model::Commit;
use sip_authz_store::{CommitOutcome, Edge, Format, Head, Sum};

/// The maximum number of page changes for a commit in one transaction.
const LARGE: usize = 600;
/// The maximum size of a staged part, in bytes.
const PART: usize = 1 << 20;

/// The result of a conditional write.
enum WriteResult {
    Done,
    /// A condition does not hold. Contains the present head.
    Rejected(Box<State>),
}

/// The state in these values of the head and the history, without its incarnation.
fn state_in(head: Option<&KeyValue>, history: Option<&KeyValue>) -> Result<State, StoreError> {
    let state = match head {
        Some(value) => State::decode(value.value(), value.mod_revision())?,
        None => State::first(),
    };
    Ok(State { history: history.map_or(0, KeyValue::mod_revision), ..state })
}

impl Etcd {
    /// Reads the head. Also returns the revision at which it was read.
    pub(super) async fn state(&self) -> Result<(State, i64), StoreError> {
        loop {
            let before = self.seen();
            let read = self.link.read(&[self.layout.head(), self.layout.history()], None).await?;
            let [head, history] = read.values.as_slice() else {
                return Err(unexpected());
            };
            let at = At { cluster: read.cluster, revision: read.revision };
            if let Some(state) = self.state_of(before, head.as_ref(), history.as_ref(), at).await? {
                return Ok((state, read.revision));
            }
        }
    }

    /// The state that a linearizable read has found. None if the store was restored: then the read is to
    /// be repeated. `before` is what the process had seen before the read.
    pub(super) async fn state_of(
        &self,
        before: Option<Seen>,
        head: Option<&KeyValue>,
        history: Option<&KeyValue>,
        at: At,
    ) -> Result<Option<State>, StoreError> {
        let mut state = state_in(head, history)?;
        let history = History::decode(history)?;
        self.cache().cluster = Some(at.cluster);
        if !self.examine(before, &history, &state, at).await? {
            return Ok(None);
        }
        // an empty store has no history
        if state.revision > 0 {
            state.head.incarnation = history.incarnation;
        }
        self.remember(&state, state.revision);
        Ok(Some(state))
    }

    /// Folds in the staged commit, if any, and then reads the head. Also returns the revision at which
    /// it was read.
    pub(super) async fn settled(&self) -> Result<(State, i64), StoreError> {
        loop {
            let (state, revision) = self.state().await?;
            if state.parts == 0 {
                return Ok((state, revision));
            }
            self.fold(&state).await?;
        }
    }

    pub(super) async fn commit(
        &self,
        head: Head,
        commit: Commit,
    ) -> Result<CommitOutcome, StoreError> {
        let (format, no_newcomers) = match head.number {
            0 => {
                let (edges, no_newcomers) = self.edges_and_no_others().await?;
                (Edge::common_format(&edges), Some(no_newcomers))
            }
            _ => (head.format, None),
        };
        format.check_writes(&commit)?;
        self.commit_as(head, commit, format, no_newcomers).await
    }

    /// Raises the format of the store, as a commit without writes.
    pub(super) async fn raise_format(
        &self,
        head: Head,
        format: Format,
    ) -> Result<CommitOutcome, StoreError> {
        head.check_raise(format)?;
        let (edges, no_newcomers) = self.edges_and_no_others().await?;
        if Edge::common_format(&edges) < format {
            // one has reported since the caller looked
            return Ok(CommitOutcome::Conflict);
        }
        self.commit_as(head, Commit::new(), format, Some(no_newcomers)).await
    }

    /// Makes a commit in a store that has `format` from then on, if no edge has joined that does not support it.
    async fn commit_as(
        &self,
        head: Head,
        commit: Commit,
        format: Format,
        no_newcomers: Option<Compare>,
    ) -> Result<CommitOutcome, StoreError> {
        let (mut state, revision) = self.settled().await?;
        if state.head != head {
            return Ok(CommitOutcome::Conflict);
        }
        if state.revision == 0 {
            // If several processes create a store at once, the first commit determines the key.
            state.pages = random()?;
        }
        let layout = self.layout.of(&state);
        if self.sweep_is_due() {
            self.sweep().await?;
        }
        let mut entries = Vec::with_capacity(commit.writes().len());
        for write in commit.writes() {
            entries.push(Entry::of(write)?);
        }
        drop(commit);
        let old = work::old_values(&self.link, &layout, &entries, revision).await?;
        let mut head = Head { number: head.number.saturating_add(1), format, ..head };
        for entry in &mut entries {
            let value = old.values.get(&entry.text);
            entry.replaced = value.map(|value| Sum::of_encoded(&entry.text, value));
            head = head.with(entry.replaced, entry.sum())?;
        }
        let id = new_id()?;
        let parts = payload::parts(&entries, PART.min(layout.limit))?;
        let next = State { head, id, parts: 0, revision: 0, ..state.clone() };
        let work = Work::of(&layout, entries, &old.values)?;
        // try a single transaction first
        if let [payload] = parts.as_slice()
            && work.len() <= LARGE
        {
            let (mut operations, bytes) = work.whole(&self.link, &layout, revision).await?;
            if operations.len() <= OPERATIONS && bytes + payload.len() <= layout.limit {
                operations.extend(self.announce(&next, payload)?);
                return self.write_head(&state, &next, no_newcomers, operations).await;
            }
        }
        // An announced commit is committed, and every reader waits until it is folded in. So check all
        // limits before.
        size_limits::check_parts(&parts, layout.limit)?;
        size_limits::check_work(&work, &self.link, &layout, &old, revision).await?;
        drop((work, old));
        self.commit_staged(&state, next, parts, no_newcomers).await
    }

    /// The writes that make `next` the head and announce the commit to the feeds.
    fn announce(&self, next: &State, payload: &[u8]) -> Result<[TxnOp; 2], StoreError> {
        let head = next.encode()?;
        let log = [head.as_slice(), b"\n", payload].concat();
        let (at_head, at_log) = (self.layout.head(), self.layout.log());
        Ok([TxnOp::put(at_head, head, None), TxnOp::put(at_log, log, None)])
    }

    async fn commit_staged(
        &self,
        state: &State,
        mut next: State,
        parts: Vec<Vec<u8>>,
        no_newcomers: Option<Compare>,
    ) -> Result<CommitOutcome, StoreError> {
        self.sweep().await?;
        self.try_largest().await?;
        // Each part is written on condition that the mark exists. Deleting the mark aborts the commit. A late copy of
        // the request can create another mark, which does not count.
        let mark = self.layout.staged(&next.id);
        let put = vec![TxnOp::put(mark.clone(), "", None), TxnOp::get(mark.clone(), None)];
        let answer = self.link.write(Txn::new().and_then(put)).await?.op_responses();
        let Some(TxnOpResponse::Get(found)) = answer.get(1) else {
            return Err(unexpected());
        };
        let created = found.kvs().first().map_or(0, KeyValue::create_revision);
        let marked = Compare::create_revision(mark.clone(), CompareOp::Equal, created);
        next.parts = parts.len();
        for (n, part) in parts.into_iter().enumerate() {
            let put = TxnOp::put(self.layout.part(&next.id, n), part, None);
            let txn = Txn::new().when(vec![marked.clone()]).and_then(vec![put]);
            if !self.link.write(txn).await?.succeeded() {
                return Err(StoreError::Conflict(
                    "a staged commit was deleted as abandoned".to_owned(),
                ));
            }
        }
        let operations = self.announce(&next, &[])?.to_vec();
        let conditions = no_newcomers.into_iter().chain([marked]);
        let outcome = self.write_head(state, &next, conditions, operations).await?;
        if outcome == CommitOutcome::Conflict {
            let all = DeleteOptions::new().with_prefix();
            let delete = TxnOp::delete(mark, Some(all));
            self.link.write(Txn::new().and_then(vec![delete])).await?;
        } else {
            // The commit has taken effect. If folding fails here, the next process continues it.
            let _ = self.settled().await;
        }
        Ok(outcome)
    }

    /// Checks, once in each process, that etcd accepts the largest request that folding may need. Its
    /// limit may be configured below the default.
    async fn try_largest(&self) -> Result<(), StoreError> {
        if self.accepts_largest.load(Ordering::Relaxed) {
            return Ok(());
        }
        let size = work::largest(self.layout.limit);
        let nowhere = self.layout.staged("");
        // no version is below 0, so etcd checks the size but writes nothing
        let never = Compare::version(nowhere.clone(), CompareOp::Less, 0);
        let put = TxnOp::put(nowhere, vec![0; size], None);
        let tried = self.link.write(Txn::new().when(vec![never]).and_then(vec![put])).await;
        tried.map_err(|error| {
            error.context(format_args!(
                "commit rejected: etcd did not accept a request of {size} bytes, which the commit \
                 may need (--max-request-bytes of etcd must be at least 1.5 MiB)"
            ))
        })?;
        self.accepts_largest.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes if the head and the history are still those of `state`. Determines the outcome even if answers
    /// get lost.
    ///
    /// [`Self::unlisted_for`] rewrites the history once after a restore. A commit at that moment is a conflict,
    /// although the head is the same.
    async fn write_head(
        &self,
        state: &State,
        next: &State,
        conditions: impl IntoIterator<Item = Compare>,
        mut operations: Vec<TxnOp>,
    ) -> Result<CommitOutcome, StoreError> {
        let is_staged = next.parts > 0;
        let mut conditions: Vec<_> = conditions.into_iter().collect();
        conditions.extend([self.head_is(state), self.history_is(state)]);
        if (state.revision, state.history) == (0, 0)
            && let Some(put) = self.first_incarnation()?
        {
            // before the commit, so that feeds know its incarnation
            operations.insert(0, put);
        }
        let committed = Ok(CommitOutcome::Committed(next.head.number));
        match self.conditional(conditions, operations).await {
            Ok(WriteResult::Done) => committed,
            // an earlier attempt took effect, and its answer was lost
            Ok(WriteResult::Rejected(now)) if self.has_written(state, next, &now).await? => {
                committed
            }
            Ok(WriteResult::Rejected(now))
                if is_staged && now.bytes == state.bytes && now.history == state.history =>
            {
                // the mark is gone
                let swept = "a staged commit was deleted as abandoned";
                Err(StoreError::Conflict(swept.to_owned()))
            }
            Ok(WriteResult::Rejected(_)) => Ok(CommitOutcome::Conflict),
            // etcd can apply the write that reaches its quota, and refuse it all the same
            Err(StoreError::NoSpace(why)) => {
                let (now, _) = self.state().await?;
                let has_written = self.has_written(state, next, &now).await?;
                if has_written { committed } else { Err(StoreError::NoSpace(why)) }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `next` is the first commit after `state`, given the present head.
    async fn has_written(
        &self,
        state: &State,
        next: &State,
        now: &State,
    ) -> Result<bool, StoreError> {
        if now.head.number > next.head.number {
            // more commits followed
            return Ok(self.committed_after(state.revision).await?.id == next.id);
        }
        Ok(now.id == next.id)
    }

    /// The condition that etcd has the head of `state`. A restored store repeats revisions for other
    /// commits, but not the random IDs in their heads.
    fn head_is(&self, state: &State) -> Compare {
        let head = self.layout.head();
        match state.revision {
            0 => Compare::mod_revision(head, CompareOp::Equal, 0),
            _ => Compare::value(head, CompareOp::Equal, state.bytes.clone()),
        }
    }

    /// The condition that the history is unchanged since `state` was read.
    fn history_is(&self, state: &State) -> Compare {
        Compare::mod_revision(self.layout.history(), CompareOp::Equal, state.history)
    }

    async fn conditional(
        &self,
        conditions: Vec<Compare>,
        operations: Vec<TxnOp>,
    ) -> Result<WriteResult, StoreError> {
        let present = [self.layout.head(), self.layout.history()];
        let present: Vec<_> = present.map(|key| TxnOp::get(key, None)).into();
        let txn = Txn::new().when(conditions).and_then(operations).or_else(present);
        let answer = self.link.write(txn).await?;
        if answer.succeeded() {
            return Ok(WriteResult::Done);
        }
        match answer.op_responses().as_slice() {
            [TxnOpResponse::Get(head), TxnOpResponse::Get(history)] => {
                let state = state_in(head.kvs().first(), history.kvs().first())?;
                Ok(WriteResult::Rejected(Box::new(state)))
            }
            _ => Err(unexpected()),
        }
    }

    /// The first commit after a revision.
    async fn committed_after(&self, revision: i64) -> Result<State, StoreError> {
        let log = self.layout.log();
        let search = self.link.call(Request::Read, |client| {
            let log = log.clone();
            async move {
                let from = WatchOptions::new().with_start_revision(revision + 1);
                let watch = client.watch_client().max_decoding_message_size(usize::MAX);
                let mut stream = { watch }.watch(log, Some(from)).await?;
                while let Some(answer) = stream.message().await? {
                    let first = answer.events().first();
                    if let Some(value) = first.filter(|event| event.event_type() == EventType::Put)
                        && let Some(value) = value.kv()
                    {
                        return Ok(Some(value.value().to_vec()));
                    }
                    if answer.canceled() {
                        break;
                    }
                }
                Ok::<_, Error>(None)
            }
        });
        let unknown = "the outcome of a commit is unknown";
        match search.await {
            Ok(Some(value)) => super::feed::announced(&value).map(|(state, _)| state),
            Ok(None) => Err(StoreError::Unreachable(format!("{unknown}: the watch ended"))),
            Err(error) => Err(error.context(unknown)),
        }
    }

    /// Reads the entries of the commit that is staged under a head.
    pub(super) async fn staged(
        &self,
        state: &State,
        revision: i64,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for n in 0..state.parts {
            let key = self.layout.part(&state.id, n);
            let read = self.link.read(&[key], Some(revision)).await?;
            let part = read.values.into_iter().next().flatten();
            let part =
                part.ok_or_else(|| StoreError::Corrupt("a staged part is missing".to_owned()))?;
            entries.extend(payload::entries(part.value())?);
        }
        Ok(entries)
    }

    /// Folds the commit that is staged under `state` into the pages. Several processes may do so at
    /// once; each piece takes effect once.
    async fn fold(&self, state: &State) -> Result<(), StoreError> {
        let layout = self.layout.of(state);
        let (at_head, at_fold) = (layout.head(), layout.fold());
        let mut work: Option<Work> = None;
        loop {
            let read = self.link.read(&[at_head.clone(), at_fold.clone()], None).await?;
            let [head, fold] = read.values.as_slice() else { return Ok(()) };
            if head.as_ref().is_none_or(|head| head.mod_revision() != state.revision) {
                // another process has finished
                return Ok(());
            }
            let revision = read.revision;
            let progress = fold.as_ref().and_then(|fold| progress(fold.value(), &state.id));
            let progress = progress.unwrap_or(Progress::START);
            let work = match &work {
                Some(work) => work,
                None => {
                    let entries = self.staged(state, state.revision).await?;
                    work.insert(if progress.records {
                        Work::records_of(&layout, entries)
                    } else {
                        let old = work::old_values(&self.link, &layout, &entries, revision).await?;
                        Work::of(&layout, entries, &old.values)?
                    })
                }
            };
            let fold_revision = fold.as_ref().map_or(0, etcd_client::KeyValue::mod_revision);
            let unchanged = Compare::mod_revision(at_fold.clone(), CompareOp::Equal, fold_revision);
            let conditions = vec![self.head_is(state), unchanged];
            let piece = work.piece(&self.link, &layout, progress, revision).await?;
            let operations = match piece {
                Some(mut piece) => {
                    let Progress { records, done } = piece.next;
                    let text = format!("{} {} {done}", state.id, u8::from(records));
                    piece.operations.push(TxnOp::put(at_fold.clone(), text, None));
                    piece.operations
                }
                None => {
                    let folded = State { parts: 0, ..state.clone() }.encode()?;
                    let all = DeleteOptions::new().with_prefix();
                    vec![
                        TxnOp::put(at_head.clone(), folded, None),
                        TxnOp::delete(at_fold.clone(), None),
                        TxnOp::delete(self.layout.staged(&state.id), Some(all)),
                    ]
                }
            };
            // read the progress again, whether the write was rejected or not
            self.conditional(conditions, operations).await?;
        }
    }

    /// Deletes abandoned staged commits.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let prefix = self.layout.all_staged();
        let found = self.link.get(prefix.clone(), options).await?;
        let mut ids = HashMap::new();
        for value in found.kvs() {
            let rest = value.key().strip_prefix(prefix.as_slice()).unwrap_or_default();
            let id = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            ids.insert(String::from_utf8_lossy(id).into_owned(), Instant::now());
        }
        let abandoned = self.abandoned(ids);
        for id in abandoned {
            let (state, _) = self.state().await?;
            if state.parts > 0 && state.id == id {
                continue;
            }
            let all = DeleteOptions::new().with_prefix();
            let delete = TxnOp::delete(self.layout.staged(&id), Some(all));
            self.conditional(vec![self.head_is(&state)], vec![delete]).await?;
        }
        Ok(())
    }
}

/// Decodes the progress of folding in a commit.
fn progress(bytes: &[u8], id: &str) -> Option<Progress> {
    let mut words = str::from_utf8(bytes).ok()?.split(' ');
    let (of, records, done) = (words.next()?, words.next()?, words.next()?);
    let done = done.parse().ok()?;
    (of == id).then_some(Progress { records: records == "1", done })
}
