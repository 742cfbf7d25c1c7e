//! The commands on every resource: results, ownership and errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{SystemTime, UNIX_EPOCH};

use sip_authz::AccountSid;
use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, AccountStatus, Callback, Credential, CredentialList, Dates, Domain, HttpMethod,
    IpAccessControlList, IpAddress, Mapping, Password, Policy, Record, RoleKind, Target,
    TransferMode, Trunk,
};
use sip_authz::{
    CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid, ServiceSid,
    TrunkSid,
};
use sip_authz_directory::{
    CredentialChange, Directory, DirectoryError, Kind, MappingScope, Page, Secret,
};
use sip_authz_store::{MemoryStore, Store};
use sip_authz_testing::kit::{HOST, INSIDE, PASSWORD};
use sip_authz_testing::site::{Probe, Site, now_ms, settings, tick};

type Commands = Directory<Probe<MemoryStore>>;

fn missing<T>(kind: Kind) -> Result<T, DirectoryError> {
    Err(DirectoryError::NotFound(kind))
}

/// Asserts that a command failed with `Invalid`, and returns the message.
#[track_caller]
fn invalid<T>(outcome: Result<T, DirectoryError>, of: Kind) -> String {
    match outcome.err() {
        Some(DirectoryError::Invalid { kind, message }) if kind == of => message,
        other => panic!("not an invalid {of}: {other:?}"),
    }
}

fn secret() -> Secret {
    Secret::Password(Password::new(PASSWORD.to_owned()))
}

fn seconds() -> u64 {
    now_ms() / 1_000
}

/// The number of commits. A failed command does not change it.
async fn head(directory: &Commands) -> u64 {
    directory.store().head().await.unwrap().number
}

async fn an_account(directory: &Commands) -> AccountSid {
    directory.create_account("test").await.unwrap().account.sid
}

async fn a_domain(directory: &Commands, account: AccountSid, name: &str) -> Domain {
    directory.create_domain(account, name.parse().unwrap(), |_| ()).await.unwrap()
}

async fn a_list(directory: &Commands, account: AccountSid, name: &str) -> CredentialList {
    directory.create_credential_list(account, name, None).await.unwrap()
}

async fn a_user(
    directory: &Commands,
    account: AccountSid,
    list: CredentialListSid,
    name: &str,
) -> Result<Credential, DirectoryError> {
    let name = name.parse().unwrap();
    directory.create_credential(account, list, name, secret(), false, None).await
}

async fn an_access_list(directory: &Commands, account: AccountSid) -> IpAccessControlList {
    directory.create_ip_access_control_list(account, "offices").await.unwrap()
}

async fn an_address(
    directory: &Commands,
    account: AccountSid,
    list: IpAccessControlListSid,
    prefix: &str,
) -> Result<IpAddress, DirectoryError> {
    directory.create_ip_address(account, list, "desk", prefix.parse().unwrap(), false).await
}

