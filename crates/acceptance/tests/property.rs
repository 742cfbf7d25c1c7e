//! Random commands from several tasks at once, on one directory and on two over one store, compared
//! with simple rules. A committed command was valid at its place in the order of commits. A rejected
//! one was invalid at some moment while it ran. Calls follow the result.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz_testing::folder;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sip_authz::model::rules::View;
use sip_authz::model::{AccountStatus, Key, Mapping, RoleKind, Target, Vocabulary, Write};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    RoleSid, Snapshot, TrunkSid,
};
use sip_authz_directory::{DirectoryError, Kind, Limits};
use sip_authz_store::{Feed, Follower, Head, MemoryStore, Store};
use sip_authz_testing::directory_oracle::{Fault, Op, Oracle, PASSWORD};
use sip_authz_testing::site::{COMMITTED, Probe, Site, behaviour, cut, settings};

const TASKS: u64 = 4;
const COMMANDS: usize = 60;
const NAMES: [&str; 4] = ["a.example.com", "b.example.com", "c.example.com", "192.0.2.1"];
const LIST_NAMES: [&str; 3] = ["phones", "softphones", "gateways"];
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const REALMS: [&str; 5] =
    ["example.com", "example.com", "example.com", "example.com", "elsewhere.example"];
const PREFIXES: [&str; 5] = ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "10.0.0.0/8", "::/0"];
const PERMISSIONS: [&str; 4] = ["addMember", "createChannel", "sendMessage", "fly"];

/// Small enough that random commands reach them.
fn limits() -> Limits {
    Limits::default()
        .with_domains(3)
        .with_trunks(2)
        .with_ip_access_control_lists(3)
        .with_ip_addresses(2)
        .with_credential_lists(3)
        .with_credentials(2)
        .with_roles(3)
        .with_username(32)
        .with_password(12)
}

/// Random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn key<K: Clone, V>(&mut self, map: &BTreeMap<K, V>) -> Option<K> {
        let nth = self.below(map.len().max(1));
        map.keys().nth(nth).cloned()
    }
}

