//! The lists of the file, by owner and name.

use std::collections::{HashMap, HashSet};

use sip_authz::AccountSid;

use crate::names::Names;
use crate::value::nearest;

/// The maximum number of names that a wrong one is compared with.
const MAX_COMPARED: usize = 200;

/// The end of an error about an unknown name: the known name that is close enough to be meant. Empty if
/// there is none, or if there are many names, since all are compared.
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> String {
    let mut known: Vec<&str> = known.take(MAX_COMPARED + 1).map(String::as_str).collect();
    known.sort_unstable();
    // any two names of a letter or two are close
    let is_comparable = name.len() > 2 && known.len() <= MAX_COMPARED;
    let meant = nearest(name, &known).filter(|_| is_comparable);
    meant.map_or_else(String::new, |meant| format!(", did you mean `{meant}`?"))
}

/// The lists of one kind.
pub(super) struct Lists<Sid> {
    kind: &'static str,
    pub(super) by_owner: HashMap<(AccountSid, String), Sid>,
    /// The owner of the first list with this name in the file.
    first_owner: HashMap<String, AccountSid>,
    /// The names of lists with errors. References to them are not reported.
    pub(super) doubtful: HashSet<String>,
    /// Whether an error hides names of lists.
    pub(super) is_incomplete: bool,
}

impl<Sid: Copy> Lists<Sid> {
    pub(super) fn new(kind: &'static str, is_incomplete: bool) -> Self {
        let (by_owner, first_owner, doubtful) = Default::default();
        Self { kind, by_owner, first_owner, doubtful, is_incomplete }
    }

    pub(super) fn insert(&mut self, owner: AccountSid, name: String, sid: Sid) {
        self.first_owner.entry(name.clone()).or_insert(owner);
        self.by_owner.insert((owner, name), sid);
    }

    /// The account's list of this name, or an error message if there is none. `None` if another error
    /// may be the reason.
    pub(super) fn find(
        &self,
        owner: Option<AccountSid>,
        name: &str,
        names: &Names,
    ) -> Option<Result<Sid, String>> {
        let found = owner.and_then(|owner| self.by_owner.get(&(owner, name.to_owned())));
        if let Some(sid) = found {
            return Some(Ok(*sid));
        }
        if self.is_incomplete || self.doubtful.contains(name) {
            return None;
        }
        let kind = self.kind;
        match (owner, self.first_owner.get(name)) {
            (_, None) => {
                let hint = did_you_mean(name, self.first_owner.keys());
                Some(Err(format!("there is no {kind} `{name}`{hint}")))
            }
            (Some(owner), Some(other)) => {
                let (owner, other) = (names.get(owner), names.get(other));
                let message = format!(
                    "there is no {kind} `{name}` of account `{owner}`; one belongs to `{other}`"
                );
                Some(Err(message))
            }
            (None, Some(_)) => None,
        }
    }
}

/// The list of an address or a credential.
pub(super) struct Parent<Sid> {
    pub(super) sid: Sid,
    pub(super) account_name: String,
    pub(super) name: String,
}
