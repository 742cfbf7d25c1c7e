//! Reads the request of a question for an edge.

use sip_authz::message::Message;
use sip_authz::{Invite, Transport};
use sip_authz_decide::{Request, engine};

use crate::observe::cause::Cause;
use crate::sip::edge::Edge;
use crate::sip::peer::{Caller, Local, Source};

/// The number of no listener: its domain is not a source of domains.
const NO_LISTENER: usize = usize::MAX;

/// A request that can be decided.
pub(super) struct Question<'a> {
    pub(super) caller: Caller,
    pub(super) message: Message<'a>,
}

/// A request that is not decided.
pub(super) struct Undecided {
    pub(super) cause: Cause,
    pub(super) caller: Caller,
    /// Why, for its answer.
    pub(super) reason: engine::Undecided,
}

/// The caller that a client asserts.
pub(super) fn caller(request: &Request<'_>) -> Caller {
    // the connection has checked the name
    let transport = request.transport.parse().unwrap_or(Transport::Udp);
    Caller { source: Source::Known(request.source), transport }
}

/// Reads the request of a question, whose text is that of [`engine::text_of`].
pub(super) fn read<'a>(
    edge: &'a Edge,
    request: &Request<'a>,
    text: Option<&'a [u8]>,
) -> Result<(Question<'a>, Invite<'a>), Undecided> {
    let caller = caller(request);
    let engine::Question { message, invite, .. } = engine::read(request, caller.transport, text)
        .map_err(|reason| Undecided { cause: Cause::from(&reason), caller, reason })?;
    let local = Local::at(request.source, NO_LISTENER);
    let invite = edge.naming().add_domain_hosts(invite, &message, local);
    Ok((Question { caller, message }, invite))
}