/// A random command by an account on existing or deleted resources.
fn command(random: &mut Random, seen: &Oracle, accounts: [AccountSid; 2]) -> (AccountSid, Op) {
    let nowhere = [0xee; 16];
    let target = random.key(&seen.targets).unwrap_or_else(|| DomainSid::from_bytes(nowhere).into());
    let access_list = random
        .key(&seen.access_lists)
        .unwrap_or_else(|| IpAccessControlListSid::from_bytes(nowhere));
    let list = random.key(&seen.lists).unwrap_or_else(|| CredentialListSid::from_bytes(nowhere));
    let address = random.key(&seen.addresses).unwrap_or_else(|| IpAddressSid::from_bytes(nowhere));
    let user = random.key(&seen.users).unwrap_or_else(|| CredentialSid::from_bytes(nowhere));
    let role = random.key(&seen.roles).unwrap_or_else(|| RoleSid::from_bytes(nowhere));
    let some_role = Some(role).filter(|_| random.one_in(3));
    let prefix = random.of(&PREFIXES).parse().unwrap();
    let name = random.of(&NAMES);
    // to delete a mapping, mostly choose an existing one
    let any_mapping = match (random.below(3), target) {
        (0, Target::Domain(domain)) => Mapping::Registration(domain, list),
        (1, _) => Mapping::IpAccessControlList(target, access_list),
        _ => Mapping::CredentialList(target, list),
    };
    let mapped = random.key(&seen.mappings).unwrap_or(any_mapping);
    let seconds = u32::from(!random.one_in(5)) * 30;
    let permission = random.of(&PERMISSIONS);
    let owner_of_list = seen.lists.get(&list).map(|list| list.0);
    let owner_of_target = seen.targets.get(&target).map(|target| target.0);
    let owner_of_access_list = seen.access_lists.get(&access_list).copied();
    let user_list = seen.users.get(&user).map_or(list, |user| user.0);
    let address_list = seen.addresses.get(&address).map_or(access_list, |address| address.0);
    let (owner, op) = match random.below(30) {
        0 if random.one_in(3) => {
            (None, Op::SetStatus(random.of(&[AccountStatus::Active, AccountStatus::Suspended])))
        }
        0 | 1 => (None, Op::Rotate),
        2 | 3 => (None, Op::CreateDomain(name)),
        4 => (None, Op::CreateTrunk(Some(name).filter(|_| !random.one_in(4)))),
        5 => (owner_of_target, Op::Rename(target, name)),
        6 => (owner_of_target, Op::DeleteTarget(target)),
        7 => (owner_of_target, Op::SetPolicy(target, seconds)),
        8 => (None, Op::CreateAccessList),
        9 => (owner_of_access_list, Op::DeleteAccessList(access_list)),
        10 => (owner_of_access_list, Op::CreateAddress(access_list, prefix)),
        11 => (
            seen.access_lists.get(&address_list).copied(),
            Op::MoveAddress(address_list, address, prefix),
        ),
        12 => (
            seen.access_lists.get(&address_list).copied(),
            Op::DeleteAddress(address_list, address),
        ),
        13 => (None, Op::CreateList(random.of(&LIST_NAMES), random.of(&REALMS))),
        14 => (owner_of_list, Op::RenameList(list, random.of(&LIST_NAMES))),
        15 => (owner_of_list, Op::DeleteList(list)),
        16 | 17 => (owner_of_list, Op::CreateUser(list, random.of(&USERS), some_role)),
        18 => (
            seen.lists.get(&user_list).map(|list| list.0),
            Op::ChangeUser(
                user_list,
                user,
                random.one_in(4),
                random.of(&[None, Some(None), Some(Some(role))]),
            ),
        ),
        19 => (seen.lists.get(&user_list).map(|list| list.0), Op::DeleteUser(user_list, user)),
        20..=23 => (owner_of_target, Op::Map(any_mapping, some_role)),
        24 => (seen.targets.get(&mapped.target()).map(|target| target.0), Op::Unmap(mapped)),
        25..=27 => {
            let kind = random.of(&[RoleKind::Deployment, RoleKind::Channel]);
            (None, Op::CreateRole(kind, permission))
        }
        28 => (seen.roles.get(&role).map(|role| role.0), Op::ChangeRole(role, permission)),
        _ => (seen.roles.get(&role).map(|role| role.0), Op::DeleteRole(role)),
    };
    let stranger = random.one_in(10);
    let account = owner.filter(|_| !stranger).unwrap_or_else(|| random.of(&accounts));
    (account, op)
}

/// A command that was run.
struct Event {
    account: AccountSid,
    op: Op,
    /// The head before and after it.
    during: [u64; 2],
    /// The number of its commit, or 0.
    committed: u64,
    /// The result, or `None` if the command was dropped.
    outcome: Option<Result<(), DirectoryError>>,
}

/// The counts over all rounds.
#[derive(Default, Debug)]
struct Tally {
    done: usize,
    refused: usize,
    busy: usize,
    dropped: usize,
    dropped_after_commit: usize,
    /// Commands that were committed after they were dropped.
    unattended: usize,
    /// Commits of several commands.
    groups: usize,
    conflicts: u64,
    ops: BTreeSet<String>,
    faults: BTreeSet<String>,
}

