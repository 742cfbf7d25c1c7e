//! Bytes as a datagram, beside what rsip reads in them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Instant;

use ::rsip::Request;

use super::world::sids;
use sip_authz::Decision;
use sip_authz::IpAddressSid;
use sip_authz::Snapshot;
use sip_authz::internals::{MAX_CREDENTIALS, trim};
use sip_authz::message::Message;
use sip_authz::model::{Account, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::uri::SipUri;
use sip_authz::{Authorizer, Capacity};
use sip_authz::{CredentialsField, Invite, Transport};

/// Where all datagrams come from: inside the one access list.
pub const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// The domains, those of the torture messages among them. Each asks for the address alone.
pub const HOSTS: [&str; 12] = [
    "addr.example.com",
    "known.example.com",
    "trunk.example.com",
    "pbx.example.com",
    "example.com",
    "chair-dnrc.example.com",
    "company.com",
    "registrar.example.com",
    "h",
    "192.0.2.1",
    "[2001:db8::9]",
    "[2001:db8::10]",
];

/// Decides `bytes` by a snapshot that accepts every call to `HOSTS`, after it has compared what
/// [`Invite::from_datagram`] reads in them with what rsip 0.4 does. None if they are no INVITE.
///
/// Where both take them, they must find the same: the method, the Request-URI, every header field in
/// its place, From, To, Call-ID, `CSeq` and the topmost Via among them, the credentials in order, and
/// the body that Content-Length counts. A compact name is the long one, though rsip does not know it.
///
/// What rsip refuses must not be accepted, but for these, which rsip 0.4 cannot read and which are
/// well-formed, or harmless to a decision:
///
/// - a header field that is folded (RFC 3261 §7.3.1),
/// - white space before the colon of a header field (§25.1, HCOLON),
/// - `SIP` in the first line in another case (§7.1: it is case-insensitive),
/// - an IPv6 address as host (§25.1, IPv6reference): rsip takes its first colon for that of a port,
/// - a dot in the user or password (§25.1, unreserved): rsip looks for an `@` no further than that, so
///   what follows it, if there is a `:` or a `;`, is a port or a parameter to it,
/// - a URI parameter with a character that no token has (§25.1, paramchar),
/// - `transport` and `method` with a value that is new to rsip (§25.1, other-transport, extension-method),
/// - headers in the URI: the Request-URI has none, and where it has some they are ignored (§19.1.1),
/// - a header field that is not UTF-8. The grammar has no such; phones of old send Latin-1 in names
///   that are displayed. No decision is by such bytes: hosts and users are in the Request-URI, which
///   is ASCII, and credentials and From are refused by their own readers where they count.
///
/// One thing rsip takes is not compared: where the scheme is neither `sip` nor `sips`, it looks for
/// `://` beyond the first line. Nothing of that kind is accepted.
pub fn fuzz_from_datagram(bytes: &[u8]) -> Option<Decision> {
    let invite = Invite::from_datagram(bytes, SOURCE, Transport::Udp).ok()?;
    let message = Message::scan(bytes)?;
    let decision = decide(&invite);
    match Request::try_from(bytes) {
        Ok(request) if request.uri.to_string().contains([' ', '\r', '\n']) => {
            assert!(!decision.is_accept(), "a URI of more than a line is accepted");
        }
        Ok(request) => {
            compare(&message, &invite, &request);
            compare_facts(&invite, &request, &decision);
        }
        Err(error) => {
            let known = why_rsip_refuses(bytes, &message, invite.request_uri());
            assert!(!decision.is_accept() || known.is_some(), "rsip: {error}");
        }
    }
    Some(decision)
}

/// Decides with nothing remembered of former calls.
pub fn decide(invite: &Invite<'_>) -> Decision {
    static SNAPSHOT: OnceLock<(Snapshot, Instant)> = OnceLock::new();
    let (snapshot, now) = SNAPSHOT.get_or_init(|| (admitting(), Instant::now()));
    let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
    Authorizer::from_seed(snapshot.clone(), capacity, &[7; 32], *now).authorize(invite, *now)
}

pub fn admitting() -> Snapshot {
    let (account, list) = (sids::account("open"), sids::access_list("office"));
    let mut builder = Snapshot::builder()
        .account(Account::new(account))
        .ip_access_control_list(IpAccessControlList::new(list, account))
        .ip_address(IpAddress::new(IpAddressSid::from_name(&["source"]), list, SOURCE.ip().into()));
    for name in HOSTS {
        let Ok(host) = name.parse() else { continue };
        let domain = sids::domain(name);
        builder = builder
            .domain(Domain::new(domain, account, host))
            .mapping(Mapping::IpAccessControlList(domain.into(), list));
    }
    builder.build().unwrap_or_default()
}

/// The header fields that rsip has found, in order.
pub fn fields_of(request: &Request) -> Vec<(String, String)> {
    let parts = |text: String| {
        let (name, value) = text.split_once(':').unwrap_or_default();
        (name.to_owned(), text_of(value.as_bytes()))
    };
    request.headers.iter().map(|header| parts(header.to_string())).collect()
}

pub fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(trim(value)).into_owned()
}

