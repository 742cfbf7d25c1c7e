//! `Invite::from_datagram` on received bytes: accepted forms, and the reasons for rejection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::{Defect as D, Header, MAX_HEAD};
use sip_authz::{CredentialsField, Invite, InviteError, Transport};

const INVITE: &str = "INVITE sip:+14155550100@pbx.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\n\
Max-Forwards: 70\r\n\
From: <sip:alice@example.com>;tag=1\r\n\
To: <sip:+14155550100@pbx.example.com>\r\n\
Call-ID: one@192.0.2.7\r\n\
CSeq: 7 INVITE\r\n\
Proxy-Authorization: Digest one\r\n\
Content-Length: 4\r\n\
\r\n\
v=0\n";

fn read(bytes: &[u8]) -> Result<Invite<'_>, InviteError> {
    Invite::from_datagram(bytes, "192.0.2.7:5060".parse().unwrap(), Transport::Udp)
}

/// Every part of the message that a decision uses: Request-URI, credentials, From, body. The bytes by
/// which a retransmission is recognised differ with the spelling.
type Facts = (String, Vec<(bool, String)>, String, Vec<u8>);

fn facts(bytes: &[u8]) -> Result<Facts, InviteError> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let invite = read(bytes)?;
    assert_eq!(invite.received(), Some(bytes));
    let is_proxy = |field| field == CredentialsField::ProxyAuthorization;
    let credentials = invite.credentials().iter();
    Ok((
        invite.request_uri().to_owned(),
        credentials.map(|(field, value)| (is_proxy(*field), text(value))).collect(),
        text(invite.from().unwrap()),
        invite.body().to_vec(),
    ))
}

/// INVITE with `from` replaced by `to`; `from` must occur.
fn with(from: &str, to: &str) -> String {
    assert!(INVITE.contains(from), "{from}");
    INVITE.replacen(from, to, 1)
}

#[test]
fn equivalent_spellings_are_read_the_same() {
    let plain = facts(INVITE.as_bytes()).unwrap();
    assert_eq!(plain.1, [(true, "Digest one".to_owned())]);
    for message in [
        with("Via", "v").replace("From", "f").replace("To", "T").replace("Call-ID", "i"),
        with("Content-Length", "l"),
        with("Via", "vIA").replace("CSeq", "CSEQ").replace("Proxy-A", "pROXY-a"),
        with("Call-ID:", "Call-ID \t :"),
        with("Proxy-Authorization: ", "Proxy-Authorization\t:"),
        with("From: ", "From:"),
        with("From: ", "From:\r\n "),
        with("70\r\n", "70\r\nX: goes\r\n\ton\r\n"),
        with("70\r\n", "70\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2\r\n"),
        with("70\r\n", "70\r\nX: Proxy-Authorization: Digest two\r\n"),
        with("70\r\n", "70\r\nProxy-Authorizations: Digest two\r\n"),
        format!("{INVITE}\r\nProxy-Authorization: Digest two\r\n\r\n"),
    ] {
        assert_eq!(facts(message.as_bytes()), Ok(plain.clone()), "{}", message.escape_debug());
    }
}

#[test]
fn each_part_of_the_message_is_returned() {
    let twice = with("CSeq", "authorization : Digest\r\n two\r\nCSeq");
    let expected = [(false, "Digest\r\n two".to_owned()), (true, "Digest one".to_owned())];
    assert_eq!(facts(twice.as_bytes()).unwrap().1, expected);
    let folded = with("7 INVITE", "7\r\n INVITE");
    assert!(facts(folded.as_bytes()).is_ok(), "a folded CSeq");
    let body = "v=0\r\n\r\nAuthorization: Digest x\r\n\r\nINVITE sip:a SIP/2.0\r\n";
    let headers = with("Content-Length: 4\r\n", "").replace("v=0\n", body);
    let read_body = facts(headers.as_bytes()).unwrap();
    assert_eq!((read_body.1.len(), &read_body.3[..]), (1, body.as_bytes()));
    let longer = format!("{INVITE}more");
    assert_eq!(facts(longer.as_bytes()).unwrap().3, b"v=0\n");
    let empty = with("Length: 4", "Length: 0");
    assert_eq!(facts(empty.as_bytes()).unwrap().3, b"");
    for (count, kept, too_many) in [(15, 16, false), (16, 16, true), (200, 16, true)] {
        let many = with("CSeq", &format!("{}CSeq", "Authorization: Digest x\r\n".repeat(count)));
        let invite = read(many.as_bytes()).unwrap();
        assert_eq!(invite.credentials().len(), kept);
        assert_eq!(invite.has_too_many_credentials(), too_many);
    }
}

