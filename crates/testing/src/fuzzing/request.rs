//! Parses bytes as a message and decides it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::world::{fuzz_authorizer, sids};
use sip_authz::Authorizer;
use sip_authz::digest::split;
use sip_authz::message::{Message, StartLine};
use sip_authz::uri::MAX_URI;
use sip_authz::{Cause, Decision, Invite, InviteError, Reason, Transport};

/// The sources of the requests: inside the access list over UDP, and outside it over TLS.
const WAYS: [(IpAddr, Transport); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Transport::Udp),
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), Transport::Tls),
];

/// Decides `bytes`, as a datagram and as a message over TLS, on a fixed snapshot, and checks the
/// invariants of every decision. Returns the decision over UDP if the bytes are a request that is
/// decided.
///
/// The state is the same for the same bytes: the authorizer is created each time, from a fixed seed.
pub fn fuzz_request(bytes: &[u8]) -> Option<Decision> {
    let [over_udp, _] = WAYS.map(|(ip, transport)| {
        let source = SocketAddr::new(ip, 5060);
        let invite = read(bytes, source, transport)?;
        check_domain_hosts(&invite);
        let (authorizer, now) = fuzz_authorizer();
        Some(check_decision(&authorizer, &invite, now))
    });
    over_udp
}

/// Reads a request of any method that is decided. One that is no INVITE is no INVITE for the readers of
/// INVITEs either.
fn read(bytes: &[u8], source: SocketAddr, transport: Transport) -> Option<Invite<'_>> {
    let message = Message::scan(bytes)?;
    let request = Invite::from_request(&message, source, transport);
    let invite = Invite::from_datagram(bytes, source, transport);
    let first_word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    match &request {
        Ok(request) => {
            assert_eq!(request.method().as_bytes(), first_word);
            assert_eq!(invite.is_ok(), first_word == b"INVITE", "{invite:?}");
        }
        Err(error) => {
            assert!(invite.is_err(), "{error}");
            let is_decided = *error != InviteError::NotDecided;
            let is_response = matches!(message.start_line(), StartLine::Response { .. });
            let never: [&[u8]; 2] = [b"ACK", b"CANCEL"];
            assert_eq!(is_decided, !is_response && !never.contains(&first_word));
        }
    }
    request.ok()
}

/// Hosts that decide in place of a Request-URI that names no domain. Only the second is one.
const DOMAIN_HOSTS: [&str; 2] = ["unknown.example.com", "Strict.Example.com."];

/// Decides an INVITE with hosts that decide in place of its Request-URI, and checks that they do so
/// exactly if the Request-URI names no domain.
fn check_domain_hosts(invite: &Invite<'_>) {
    let (authorizer, now) = fuzz_authorizer();
    let plain = authorizer.authorize(invite, now);
    let with =
        DOMAIN_HOSTS.iter().fold(invite.clone(), |invite, host| invite.with_domain_host(host));
    let (authorizer, now) = fuzz_authorizer();
    let decision = check_decision(&authorizer, &with, now);
    let may_replace = match &plain {
        Decision::Reject(reject) if reject.target.is_none() => match reject.reason {
            Reason::UnknownHost => true,
            Reason::UnsupportedScheme => {
                let is_hostless = names_no_host(invite.request_uri());
                assert_eq!(is_hostless, reject.cause == Cause::HostlessUri);
                is_hostless
            }
            _ => false,
        },
        _ => false,
    };
    if !may_replace {
        assert_eq!(decision.target(), plain.target(), "a domain host has no say");
        assert_eq!(decision.status(), plain.status(), "a domain host has no say");
        return;
    }
    assert_eq!(decision.target(), Some(sids::domain("strict").into()));
    // the policy requires the digest-uri of an accept to be equivalent to the Request-URI
    if let Decision::Accept(_) = &decision
        && plain.cause() == Some(Cause::HostlessUri)
    {
        let uri = format!("\"{}\"", invite.request_uri());
        let has_it = |value: &[u8]| value.windows(uri.len()).any(|part| part == uri.as_bytes());
        assert!(invite.credentials().iter().any(|(_, value)| has_it(value)), "another digest-uri");
    }
}

