//! Roles: the combined permissions of a credential's deployment role and a mapping's channel role, on the
//! next call after a change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{Mapping, Password, Role, RoleKind, Vocabulary};
use sip_authz::{
    Accept, AccountSid, CredentialListSid, CredentialSid, DomainSid, RoleSid, ServiceSid,
};
use sip_authz_directory::{CredentialChange, DirectoryError, Kind, Limits, Page, Secret, Settings};
use sip_authz_store::MemoryStore;
use sip_authz_testing::kit::{HOST, INSIDE, PASSWORD, accepted};
use sip_authz_testing::site::{Probe, Site, settings, tick};

const OTHER_HOST: &str = "other.example.com";

fn service() -> ServiceSid {
    ServiceSid::from_name(&["service"])
}

fn missing<T>(kind: Kind) -> Result<T, DirectoryError> {
    Err(DirectoryError::NotFound(kind))
}

/// Two domains with one credential list, which contains alice.
struct World {
    site: Site<Probe<MemoryStore>>,
    account: AccountSid,
    domain: DomainSid,
    other_domain: DomainSid,
    list: CredentialListSid,
    alice: CredentialSid,
}

fn password() -> Secret {
    Secret::Password(Password::new(PASSWORD.to_owned()))
}

impl World {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: Settings) -> Self {
        let site = Site::new(settings).await;
        let directory = &site.directory;
        let account = directory.create_account("test").await.unwrap().account.sid;
        let domain = directory.create_domain(account, HOST.parse().unwrap(), |_| ()).await.unwrap();
        let other_domain =
            directory.create_domain(account, OTHER_HOST.parse().unwrap(), |_| ()).await.unwrap();
        let list = directory.create_credential_list(account, "users", None).await.unwrap().sid;
        let alice = directory
            .create_credential(account, list, "alice".parse().unwrap(), password(), false, None)
            .await
            .unwrap();
        let (domain, other_domain) = (domain.sid, other_domain.sid);
        for domain in [domain, other_domain] {
            let mapping = Mapping::CredentialList(domain.into(), list);
            directory.map(account, mapping, None).await.unwrap();
        }
        Self { site, account, domain, other_domain, list, alice: alice.sid }
    }

    fn call(&self) -> Accept {
        accepted(self.site.call_as(HOST, "alice", PASSWORD))
    }

    fn call_other(&self) -> Accept {
        accepted(self.site.call_as(OTHER_HOST, "alice", PASSWORD))
    }

    async fn role(&self, kind: RoleKind, permissions: &[&str]) -> RoleSid {
        self.try_role(kind, permissions).await.unwrap().sid
    }

    async fn try_role(&self, kind: RoleKind, names: &[&str]) -> Result<Role, DirectoryError> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.site.directory.create_role(self.account, service(), "role", kind, names).await
    }

    async fn permit(&self, role: RoleSid, names: &[&str]) -> Result<Role, DirectoryError> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.site.directory.update_role(self.account, service(), role, names).await
    }

    async fn give(&self, role: Option<RoleSid>) -> Result<(), DirectoryError> {
        let change = CredentialChange::default().with_role(Some(role));
        let (account, list, alice) = (self.account, self.list, self.alice);
        self.site.directory.update_credential(account, list, alice, change).await.map(drop)
    }

    fn mapping(&self) -> Mapping {
        Mapping::CredentialList(self.domain.into(), self.list)
    }

    /// Maps the list again, with another role.
    async fn remap(&self, role: Option<RoleSid>) -> Result<(), DirectoryError> {
        self.site.directory.unmap(self.account, self.mapping()).await.unwrap();
        let mapped = self.site.directory.map(self.account, self.mapping(), role).await;
        if mapped.is_err() {
            self.site.directory.map(self.account, self.mapping(), None).await.unwrap();
        }
        mapped.map(drop)
    }

    async fn delete(&self, role: RoleSid) -> Result<(), DirectoryError> {
        self.site.directory.delete_role(self.account, service(), role).await
    }
}