#[test]
fn ambiguous_messages_are_refused() {
    let long = |len: usize| with("70\r\n", &format!("70\r\nX: {}\r\n", "a".repeat(len)));
    for (message, expected) in [
        (INVITE.replace("\r\n", "\n"), D::LineEnd),
        (with("70\r\n", "70\n"), D::LineEnd),
        (with("70\r\n", "70\r"), D::LineEnd),
        (with("Digest one", "Digest\n one"), D::LineEnd),
        (with("Digest one", "Digest\n one").replace("alice", "a\x7fice"), D::LineEnd),
        (with("\r\n\r\n", "\r\n\n"), D::LineEnd),
        (with("7 INVITE", "7 \0INVITE"), D::Control),
        (with("To:", "T\0:"), D::Control),
        (with("Proxy-Authorization", "Proxy-Authorization\0"), D::Control),
        (with("70\r\n", "70\r\n \r\n"), D::Fold),
        (with("70\r\n", "70\r\n\t\r\nFrom: x\r\n"), D::Fold),
        (with("Via", " Via"), D::FieldName),
        (with("70\r\n", "70\r\nno colon\r\n"), D::FieldName),
        (with("Call-ID", "Call ID"), D::FieldName),
        (with("To:", "To;"), D::FieldName),
        (with("70\r\n", "70\r\nt: x\r\n"), D::Repeated(Header::To)),
        (with("70\r\n", "70\r\nl: 4\r\n"), D::Repeated(Header::ContentLength)),
        (with("70\r\n", "70\r\nContent-Length: 5\r\n"), D::Repeated(Header::ContentLength)),
        (with("Via", "Vla"), D::Missing(Header::Via)),
        (with("7 INVITE", "7 ACK"), D::CSeqMethod),
        (with("Length: 4", "Length: 5"), D::BodyTooShort),
        (with("Length: 4", "Length: 4294967300"), D::BodyTooShort),
        (with("Length: 4", "Length: -4"), D::ContentLength),
        (with("Length: 4", "Length: 4 4"), D::ContentLength),
        (with("Length: 4", "Length: "), D::ContentLength),
        (with("\r\n\r\nv=0\n", "\r\n"), D::NoBlankLine),
        (with("\r\n\r\nv=0\n", "\r\n\r"), D::NoBlankLine),
        (long(MAX_HEAD), D::HeadTooLong),
        (long(70 * 1024), D::HeadTooLong),
    ] {
        let error = read(message.as_bytes()).map(|_| ());
        let start = message.escape_debug().take(600).collect::<String>();
        assert_eq!(error, Err(InviteError::Defect(expected)), "{start}");
    }
    for (message, expected) in [
        ("", InviteError::NotSip),
        ("\r\n\r\n", InviteError::NotSip),
        ("INVITE sip:a@b\r\n\r\n", InviteError::NotSip),
        (&format!("\r\n{INVITE}"), InviteError::NotSip),
        (&INVITE.replace("INVITE", "invite"), InviteError::NotInvite),
        (&INVITE.replace("INVITE", "INVITEX"), InviteError::NotInvite),
        ("SIP/2.0 200 OK\r\n\r\n", InviteError::NotInvite),
    ] {
        assert_eq!(read(message.as_bytes()).map(|_| ()), Err(expected), "{message:?}");
    }
}

#[test]
fn flaws_that_do_not_decide_are_refused_on_streams_only() {
    for (message, defect) in [
        (with("SIP/2.0\r\n", "SIP/2.0 \r\n"), Some(D::RequestLine)),
        (with("70\r\n", "70\r\nX: \x07\r\n"), Some(D::Control)),
        (with("Digest one", "Digest \0one"), Some(D::Control)),
        (with("<sip:alice", "\x0b<sip:alice"), Some(D::Control)),
        (with("70\r\n", "70\r\nMAX-FORWARDS: 70\r\n"), None),
        (with("Forwards: 70", "Forwards: seventy"), None),
        (with("one@192.0.2.7", ""), None),
        (with("7 INVITE", "4294967295 INVITE"), None),
    ] {
        let plain = facts(INVITE.as_bytes()).unwrap();
        let read_facts = facts(message.as_bytes()).unwrap();
        assert_eq!((read_facts.0, read_facts.3), (plain.0, plain.3));
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            let source = "192.0.2.7:5060".parse().unwrap();
            let error = Invite::from_datagram(message.as_bytes(), source, transport).err();
            assert_eq!(error, defect.map(InviteError::Defect), "{}", message.escape_debug());
        }
    }
}

#[test]
fn a_truncated_invite_is_refused_or_read_like_the_whole() {
    let unsized_body = with("Content-Length: 4\r\n", "");
    for (message, sized) in [(INVITE, true), (&unsized_body, false)] {
        let whole = facts(message.as_bytes()).unwrap();
        let head = message.find("\r\n\r\n").unwrap() + 4;
        for len in 0..message.len() {
            match facts(&message.as_bytes()[..len]) {
                Err(_) => assert!(sized || len < head, "{len}"),
                // without Content-Length, a truncated body cannot be detected
                Ok(part) => {
                    assert!(!sized && len >= head, "{len}");
                    assert!(whole.3.starts_with(&part.3));
                    assert_eq!((part.0, part.1, part.2, whole.3.clone()), whole);
                }
            }
        }
    }
}
