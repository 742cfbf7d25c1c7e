//! The records of an account, and commands on them that conflict with each other.

use std::cell::Cell;

use sip_authz::AccountSid;
use sip_authz::model::{
    AccountStatus, Commit, Mapping, Password, Record, RoleKind, UserName, Write,
};
use sip_authz_directory::{Directory, DirectoryError, Limits, Secret, Settings};
use sip_authz_store::{CommitOutcome, Feed, Head, MemoryStore, Store};
use sip_authz_testing::directory_oracle::{Op, Oracle, PASSWORD, service};
use sip_authz_testing::site::{COMMITTED, Probe, committed, settings};

/// Limits so low that one more command reaches some of them.
pub(crate) fn limits() -> Limits {
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

pub(crate) fn limited() -> Settings {
    settings().with_limits(limits())
}

/// The records of an account, and commands on them that conflict with each other.
pub(crate) struct World {
    pub account: AccountSid,
    pub records: Vec<Record>,
    pub ops: Vec<Op>,
}

impl World {
    pub(crate) async fn new() -> Self {
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
    pub(crate) async fn store(&self) -> Probe<MemoryStore> {
        let store = Probe::yielding(MemoryStore::new());
        let mut commit = Commit::new();
        for record in &self.records {
            commit.put(record.clone());
        }
        assert_eq!(
            store.inner.commit(Head::default(), commit).await.unwrap(),
            CommitOutcome::Committed(1)
        );
        store
    }

    /// A directory on this store, which tells [`Self::run`] the numbers of commits.
    pub(crate) fn directory(&self, store: &Probe<MemoryStore>) -> Directory<Probe<MemoryStore>> {
        Directory::new(store.clone(), limited(), None).with_on_commit(committed)
    }

    /// Runs a command. Returns its result and the number of its commit, or 0.
    pub(crate) async fn run(
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
    pub(crate) async fn replay(
        &self,
        store: &MemoryStore,
        commands: &[(&Op, u64)],
        context: &str,
    ) -> Vec<Oracle> {
        let mut states = vec![Oracle::of(&self.records)];
        let mut feed = store.follow(Head { number: 1, ..Head::default() }).await.unwrap();
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

fn name_of_user(name: &str) -> UserName {
    name.parse().unwrap()
}
