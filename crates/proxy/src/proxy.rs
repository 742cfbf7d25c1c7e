//! The rules of the proxy: the destination of each message, by tokens and tables.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use sip_authz::message::{Field, Header, Message, StartLine};
use sip_authz::model::Target;
use sip_authz::uri::{Scheme, SipUri};
use sip_authz::{AccountSid, Transport};

mod dialog;
mod follow;
mod phone;
mod registration;

use crate::bucket::Bucket;
use crate::credentials::named_realms;
use crate::identity::{IdentityFields, put_asserted_identity, put_identity};
use crate::recent::{Recent, Renewed};
use crate::request::ForwardedRequest;
use crate::response::ForwardedResponse;
use crate::route_token::{Bound, InsideToken, OutsideToken, Side};
use crate::strict::{Flaw, Strict};
use crate::transaction::{Branch, LoopMark, is_own_tag, loops, to_tag};
use crate::verdict::{NotRelayed, Refusal, Verdict};
use crate::via::ViaParts;
use crate::via_token::{own_via, read_own_via};
use crate::{Keys, Leg, Way};
use registration::{path, supports_path};

/// The facts that the proxy asks of its program.
pub trait Surroundings {
    /// Host and port under which the peer of `leg` reaches this side.
    fn own_address(&self, leg: &Leg) -> String;

    /// Whether a URI of a Route names this side.
    fn names_us(&self, uri: &SipUri<'_>) -> bool;

    /// Whether this side challenges in this realm.
    fn is_own_realm(&self, realm: &str) -> bool;

    /// Whether an account exists and is active.
    fn is_open(&self, account: AccountSid) -> bool;

    /// The name of a domain or trunk, or its SID if it has none.
    fn name(&self, target: Target) -> String;

    /// Whether a leg is on the side of the next hops: only they can send on its socket or connection.
    ///
    /// Requests from there go to registered phones without a decision.
    fn is_inside(&self, leg: &Leg) -> bool;

    /// Whether messages can go to a phone on this leg: its listener exists, or its connection is still
    /// open. False for a leg to a next hop.
    fn is_alive(&self, leg: &Leg) -> bool;

    /// The next hop of a domain that sent a message on a connection of its own: one with the transport and
    /// IP address of `leg`. Requests of a phone go there, also after the connection has ended; without it
    /// they can only go on that connection.
    ///
    /// The PBXs of two domains can share an address, so a hop of another domain is none.
    fn hop_behind(&self, leg: &Leg, target: Target) -> Option<Leg> {
        let _ = (leg, target);
        None
    }
}

/// A time, as a monotonic and as a calendar time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic time.
    pub instant: Instant,
    /// Seconds since 1970.
    pub seconds: u32,
}

/// The way on which a request came, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The source.
    pub from: Leg,
    /// The address for responses; over UDP perhaps another port of the source.
    pub answers_to: SocketAddr,
    /// The time at which it came.
    pub now: Now,
}

impl Arrival {
    /// The leg for responses.
    fn back(&self) -> Leg {
        Leg { address: self.answers_to, ..self.from }
    }
}

/// An accepted request that starts something.
#[derive(Clone, Copy)]
pub struct Admitted<'a> {
    /// The account that owns the domain or trunk.
    pub account: AccountSid,
    /// The domain or trunk that the request names.
    pub target: Target,
    /// The user of the verified credential; empty without one.
    pub user: &'a str,
    /// The permissions of the caller, separated by commas.
    pub permits: &'a str,
}

/// The settings of a [`Proxy`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The fields that name account, domain, user and permissions towards the next hop.
    pub identity: IdentityFields,
    /// The life of a dialog after its first request or its last INVITE, UPDATE or SUBSCRIBE, in seconds.
    pub life: u32,
    /// The life of the token that a REGISTER carries to the registrar, in seconds. A phone renews it by
    /// its next REGISTER.
    pub flow_life: u32,
    /// The number of forwarded INVITEs whose next hop is remembered.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            identity: IdentityFields::default(),
            life: 12 * 3600,
            flow_life: 24 * 3600,
            remembered: 1 << 17,
        }
    }
}

/// CANCELs and ACKs a second whose INVITE is not remembered, and the burst.
const UNKNOWN_RATE: u32 = 100;

/// A stateless proxy (RFC 3261 §16.11).
pub struct Proxy {
    keys: ArcSwap<Keys>,
    settings: Settings,
    hops: Recent,
    renewed: Renewed,
    unknown: Bucket,
}

