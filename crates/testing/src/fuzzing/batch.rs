//! Compares batch and single decisions for INVITEs built from bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sha2::digest::Digest;

use super::FUZZ_REALM;
use super::world::fuzz_authorizer;
use sip_authz::Authorizer;
use sip_authz::Decision;
use sip_authz::message::Message;
use sip_authz::{Invite, Transport};

/// The maximum number of INVITEs in a batch.
pub const MAX_BATCH: usize = 40;
/// The number of bytes for one INVITE.
pub const INVITE_LEN: usize = 8;

pub const HOSTS: [&str; 8] =
    ["known", "known", "strict", "secret", "both", "addr", "none", "unknown"];
pub const USERS: [&str; 4] = ["alice", r"corp\bob", "carol", "nobody"];

/// Builds batches of up to 40 INVITEs from bytes. Decides each batch with
/// [`Authorizer::authorize_batch`], and singly with a second authorizer of the same seed. Panics unless
/// the decisions are equal and in the same order. Returns all decisions.
///
/// Eight bytes make one INVITE: source and target, user and password, which challenge it answers and
/// how, which copy of a transaction it is, a defect, and whether it ends its batch. Before each batch
/// time advances and new challenges are fetched. An INVITE can also answer challenges from earlier
/// batches. Remaining bytes are ignored.
pub fn fuzz_batch(bytes: &[u8]) -> Vec<Decision> {
    let ((one, start), (many, _)) = (fuzz_authorizer(), fuzz_authorizer());
    let (plans, _) = bytes.as_chunks::<INVITE_LEN>();
    let mut rest = plans;
    let (mut now, mut challenges, mut decided) = (start, Vec::new(), Vec::new());
    let mut decisions = Vec::new();
    while let Some([pause, ..]) = rest.first() {
        now += Duration::from_secs(u64::from(pause >> 5));
        let ends = |plan: &[u8; INVITE_LEN]| plan.last().is_some_and(|last| last & 0xe0 == 0xe0);
        let len = rest.iter().position(ends).map_or(rest.len(), |at| at + 1).min(MAX_BATCH);
        let (plans, after) = rest.split_at(len);
        rest = after;

        for (host, source) in [("known", 0), ("known", 1), ("strict", 0), ("secret", 1)] {
            let plain = datagram("INVITE", host, "fetch", 0, "");
            let ask = |authorizer: &Authorizer| {
                let invite = Invite::from_datagram(&plain, source_of(source), Transport::Udp);
                invite.ok().map(|invite| authorizer.authorize(&invite, now))
            };
            let decision = ask(&one);
            assert_eq!(decision, ask(&many), "before a batch");
            challenges.extend(decision.into_iter().flat_map(values));
        }

        let mut sent: Vec<(Vec<u8>, SocketAddr, Transport)> = Vec::new();
        for plan in plans {
            let copied = plan.last().is_some_and(|last| last & 0x18 == 0x18);
            let copy = sent.get(usize::from(plan[1]) % sent.len().max(1)).filter(|_| copied);
            let next = copy.cloned().unwrap_or_else(|| request(plan, &challenges));
            sent.push(next);
        }
        let invites: Vec<_> = sent
            .iter()
            .filter_map(|(bytes, source, transport)| {
                let message = Message::scan(bytes)?;
                let invite = Invite::from_request(&message, *source, *transport).ok()?;
                match transport {
                    Transport::Tcp => Some(invite.with_domain_host("known.example.com")),
                    _ => Some(invite),
                }
            })
            .collect();
        let singly: Vec<_> = invites.iter().map(|invite| one.authorize(invite, now)).collect();
        many.authorize_batch(&invites, now, &mut decisions);
        assert_eq!(decisions, singly, "batch and single decisions");
        // the newest first, up to a limit
        let fresh = singly.iter().cloned().flat_map(values);
        challenges = fresh.chain(challenges.iter().rev().cloned()).take(64).collect();
        decided.extend(singly);
    }
    assert_eq!(one.foreign_nonces(), many.foreign_nonces());
    assert_eq!(one.remembered_nonces(), many.remembered_nonces());
    decided
}

pub fn values(decision: Decision) -> Vec<String> {
    match decision {
        Decision::Challenge(challenge) => challenge.values,
        _ => Vec::new(),
    }
}

/// A source inside or outside the access list.
pub fn source_of(which: u8) -> SocketAddr {
    let addr = if which & 1 == 0 { [192, 0, 2, 1] } else { [198, 51, 100, 1] };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(addr)), 5060)
}

pub fn uri_of(host: &str) -> String {
    format!("sip:100@{host}.example.com")
}

/// The method of a request, and the method that its digest is made for. One domain admits MESSAGE, and
/// some take registrations.
pub fn methods_of(odd: u8) -> [&'static str; 2] {
    match odd {
        15 => ["OPTIONS", "OPTIONS"],
        16 => ["OPTIONS", "INVITE"],
        17 => ["MESSAGE", "MESSAGE"],
        19 => ["REGISTER", "REGISTER"],
        20 => ["REGISTER", "INVITE"],
        21 => ["INVITE", "REGISTER"],
        18 => ["INVITE", "MESSAGE"],
        _ => ["INVITE", "INVITE"],
    }
}