#[tokio::test]
async fn accounts_are_created_suspended_and_closed() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let made = directory.create_account("Zoë & Söhne").await.unwrap();
    let account = made.account.clone();
    assert_eq!(
        (account.status, account.friendly_name.as_str()),
        (AccountStatus::Active, "Zoë & Söhne")
    );
    assert_eq!(account.dates, Dates { created: seconds(), updated: seconds() });
    assert_eq!(directory.account(account.sid).await.unwrap(), account);
    let unknown = AccountSid::from_name(&["unknown"]);
    assert_eq!(directory.account(unknown).await, missing(Kind::Account));
    assert_eq!(directory.update_account(unknown, None, None).await, missing(Kind::Account));
    assert_eq!(
        directory.rotate_token(unknown).await.err(),
        Some(DirectoryError::NotFound(Kind::Account))
    );

    tick(60_000);
    let renamed = directory.update_account(account.sid, Some("Zoë"), None).await.unwrap();
    let dates = Dates { created: seconds() - 60, updated: seconds() };
    assert_eq!(renamed, Account { friendly_name: "Zoë".to_owned(), dates, ..account.clone() });
    let status = async |status| {
        let outcome = directory.update_account(account.sid, None, Some(status)).await;
        outcome.map(|account| account.status)
    };
    let good = async || directory.authenticate(account.sid, &made.token).await.unwrap().is_some();
    assert!(good().await);
    assert_eq!(status(AccountStatus::Suspended).await, Ok(AccountStatus::Suspended));
    assert!(!good().await);
    assert_eq!(status(AccountStatus::Active).await, Ok(AccountStatus::Active));
    assert!(good().await);
    assert_eq!(status(AccountStatus::Closed).await, Ok(AccountStatus::Closed));
    assert!(!good().await);
    for opened in [AccountStatus::Active, AccountStatus::Suspended] {
        let message = invalid(status(opened).await, Kind::Account);
        assert_eq!(message, "a closed account cannot be opened again");
    }
    assert_eq!(status(AccountStatus::Closed).await, Ok(AccountStatus::Closed));
    let new = directory.rotate_token(account.sid).await.unwrap();
    assert!(directory.authenticate(account.sid, &new.token).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_is_returned_once_and_stored_as_a_hash() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let made = directory.create_account("test").await.unwrap();
    let (sid, token) = (made.account.sid, made.token.to_string());
    assert!(token.len() == 32 && token.bytes().all(|b| b"0123456789abcdef".contains(&b)));
    let kept = made.account.token.unwrap();
    assert_ne!(hex::encode(kept.0), token);
    assert!(!format!("{:?}", made.account).contains(&hex::encode(kept.0)[..8]));

    let good = async |sid, token: &str| directory.authenticate(sid, token).await.unwrap();
    let account_of = async |token: &str| good(sid, token).await.map(|login| login.account);
    assert_eq!(account_of(&token).await, Some(made.account));
    let other = directory.create_account("other").await.unwrap();
    for wrong in ["", &token[1..], &token.to_uppercase(), &hex::encode(kept.0), &other.token] {
        assert_eq!(good(sid, wrong).await, None, "{wrong}");
    }
    assert_eq!(good(AccountSid::from_name(&["unknown"]), &token).await, None);
    let rotated = directory.rotate_token(sid).await.unwrap();
    assert_ne!(*rotated.token, token);
    assert_eq!(good(sid, &token).await, None);
    assert_eq!(good(sid, &rotated.token).await.map(|login| login.account.sid), Some(sid));

    // an account without a token accepts no token
    let without = Account::new(AccountSid::from_name(&["imported"]));
    let mut commit = sip_authz::model::Commit::new();
    commit.put(without.clone().into());
    directory.import(commit).await.unwrap();
    for wrong in ["", "00000000000000000000000000000000"] {
        assert_eq!(good(without.sid, wrong).await, None);
    }
}

