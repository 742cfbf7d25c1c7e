//! Group commit: commands that arrive while a commit is written become one commit together.
//!
//! Each command plans on the durable records plus the commands before it that are not yet durable, and is
//! answered once its group is durable. So a group takes effect as a whole, in the order of its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use event_listener::Event;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Shared, select};

use super::DirectoryError;
use super::mirror::Mirror;
use super::view::View;
use sip_authz::model::{Commit, Key, Write};
use sip_authz_store::{CommitOutcome, Head, Records, Store, StoreError};

/// The most commands of a group.
const MAX_COMMANDS: usize = 256;
/// The most writes of a group. A command with more writes is a group of its own.
const MAX_WRITES: usize = 512;

/// The result of planning a command.
pub(super) enum Planned<T> {
    /// Write this commit, which keeps the rules, and return this answer.
    Write(Commit, T),
    /// Write nothing and return this answer.
    Answer(T),
}

/// The end of an attempt of a command.
pub(super) enum Settled<T> {
    /// The command writes nothing. Its answer or error rests on the records as of this head.
    Answer(Head, Result<T, DirectoryError>),
    /// The command is durable, in the commit that led to this head.
    Committed(Head, T),
    /// Another process committed first.
    Conflict,
    /// The group was given up for a reason that lies in no other process.
    PlanAgain,
}

/// The groups of a directory: one that is written, and one that commands join meanwhile.
pub(super) struct Groups {
    line: async_lock::Mutex<Line>,
    /// A group has ended, or a command has joined one.
    moved: Event,
    tickets: Mutex<Tickets>,
    next_ticket: AtomicU64,
}

/// The places of commands in the order in which they arrived.
#[derive(Default)]
struct Tickets {
    /// The commands that run.
    running: BTreeSet<u64>,
    /// Those that must plan again, or wait for a group. The oldest of them goes first, and newer commands
    /// wait for all of them.
    again: BTreeSet<u64>,
}

/// The place of a command. A dropped command leaves the line.
pub(super) struct Ticket<'g> {
    number: u64,
    groups: &'g Groups,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut tickets = self.groups.tickets();
        tickets.running.remove(&self.number);
        tickets.again.remove(&self.number);
        drop(tickets);
        self.groups.moved.notify(usize::MAX);
    }
}

struct Line {
    /// The durable records that the groups were planned on.
    base: Records,
    /// `base` and the commands of both groups.
    tip: Records,
    writing: Option<Writing>,
    /// The group that commands join.
    open: OpenGroup,
    /// The most commands of the next group. Halved when the store refuses a group.
    most: usize,
}

#[derive(Default)]
struct OpenGroup {
    group: Arc<Group>,
    commands: Vec<(u64, Commit)>,
    writes: usize,
}

/// A group that is written to the store.
struct Writing {
    group: Arc<Group>,
    tickets: Vec<u64>,
    /// The records after it.
    after: Records,
    /// Shared by all commands that wait. It goes on if one of them is dropped.
    commit: Shared<BoxFuture<'static, Result<CommitOutcome, StoreError>>>,
}

/// Several commands that become one commit.
#[derive(Default)]
struct Group {
    outcome: OnceLock<Outcome>,
}

