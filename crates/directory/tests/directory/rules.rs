//! The rules of the directory: quotas, unique names, realms, passwords, prefixes of length 0 and friendly
//! names; a failed command changes nothing. Also: the confirmation of a change by all edges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, Commit, CredentialList, Domain, IpAddress, Mapping, Password, Record, RoleKind, Trunk,
};
use sip_authz::{AccountSid, CredentialListSid, DomainSid, ServiceSid, Warning};
use sip_authz_directory::{
    CredentialChange, Directory, DirectoryError, Kind, Limits, Secret, Settings,
};
use sip_authz_store::{CommitOutcome, Head, MemoryStore, Store};
use sip_authz_testing::kit::{PASSWORD, REALM, accepted, credential, list, user};
use sip_authz_testing::site::{Probe, Site, settings};

struct World {
    site: Site<Probe<MemoryStore>>,
    owner: AccountSid,
    other: AccountSid,
}

impl World {
    async fn new(settings: Settings) -> Self {
        let site = Site::new(settings).await;
        let owner = site.directory.create_account("one").await.unwrap().account.sid;
        let other = site.directory.create_account("two").await.unwrap().account.sid;
        Self { site, owner, other }
    }

    fn directory(&self) -> &Directory<Probe<MemoryStore>> {
        &self.site.directory
    }

    async fn domain(&self, owner: AccountSid, name: &str) -> Result<Domain, DirectoryError> {
        self.directory().create_domain(owner, name.parse().unwrap(), |_| ()).await
    }

    async fn trunk(&self, owner: AccountSid, name: &str) -> Result<Trunk, DirectoryError> {
        let name = Some(name.parse().unwrap());
        self.directory().create_trunk(owner, |trunk| trunk.name = name).await
    }

    async fn list(&self, name: &str, realm: &str) -> Result<CredentialListSid, DirectoryError> {
        let realm = Some(realm.parse().unwrap());
        let made = self.directory().create_credential_list(self.owner, name, realm).await;
        made.map(|list| list.sid)
    }

    async fn user(&self, list: CredentialListSid, name: &str) -> Result<(), DirectoryError> {
        self.user_with(list, name, password(PASSWORD)).await
    }

    async fn user_with(
        &self,
        list: CredentialListSid,
        name: &str,
        secret: Secret,
    ) -> Result<(), DirectoryError> {
        let (directory, name) = (self.directory(), name.parse().unwrap());
        directory.create_credential(self.owner, list, name, secret, false, None).await.map(drop)
    }
}

fn password(text: &str) -> Secret {
    Secret::Password(Password::new(text.to_owned()))
}

#[track_caller]
fn invalid<T>(outcome: Result<T, DirectoryError>, of: Kind) -> String {
    match outcome.err() {
        Some(DirectoryError::Invalid { kind, message }) if kind == of => message,
        other => panic!("not an invalid {of}: {other:?}"),
    }
}

#[track_caller]
fn taken<T>(outcome: Result<T, DirectoryError>, of: Kind) {
    match outcome.err() {
        Some(DirectoryError::NameTaken { kind, .. }) if kind == of => {}
        other => panic!("not a taken name of a {of}: {other:?}"),
    }
}

