//! Phones that register, and the requests of hops that come to them by their flow tokens.

use sip_authz::Transport;
use sip_authz::message::{Header, Message};
use sip_authz_proxy::{Arrival, Leg, Strict, Surroundings as _, Way};

use super::{INNER, Peer, Site, TENANTS, World, answer, identity_fields, is_inner, values};

/// A registration in the ledger.
pub(super) struct Flow {
    leg: Leg,
    account: String,
}

/// The leg of a datagram at the listener for hops.
pub fn inner_datagram(address: &str) -> Leg {
    Leg { way: Way::Listener(1), ..super::datagram(address) }
}

/// The leg of a connection that a hop opened to the listener for hops.
pub fn inner_connection(transport: Transport, address: &str, id: u64) -> Leg {
    super::connection(transport, address, super::FIRST_INNER + id)
}

/// The leg for requests to a hop that sent a request on this leg: over a stream the connection that is
/// kept to it, if it is a hop of a tenant.
pub fn to_hop(from: Leg) -> Leg {
    match from.transport {
        Transport::Udp => Leg::hop(from.transport, from.address),
        _ => Site::default().hop_behind(&from, TENANTS[0].target()).unwrap_or(from),
    }
}

/// The values of all fields with this name, in any spelling that a server could take for it.
pub fn spelled(bytes: &[u8], name: &str) -> Vec<String> {
    let message = Message::scan(bytes).unwrap();
    let plain = |name: &[u8]| String::from_utf8_lossy(name).trim().to_lowercase().replace('_', "-");
    let fields = message.fields().filter(|field| plain(field.name) == name.to_lowercase());
    fields.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect()
}

/// A call that a hop made to a registered phone, and that was answered.
pub struct Inward {
    pub pbx: Peer,
    pub phone: Peer,
    /// The INVITE as the hop sent it.
    pub invite: String,
    /// The INVITE as the phone got it.
    pub forwarded: String,
    /// The 200 as the hop got it.
    pub answered: String,
}

impl Peer {
    /// A hop that sends requests to the phone of this Path.
    pub fn pbx(leg: Leg, path: &str, call_id: &str) -> Self {
        Self {
            leg,
            call_id: call_id.to_owned(),
            local: format!("<sip:100@pbx.example>;tag=pbx-{call_id}"),
            remote: "<sip:alice@a.example>".to_owned(),
            target: "sip:alice@192.168.1.7:5062;ob".to_owned(),
            routes: vec![path.to_owned()],
            cseq: 0,
        }
    }

    /// The next REGISTER of a phone at a domain, and with more fields.
    pub fn register(&mut self, host: &str, more: &str) -> String {
        self.target = format!("sip:{host}");
        self.remote = format!("<sip:alice@{host}>");
        self.request("REGISTER", more)
    }
}

impl World {
    /// Registers a phone. Returns its Path, as the registrar keeps it.
    #[track_caller]
    pub fn register(&mut self, leg: Leg, host: &str, call_id: &str) -> String {
        let mut phone = Peer::phone(leg, host, &format!("r{call_id}"));
        let (hop, got) = self.receive(phone.register(host, ""), leg).sent();
        let ok = answer(&got, 200, "registrar", hop.address);
        self.receive(ok, super::answering(hop)).sent_to(leg);
        values(&got, "Path").concat()
    }

    /// Sets a call to a registered phone up: INVITE, 180, 200 and ACK.
    #[track_caller]
    pub fn call_phone(&mut self, from: Leg, path: &str, phone: Leg, call_id: &str) -> Inward {
        let mut pbx = Peer::pbx(from, path, call_id);
        let invite = pbx.request("INVITE", "");
        let forwarded = self.receive(&invite, from).sent_to(phone);
        let tag = format!("phone-{call_id}");
        for status in [100, 180] {
            let ringing = answer(&forwarded, status, &tag, phone.address);
            self.receive(ringing, phone).sent_to(from);
        }
        let ok = answer(&forwarded, 200, &tag, phone.address);
        let answered = self.receive(ok, phone).sent_to(from);
        pbx.confirm(&answered);
        let phone = Peer::answerer(phone, &forwarded, &tag);
        let ack = pbx.request("ACK", "");
        self.receive(ack, from).sent_to(phone.leg);
        Inward { pbx, phone, invite, forwarded, answered }
    }

    /// Ends a connection. Its id is never used again.
    pub fn disconnect(&mut self, leg: Leg) {
        if let Way::Connection(id) = leg.way {
            self.site.gone.insert(id);
        }
    }

    /// Checks a request that was sent to a phone by a flow token, and notes its dialog.
    pub(super) fn check_to_phone(
        &mut self,
        message: &Message<'_>,
        arrival: &Arrival,
        to: Leg,
        out: &[u8],
    ) {
        assert!(is_inner(&arrival.from), "{:?} is outside", arrival.from);
        assert!(self.site.is_alive(&to), "{to:?} is gone");
        let strict = Strict::request(message).expect("a forwarded request was well-formed");
        // the token of the topmost Route that has a user, byte for byte one that was sent
        let tokens: Vec<_> = strict.routes().take(2).map(|route| token(route.uri)).collect();
        let flow = tokens.iter().find_map(|token| self.ledger.flows.get(*token));
        let flow = flow.expect("a token of a registration");
        assert_eq!(flow.leg, to, "the leg of another phone");
        assert_eq!(identity_fields(out), [""; 0]);
        assert!(!matches!(strict.method(), "REGISTER" | "PUBLISH"));
        let id = (strict.call_id().to_vec(), strict.from_tag().unwrap_or_default().to_vec());
        let account = flow.account.clone();
        let dialog = self.ledger.inward.entry(id).or_default();
        dialog.add(to, &account, to_hop(arrival.from));
        self.note(out, arrival, to, None);
    }

    /// Checks that a request to a hop has no Path but ours, and notes that of a REGISTER.
    pub(super) fn check_path(&mut self, out: &[u8], from: Leg, account: Option<&str>) {
        let paths = spelled(out, "Path");
        let message = Message::scan(out).unwrap();
        let is_register = message.first(Header::CSeq).unwrap().ends_with(b"REGISTER");
        let Some(account) = account.filter(|_| is_register) else {
            return assert_eq!(paths, [""; 0]);
        };
        let [path] = <[String; 1]>::try_from(paths).expect("one Path");
        assert!(path.contains(&format!("@{INNER};transport=")), "{path}");
        let options = [spelled(out, "Supported"), spelled(out, "k")].concat().join(",");
        let mut options = options.split(',').map(str::trim);
        assert!(options.any(|option| option.eq_ignore_ascii_case("path")));
        let flow = Flow { leg: from, account: account.to_owned() };
        self.ledger.flows.insert(token(&path).to_owned(), flow);
    }
}

/// The user of a URI.
fn token(uri: &str) -> &str {
    let after = uri.split_once(':').map_or(uri, |(_, after)| after);
    after.split('@').next().unwrap_or_default()
}