#[tokio::test]
async fn an_accept_has_the_permissions_of_both_roles() {
    let world = World::new().await;
    assert!(world.call().permissions.is_empty());

    let deployment = world.role(RoleKind::Deployment, &["createChannel", "addMember"]).await;
    let channel = world.role(RoleKind::Channel, &["sendMessage", "addMember"]).await;
    world.give(Some(deployment)).await.unwrap();
    world.remap(Some(channel)).await.unwrap();
    let accept = world.call();
    for name in ["createChannel", "addMember", "sendMessage"] {
        assert!(accept.permits(name), "{name}");
    }
    for name in ["removeMember", "joinChannel", "", "no such permission"] {
        assert!(!accept.permits(name), "{name}");
    }
    // a permission set does not change when its roles do
    let kept = accept.permissions;
    assert_eq!(kept.iter().collect::<Vec<_>>(), ["addMember", "createChannel", "sendMessage"]);

    // a channel role applies only to its domain
    let names: Vec<_> = world.call_other().permissions.iter().collect();
    assert_eq!(names, ["addMember", "createChannel"]);

    // a user without a deployment role has the permissions of the channel role
    let (account, list) = (world.account, world.list);
    let bob = "bob".parse().unwrap();
    let directory = &world.site.directory;
    directory.create_credential(account, list, bob, password(), false, None).await.unwrap();
    let accept = accepted(world.site.call_as(HOST, "bob", PASSWORD));
    assert_eq!(accept.permissions.iter().collect::<Vec<_>>(), ["addMember", "sendMessage"]);
    assert!(kept.contains("createChannel"));
}

#[tokio::test]
async fn a_change_reaches_the_next_call() {
    let world = World::new().await;
    let deployment = world.role(RoleKind::Deployment, &["createChannel"]).await;
    let channel = world.role(RoleKind::Channel, &["sendMessage"]).await;
    let names = || world.call().permissions.iter().collect::<Vec<_>>();

    world.give(Some(deployment)).await.unwrap();
    assert_eq!(names(), ["createChannel"]);
    world.remap(Some(channel)).await.unwrap();
    assert_eq!(names(), ["createChannel", "sendMessage"]);
    world.permit(deployment, &["joinChannel", "editAnyMessage"]).await.unwrap();
    assert_eq!(names(), ["editAnyMessage", "joinChannel", "sendMessage"]);
    world.permit(channel, &["leaveChannel"]).await.unwrap();
    assert_eq!(names(), ["editAnyMessage", "joinChannel", "leaveChannel"]);
    world.remap(None).await.unwrap();
    assert_eq!(names(), ["editAnyMessage", "joinChannel"]);
    // other changes of a user keep the role
    let change = CredentialChange::default().with_secret(Some(password()));
    let (account, list, alice) = (world.account, world.list, world.alice);
    let directory = &world.site.directory;
    let credential = directory.update_credential(account, list, alice, change).await.unwrap();
    assert_eq!(credential.role, Some(deployment));
    assert_eq!(names(), ["editAnyMessage", "joinChannel"]);
    world.give(None).await.unwrap();
    assert!(names().is_empty());
    for _ in 0..100 {
        world.permit(deployment, &["addMember"]).await.unwrap();
        world.give(Some(deployment)).await.unwrap();
        assert_eq!(names(), ["addMember"]);
        world.permit(deployment, &["removeMember"]).await.unwrap();
        assert_eq!(names(), ["removeMember"]);
        world.give(None).await.unwrap();
        assert!(names().is_empty());
    }
}

#[tokio::test]
async fn a_match_by_address_alone_has_no_permissions() {
    let world = World::new().await;
    let channel = world.role(RoleKind::Channel, &["sendMessage"]).await;
    let (account, directory) = (world.account, &world.site.directory);
    let offices = directory.create_ip_access_control_list(account, "offices").await.unwrap().sid;
    let prefix = "192.0.2.0/24".parse().unwrap();
    directory.create_ip_address(account, offices, "", prefix, false).await.unwrap();
    let host = "acl.example.com";
    let domain = directory.create_domain(account, host.parse().unwrap(), |_| ()).await.unwrap().sid;
    let mapping = Mapping::IpAccessControlList(domain.into(), offices);
    // only mappings of credential lists for calls can have roles
    assert_eq!(directory.map(account, mapping, Some(channel)).await, missing(Kind::Role));
    let registration = Mapping::Registration(domain, world.list);
    assert_eq!(directory.map(account, registration, Some(channel)).await, missing(Kind::Role));
    directory.map(account, mapping, None).await.unwrap();
    let accept = accepted(world.site.call(host, INSIDE));
    assert!(accept.permissions.is_empty() && accept.credential.is_none());

    // with both kinds mapped, the roles of the user apply
    let mapping = Mapping::CredentialList(domain.into(), world.list);
    directory.map(account, mapping, Some(channel)).await.unwrap();
    let accept = accepted(world.site.call_as(host, "alice", PASSWORD));
    assert!(accept.permits("sendMessage") && accept.address.is_some());
}

