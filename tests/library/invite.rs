//! Both constructors of an INVITE: from an rsip request and from a datagram.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use sip_authz::message::{Defect, Header, MAX_HEAD};
use sip_authz::{CredentialsField, Decision, Invite, InviteError, Reason, Transport};
use sip_authz_testing::kit::*;

fn both(bytes: &[u8], check: impl Fn(Result<Invite<'_>, InviteError>, &str)) {
    let source = INSIDE.parse().unwrap();
    check(Invite::from_datagram(bytes, source, Transport::Udp), "datagram");
    let request = rsip::Request::try_from(bytes).unwrap();
    check(Invite::from_rsip(&request, source, Transport::Udp), "rsip");
}

#[test]
fn both_ways_give_the_same_facts() {
    let request = Request { body: b"v=0\r\n".to_vec(), ..Request::to(HOST) }
        .with_line(b"Authorization: Digest one")
        .with_line(b"proxy-authorization:  Digest two ");
    let mut bytes = request.bytes();
    bytes.extend_from_slice(b"more than Content-Length counts");
    both(&bytes, |invite, way| {
        let invite = invite.unwrap();
        assert_eq!(invite.request_uri(), "sip:100@digest.example.com", "{way}");
        assert_eq!(invite.source(), INSIDE.parse().unwrap());
        assert_eq!(invite.body(), b"v=0\r\n", "{way}");
        let values: Vec<_> = invite
            .credentials()
            .iter()
            .map(|(field, value)| (*field, std::str::from_utf8(value).unwrap().trim()))
            .collect();
        let expected = [
            (CredentialsField::Authorization, "Digest one"),
            (CredentialsField::ProxyAuthorization, "Digest two"),
        ];
        assert_eq!(values, expected, "{way}");
        assert_eq!(invite.from(), Some(request.from.as_bytes()), "{way}");
        assert!(invite.received().is_some(), "{way}");
    });
}

#[test]
fn compact_names_are_the_long_ones() {
    let request = Request { body: b"v=0\r\n".to_vec(), ..Request::to(HOST) };
    let mut text = String::from_utf8(request.bytes()).unwrap();
    for (long, compact) in
        [("Via", "v"), ("From", "F"), ("To", "t"), ("Call-ID", "I"), ("Content-Length", "l")]
    {
        text = text.replace(&format!("\r\n{long}:"), &format!("\r\n{compact}:"));
    }
    assert!(!text.contains("Call-ID") && !text.contains("Content-Length"));
    both(&[text.as_bytes(), b"more"].concat(), |invite, way| {
        let invite = invite.unwrap();
        assert_eq!(invite.from(), Some(request.from.as_bytes()), "{way}");
        assert_eq!(invite.body(), b"v=0\r\n", "{way}");
    });
}

#[test]
fn incomplete_invites_are_refused() {
    let invite = String::from_utf8(Request::to(HOST).bytes()).unwrap();
    both(invite.replace("INVITE", "OPTIONS").as_bytes(), |result, way| {
        assert_eq!(result.unwrap_err(), InviteError::NotInvite, "{way}");
    });
    for name in ["From", "To", "Call-ID", "CSeq", "Via"] {
        let without: String = invite
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with(&format!("{name}:")))
            .collect();
        both(without.as_bytes(), |result, way| {
            let error = result.unwrap_err().to_string();
            assert!(error.to_lowercase().contains(&name.to_lowercase()), "{way}: {error}");
        });
    }
    for (name, twice) in [
        ("From", "From: <sip:other@example.com>;tag=2\r\n"),
        ("To", "To: <sip:other@example.com>\r\n"),
        ("Call-ID", "Call-ID: other\r\n"),
        ("CSeq", "CSeq: 314159 INVITE\r\n"),
        ("Content-Length", "Content-Length: 0\r\n"),
        ("From", "f: <sip:other@example.com>;tag=2\r\n"),
        ("To", "T: <sip:other@example.com>\r\n"),
        ("Call-ID", "i: other\r\n"),
        ("Content-Length", "l: 0\r\n"),
        ("Content-Length", "L: 1\r\n"),
    ] {
        let twice = invite.replace("Max-Forwards", &format!("{twice}Max-Forwards"));
        both(twice.as_bytes(), |result, way| {
            assert!(matches!(result, Err(InviteError::Defect(_))), "{name}, {way}");
        });
    }
    for length in ["+0", "-0", "0x0", "0 0", "0,0", ""] {
        let wrong = invite.replace("Content-Length: 0", &format!("Content-Length: {length}"));
        both(wrong.as_bytes(), |result, way| {
            let expected = InviteError::Defect(Defect::ContentLength);
            assert_eq!(result.unwrap_err(), expected, "`{length}`, {way}");
        });
    }
    let short = invite.replace("Content-Length: 0", "Content-Length: 1");
    both(short.as_bytes(), |result, way| {
        assert!(matches!(result, Err(InviteError::Defect(_))), "{way}");
    });
}

