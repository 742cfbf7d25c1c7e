//! Builds a first snapshot from a program's own database or configuration.

use super::{ApplyError, Snapshot};
use crate::model::{
    Account, Commit, Credential, CredentialList, Domain, IpAccessControlList, IpAddress,
    MappingRecord, Policy, PolicyRecord, Record, Role, Target, Trunk, Vocabulary,
};

/// Collects records in any order and builds a snapshot of them.
///
/// ```
/// use sip_authz::model::{Account, Domain};
/// use sip_authz::{AccountSid, DomainSid, Snapshot};
///
/// let account = AccountSid::from_name(&["example"]);
/// let domain = DomainSid::from_name(&["example", "sip.example.com"]);
/// let snapshot = Snapshot::builder()
///     .account(Account::new(account))
///     .domain(Domain::new(domain, account, "sip.example.com".parse()?))
///     .build()?;
/// assert_eq!(snapshot.number(), 1);
///
/// // an unknown account or a taken name is an error that names the record
/// let twin = DomainSid::from_name(&["example", "twin"]);
/// let error = Snapshot::builder()
///     .account(Account::new(account))
///     .domain(Domain::new(domain, account, "sip.example.com".parse()?))
///     .domain(Domain::new(twin, account, "SIP.example.com.".parse()?))
///     .build()
///     .unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     format!("domain {twin}: the name `sip.example.com` is taken by {domain}")
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SnapshotBuilder {
    commit: Commit,
    vocabulary: Option<&'static Vocabulary>,
    number: Option<u64>,
}

macro_rules! records {
    ($($(#[$doc:meta])* $method:ident $kind:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $method(self, record: $kind) -> Self {
            self.record(Record::$kind(record))
        }
    )*};
}

/// Takes the writes of a commit, in place of records.
impl From<Commit> for SnapshotBuilder {
    fn from(commit: Commit) -> Self {
        Self { commit, ..Self::default() }
    }
}

impl SnapshotBuilder {
    records! {
        /// Adds an account.
        account Account;
        /// Adds a SIP domain.
        domain Domain;
        /// Adds a trunk.
        trunk Trunk;
        /// Adds an IP access control list.
        ip_access_control_list IpAccessControlList;
        /// Adds an entry of an IP access control list.
        ip_address IpAddress;
        /// Adds a credential list.
        credential_list CredentialList;
        /// Adds a user of a credential list.
        credential Credential;
        /// Adds a role.
        role Role;
    }

    /// Maps a list to a domain or trunk.
    #[must_use]
    pub fn mapping(self, mapping: impl Into<MappingRecord>) -> Self {
        self.record(Record::Mapping(mapping.into()))
    }

    /// Sets the policy of a domain or trunk.
    #[must_use]
    pub fn policy(self, target: impl Into<Target>, policy: Policy) -> Self {
        self.record(PolicyRecord::new(target, policy).into())
    }

    /// Sets the permissions that roles can have; by default the documented ones.
    #[must_use]
    pub fn vocabulary(mut self, vocabulary: &'static Vocabulary) -> Self {
        self.vocabulary = Some(vocabulary);
        self
    }

    /// Sets the snapshot number, for records of a numbered commit; 1 by default.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// Adds any record.
    #[must_use]
    pub fn record(mut self, record: Record) -> Self {
        self.commit.put(record);
        self
    }

    /// Adds records of any kind.
    #[must_use]
    pub fn records(mut self, records: Vec<Record>) -> Self {
        if self.commit.is_empty() {
            self.commit = records.into();
            return self;
        }
        records.into_iter().fold(self, Self::record)
    }

    /// Builds the snapshot.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] for the first record that breaks a rule.
    pub fn build(self) -> Result<Snapshot, ApplyError> {
        let vocabulary = self.vocabulary.unwrap_or_else(Vocabulary::documented);
        let snapshot = Snapshot::with_vocabulary(vocabulary).apply(&self.commit)?;
        Ok(match self.number {
            Some(number) => snapshot.numbered(number),
            None => snapshot,
        })
    }
}
