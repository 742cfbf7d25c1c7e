//! A proxy with two tenants, their next hops, and phones, without sockets; and a plain ledger of the legs
//! that each message can go to.
//!
//! The program is reduced to the needs of the rules: a request that the proxy wants decided is accepted if
//! it names a domain, has an allowed method, and does not come from [`STRANGER`].

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dialogs::{Dialogs, Named, check_identity};
use registrations::Flow;
use sip_authz::message::{Header, Message, StartLine};
use sip_authz::model::Target;
use sip_authz::uri::SipUri;
use sip_authz::{AccountSid, DomainSid, Transport};
use sip_authz_proxy::via::ViaParts;
use sip_authz_proxy::{
    Admitted, Arrival, Candidate, Keys, Leg, NotRelayed, Now, Proxy, Refusal, Settings, Strict,
    Surroundings, Verdict, Way, choose,
};

mod dialogs;
mod peers;
mod registrations;

pub use peers::{Call, Peer, answer};
pub use registrations::{Inward, inner_connection, inner_datagram, spelled, to_hop};

/// The host and port of the edge for phones.
pub const EDGE: &str = "edge.example:5060";
/// The host and port of the edge for next hops.
pub const INNER: &str = "10.0.0.1:5060";
/// The address of a stranger: none of its requests is accepted.
pub const STRANGER: &str = "203.0.113.66";
/// The first id of connections that hops opened to the listener for hops.
const FIRST_INNER: u64 = 100;
/// The first second of a world.
pub const START: u32 = 1_800_000_000;

/// A tenant: its domain, account, and hops.
pub struct Tenant {
    pub host: &'static str,
    pub number: u8,
    pub hops: &'static [(Transport, &'static str)],
}

pub const TENANTS: [Tenant; 3] = [
    Tenant {
        host: "a.example",
        number: 1,
        hops: &[(Transport::Udp, "10.0.0.10:5060"), (Transport::Udp, "10.0.0.11:5060")],
    },
    Tenant { host: "b.example", number: 2, hops: &[(Transport::Tcp, "10.0.0.20:5060")] },
    Tenant { host: "c.example", number: 3, hops: &[(Transport::Tls, "10.0.0.30:5061")] },
];

impl Tenant {
    /// The tenant whose domain a URI names.
    pub fn of(uri: &str) -> Option<&'static Self> {
        let uri = SipUri::parse_request_uri(uri).ok()?;
        TENANTS.iter().find(|tenant| uri.host.eq_ignore_ascii_case(tenant.host))
    }

    pub fn account(&self) -> AccountSid {
        AccountSid::from_bytes([self.number; 16])
    }

    pub fn target(&self) -> Target {
        Target::Domain(DomainSid::from_bytes([self.number; 16]))
    }

    pub fn legs(&self) -> impl Iterator<Item = Leg> {
        self.hops.iter().map(|(transport, address)| Leg::hop(*transport, address.parse().unwrap()))
    }

    fn choose(&self, call_id: &[u8]) -> Option<Leg> {
        let candidate =
            |id: &'static str| Candidate { id: id.as_bytes(), priority: 0, weight: 1, is_up: true };
        choose(call_id, self.hops.iter().map(|(_, id)| candidate(id)).zip(self.legs()))
    }
}

/// The leg of a datagram from this address.
pub fn datagram(address: &str) -> Leg {
    let address = address.parse().unwrap();
    Leg { transport: Transport::Udp, address, way: Way::Listener(0) }
}

/// The leg of a connection that the peer opened.
pub fn connection(transport: Transport, address: &str, id: u64) -> Leg {
    Leg { transport, address: address.parse().unwrap(), way: Way::Connection(id) }
}

/// The leg on which the peer of a leg answers.
pub fn answering(to: Leg) -> Leg {
    match (to.transport, to.way) {
        (Transport::Udp, Way::Hop) => Leg { way: Way::Listener(0), ..to },
        _ => to,
    }
}

/// Whether a leg is that of a hop, or came at the listener for hops.
fn is_inner(leg: &Leg) -> bool {
    match leg.way {
        Way::Listener(number) => number == 1,
        Way::Connection(id) => id >= FIRST_INNER,
        Way::Hop => true,
    }
}

/// The answers to the questions of the proxy.
#[derive(Default)]
struct Site {
    closed: HashSet<AccountSid>,
    /// The connections that have ended.
    gone: HashSet<u64>,
}

