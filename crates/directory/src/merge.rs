//! Merges a batch of records from outside into the store, in one commit.

use std::collections::{HashMap, HashSet};

use super::check::check_rules;
use super::touched::{self, Touched};
use super::view::View;
use super::{Directory, DirectoryError, Kind, Limits, Plan, Secret};
use sip_authz::model::{
    Account, AccountStatus, Commit, Credential, Dates, Ha1Set, Key, MappingRecord, Password, Realm,
    Record, Role, UserName,
};
use sip_authz::{ApplyError, Warning};
use sip_authz::{CredentialListSid, CredentialSid, RoleSid};
use sip_authz_store::Store;

/// A record from outside.
pub struct Incoming {
    /// The content.
    pub record: IncomingRecord,
    /// The dates of creation and update; by default the time of the merge.
    pub dates: Option<Dates>,
}

/// The content of a record from outside.
#[non_exhaustive]
pub enum IncomingRecord {
    /// A whole record. Its dates and the commit number of a mapping are ignored, and an account without a
    /// token keeps its current one.
    Whole(Record),
    /// A user.
    Credential(IncomingCredential),
}

/// A user from outside.
pub struct IncomingCredential {
    /// Its SID.
    pub sid: CredentialSid,
    /// The list it is in.
    pub list: CredentialListSid,
    /// The user name.
    pub username: UserName,
    /// A password or hashes; by default the user keeps its current hashes.
    pub secret: Option<Secret>,
    /// Whether the user is disabled; by default that stays as it is.
    pub disabled: Option<bool>,
    /// The deployment role; by default the user keeps its current one.
    pub role: Option<RoleSid>,
}

/// The result of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// Records that were created.
    pub new: usize,
    /// Records that were changed.
    pub changed: usize,
    /// Records that stayed the same.
    pub unchanged: usize,
    /// Warnings about callers who will be refused on the domains and trunks whose users or policy changed.
    pub warnings: Vec<Warning>,
}

/// Why a merge failed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A record breaks a rule. The message may name resources of other accounts, so show it to
    /// administrators only.
    #[error("{key}: {message}")]
    Refused {
        /// The record.
        key: Key,
        /// The broken rule.
        message: String,
    },
    /// The directory or its store failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<ApplyError> for MergeError {
    fn from(error: ApplyError) -> Self {
        match error.key() {
            Some(key) => Self::Refused { key, message: error.message() },
            None => Self::Directory(error.into()),
        }
    }
}

impl<S: Store> Directory<S> {
    /// Creates or replaces the records of a batch, all or none; other records stay. Records of a batch may
    /// refer to each other. Quotas and the rule on the strength of passwords do not apply; every other
    /// rule does. With `dry_run` nothing is written.
    ///
    /// # Errors
    ///
    /// [`MergeError`] for the first record that breaks a rule.
    pub async fn merge(
        &self,
        incoming: Vec<Incoming>,
        dry_run: bool,
    ) -> Result<Merged, MergeError> {
        let prepared = self.prepare(incoming).await?;
        let now = self.created_now();
        if dry_run {
            let records = self.records().await?;
            let (mut merged, commit) = self.plan(View::of(&records), &prepared, now)?;
            let after = records.with(&commit);
            merged.warnings = self.warnings_on(View::of(&after), &Touched::by(&commit))?;
            return Ok(merged);
        }
        let mut touched = Touched::default();
        let mut merged = self.write(&prepared, now, &mut touched).await?;
        merged.warnings = self.warnings(&touched).await?;
        Ok(merged)
    }

    /// As [`Self::merge`], for a batch that is part of a larger one. It has no warnings: `touched` notes what
    /// they depend on, for [`Self::warnings`] after the last part.
    ///
    /// # Errors
    ///
    /// [`MergeError`] for the first record that breaks a rule.
    pub async fn merge_part(
        &self,
        incoming: Vec<Incoming>,
        touched: &mut Touched,
    ) -> Result<Merged, MergeError> {
        let prepared = self.prepare(incoming).await?;
        self.write(&prepared, self.created_now(), touched).await
    }

    /// Warnings about callers who will be refused on the domains and trunks that merges have touched.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] if the store fails.
    pub async fn warnings(&self, touched: &Touched) -> Result<Vec<Warning>, DirectoryError> {
        if touched.is_empty() {
            return Ok(Vec::new());
        }
        // outside the turn of a command: other writers do not wait for it
        let records = self.records().await?;
        self.warnings_on(View::of(&records), touched)
    }