#[test]
fn an_rsip_request_is_decided_like_a_datagram() {
    let world = World::new();
    let answered = world.answered(&Request::to(HOST), INSIDE, "alice", PASSWORD);
    let request = rsip::Request::try_from(answered.bytes()).unwrap();
    let invite = Invite::from_rsip(&request, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let decision = world.authorizer.authorize(&invite, world.start);
    assert!(matches!(decision, Decision::Accept(accept) if !accept.repeat));
    // the same request is a retransmission, and not with another value of any field
    let again = rsip::Request::try_from(answered.bytes()).unwrap();
    let again = Invite::from_rsip(&again, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    assert!(accepted(world.authorizer.authorize(&again, world.start)).repeat);
    let mut other = answered.bytes();
    let contact = other.windows(9).position(|part| part == b"Contact: ").unwrap();
    other.splice(contact..contact, *b"X: y\r\n");
    let other = rsip::Request::try_from(other).unwrap();
    let other = Invite::from_rsip(&other, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    assert!(challenged(world.authorizer.authorize(&other, world.start)));
    assert!(
        Invite::from_rsip(&request, INSIDE.parse().unwrap(), Transport::Tcp)
            .is_ok_and(|invite| invite.received().is_none())
    );
}

/// Each kind of flaw that a parsed request can have: it is refused as bytes, and so is the request that
/// rsip makes of it.
#[test]
fn what_is_refused_as_bytes_is_refused_as_an_rsip_request() {
    let invite = String::from_utf8(Request::to(HOST).bytes()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(invite.contains(from), "{from}");
        invite.replacen(from, to, 1)
    };
    let field = |line: &str| with("Max-Forwards", &format!("{line}\r\nMax-Forwards"));
    for (text, defect) in [
        (with("314159 INVITE", "1 BYE"), Some(Defect::CSeqMethod)),
        (with("314159 INVITE", "1 invite"), Some(Defect::CSeqMethod)),
        (with("314159 INVITE", "1 ACK"), Some(Defect::CSeqMethod)),
        (with("314159 INVITE", "1"), Some(Defect::CSeq)),
        (with("314159 INVITE", "INVITE 1"), Some(Defect::CSeq)),
        (with("314159 INVITE", "4294967296 INVITE"), Some(Defect::CSeq)),
        (with("314159 INVITE", ""), Some(Defect::CSeq)),
        (with("314159 INVITE", "1 \x01INVITE"), Some(Defect::Control)),
        (invite.replace("INVITE sip", "invite sip").replace("314159 INVITE", "1 invite"), None),
        (with("sip:100@", "sip:\"1\"@"), Some(Defect::RequestUri)),
        (with("sip:100@", "sip:<1>@"), Some(Defect::RequestUri)),
        (with("sip:100@", "sip:\x01@"), None),
        (with("SIP/2.0\r\n", "SIP/1.0\r\n"), Some(Defect::Version)),
        (field("X: y\r z"), Some(Defect::LineEnd)),
        (field("X: y\n z"), Some(Defect::LineEnd)),
        (field("X: y\nTo: <sip:b@c>"), Some(Defect::LineEnd)),
        (field("To: <sip:b@c>"), Some(Defect::Repeated(Header::To))),
        (field(&"X: y\r\n".repeat(260)), None),
        (field(&["X: ", &"y".repeat(MAX_HEAD)].concat()), Some(Defect::HeadTooLong)),
    ] {
        let start: String = text.escape_debug().take(400).collect();
        both(text.as_bytes(), |result, way| {
            let error = result.map(|_| ()).expect_err(&format!("{way}: {start}"));
            if let Some(defect) = defect {
                assert_eq!(error, InviteError::Defect(defect), "{way}: {start}");
            }
        });
    }
    // and on a stream
    for text in [field("X: \x07"), with("Alice", "Al\0ice"), field("Authorization: Digest \x0b")] {
        let source = INSIDE.parse().unwrap();
        let control = Some(InviteError::Defect(Defect::Control));
        let request = rsip::Request::try_from(text.as_bytes()).unwrap();
        for transport in [Transport::Tcp, Transport::Tls] {
            let error = Invite::from_datagram(text.as_bytes(), source, transport).err();
            assert_eq!(error, control, "{}", text.escape_debug());
            assert_eq!(Invite::from_rsip(&request, source, transport).err(), control);
        }
        assert!(Invite::from_rsip(&request, source, Transport::Udp).is_ok());
    }
    // a second `@` is refused by both decisions
    let world = World::new();
    for uri in
        ["sip:a@b@digest.example.com", "sip:a@digest.example.com@b", "sip:@digest.example.com"]
    {
        let text = with("sip:100@digest.example.com", uri);
        both(text.as_bytes(), |result, way| {
            let decision = world.authorizer.authorize(&result.unwrap(), world.start);
            assert_eq!(rejected(decision), Reason::BadRequestUri, "{uri}, {way}");
        });
    }
}

/// A program can build a request by hand, with texts that no message has.
#[test]
fn an_rsip_request_with_line_ends_in_its_parts_is_refused() {
    let plain = rsip::Request::try_from(Request::to(HOST).bytes()).unwrap();
    let source = INSIDE.parse().unwrap();
    let other = |name: &str, value: &str| rsip::Header::Other(name.to_owned(), value.to_owned());
    for (header, defect) in [
        (other("X", "y\r\nTo: <sip:b@c>"), Defect::LineEnd),
        (other("X", "y\r\n\r\nbody"), Defect::LineEnd),
        (other("To: <sip:b@c>\r\nX", "y"), Defect::LineEnd),
        (other("X Y", "z"), Defect::FieldName),
        (other("", "z"), Defect::FieldName),
        (rsip::headers::UserAgent::from("y\r\nTo: <sip:b@c>").into(), Defect::LineEnd),
        (rsip::headers::Contact::from("<sip:a@b>\r\n \r\n").into(), Defect::Fold),
    ] {
        let mut request = plain.clone();
        request.headers.push(header);
        let error = Invite::from_rsip(&request, source, Transport::Udp).err();
        assert_eq!(error, Some(InviteError::Defect(defect)));
    }
    let folded = other("X", "y\r\n z");
    let mut request = plain.clone();
    request.headers.push(folded);
    assert!(Invite::from_rsip(&request, source, Transport::Udp).is_ok());
    let mut request = plain;
    request.version = rsip::Version::V1;
    let error = Invite::from_rsip(&request, source, Transport::Udp).err();
    assert_eq!(error, Some(InviteError::Defect(Defect::Version)));
}

/// The documentation of `from_rsip` lists the parts of a message that rsip does not keep.
#[test]
fn what_rsip_hides_is_what_the_documentation_says() {
    let invite = String::from_utf8(Request::to(HOST).bytes()).unwrap();
    let source = INSIDE.parse().unwrap();
    for (from, to) in [
        ("INVITE sip", "invite sip"),
        ("INVITE sip", "Invite sip"),
        ("digest.example.com SIP", "digest.example.com:+5060 SIP"),
        ("digest.example.com SIP", "digest.example.com:005060 SIP"),
        ("SIP/2.0\r\n", "SIP/2.1\r\n"),
    ] {
        let text = invite.replacen(from, to, 1);
        let request = rsip::Request::try_from(text.as_bytes()).unwrap();
        assert!(Invite::from_rsip(&request, source, Transport::Udp).is_ok(), "{to}");
    }
}

/// rsip reads a user with a dot, and the headers of a URI, as a part of the host.
#[test]
fn a_request_uri_whose_host_rsip_reads_differently_is_refused() {
    let world = World::new();
    let source = INSIDE.parse().unwrap();
    let request = |uri: &str| {
        let bytes = Request { uri: uri.to_owned(), ..Request::to(HOST) }.bytes();
        rsip::Request::try_from(bytes).unwrap()
    };
    for (uri, theirs) in [
        ("sip:john.doe@digest.example.com", "john.doe@digest.example.com"),
        ("sip:1.2@digest.example.com:5060", "1.2@digest.example.com"),
        ("sip:known.example.com@digest.example.com", "known.example.com@digest.example.com"),
        ("sip:100@digest.example.com?x=y", "digest.example.com?x=y"),
        ("sip:100@digest.example.com?x:5060", "digest.example.com?x"),
    ] {
        let parsed = request(uri);
        assert_eq!(parsed.uri.host().to_string(), theirs);
        let error = Invite::from_rsip(&parsed, source, Transport::Udp).err();
        assert_eq!(error, Some(InviteError::HostMismatch), "{uri}");
    }
    // a URI built by hand
    let mut built = request("sip:100@digest.example.com");
    for host in ["digest.example.com:5060", "digest.example.com;x=other.example"] {
        built.uri.host_with_port = rsip::Host::Domain(host.into()).into();
        let error = Invite::from_rsip(&built, source, Transport::Udp).err();
        assert_eq!(error, Some(InviteError::HostMismatch), "{host}");
    }
    let text = InviteError::HostMismatch.to_string();
    assert_eq!(text, "the parsers read different hosts in the Request-URI");

    // the same host in another spelling
    for uri in [
        "sip:100@DIGEST.example.com",
        "sip:100@digest.example.com.",
        "sip:100@digest.example.com:5060;transport=udp;transport=udp",
        "sip:a;b?c:secret@digest.example.com;;",
        "sip:100@192.0.2.1",
    ] {
        assert!(Invite::from_rsip(&request(uri), source, Transport::Udp).is_ok(), "{uri}");
    }
    // a URI that cannot be read is rejected by the decision; rsip writes no brackets
    built.uri.host_with_port = rsip::Host::IpAddr("2001:db8::1".parse().unwrap()).into();
    let invite = Invite::from_rsip(&built, source, Transport::Udp).unwrap();
    let decision = world.authorizer.authorize(&invite, world.start);
    assert_eq!(rejected(decision), Reason::BadRequestUri);
    drop(invite);
    built.uri.host_with_port = rsip::Host::Domain("[2001:DB8:0::1]".into()).into();
    assert!(Invite::from_rsip(&built, source, Transport::Udp).is_ok());
}