impl Surroundings for Site {
    fn own_address(&self, leg: &Leg) -> String {
        if is_inner(leg) { INNER.to_owned() } else { EDGE.to_owned() }
    }

    fn names_us(&self, uri: &SipUri<'_>) -> bool {
        let hosts = ["edge.example", "10.0.0.1"].into_iter();
        let mut hosts = hosts.chain(TENANTS.iter().map(|tenant| tenant.host));
        hosts.any(|host| uri.host.eq_ignore_ascii_case(host))
    }

    fn is_own_realm(&self, realm: &str) -> bool {
        TENANTS.iter().any(|tenant| realm.eq_ignore_ascii_case(tenant.host))
    }

    fn is_open(&self, account: AccountSid) -> bool {
        !self.closed.contains(&account)
    }

    fn name(&self, target: Target) -> String {
        let tenant = TENANTS.iter().find(|tenant| tenant.target() == target);
        tenant.map_or_else(String::new, |tenant| tenant.host.to_owned())
    }

    fn is_inside(&self, leg: &Leg) -> bool {
        is_inner(leg)
    }

    fn is_alive(&self, leg: &Leg) -> bool {
        match leg.way {
            Way::Listener(number) => number == 0,
            Way::Connection(id) => !self.gone.contains(&id),
            Way::Hop => false,
        }
    }

    /// Here each tenant calls the phones of all.
    fn hop_behind(&self, leg: &Leg, _target: Target) -> Option<Leg> {
        let mut hops = TENANTS.iter().flat_map(Tenant::legs);
        hops.find(|hop| {
            hop.transport == leg.transport && hop.address.ip() == leg.address.ip().to_canonical()
        })
    }
}

/// The result for a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went to this leg, as these bytes.
    Sent(Leg, Vec<u8>),
    /// It is answered with this refusal.
    Refused(Refusal),
    /// It was decided like a new request, and not accepted.
    Rejected,
    /// It is a response that goes nowhere.
    NotRelayed(NotRelayed),
    /// It goes nowhere.
    Dropped,
    /// It is no SIP message.
    NotSip,
}

