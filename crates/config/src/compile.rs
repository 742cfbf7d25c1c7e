//! From what the file says to a snapshot: names become SIDs, and what breaks a rule is found again
//! in the text.

use std::collections::HashMap;
use std::ops::Range;

use sip_authz::digest::HashFunction;
use sip_authz::model::rules::RuleError;
use sip_authz::model::{
    Account, Commit, Credential, CredentialList, Dates, Domain, Ha1Set, IpAccessControlList,
    IpAddress, Key, Mapping, MappingRecord, Password, PolicyRecord, Realm, Record, Target, Trunk,
    UserName,
};
use sip_authz::{
    AccountSid, ApplyError, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid,
    IpAddressSid, Snapshot, TrunkSid,
};
use toml::Spanned;

use crate::file::{self, File};
use crate::{Names, Problem};

type Span = Range<usize>;

/// The name of the account of a file that names none.
const ONLY_ACCOUNT: &str = "default";

/// What is not in the file.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Whose everything is in a file that names no account. It is not one of the file's records.
    pub owner: Option<AccountSid>,
    /// The realm of credential lists that name none, where the file has none for all lists.
    pub realm: Option<Realm>,
    /// The dates of all records.
    pub dates: Dates,
}

pub(crate) struct Compiled {
    /// All records of the file.
    pub(crate) commit: Commit,
    /// What they come to; with `Around::owner`, which is not among them.
    pub(crate) snapshot: Snapshot,
    pub(crate) names: Names,
}

/// Makes the records, or tells the first thing that is wrong.
pub(crate) fn compile(file: File, around: &Around) -> Result<Compiled, Problem> {
    let mut compiler = Compiler { dates: around.dates, ..Compiler::default() };
    compiler.accounts(file.accounts, around.owner)?;
    compiler.access_lists(file.ip_access_control_lists)?;
    let realm = file.realm.as_ref().or(around.realm.as_ref());
    compiler.credential_lists(file.credential_lists, realm)?;
    compiler.domains(file.domains)?;
    compiler.trunks(file.trunks)?;
    let Compiler { commit, places, names, .. } = compiler;
    let mut before = Commit::new();
    if let Some(owner) = around.owner {
        before.put(Record::Account(Account::new(owner)));
    }
    match Snapshot::empty().apply(&before).and_then(|before| before.apply(&commit)) {
        Ok(snapshot) => Ok(Compiled { commit, snapshot, names }),
        Err(error) => Err(broken_rule(&error, &places, &names)),
    }
}

#[derive(Default)]
struct Compiler {
    commit: Commit,
    dates: Dates,
    /// How many mappings there are, which are listed in the order of the file.
    mappings: u64,
    /// Where each record stands.
    places: HashMap<Key, Span>,
    names: Names,
    accounts: HashMap<String, AccountSid>,
    /// By account and name.
    access_lists: HashMap<(AccountSid, String), IpAccessControlListSid>,
    credential_lists: HashMap<(AccountSid, String), CredentialListSid>,
}

impl Compiler {
    fn accounts(
        &mut self,
        accounts: Vec<file::Account>,
        owner: Option<AccountSid>,
    ) -> Result<(), Problem> {
        if let Some(owner) = owner {
            if let Some(account) = accounts.into_iter().next() {
                let message = "the file names accounts, so none can be given for it";
                return Err(Problem::at(account.name.span(), message));
            }
            self.accounts.insert(owner.to_string(), owner);
            return Ok(());
        }
        if accounts.is_empty() {
            let sid = AccountSid::from_name(&[ONLY_ACCOUNT]);
            let account = Account {
                friendly_name: ONLY_ACCOUNT.to_owned(),
                dates: self.dates,
                ..Account::new(sid)
            };
            self.accounts.insert(ONLY_ACCOUNT.to_owned(), account.sid);
            self.names.insert(account.sid, ONLY_ACCOUNT);
            self.commit.put(Record::Account(account));
            return Ok(());
        }
        for entry in accounts {
            let (span, name) = required(entry.name)?;
            let sid = entry.sid.unwrap_or_else(|| AccountSid::from_name(&[&name]));
            if self.accounts.insert(name.clone(), sid).is_some() {
                return Err(Problem::at(span, format!("there are two accounts `{name}`")));
            }
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let token = entry.token_sha256.map(|hash| hash.0);
            let dates = self.dates;
            let account = Account { sid, friendly_name, status: entry.status, token, dates };
            self.put(Record::Account(account), span, sid, &name)?;
        }
        Ok(())
    }