#[tokio::test]
async fn limits_hold_for_each_account_and_list() {
    let limits = Limits::default()
        .with_domains(2)
        .with_trunks(1)
        .with_ip_access_control_lists(2)
        .with_ip_addresses(3)
        .with_credential_lists(2)
        .with_credentials(3)
        .with_roles(1);
    let world = World::new(settings().with_limits(limits)).await;
    let (directory, owner, other) = (world.directory(), world.owner, world.other);
    let full = |kind, limit| Some(DirectoryError::TooMany { kind, limit });

    let first = world.domain(owner, "a.example.com").await.unwrap().sid;
    world.domain(owner, "b.example.com").await.unwrap();
    let third = world.domain(owner, "c.example.com").await.err();
    assert_eq!(third, full(Kind::Domain, 2));
    assert_eq!(third.unwrap().to_string(), "domain limit reached: at most 2");
    // domains of other accounts and deleted domains do not count
    world.domain(other, "c.example.com").await.unwrap();
    directory.delete_domain(owner, first).await.unwrap();
    world.domain(owner, "d.example.com").await.unwrap();
    assert_eq!(world.domain(owner, "e.example.com").await.err(), full(Kind::Domain, 2));

    let trunk = directory.create_trunk(owner, |_| ()).await.unwrap();
    assert_eq!(directory.create_trunk(owner, |_| ()).await.err(), full(Kind::Trunk, 1));
    directory.update_trunk(owner, trunk.sid, |_| Ok(())).await.unwrap();

    let lists = [world.list("a", REALM).await.unwrap(), world.list("b", REALM).await.unwrap()];
    assert_eq!(world.list("c", REALM).await.err(), full(Kind::CredentialList, 2));
    for list in lists {
        for name in ["alice", "bob", "carol"] {
            world.user(list, name).await.unwrap();
        }
        assert_eq!(world.user(list, "dave").await.err(), full(Kind::Credential, 3));
    }
    directory.delete_credential_list(owner, lists[0]).await.unwrap();
    let list = world.list("a", REALM).await.unwrap();
    world.user(list, "alice").await.unwrap();

    let mut offices = Vec::new();
    for _ in 0..2 {
        offices.push(directory.create_ip_access_control_list(owner, "same").await.unwrap().sid);
    }
    let third = directory.create_ip_access_control_list(owner, "same").await.err();
    assert_eq!(third, full(Kind::IpAccessControlList, 2));
    let address = "192.0.2.7".parse().unwrap();
    for list in offices {
        let mut last = None;
        for _ in 0..3 {
            last = directory.create_ip_address(owner, list, "", address, false).await.ok();
        }
        let fourth = directory.create_ip_address(owner, list, "", address, false).await.err();
        assert_eq!(fourth, full(Kind::IpAddress, 3));
        directory.delete_ip_address(owner, list, last.unwrap().sid).await.unwrap();
        directory.create_ip_address(owner, list, "", address, false).await.unwrap();
    }

    let role = async |service: &str| {
        let (service, names) = (ServiceSid::from_name(&[service]), vec!["addMember".to_owned()]);
        directory.create_role(owner, service, "", RoleKind::Channel, names).await
    };
    role("a").await.unwrap();
    // a service is only a name space and has no limit of its own
    assert_eq!(role("a").await.err(), full(Kind::Role, 1));
    assert_eq!(role("b").await.err(), full(Kind::Role, 1));
}

#[test]
fn the_default_limits_are_those_of_twilio() {
    let Limits { domains, trunks, ip_access_control_lists, ip_addresses, .. } = Limits::default();
    assert_eq!([domains, trunks, ip_access_control_lists, ip_addresses], [100, 100, 1_000, 100]);
    let Limits { credential_lists, credentials, username, password, .. } = Limits::default();
    assert_eq!([credential_lists, credentials, username, password], [100, 1_000, 32, 12]);
}

#[tokio::test]
async fn host_names_are_unique_across_domains_trunks_and_accounts() {
    let world = World::new(settings()).await;
    let (directory, owner, other) = (world.directory(), world.owner, world.other);
    let one = world.domain(owner, "one.example.com").await.unwrap();
    let trunk = world.trunk(owner, "trunk.example.com").await.unwrap();
    let before = directory.store().head().await.unwrap().number;
    for account in [owner, other] {
        for name in ["one.example.com", "ONE.Example.com.", "trunk.example.com"] {
            taken(world.domain(account, name).await, Kind::Domain);
            taken(world.trunk(account, name).await, Kind::Trunk);
        }
    }
    let rename = |domain: &mut Domain| {
        domain.name = "TRUNK.example.com".parse().unwrap();
        Ok(())
    };
    let error = directory.update_domain(owner, one.sid, rename).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name `trunk.example.com` is taken by another domain or trunk"
    );
    let rename = |trunk: &mut Trunk| {
        trunk.name = Some("one.example.com".parse().unwrap());
        Ok(())
    };
    taken(directory.update_trunk(owner, trunk.sid, rename).await, Kind::Trunk);
    assert_eq!(directory.store().head().await.unwrap().number, before);
    // a domain may keep its own name, and a name is free after a rename
    directory.update_domain(owner, one.sid, |_| Ok(())).await.unwrap();
    let rename = |domain: &mut Domain| {
        domain.name = "two.example.com".parse().unwrap();
        Ok(())
    };
    directory.update_domain(owner, one.sid, rename).await.unwrap();
    directory
        .update_trunk(owner, trunk.sid, |trunk| {
            trunk.name = Some("one.example.com".parse().unwrap());
            Ok(())
        })
        .await
        .unwrap();
    world.domain(other, "trunk.example.com").await.unwrap();
    directory.delete_domain(owner, one.sid).await.unwrap();
    world.trunk(other, "two.example.com").await.unwrap();
}

