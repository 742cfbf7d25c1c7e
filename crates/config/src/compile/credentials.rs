//! Compiles credential lists and credentials, and computes HA1 values from passwords.

use std::ops::Range;
use std::str::FromStr;

use sip_authz::digest::HashFunction;
use sip_authz::model::{Credential, CredentialList, Ha1Set, Realm, Record, UserName};
use sip_authz::{CredentialListSid, CredentialSid};
use toml::Spanned;

use super::Compiler;
use super::lists::Parent;
use crate::file;
use crate::read::{Elements, Given};

type Span = Range<usize>;

impl Compiler<'_> {
    pub(super) fn credential_lists(
        &mut self,
        lists: Elements<file::CredentialList>,
        file_realm: Given<Realm>,
    ) {
        self.credential_lists.is_incomplete |= lists.is_incomplete;
        // the realm may be in a damaged part of the text
        let realm_is_unknown = matches!(file_realm, Given::Wrong) || self.is_damaged;
        let default_realm = file_realm.into_value().or_else(|| self.default_realm.take());
        for mut entry in lists.read {
            let credentials = std::mem::take(&mut entry.credentials);
            let realm = match std::mem::take(&mut entry.realm) {
                Given::Value(realm) => Some(realm.into_inner()),
                Given::Wrong => None,
                Given::Absent if default_realm.is_some() => default_realm.clone(),
                Given::Absent => {
                    if !realm_is_unknown {
                        let message =
                            "missing key `realm`, and the file has no `realm` for all lists";
                        let span = entry.name.span().unwrap_or_else(|| entry.span.clone());
                        self.problems.push_missing(span, message);
                    }
                    None
                }
            };
            let list = self.credential_list(entry, realm.as_ref());
            for credential in credentials {
                self.credential(credential, list.as_ref(), realm.as_ref());
            }
        }
    }

    fn credential_list(
        &mut self,
        entry: file::CredentialList,
        realm: Option<&Realm>,
    ) -> Option<Parent<CredentialListSid>> {
        let name = self.name(entry.name);
        let owned = name.as_ref().map_or(entry.span, |(span, _)| span.clone());
        let owner = self.account(entry.account, owned);
        self.credential_lists.is_incomplete |= name.is_none();
        let (span, name) = name?;
        let Some((account, account_name)) = owner else {
            self.credential_lists.doubtful.insert(name);
            return None;
        };
        if self.credential_lists.by_owner.contains_key(&(account, name.clone())) {
            self.problems.push(span, format_args!("there are two credential lists `{name}`"));
            return None;
        }
        let Some(realm) = realm else {
            self.credential_lists.doubtful.insert(name);
            return None;
        };
        let derived = || CredentialListSid::from_name(&[&account_name, &name]);
        let sid = entry.sid.unwrap_or_else(derived);
        let friendly_name = entry.friendly_name.unwrap_or_else(|| name.clone());
        let dates = self.dates;
        let list = CredentialList { sid, account, realm: realm.clone(), friendly_name, dates };
        if !self.put(Record::CredentialList(list), span, sid, &name) {
            self.credential_lists.doubtful.insert(name);
            return None;
        }
        self.credential_lists.insert(account, name.clone(), sid);
        Some(Parent { sid, account_name, name })
    }

    /// Checks a credential, and adds it to its list unless the list has errors.
    fn credential(
        &mut self,
        entry: file::Credential,
        list: Option<&Parent<CredentialListSid>>,
        realm: Option<&Realm>,
    ) {
        let span = entry.username.span().unwrap_or_else(|| entry.span.clone());
        let username = entry.username.into_value();
        // errors of a password or hash do not depend on the user and realm, so any will do
        let (any_username, any_realm);
        let ha1 = {
            let username = match &username {
                Some(username) => username,
                None => {
                    let Some(any) = any() else { return };
                    any_username = any;
                    &any_username
                }
            };
            let realm = match realm {
                Some(realm) => realm,
                None => {
                    let Some(any) = any() else { return };
                    any_realm = any;
                    &any_realm
                }
            };
            self.ha1(entry.password, entry.ha1, &entry.span, username, realm)
        };
        let (Some(list), Some(username), Some(ha1)) = (list, username, ha1) else { return };
        let Parent { sid: list, account_name, name: list_name } = list;
        let derived = || CredentialSid::from_name(&[account_name, list_name, username.as_str()]);
        let sid = entry.sid.unwrap_or_else(derived);
        let name = username.to_string();
        let credential = Credential {
            disabled: entry.disabled,
            dates: self.dates,
            ..Credential::new(sid, *list, username, ha1)
        };
        self.put(Record::Credential(credential), span, sid, &name);
    }

    /// The hashes of a credential: computed from its password, or the given ones.
    fn ha1(
        &mut self,
        password: Given<file::Secret>,
        ha1: Given<file::Ha1>,
        credential: &Span,
        username: &UserName,
        realm: &Realm,
    ) -> Option<Ha1Set> {
        match (password, ha1) {
            (Given::Value(password), Given::Absent) => {
                let span = password.span();
                let file::Secret(password) = password.into_inner();
                let set = Ha1Set::from_password(username, realm, password);
                set.map_err(|error| self.problems.push(span, error)).ok()
            }
            (Given::Absent, Given::Value(ha1)) => self.given_hashes(ha1, username, realm),
            (Given::Value(_), Given::Value(ha1)) => {
                let message = "a credential has either a password or ha1, not both";
                self.problems.push(ha1.span(), message);
                None
            }
            (Given::Absent, Given::Absent) => {
                let message = "a credential needs a password or ha1";
                self.problems.push_missing(credential.clone(), message);
                None
            }
            (Given::Wrong, _) | (_, Given::Wrong) => None,
        }
    }

    fn given_hashes(
        &mut self,
        ha1: Spanned<file::Ha1>,
        username: &UserName,
        realm: &Realm,
    ) -> Option<Ha1Set> {
        let whole = ha1.span();
        let file::Ha1(hashes) = ha1.into_inner();
        let errors = self.problems.0.len();
        for (function, hash) in &hashes {
            // checked one by one, so that each error has the place of its hash
            let given: (HashFunction, &str) = (*function, hash.get_ref().0.expose());
            if let Err(error) = Ha1Set::from_hex(username, realm, [given]) {
                self.problems.push(hash.span(), error);
            }
        }
        if self.problems.0.len() > errors {
            return None;
        }
        let given = hashes.iter().map(|(function, hash)| (*function, hash.get_ref().0.expose()));
        let set = Ha1Set::from_hex(username, realm, given);
        set.map_err(|error| self.problems.push(whole, error)).ok()
    }
}

/// A placeholder name, for checks that do not depend on the name.
fn any<T: FromStr>() -> Option<T> {
    "any".parse().ok()
}
