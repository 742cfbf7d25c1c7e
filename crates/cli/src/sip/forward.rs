//! Forwarding: connects the rules of the proxy with the records, the names of the listeners and the next
//! hops.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sip_authz::message::{Header, Message, StartLine};
use sip_authz::model::{Forward, OnAccept, Target};
use sip_authz::uri::{Scheme, SipUri};
use sip_authz::{Accept, AccountSid, Snapshot, TargetView, Transport};
use sip_authz_proxy::{
    Admitted, Arrival, Flaw, Keys, Leg, NotRelayed, Now, Proxy, Refusal, Settings, Surroundings,
    Verdict, Way,
};

use crate::hops::Hops;
use crate::observe::cause::Cause;
use crate::sip::challenges::{OwnRealmWarnings, challenged_realm};
use crate::sip::naming::Naming;
use crate::sip::outlets::Connections;
use crate::sip::peer::{Local, Peer};
use crate::sip::redirect::Answers;
use crate::sip::respond::{Echo, phrase};
use crate::sip::route::Routes;

/// The time after which a caller may try again when no next hop answers, in seconds.
const RETRY_AFTER: &str = "5";

/// Forwards messages.
pub(crate) struct Forwarding {
    proxy: Proxy,
    hops: Arc<Hops>,
    /// The local addresses for next hops and callers.
    routes: Mutex<Routes>,
    challenges: OwnRealmWarnings,
    /// The life of the token of a registration.
    flow_life: Duration,
    start: (Instant, u64),
}

/// A message that was not answered by this side.
pub(crate) struct Passed {
    pub(crate) cause: Cause,
    /// The leg that the appended bytes are for; none if nothing was appended, or an answer.
    pub(crate) send: Option<Leg>,
}

impl Forwarding {
    pub(crate) fn new(keys: Keys, settings: Settings, hops: Arc<Hops>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        let flow_life = Duration::from_secs(settings.flow_life.into());
        let proxy = Proxy::new(keys, settings, now);
        let (routes, challenges) = (Mutex::default(), OwnRealmWarnings::default());
        Self { proxy, hops, routes, challenges, flow_life, start: (now, since.as_secs()) }
    }

    /// Replaces the keys of the tokens.
    pub(crate) fn set_keys(&self, keys: Keys) {
        self.proxy.set_keys(keys);
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(crate) fn hops(&self) -> &Hops {
        &self.hops
    }

    /// The life of the token of a registration.
    pub(crate) fn flow_life(&self) -> Duration {
        self.flow_life
    }

    fn now(&self, instant: Instant) -> Now {
        let (start, seconds) = self.start;
        let since = instant.saturating_duration_since(start).as_secs();
        // until 2106
        Now { instant, seconds: u32::try_from(seconds + since).unwrap_or(u32::MAX) }
    }
}

/// The parts of the edge that forward a message, for one snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Forwarder<'e> {
    pub(crate) forwarding: &'e Forwarding,
    pub(crate) naming: &'e Naming,
    pub(crate) connections: &'e Connections,
    pub(crate) answers: &'e Answers,
    pub(crate) snapshot: &'e Snapshot,
}