#[tokio::test]
async fn domain_names_must_have_an_allowed_suffix() {
    let suffixes = vec!["sip.example.com".to_owned(), "sip.example.net".to_owned()];
    let world = World::new(settings().with_suffixes(suffixes)).await;
    for name in ["a.sip.example.com", "A.B.SIP.example.NET."] {
        world.domain(world.owner, name).await.unwrap();
    }
    for name in ["sip.example.com", "a.example.com", "asip.example.com", "a.sip.example.com.org"] {
        let refused = |outcome: Option<DirectoryError>, of| match outcome {
            Some(DirectoryError::BadName { kind, message }) => {
                let suffixes = ".sip.example.com, .sip.example.net";
                let expected = format!("DomainName must end in one of {suffixes}; got `{name}`");
                assert_eq!((kind, message), (of, expected));
            }
            other => panic!("{name}: {other:?}"),
        };
        refused(world.domain(world.owner, name).await.err(), Kind::Domain);
        refused(world.trunk(world.owner, name).await.err(), Kind::Trunk);
    }
    world.directory().create_trunk(world.owner, |_| ()).await.unwrap();
}

#[tokio::test]
async fn names_within_a_list_and_an_account_are_unique() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let list = world.list("phones", REALM).await.unwrap();
    let second = world.list("Phones", REALM).await.unwrap();
    world.user(list, "alice").await.unwrap();
    let message = invalid(world.user(list, "alice").await, Kind::Credential);
    assert_eq!(message, "the user name `alice` is taken in this list");
    world.user(list, "Alice").await.unwrap();
    world.user(second, "alice").await.unwrap();

    let message = invalid(world.list("phones", REALM).await, Kind::CredentialList);
    assert_eq!(message, "FriendlyName `phones` is taken by another credential list");
    let renamed = directory.update_credential_list(owner, second, "phones").await;
    assert_eq!(
        invalid(renamed, Kind::CredentialList),
        "FriendlyName `phones` is taken by another credential list"
    );
    directory.update_credential_list(owner, list, "phones").await.unwrap();
    directory.create_credential_list(world.other, "phones", None).await.unwrap();
    directory.update_credential_list(owner, list, "handsets").await.unwrap();
    directory.update_credential_list(owner, second, "phones").await.unwrap();
    // two access lists may have the same name
    for _ in 0..2 {
        directory.create_ip_access_control_list(owner, "offices").await.unwrap();
    }
}

#[tokio::test]
async fn at_most_four_lists_of_a_target_have_a_user_name() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let domain = world.domain(owner, "a.example.com").await.unwrap().sid;
    let trunk = world.trunk(owner, "b.example.com").await.unwrap().sid;
    let mut lists = Vec::new();
    for number in 0..7 {
        let list = world.list(&format!("list {number}"), REALM).await.unwrap();
        world.user(list, &format!("own{number}")).await.unwrap();
        lists.push(list);
    }
    let map = async |target, list| {
        directory.map(owner, Mapping::CredentialList(target, list), None).await.map(drop)
    };
    for (number, list) in lists.iter().enumerate() {
        if number < 5 {
            world.user(*list, "alice").await.unwrap();
        }
        if number != 4 {
            map(domain.into(), *list).await.unwrap();
        }
    }
    let in_five = |list: usize, target: String| {
        let mut five: Vec<_> = [0, 1, 2, 3, list].map(|number| lists[number]).into();
        five.sort_unstable();
        let five: Vec<_> = five.iter().map(ToString::to_string).collect();
        let five = five.join(", ");
        format!(
            "the user name `alice` would be in 5 of the lists mapped to {target}, at most 4 are \
             allowed: {five}"
        )
    };
    // the fifth copy by a mapping, and by a user
    let target = domain.to_string();
    let message = invalid(map(domain.into(), lists[4]).await, Kind::DomainMapping);
    assert_eq!(message, in_five(4, target.clone()));
    let message = invalid(world.user(lists[5], "alice").await, Kind::Credential);
    assert_eq!(message, in_five(5, target));
    // names in one list only, a list that the domain does not map, and another target
    world.user(lists[5], "anna").await.unwrap();
    let other = world.list("other", REALM).await.unwrap();
    world.user(other, "alice").await.unwrap();
    for list in lists.iter().take(4) {
        map(trunk.into(), *list).await.unwrap();
    }
    let message = invalid(map(trunk.into(), lists[4]).await, Kind::TrunkMapping);
    assert_eq!(message, in_five(4, trunk.to_string()));
    // once a copy is unmapped, another one fits
    let mapping = Mapping::CredentialList(domain.into(), lists[0]);
    directory.unmap(owner, mapping).await.unwrap();
    map(domain.into(), lists[4]).await.unwrap();
    invalid(map(domain.into(), lists[0]).await, Kind::DomainMapping);
}