async fn ask<S: Store + Clone>(
    site: Arc<Site<Probe<S>>>,
    accounts: [AccountSid; 2],
    mut random: Random,
) -> Vec<Event> {
    let store = site.directory.store().inner.clone();
    let mut events = Vec::new();
    let mut past = Oracle::default();
    for nth in 0..COMMANDS {
        let present = Oracle::of(&store.load().await.unwrap().records);
        let from_the_past = random.one_in(8);
        let seen = if from_the_past { &past } else { &present };
        let (account, op) = command(&mut random, seen, accounts);
        if nth % 16 == 0 {
            past = present;
        }
        let polls = if random.one_in(4) { random.below(40) } else { usize::MAX };
        let before = store.head().await.unwrap().number;
        let asked = async {
            let outcome = cut(op.clone().run(&site.directory, account), polls).await;
            (outcome, COMMITTED.with(Cell::get))
        };
        let (outcome, committed) = COMMITTED.scope(Cell::new(0), asked).await;
        if let Some(Ok(())) = outcome {
            assert!(committed > 0, "{op:?}");
            assert!(site.authorizer.snapshot().number() >= committed, "answered too early");
        }
        let during = [before, store.head().await.unwrap().number];
        events.push(Event { account, op, during, committed, outcome });
    }
    events
}

/// The commands of a commit.
struct Members<'e> {
    /// The commands that returned its number. All of them are in it.
    certain: Vec<&'e Event>,
    /// The commands that were dropped before it. Each may be in it.
    possible: Vec<&'e Event>,
    number: u64,
    /// The records that it created.
    made: Vec<Key>,
}

impl<'e> Members<'e> {
    /// Commands that lead from one state to the other in this order, each allowed where it stands; all
    /// that are certain, and as few of the others as possible.
    fn order(&self, from: &Oracle, to: &Oracle) -> Option<Vec<&'e Event>> {
        (0..=self.possible.len()).find_map(|others| {
            let (certain, possible) = (self.certain.clone(), self.possible.clone());
            self.order_with(from, to, certain, possible, others)
        })
    }

    fn order_with(
        &self,
        from: &Oracle,
        to: &Oracle,
        certain: Vec<&'e Event>,
        possible: Vec<&'e Event>,
        others: usize,
    ) -> Option<Vec<&'e Event>> {
        if certain.is_empty() && others == 0 {
            return (from == to).then(Vec::new);
        }
        let of_certain = (0..certain.len()).map(|nth| (true, nth));
        let of_possible = (0..possible.len()).map(|nth| (false, nth)).filter(|_| others > 0);
        of_certain.chain(of_possible).find_map(|(is_certain, nth)| {
            let (mut certain, mut possible) = (certain.clone(), possible.clone());
            let event = if is_certain { certain.remove(nth) } else { possible.remove(nth) };
            let Event { account, op, .. } = event;
            if !from.faults(op, *account, &limits()).is_empty() {
                return None;
            }
            let made = self.made.iter().copied().chain(gone()).map(Some).chain([None]);
            made.into_iter().find_map(|made| {
                let mut after = from.clone();
                if !after.apply(op, *account, made, self.number) {
                    return None;
                }
                let others = others - usize::from(!is_certain);
                let (certain, possible) = (certain.clone(), possible.clone());
                let mut order = self.order_with(&after, to, certain, possible, others)?;
                order.insert(0, event);
                Some(order)
            })
        })
    }
}

/// Keys in place of those of records that a group creates and deletes, which no commit shows.
fn gone() -> [Key; 7] {
    let sid = [0xdd; 16];
    [
        Key::Target(DomainSid::from_bytes(sid).into()),
        Key::Target(TrunkSid::from_bytes(sid).into()),
        Key::IpAccessControlList(IpAccessControlListSid::from_bytes(sid)),
        Key::IpAddress(IpAddressSid::from_bytes(sid)),
        Key::CredentialList(CredentialListSid::from_bytes(sid)),
        Key::Credential(CredentialSid::from_bytes(sid)),
        Key::Role(RoleSid::from_bytes(sid)),
    ]
}

