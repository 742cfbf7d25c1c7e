//! Compiles the file to records: turns names into SIDs, resolves references, and reports records that
//! break a rule of the library at their place in the text.
//!
//! The compiler continues after each error. It does not report consequences of other errors, for
//! example a reference to a list that could not be read.

mod credentials;
mod lints;
mod lists;
mod next_hops;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use sip_authz::acl::Prefix;
use sip_authz::model::rules::{MAX_COPIES, RuleError};
use sip_authz::model::{
    Account, Commit, Dates, Domain, IpAccessControlList, IpAddress, Key, Mapping, MappingRecord,
    NextHopSet, Policy, PolicyRecord, Realm, Record, Target, Trunk,
};
use sip_authz::{
    AccountSid, ApplyError, CredentialListSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    Snapshot, TrunkSid, Warning,
};
use toml::Spanned;

use self::lists::{Lists, Parent, did_you_mean};
use crate::file::{self, File};
use crate::names::Names;
use crate::options::Options;
use crate::problem::Problems;
use crate::read::{Elements, Given};
use crate::rules;

type Span = Range<usize>;

/// The name of the account of a file that names none.
const ONLY_ACCOUNT: &str = "default";

/// A configuration without errors.
pub(crate) struct Compiled {
    /// All records of the file.
    pub(crate) commit: Commit,
    /// The snapshot of the records and of the account of [`Options::owner`], which is not a record.
    pub(crate) snapshot: Snapshot,
    pub(crate) names: Names,
    /// Warnings, with their places.
    pub(crate) warnings: Vec<(Option<Span>, String)>,
    /// Addresses that a list has twice.
    pub(crate) repeats: Vec<Repeat>,
}

/// An address that is in a list again.
pub(crate) struct Repeat {
    pub(crate) prefix: Prefix,
    pub(crate) first: Span,
    pub(crate) again: Span,
}

/// Compiles the records and reports every error.
///
/// `is_damaged` means that parts of the text may be missing from `file`. Returns `None` if `problems`
/// has errors, including earlier ones.
pub(crate) fn compile(
    file: File,
    options: &Options,
    is_damaged: bool,
    problems: &mut Problems,
) -> Option<Compiled> {
    let mut compiler = Compiler::new(options, is_damaged, problems);
    compiler.allow(file.next_hop_allow);
    compiler.accounts(file.accounts);
    compiler.access_lists(file.ip_access_control_lists);
    compiler.credential_lists(file.credential_lists, file.realm);
    compiler.domains(file.domains);
    compiler.trunks(file.trunks);
    compiler.finish()
}

struct Compiler<'p> {
    problems: &'p mut Problems,
    owner: Option<AccountSid>,
    has_tls: Option<bool>,
    default_realm: Option<Realm>,
    /// Whether parts of the text may be missing from the file.
    is_damaged: bool,
    commit: Commit,
    dates: Dates,
    /// The number of mappings so far. Mappings are listed in the order of the file.
    mappings: u64,
    /// The place of each record.
    places: HashMap<Key, Span>,
    names: Names,
    accounts: HashMap<String, AccountSid>,
    /// Whether an error hides names of accounts.
    accounts_are_incomplete: bool,
    access_lists: Lists<IpAccessControlListSid>,
    /// The first entry of each prefix of a list: its SID and its place.
    addresses: HashMap<(IpAccessControlListSid, Prefix), (IpAddressSid, Span)>,
    repeats: Vec<Repeat>,
    credential_lists: Lists<CredentialListSid>,
    /// The next hops that targets can name; unknown if an error hides some.
    next_hops: Option<NextHopSet>,
}

impl<'p> Compiler<'p> {
    fn new(options: &Options, is_damaged: bool, problems: &'p mut Problems) -> Self {
        Self {
            problems,
            owner: options.owner,
            has_tls: options.has_tls,
            default_realm: options.realm.clone(),
            is_damaged,
            commit: Commit::new(),
            dates: options.dates.unwrap_or_default(),
            mappings: 0,
            places: HashMap::new(),
            names: Names::default(),
            accounts: HashMap::new(),
            accounts_are_incomplete: is_damaged,
            access_lists: Lists::new("IP access control list", is_damaged),
            addresses: HashMap::new(),
            repeats: Vec::new(),
            credential_lists: Lists::new("credential list", is_damaged),
            next_hops: (!is_damaged).then(|| options.next_hops.clone()),
        }
    }