    fn access_lists(&mut self, lists: Vec<file::AccessList>) -> Result<(), Problem> {
        for entry in lists {
            let (span, name) = required(entry.name)?;
            let (account, account_name) = self.account(entry.account, &span)?;
            let derived = || IpAccessControlListSid::from_name(&[&account_name, &name]);
            let sid = entry.sid.unwrap_or_else(derived);
            if self.access_lists.insert((account, name.clone()), sid).is_some() {
                let message = format!("there are two IP access control lists `{name}`");
                return Err(Problem::at(span, message));
            }
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let list = IpAccessControlList { sid, account, friendly_name, dates: self.dates };
            self.put(Record::IpAccessControlList(list), span, sid, &name)?;
            for address in entry.addresses {
                self.address(address, sid, [&account_name, &name])?;
            }
        }
        Ok(())
    }

    fn address(
        &mut self,
        entry: Spanned<file::Address>,
        list: IpAccessControlListSid,
        [account_name, list_name]: [&str; 2],
    ) -> Result<(), Problem> {
        let span = entry.span();
        let entry = entry.into_inner();
        let prefix = entry.address;
        let text = prefix.to_string();
        match (prefix.is_whole_internet(), entry.allow_all) {
            (true, false) => {
                let message = format!(
                    "`{text}` admits every address; if that is meant, write \
                     {{ address = \"{text}\", allow_all = true }}"
                );
                return Err(Problem::at(span, message));
            }
            (false, true) => {
                let message = format!("allow_all stands beside `{text}`, which is not all");
                return Err(Problem::at(span, message));
            }
            _ => {}
        }
        let derived = || IpAddressSid::from_name(&[account_name, list_name, &text]);
        let sid = entry.sid.unwrap_or_else(derived);
        let name = entry.friendly_name.clone().unwrap_or_else(|| text.clone());
        let friendly_name = entry.friendly_name.unwrap_or_default();
        let address = IpAddress { sid, list, prefix, friendly_name, dates: self.dates };
        self.put(Record::IpAddress(address), span, sid, &name)
    }

    fn credential_lists(
        &mut self,
        lists: Vec<file::CredentialList>,
        default_realm: Option<&Realm>,
    ) -> Result<(), Problem> {
        for entry in lists {
            let (span, name) = required(entry.name)?;
            let (account, account_name) = self.account(entry.account, &span)?;
            let derived = || CredentialListSid::from_name(&[&account_name, &name]);
            let sid = entry.sid.unwrap_or_else(derived);
            if self.credential_lists.insert((account, name.clone()), sid).is_some() {
                return Err(Problem::at(span, format!("there are two credential lists `{name}`")));
            }
            let Some(realm) = entry.realm.or_else(|| default_realm.cloned()) else {
                let message = "it has no realm, and the file has none for all lists";
                return Err(Problem::at(span, message));
            };
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let dates = self.dates;
            let list = CredentialList { sid, account, realm: realm.clone(), friendly_name, dates };
            self.put(Record::CredentialList(list), span, sid, &name)?;
            for credential in entry.credentials {
                self.credential(credential, sid, &realm, [&account_name, &name])?;
            }
        }
        Ok(())
    }

    fn credential(
        &mut self,
        entry: Spanned<file::Credential>,
        list: CredentialListSid,
        realm: &Realm,
        [account_name, list_name]: [&str; 2],
    ) -> Result<(), Problem> {
        let whole = entry.span();
        let entry = entry.into_inner();
        let span = entry.username.span();
        let username = entry.username.into_inner();
        let ha1 = match (entry.password, entry.ha1) {
            (Some(password), None) => from_password(password, &username, realm)?,
            (None, Some(ha1)) => from_hashes(ha1, &username, realm)?,
            (Some(_), Some(ha1)) => {
                let message = "a credential has either a password or ha1, not both";
                return Err(Problem::at(ha1.span(), message));
            }
            (None, None) => {
                return Err(Problem::at(whole, "a credential needs a password or ha1"));
            }
        };
        let derived = || CredentialSid::from_name(&[account_name, list_name, username.as_str()]);
        let sid = entry.sid.unwrap_or_else(derived);
        let name = username.to_string();
        let credential = Credential {
            disabled: entry.disabled,
            dates: self.dates,
            ..Credential::new(sid, list, username, ha1)
        };
        self.put(Record::Credential(credential), span, sid, &name)
    }