pub fn datagram(method: &str, host: &str, branch: &str, call: u8, credentials: &str) -> Vec<u8> {
    let uri = match host {
        "tel" => "tel:+14155550100".to_owned(),
        host => uri_of(host),
    };
    // a REGISTER of alice, who is one of the users
    let to = match method {
        "REGISTER" => format!("sip:alice@{host}.example.com"),
        _ => uri.clone(),
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: {call}\r\nCSeq: 1 {method}\r\n{credentials}Content-Length: 5\r\n\r\nv=0\r\n"
    )
    .into_bytes()
}

/// Builds the request for eight bytes.
pub fn request(plan: &[u8; INVITE_LEN], challenges: &[String]) -> (Vec<u8>, SocketAddr, Transport) {
    let [place, who, challenge, how, copy, odd, more, _] = *plan;
    let host = HOSTS.get(usize::from(place & 7)).copied().unwrap_or_default();
    let source = source_of(place >> 3);
    let transport = match place >> 4 & 1 {
        0 => Transport::Udp,
        _ => Transport::Tcp,
    };
    let host = if odd == 1 { "tel" } else { host };
    let answered = challenges.get(usize::from(challenge) % challenges.len().max(1));
    let answer = answered.map(|value| answer(value, host, who, how, odd, more)).unwrap_or_default();
    let name = if how & 0x80 == 0 { "Proxy-Authorization" } else { "Authorization" };
    let header = format!("{name}: {answer}\r\n");
    let credentials = match odd {
        2 => String::new(),
        3 => header.repeat(2),
        4 => format!("Authorization: Basic YWxpY2U6c2VjcmV0\r\n{header}"),
        5 => header.replace("alice", "bob") + &header,
        6 => header.repeat(17),
        7 => format!("Authorization: Digest {}\r\n", "x=".repeat(usize::from(more))),
        _ => header,
    };
    let branch = (copy & 3).to_string();
    (datagram(methods_of(odd)[0], host, &branch, copy >> 6, &credentials), source, transport)
}

/// The value of a parameter of a challenge.
pub fn param<'a>(challenge: &'a str, name: &str) -> &'a str {
    let parts = challenge.trim_start_matches("Digest ").split(", ");
    let mut values = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_default().trim_matches('"')
}

/// Credentials computed by independent crates.
pub fn answer(challenge: &str, host: &str, who: u8, how: u8, odd: u8, more: u8) -> String {
    let user = USERS.get(usize::from(who & 3)).copied().unwrap_or_default();
    let list = if matches!(host, "known" | "strict") { "known" } else { "hidden" };
    let password = if who & 0x1c == 0x1c { "guess".to_owned() } else { format!("the {list} one") };
    let (nonce, algorithm) = (param(challenge, "nonce"), param(challenge, "algorithm"));
    let nonce = if odd == 12 { "AAAAAAAAAAAAAAAAAAAAAA" } else { nonce };
    let hash = |text: &str| match algorithm {
        "SHA-256" | "SHA-256-sess" => hex::encode(sha2::Sha256::digest(text)),
        "SHA-512-256" | "SHA-512-256-sess" => hex::encode(sha2::Sha512_256::digest(text)),
        _ => hex::encode(md5::Md5::digest(text)),
    };
    let uri = uri_of(host);
    let cnonce = "0a4f113b".repeat(if odd == 8 { 30 } else { 1 + usize::from(more & 3) });
    let nc = format!("{:08x}", how & 3);
    let qop = match how >> 2 & 7 {
        0 => "",
        1 => "auth-int",
        _ => "auth",
    };
    let mut ha1 = hash(&format!("{user}:{FUZZ_REALM}:{password}"));
    if algorithm.ends_with("-sess") {
        ha1 = hash(&format!("{ha1}:{nonce}:{cnonce}"));
    }
    let [_, method] = methods_of(odd);
    let ha2 = match qop {
        "auth-int" => hash(&format!("{method}:{uri}:{}", hash("v=0\r\n"))),
        _ => hash(&format!("{method}:{uri}")),
    };
    let mut response = match qop {
        "" => hash(&format!("{ha1}:{nonce}:{ha2}")),
        qop => hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}")),
    };
    if odd == 9 {
        response.pop();
    }
    let (name, userhash) = match odd {
        10 => (hash(&format!("{user}:{FUZZ_REALM}")), ", userhash=true"),
        _ => (user.replace('\\', r"\\"), ""),
    };
    let realm = if odd == 11 { "elsewhere.example" } else { FUZZ_REALM };
    let mut value = format!(
        "Digest username=\"{name}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm={algorithm}{userhash}"
    );
    if !qop.is_empty() {
        value += &format!(", qop={qop}, cnonce=\"{cnonce}\"");
        if odd != 13 {
            value += &format!(", nc={nc}");
        }
    }
    if odd == 14 {
        value.truncate(usize::from(more));
    }
    value
}