/// Registrations have four copies of their own, beside those of calls.
#[tokio::test]
async fn at_most_four_lists_for_registrations_have_a_user_name() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let domain = world.domain(owner, "a.example.com").await.unwrap().sid;
    let map = async |mapping| directory.map(owner, mapping, None).await.map(drop);
    let mut lists = Vec::new();
    for number in 0..6 {
        let list = world.list(&format!("list {number}"), REALM).await.unwrap();
        if number < 5 {
            world.user(list, "alice").await.unwrap();
        }
        lists.push(list);
    }
    for list in &lists[..4] {
        map(Mapping::Registration(domain, *list)).await.unwrap();
        map(Mapping::CredentialList(domain.into(), *list)).await.unwrap();
    }
    let message = invalid(map(Mapping::Registration(domain, lists[4])).await, Kind::DomainMapping);
    assert!(message.contains("`alice` would be in 5 of the lists mapped to"), "{message}");
    map(Mapping::Registration(domain, lists[5])).await.unwrap();
    invalid(world.user(lists[5], "alice").await, Kind::Credential);
    world.user(lists[5], "anna").await.unwrap();
    directory.unmap(owner, Mapping::Registration(domain, lists[0])).await.unwrap();
    map(Mapping::Registration(domain, lists[4])).await.unwrap();
}

#[tokio::test]
async fn a_store_with_more_copies_loads_and_can_be_mended() {
    let store = Probe::new(MemoryStore::new());
    let owner = AccountSid::from_name(&["owner"]);
    let target = DomainSid::from_name(&["a.example.com"]);
    let mut commit = Commit::new();
    commit.put(Record::Account(Account::new(owner)));
    let name = "a.example.com".parse().unwrap();
    commit.put(Record::Domain(Domain::new(target, owner, name)));
    for number in 0..6 {
        let name = format!("list {number}");
        let record = CredentialList::new(list(&name), owner, REALM.parse().unwrap());
        commit.put(Record::CredentialList(record));
        commit.put(Record::Credential(user(&name, "alice", PASSWORD)));
        commit.put(Record::from(Mapping::CredentialList(target.into(), list(&name))));
    }
    let committed = store.commit(Head::default(), commit).await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed(1));
    let site = Site::on(store, settings()).await;
    let warnings = site.authorizer.snapshot().warnings();
    assert!(matches!(warnings[..], [Warning::TooManyCopies { users: 1, .. }]), "{warnings:?}");
    let accept = accepted(site.call_as("a.example.com", "alice", PASSWORD));
    let first = (0..6).map(|number| list(&format!("list {number}"))).min().unwrap();
    assert_eq!(accept.credential.unwrap().list, first);
    // changes that add no copy still work
    let directory = &site.directory;
    let credential = credential("list 5", "alice");
    let change = CredentialChange::default().with_disabled(Some(true));
    let update = directory.update_credential(owner, list("list 5"), credential, change).await;
    update.unwrap();
    directory.unmap(owner, Mapping::CredentialList(target.into(), list("list 5"))).await.unwrap();
    assert_eq!(site.authorizer.snapshot().warnings().len(), 1);
    directory.unmap(owner, Mapping::CredentialList(target.into(), list("list 4"))).await.unwrap();
    assert_eq!(site.authorizer.snapshot().warnings(), []);
}