    fn domains(&mut self, domains: Vec<file::Domain>) -> Result<(), Problem> {
        for entry in domains {
            let span = entry.name.span();
            let (account, account_name) = self.account(entry.account, &span)?;
            let host = entry.name.into_inner();
            let name = host.to_string();
            let sid = entry.sid.unwrap_or_else(|| DomainSid::from_name(&[&account_name, &name]));
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let secure = entry.secure;
            let new = Domain::new(sid, account, host);
            let domain = Domain { friendly_name, secure, dates: self.dates, ..new };
            self.put(Record::Domain(domain), span, sid, &name)?;
            let target = Target::Domain(sid);
            self.map_access_lists(entry.ip_access_control_lists, account, target)?;
            self.map_credential_lists(entry.credential_lists, account, |list| {
                Mapping::CredentialList(target, list)
            })?;
            self.map_credential_lists(entry.registrations, account, |list| {
                Mapping::Registration(sid, list)
            })?;
            self.policy(entry.policy, target)?;
        }
        Ok(())
    }

    fn trunks(&mut self, trunks: Vec<file::Trunk>) -> Result<(), Problem> {
        for entry in trunks {
            let (mut span, name) = required(entry.name)?;
            let (account, account_name) = self.account(entry.account, &span)?;
            let sid = entry.sid.unwrap_or_else(|| TrunkSid::from_name(&[&account_name, &name]));
            // what can be wrong with a trunk is most often its host
            if let Some(host) = &entry.domain_name {
                span = host.span();
            }
            let host = entry.domain_name.map(Spanned::into_inner);
            let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
            let new = Trunk::new(sid, account, host);
            let secure = entry.secure;
            let trunk = Trunk { friendly_name, secure, dates: self.dates, ..new };
            self.put(Record::Trunk(trunk), span, sid, &name)?;
            let target = Target::Trunk(sid);
            self.map_access_lists(entry.ip_access_control_lists, account, target)?;
            self.map_credential_lists(entry.credential_lists, account, |list| {
                Mapping::CredentialList(target, list)
            })?;
            self.policy(entry.policy, target)?;
        }
        Ok(())
    }

    fn map_access_lists(
        &mut self,
        lists: Vec<Spanned<String>>,
        account: AccountSid,
        target: Target,
    ) -> Result<(), Problem> {
        for list in lists {
            let (span, name) = (list.span(), list.into_inner());
            let found = find(&self.access_lists, account, &name, &self.names);
            let sid = found.map_err(|why| {
                Problem::at(
                    span.clone(),
                    format!("there is no IP access control list `{name}`{why}"),
                )
            })?;
            self.map(Mapping::IpAccessControlList(target, sid), span, &name)?;
        }
        Ok(())
    }

    fn map_credential_lists(
        &mut self,
        lists: Vec<Spanned<String>>,
        account: AccountSid,
        mapping: impl Fn(CredentialListSid) -> Mapping,
    ) -> Result<(), Problem> {
        for list in lists {
            let (span, name) = (list.span(), list.into_inner());
            let found = find(&self.credential_lists, account, &name, &self.names);
            let sid = found.map_err(|why| {
                Problem::at(span.clone(), format!("there is no credential list `{name}`{why}"))
            })?;
            self.map(mapping(sid), span, &name)?;
        }
        Ok(())
    }

    fn map(&mut self, mapping: Mapping, span: Span, list: &str) -> Result<(), Problem> {
        if self.places.insert(Key::Mapping(mapping), span.clone()).is_some() {
            return Err(Problem::at(span, format!("`{list}` is mapped twice")));
        }
        self.mappings += 1;
        let (since, dates) = (self.mappings, self.dates);
        self.commit.put(Record::Mapping(MappingRecord { mapping, role: None, since, dates }));
        Ok(())
    }

    fn policy(
        &mut self,
        entry: Option<Spanned<file::Policy>>,
        target: Target,
    ) -> Result<(), Problem> {
        let Some(entry) = entry else { return Ok(()) };
        let span = entry.span();
        let entry = entry.into_inner();
        let place = |field: Option<Span>| field.unwrap_or_else(|| span.clone());
        let lifetime = entry.nonce_lifetime.as_ref().map(Spanned::span);
        let rfc2069 = entry.allow_rfc2069.as_ref().map(Spanned::span);
        let guesses = entry.guesses.as_ref().map(Spanned::span);
        let policy = entry.with_defaults();
        policy.check().map_err(|error| {
            let field = match error.field() {
                "nonce_lifetime" => lifetime,
                "allow_rfc2069" => rfc2069,
                "guesses" => guesses,
                _ => None,
            };
            Problem::at(place(field), error)
        })?;
        self.places.insert(Key::Policy(target), span.clone());
        self.commit.put(Record::Policy(PolicyRecord { target, policy, dates: self.dates }));
        Ok(())
    }