    fn accounts(&mut self, accounts: Elements<file::Account>) {
        self.accounts_are_incomplete |= accounts.is_incomplete;
        if let Some(owner) = self.owner {
            if let Some(account) = accounts.read.first() {
                let message =
                    "expected no accounts in the file, since an owner is given for all records";
                self.problems.push(account.name.span().unwrap_or(account.span.clone()), message);
                self.accounts_are_incomplete = true;
            }
            self.accounts.insert(owner.to_string(), owner);
            return;
        }
        if accounts.read.is_empty() && !self.accounts_are_incomplete {
            let sid = AccountSid::from_name(&[ONLY_ACCOUNT]);
            let account = Account {
                friendly_name: ONLY_ACCOUNT.to_owned(),
                dates: self.dates,
                ..Account::new(sid)
            };
            self.accounts.insert(ONLY_ACCOUNT.to_owned(), account.sid);
            self.names.insert(account.sid, ONLY_ACCOUNT);
            self.commit.put(Record::Account(account));
            return;
        }
        for entry in accounts.read {
            let Some((span, name)) = self.name(entry.name) else {
                self.accounts_are_incomplete = true;
                continue;
            };
            let sid = entry.sid.unwrap_or_else(|| AccountSid::from_name(&[&name]));
            if self.accounts.contains_key(&name) {
                self.problems.push(span, format_args!("there are two accounts `{name}`"));
                continue;
            }
            self.accounts.insert(name.clone(), sid);
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let token = entry.token_sha256.map(|hash| hash.0);
            let dates = self.dates;
            let new = Account { token, dates, ..Account::new(sid) };
            let account = Account { friendly_name, status: entry.status, ..new };
            self.put(Record::Account(account), span, sid, &name);
        }
    }

    fn access_lists(&mut self, lists: Elements<file::AccessList>) {
        self.access_lists.is_incomplete |= lists.is_incomplete;
        for mut entry in lists.read {
            let addresses = std::mem::take(&mut entry.addresses);
            let list = self.access_list(entry);
            for address in addresses {
                self.address(address, list.as_ref());
            }
        }
    }

    fn access_list(&mut self, entry: file::AccessList) -> Option<Parent<IpAccessControlListSid>> {
        let name = self.name(entry.name);
        let owned = name.as_ref().map_or(entry.span, |(span, _)| span.clone());
        let owner = self.account(entry.account, owned);
        self.access_lists.is_incomplete |= name.is_none();
        let (span, name) = name?;
        let Some((account, account_name)) = owner else {
            self.access_lists.doubtful.insert(name);
            return None;
        };
        if self.access_lists.by_owner.contains_key(&(account, name.clone())) {
            self.problems
                .push(span, format_args!("there are two IP access control lists `{name}`"));
            return None;
        }
        let derived = || IpAccessControlListSid::from_name(&[&account_name, &name]);
        let sid = entry.sid.unwrap_or_else(derived);
        let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
        let list = IpAccessControlList { sid, account, friendly_name, dates: self.dates };
        if !self.put(Record::IpAccessControlList(list), span, sid, &name) {
            self.access_lists.doubtful.insert(name);
            return None;
        }
        self.access_lists.insert(account, name.clone(), sid);
        Some(Parent { sid, account_name, name })
    }

