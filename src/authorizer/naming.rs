//! Finds the target of an INVITE whose Request-URI names none, by the hosts of
//! [`Invite::with_domain_host`].

use super::decide::{DecisionContext, RequestTarget};
use super::explain::{Step, Trace};
use crate::invite::Invite;
use crate::snapshot::TargetEntry;
use crate::uri::{Host, UriError, is_hostless};

impl<'s> DecisionContext<'s> {
    /// The target that the first known host names. `parsed` is a Request-URI whose host names no
    /// target, or its error. None for an error unless the URI is one without a host: a malformed URI
    /// is never decided.
    ///
    /// The host of the result is that of the snapshot, so it needs no buffer.
    #[cold]
    pub(super) fn name_by_domain_host<'i, T: Trace>(
        &self,
        parsed: Result<RequestTarget<'i>, UriError>,
        invite: &Invite<'_>,
        trace: &mut T,
    ) -> Option<(RequestTarget<'i>, &'s TargetEntry)>
    where
        's: 'i,
    {
        let request = match parsed {
            Ok(request) => request,
            Err(UriError::UnsupportedScheme) if is_hostless(invite.request_uri()) => {
                RequestTarget::hostless()
            }
            Err(_) => return None,
        };
        let found = invite.domain_hosts().iter().enumerate().find_map(|(index, text)| {
            let host = Host::parse(text).ok()?;
            let entry = self.snapshot.named_entry(host.as_str()).filter(|it| trace.sees(it))?;
            Some((index, entry, entry.name.as_ref()?.as_str()))
        });
        let (index, entry, host) = found?;
        trace.step(|| Step::DomainHost { index, host: host.to_owned() });
        Some((request.with_host(host), entry))
    }
}