#[tokio::test]
async fn domains_and_trunks_are_created_updated_and_deleted() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let owner = an_account(directory).await;
    let voice =
        || Callback { url: Some("https://a.example/".to_owned()), method: Some(HttpMethod::Get) };
    let domain = directory
        .create_domain(owner, "SIP.example.com.".parse().unwrap(), |domain| {
            domain.friendly_name = "main".to_owned();
            domain.settings.voice = voice();
            // the caller cannot set these
            domain.account = AccountSid::from_name(&["other"]);
            domain.sid = DomainSid::from_name(&["other"]);
            domain.dates.created = 7;
        })
        .await
        .unwrap();
    assert_eq!((domain.name.as_str(), domain.account), ("sip.example.com", owner));
    assert_ne!(domain.sid, DomainSid::from_name(&["other"]));
    assert_eq!(domain.dates, Dates { created: seconds(), updated: seconds() });
    assert_eq!(domain.settings.voice, voice());
    assert_eq!(directory.domain(owner, domain.sid).await.unwrap(), domain);

    tick(1_500);
    let change = |domain: &mut Domain| {
        domain.secure = true;
        domain.name = "new.example.com".parse().unwrap();
        domain.sid = DomainSid::from_name(&["other"]);
        domain.dates = Dates::default();
        Ok(())
    };
    let changed = directory.update_domain(owner, domain.sid, change).await.unwrap();
    let expected = Domain {
        secure: true,
        name: "new.example.com".parse().unwrap(),
        dates: Dates { created: domain.dates.created, updated: seconds() },
        ..domain.clone()
    };
    assert_eq!(changed, expected);
    assert_eq!(directory.domain(owner, domain.sid).await.unwrap(), expected);
    assert_eq!(site.call("sip.example.com", INSIDE).status(), 404);
    assert_eq!(site.call("new.example.com", INSIDE).status(), 488);
    // an error of the caller's function ends the command
    let refuse = |_: &mut Domain| Err(DirectoryError::Busy);
    assert_eq!(directory.update_domain(owner, domain.sid, refuse).await, Err(DirectoryError::Busy));
    directory.delete_domain(owner, domain.sid).await.unwrap();
    assert_eq!(directory.domain(owner, domain.sid).await, missing(Kind::Domain));
    assert_eq!(directory.delete_domain(owner, domain.sid).await, missing(Kind::Domain));
    assert_eq!(directory.update_domain(owner, domain.sid, change).await, missing(Kind::Domain));

    // the caller cannot set these for a trunk either
    let claim = |trunk: &mut Trunk| {
        trunk.account = AccountSid::from_name(&["other"]);
        trunk.sid = TrunkSid::from_name(&["other"]);
        trunk.dates = Dates { created: 7, updated: 7 };
    };
    let trunk = directory.create_trunk(owner, claim).await.unwrap();
    assert_eq!((trunk.name.clone(), trunk.account), (None, owner));
    assert_ne!(trunk.sid, TrunkSid::from_name(&["other"]));
    assert_eq!(trunk.dates, Dates { created: seconds(), updated: seconds() });
    tick(1_000);
    let change = |trunk: &mut Trunk| {
        trunk.name = Some("trunk.example.com".parse().unwrap());
        trunk.settings.transfer_mode = TransferMode::SipOnly;
        claim(trunk);
        Ok(())
    };
    let changed = directory.update_trunk(owner, trunk.sid, change).await.unwrap();
    let dates = Dates { created: seconds() - 1, updated: seconds() };
    assert_eq!((changed.sid, changed.account, changed.dates), (trunk.sid, owner, dates));
    assert_eq!(directory.trunk(owner, trunk.sid).await.unwrap(), changed);
    assert_eq!(site.call("trunk.example.com", INSIDE).status(), 403);
    let change = |trunk: &mut Trunk| {
        trunk.name = None;
        Ok(())
    };
    directory.update_trunk(owner, trunk.sid, change).await.unwrap();
    assert_eq!(site.call("trunk.example.com", INSIDE).status(), 404);
    directory.delete_trunk(owner, trunk.sid).await.unwrap();
    assert_eq!(directory.trunk(owner, trunk.sid).await, missing(Kind::Trunk));
    assert_eq!(directory.trunks(owner, Page::first(5)).await.unwrap().rows, []);
    assert_eq!(directory.domains(owner, Page::first(5)).await.unwrap().rows, []);
}

