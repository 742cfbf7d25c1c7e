//! The dialogs in the ledger, and the callers that requests in them can name.

use std::collections::{BTreeSet, HashMap, HashSet};

use sip_authz_proxy::{Arrival, Leg, Strict};

use super::{World, identity_fields, is_inner, values};

/// Call-ID, and the tag of the side that began the dialog.
pub(super) type DialogId = (Vec<u8>, Vec<u8>);
pub(super) type Dialogs = HashMap<DialogId, Dialog>;

/// The values that tokens of a dialog can carry.
#[derive(Default)]
pub(super) struct Dialog {
    /// The legs to the outside, each with the account that it stands for.
    callers: HashSet<(Leg, String)>,
    hops: HashSet<Leg>,
}

/// The accounts that the identity fields of a request can name.
pub(super) struct Named {
    pub(super) accounts: HashSet<String>,
    /// Whether they must name one.
    pub(super) is_certain: bool,
}

impl Dialog {
    pub(super) fn add(&mut self, caller: Leg, account: &str, hop: Leg) {
        self.callers.insert((caller, account.to_owned()));
        self.hops.insert(hop);
    }

    /// The accounts of callers at the address of a leg.
    fn named(&self, from: Leg) -> Named {
        let ip = |leg: &Leg| leg.address.ip().to_canonical();
        let (near, far): (Vec<_>, Vec<_>) =
            self.callers.iter().partition(|(leg, _)| ip(leg) == ip(&from));
        let accounts = near.into_iter().map(|(_, account)| account.clone()).collect();
        Named { accounts, is_certain: far.is_empty() }
    }

    /// The caller that a request from outside names, if it can go to a hop.
    fn sent_to_hop(&mut self, strict: &Strict<'_>, from: Leg, to: Leg) -> Option<Named> {
        let named = self.hops.contains(&to).then(|| self.named(from))?;
        if matches!(strict.method(), "INVITE" | "SUBSCRIBE") {
            // the new Record-Route leads to where the caller is now
            self.callers.extend(named.accounts.iter().map(|account| (from, account.clone())));
        }
        Some(named)
    }

    fn leads_to_caller(&self, to: Leg) -> bool {
        self.callers.iter().any(|(leg, _)| *leg == to)
    }
}

impl World {
    pub(super) fn check_dialog(&mut self, strict: &Strict<'_>, arrival: &Arrival, to: Leg) {
        let out = strict.message().bytes();
        let id = |tag: Option<&[u8]>| (strict.call_id().to_vec(), tag.unwrap_or_default().to_vec());
        let (by_sender, by_peer) = (id(strict.from_tag()), id(strict.to_tag()));
        let ledger = &mut self.ledger;
        let from = arrival.from;
        // the caller, or the phone that a hop called, is the sender
        let named = [(&mut ledger.outward, &by_sender), (&mut ledger.inward, &by_peer)]
            .into_iter()
            .find_map(|(dialogs, id)| dialogs.get_mut(id)?.sent_to_hop(strict, from, to));
        let leads = |dialogs: &Dialogs, id| {
            dialogs.get(id).is_some_and(|dialog| dialog.leads_to_caller(to))
        };
        match named {
            Some(named) => {
                self.check_path(out, from, None);
                check_identity(out, to, &named, None);
            }
            None => {
                let is_known =
                    leads(&ledger.outward, &by_peer) || leads(&ledger.inward, &by_sender);
                assert!(is_known, "{to:?} is no leg of the dialog");
                assert_eq!(identity_fields(out), [""; 0]);
            }
        }
    }
}

/// The identity fields go to hops only, each once, and with an account of the dialog.
pub(super) fn check_identity(out: &[u8], to: Leg, named: &Named, user: Option<&str>) {
    assert!(is_inner(&to), "{to:?} is no hop");
    let fields = identity_fields(out);
    let names: BTreeSet<_> = fields.iter().collect();
    assert_eq!(names.len(), fields.len(), "{fields:?}");
    if fields.is_empty() {
        return assert!(!named.is_certain, "no identity");
    }
    let account = values(out, "X-Authz-Account").concat();
    assert!(named.accounts.contains(&account), "{account} is not that of the sender");
    if let Some(user) = user.filter(|user| user.chars().all(|c| c.is_ascii_alphanumeric())) {
        assert_eq!(values(out, "X-Authz-User").concat(), user);
    }
}