    /// The account that is named, or the only one there is.
    fn account(
        &self,
        name: Option<Spanned<String>>,
        owned: &Span,
    ) -> Result<(AccountSid, String), Problem> {
        let Some(name) = name else {
            let mut accounts = self.accounts.iter();
            return match (accounts.next(), accounts.next()) {
                (Some((name, sid)), None) => Ok((*sid, name.clone())),
                _ => {
                    Err(Problem::at(owned.clone(), "there are several accounts, and it names none"))
                }
            };
        };
        let (span, name) = (name.span(), name.into_inner());
        match self.accounts.get(&name) {
            Some(sid) => Ok((*sid, name)),
            None => Err(Problem::at(span, format!("there is no account `{name}`"))),
        }
    }

    fn put(
        &mut self,
        record: Record,
        span: Span,
        sid: impl std::fmt::Display,
        name: &str,
    ) -> Result<(), Problem> {
        if self.places.insert(record.key(), span.clone()).is_some() {
            // the same name gives the same SID; another name has been given the SID of the first
            let message = match record {
                _ if self.names.get(&sid) != name => format!("{sid} is used twice"),
                Record::IpAddress(_) | Record::Credential(_) => {
                    format!("`{name}` is in the list twice")
                }
                Record::Domain(_) => format!("there are two domains `{name}`"),
                Record::Trunk(_) => format!("there are two trunks `{name}`"),
                _ => format!("{sid} is used twice"),
            };
            return Err(Problem::at(span, message));
        }
        self.names.insert(sid, name);
        self.commit.put(record);
        Ok(())
    }
}

fn required(name: Spanned<String>) -> Result<(Span, String), Problem> {
    let (span, name) = (name.span(), name.into_inner());
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Problem::at(span, "a name must not be empty or have control characters"));
    }
    Ok((span, name))
}

fn from_password(
    password: Spanned<file::Secret>,
    username: &UserName,
    realm: &Realm,
) -> Result<Ha1Set, Problem> {
    let span = password.span();
    let file::Secret(password) = password.into_inner();
    Ha1Set::from_password(username, realm, password).map_err(|error| Problem::at(span, error))
}

fn from_hashes(
    ha1: Spanned<file::Ha1>,
    username: &UserName,
    realm: &Realm,
) -> Result<Ha1Set, Problem> {
    let whole = ha1.span();
    let file::Ha1 { md5, sha256, sha512_256 } = ha1.into_inner();
    let mut hashes: Vec<(HashFunction, Span, Password)> = Vec::new();
    for (function, secret) in HashFunction::ALL.into_iter().zip([md5, sha256, sha512_256]) {
        if let Some(secret) = secret {
            let (span, file::Secret(hash)) = (secret.span(), secret.into_inner());
            // one by one first, so that the error stands at its hash
            Ha1Set::from_hex(username, realm, [(function, hash.expose())])
                .map_err(|error| Problem::at(span.clone(), error))?;
            hashes.push((function, span, hash));
        }
    }
    let given = hashes.iter().map(|(function, _, hash)| (*function, hash.expose()));
    Ha1Set::from_hex(username, realm, given).map_err(|error| Problem::at(whole, error))
}

/// The list of the account, or what else may have been meant.
fn find<Sid: Copy>(
    lists: &HashMap<(AccountSid, String), Sid>,
    account: AccountSid,
    name: &str,
    names: &Names,
) -> Result<Sid, String> {
    let found = lists.get(&(account, name.to_owned()));
    found.copied().ok_or_else(|| {
        let other = lists.keys().find(|(_, list)| list == name);
        other.map_or_else(String::new, |(owner, _)| {
            format!(" of account `{}`; one belongs to `{}`", names.get(account), names.get(owner))
        })
    })
}

/// A rule of the library that the file breaks, in the file's own names.
fn broken_rule(error: &ApplyError, places: &HashMap<Key, Span>, names: &Names) -> Problem {
    let message = match error {
        ApplyError::Rule { error, .. } => match error {
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
                    "`{list}` has the realm `{realm}`, and a list mapped before it has \
                     `{expected}`"
                )
            }
            other => names.annotate(&other.to_string()),
        },
        other => other.message(),
    };
    Problem { span: places.get(&error.key()).cloned(), message }
}
