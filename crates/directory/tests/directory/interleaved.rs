//! Interleavings: each command is interrupted at each of its steps, by another command or by being dropped.
//! Two commands must have the result of some sequential order. A dropped command must be atomic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use sip_authz::AccountSid;
use sip_authz::model::{
    AccountStatus, Commit, Mapping, Password, Record, RoleKind, Vocabulary, Write,
};
use sip_authz_directory::{Directory, DirectoryError, Limits, Secret, Settings};
use sip_authz_store::Follower;
use sip_authz_store::{CommitOutcome, Feed, MemoryStore, Store};
use sip_authz_testing::directory_oracle::{Fault, Op, Oracle, PASSWORD, service};
use sip_authz_testing::site::{COMMITTED, Probe, Site, cut, settings};

/// Limits so low that one more command reaches some of them.
fn limits() -> Limits {
    Limits::default()
        .with_domains(3)
        .with_trunks(1)
        .with_ip_access_control_lists(3)
        .with_ip_addresses(2)
        .with_credential_lists(4)
        .with_credentials(2)
        .with_roles(3)
        .with_username(32)
        .with_password(12)
}

fn limited() -> Settings {
    settings().with_limits(limits())
}

/// The records of an account, and commands on them that conflict with each other.
struct World {
    account: AccountSid,
    records: Vec<Record>,
    ops: Vec<Op>,
}

impl World {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let directory = Directory::new(store.clone(), limited(), None);
        let account = directory.create_account("test").await.unwrap().account.sid;
        let name = |name: &str| name.parse().unwrap();
        let domain =
            directory.create_domain(account, name("a.example.com"), |_| ()).await.unwrap().sid;
        let bare = directory.create_domain(account, name("b.example.com"), |_| ()).await.unwrap();
        let trunk = directory.create_trunk(account, |_| ()).await.unwrap().sid;
        let list = directory.create_credential_list(account, "phones", None).await.unwrap().sid;
        let free = directory.create_credential_list(account, "free", None).await.unwrap().sid;
        let realm = Some("elsewhere.example".parse().unwrap());
        let foreign = directory.create_credential_list(account, "far", realm).await.unwrap().sid;
        let offices = directory.create_ip_access_control_list(account, "").await.unwrap().sid;
        let prefix = "192.0.2.0/24".parse().unwrap();
        let desk = directory.create_ip_address(account, offices, "", prefix, false).await.unwrap();
        let names = || vec!["addMember".to_owned()];
        let mut roles = Vec::new();
        for kind in [RoleKind::Deployment, RoleKind::Channel] {
            let role = directory.create_role(account, service(), "", kind, names()).await.unwrap();
            roles.push(role.sid);
        }
        let [deployment, channel] = roles[..] else { panic!() };
        let secret = Secret::Password(Password::new(PASSWORD.to_owned()));
        let alice = directory
            .create_credential(
                account,
                free,
                name_of_user("alice"),
                secret,
                false,
                Some(deployment),
            )
            .await
            .unwrap()
            .sid;
        let on_domain = Mapping::CredentialList(domain.into(), list);
        directory.map(account, on_domain, None).await.unwrap();
        let target = bare.sid.into();
        let ops = vec![
            Op::SetStatus(AccountStatus::Closed),
            Op::SetStatus(AccountStatus::Active),
            Op::CreateDomain("c.example.com"),
            Op::CreateTrunk(Some("c.example.com")),
            Op::Rename(trunk.into(), "c.example.com"),
            Op::DeleteTarget(domain.into()),
            Op::DeleteTarget(target),
            Op::SetPolicy(domain.into(), 30),
            Op::DeleteAccessList(offices),
            Op::CreateAddress(offices, prefix),
            Op::DeleteAddress(offices, desk.sid),
            Op::CreateList("new", "example.com"),
            Op::RenameList(free, "new"),
            Op::DeleteList(list),
            Op::DeleteList(free),
            Op::CreateUser(free, "bob", Some(deployment)),
            Op::ChangeUser(free, alice, true, Some(None)),
            Op::DeleteUser(free, alice),
            Op::Map(Mapping::CredentialList(target, free), Some(channel)),
            Op::Map(Mapping::Registration(bare.sid, foreign), None),
            Op::Map(Mapping::IpAccessControlList(domain.into(), offices), None),
            Op::Unmap(on_domain),
            Op::ChangeRole(channel, "sendMessage"),
            Op::DeleteRole(channel),
            Op::DeleteRole(deployment),
        ];
        Self { account, records: store.load().await.unwrap().records, ops }
    }

    /// A store with these records in commit 1.
    async fn store(&self) -> Probe<MemoryStore> {
        let store = Probe::yielding(MemoryStore::new());
        let mut commit = Commit::new();
        for record in &self.records {
            commit.put(record.clone());
        }
        assert_eq!(store.inner.commit(0, commit).await.unwrap(), CommitOutcome::Committed(1));
        store
    }

    /// Runs a command. Returns its result and the number of its commit, or 0.
    async fn run(
        &self,
        directory: &Directory<Probe<MemoryStore>>,
        op: &Op,
    ) -> (Result<(), DirectoryError>, u64) {
        let command = async {
            let outcome = op.clone().run(directory, self.account).await;
            (outcome, COMMITTED.with(Cell::get))
        };
        COMMITTED.scope(Cell::new(0), command).await
    }

    /// Replays the commits of the store on the oracle, and returns its states from commit 1 on. Asserts that
    /// the oracle allows each command, and that the last state equals the records of the store.
    async fn replay(
        &self,
        store: &MemoryStore,
        commands: &[(&Op, u64)],
        context: &str,
    ) -> Vec<Oracle> {
        let mut states = vec![Oracle::of(&self.records)];
        let mut feed = store.follow(1).await.unwrap();
        let last = store.load().await.unwrap();
        for number in 2..=last.head.number {
            let op = commands.iter().find(|command| command.1 == number).expect(context).0;
            let mut state = states.last().unwrap().clone();
            let faults = state.faults(op, self.account, &limits());
            assert!(faults.is_empty(), "{context}: {op:?} succeeded despite {faults:?}");
            let commit = feed.next().await.unwrap().commit;
            let made = commit.writes().iter().find_map(|write| match write {
                Write::Put(record) => Some(record.key()),
                Write::Delete(_) => None,
            });
            assert!(state.apply(op, self.account, made, number), "{op:?} made {made:?}");
            states.push(state);
        }
        assert_eq!(states.last().unwrap(), &Oracle::of(&last.records), "{context}");
        states
    }
}

