//! Interleavings: each command is interrupted at each of its steps, by another command or by being dropped.
//! Two commands must have the result of some sequential order. A dropped command must be atomic.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use sip_authz::Authorizer;
use sip_authz::model::Vocabulary;
use sip_authz_directory::{Directory, DirectoryError};
use sip_authz_store::{Follower, MemoryStore, Store};
use sip_authz_testing::directory_oracle::{Fault, Op, Oracle};
use sip_authz_testing::site::{Probe, Site, cut, settings};

use crate::world::{World, limited, limits};

#[tokio::test]
async fn any_two_interleaved_commands_are_serializable() {
    let world = World::new().await;
    let (mut runs, mut conflicts, mut both, mut one) = (0, 0, 0, 0);
    for first in &world.ops {
        for second in &world.ops {
            for steps in 0.. {
                let store = world.store().await;
                let ours = world.directory(&store);
                let theirs = world.directory(&store);
                let mut first_run = pin!(world.run(&ours, first));
                let mut done = None;
                for _ in 0..steps {
                    let poll = std::future::poll_fn(|context| {
                        Poll::Ready(first_run.as_mut().poll(context))
                    });
                    if let Poll::Ready(outcome) = poll.await {
                        done = Some(outcome);
                        break;
                    }
                }
                let ended = done.is_some();
                let (second_outcome, second_number) = world.run(&theirs, second).await;
                let (first_outcome, first_number) = match done {
                    Some(done) => done,
                    None => first_run.await,
                };
                let context = format!("{first:?}, interrupted by {second:?} after {steps} steps");
                let commands = [(first, first_number), (second, second_number)];
                let states = world.replay(&store.inner, &commands, &context).await;
                for (op, outcome, number) in
                    [(first, first_outcome, first_number), (second, second_outcome, second_number)]
                {
                    assert_eq!(outcome.is_ok(), number > 0, "{context}: {outcome:?}");
                    if let Err(error) = outcome {
                        let fault =
                            Fault::of(&error).unwrap_or_else(|| panic!("{context}: {error:?}"));
                        let mut states = states.iter();
                        assert!(
                            states.any(|s| s.faults(op, world.account, &limits()).contains(&fault)),
                            "{context}: {error:?} is correct in no state"
                        );
                    }
                }
                runs += 1;
                conflicts += store.counts.take()[3];
                match (first_number > 0, second_number > 0) {
                    (true, true) => both += 1,
                    (false, false) => {}
                    _ => one += 1,
                }
                if ended {
                    break;
                }
            }
        }
    }
    println!("{runs} runs: both succeeded in {both}, one in {one}; {conflicts} conflicts");
    assert!(runs > 4_500 && both > 3_000 && one > 1_000 && conflicts > 900);
}

#[tokio::test]
async fn a_dropped_command_is_atomic() {
    let world = World::new().await;
    let (mut drops, mut behind) = (0, 0);
    for op in &world.ops {
        for polls in 1.. {
            let site = Site::on(world.store().await, limited()).await;
            let store = &site.directory.store().inner;
            let result = cut(op.clone().run(&site.directory, world.account), polls).await;
            let context = format!("{op:?}, dropped after {polls} polls");
            let was_committed = store.head().await.unwrap().number == 2;
            behind += usize::from(was_committed && result.is_none());
            // The next command starts at once and sees the current records. If the dropped one was being
            // written, it comes first.
            let next = Op::Rotate.run(&site.directory, world.account);
            tokio::time::timeout(Duration::from_secs(60), next).await.expect(&context).unwrap();
            let number = store.head().await.unwrap().number;
            assert!(number == 3 || (number == 2 && !was_committed), "{context}: {number}");
            world.replay(store, &[(op, number - 1), (&Op::Rotate, number)], &context).await;
            Follower::load(store, Vocabulary::documented()).await.unwrap();
            assert_eq!(site.authorizer.snapshot().number(), number, "{context}");
            if result.is_some() {
                break;
            }
            drops += 1;
        }
    }
    println!("{drops} drops, {behind} of them after the commit");
    assert!(drops > 120 && behind >= world.ops.len() / 2);
}

/// A command that is dropped while it waits for its turn does not block later commands.
#[tokio::test]
async fn a_dropped_waiter_does_not_block_other_commands() {
    let world = World::new().await;
    let directory = Directory::new(world.store().await, limited(), None);
    let mut running = pin!(Op::Rotate.run(&directory, world.account));
    let poll =
        std::future::poll_fn(|context| Poll::Ready(running.as_mut().poll(context).is_pending()));
    assert!(poll.await);
    for _ in 0..10 {
        let waiting = Op::CreateAccessList.run(&directory, world.account);
        assert!(cut(waiting, 1).await.is_none());
    }
    let next = Op::DeleteTarget(Oracle::of(&world.records).targets.into_keys().next().unwrap());
    let both = async { tokio::join!(running, next.run(&directory, world.account)) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    one.unwrap();
    two.unwrap();
    assert_eq!(directory.store().inner.head().await.unwrap().number, 3);
}

/// A caller that repeats a command, such as a removal, relies on the answer as much as the first one.
#[tokio::test]
async fn a_repeated_command_is_answered_once_the_first_is_in_force() {
    let world = World::new().await;
    let store = world.store().await;
    let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
    let authorizer = Arc::new(Authorizer::new(snapshot).unwrap());
    let follower = Follower::new(store.clone(), authorizer, head);
    let directory = Directory::new(store.clone(), limited(), Some(follower.applied()));
    let target = Oracle::of(&world.records).targets.into_keys().next().unwrap();
    let delete = Op::DeleteTarget(target);
    let mut first = pin!(delete.clone().run(&directory, world.account));
    let mut second = pin!(delete.run(&directory, world.account));
    // the follower does not run
    for _ in 0..100 {
        let poll = std::future::poll_fn(|context| {
            let first = first.as_mut().poll(context).is_pending();
            Poll::Ready(first && second.as_mut().poll(context).is_pending())
        });
        assert!(poll.await, "answered before the commit is in force");
    }
    assert_eq!(store.inner.head().await.unwrap().number, 2);
    tokio::spawn(follower.run());
    let both = async { tokio::join!(first, second) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    first.unwrap();
    assert!(matches!(second, Err(DirectoryError::NotFound(_))), "{second:?}");
}

#[tokio::test]
async fn a_command_has_sixteen_attempts_with_growing_pauses() {
    let store = Probe::new(MemoryStore::new());
    store.counts.contended.store(true, Ordering::Relaxed);
    let directory = Directory::new(store.clone(), settings(), None);
    assert!(matches!(directory.create_account("test").await, Err(DirectoryError::Busy)));
    let [_, _, commits, conflicts] = store.counts.take();
    assert_eq!((commits, conflicts), (0, 16));
    let pauses = store.counts.pauses.lock().unwrap();
    assert_eq!(pauses.len(), 15);
    for (pause, n) in pauses.iter().zip(1_u32..) {
        assert!(*pause <= Duration::from_millis(1 << n.min(8)), "{pauses:?}");
    }
    // the pauses are random; all of these are this short once in two million runs
    assert!(pauses[5..11].iter().any(|pause| *pause > Duration::from_millis(16)), "{pauses:?}");
}