impl Forwarder<'_> {
    /// Relays a response.
    pub(crate) fn response(&self, message: &Message<'_>, peer: Peer, out: &mut Vec<u8>) -> Passed {
        let relayed = self.forwarding.proxy.relay(message, &peer.leg(), self, out);
        let (cause, send) = match relayed {
            Ok(leg) => {
                let is_ours = self.warn_of_own_realm(message, peer);
                (if is_ours { Cause::OwnRealm } else { Cause::Relayed }, Some(leg))
            }
            Err(NotRelayed::Flaw) => (Cause::MalformedResponse, None),
            Err(NotRelayed::Elsewhere) => (Cause::ResponseFromElsewhere, None),
            Err(_) => (Cause::Response, None),
        };
        Passed { cause, send }
    }

    /// Forwards an ACK or a CANCEL. Neither is ever answered here (RFC 3261 §16.10, §17.1.1.3).
    pub(crate) fn ack_or_cancel(
        &self,
        message: &Message<'_>,
        arrival: &Arrival,
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Passed {
        let proxy = &self.forwarding.proxy;
        let (mut verdict, mut cause) =
            (proxy.within_dialog(message, arrival, self, out), Cause::Dialog);
        if verdict == Verdict::Decide {
            cause = Cause::ToPhone;
            verdict = proxy.to_phone(message, arrival, self, out);
        }
        // the next hops send no INVITE that an ACK or CANCEL of theirs could follow
        if verdict == Verdict::Decide && !self.is_inside(&arrival.from) {
            cause = Cause::Followed;
            let choose = || self.choose(self.forward_of(message, peer.local)?, message, peer);
            verdict = proxy.follow(message, arrival, choose, self, out);
        }
        let is_ack = matches!(message.start_line(), StartLine::Request { method: "ACK", .. });
        match verdict {
            Verdict::Send(leg) => Passed { cause, send: Some(leg) },
            _ => Passed { cause: if is_ack { Cause::Ack } else { Cause::Cancel }, send: None },
        }
    }

    /// Forwards a request of a recorded dialog, or answers it. None if it is decided like a new one.
    pub(crate) fn within_dialog(
        &self,
        echo: &Echo<'_>,
        arrival: &Arrival,
        out: &mut Vec<u8>,
    ) -> Option<Passed> {
        match self.forwarding.proxy.within_dialog(echo.message(), arrival, self, out) {
            Verdict::Send(leg) => Some(Passed { cause: Cause::Dialog, send: Some(leg) }),
            Verdict::Refuse(refusal) => {
                Some(Passed { cause: refuse(echo, &refusal, out), send: None })
            }
            Verdict::Drop | Verdict::Decide => None,
        }
    }

    /// Forwards a request of a next hop to the registered phone whose token it has, or answers it. None
    /// if it has no such token.
    pub(crate) fn pass_to_phone(
        &self,
        echo: &Echo<'_>,
        arrival: &Arrival,
        out: &mut Vec<u8>,
    ) -> Option<Passed> {
        match self.forwarding.proxy.to_phone(echo.message(), arrival, self, out) {
            Verdict::Send(leg) => Some(Passed { cause: Cause::ToPhone, send: Some(leg) }),
            Verdict::Refuse(refusal) => {
                Some(Passed { cause: refuse(echo, &refusal, out), send: None })
            }
            Verdict::Drop | Verdict::Decide => None,
        }
    }

    /// Whether a response is a challenge of a next hop in a realm of this edge. Warns of it.
    fn warn_of_own_realm(&self, message: &Message<'_>, peer: Peer) -> bool {
        let leg = match peer.transport {
            Transport::Udp => Leg::hop(peer.transport, peer.source),
            _ => peer.leg(),
        };
        let Some(realm) = challenged_realm(message, |realm| self.is_own_realm(realm)) else {
            return false;
        };
        let hops = &self.forwarding.hops;
        if !hops.is_hop(&leg) {
            return false;
        }
        self.forwarding.challenges.warn(&realm, || hops.name(&leg));
        true
    }

    /// Forwards an accepted request.
    ///
    /// # Errors
    ///
    /// The cause of an answer, which was appended.
    pub(crate) fn accepted(
        &self,
        echo: &Echo<'_>,
        forward: &Forward,
        accept: &Accept,
        arrival: &Arrival,
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Result<Leg, Cause> {
        let message = echo.message();
        let user = accept.credential.as_ref().map(|credential| credential.username.as_str());
        let mut permits = String::new();
        for permission in accept.permissions.iter() {
            permits.push_str(if permits.is_empty() { "" } else { "," });
            permits.push_str(permission);
        }
        let admitted = Admitted {
            account: accept.account,
            target: accept.target,
            user: user.unwrap_or_default(),
            permits: &permits,
        };
        let choose = || self.choose(forward, message, peer);
        let forwarded =
            self.forwarding.proxy.forward(message, arrival, &admitted, choose, self, out);
        forwarded.map_err(|refusal| refuse(echo, &refusal, out))
    }

    /// The way on which a request came, and the address for its answer.
    pub(crate) fn arrival(&self, peer: Peer, answers_to: SocketAddr, now: Instant) -> Arrival {
        Arrival { from: peer.leg(), answers_to, now: self.forwarding.now(now) }
    }

    /// The hops of the domain or trunk that a request names, if its calls are forwarded.
    pub(crate) fn forward_of(&self, message: &Message<'_>, local: Local) -> Option<&Forward> {
        let StartLine::Request { uri, .. } = message.start_line() else { return None };
        let named = SipUri::parse_request_uri(uri).ok();
        let named = named.and_then(|uri| self.snapshot.target_named(uri.host));
        let view = named.or_else(|| {
            let mut hosts = self.naming.domain_hosts(message, local);
            hosts.find_map(|host| self.snapshot.target_named(host))
        });
        self.forward_to(&view?)
    }

    /// The hops of a domain or trunk, if its calls are forwarded.
    fn forward_to<'v>(&'v self, view: &TargetView<'v>) -> Option<&'v Forward> {
        match self.answers.of(view) {
            Ok(OnAccept::Forward(forward)) => Some(forward),
            _ => None,
        }
    }

    fn choose(&self, forward: &Forward, message: &Message<'_>, peer: Peer) -> Option<Leg> {
        let StartLine::Request { uri, .. } = message.start_line() else { return None };
        let call_id = message.first(Header::CallId)?;
        // RFC 3261 §26.2.2: each hop of a sips URI is over TLS
        let only_tls = Scheme::of(uri) == Some(Scheme::Sips);
        let over_stream = peer.transport != Transport::Udp;
        self.forwarding.hops.choose(forward, over_stream, only_tls, call_id)
    }

    /// The listener of a leg.
    fn listener(&self, leg: &Leg) -> Option<Local> {
        match leg.way {
            Way::Listener(number) => self.naming.listener(usize::from(number)),
            Way::Connection(id) => self.connections.local(id),
            Way::Hop => self.naming.facing(leg),
        }
    }
}

impl Surroundings for Forwarder<'_> {
    fn own_address(&self, leg: &Leg) -> String {
        // without a listener, for example on a connection that has just ended: the first one
        let local = self.listener(leg).or_else(|| self.naming.listener(0));
        let Some(local) = local else { return "edge.invalid".to_owned() };
        let peer = Peer { source: leg.address, local, transport: leg.transport };
        // the table of routes is whole in any case
        let mut routes = self.forwarding.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.naming.own_address(peer, &mut routes).to_string()
    }

    fn names_us(&self, uri: &SipUri<'_>) -> bool {
        self.naming.names_us(uri) || self.snapshot.target_named(uri.host).is_some()
    }

    fn is_own_realm(&self, realm: &str) -> bool {
        self.snapshot.is_own_realm(realm)
    }

    fn is_open(&self, account: AccountSid) -> bool {
        self.snapshot.is_active(account)
    }

    fn name(&self, target: Target) -> String {
        let name = self.snapshot.target_view(target).and_then(|view| view.name);
        name.map_or_else(|| target.to_string(), ToString::to_string)
    }

    fn is_inside(&self, leg: &Leg) -> bool {
        match leg.way {
            Way::Listener(number) => self.naming.is_inside(usize::from(number)),
            Way::Connection(id) => {
                let local = self.connections.local(id);
                local.is_some_and(|local| self.naming.is_inside(local.listener))
            }
            // on a connection that this side opened
            Way::Hop => true,
        }
    }

    fn is_alive(&self, leg: &Leg) -> bool {
        match leg.way {
            Way::Listener(number) => self.naming.has_udp_for_callers(usize::from(number)),
            Way::Connection(id) => self.connections.local(id).is_some(),
            Way::Hop => false,
        }
    }

    fn hop_behind(&self, leg: &Leg, target: Target) -> Option<Leg> {
        let forward = self.forward_to(&self.snapshot.target_view(target)?)?;
        self.forwarding.hops.behind(forward, leg)
    }
}