#[tokio::test]
async fn a_role_must_fit_its_purpose_and_belong_to_the_account() {
    let world = World::new().await;
    let deployment = world.role(RoleKind::Deployment, &["createChannel"]).await;
    let channel = world.role(RoleKind::Channel, &["sendMessage"]).await;
    let nowhere = RoleSid::from_name(&["nowhere"]);
    let directory = &world.site.directory;
    let other = directory.create_account("other").await.unwrap().account.sid;
    let names = || vec!["addMember".to_owned()];
    let [foreign_deployment, foreign_channel] = {
        let [one, two] = [RoleKind::Deployment, RoleKind::Channel]
            .map(|kind| directory.create_role(other, service(), "", kind, names()));
        [one.await.unwrap().sid, two.await.unwrap().sid]
    };
    for role in [channel, nowhere, foreign_deployment, foreign_channel] {
        assert_eq!(world.give(Some(role)).await, missing(Kind::Role));
        let bob = "bob".parse().unwrap();
        let (account, list) = (world.account, world.list);
        let made =
            directory.create_credential(account, list, bob, password(), false, Some(role)).await;
        assert_eq!(made, missing(Kind::Role));
    }
    for role in [deployment, nowhere, foreign_deployment, foreign_channel] {
        assert_eq!(world.remap(Some(role)).await, missing(Kind::Role));
    }
    assert!(world.call().permissions.is_empty());

    // a role of another account or another service is not found
    let elsewhere = ServiceSid::from_name(&["elsewhere"]);
    for (account, service) in [(other, service()), (world.account, elsewhere)] {
        assert_eq!(directory.role(account, service, channel).await, missing(Kind::Role));
        let changed = directory.update_role(account, service, channel, names()).await;
        assert_eq!(changed, missing(Kind::Role));
        assert_eq!(directory.delete_role(account, service, channel).await, missing(Kind::Role));
    }
    assert_eq!(directory.roles(world.account, elsewhere, Page::first(9)).await.unwrap().rows, []);
    let all = directory.roles(world.account, service(), Page::first(9)).await.unwrap();
    assert_eq!(all.rows.iter().map(|role| role.sid).collect::<Vec<_>>(), [deployment, channel]);
    // a role of any service can be assigned
    let far = directory
        .create_role(world.account, elsewhere, "", RoleKind::Deployment, names())
        .await
        .unwrap();
    world.give(Some(far.sid)).await.unwrap();
    assert!(world.call().permits("addMember"));
}

#[tokio::test]
async fn a_role_in_use_is_not_deleted() {
    let world = World::new().await;
    let deployment = world.role(RoleKind::Deployment, &["createChannel"]).await;
    let channel = world.role(RoleKind::Channel, &["sendMessage"]).await;
    let in_use = || {
        Err(DirectoryError::InUse {
            kind: Kind::Role,
            by: "it is assigned to credentials or mappings",
        })
    };
    world.give(Some(deployment)).await.unwrap();
    world.remap(Some(channel)).await.unwrap();
    assert_eq!(world.delete(deployment).await, in_use());
    assert_eq!(world.delete(channel).await, in_use());
    assert!(world.call().permits("createChannel") && world.call().permits("sendMessage"));

    world.give(None).await.unwrap();
    world.delete(deployment).await.unwrap();
    assert_eq!(world.delete(deployment).await, missing(Kind::Role));
    // deleting the domain deletes the mapping that had the role
    world.site.directory.delete_domain(world.account, world.domain).await.unwrap();
    world.delete(channel).await.unwrap();

    // deleting the list deletes the credential that had the role
    let again = world.role(RoleKind::Deployment, &["createChannel"]).await;
    world.give(Some(again)).await.unwrap();
    assert!(world.call_other().permits("createChannel"));
    let mapping = Mapping::CredentialList(world.other_domain.into(), world.list);
    world.site.directory.unmap(world.account, mapping).await.unwrap();
    assert_eq!(world.delete(again).await, in_use());
    world.site.directory.delete_credential_list(world.account, world.list).await.unwrap();
    world.delete(again).await.unwrap();
}