#[tokio::test]
async fn lists_and_their_entries_are_created_updated_and_deleted() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let owner = an_account(directory).await;
    let offices = an_access_list(directory, owner).await;
    let desk = an_address(directory, owner, offices.sid, "192.0.2.0/28").await.unwrap();
    assert_eq!((&*offices.friendly_name, &*desk.friendly_name), ("offices", "desk"));
    assert_eq!(directory.ip_access_control_list(owner, offices.sid).await.unwrap(), offices);
    assert_eq!(directory.ip_address(owner, offices.sid, desk.sid).await.unwrap(), desk);
    tick(2_000);
    let renamed =
        directory.update_ip_access_control_list(owner, offices.sid, "homes").await.unwrap();
    let dates = Dates { created: seconds() - 2, updated: seconds() };
    assert_eq!(
        renamed,
        IpAccessControlList { friendly_name: "homes".to_owned(), dates, ..offices }
    );
    let change = |address: &mut IpAddress| {
        address.prefix = "2001:db8::/64".parse().unwrap();
        address.list = IpAccessControlListSid::from_name(&["other"]);
        address.sid = IpAddressSid::from_name(&["other"]);
        Ok(())
    };
    let moved =
        directory.update_ip_address(owner, offices.sid, desk.sid, false, change).await.unwrap();
    let prefix = "2001:db8::/64".parse().unwrap();
    assert_eq!(moved, IpAddress { prefix, dates, ..desk.clone() });
    directory.delete_ip_address(owner, offices.sid, desk.sid).await.unwrap();
    let gone = directory.ip_address(owner, offices.sid, desk.sid).await;
    assert_eq!(gone, missing(Kind::IpAddress));

    let list = a_list(directory, owner, "phones").await;
    assert_eq!((list.realm.as_str(), list.account), ("example.com", owner));
    let own = directory.create_credential_list(owner, "own", Some("own.example".parse().unwrap()));
    assert_eq!(own.await.unwrap().realm.as_str(), "own.example");
    let alice = a_user(directory, owner, list.sid, "alice").await.unwrap();
    assert!(HashFunction::ALL.into_iter().all(|function| alice.ha1.has(function)));
    let name = "carol".parse().unwrap();
    let carol = directory.create_credential(owner, list.sid, name, secret(), true, None).await;
    assert!(!alice.disabled && carol.unwrap().disabled);
    tick(3_000);
    let renamed = directory.update_credential_list(owner, list.sid, "handsets").await.unwrap();
    let dates = Dates { created: seconds() - 3, updated: seconds() };
    assert_eq!(
        renamed,
        CredentialList { friendly_name: "handsets".to_owned(), dates, ..list.clone() }
    );
    let change = CredentialChange::default().with_disabled(Some(true));
    let changed = directory.update_credential(owner, list.sid, alice.sid, change).await.unwrap();
    assert_eq!(changed, Credential { disabled: true, dates, ..alice.clone() });
    let md5 = "0123456789abcdef0123456789abcdef".to_owned();
    let change =
        CredentialChange::default().with_secret(Some(Secret::Ha1(vec![(HashFunction::Md5, md5)])));
    let changed = directory.update_credential(owner, list.sid, alice.sid, change).await.unwrap();
    assert!(changed.disabled && !changed.ha1.has(HashFunction::Sha256));
    assert_eq!(directory.credential(owner, list.sid, alice.sid).await.unwrap(), changed);
    directory.delete_credential(owner, list.sid, alice.sid).await.unwrap();
    let gone = directory.credential(owner, list.sid, alice.sid).await;
    assert_eq!(gone, missing(Kind::Credential));

    // a deleted list takes its entries with it
    an_address(directory, owner, offices.sid, "192.0.2.7").await.unwrap();
    a_user(directory, owner, list.sid, "alice").await.unwrap();
    directory.delete_ip_access_control_list(owner, offices.sid).await.unwrap();
    directory.delete_credential_list(owner, list.sid).await.unwrap();
    let left = directory.store().load().await.unwrap().records;
    assert_eq!(left.len(), 2, "the account and the other list: {left:?}");
    let gone = directory.ip_addresses(owner, offices.sid, Page::first(1)).await;
    assert_eq!(gone, missing(Kind::IpAccessControlList));
    let gone = directory.credentials(owner, list.sid, Page::first(1)).await;
    assert_eq!(gone, missing(Kind::CredentialList));
}