/// Applies all commits in order and compares them with the rules. Returns the states, starting with
/// that of the empty store.
async fn check(store: &impl Store, events: &[Event], tally: &mut Tally) -> Vec<Oracle> {
    let was_dropped = |event: &&Event| event.outcome.is_none() && event.committed == 0;
    let mut dropped: Vec<_> = events.iter().filter(was_dropped).collect();
    let mut by_number = BTreeMap::<_, Vec<_>>::new();
    for event in events.iter().filter(|event| event.committed > 0) {
        by_number.entry(event.committed).or_default().push(event);
    }
    let mut feed = store.follow(Head::default()).await.unwrap();
    let mut records = BTreeMap::new();
    let mut states = vec![Oracle::default()];
    for number in 1..=store.head().await.unwrap().number {
        let next = feed.next().await.unwrap();
        assert_eq!(next.head.number, number);
        let mut made = Vec::new();
        for write in next.commit.writes() {
            match write {
                Write::Put(record) => {
                    if records.insert(record.key(), record.clone()).is_none() {
                        made.push(record.key());
                    }
                }
                Write::Delete(key) => drop(records.remove(key).unwrap()),
            }
        }
        let state = Oracle::of(records.values());
        // the two accounts were created before
        if number > 2 {
            let previous = &states[states.len() - 1];
            let certain = by_number.remove(&number).unwrap_or_default();
            let began = |event: &&Event| event.during[0] < number;
            let possible = dropped.iter().copied().filter(began).collect();
            let members = Members { certain, possible, number, made };
            let Some(order) = members.order(previous, &state) else {
                let certain: Vec<_> = members.certain.iter().map(|event| &event.op).collect();
                panic!("commit {number}: no order of {certain:?} keeps the rules");
            };
            for event in &order {
                let op = &event.op;
                tally.ops.extend(format!("{op:?}").split(['(', ' ']).next().map(str::to_owned));
            }
            tally.groups += usize::from(order.len() > 1);
            let before = dropped.len();
            dropped.retain(|event| !order.iter().any(|member| std::ptr::eq(*member, *event)));
            tally.unattended += before - dropped.len();
        }
        check_invariants(&state);
        states.push(state);
    }
    assert!(by_number.is_empty(), "commands with the number of no commit");
    for Event { account, op, during: [from, to], committed, outcome } in events {
        let error = match outcome {
            None => {
                tally.dropped += 1;
                tally.dropped_after_commit += usize::from(*committed > 0);
                continue;
            }
            Some(Ok(())) => {
                tally.done += 1;
                continue;
            }
            Some(Err(error)) => error,
        };
        assert_eq!(*committed, 0, "{op:?} was committed and rejected: {error}");
        if *error == DirectoryError::Busy {
            tally.busy += 1;
            continue;
        }
        let fault = Fault::of(error).unwrap_or_else(|| panic!("{op:?}: {error:?}"));
        let (from, to) = (usize::try_from(*from).unwrap(), usize::try_from(*to).unwrap());
        let mut moments = states[from..=to].iter();
        assert!(
            moments.any(|state| state.faults(op, *account, &limits()).contains(&fault)),
            "{op:?}: {error:?} at no moment between commit {from} and {to}"
        );
        tally.refused += 1;
        tally.faults.insert(format!("{fault:?}"));
    }
    states
}