#[tokio::test]
async fn permissions_must_exist_for_the_type_of_role() {
    let world = World::new().await;
    let unknown = |name: &str| Err(DirectoryError::UnknownPermission(name.to_owned()));
    for (kind, names, wrong) in [
        (RoleKind::Channel, vec!["addMember", "createChannel"], "createChannel"),
        (RoleKind::Deployment, vec!["sendMessage"], "sendMessage"),
        (RoleKind::Deployment, vec!["callInternational"], "callInternational"),
        (RoleKind::Channel, vec!["AddMember"], "AddMember"),
        (RoleKind::Channel, vec!["addMember", ""], ""),
    ] {
        assert_eq!(world.try_role(kind, &names).await.map(drop), unknown(wrong));
    }
    let long = "x".repeat(1_000);
    let error = world.try_role(RoleKind::Channel, &[&long]).await.map(drop);
    assert_eq!(error, unknown(&long[..80]));
    let none = world.try_role(RoleKind::Channel, &[]).await.unwrap_err();
    assert!(matches!(none, DirectoryError::Invalid { kind: Kind::Role, .. }), "{none:?}");

    let role = world.role(RoleKind::Channel, &["removeMember", "addMember"]).await;
    assert_eq!(world.permit(role, &["joinChannel"]).await.map(drop), unknown("joinChannel"));
    assert!(world.permit(role, &[]).await.is_err());
    tick(5_000);
    let changed = world.permit(role, &["sendMessage", "addMember"]).await.unwrap();
    assert_eq!(changed.permissions, ["sendMessage", "addMember"], "in the order given");
    assert_eq!(changed.dates.updated, changed.dates.created + 5);
    let fetched = world.site.directory.role(world.account, service(), role).await.unwrap();
    assert_eq!(fetched, changed);
}

#[tokio::test]
async fn a_program_registers_permissions_of_its_own() {
    let vocabulary = Vocabulary::with(["callInternational", "callPremium"]).unwrap();
    let limits = Limits::default().with_roles(2);
    let world = World::with(settings().with_vocabulary(vocabulary).with_limits(limits)).await;
    let deployment = world.role(RoleKind::Deployment, &["callInternational"]).await;
    let channel = world.role(RoleKind::Channel, &["callPremium"]).await;
    let too_many = Err(DirectoryError::TooMany { kind: Kind::Role, limit: 2 });
    assert_eq!(world.try_role(RoleKind::Channel, &["callPremium"]).await.map(drop), too_many);
    world.give(Some(deployment)).await.unwrap();
    assert!(world.call().permits("callInternational") && !world.call().permits("callPremium"));
    world.remap(Some(channel)).await.unwrap();
    assert!(world.call().permits("callInternational") && world.call().permits("callPremium"));
    assert!(world.call_other().permits("callInternational"));
    assert!(!world.call_other().permits("callPremium"));
}

#[tokio::test]
async fn repeated_permissions_are_stored_once_and_services_share_one_limit() {
    let world = World::new().await;
    let often = ["addMember", "removeMember", "addMember"].repeat(1_000);
    let role = world.try_role(RoleKind::Channel, &often).await.unwrap();
    assert_eq!(role.permissions, ["addMember", "removeMember"]);

    let mut settings = settings();
    settings.limits.roles = 1;
    let world = World::with(settings).await;
    let (directory, owner) = (&world.site.directory, world.account);
    for (service, expected) in [(service(), true), (ServiceSid::from_bytes([9; 16]), false)] {
        let names = vec!["addMember".to_owned()];
        let made = directory.create_role(owner, service, "x", RoleKind::Channel, names).await;
        assert_eq!(made.is_ok(), expected);
    }
}