#[tokio::test]
async fn mappings_block_the_deletion_of_lists_and_go_with_their_target() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let owner = an_account(directory).await;
    let domain = a_domain(directory, owner, HOST).await.sid;
    let trunk = directory.create_trunk(owner, |_| ()).await.unwrap().sid;
    let list = a_list(directory, owner, "phones").await.sid;
    let offices = an_access_list(directory, owner).await.sid;
    an_address(directory, owner, offices, "192.0.2.0/24").await.unwrap();
    a_user(directory, owner, list, "alice").await.unwrap();
    let mut mappings = vec![Mapping::Registration(domain, list)];
    for target in [Target::from(domain), Target::from(trunk)] {
        mappings.push(Mapping::CredentialList(target, list));
        mappings.push(Mapping::IpAccessControlList(target, offices));
    }
    for mapping in mappings.iter().copied() {
        let kind = match mapping.target() {
            Target::Domain(_) => Kind::DomainMapping,
            Target::Trunk(_) => Kind::TrunkMapping,
        };
        assert_eq!(directory.mapping(owner, mapping).await, missing(kind));
        assert_eq!(directory.unmap(owner, mapping).await, missing(kind));
        let made = directory.map(owner, mapping, None).await.unwrap();
        assert_eq!(made.since, head(directory).await);
        assert_eq!(made.dates, Dates { created: seconds(), updated: seconds() });
        assert_eq!(directory.mapping(owner, mapping).await.unwrap(), made);
        let twice = directory.map(owner, mapping, None).await;
        assert_eq!(invalid(twice, kind), "the list is already mapped");
    }
    for scope in [
        MappingScope::CredentialLists,
        MappingScope::IpAccessControlLists,
        MappingScope::Registrations,
    ] {
        let page = Page::first(9);
        let rows = directory.mappings(owner, domain.into(), scope, page).await.unwrap().rows;
        assert!(rows.len() == 1 && scope.contains(&rows[0].mapping), "{rows:?}");
        let rows = directory.mappings(owner, trunk.into(), scope, page).await.unwrap().rows;
        assert_eq!(rows.len(), usize::from(scope != MappingScope::Registrations));
    }
    let kinds = [
        MappingScope::IpAccessControlLists,
        MappingScope::CredentialLists,
        MappingScope::Registrations,
    ];
    assert_eq!(directory.mapped_kinds(owner, domain.into()).await.unwrap(), kinds);
    assert_eq!(directory.mapped_kinds(owner, trunk.into()).await.unwrap(), kinds[..2]);
    assert!(site.call_as(HOST, "alice", PASSWORD).is_accept());

    // a mapped list cannot be deleted until its last mapping is gone
    let held = |kind| Err(DirectoryError::InUse { kind, by: "it is mapped" });
    let before = head(directory).await;
    for _ in 0..2 {
        let list_held = directory.delete_credential_list(owner, list).await;
        assert_eq!(list_held, held(Kind::CredentialList));
        let offices_held = directory.delete_ip_access_control_list(owner, offices).await;
        assert_eq!(offices_held, held(Kind::IpAccessControlList));
    }
    assert_eq!(head(directory).await, before);
    for mapping in mappings.iter().copied().filter(|mapping| mapping.target() == domain.into()) {
        directory.unmap(owner, mapping).await.unwrap();
    }
    assert_eq!(site.call(HOST, INSIDE).status(), 403);
    assert_eq!(directory.delete_credential_list(owner, list).await, held(Kind::CredentialList));

    // deleting a trunk deletes its mappings and its policy
    let target = Target::from(trunk);
    let unset = directory.policy(owner, target).await.unwrap();
    assert_eq!((unset.policy, unset.dates), (Policy::default(), Dates::default()));
    let longer = |policy: &mut Policy| {
        policy.nonce_lifetime *= 2;
        Ok(())
    };
    let set = directory.update_policy(owner, target, longer).await.unwrap();
    assert_eq!((set.policy.nonce_lifetime, set.dates.created), (120, seconds()));
    tick(1_000);
    let set = directory.update_policy(owner, target, longer).await.unwrap();
    let dates = Dates { created: seconds() - 1, updated: seconds() };
    assert_eq!((set.policy.nonce_lifetime, set.dates), (240, dates));
    assert_eq!(directory.policy(owner, target).await.unwrap(), set);
    let zero = |policy: &mut Policy| {
        policy.nonce_lifetime = 0;
        Ok(())
    };
    let message = invalid(directory.update_policy(owner, target, zero).await, Kind::Policy);
    assert!(message.contains("nonce lifetime must be 1 to 86400 seconds, got 0"), "{message}");
    directory.delete_trunk(owner, trunk).await.unwrap();
    assert_eq!(directory.policy(owner, target).await, missing(Kind::Trunk));
    directory.delete_credential_list(owner, list).await.unwrap();
    directory.delete_ip_access_control_list(owner, offices).await.unwrap();
    let left = directory.store().load().await.unwrap().records;
    assert!(matches!(&left[..], [Record::Account(_), Record::Domain(_)]), "{left:?}");
}

