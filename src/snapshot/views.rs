//! The fields of domains and trunks that a program needs after an accept.

use super::Snapshot;
use super::entry::TargetEntry;
use crate::decision::Refusal;
use crate::method::Method;
use crate::model::{AccountStatus, DomainName, MethodSet, OnAccept, Target};
use crate::sid::AccountSid;
use crate::uri::Host;

/// A domain or trunk of a snapshot.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TargetView<'a> {
    /// The domain or trunk.
    pub target: Target,
    /// The account that owns it.
    pub account: AccountSid,
    /// Its host name; a trunk can lack one.
    pub name: Option<&'a DomainName>,
    /// The answer to accepted calls, or none for the default of the program. It has no effect by itself: the
    /// program must obey it.
    pub on_accept: Option<&'a OnAccept>,
    /// The methods that it admits from outside a dialog, for the Allow header of a 405
    /// ([`Reason::MethodNotAllowed`](crate::Reason::MethodNotAllowed)).
    pub methods: &'a MethodSet,
    /// Whether phones can register: the domain takes registrations and has a list mapped for them.
    pub registers: bool,
}

impl Refusal<'_> {
    /// Adds the Allow header to a 405: the methods of this domain or trunk, ACK, CANCEL and BYE, and
    /// REGISTER if phones can register. Other responses stay as they are.
    ///
    /// `target` is the view of [`Decision::target`](crate::Decision::target).
    /// [`Authorizer::refusal`](crate::Authorizer::refusal) calls this with the snapshot in force.
    pub fn with_allow(self, target: &TargetView<'_>) -> Self {
        self.allowing(target.methods, target.registers)
    }
}

impl Snapshot {
    /// The domain or trunk `target`, if the snapshot has it. Neither allocates nor locks.
    ///
    /// After an accept, `None` means that it was deleted since the decision: answer 480 or 503.
    #[must_use]
    pub fn target_view(&self, target: Target) -> Option<TargetView<'_>> {
        self.view(self.targets.get(target)?)
    }

    /// Whether a credential list has this realm, so that credentials for it are meant for this program.
    ///
    /// A proxy removes such credentials from the requests that it forwards (RFC 3261 §22.3). The crate
    /// `sip-authz-proxy` reads the realms of a header as widely as other servers do. Lists count whether
    /// or not they are mapped, because a client repeats credentials for a while after a mapping is gone.
    /// Realms are compared with case (RFC 3261 §22.1). The time does not depend on the number of lists.
    #[must_use]
    pub fn is_own_realm(&self, realm: &str) -> bool {
        self.realms.has(realm)
    }

    /// The domain or trunk with this host name, in any case. Neither allocates nor locks.
    #[must_use]
    pub fn target_named(&self, host: &str) -> Option<TargetView<'_>> {
        let host = Host::parse(host).ok()?;
        self.view(self.named_entry(host.as_str())?)
    }

    /// Whether the account exists and is active. Neither allocates nor locks.
    #[must_use]
    pub fn is_active(&self, account: AccountSid) -> bool {
        self.accounts.get(&account).is_some_and(|entry| entry.status == AccountStatus::Active)
    }

    /// All domains and trunks, in no order. Scans all targets; not for the hot path.
    pub fn target_views(&self) -> impl Iterator<Item = TargetView<'_>> {
        self.targets.values().filter_map(|entry| self.view(entry))
    }

    fn view<'a>(&'a self, entry: &'a TargetEntry) -> Option<TargetView<'a>> {
        Some(TargetView {
            target: entry.target,
            account: self.account_entry(entry.account)?.sid,
            name: entry.name.as_ref(),
            on_accept: entry.on_accept.as_deref(),
            methods: &entry.policy().methods,
            registers: entry.admits(Method::REGISTER),
        })
    }
}
