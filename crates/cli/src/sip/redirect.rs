//! The answers to accepted calls: which one a domain has, and the Contacts of a redirect.

use arrayvec::ArrayVec;
use sip_authz::model::{Forward, NextHopSet, OnAccept, Redirect, RedirectValues, Target};
use sip_authz::uri::{SipUri, tel_number};
use sip_authz::{Accept, Snapshot, TargetView};

use crate::observe::cause::Cause;

/// The answers to accepted calls.
pub(crate) struct Answers {
    /// The answer for domains and trunks without their own.
    default: OnAccept,
    /// The next hops of the others; `None` if the reader of the records has checked them.
    allowed: Option<NextHopSet>,
}

#[cfg(test)]
impl From<OnAccept> for Answers {
    fn from(default: OnAccept) -> Self {
        Self { default, allowed: Some(NextHopSet::default()) }
    }
}

impl Answers {
    pub(crate) fn new(default: OnAccept, allowed: Option<NextHopSet>) -> Self {
        Self { default, allowed }
    }

    /// The answer of a domain or trunk.
    ///
    /// A stored target that the operator no longer allows is an error: the default could be another
    /// tenant's gateway.
    pub(super) fn of<'a>(&'a self, view: &TargetView<'a>) -> Result<&'a OnAccept, Cause> {
        match (view.on_accept, &self.allowed) {
            (None, _) => Ok(&self.default),
            (Some(own), Some(allowed)) if allowed.check(own).is_err() => Err(Cause::NextHop),
            (Some(own), _) => Ok(own),
        }
    }

    /// The forwards in force: that of the default, and those of the domains and trunks.
    pub(crate) fn forwards<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Forward> {
        let own = snapshot.target_views().filter(|view| view.on_accept.is_some());
        let own = own.filter_map(|view| self.of(&view).ok());
        std::iter::once(&self.default).chain(own).filter_map(|answer| match answer {
            OnAccept::Forward(forward) => Some(forward),
            _ => None,
        })
    }

    /// A warning for each domain and trunk whose calls are refused because of its targets.
    pub(crate) fn warnings(&self, snapshot: &Snapshot) -> Vec<String> {
        let Some(allowed) = &self.allowed else { return Vec::new() };
        let warning = |view: TargetView<'_>| {
            let refusal = allowed.check(view.on_accept?).err()?;
            let kind = match view.target {
                Target::Domain(_) => "domain",
                Target::Trunk(_) => "trunk",
            };
            let name = view.name.map_or_else(|| view.target.to_string(), ToString::to_string);
            Some(format!(
                "warning: {kind} `{name}`: {refusal}; its calls are answered with 480 (see \
                 --next-hop-allow)"
            ))
        };
        let mut warnings: Vec<_> = snapshot.target_views().filter_map(warning).collect();
        warnings.sort_unstable();
        warnings
    }
}

/// The parts of a Request-URI that a redirect can keep: the user or the number of a `tel:` URI, and the
/// host, both as sent.
///
/// This is the one place that reads the called user.
fn called<'a>(text: &'a str, request: Option<SipUri<'a>>) -> (&'a str, Option<&'a str>) {
    match request {
        Some(uri) => (uri.user.unwrap_or_default(), Some(uri.host)),
        None => (tel_number(text).unwrap_or_default(), None),
    }
}

/// A Contact of a redirect.
pub(super) struct Contact<'a> {
    pub(super) uri: String,
    /// The preference, if the target has one.
    pub(super) q: Option<&'a str>,
}

/// The Contacts of a redirect.
pub(super) type Contacts<'a> = ArrayVec<Contact<'a>, { OnAccept::MAX_TARGETS }>;

/// The Contacts of an accepted call; at least one.
///
/// Leaves out targets that are the Request-URI itself, which would loop (RFC 3261 §8.3), and targets
/// that would be too long.
pub(super) fn contacts<'a>(
    redirect: &'a Redirect,
    request: &str,
    view: &TargetView<'_>,
    accept: &Accept,
) -> Result<Contacts<'a>, Cause> {
    let uri = SipUri::parse_request_uri(request).ok();
    let (user, host) = called(request, uri);
    let domain = view.name.map(|name| name.as_str()).unwrap_or_default();
    let username = accept.credential.as_ref().map(|credential| credential.username.as_str());
    let values = RedirectValues::new(view.account, domain)
        .with_user(user)
        // a URI without a host was decided by this domain
        .with_host(host.unwrap_or(domain))
        .with_username(username.unwrap_or_default());
    let loops = |text: &str| {
        let target = SipUri::parse(text).ok();
        target.zip(uri).is_some_and(|(target, uri)| target.equivalent(&uri))
    };
    let (mut contacts, mut cause) = (Contacts::new(), Cause::RedirectLoop);
    for target in redirect.targets() {
        match target.uri(&values) {
            None => cause = Cause::RedirectTooLong,
            Some(uri) if loops(&uri) => {}
            Some(uri) if contacts.is_full() => drop(uri),
            Some(uri) => contacts.push(Contact { uri, q: target.q() }),
        }
    }
    if contacts.is_empty() { Err(cause) } else { Ok(contacts) }
}