    /// Checks an address, and adds it to its list unless the list has errors.
    fn address(&mut self, entry: file::Address, list: Option<&Parent<IpAccessControlListSid>>) {
        let prefix = entry.address;
        let text = prefix.to_string();
        let allow_all = entry.allow_all.span();
        match (prefix.is_whole_internet(), entry.allow_all.is_wrong(), entry.allow_all.is_true()) {
            (true, false, false) => {
                let message = format_args!(
                    "`{text}` admits every address; if that is meant, write \
                     {{ address = \"{text}\", allow_all = true }}"
                );
                return self.problems.push_missing(entry.span, message);
            }
            (false, _, true) => {
                let message =
                    format_args!("`allow_all` needs a prefix of length 0, found `{text}`");
                return self.problems.push(allow_all.unwrap_or(entry.span), message);
            }
            _ => {}
        }
        let Some(Parent { sid: list, account_name, name: list_name }) = list else { return };
        let derived = || IpAddressSid::from_name(&[account_name, list_name, &text]);
        let sid = entry.sid.unwrap_or_else(derived);
        match self.addresses.entry((*list, prefix)) {
            Entry::Vacant(vacant) => drop(vacant.insert((sid, entry.span.clone()))),
            Entry::Occupied(occupied) => {
                let (first_sid, first) = occupied.get();
                let (first, again) = (first.clone(), entry.span.clone());
                self.repeats.push(Repeat { prefix, first, again });
                // with a SID of its own it is a record of its own
                if *first_sid == sid {
                    return;
                }
            }
        }
        // without one, explanations show the prefix alone
        let friendly_name = entry.friendly_name.unwrap_or_default();
        let name = friendly_name.clone();
        let address = IpAddress { sid, list: *list, prefix, friendly_name, dates: self.dates };
        self.put(Record::IpAddress(address), entry.span, sid, &name);
    }

    fn domains(&mut self, domains: Vec<file::Domain>) {
        for entry in domains {
            let span = entry.name.span().unwrap_or(entry.span);
            let owner = self.account(entry.account, span.clone());
            let on_accept = self.on_accept(entry.on_accept);
            let account = owner.as_ref().map(|(sid, _)| *sid);
            let mut target = None;
            if let (Some(host), Some((account, account_name))) = (entry.name.into_value(), owner) {
                let name = host.to_string();
                let derived = || DomainSid::from_name(&[&account_name, &name]);
                let sid = entry.sid.unwrap_or_else(derived);
                let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
                let secure = entry.secure;
                let new = Domain::new(sid, account, host);
                let mut domain =
                    Domain { friendly_name, secure, on_accept, dates: self.dates, ..new };
                // a file has no switch beside the lists
                domain.settings.sip_registration = !entry.registrations.is_empty();
                target = self.put(Record::Domain(domain), span, sid, &name).then_some(sid);
            }
            self.map_access_lists(entry.ip_access_control_lists, account, target.map(Into::into));
            self.map_credential_lists(entry.credential_lists, account, |list| {
                Some(Mapping::CredentialList(target?.into(), list))
            });
            self.map_credential_lists(entry.registrations, account, |list| {
                Some(Mapping::Registration(target?, list))
            });
            self.policy(entry.policy, target.map(Into::into));
        }
    }

    fn trunks(&mut self, trunks: Vec<file::Trunk>) {
        for entry in trunks {
            let name = self.name(entry.name);
            let owned = name.as_ref().map_or(entry.span, |(span, _)| span.clone());
            let owner = self.account(entry.account, owned);
            let on_accept = self.on_accept(entry.on_accept);
            let account = owner.as_ref().map(|(sid, _)| *sid);
            let mut target = None;
            if let (Some((span, name)), Some((account, account_name))) = (name, owner) {
                // most rules about trunks concern the host
                let span = entry.domain_name.span().unwrap_or(span);
                let host = entry.domain_name.into_value();
                let sid = entry.sid.unwrap_or_else(|| TrunkSid::from_name(&[&account_name, &name]));
                let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
                let new = Trunk::new(sid, account, host);
                let secure = entry.secure;
                let trunk = Trunk { friendly_name, secure, on_accept, dates: self.dates, ..new };
                let put = self.put(Record::Trunk(trunk), span, sid, &name);
                target = put.then_some(Target::Trunk(sid));
            }
            self.map_access_lists(entry.ip_access_control_lists, account, target);
            self.map_credential_lists(entry.credential_lists, account, |list| {
                Some(Mapping::CredentialList(target?, list))
            });
            self.policy(entry.policy, target);
        }
    }