#[derive(Clone)]
enum Outcome {
    Committed(Head),
    Conflict,
    PlanAgain,
    Failed(StoreError),
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            line: async_lock::Mutex::new(Line {
                base: Records::default(),
                tip: Records::default(),
                writing: None,
                open: OpenGroup::default(),
                most: MAX_COMMANDS,
            }),
            moved: Event::new(),
            tickets: Mutex::default(),
            next_ticket: AtomicU64::new(0),
        }
    }

    /// The place of a new command.
    pub(super) fn ticket(&self) -> Ticket<'_> {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        self.tickets().running.insert(number);
        Ticket { number, groups: self }
    }

    /// The place of a command that newer ones wait for.
    pub(super) fn first_ticket(&self) -> Ticket<'_> {
        let ticket = self.ticket();
        self.tickets().again.insert(ticket.number);
        ticket
    }

    /// Runs a write of its own once no group of this process is open or written, and lets none begin meanwhile.
    pub(super) async fn alone<S: Store, T>(
        &self,
        ticket: &Ticket<'_>,
        (store, mirror): (&Arc<S>, &Mirror<S>),
        write: impl AsyncFnOnce() -> T,
    ) -> T {
        loop {
            let moved = self.moved.listen();
            {
                let line = self.line.lock().await;
                let is_idle = line.writing.is_none() && line.open.commands.is_empty();
                if is_idle && self.tickets().is_turn(ticket.number) {
                    return write().await;
                }
            }
            self.drive(store, mirror, moved).await;
        }
    }

    /// Plans a command, lets it join a group, and waits for the end of the group.
    ///
    /// # Errors
    ///
    /// The error of the store.
    pub(super) async fn stage<S: Store, T>(
        &self,
        ticket: &Ticket<'_>,
        (store, mirror): (&Arc<S>, &Mirror<S>),
        plan: impl Fn(View<'_>) -> Result<Planned<T>, DirectoryError>,
    ) -> Result<Settled<T>, DirectoryError> {
        let (group, answer) = loop {
            // registered first, so that no change between the check and the wait is missed
            let moved = self.moved.listen();
            let before = {
                let mut line = self.line.lock().await;
                if self.tickets().is_turn(ticket.number) {
                    self.end(&mut line, |line| line.rebase(&mirror.current()));
                    let before = line.last_group();
                    match plan(line.view()) {
                        Ok(Planned::Write(commit, answer)) if line.has_room(&commit) => {
                            let group = line.join(ticket.number, commit);
                            self.tickets().again.remove(&ticket.number);
                            self.moved.notify(usize::MAX);
                            break (group, answer);
                        }
                        Ok(Planned::Write(..)) => {}
                        Ok(Planned::Answer(answer)) if before.is_none() => {
                            return Ok(Settled::Answer(line.base.head(), Ok(answer)));
                        }
                        Ok(Planned::Answer(_)) => {}
                        Err(error) if before.is_none() => {
                            return Ok(Settled::Answer(line.base.head(), Err(error)));
                        }
                        // It rests on commands that may fail. If the durable records refuse this one
                        // too, the refusal is right.
                        Err(_) => {
                            let durable = mirror.current();
                            if let Err(error) = plan(View::of(&durable)) {
                                return Ok(Settled::Answer(durable.head(), Err(error)));
                            }
                        }
                    }
                    // newer commands wait, or this one could plan again for ever
                    self.tickets().again.insert(ticket.number);
                    before
                } else {
                    None
                }
            };
            match before {
                Some(group) => drop(self.wait(&group, store, mirror).await),
                None => self.drive(store, mirror, moved).await,
            }
        };
        match self.wait(&group, store, mirror).await {
            Outcome::Committed(head) => Ok(Settled::Committed(head, answer)),
            Outcome::Conflict => Ok(Settled::Conflict),
            Outcome::PlanAgain => Ok(Settled::PlanAgain),
            Outcome::Failed(error) => Err(error.into()),
        }
    }

    /// Waits for the end of a group.
    async fn wait<S: Store>(&self, group: &Group, store: &Arc<S>, mirror: &Mirror<S>) -> Outcome {
        loop {
            let moved = self.moved.listen();
            if let Some(outcome) = group.outcome.get() {
                return outcome.clone();
            }
            self.drive(store, mirror, moved).await;
        }
    }

    /// Starts to write the open group if none is written, and waits until something has changed.
    async fn drive<S: Store>(
        &self,
        store: &Arc<S>,
        mirror: &Mirror<S>,
        moved: event_listener::EventListener,
    ) {
        let writing = {
            let mut line = self.line.lock().await;
            self.end(&mut line, |line| line.start(store));
            line.writing
                .as_ref()
                .map(|writing| (Arc::clone(&writing.group), writing.commit.clone()))
        };
        let Some((group, commit)) = writing else { return moved.await };
        if let Either::Left((result, _)) = select(commit, moved).await {
            let mut line = self.line.lock().await;
            // another command may have seen the end first
            if line.writing.as_ref().is_some_and(|writing| Arc::ptr_eq(&writing.group, &group)) {
                self.end(&mut line, |line| line.settle(result, mirror));
            }
        }
    }

    /// Runs a step that can end groups. Those of their commands that must plan again keep their order.
    fn end(&self, line: &mut Line, step: impl FnOnce(&mut Line) -> Ended) {
        let ended = step(line);
        if ended.0.is_empty() {
            return;
        }
        let mut tickets = self.tickets();
        for (group, members, outcome) in ended.0 {
            if matches!(outcome, Outcome::Conflict | Outcome::PlanAgain) {
                let again = members.into_iter().filter(|ticket| tickets.running.contains(ticket));
                let again: Vec<_> = again.collect();
                tickets.again.extend(again);
            }
            // each group ends once
            let _ = group.outcome.set(outcome);
        }
        drop(tickets);
        self.moved.notify(usize::MAX);
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        // no code panics while it holds the lock
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tickets {
    /// Whether no older command must plan again.
    fn is_turn(&self, ticket: u64) -> bool {
        self.again.first().is_none_or(|first| *first >= ticket)
    }
}

/// The groups that a step has ended, with the tickets of their commands.
#[derive(Default)]
struct Ended(Vec<(Arc<Group>, Vec<u64>, Outcome)>);

impl Line {
    /// The records that the next command plans on.
    fn view(&self) -> View<'_> {
        let groups_before = u64::from(self.writing.is_some());
        let number = self.base.head().number.saturating_add(1).saturating_add(groups_before);
        View { records: &self.tip, number }
    }

    /// The last group that is not yet durable; none if all commands are.
    fn last_group(&self) -> Option<Arc<Group>> {
        let writing = self.writing.as_ref().map(|writing| &writing.group);
        let open = (!self.open.commands.is_empty()).then_some(&self.open.group);
        open.or(writing).map(Arc::clone)
    }

    fn has_room(&self, commit: &Commit) -> bool {
        let OpenGroup { commands, writes, .. } = &self.open;
        commands.is_empty()
            || (commands.len() < self.most && writes + commit.writes().len() <= MAX_WRITES)
    }

    fn join(&mut self, ticket: u64, commit: Commit) -> Arc<Group> {
        self.tip = self.tip.with(&commit);
        self.open.writes += commit.writes().len();
        self.open.commands.push((ticket, commit));
        Arc::clone(&self.open.group)
    }

    /// Goes on from the newest state of the store, unless the group that is written decides what comes next.
    fn rebase(&mut self, current: &Records) -> Ended {
        if self.writing.is_some() || self.base.head() == current.head() {
            return Ended::default();
        }
        self.base = current.clone();
        self.throw_back(Outcome::Conflict)
    }

    /// Ends the open group. Its commands plan again.
    fn throw_back(&mut self, outcome: Outcome) -> Ended {
        self.tip = self.base.clone();
        let OpenGroup { group, commands, .. } = mem::take(&mut self.open);
        let tickets: Vec<_> = commands.into_iter().map(|(ticket, _)| ticket).collect();
        Ended(if tickets.is_empty() { vec![] } else { vec![(group, tickets, outcome)] })
    }

    /// Starts to write the open group, if it has commands and no other group is written.
    fn start<S: Store>(&mut self, store: &Arc<S>) -> Ended {
        if self.writing.is_some() || self.open.commands.is_empty() {
            return Ended::default();
        }
        let OpenGroup { group, commands, .. } = mem::take(&mut self.open);
        let (tickets, commits): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let commit = Arc::new(merge(commits, &self.base));
        let head = self.base.head();
        if commit.is_empty() {
            // its commands undo each other
            return Ended(vec![(group, tickets, Outcome::Committed(head))]);
        }
        let after = match self.base.after(&commit) {
            Ok((after, _)) => after,
            Err(error) => return self.refused(group, tickets, error),
        };
        let (store, commit) = (Arc::clone(store), Arc::unwrap_or_clone(commit));
        let commit = async move { store.commit(head, commit).await }.boxed().shared();
        self.tip = after.clone();
        self.writing = Some(Writing { group, tickets, after, commit });
        Ended::default()
    }

    /// Ends the group that is written.
    fn settle<S: Store>(
        &mut self,
        result: Result<CommitOutcome, StoreError>,
        mirror: &Mirror<S>,
    ) -> Ended {
        let Some(Writing { group, tickets, after, .. }) = self.writing.take() else {
            return Ended::default();
        };
        match result {
            Ok(CommitOutcome::Committed(_)) => {
                let head = after.head();
                mirror.committed(&after);
                self.base = after;
                self.most = self.most.saturating_mul(2).min(MAX_COMMANDS);
                Ended(vec![(group, tickets, Outcome::Committed(head))])
            }
            Ok(CommitOutcome::Conflict) => {
                let mut ended = self.throw_back(Outcome::PlanAgain);
                ended.0.push((group, tickets, Outcome::Conflict));
                ended
            }
            Err(error) => self.refused(group, tickets, error),
        }
    }

    /// Ends a group that the store refuses. If one of several commands can be the cause, they form smaller
    /// groups, until that command stands alone.
    fn refused(&mut self, group: Arc<Group>, tickets: Vec<u64>, error: StoreError) -> Ended {
        let mut ended = self.throw_back(Outcome::PlanAgain);
        let of_a_command = matches!(
            error,
            StoreError::TooLarge(_)
                | StoreError::Corrupt(_)
                | StoreError::Format(_)
                | StoreError::Other(_)
        );
        let outcome = if of_a_command && tickets.len() > 1 {
            self.most = tickets.len() / 2;
            Outcome::PlanAgain
        } else {
            Outcome::Failed(error)
        };
        ended.0.push((group, tickets, outcome));
        ended
    }
}

/// One commit with the effect of several in a row on these records.
fn merge(mut commits: Vec<Commit>, base: &Records) -> Commit {
    if commits.len() == 1 {
        return commits.pop().unwrap_or_default();
    }
    let mut last = BTreeMap::<Key, Write>::new();
    for write in commits.iter().flat_map(Commit::writes) {
        last.insert(write.key(), write.clone());
    }
    let mut merged = Commit::new();
    for (key, write) in last {
        match write {
            Write::Put(record) => {
                merged.put(record);
            }
            // the commands before have created it
            Write::Delete(_) if base.get(key).is_none() => {}
            Write::Delete(_) => {
                merged.delete(key);
            }
        }
    }
    merged
}