    fn warnings_on(
        &self,
        view: View<'_>,
        touched: &Touched,
    ) -> Result<Vec<Warning>, DirectoryError> {
        touched::warnings(view, self.settings.vocabulary, touched)
    }

    async fn write(
        &self,
        prepared: &[PreparedRecord],
        now: Dates,
        touched: &mut Touched,
    ) -> Result<Merged, MergeError> {
        let merged = self.transact(|view| {
            Ok(match self.plan(view, prepared, now) {
                Ok((merged, commit)) => {
                    let changes = Touched::by(&commit);
                    Plan::WriteChecked(commit, Ok((merged, changes)))
                }
                Err(error) => Plan::Answer(Err(error)),
            })
        });
        let (merged, changes) = merged.await??;
        touched.extend(changes);
        Ok(merged)
    }

    /// The result of the merge on these records, without warnings, and the commit, which keeps the rules.
    fn plan(
        &self,
        view: View<'_>,
        prepared: &[PreparedRecord],
        now: Dates,
    ) -> Result<(Merged, Commit), MergeError> {
        let mut merged = Merged::default();
        let mut commit = Commit::new();
        for entry in prepared {
            let present = view.records.get(entry.key);
            let record = entry.record(present, now, view.number)?;
            match present {
                Some(present) if *present == record => {
                    merged.unchanged += 1;
                    continue;
                }
                Some(_) => merged.changed += 1,
                None => merged.new += 1,
            }
            commit.put(record);
        }
        let format = view.records.head().next_format();
        format.check_writes(&commit).map_err(DirectoryError::from)?;
        check_rules(view, self.settings.vocabulary, &commit)??;
        Ok((merged, commit))
    }

    /// Hashes the passwords, and checks each record against the rules that need no other record.
    async fn prepare(&self, incoming: Vec<Incoming>) -> Result<Vec<PreparedRecord>, MergeError> {
        let mut realms: HashMap<CredentialListSid, Realm> = HashMap::new();
        for Incoming { record, .. } in &incoming {
            if let IncomingRecord::Whole(Record::CredentialList(list)) = record {
                realms.insert(list.sid, list.realm.clone());
            }
        }
        let mut prepared = Vec::with_capacity(incoming.len());
        let mut named = HashSet::with_capacity(incoming.len());
        for Incoming { record, dates } in incoming {
            let (key, content) = match record {
                IncomingRecord::Whole(record) => {
                    let key = record.key();
                    self.check_alone(&record).map_err(|error| refused(key, error))?;
                    (key, Content::Whole(record))
                }
                IncomingRecord::Credential(user) => {
                    let key = Key::Credential(user.sid);
                    let realm = match realms.get(&user.list) {
                        Some(realm) => realm.clone(),
                        None => {
                            let realm = self.realm(user.list).await?;
                            let message = format!("credential list {} not found", user.list);
                            let realm = realm.ok_or(MergeError::Refused { key, message })?;
                            realms.entry(user.list).or_insert(realm).clone()
                        }
                    };
                    let ha1 = hash(&user, &realm)
                        .map_err(|message| MergeError::Refused { key, message })?;
                    (key, Content::Credential(user, ha1))
                }
            };
            if !named.insert(key) {
                return Err(MergeError::Refused {
                    key,
                    message: "duplicate record in the batch".to_owned(),
                });
            }
            prepared.push(PreparedRecord { key, content, dates });
        }
        Ok(prepared)
    }

    async fn realm(&self, list: CredentialListSid) -> Result<Option<Realm>, DirectoryError> {
        self.read(|view| {
            Ok(match view.records.get(Key::CredentialList(list)) {
                Some(Record::CredentialList(list)) => Some(list.realm.clone()),
                _ => None,
            })
        })
        .await
    }

    fn check_alone(&self, record: &Record) -> Result<(), DirectoryError> {
        match record {
            Record::Domain(domain) => {
                self.check_on_accept(Kind::Domain, domain.on_accept.as_ref())?;
                self.check_domain(domain)
            }
            Record::Trunk(trunk) => {
                self.check_on_accept(Kind::Trunk, trunk.on_accept.as_ref())?;
                self.check_trunk(trunk)
            }
            Record::Role(Role { friendly_name, kind, permissions, .. }) => {
                self.check_permissions(*kind, permissions)?;
                Limits::friendly_name(Kind::Role, friendly_name)
            }
            Record::Account(account) => {
                Limits::friendly_name(Kind::Account, &account.friendly_name)
            }
            Record::IpAccessControlList(list) => {
                Limits::friendly_name(Kind::IpAccessControlList, &list.friendly_name)
            }
            Record::IpAddress(address) => {
                Limits::friendly_name(Kind::IpAddress, &address.friendly_name)
            }
            Record::CredentialList(list) => {
                Limits::friendly_name(Kind::CredentialList, &list.friendly_name)
            }
            Record::Credential(_) | Record::Policy(_) | Record::Mapping(_) => Ok(()),
        }
    }
}

