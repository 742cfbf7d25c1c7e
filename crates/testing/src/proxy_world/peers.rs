//! The peers of the proxy: the messages of callers and hops.

use std::net::SocketAddr;

use sip_authz_proxy::Leg;

use super::{World, answering, values};

/// One side of a dialog: writes its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The leg on which its messages come.
    pub leg: Leg,
    pub call_id: String,
    /// The value of From.
    pub local: String,
    /// The value of To.
    pub remote: String,
    pub target: String,
    /// The values of Route.
    pub routes: Vec<String>,
    pub cseq: u32,
}

impl Peer {
    /// A phone that calls a user of a domain.
    pub fn phone(leg: Leg, host: &str, call_id: &str) -> Self {
        Self {
            leg,
            call_id: call_id.to_owned(),
            local: format!("<sip:alice@{host}>;tag=caller-{call_id}"),
            remote: format!("<sip:100@{host}>"),
            target: format!("sip:100@{host}"),
            routes: Vec::new(),
            cseq: 0,
        }
    }

    /// The next request with this method, and with more fields, each with its line end.
    pub fn request(&mut self, method: &str, more: &str) -> String {
        if !matches!(method, "ACK" | "CANCEL") {
            self.cseq += 1;
        }
        let branch = format!("z9hG4bK{}{}", self.local.len(), self.cseq);
        let branch = if method == "ACK" { branch + "a" } else { branch };
        self.request_with(method, more, &branch)
    }

    /// The ACK of a failure: it has the branch of its INVITE.
    pub fn ack_of_failure(&self, response: &str) -> String {
        let mut other = self.clone();
        other.remote = values(response, "To").concat();
        let branch = format!("z9hG4bK{}{}", self.local.len(), self.cseq);
        other.request_with("ACK", "", &branch)
    }

    fn request_with(&self, method: &str, more: &str, branch: &str) -> String {
        let Self { leg, call_id, local, remote, target, routes, cseq } = self;
        let address = leg.address;
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let transport = leg.transport.via_name();
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {address};branch={branch};rport\r\n\
             Max-Forwards: 70\r\n{routes}\
             From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:x@{address}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// Takes the dialog from a 2xx response to its own request.
    pub fn confirm(&mut self, response: &str) {
        self.remote = values(response, "To").concat();
        self.target = uri_of(&values(response, "Contact").concat());
        self.routes = values(response, "Record-Route");
        self.routes.reverse();
    }

    /// The side that got a request, and answered it with this tag.
    pub fn answerer(leg: Leg, request: &str, tag: &str) -> Self {
        Self {
            leg,
            call_id: values(request, "Call-ID").concat(),
            local: format!("{};tag={tag}", values(request, "To").concat()),
            remote: values(request, "From").concat(),
            target: uri_of(&values(request, "Contact").concat()),
            routes: values(request, "Record-Route"),
            cseq: 100,
        }
    }
}

fn uri_of(name_addr: &str) -> String {
    name_addr.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
}

/// The answer to a request, with a To tag if it has none and this is not 100.
pub fn answer(request: &str, status: u16, tag: &str, contact: SocketAddr) -> String {
    let mut text = format!("SIP/2.0 {status} Text\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for value in values(request, name) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    let to = values(request, "To").concat();
    let tag =
        if to.contains(";tag=") || status == 100 { String::new() } else { format!(";tag={tag}") };
    let (call_id, cseq) = (values(request, "Call-ID").concat(), values(request, "CSeq").concat());
    text + &format!(
        "To: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\nContact: <sip:pbx@{contact}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A call that was answered.
pub struct Call {
    pub caller: Peer,
    pub callee: Peer,
    /// The INVITE as the caller sent it.
    pub invite: String,
    /// The INVITE as the hop got it.
    pub forwarded: String,
    /// The 200 as the caller got it.
    pub answered: String,
    /// The leg to the hop.
    pub hop: Leg,
}

impl World {
    /// Sets a call up: INVITE, 180, 200 and ACK.
    #[track_caller]
    pub fn call(&mut self, leg: Leg, host: &str, call_id: &str) -> Call {
        let mut caller = Peer::phone(leg, host, call_id);
        let invite = caller.request("INVITE", "");
        let (hop, forwarded) = self.receive(&invite, leg).sent();
        let tag = format!("callee-{call_id}");
        for status in [100, 180] {
            let ringing = answer(&forwarded, status, &tag, hop.address);
            self.receive(ringing, answering(hop)).sent_to(leg);
        }
        let ok = answer(&forwarded, 200, &tag, hop.address);
        let answered = self.receive(ok, answering(hop)).sent_to(leg);
        caller.confirm(&answered);
        let callee = Peer::answerer(answering(hop), &forwarded, &tag);
        let ack = caller.request("ACK", "");
        self.receive(ack, leg).sent_to(hop);
        Call { caller, callee, invite, forwarded, answered, hop }
    }
}