/// All that is read of the message must be what rsip reads.
pub fn compare(message: &Message<'_>, invite: &Invite<'_>, request: &Request) {
    assert_eq!(request.method, ::rsip::Method::Invite);
    assert_same_uri(invite.request_uri(), &request.uri.to_string());

    let theirs = fields_of(request);
    let ours: Vec<_> = message.fields().collect();
    assert_eq!(ours.len(), theirs.len(), "how many header fields");
    for (ours, (name, value)) in ours.iter().zip(&theirs) {
        assert!(ours.name.eq_ignore_ascii_case(name.as_bytes()), "{ours:?}, rsip {name}");
        assert_eq!(text_of(ours.value), *value, "{name}");
    }

    let all = |long: &str, compact: &str| {
        let is_it = |name: &str| {
            name.eq_ignore_ascii_case(long)
                || (!compact.is_empty() && name.eq_ignore_ascii_case(compact))
        };
        theirs.iter().filter(|(name, _)| is_it(name)).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let transaction = invite.transaction().map(|it| {
        [("From", "f", it.from), ("To", "t", it.to), ("Call-ID", "i", it.call_id)]
            .into_iter()
            .chain([("CSeq", "", it.cseq), ("Via", "v", it.via)])
    });
    for (long, compact, value) in transaction.into_iter().flatten() {
        let theirs = all(long, compact);
        assert_eq!(theirs.first(), Some(&&text_of(value)), "{long}");
        assert!(theirs.len() == 1 || long == "Via", "{long} is there again");
    }

    let field = |name: &str| match () {
        () if name.eq_ignore_ascii_case("Authorization") => Some(CredentialsField::Authorization),
        () if name.eq_ignore_ascii_case("Proxy-Authorization") => {
            Some(CredentialsField::ProxyAuthorization)
        }
        () => None,
    };
    let credentials: Vec<_> = theirs
        .iter()
        .filter_map(|(name, value)| field(name).map(|field| (field, value.clone())))
        .collect();
    let kept = credentials.iter().take(MAX_CREDENTIALS).cloned().collect::<Vec<_>>();
    let ours = invite.credentials().iter().map(|(field, value)| (*field, text_of(value)));
    assert_eq!(ours.collect::<Vec<_>>(), kept);
    assert_eq!(invite.has_too_many_credentials(), credentials.len() > MAX_CREDENTIALS);

    let body = match all("Content-Length", "l")[..] {
        [] => Some(&request.body[..]),
        [length] => length.parse().ok().and_then(|length: usize| request.body.get(..length)),
        _ => None,
    };
    assert_eq!(Some(invite.body()), body, "the body");
}

/// What [`Invite::from_rsip`] makes of rsip's message must lead to the same decision.
pub fn compare_facts(invite: &Invite<'_>, request: &Request, ours: &Decision) {
    let facts = Invite::from_rsip(request, SOURCE, Transport::Udp);
    assert!(facts.is_ok(), "the scan takes it, and {:?}", facts.err());
    let Ok(facts) = facts else { return };
    // a port or parameter that is no such thing to the grammar, `:+5060` for one, may be put right by
    // rsip; nothing can tell from its message
    let put_right =
        SipUri::parse(invite.request_uri()).is_err() && SipUri::parse(facts.request_uri()).is_ok();
    assert!(decide(&facts) == *ours || (put_right && !ours.is_accept()), "{ours:?}");
    let credentials = |invite: &Invite<'_>| {
        let values = invite.credentials().iter();
        values.map(|(field, value)| (*field, text_of(value))).collect::<Vec<_>>()
    };
    assert_eq!(credentials(invite), credentials(&facts));
    assert_eq!(invite.has_too_many_credentials(), facts.has_too_many_credentials());
    let transaction = |invite: &Invite<'_>| {
        let it = invite.transaction()?;
        Some([it.from, it.to, it.call_id, it.cseq, it.via].map(text_of))
    };
    assert_eq!(transaction(invite), transaction(&facts));
    assert_eq!(invite.body(), facts.body());
}