#[tokio::test]
async fn resources_of_another_account_are_not_found() {
    let site = Site::new(settings()).await;
    let directory = &site.directory;
    let owner = an_account(directory).await;
    let stranger = an_account(directory).await;
    let domain = a_domain(directory, owner, HOST).await.sid;
    let trunk = directory.create_trunk(owner, |_| ()).await.unwrap().sid;
    let list = a_list(directory, owner, "phones").await.sid;
    let alice = a_user(directory, owner, list, "alice").await.unwrap().sid;
    let offices = an_access_list(directory, owner).await.sid;
    let desk = an_address(directory, owner, offices, "192.0.2.7").await.unwrap().sid;
    let mapping = Mapping::CredentialList(domain.into(), list);
    directory.map(owner, mapping, None).await.unwrap();
    let theirs = a_domain(directory, stranger, "theirs.example.com").await.sid;
    let their_list = a_list(directory, stranger, "phones").await.sid;
    let their_offices = an_access_list(directory, stranger).await.sid;

    // resources of another account answer like ones that never existed
    let nowhere = (
        DomainSid::from_name(&["nowhere"]),
        TrunkSid::from_name(&["nowhere"]),
        CredentialListSid::from_name(&["nowhere"]),
        CredentialSid::from_name(&["nowhere"]),
        IpAccessControlListSid::from_name(&["nowhere"]),
        IpAddressSid::from_name(&["nowhere"]),
    );
    let before = directory.store().load().await.unwrap();
    for (domain, trunk, list, alice, offices, desk) in
        [(domain, trunk, list, alice, offices, desk), nowhere]
    {
        let d = directory;
        let scope = MappingScope::CredentialLists;
        let page = Page::first(5);
        let kind = Kind::Domain;
        assert_eq!(d.domain(stranger, domain).await, missing(kind));
        assert_eq!(d.update_domain(stranger, domain, |_| panic!("shown")).await, missing(kind));
        assert_eq!(d.delete_domain(stranger, domain).await, missing(kind));
        assert_eq!(d.policy(stranger, domain.into()).await, missing(kind));
        let policy = d.update_policy(stranger, domain.into(), |_| panic!("shown")).await;
        assert_eq!(policy, missing(kind));
        assert_eq!(d.mappings(stranger, domain.into(), scope, page).await, missing(kind));
        let mapping = Mapping::CredentialList(domain.into(), list);
        assert_eq!(d.mapping(stranger, mapping).await, missing(kind));
        assert_eq!(d.unmap(stranger, mapping).await, missing(kind));
        // not even with the caller's own list
        let own = Mapping::CredentialList(domain.into(), their_list);
        assert_eq!(d.map(stranger, own, None).await, missing(kind));
        let kind = Kind::Trunk;
        assert_eq!(d.trunk(stranger, trunk).await, missing(kind));
        assert_eq!(d.update_trunk(stranger, trunk, |_| panic!("shown")).await, missing(kind));
        assert_eq!(d.delete_trunk(stranger, trunk).await, missing(kind));
        assert_eq!(d.policy(stranger, trunk.into()).await, missing(kind));
        let kind = Kind::CredentialList;
        assert_eq!(d.credential_list(stranger, list).await, missing(kind));
        assert_eq!(d.update_credential_list(stranger, list, "x").await, missing(kind));
        assert_eq!(d.delete_credential_list(stranger, list).await, missing(kind));
        assert_eq!(d.credentials(stranger, list, page).await, missing(kind));
        assert_eq!(a_user(d, stranger, list, "bob").await, missing(kind));
        assert_eq!(d.credential(stranger, list, alice).await, missing(kind));
        let change = CredentialChange::default().with_secret(Some(secret()));
        assert_eq!(d.update_credential(stranger, list, alice, change).await, missing(kind));
        assert_eq!(d.delete_credential(stranger, list, alice).await, missing(kind));
        for mapping in
            [Mapping::CredentialList(theirs.into(), list), Mapping::Registration(theirs, list)]
        {
            assert_eq!(d.map(stranger, mapping, None).await, missing(kind));
        }
        let kind = Kind::IpAccessControlList;
        assert_eq!(d.ip_access_control_list(stranger, offices).await, missing(kind));
        assert_eq!(d.update_ip_access_control_list(stranger, offices, "x").await, missing(kind));
        assert_eq!(d.delete_ip_access_control_list(stranger, offices).await, missing(kind));
        assert_eq!(d.ip_addresses(stranger, offices, page).await, missing(kind));
        assert_eq!(an_address(d, stranger, offices, "10.0.0.1").await, missing(kind));
        assert_eq!(d.ip_address(stranger, offices, desk).await, missing(kind));
        let moved = d.update_ip_address(stranger, offices, desk, false, |_| panic!("shown")).await;
        assert_eq!(moved, missing(kind));
        assert_eq!(d.delete_ip_address(stranger, offices, desk).await, missing(kind));
        let mapping = Mapping::IpAccessControlList(theirs.into(), offices);
        assert_eq!(d.map(stranger, mapping, None).await, missing(kind));
        // nor through the caller's own list
        let found = d.credential(stranger, their_list, alice).await;
        assert_eq!(found, missing(Kind::Credential));
        let deleted = d.delete_credential(stranger, their_list, alice).await;
        assert_eq!(deleted, missing(Kind::Credential));
        let found = d.ip_address(stranger, their_offices, desk).await;
        assert_eq!(found, missing(Kind::IpAddress));
        let deleted = d.delete_ip_address(stranger, their_offices, desk).await;
        assert_eq!(deleted, missing(Kind::IpAddress));
    }
    assert_eq!(directory.store().load().await.unwrap(), before);

    // an unknown account cannot have resources
    let unknown = AccountSid::from_name(&["unknown"]);
    let no_account = || DirectoryError::NotFound(Kind::Account);
    let name = || "unknown.example.com".parse().unwrap();
    assert_eq!(directory.create_domain(unknown, name(), |_| ()).await.err(), Some(no_account()));
    assert_eq!(directory.create_trunk(unknown, |_| ()).await.err(), Some(no_account()));
    let made = directory.create_credential_list(unknown, "x", None).await.err();
    assert_eq!(made, Some(no_account()));
    let made = directory.create_ip_access_control_list(unknown, "x").await.err();
    assert_eq!(made, Some(no_account()));
    let (service, names) = (ServiceSid::from_name(&["s"]), vec!["addMember".to_owned()]);
    let made = directory.create_role(unknown, service, "x", RoleKind::Channel, names).await.err();
    assert_eq!(made, Some(no_account()));
}

#[tokio::test]
async fn dates_come_from_the_system_clock() {
    let directory = Directory::new(MemoryStore::new(), settings(), None);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let dates = directory.create_account("test").await.unwrap().account.dates;
    assert!((before..=now()).contains(&dates.created), "{dates:?}");
}