fn name_of_user(name: &str) -> sip_authz::model::UserName {
    name.parse().unwrap()
}

#[tokio::test]
async fn any_two_interleaved_commands_are_serializable() {
    let world = World::new().await;
    let (mut runs, mut conflicts, mut both, mut one) = (0, 0, 0, 0);
    for first in &world.ops {
        for second in &world.ops {
            for steps in 0.. {
                let store = world.store().await;
                let ours = Directory::new(store.clone(), limited(), None);
                let theirs = Directory::new(store.clone(), limited(), None);
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
    assert!(runs > 5_000 && both > 1_000 && one > 500 && conflicts > 1_000);
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
            let now = store.load().await.unwrap();
            let context = format!("{op:?}, dropped after {polls} polls");
            world.replay(store, &[(op, 2)], &context).await;
            if now.head.number == 1 {
                assert_eq!(now.records, world.records, "{context}");
            } else {
                behind += usize::from(result.is_none());
            }
            Follower::load(store, Vocabulary::documented()).await.unwrap();
            // the next command starts at once and sees the current records
            let next = Op::Rotate.run(&site.directory, world.account);
            tokio::time::timeout(Duration::from_secs(60), next).await.expect(&context).unwrap();
            assert_eq!(site.authorizer.snapshot().number(), now.head.number + 1, "{context}");
            if result.is_some() {
                break;
            }
            drops += 1;
        }
    }
    println!("{drops} drops, {behind} of them after the commit");
    assert!(drops > 250 && behind >= world.ops.len() / 2);
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