/// Answers a request that is not forwarded.
fn refuse(echo: &Echo<'_>, refusal: &Refusal, out: &mut Vec<u8>) -> Cause {
    let (status, text) = refusal.status();
    match refusal {
        Refusal::Flaw(flaw) => {
            echo.respond(status, &phrase(text, flaw), out).end();
        }
        Refusal::Extension => {
            let mut response = echo.respond(status, text, out);
            let fields = echo.message().fields();
            for field in fields.filter(|field| field.header == Header::ProxyRequire) {
                response = response.echo("Unsupported", field.value);
            }
            response.end();
        }
        Refusal::NoHop => {
            echo.respond(status, text, out).text("Retry-After", RETRY_AFTER).end();
        }
        _ => echo.respond(status, text, out).end(),
    }
    match refusal {
        Refusal::Flaw(Flaw::Maddr) => Cause::Maddr,
        Refusal::Flaw(_) => Cause::NotForwardable,
        Refusal::Route => Cause::Route,
        Refusal::Loop => Cause::Loop,
        Refusal::TooManyHops => Cause::TooManyHops,
        Refusal::Extension => Cause::Extension,
        Refusal::NoHop => Cause::NoHop,
        Refusal::Expired => Cause::DialogExpired,
        Refusal::Closed => Cause::DialogClosed,
        Refusal::Elsewhere => Cause::DialogElsewhere,
        Refusal::NotInside => Cause::FlowFromOutside,
        Refusal::NotForPhones => Cause::NotForPhones,
        Refusal::FlowGone => Cause::FlowGone,
        Refusal::NotSecure => Cause::SipsWithoutTls,
        _ => Cause::TokenTooLong,
    }
}
