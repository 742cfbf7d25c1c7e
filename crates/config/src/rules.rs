//! Finds all records that break a rule of the library; [`Snapshot::apply`] stops at the first.
//!
//! [`Snapshot::apply`]: sip_authz::Snapshot::apply

use std::collections::HashMap;

use sip_authz::model::rules::{
    self, ListFacts, RoleFacts, RuleError, TargetFacts, View, check_put,
};
use sip_authz::model::{
    AccountStatus, Commit, DomainName, Key, Mapping, Realm, Record, Target, UserName, Write,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
};

/// The records that break a rule, with the rule. References to missing records are not included, since
/// the compiler has reported them.
pub(crate) fn violations(owner: Option<AccountSid>, commit: &Commit) -> Vec<(Key, RuleError)> {
    let mut records: Vec<&Record> = commit
        .writes()
        .iter()
        .filter_map(|write| match write {
            Write::Put(record) => Some(record),
            Write::Delete(_) => None,
        })
        .collect();
    // a stable sort: of two records with the same name, the second in the file breaks the rule
    records.sort_by_key(|record| rules::rank(&record.key()));
    let mut seen = Seen::default();
    seen.accounts.extend(owner.map(|owner| (owner, AccountStatus::Active)));
    let mut violations = Vec::new();
    for record in records {
        match check_put(&seen, record) {
            Ok(()) => seen.add(record),
            Err(RuleError::Missing(_)) => {}
            Err(error) => violations.push((record.key(), error)),
        }
    }
    violations
}

/// The records that break no rule.
#[derive(Default)]
struct Seen<'c> {
    accounts: HashMap<AccountSid, AccountStatus>,
    targets: HashMap<Target, (AccountSid, Option<&'c Realm>)>,
    names: HashMap<&'c DomainName, Target>,
    access_lists: HashMap<IpAccessControlListSid, AccountSid>,
    credential_lists: HashMap<CredentialListSid, (AccountSid, &'c Realm)>,
    users: HashMap<(CredentialListSid, &'c UserName), CredentialSid>,
}

impl<'c> Seen<'c> {
    fn add(&mut self, record: &'c Record) {
        match record {
            Record::Account(account) => {
                self.accounts.insert(account.sid, account.status);
            }
            Record::IpAccessControlList(list) => {
                self.access_lists.insert(list.sid, list.account);
            }
            Record::CredentialList(list) => {
                self.credential_lists.insert(list.sid, (list.account, &list.realm));
            }
            Record::Credential(credential) => {
                self.users.insert((credential.list, &credential.username), credential.sid);
            }
            Record::Domain(domain) => {
                self.targets.insert(domain.sid.into(), (domain.account, None));
                self.names.insert(&domain.name, domain.sid.into());
            }
            Record::Trunk(trunk) => {
                self.targets.insert(trunk.sid.into(), (trunk.account, None));
                self.names.extend(trunk.name.as_ref().map(|name| (name, trunk.sid.into())));
            }
            Record::Mapping(record) => {
                if let Mapping::CredentialList(_, list) | Mapping::Registration(_, list) =
                    record.mapping
                    && let Some((_, realm)) = self.credential_lists.get(&list)
                    && let Some((_, shared)) = self.targets.get_mut(&record.mapping.target())
                {
                    shared.get_or_insert(realm);
                }
            }
            Record::IpAddress(_) | Record::Policy(_) | Record::Role(_) => {}
        }
    }
}

/// Each key is put once and never deleted, so facts for changes and deletions are not stored.
impl View for Seen<'_> {
    fn account(&self, sid: AccountSid) -> Option<(AccountStatus, usize)> {
        self.accounts.get(&sid).map(|status| (*status, 0))
    }

    fn target(&self, target: Target) -> Option<TargetFacts> {
        let (account, realm) = *self.targets.get(&target)?;
        Some(TargetFacts { account, mappings: 0, has_policy: false, realm: realm.cloned() })
    }

    fn named(&self, name: &DomainName) -> Option<Target> {
        self.names.get(name).copied()
    }

    fn ip_access_control_list(&self, sid: IpAccessControlListSid) -> Option<ListFacts> {
        let account = *self.access_lists.get(&sid)?;
        Some(ListFacts { account, realm: None, members: 0, mappings: 0 })
    }

    fn credential_list(&self, sid: CredentialListSid) -> Option<ListFacts> {
        let (account, realm) = *self.credential_lists.get(&sid)?;
        Some(ListFacts { account, realm: Some(realm.clone()), members: 0, mappings: 0 })
    }

    fn ip_address(&self, _: IpAddressSid) -> Option<IpAccessControlListSid> {
        None
    }

    fn credential(&self, _: CredentialSid) -> Option<(CredentialListSid, UserName)> {
        None
    }

    fn user(&self, list: CredentialListSid, username: &UserName) -> Option<CredentialSid> {
        self.users.get(&(list, username)).copied()
    }

    fn mapping(&self, _: Mapping) -> bool {
        false
    }

    fn role(&self, _: RoleSid) -> Option<RoleFacts> {
        None
    }
}
