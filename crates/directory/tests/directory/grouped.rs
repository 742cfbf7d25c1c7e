//! Commands of one process that run at the same time: they become groups, and have the result of some
//! sequential order.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use sip_authz::model::{Key, Record, Write};
use sip_authz_directory::{Directory, DirectoryError};
use sip_authz_store::{Feed, Head, MemoryStore, Records, Store, StoreError};
use sip_authz_testing::directory_oracle::{Fault, Op, Oracle};

use crate::world::{World, limited, limits};

/// The commits of a store after commit 1: the state after each, and the records that it created.
struct History {
    states: Vec<Oracle>,
    made: Vec<Vec<Key>>,
}

impl History {
    async fn of(store: &MemoryStore) -> Self {
        let last = store.load().await.unwrap();
        let mut feed = store.follow(Head::default()).await.unwrap();
        let (mut records, mut states, mut made) = (Records::default(), Vec::new(), Vec::new());
        while records.head() != last.head {
            let entry = feed.next().await.unwrap();
            let puts = entry.commit.writes().iter().filter_map(|write| match write {
                Write::Put(record) => Some(record.key()),
                Write::Delete(_) => None,
            });
            made.push(puts.filter(|key| records.get(*key).is_none()).collect());
            records = records.after_entry(&entry).unwrap();
            states.push(Oracle::of(records.iter().collect::<Vec<&Record>>()));
        }
        Self { states, made }
    }

    /// Whether some order of the commands leads through all states, with each command allowed at its place.
    /// `state` is the state after the first `at` commits, or between two commands of the next commit.
    fn is_explained(&self, world: &World, at: usize, state: &Oracle, rest: &[&Op]) -> bool {
        let next = self.states.get(at + 1);
        if rest.is_empty() && next.is_none() {
            return *state == self.states[at];
        }
        if next == Some(state) && self.is_explained(world, at + 1, state, rest) {
            return true;
        }
        rest.iter().enumerate().any(|(index, op)| {
            if !state.faults(op, world.account, &limits()).is_empty() {
                return false;
            }
            let mut others = rest.to_vec();
            others.remove(index);
            let made = self.made.get(at + 1).into_iter().flatten().copied().map(Some);
            made.chain([None]).any(|made| {
                let (mut after, number) = (state.clone(), at as u64 + 2);
                after.apply(op, world.account, made, number)
                    && self.is_explained(world, at, &after, &others)
            })
        })
    }
}

/// Disturbances while the commands run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Nothing,
    /// Another process runs the last two commands.
    OtherProcess,
    /// The store refuses commits with more writes.
    Limit(usize),
}

#[tokio::test]
async fn commands_at_the_same_time_are_serializable() {
    let world = World::new().await;
    let (mut commands, mut commits) = (0, 0);
    for around in [Around::Nothing, Around::OtherProcess, Around::Limit(1), Around::Limit(2)] {
        for first in 0..world.ops.len() {
            for stride in [1, 2, 3, 7, 11] {
                let ops: Vec<_> =
                    (0..5).map(|n| &world.ops[(first + n * stride) % world.ops.len()]).collect();
                let store = world.store().await;
                if let Around::Limit(writes) = around {
                    store.counts.most_writes.store(writes, Ordering::Relaxed);
                }
                let ours = Directory::new(store.clone(), limited(), None);
                let theirs = Directory::new(store.clone(), limited(), None);
                let runs = ops.iter().enumerate().map(|(n, op)| {
                    let is_theirs = around == Around::OtherProcess && n >= 3;
                    let directory = if is_theirs { &theirs } else { &ours };
                    (*op).clone().run(directory, world.account)
                });
                let outcomes = join_all(runs).await;
                let context = format!("{around:?}: {ops:?}: {outcomes:?}");
                let history = History::of(&store.inner).await;
                let done = ops.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
                let done: Vec<_> = done.map(|(op, _)| *op).collect();
                let start = &history.states[0];
                assert!(history.is_explained(&world, 0, start, &done), "{context}");
                for (op, outcome) in ops.iter().zip(&outcomes) {
                    match outcome {
                        Ok(()) => {}
                        Err(DirectoryError::Store(StoreError::TooLarge(_))) => {
                            // the command alone has more writes
                            assert!(matches!(around, Around::Limit(_)), "{context}");
                            assert!(
                                matches!(
                                    op,
                                    Op::DeleteTarget(_)
                                        | Op::DeleteAccessList(_)
                                        | Op::DeleteList(_)
                                ),
                                "{context}"
                            );
                        }
                        Err(error) => {
                            let fault = Fault::of(error).expect(&context);
                            let mut states = history.states.iter();
                            assert!(
                                states.any(|s| {
                                    s.faults(op, world.account, &limits()).contains(&fault)
                                }),
                                "{context}: {error:?} is right in no durable state"
                            );
                        }
                    }
                }
                if around == Around::Nothing {
                    commands += done.len();
                    commits += history.states.len() - 1;
                }
            }
        }
    }
    println!("{commands} commands in {commits} commits");
    assert!(commands > 400 && commits < commands * 9 / 10, "{commands} in {commits}");
}