impl Outcome {
    /// The leg and the text of a message that was sent.
    #[track_caller]
    pub fn sent(self) -> (Leg, String) {
        match self {
            Self::Sent(leg, bytes) => (leg, String::from_utf8(bytes).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The text of a message that was sent to this leg.
    #[track_caller]
    pub fn sent_to(self, leg: Leg) -> String {
        let (to, text) = self.sent();
        assert_eq!(to, leg);
        text
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sent(..) => "sent",
            Self::Refused(_) => "refused",
            Self::Rejected => "rejected",
            Self::NotRelayed(_) => "not-relayed",
            Self::Dropped => "dropped",
            Self::NotSip => "not-sip",
        }
    }
}

/// The legs that messages can go to, noted from accepted requests.
#[derive(Default)]
struct Ledger {
    /// The dialogs that callers began.
    outward: Dialogs,
    /// The dialogs that hops began with phones.
    inward: Dialogs,
    /// The registrations by their tokens.
    flows: HashMap<String, Flow>,
    /// For each branch of ours: where its request came from, and where it went.
    branches: HashMap<Vec<u8>, HashSet<(Leg, Leg)>>,
}

/// A proxy and its surroundings.
pub struct World {
    pub proxy: Proxy,
    site: Site,
    ledger: Ledger,
    start: Instant,
    /// Seconds since 1970.
    pub seconds: u32,
    /// The methods that are accepted.
    pub methods: Vec<&'static str>,
    settings: Settings,
    key: u8,
    /// The port to which answers go, if it is not the source port.
    pub reply_port: Option<u16>,
    /// The user of accepted requests.
    pub user: String,
    /// Whether there are hops to choose from.
    pub has_hops: bool,
    /// The messages that came and went, if they are kept.
    pub messages: Option<Vec<Vec<u8>>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Settings { remembered: 1 << 10, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        let start = Instant::now();
        Self {
            proxy: Proxy::new(keys(1), settings.clone(), start),
            site: Site::default(),
            ledger: Ledger::default(),
            start,
            seconds: START,
            methods: vec!["INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "REFER", "REGISTER"],
            settings,
            key: 1,
            reply_port: None,
            user: "alice".to_owned(),
            has_hops: true,
            messages: None,
        }
    }

    /// Starts the proxy again, with the same keys and empty tables.
    pub fn restart(&mut self) {
        self.proxy = Proxy::new(keys(self.key), self.settings.clone(), self.now().instant);
    }

    /// Rotates the key.
    pub fn rotate(&mut self) {
        self.key = self.key.wrapping_add(1);
        self.proxy.set_keys(keys(self.key));
    }

    pub fn close(&mut self, account: AccountSid) {
        self.site.closed.insert(account);
    }

    pub fn open(&mut self, account: AccountSid) {
        self.site.closed.remove(&account);
    }

    pub fn now(&self) -> Now {
        let since = u64::from(self.seconds.saturating_sub(START));
        Now { instant: self.start + Duration::from_secs(since), seconds: self.seconds }
    }

    /// Gives the proxy a message that came on a leg. Panics if it sends the message on a leg that the
    /// ledger does not allow, or sends a message that is not well-formed.
    pub fn receive(&mut self, bytes: impl AsRef<[u8]>, from: Leg) -> Outcome {
        let outcome = self.judge(bytes.as_ref(), from);
        if let Some(messages) = &mut self.messages {
            messages.push(bytes.as_ref().to_vec());
            if let Outcome::Sent(_, sent) = &outcome {
                messages.push(sent.clone());
            }
        }
        outcome
    }

    fn judge(&mut self, bytes: &[u8], from: Leg) -> Outcome {
        let Some(message) = Message::scan(bytes) else { return Outcome::NotSip };
        let mut out = Vec::new();
        let StartLine::Request { method, uri } = message.start_line() else {
            return match self.proxy.relay(&message, &from, &self.site, &mut out) {
                Ok(leg) => {
                    self.check_response(&message, from, leg, &out);
                    Outcome::Sent(leg, out)
                }
                Err(why) => {
                    assert!(out.is_empty());
                    Outcome::NotRelayed(why)
                }
            };
        };
        let mut answers_to = from.address;
        answers_to.set_port(self.reply_port.unwrap_or(answers_to.port()));
        let arrival = Arrival { from, answers_to, now: self.now() };
        let tenant = Tenant::of(uri);
        let call_id = message.first(Header::CallId).unwrap_or_default();
        let is_bound = matches!(method, "ACK" | "CANCEL");
        let mut verdict = self.proxy.within_dialog(&message, &arrival, &self.site, &mut out);
        if let Verdict::Send(to) = verdict {
            let message = Message::scan(&out).unwrap();
            let strict = Strict::request(&message).expect("a forwarded request is well-formed");
            self.check_dialog(&strict, &arrival, to);
            self.note(&out, &arrival, to, None);
            return Outcome::Sent(to, out);
        }
        if verdict == Verdict::Decide {
            verdict = self.proxy.to_phone(&message, &arrival, &self.site, &mut out);
            if let Verdict::Send(to) = verdict {
                self.check_to_phone(&message, &arrival, to, &out);
                return Outcome::Sent(to, out);
            }
        }
        if is_inner(&from) && verdict == Verdict::Decide {
            // the program refuses what has no token
            return Outcome::Rejected;
        }
        if is_bound && verdict == Verdict::Decide {
            let choose = || tenant.filter(|_| self.has_hops)?.choose(call_id);
            verdict = self.proxy.follow(&message, &arrival, choose, &self.site, &mut out);
        }
        match verdict {
            Verdict::Send(to) => {
                self.check_followed(&arrival, to, &out);
                Outcome::Sent(to, out)
            }
            _ if !out.is_empty() => panic!("a message is not sent, but was written"),
            Verdict::Refuse(refusal) => {
                assert_ne!(method, "ACK", "an ACK is answered with {refusal:?}");
                Outcome::Refused(refusal)
            }
            Verdict::Drop => Outcome::Dropped,
            Verdict::Decide if is_bound => panic!("an ACK or CANCEL is decided"),
            Verdict::Decide => self.decide(&message, method, tenant, &arrival),
        }
    }

    fn decide(
        &mut self,
        message: &Message<'_>,
        method: &str,
        tenant: Option<&Tenant>,
        arrival: &Arrival,
    ) -> Outcome {
        let is_stranger = arrival.from.address.ip() == STRANGER.parse::<IpAddr>().unwrap();
        let Some(tenant) = tenant.filter(|_| !is_stranger && self.methods.contains(&method)) else {
            return Outcome::Rejected;
        };
        let account = tenant.account();
        if self.site.closed.contains(&account) {
            return Outcome::Rejected;
        }
        let user = self.user.clone();
        let admitted =
            Admitted { account, target: tenant.target(), user: &user, permits: "local,emergency" };
        let call_id = message.first(Header::CallId).unwrap_or_default();
        let choose = || self.has_hops.then(|| tenant.choose(call_id))?;
        let mut out = Vec::new();
        let sent = self.proxy.forward(message, arrival, &admitted, choose, &self.site, &mut out);
        match sent {
            Ok(hop) => {
                assert!(tenant.legs().any(|leg| leg == hop), "the hop of another tenant");
                self.note(&out, arrival, hop, Some(&account.to_string()));
                let account = account.to_string();
                self.check_path(&out, arrival.from, Some(&account));
                let named = Named { accounts: HashSet::from([account]), is_certain: true };
                check_identity(&out, hop, &named, Some(&user));
                Outcome::Sent(hop, out)
            }
            Err(refusal) => {
                assert!(out.is_empty());
                Outcome::Refused(refusal)
            }
        }
    }

    /// Notes where a request that was sent came from and went to.
    fn note(&mut self, out: &[u8], arrival: &Arrival, to: Leg, account: Option<&str>) {
        let message = Message::scan(out).unwrap();
        let strict = Strict::request(&message).expect("a forwarded request is well-formed");
        let branch = strict.top_via().only_value(b"branch").unwrap().to_vec();
        let back = Leg { address: arrival.answers_to, ..arrival.from };
        self.ledger.branches.entry(branch).or_default().insert((back, to));
        let tag = strict.from_tag().unwrap_or_default().to_vec();
        if let Some(account) = account {
            let dialog = self.ledger.outward.entry((strict.call_id().to_vec(), tag)).or_default();
            dialog.add(arrival.from, account, to);
        }
    }

    fn check_followed(&mut self, arrival: &Arrival, to: Leg, out: &[u8]) {
        let mut hops = TENANTS.iter().flat_map(Tenant::legs);
        assert!(hops.any(|hop| hop == to), "{to:?} is no hop");
        assert_eq!(identity_fields(out), [""; 0]);
        self.check_path(out, arrival.from, None);
        self.note(out, arrival, to, None);
    }

    fn check_response(&self, message: &Message<'_>, from: Leg, to: Leg, out: &[u8]) {
        let top = ViaParts::read(message.vias().next().unwrap()).unwrap();
        let branch = top.only_value(b"branch").unwrap();
        let ways = self.ledger.branches.get(branch).expect("the branch is ours");
        // a hop answers a datagram at either listener
        let answers = |sent: Leg| match (sent.transport, sent.way) {
            (Transport::Udp, Way::Hop) => {
                [answering(sent), inner_datagram(&sent.address.to_string())].contains(&from)
            }
            _ => sent == from,
        };
        let is_noted = ways.iter().any(|(back, sent)| *back == to && answers(*sent));
        assert!(is_noted, "{from:?} does not answer {to:?}");
        assert_eq!(identity_fields(out), [""; 0]);
        let relayed = Message::scan(out).unwrap();
        let strict = Strict::response(&relayed).expect("a relayed response is well-formed");
        let before = Strict::response(message).unwrap();
        assert_eq!(strict.via_count() + 1, before.via_count());
    }
}

/// The names of the identity fields in a message, in any spelling.
pub fn identity_fields(bytes: &[u8]) -> Vec<String> {
    let message = Message::scan(bytes).unwrap();
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase().replace('_', "-");
    let names = message.fields().map(|field| name(field.name));
    names.filter(|name| name.starts_with("x-authz-")).collect()
}

fn keys(number: u8) -> Keys {
    let before = number.wrapping_sub(1);
    Keys::new((number, &[number; 32]), Some((before, &[before; 32]))).unwrap()
}

/// The values of all fields with this name, one for each field.
pub fn values(bytes: impl AsRef<[u8]>, name: &str) -> Vec<String> {
    let Some(message) = Message::scan(bytes.as_ref()) else { return Vec::new() };
    let fields = message.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    fields.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect()
}