/// The invariants over all records, after any commands.
fn check_invariants(state: &Oracle) {
    let named: Vec<_> = state.targets.values().filter_map(|(_, name)| name.as_ref()).collect();
    assert_eq!(named.len(), named.iter().collect::<BTreeSet<_>>().len(), "a name taken twice");
    let users: BTreeSet<_> = state.users.values().map(|user| (user.0, &user.1)).collect();
    assert_eq!(users.len(), state.users.len(), "a user name taken twice");
    for mapping in state.mappings.keys() {
        let (owner, _) = &state.targets[&mapping.target()];
        let list_owner = match mapping {
            Mapping::IpAccessControlList(_, list) => state.access_lists[list],
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                state.lists[list].0
            }
        };
        assert_eq!(*owner, list_owner, "mapped across accounts");
    }
    let carried = state.users.values().filter_map(|user| user.3);
    let carried = carried.chain(state.mappings.values().filter_map(|mapping| mapping.0));
    carried.for_each(|role| assert!(state.roles.contains_key(&role), "a missing role"));
    assert!(state.policies.keys().all(|target| state.targets.contains_key(target)));
    assert!(state.addresses.values().all(|(list, _)| state.access_lists.contains_key(list)));
    assert!(state.users.values().all(|user| state.lists.contains_key(&user.0)));
    for account in state.accounts.keys() {
        let owned = |domain: bool| {
            let kind = |target: &Target| matches!(target, Target::Domain(_)) == domain;
            state.targets.iter().filter(|(t, (owner, _))| owner == account && kind(t)).count()
        };
        assert!(owned(true) <= limits().domains && owned(false) <= limits().trunks);
        let lists = state.lists.values().filter(|list| list.0 == *account).count();
        let access_lists = state.access_lists.values().filter(|owner| *owner == account).count();
        let roles = state.roles.values().filter(|role| role.0 == *account).count();
        assert!(lists <= limits().credential_lists && roles <= limits().roles);
        assert!(access_lists <= limits().ip_access_control_lists);
    }
    for list in state.lists.keys() {
        assert!(
            state.users.values().filter(|user| user.0 == *list).count() <= limits().credentials
        );
    }
    for list in state.access_lists.keys() {
        let inside = state.addresses.values().filter(|(of, _)| of == list).count();
        assert!(inside <= limits().ip_addresses);
    }
}

/// The answers of a snapshot to every question that the rules use, about all past and present records.
fn view(snapshot: &Snapshot, states: &[Oracle]) -> Vec<String> {
    let mut all = BTreeSet::new();
    for state in states {
        all.extend(state.accounts.keys().map(|sid| format!("{:?}", snapshot.account(*sid))));
        for sid in state.targets.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.target(*sid)));
        }
        for sid in state.access_lists.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.ip_access_control_list(*sid)));
        }
        for sid in state.addresses.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.ip_address(*sid)));
        }
        for sid in state.lists.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.credential_list(*sid)));
            for name in USERS {
                let user = snapshot.user(*sid, &name.parse().unwrap());
                all.insert(format!("{name} in {sid}: {user:?}"));
            }
        }
        for sid in state.users.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.credential(*sid)));
        }
        for mapping in state.mappings.keys() {
            all.insert(format!("{}: {}", Key::Mapping(*mapping), snapshot.mapping(*mapping)));
        }
        for sid in state.roles.keys() {
            all.insert(format!("{sid}: {:?}", snapshot.role(*sid)));
        }
    }
    for name in NAMES {
        all.insert(format!("{name}: {:?}", snapshot.named(&name.parse().unwrap())));
    }
    all.into_iter().collect()
}

async fn round<S: Store + Clone>(store: S, seed: u64, directories: usize, tally: &mut Tally) {
    let store = Probe::yielding(store);
    let settings = settings().with_limits(limits());
    let mut sites = Vec::new();
    for _ in 0..directories {
        sites.push(Arc::new(Site::on(store.clone(), settings.clone()).await));
    }
    let one = sites[0].directory.create_account("one").await.unwrap().account.sid;
    let two = sites[0].directory.create_account("two").await.unwrap().account.sid;

    let tasks: Vec<_> = (0..TASKS)
        .zip(sites.iter().cycle())
        .map(|(task, site)| {
            let random = Random(seed.wrapping_mul(TASKS).wrapping_add(task));
            tokio::spawn(ask(Arc::clone(site), [one, two], random))
        })
        .collect();
    let mut events = Vec::new();
    for task in tasks {
        events.extend(task.await.unwrap());
    }
    let states = check(&store.inner, &events, tally).await;

    // the directories accept further commands, and no lock is held forever
    for site in &sites {
        let more = site.directory.create_account("more");
        tokio::time::timeout(Duration::from_secs(5), more).await.unwrap().unwrap();
    }
    let number = store.inner.load().await.unwrap().head.number;
    let (alone, _) = Follower::load(&store.inner, Vocabulary::documented()).await.unwrap();
    let met = |snapshot: &Snapshot| {
        let sources = ["192.0.2.7:1", "198.51.100.7:1", "[2001:db8::1]:1"];
        behaviour(snapshot, &NAMES, &sources, &USERS.map(|user| (user, PASSWORD)))
    };
    for site in &sites {
        site.applied.wait(number).await;
        let followed = site.authorizer.snapshot();
        assert_eq!((followed.number(), site.applied.number()), (number, number));
        assert_eq!(view(&followed, &states), view(&alone, &states));
        assert_eq!(met(&followed), met(&alone));
    }
    let [_, _, commits, conflicts] = store.counts.take();
    assert_eq!(commits, number);
    if directories == 1 {
        assert_eq!(conflicts, 0, "the commands of one directory must not conflict");
    }
    tally.conflicts += conflicts;
}