impl Proxy {
    /// A proxy with these keys.
    #[must_use]
    pub fn new(keys: Keys, settings: Settings, now: Instant) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            hops: Recent::new(settings.remembered),
            renewed: Renewed::new(settings.remembered),
            unknown: Bucket::new(UNKNOWN_RATE, now),
            settings,
        }
    }

    /// Replaces the keys.
    pub fn set_keys(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// The To tag for our own answer to a request: 32 hexadecimal digits.
    ///
    /// None if From, CSeq, Call-ID or the topmost Via cannot be read.
    ///
    /// It depends on the keys alone: after a restart, and on each machine of a fleet,
    /// [`is_own_tag`](Self::is_own_tag) knows the ACK of a failure by it.
    #[must_use]
    pub fn to_tag(&self, message: &Message<'_>, source: IpAddr) -> Option<impl Display + use<>> {
        let via = ViaParts::read(message.first(Header::Via)?)?;
        to_tag(&self.keys.load(), message, &via, source)
    }

    /// Whether the To tag of an ACK is one that this side gave: it confirms our own answer, and goes
    /// nowhere.
    #[must_use]
    pub fn is_own_tag(&self, message: &Message<'_>, source: IpAddr) -> bool {
        let via = message.first(Header::Via).and_then(ViaParts::read);
        via.is_some_and(|via| is_own_tag(&self.keys.load(), message, &via, source))
    }

    /// Appends a response for the one who sent its request, and returns the leg to it (RFC 3261 §16.7).
    ///
    /// # Errors
    ///
    /// If it is not the response to a request that was forwarded to `from`; nothing is appended.
    pub fn relay(
        &self,
        message: &Message<'_>,
        from: &Leg,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Result<Leg, NotRelayed> {
        let strict = Strict::response(message).map_err(|_| {
            let via = message.first(Header::Via).and_then(ViaParts::read);
            let is_ours = via.is_some_and(|via| via.only_value(b"leg").is_some());
            if is_ours { NotRelayed::Flaw } else { NotRelayed::NotOurs }
        })?;
        let legs = read_own_via(&self.keys.load(), &strict.top_via());
        let (arrival, sent_to) = legs.ok_or(NotRelayed::NotOurs)?;
        if !is_peer(&sent_to, from) {
            return Err(NotRelayed::Elsewhere);
        }
        let response = ForwardedResponse {
            message: &strict,
            identity: &self.settings.identity,
            strip_asserted: !sent_to.is_hop() && !around.is_inside(&sent_to),
            to_stream: arrival.transport != Transport::Udp,
        };
        if response.write(out) { Ok(arrival) } else { Err(NotRelayed::NoVia) }
    }

    /// Forwards an accepted request that starts something to the hop that `choose` returns, or to the
    /// hop of the request that it retransmits (RFC 3261 §16.6).
    ///
    /// A REGISTER gets a Path with a token for [`to_phone`](Self::to_phone) (RFC 3327).
    pub fn forward(
        &self,
        message: &Message<'_>,
        arrival: &Arrival,
        admitted: &Admitted<'_>,
        choose: impl FnOnce() -> Option<Leg>,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Result<Leg, Refusal> {
        let keys = self.keys.load();
        let (keys, now) = (&**keys, arrival.now);
        let strict = Strict::request(message).map_err(Refusal::Flaw)?;
        check_head(keys, &strict, Side::Outside)?;
        let routes_removed = own_routes(&strict, around)?;
        let branch = self.branch(keys, &strict, arrival)?;
        let makes_dialog = makes_dialog(strict.method());
        let registers = strict.method() == "REGISTER";
        // a retransmission gets the same hop and tokens
        let has_tokens = makes_dialog || registers;
        let find = || self.hops.find_for(branch, admitted.target, now.instant);
        let known = has_tokens.then(find).flatten();
        let issued = self.issued(branch, now);
        let hop = known.or_else(choose).ok_or(Refusal::NoHop)?;
        let bound = Bound {
            call_id: strict.call_id(),
            initiator_tag: strict.from_tag().unwrap_or_default(),
        };
        let outside = OutsideToken {
            initiator: Side::Outside,
            issued,
            account: admitted.account,
            leg: arrival.from,
        };
        let inside = InsideToken {
            initiator: Side::Outside,
            issued,
            account: admitted.account,
            target: admitted.target,
            leg: hop,
            user: admitted.user,
            permits: admitted.permits,
        };
        let from = Side::Outside;
        let routes = if makes_dialog {
            record_routes(keys, from, &outside, &inside, bound, around).ok_or(Refusal::TooLong)?
        } else {
            Vec::new()
        };
        let path = if registers {
            let path = path(keys, &strict, issued, arrival, admitted, &hop, around);
            Some(path.ok_or(Refusal::TooLong)?)
        } else {
            None
        };
        let onward = Onward {
            strict: &strict,
            branch,
            to: hop,
            from,
            routes_removed,
            routes: &routes,
            path: path.as_deref(),
            inside: Some(&inside),
        };
        self.write(keys, &onward, arrival, around, out);
        if has_tokens {
            self.hops.remember(branch, admitted.target, hop, issued, now.instant);
        }
        Ok(hop)
    }

    /// The time for the tokens in a request, in seconds since 1970: a retransmission gets the same tokens
    /// as the first request.
    fn issued(&self, branch: Branch, now: Now) -> u32 {
        self.hops.issued(branch, now.instant).unwrap_or(now.seconds)
    }

    /// The branch of our Via. A transaction keeps it when the key changes.
    fn branch(
        &self,
        keys: &Keys,
        strict: &Strict<'_>,
        arrival: &Arrival,
    ) -> Result<Branch, Refusal> {
        let (via, source) = (strict.top_via(), arrival.from.address.ip());
        let mut branches = Branch::candidates(keys, strict.message(), &via, source);
        let current = branches.next().ok_or(Refusal::Flaw(Flaw::Malformed(Header::CSeq)))?;
        let knows = |branch: &Branch| self.hops.knows(*branch, arrival.now.instant);
        // rare: there is a previous key for a while only
        let previous = branches.find(|previous| knows(previous) && !knows(&current));
        Ok(previous.unwrap_or(current))
    }

    /// Writes a request for the next peer.
    fn write(
        &self,
        keys: &Keys,
        onward: &Onward<'_>,
        arrival: &Arrival,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) {
        let Onward { strict, branch, to, from, routes_removed, routes, path, inside } = *onward;
        let mark = LoopMark::of(keys, strict.message(), from == Side::Inside);
        let (sent_by, mut via) = (around.own_address(&to), Vec::with_capacity(256));
        // there is a key, and two legs are short
        let _ = own_via(keys, &sent_by, &branch, &mark, &arrival.back(), &to, &mut via);
        let names = &self.settings.identity;
        let mut values = ArrayVec::new();
        if let Some(inside) = inside.filter(|_| from == Side::Outside) {
            identify(names, inside, &around.name(inside.target), &mut values);
        }
        if let Some(path) = path {
            values.push(("Path", path.to_vec()));
            if !supports_path(strict.message()) {
                values.push(("Supported", b"path".to_vec()));
            }
        }
        let add: ArrayVec<(&str, &[u8]), MAX_ADDED> =
            values.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let record_routes: ArrayVec<&[u8], 2> = routes.iter().map(Vec::as_slice).collect();
        ForwardedRequest {
            message: strict,
            source: arrival.from.address,
            via: &via,
            record_routes: &record_routes,
            routes_removed,
            drop_credentials: &|field| is_for_us(field, around),
            identity: names,
            add: &add,
            strip_asserted: from == Side::Outside,
            to_stream: to.transport != Transport::Udp,
        }
        .write(out);
    }
}

/// The maximum number of fields that are added: five of identity, Path and Supported.
const MAX_ADDED: usize = 7;

/// The fields that name the caller towards the next hop.
fn identify<'s>(
    names: &'s IdentityFields,
    inside: &InsideToken<'_>,
    domain: &str,
    fields: &mut ArrayVec<(&'s str, Vec<u8>), MAX_ADDED>,
) {
    let account = inside.account.to_string();
    let texts = [
        (names.account(), account.as_str()),
        (names.domain(), domain),
        (names.user(), inside.user),
        (names.permits(), inside.permits),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let mut value = Vec::with_capacity(text.len());
        put_identity(text, &mut value);
        fields.push((name, value));
    }
    if names.is_asserted() && !inside.user.is_empty() {
        let mut value = Vec::new();
        put_asserted_identity(Some(inside.user), domain, &mut value);
        fields.push(("P-Asserted-Identity", value));
    }
}

/// A request on its way to the next peer.
struct Onward<'a> {
    strict: &'a Strict<'a>,
    branch: Branch,
    to: Leg,
    /// The side that it comes from.
    from: Side,
    /// The number of Route values that come off.
    routes_removed: usize,
    /// Our Record-Routes, the topmost first.
    routes: &'a [Vec<u8>],
    /// The value of our Path, for a REGISTER.
    path: Option<&'a [u8]>,
    /// The token of the next hop, with the caller; none if the caller is not known.
    inside: Option<&'a InsideToken<'a>>,
}

/// The room for a value of Record-Route that is not longer than usual, in bytes.
const USUAL_ROUTE: usize = 256;

/// The two values of Record-Route for a request from `from`; first that for the side that it goes to.
fn record_routes(
    keys: &Keys,
    from: Side,
    outside: &OutsideToken,
    inside: &InsideToken<'_>,
    bound: Bound<'_>,
    around: &dyn Surroundings,
) -> Option<Vec<Vec<u8>>> {
    let (mut towards_hop, mut towards_caller) = (route_start(), route_start());
    let sealed = inside.seal(keys, bound, &mut towards_hop)
        && outside.seal(keys, bound, &mut towards_caller);
    put_route_end(&inside.leg, &around.own_address(&inside.leg), &mut towards_hop);
    put_route_end(&outside.leg, &around.own_address(&outside.leg), &mut towards_caller);
    sealed.then(|| match from {
        Side::Outside => vec![towards_hop, towards_caller],
        Side::Inside => vec![towards_caller, towards_hop],
    })
}

fn route_start() -> Vec<u8> {
    let mut route = Vec::with_capacity(USUAL_ROUTE);
    route.extend_from_slice(b"<sip:");
    route
}

fn put_route_end(leg: &Leg, own_address: &str, out: &mut Vec<u8>) {
    put_uri_end(leg, own_address, out);
    out.push(b'>');
}

/// Appends the rest of our URI after the user.
fn put_uri_end(leg: &Leg, own_address: &str, out: &mut Vec<u8>) {
    out.push(b'@');
    out.extend_from_slice(own_address.as_bytes());
    out.extend_from_slice(b";transport=");
    out.extend_from_slice(leg.transport.as_str().as_bytes());
    out.extend_from_slice(b";lr");
}

/// The checks of RFC 3261 §16.3 that need no decision.
fn check_head(keys: &Keys, strict: &Strict<'_>, from: Side) -> Result<(), Refusal> {
    if strict.max_forwards() == Some(0) {
        return Err(Refusal::TooManyHops);
    }
    if loops(keys, strict.message(), from == Side::Inside) {
        return Err(Refusal::Loop);
    }
    // in ACK and CANCEL it has no effect (RFC 3261 §8.2.2.3)
    let may_require = !matches!(strict.method(), "ACK" | "CANCEL");
    if may_require && strict.message().first(Header::ProxyRequire).is_some() {
        return Err(Refusal::Extension);
    }
    Ok(())
}

/// Checks that a request with a `sips:` URI goes on over TLS (RFC 3261 §26.2.2). A request that ends a call
/// passes, or the call would go on.
fn check_secure(strict: &Strict<'_>, onward: &Leg) -> Result<(), Refusal> {
    let is_sips = Scheme::of(strict.request_uri()) == Some(Scheme::Sips);
    if is_sips && !onward.transport.is_secure() && !ends_call(strict.method()) {
        return Err(Refusal::NotSecure);
    }
    Ok(())
}

/// The verdict for a request that is not forwarded. An ACK is never answered (RFC 3261 §17.1.1.3).
fn refuse(message: &Message<'_>, refusal: Refusal) -> Verdict {
    match message.start_line() {
        StartLine::Request { method: "ACK", .. } => Verdict::Drop,
        _ => Verdict::Refuse(refusal),
    }
}

/// The number of Route values of a new request that come off: one if it names this side.
fn own_routes(strict: &Strict<'_>, around: &dyn Surroundings) -> Result<usize, Refusal> {
    let mut routes = strict.routes();
    let Some(first) = routes.next() else { return Ok(0) };
    let names_us = SipUri::parse(first.uri).is_ok_and(|uri| around.names_us(&uri));
    if names_us && routes.next().is_none() { Ok(1) } else { Err(Refusal::Route) }
}

/// Whether a request ends a call, or belongs to an INVITE that was forwarded. It passes where a new request
/// does not.
fn ends_call(method: &str) -> bool {
    matches!(method, "ACK" | "BYE" | "CANCEL")
}

/// Whether a request with this method can make a dialog (RFC 3261 §12.1, RFC 6665 §4.2.1, RFC 3515 §2.4.4).
fn makes_dialog(method: &str) -> bool {
    matches!(method, "INVITE" | "SUBSCRIBE" | "REFER")
}

/// Whether a field has credentials for a realm of this side.
fn is_for_us(field: &Field<'_>, around: &dyn Surroundings) -> bool {
    matches!(field.header, Header::Authorization | Header::ProxyAuthorization)
        && named_realms(field.value).any(|realm| around.is_own_realm(&realm))
}

/// Whether a message that came from `from` can be the answer to one that went to `to`.
fn is_peer(to: &Leg, from: &Leg) -> bool {
    let same_address = || {
        let (to, from) = (to.address, from.address);
        to.ip().to_canonical() == from.ip().to_canonical() && to.port() == from.port()
    };
    to.transport == from.transport
        && match (to.way, from.way) {
            (Way::Connection(to), Way::Connection(from)) => to == from,
            (Way::Hop, Way::Hop) => same_address(),
            // a datagram; the hop sends its answers to the listener
            (Way::Listener(_) | Way::Hop, Way::Listener(_)) => same_address(),
            _ => false,
        }
}