/// Whether this is a `tel:` URI or a service URN, by the letters of their grammars.
fn names_no_host(uri: &str) -> bool {
    let lower = uri.to_ascii_lowercase();
    if let Some(service) = lower.strip_prefix("urn:service:") {
        let is_label = |label: &str| {
            let (first, last) = (label.chars().next(), label.chars().last());
            first.is_some_and(|c| c.is_ascii_alphanumeric())
                && last.is_some_and(|c| c.is_ascii_alphanumeric())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        return uri.len() <= MAX_URI && service.split('.').all(is_label);
    }
    let Some(rest) = lower.strip_prefix("tel:") else { return false };
    let number: String = rest.chars().take_while(|c| *c != ';').collect();
    let params = rest.get(number.len()..).unwrap_or_default();
    let digits: String = number.chars().filter(|c| !"-.()".contains(*c)).collect();
    let is_number = match digits.strip_prefix('+') {
        Some(global) => {
            number.starts_with('+')
                && !global.is_empty()
                && global.chars().all(|c| c.is_ascii_digit())
        }
        None => {
            !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit() || "*#".contains(c))
        }
    };
    let is_param = |c: char| c.is_ascii_graphic() && !"<>\"\\@?#".contains(c);
    uri.len() <= MAX_URI && is_number && params.chars().all(is_param)
}

/// Checks an accepted REGISTER by the bytes of its To: the user and the domain are in it, and a
/// password was proved.
fn check_registration(invite: &Invite<'_>, accept: &sip_authz::Accept) {
    let to = String::from_utf8_lossy(invite.to().unwrap_or_default()).to_ascii_lowercase();
    let user = accept.credential.as_ref().map(|it| it.username.as_str()).unwrap_or_default();
    let host = match accept.target {
        target if target == sids::domain("known").into() => "known.example.com",
        _ => "strict.example.com",
    };
    // escapes hide letters
    let is_plain = !to.contains('%');
    assert!(!is_plain || to.contains(&format!(":{}@{host}", user.to_ascii_lowercase())), "{to}");
    assert!(to.contains('@') && to.contains(host), "accepted another domain: {to}");
}

/// Decides and checks one INVITE.
fn check_decision(authorizer: &Authorizer, invite: &Invite<'_>, now: Instant) -> Decision {
    let explained = authorizer.explain(invite, now).decision;
    let decision = authorizer.authorize(invite, now);
    match (&decision, &explained) {
        // an explanation updates no counters, so with several wrong credentials it may verify one
        // more
        _ if invite.credentials().iter().flat_map(|(_, value)| split(value)).count() > 1 => {}
        // only the nonce differs
        (Decision::Challenge(one), Decision::Challenge(two)) => {
            let facts = |it: &sip_authz::Challenge| {
                (it.target, it.kind, it.stale, it.values.len(), it.cause, it.claimed)
            };
            assert_eq!(facts(one), facts(two));
        }
        (one, two) => assert_eq!(one, two),
    }
    let Decision::Accept(accept) = &decision else {
        assert!(!authorizer.authorize(invite, now).is_accept(), "accepted twice");
        return decision;
    };
    let mut admitted = vec!["INVITE", "OPTIONS"];
    if accept.target == sids::domain("known").into() {
        admitted.push("MESSAGE");
    }
    match invite.method() {
        "REGISTER" => check_registration(invite, accept),
        method => assert!(admitted.contains(&method), "accepted {method}"),
    }
    assert!(!accept.repeat, "the first is not a retransmission");
    let Some(credential) = &accept.credential else {
        let open = [sids::domain("addr").into(), sids::trunk("trunk").into()];
        assert!(open.contains(&accept.target) && accept.address.is_some(), "{accept:?}");
        assert_eq!(invite.source().ip(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(authorizer.authorize(invite, now), decision);
        return decision;
    };
    // the seeds contain only the password of this list
    let known = [sids::domain("known").into(), sids::domain("strict").into()];
    assert!(known.contains(&accept.target), "accepted without a known password: {accept:?}");
    assert!(["alice", r"corp\bob"].contains(&credential.username.as_str()), "disabled");
    let mut copies = std::iter::repeat_with(|| authorizer.authorize(invite, now));
    if invite.transport().retransmits() {
        let mut repeat = accept.clone();
        repeat.repeat = true;
        assert_eq!(copies.next(), Some(Decision::Accept(repeat)));
    } else {
        // one request may contain several counts of one nonce, each valid once; at most eight are
        // judged
        let accepted = copies.take_while(Decision::is_accept).take(16).count();
        let sent = invite.credentials().iter().flat_map(|(_, value)| split(value)).count();
        assert!(accepted < sent.min(8), "replayed");
    }
    decision
}
