//! Compares the parser of datagrams with rsip.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Instant;

use ::rsip::Request;

use super::world::sids;
use sip_authz::Decision;
use sip_authz::IpAddressSid;
use sip_authz::Snapshot;
use sip_authz::internals::{MAX_CREDENTIALS, trim};
use sip_authz::message::{Header, Message};
use sip_authz::model::{Account, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::uri::SipUri;
use sip_authz::{Authorizer, Capacity};
use sip_authz::{CredentialsField, Invite, InviteError, Transport};

/// The source of all datagrams, inside the access list.
pub const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// The domains, including those of the torture messages. Each authorizes by address only.
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

/// Parses `bytes` with [`Invite::from_datagram`] and with rsip 0.4, and compares the results. Then
/// decides with a snapshot that accepts every call to `HOSTS`. Returns `None` for bytes that are not an
/// INVITE.
///
/// If both parsers accept the bytes, they must find the same method, Request-URI, header fields in
/// order (with From, To, Call-ID, `CSeq` and the topmost Via), credentials in order, and body according
/// to Content-Length. A compact header name equals its long form, although rsip does not know it.
///
/// Bytes that rsip rejects must be rejected here too, except for the following. rsip 0.4 cannot parse
/// them, but they are well-formed or do not affect a decision:
///
/// - a folded header field (RFC 3261 §7.3.1),
/// - white space before the colon of a header field (§25.1, HCOLON),
/// - `SIP` in the first line in another case (§7.1: it is case-insensitive),
/// - an IPv6 address as host (§25.1, IPv6reference): rsip reads a port after the first colon,
/// - a dot in the user or password (§25.1, unreserved): rsip stops looking for `@` there, so it takes
///   the rest for a port or parameter if it contains `:` or `;`,
/// - a URI parameter with a character outside token (§25.1, paramchar),
/// - `transport` and `method` with a value unknown to rsip (§25.1, other-transport, extension-method),
/// - headers in the URI: not allowed in a Request-URI, and ignored if present (§19.1.1),
/// - malformed URI parameters, which no decision reads,
/// - spaces or tabs at the end of the first line, which the library ignores in a datagram,
/// - a header field that is not UTF-8. The grammar does not allow it, but old phones send Latin-1 in
///   display names. No decision uses such bytes: hosts and users are in the Request-URI, which is
///   ASCII, and the parsers of credentials and From reject them where needed.
///
/// [`Invite::from_rsip`] refuses the Request-URIs whose host rsip reads differently: a user with a dot, and
/// headers in the URI.
///
/// One input that rsip accepts is not compared: if the scheme is neither `sip` nor `sips`, rsip looks
/// for `://` beyond the first line. The library rejects all such messages.
pub fn fuzz_from_datagram(bytes: &[u8]) -> Option<Decision> {
    let invite = Invite::from_datagram(bytes, SOURCE, Transport::Udp).ok()?;
    let message = Message::scan(bytes)?;
    let decision = decide(&invite);
    match Request::try_from(bytes) {
        Ok(request) if request.uri.to_string().contains([' ', '\r', '\n']) => {
            assert!(!decision.is_accept(), "accepted a URI of more than one line");
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

/// Decides without state from earlier calls.
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

/// The header fields that rsip has parsed, in order.
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

/// Compares every parsed part of the message with rsip's.
pub fn compare(message: &Message<'_>, invite: &Invite<'_>, request: &Request) {
    assert_eq!(request.method, ::rsip::Method::Invite);
    assert_same_uri(invite.request_uri(), &request.uri.to_string());

    let theirs = fields_of(request);
    let ours: Vec<_> = message.fields().collect();
    assert_eq!(ours.len(), theirs.len(), "number of header fields");
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
    for (header, compact) in [
        (Header::From, "f"),
        (Header::To, "t"),
        (Header::CallId, "i"),
        (Header::CSeq, ""),
        (Header::Via, "v"),
    ] {
        let theirs = all(header.name(), compact);
        let ours = message.first(header).map(text_of);
        assert_eq!(theirs.first().copied(), ours.as_ref(), "{header:?}");
        assert!(theirs.len() == 1 || header == Header::Via, "{header:?} is repeated");
    }
    assert_eq!(invite.from(), message.first(Header::From));
    assert_eq!(invite.received(), Some(message.bytes()));

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

/// [`Invite::from_rsip`] with rsip's message must lead to the same decision.
pub fn compare_facts(invite: &Invite<'_>, request: &Request, ours: &Decision) {
    let facts = Invite::from_rsip(request, SOURCE, Transport::Udp);
    if SipUri::parse_request_uri(&request.uri.to_string()).is_ok() {
        let misread = request.uri.host().to_string().contains(['@', '?']);
        assert_eq!(facts.as_ref().err() == Some(&InviteError::HostMismatch), misread);
        if misread {
            return;
        }
    }
    assert!(facts.is_ok(), "the scan accepts it, but from_rsip returns {:?}", facts.err());
    let Ok(facts) = facts else { return };
    // rsip may correct a malformed port or parameter, such as `:+5060`, and its message does not show
    // that
    let corrected = SipUri::parse_request_uri(invite.request_uri()).is_err()
        && SipUri::parse_request_uri(facts.request_uri()).is_ok();
    // and of a malformed URI it may show another part
    let same = |theirs: &Decision| match (theirs, ours) {
        (Decision::Reject(theirs), Decision::Reject(ours)) => {
            (theirs.target, theirs.reason) == (ours.target, ours.reason)
        }
        (theirs, ours) => theirs == ours,
    };
    assert!(same(&decide(&facts)) || (corrected && !ours.is_accept()), "{ours:?}");
    let credentials = |invite: &Invite<'_>| {
        let values = invite.credentials().iter();
        values.map(|(field, value)| (*field, text_of(value))).collect::<Vec<_>>()
    };
    assert_eq!(credentials(invite), credentials(&facts));
    assert_eq!(invite.has_too_many_credentials(), facts.has_too_many_credentials());
    assert_eq!(invite.from().map(text_of), facts.from().map(text_of));
    assert_eq!(invite.body(), facts.body());
}

/// Whether two texts are the same URI. rsip does not keep the text, so it serializes the URI in its own
/// form. Of a URI with malformed parameters or headers, only the other parts are compared.
pub fn assert_same_uri(ours: &str, theirs: &str) {
    let same = match (SipUri::parse_request_uri(ours), SipUri::parse_request_uri(theirs)) {
        (Ok(uri), Ok(rsip)) if SipUri::parse(ours).is_ok() => {
            let corrected = with_plain_number(ours);
            uri.equivalent(&rsip)
                || SipUri::parse(&corrected).is_ok_and(|corrected| corrected.equivalent(&rsip))
        }
        (Ok(uri), Ok(rsip)) => {
            let parts = |uri: &SipUri<'_>| {
                let (user, password) =
                    (uri.user.map(str::to_owned), uri.password.map(str::to_owned));
                (uri.scheme, user, password, uri.host.to_ascii_lowercase(), uri.port)
            };
            parts(&uri) == parts(&rsip)
        }
        // well-formed only after rsip's correction, or not even then
        (Err(_), _) => true,
        (Ok(_), Err(_)) => false,
    };
    assert!(same, "`{ours}`, rsip `{theirs}`");
}

/// The URI in the form of rsip, which takes the number after the last colon for a port, even within URI
/// headers: without its sign and leading zeros.
pub fn with_plain_number(uri: &str) -> String {
    let number = uri.rsplit_once(':').and_then(|(before, number)| {
        number.parse::<u16>().ok().map(|number| format!("{before}:{number}"))
    });
    number.unwrap_or_else(|| uri.to_owned())
}

/// The construct in the message that rsip 0.4 cannot parse; see [`fuzz_from_datagram`].
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
    if message.has_trailing_space() {
        return Some("spaces at the end of the first line");
    }
    if !trim(first).ends_with(b" SIP/2.0") {
        return Some("SIP in another case");
    }
    if message.fields().any(|field| str::from_utf8(field.value).is_err()) {
        return Some("a header field that is not UTF-8");
    }
    let is_malformed = SipUri::parse(uri).is_err();
    let uri = SipUri::parse_request_uri(uri).ok()?;
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
        return Some("a parameter that is not a token");
    }
    let of_a_kind = |param: &str| {
        let name = param.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("transport") || name.eq_ignore_ascii_case("method")
    };
    if uri.params.split(';').any(of_a_kind) {
        return Some("a transport or method unknown to rsip");
    }
    is_malformed.then_some("malformed parameters")
}