    fn map_access_lists(
        &mut self,
        lists: Vec<Spanned<String>>,
        account: Option<AccountSid>,
        target: Option<Target>,
    ) {
        for list in lists {
            let (span, name) = (list.span(), list.into_inner());
            let found = self.access_lists.find(account, &name, &self.names);
            let mapping = |list| Some(Mapping::IpAccessControlList(target?, list));
            self.map(found, mapping, span, &name);
        }
    }

    fn map_credential_lists(
        &mut self,
        lists: Vec<Spanned<String>>,
        account: Option<AccountSid>,
        mapping: impl Fn(CredentialListSid) -> Option<Mapping>,
    ) {
        for list in lists {
            let (span, name) = (list.span(), list.into_inner());
            let found = self.credential_lists.find(account, &name, &self.names);
            self.map(found, &mapping, span, &name);
        }
    }

    /// Adds a mapping to the list that was found, unless its target has errors.
    fn map<Sid>(
        &mut self,
        found: Option<Result<Sid, String>>,
        mapping: impl FnOnce(Sid) -> Option<Mapping>,
        span: Span,
        list: &str,
    ) {
        let mapping = match found {
            Some(Ok(sid)) => mapping(sid),
            Some(Err(message)) => return self.problems.push(span, message),
            None => None,
        };
        let Some(mapping) = mapping else { return };
        if self.places.contains_key(&Key::Mapping(mapping)) {
            return self.problems.push(span, format_args!("`{list}` is mapped twice"));
        }
        self.places.insert(Key::Mapping(mapping), span);
        self.mappings += 1;
        let (since, dates) = (self.mappings, self.dates);
        self.commit.put(Record::Mapping(MappingRecord { mapping, role: None, since, dates }));
    }

    fn policy(&mut self, entry: Given<Policy>, target: Option<Target>) {
        let (Given::Value(entry), Some(target)) = (entry, target) else { return };
        self.places.insert(Key::Policy(target), entry.span());
        let policy = entry.into_inner();
        self.commit.put(Record::Policy(PolicyRecord { target, policy, dates: self.dates }));
    }

    /// The account of this name, or the only account of the file. `None` after an error.
    fn account(&mut self, name: Given<String>, owned: Span) -> Option<(AccountSid, String)> {
        let name = match name {
            Given::Value(name) => name,
            Given::Wrong => return None,
            Given::Absent if self.accounts_are_incomplete => return None,
            Given::Absent => {
                let mut accounts = self.accounts.iter();
                if let (Some((name, sid)), None) = (accounts.next(), accounts.next()) {
                    return Some((*sid, name.clone()));
                }
                let message = "missing key `account`: the file has several accounts";
                self.problems.push_missing(owned, message);
                return None;
            }
        };
        let (span, name) = (name.span(), name.into_inner());
        match self.accounts.get(&name) {
            Some(sid) => return Some((*sid, name)),
            None if self.accounts_are_incomplete => {}
            None => {
                let hint = did_you_mean(&name, self.accounts.keys());
                self.problems.push(span, format_args!("there is no account `{name}`{hint}"));
            }
        }
        None
    }

    /// Adds a record and its place. Reports an error and returns false if its SID is in use.
    fn put(&mut self, record: Record, span: Span, sid: impl std::fmt::Display, name: &str) -> bool {
        if self.places.contains_key(&record.key()) {
            // equal names have equal derived SIDs; with another name the SID was set explicitly
            let message = match record {
                _ if self.names.get(&sid) != name => format!("{sid} is used twice"),
                Record::IpAddress(_) | Record::Credential(_) => {
                    format!("`{name}` is in the list twice")
                }
                Record::Domain(_) => format!("there are two domains `{name}`"),
                Record::Trunk(_) => format!("there are two trunks `{name}`"),
                _ => format!("{sid} is used twice"),
            };
            self.problems.push(span, message);
            return false;
        }
        self.places.insert(record.key(), span);
        if !name.is_empty() {
            self.names.insert(sid, name);
        }
        self.commit.put(record);
        true
    }

    fn name(&mut self, name: Given<String>) -> Option<(Span, String)> {
        let Given::Value(name) = name else { return None };
        let (span, name) = (name.span(), name.into_inner());
        if name.is_empty() || name.chars().any(char::is_control) {
            self.problems.push(span, "a name must not be empty or have control characters");
            return None;
        }
        Some((span, name))
    }