/// Whether two texts are one URI. rsip keeps no text, so it is written anew, in its own form.
pub fn assert_same_uri(ours: &str, theirs: &str) {
    let same = match (SipUri::parse(ours), SipUri::parse(theirs)) {
        (Ok(uri), Ok(rsip)) => uri.equivalent(&rsip) || with_plain_number(ours) == theirs,
        // well-formed to us only after rsip has put it right, or not even then
        (Err(_), _) => true,
        (Ok(_), Err(_)) => false,
    };
    assert!(same, "`{ours}`, rsip `{theirs}`");
}

/// The URI as rsip writes it that takes the number behind the last colon for a port, in the headers of a
/// URI too: without its sign and its zeros.
pub fn with_plain_number(uri: &str) -> String {
    let number = uri.rsplit_once(':').and_then(|(before, number)| {
        number.parse::<u16>().ok().map(|number| format!("{before}:{number}"))
    });
    number.unwrap_or_else(|| uri.to_owned())
}

/// Which of the things that rsip 0.4 cannot read is in the message; see [`fuzz_from_datagram`].
pub fn why_rsip_refuses(bytes: &[u8], message: &Message<'_>, uri: &str) -> Option<&'static str> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = bytes.get(..head_len)?;
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let before_colon = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line.get(colon.checked_sub(1)?).map(is_space)
    };
    for line in lines {
        if line.first().is_some_and(is_space) {
            return Some("a fold");
        }
        if before_colon(line) == Some(true) {
            return Some("white space before a colon");
        }
    }
    if !trim(first).ends_with(b" SIP/2.0") {
        return Some("SIP in another case");
    }
    if message.fields().any(|field| str::from_utf8(field.value).is_err()) {
        return Some("a header field that is not UTF-8");
    }
    let uri = SipUri::parse(uri).ok()?;
    if uri.host.starts_with('[') {
        return Some("an IPv6 address");
    }
    if uri.user.into_iter().chain(uri.password).any(|text| text.contains('.')) {
        return Some("a dot in the user or password");
    }
    if !uri.headers.is_empty() {
        return Some("headers in the URI");
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~=;".contains(&byte);
    if !uri.params.bytes().all(token) {
        return Some("a parameter that is no token");
    }
    let of_a_kind = |param: &str| {
        let name = param.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("transport") || name.eq_ignore_ascii_case("method")
    };
    uri.params.split(';').any(of_a_kind).then_some("a transport or method that is new to rsip")
}
