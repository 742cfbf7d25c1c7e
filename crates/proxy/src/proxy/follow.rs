//! CANCEL, and the ACK of a failure: they follow their INVITE (RFC 3261 §16.10, §16.11).

use sip_authz::message::Message;

use super::{Arrival, Onward, Proxy, Surroundings, check_head, own_routes, refuse};
use crate::Leg;
use crate::route_token::Side;
use crate::strict::Strict;
use crate::transaction::Branch;
use crate::verdict::{Refusal, Verdict};

impl Proxy {
    /// Forwards a CANCEL, or the ACK of a failure, to the hop of its INVITE.
    ///
    /// If the INVITE is not remembered, for example after a restart, it goes to the hop that `choose`
    /// returns. Only so many of these are forwarded each second: their sender has proved nothing.
    pub fn follow(
        &self,
        message: &Message<'_>,
        arrival: &Arrival,
        choose: impl FnOnce() -> Option<Leg>,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let keys = self.keys.load();
        let strict = match Strict::request(message) {
            Ok(strict) => strict,
            Err(flaw) => return refuse(message, Refusal::Flaw(flaw)),
        };
        if !matches!(strict.method(), "CANCEL" | "ACK") {
            return Verdict::Decide;
        }
        let checked = check_head(&keys, &strict, Side::Outside);
        let routes_removed = match checked.and_then(|()| own_routes(&strict, around)) {
            Ok(count) => count,
            Err(refusal) => return refuse(message, refusal),
        };
        let (via, source) = (strict.top_via(), arrival.from.address.ip());
        let mut branches = Branch::candidates(&keys, message, &via, source).peekable();
        let Some(first) = branches.peek().copied() else { return Verdict::Drop };
        let known = branches.find_map(|it| Some((it, self.hops.find(it, arrival.now.instant)?)));
        let unknown = || self.unknown.take(arrival.now.instant).then(choose).flatten();
        let Some((branch, to)) = known.or_else(|| Some((first, unknown()?))) else {
            return Verdict::Drop;
        };
        let from = Side::Outside;
        let onward = Onward {
            strict: &strict,
            branch,
            to,
            from,
            routes_removed,
            routes: &[],
            path: None,
            inside: None,
        };
        self.write(&keys, &onward, arrival, around, out);
        Verdict::Send(to)
    }
}