    fn finish(self) -> Option<Compiled> {
        let Self { problems, owner, has_tls, is_damaged, commit, places, names, repeats, .. } =
            self;
        let mut before = Commit::new();
        if let Some(owner) = owner {
            before.put(Record::Account(Account::new(owner)));
        }
        let error = if problems.0.is_empty() {
            let applied = Snapshot::empty()
                .apply(&before)
                .and_then(|before| before.apply(&commit).map(|after| (before, after)));
            match applied {
                Ok((before, snapshot)) => {
                    let errors = snapshot.check_copies(&before, &commit);
                    if !errors.is_empty() {
                        for error in errors {
                            problems.push(place(&error, &places), message(&error, &names));
                        }
                        return None;
                    }
                    let mut warnings = warnings(&snapshot, &places, &names);
                    warnings.extend(lints::lints(&commit, &places, &names, has_tls));
                    return Some(Compiled { commit, snapshot, names, warnings, repeats });
                }
                Err(error) => Some(error),
            }
        } else {
            None
        };
        for (key, error) in rules::violations(owner, &commit) {
            // the key that sets another realm may be in an unreadable part
            if is_damaged && matches!(error, RuleError::RealmDiffers { .. }) {
                continue;
            }
            problems.push(places.get(&key).cloned().unwrap_or(0..0), broken_rule(&error, &names));
        }
        if let (true, Some(error)) = (problems.0.is_empty(), error) {
            problems.push(place(&error, &places), message(&error, &names));
        }
        None
    }
}

/// The place of the record that an error is about.
fn place(error: &ApplyError, places: &HashMap<Key, Span>) -> Span {
    error.key().and_then(|key| places.get(&key)).cloned().unwrap_or(0..0)
}

/// The message of an error, with the names of the file.
fn message(error: &ApplyError, names: &Names) -> String {
    match error {
        ApplyError::Rule { error, .. } => broken_rule(error, names),
        other => other.message(),
    }
}

/// The message for a violated rule of the library, with the names of the file.
fn broken_rule(error: &RuleError, names: &Names) -> String {
    match error {
        RuleError::NameTaken { name, by } => {
            let kind = match by {
                Target::Domain(_) => "domain",
                Target::Trunk(_) => "trunk",
            };
            format!("the name `{name}` is taken by {kind} `{}`", names.get(by))
        }
        RuleError::UserNameTaken { username, .. } => {
            format!("`{username}` is in the list twice")
        }
        RuleError::RealmDiffers { list, realm, expected, .. } => {
            let list = names.get(list);
            format!(
                "`{list}` has the realm `{realm}`, and a list mapped before it has `{expected}`"
            )
        }
        RuleError::TooManyCopies { username, target, lists } => {
            let kind = match target {
                Target::Domain(_) => "domain",
                Target::Trunk(_) => "trunk",
            };
            let target = names.get(target);
            let lists: Vec<_> = lists.iter().map(|list| format!("`{}`", names.get(list))).collect();
            format!(
                "`{username}` is in {} of the lists mapped to {kind} `{target}`, at most {MAX_COPIES} \
                 are allowed: {}",
                lists.len(),
                lists.join(", ")
            )
        }
        other => names.annotate(&other.to_string()),
    }
}

/// The warnings about a snapshot, each at the place of the mapping or policy that it concerns.
fn warnings(
    snapshot: &Snapshot,
    places: &HashMap<Key, Span>,
    names: &Names,
) -> Vec<(Option<Span>, String)> {
    let warnings = snapshot.warnings();
    let placed = warnings.iter().map(|warning| {
        let key = match warning {
            Warning::MissingHashes { target, list, .. } => {
                Some(Key::Mapping(Mapping::CredentialList(*target, *list)))
            }
            Warning::StrongerFirst { target, .. } => Some(Key::Policy(*target)),
            Warning::TooManyCopies { target, .. } => Some(Key::Target(*target)),
            _ => None,
        };
        let place = key.and_then(|key| places.get(&key)).cloned();
        (place, names.annotate(&warning.to_string()))
    });
    placed.collect()
}