#[tokio::test]
async fn the_lists_of_a_target_share_a_realm() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let domain = world.domain(owner, "a.example.com").await.unwrap().sid;
    let trunk = world.trunk(owner, "b.example.com").await.unwrap().sid;
    let (ours, also_ours, theirs) = (
        world.list("ours", REALM).await.unwrap(),
        world.list("also ours", REALM).await.unwrap(),
        world.list("theirs", "elsewhere.example").await.unwrap(),
    );
    let map = async |mapping| directory.map(owner, mapping, None).await.map(drop);
    map(Mapping::CredentialList(domain.into(), ours)).await.unwrap();
    map(Mapping::CredentialList(domain.into(), also_ours)).await.unwrap();
    for mapping in
        [Mapping::CredentialList(domain.into(), theirs), Mapping::Registration(domain, theirs)]
    {
        let message = invalid(map(mapping).await, Kind::DomainMapping);
        assert!(message.contains("has the realm `elsewhere.example`"), "{message}");
        assert!(message.ends_with("have `example.com`"), "{message}");
    }
    map(Mapping::Registration(domain, ours)).await.unwrap();
    // another target may have another realm, and so may this one once its last list is unmapped
    map(Mapping::CredentialList(trunk.into(), theirs)).await.unwrap();
    let other_realm = map(Mapping::CredentialList(trunk.into(), ours)).await;
    invalid(other_realm, Kind::TrunkMapping);
    for mapping in [
        Mapping::CredentialList(domain.into(), ours),
        Mapping::CredentialList(domain.into(), also_ours),
        Mapping::Registration(domain, ours),
    ] {
        invalid(map(Mapping::Registration(domain, theirs)).await, Kind::DomainMapping);
        directory.unmap(owner, mapping).await.unwrap();
    }
    map(Mapping::Registration(domain, theirs)).await.unwrap();
    invalid(map(Mapping::CredentialList(domain.into(), ours)).await, Kind::DomainMapping);
}

#[tokio::test]
async fn passwords_and_user_names_are_checked() {
    let world = World::new(settings()).await;
    let list = world.list("phones", REALM).await.unwrap();
    for weak in ["", "Short-Hors7", "correct-horse-7", "CORRECT-HORSE-7", "Correct-Horse-x"] {
        let message =
            invalid(world.user_with(list, "alice", password(weak)).await, Kind::Credential);
        assert!(
            message.starts_with("Password must have at least 12 characters"),
            "{weak}: {message}"
        );
        assert!(weak.is_empty() || !message.contains(weak));
    }
    for good in ["Twelve-char5", "Ünïcödé-paß7", "A b c d e f 1", &"Aa1".repeat(100)] {
        let name = format!("user{}", good.len());
        world.user_with(list, &name, password(good)).await.unwrap();
    }
    let owner = world.owner;
    let alice = world
        .directory()
        .create_credential(owner, list, "alice".parse().unwrap(), password(PASSWORD), false, None)
        .await
        .unwrap();
    let change = CredentialChange::default().with_secret(Some(password("weak")));
    let changed = world.directory().update_credential(owner, list, alice.sid, change).await;
    invalid(changed, Kind::Credential);
    assert_eq!(world.directory().credential(owner, list, alice.sid).await.unwrap(), alice);

    // 32 characters, not bytes
    world.user(list, &"ü".repeat(32)).await.unwrap();
    let message = invalid(world.user(list, &"u".repeat(33)).await, Kind::Credential);
    assert_eq!(message, "Username must have at most 32 characters, got 33");

    // the password rule does not apply to hashes, but at least one hash is required
    let hashes = |text: &str| Secret::Ha1(vec![(HashFunction::Md5, text.to_owned())]);
    let bob = world.user_with(list, "bob", hashes("0123456789ABCDEF0123456789abcdef"));
    bob.await.unwrap();
    let carol = world.user_with(list, "carol", hashes("0123")).await;
    assert_eq!(invalid(carol, Kind::Credential), "an MD5 hash is 32 hexadecimal digits");
    let carol = world.user_with(list, "carol", Secret::Ha1(vec![])).await;
    assert_eq!(invalid(carol, Kind::Credential), "a credential needs at least one hash");
}