/// The number of rounds, from `SIP_AUTHZ_TEST_ROUNDS` if set.
fn rounds() -> u64 {
    std::env::var("SIP_AUTHZ_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(24)
}

/// Runs `least` to `most` rounds, and ends once the commands met every fault of [`FAULTS`], a group and a drop
/// before a commit. The scheduling of threads also decides which commands meet.
fn run<S: Store + Clone>(
    make: impl Fn() -> S,
    (least, most): (u64, u64),
    directories: usize,
) -> Tally {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let mut tally = Tally::default();
    for seed in 0..most {
        let has_met_all = FAULTS.iter().all(|fault| tally.has(*fault));
        if seed >= least && has_met_all && tally.groups > 0 && tally.unattended > 0 {
            break;
        }
        println!("seed {seed}");
        let round = round(make(), seed, directories, &mut tally);
        let round = async { tokio::time::timeout(Duration::from_secs(60), round).await };
        runtime.block_on(round).expect("a command never returned");
    }
    println!("{tally:?}");
    tally
}

/// Faults that a run must meet.
const FAULTS: [Fault; 6] = [
    Fault::TooMany(Kind::Domain),
    Fault::TooMany(Kind::Role),
    Fault::NameTaken(Kind::Domain),
    Fault::InUse(Kind::CredentialList),
    Fault::InUse(Kind::Role),
    Fault::Permission,
];

impl Tally {
    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&format!("{fault:?}"))
    }
}

fn run_in_memory(directories: usize) -> Tally {
    let tally = run(MemoryStore::new, (rounds(), 4 * rounds()), directories);
    assert!(tally.done > 1_000 && tally.refused > 1_000, "{tally:?}");
    assert!(tally.dropped > 100 && tally.dropped_after_commit > 0, "{tally:?}");
    assert!(tally.unattended > 0 && tally.groups > 0, "{tally:?}");
    assert_eq!(tally.ops.len(), 23, "every command must succeed at least once: {:?}", tally.ops);
    for fault in FAULTS {
        assert!(tally.has(fault), "no {fault:?}: {tally:?}");
    }
    tally
}

#[test]
fn commands_at_once_on_one_directory_keep_the_rules() {
    run_in_memory(1);
}

#[test]
fn commands_at_once_on_two_directories_keep_the_rules() {
    let tally = run_in_memory(2);
    assert!(tally.conflicts > 100, "{tally:?}");
}

/// The same with fewer rounds over a store with its own thread, where a dropped command may still be
/// committed completely.
#[test]
fn commands_at_once_over_an_sqlite_file_keep_the_rules() {
    let folders = std::cell::RefCell::new(Vec::new());
    let make = || {
        let folder = folder::Folder::new();
        let store = sip_authz_store_sqlite::SqliteStore::open(&*folder).unwrap();
        folders.borrow_mut().push(folder);
        store
    };
    for directories in [1, 2] {
        let tally = run(make, (rounds() / 12, rounds() / 12), directories);
        assert!(tally.done > 100 && tally.refused > 100 && tally.dropped > 10, "{tally:?}");
        assert!(directories == 1 || tally.conflicts > 10, "{tally:?}");
    }
}