/// A checked record from outside, with its password hashed.
struct PreparedRecord {
    key: Key,
    content: Content,
    dates: Option<Dates>,
}

enum Content {
    Whole(Record),
    Credential(IncomingCredential, Option<Ha1Set>),
}

impl PreparedRecord {
    /// The record to store, given the present one under its key.
    fn record(
        &self,
        present: Option<&Record>,
        now: Dates,
        number: u64,
    ) -> Result<Record, MergeError> {
        let mut record = match (&self.content, present) {
            (Content::Whole(Record::Account(account)), Some(Record::Account(present))) => {
                let (closed, status) = (AccountStatus::Closed, account.status);
                if present.status == closed && status != closed {
                    let message = "a closed account cannot be opened again".to_owned();
                    return Err(MergeError::Refused { key: self.key, message });
                }
                let token = account.token.or(present.token);
                let secondary_token = account.secondary_token.or(present.secondary_token);
                Record::Account(Account { token, secondary_token, ..account.clone() })
            }
            (Content::Whole(Record::Mapping(mapping)), Some(Record::Mapping(present))) => {
                Record::Mapping(MappingRecord { since: present.since, ..*mapping })
            }
            (Content::Whole(Record::Mapping(mapping)), _) => {
                Record::Mapping(MappingRecord { since: number, ..*mapping })
            }
            (Content::Whole(record), _) => record.clone(),
            (Content::Credential(user, ha1), present) => {
                let present = match present {
                    Some(Record::Credential(present)) => Some(present),
                    _ => None,
                };
                let kept = || present.map(|present| present.ha1.clone());
                let ha1 = ha1.clone().or_else(kept).ok_or_else(|| MergeError::Refused {
                    key: self.key,
                    message: "a new user needs a password or ha1".to_owned(),
                })?;
                let made = Credential::new(user.sid, user.list, user.username.clone(), ha1);
                let was_disabled = present.is_some_and(|present| present.disabled);
                Record::Credential(Credential {
                    disabled: user.disabled.unwrap_or(was_disabled),
                    role: user.role.or(present.and_then(|present| present.role)),
                    ..made
                })
            }
        };
        match (self.dates, present) {
            (Some(dates), _) => *dates_of(&mut record) = dates,
            (None, None) => *dates_of(&mut record) = now,
            (None, Some(present)) => {
                let mut present = present.clone();
                let before = *dates_of(&mut present);
                *dates_of(&mut record) = before;
                if record != present {
                    *dates_of(&mut record) = Dates { updated: now.updated, ..before };
                }
            }
        }
        Ok(record)
    }
}

fn dates_of(record: &mut Record) -> &mut Dates {
    match record {
        Record::Account(record) => &mut record.dates,
        Record::IpAccessControlList(record) => &mut record.dates,
        Record::CredentialList(record) => &mut record.dates,
        Record::IpAddress(record) => &mut record.dates,
        Record::Credential(record) => &mut record.dates,
        Record::Domain(record) => &mut record.dates,
        Record::Trunk(record) => &mut record.dates,
        Record::Policy(record) => &mut record.dates,
        Record::Mapping(record) => &mut record.dates,
        Record::Role(record) => &mut record.dates,
    }
}

fn refused(key: Key, error: DirectoryError) -> MergeError {
    MergeError::Refused { key, message: error.to_string() }
}

fn hash(user: &IncomingCredential, realm: &Realm) -> Result<Option<Ha1Set>, String> {
    let ha1 = match &user.secret {
        None => return Ok(None),
        Some(Secret::Password(password)) => {
            let copy = Password::new(password.expose().to_owned());
            Ha1Set::from_password(&user.username, realm, copy)
        }
        Some(Secret::Ha1(hashes)) => {
            let hashes = hashes.iter().map(|(function, hash)| (*function, hash.as_str()));
            Ha1Set::from_hex(&user.username, realm, hashes)
        }
    };
    ha1.map(Some).map_err(|error| error.to_string())
}