#[tokio::test]
async fn a_prefix_of_length_0_needs_allow_all() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let list = directory.create_ip_access_control_list(owner, "").await.unwrap().sid;
    for text in ["0.0.0.0/0", "::/0"] {
        let prefix = text.parse().unwrap();
        let made = directory.create_ip_address(owner, list, "", prefix, false).await;
        let message = invalid(made, Kind::IpAddress);
        assert_eq!(
            message,
            format!("`{text}` admits every address; send AllowAll=true to permit it")
        );
        let allowed = directory.create_ip_address(owner, list, "", prefix, true).await.unwrap();
        // a change of the name alone does not need AllowAll again
        let rename = |address: &mut IpAddress| {
            address.friendly_name = "all".to_owned();
            Ok(())
        };
        let renamed = directory.update_ip_address(owner, list, allowed.sid, false, rename).await;
        assert_eq!(renamed.unwrap().friendly_name, "all");
        let narrow = |address: &mut IpAddress| {
            address.prefix = "192.0.2.0/24".parse().unwrap();
            Ok(())
        };
        directory.update_ip_address(owner, list, allowed.sid, false, narrow).await.unwrap();
        let widen = |address: &mut IpAddress| {
            address.prefix = prefix;
            Ok(())
        };
        let widened = directory.update_ip_address(owner, list, allowed.sid, false, widen).await;
        invalid(widened, Kind::IpAddress);
        directory.update_ip_address(owner, list, allowed.sid, true, widen).await.unwrap();
    }
}

#[tokio::test]
async fn friendly_names_are_bounded() {
    let world = World::new(settings()).await;
    let (directory, owner) = (world.directory(), world.owner);
    let domain = world.domain(owner, "a.example.com").await.unwrap().sid;
    let trunk = world.trunk(owner, "b.example.com").await.unwrap().sid;
    let list = world.list("list", REALM).await.unwrap();
    let offices = directory.create_ip_access_control_list(owner, "").await.unwrap().sid;
    let service = ServiceSid::from_name(&["service"]);
    let prefix = "192.0.2.7".parse().unwrap();
    let before = directory.store().head().await.unwrap().number;
    for (kind, most) in [
        (Kind::Account, 64),
        (Kind::Domain, 64),
        (Kind::Trunk, 64),
        (Kind::CredentialList, 64),
        (Kind::Role, 64),
        (Kind::IpAccessControlList, 255),
        (Kind::IpAddress, 255),
    ] {
        let give = async |name: String| match kind {
            Kind::Account => directory.update_account(owner, Some(&name), None).await.map(drop),
            Kind::Domain => {
                let change = |domain: &mut Domain| {
                    domain.friendly_name.clone_from(&name);
                    Ok(())
                };
                directory.update_domain(owner, domain, change).await.map(drop)
            }
            Kind::Trunk => {
                let change = |trunk: &mut Trunk| {
                    trunk.friendly_name.clone_from(&name);
                    Ok(())
                };
                directory.update_trunk(owner, trunk, change).await.map(drop)
            }
            Kind::CredentialList => {
                directory.update_credential_list(owner, list, &name).await.map(drop)
            }
            Kind::Role => {
                let (kind, names) = (RoleKind::Channel, vec!["addMember".to_owned()]);
                directory.create_role(owner, service, &name, kind, names).await.map(drop)
            }
            Kind::IpAccessControlList => {
                directory.update_ip_access_control_list(owner, offices, &name).await.map(drop)
            }
            _ => directory.create_ip_address(owner, offices, &name, prefix, false).await.map(drop),
        };
        let message = invalid(give("é".repeat(most + 1)).await, kind);
        assert_eq!(
            message,
            format!("FriendlyName must have at most {most} characters, got {}", most + 1)
        );
        for control in ["a\nb", "\0", "\u{85}"] {
            let message = invalid(give(control.to_owned()).await, kind);
            assert_eq!(message, "FriendlyName must not contain control characters");
        }
        give("é".repeat(most)).await.unwrap();
        give(format!("Zoë's \"{}\" % <b>", kind.as_str())).await.unwrap();
    }
    // two commits for each of the 7 kinds; failed commands wrote nothing
    assert_eq!(directory.store().head().await.unwrap().number, before + 14);
}
