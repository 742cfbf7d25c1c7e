//! The torture messages of RFC 4475 and RFC 5118, parsed and decided as the table says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use sip_authz::message::{Message, StartLine};
use sip_authz::model::{Account, CredentialList, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::{
    AccountSid, Authorizer, CredentialListSid, Decision, DomainSid, Invite, InviteError,
    IpAccessControlListSid, IpAddressSid, Snapshot, Transport,
};
use sip_authz_testing::torture::{CASES, HOSTS, Intent, Scan};

const INSIDE: &str = "192.0.2.7:5060";

/// The domains of the table, protected by an address or by a password.
fn authorizer(by_password: bool) -> Authorizer {
    let account = AccountSid::from_name(&["a"]);
    let (inside, staff) =
        (IpAccessControlListSid::from_name(&["inside"]), CredentialListSid::from_name(&["staff"]));
    let address = IpAddressSid::from_name(&["inside"]);
    let mut builder = Snapshot::builder()
        .account(Account::new(account))
        .ip_access_control_list(IpAccessControlList::new(inside, account))
        .ip_address(IpAddress::new(address, inside, "192.0.2.7".parse().unwrap()))
        .credential_list(CredentialList::new(staff, account, "staff".parse().unwrap()));
    for host in HOSTS {
        let domain = DomainSid::from_name(&[host]);
        builder = builder.domain(Domain::new(domain, account, host.parse().unwrap())).mapping(
            if by_password {
                Mapping::CredentialList(domain.into(), staff)
            } else {
                Mapping::IpAccessControlList(domain.into(), inside)
            },
        );
    }
    Authorizer::new(builder.build().unwrap()).unwrap()
}

fn read(bytes: &[u8]) -> Result<Invite<'_>, InviteError> {
    Invite::from_datagram(bytes, INSIDE.parse().unwrap(), Transport::Udp)
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Accept(_) => "accept",
        Decision::Challenge(_) => "challenge",
        Decision::Reject(reject) => reject.reason.as_str(),
    }
}

/// Changes the method to INVITE in the first line and in CSeq. None for a response, and if the two
/// methods differ.
fn as_invite(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    let (method, rest) = bytes.split_at(end);
    if method.starts_with(b"SIP/") {
        return None;
    }
    if method == b"INVITE" {
        return Some(bytes.to_vec());
    }
    let line = [b" ", method, b"\r\n"].concat();
    let at = rest.windows(line.len()).position(|window| window == line)?;
    let rest = &[&rest[..at], b" INVITE\r\n", &rest[at + line.len()..]].concat();
    Some([b"INVITE", &rest[..]].concat())
}

#[test]
fn the_table_has_every_file_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let mut files = BTreeSet::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(folder.join(rfc)).unwrap() {
            let path = entry.unwrap().path();
            files.insert(format!("{rfc}/{}", path.file_stem().unwrap().to_str().unwrap()));
        }
    }
    let rows: Vec<_> = CASES.iter().map(|case| case.file.to_owned()).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), files);
    assert_eq!(rows.len(), files.len());
}

#[test]
fn each_is_scanned_as_the_table_says() {
    for case in &CASES {
        let bytes = case.bytes();
        let got = Message::scan(&bytes).map(|message| message.defect().map(|it| it.to_string()));
        let expected = match case.scan {
            Scan::NotSip => None,
            Scan::Fine => Some(None),
            Scan::Defect(text) => Some(Some(text.to_owned())),
        };
        assert_eq!(got, expected, "{}, section {}", case.file, case.section);
    }
}

#[test]
fn each_is_read_by_rsip_as_the_table_says() {
    for case in &CASES {
        let bytes = case.bytes();
        assert_eq!(rsip::Request::try_from(&bytes[..]).is_ok(), case.rsip, "{}", case.file);
    }
}

#[test]
fn each_is_decided_as_the_table_says_and_by_its_facts_alone() {
    let (by_address, by_password) = (authorizer(false), authorizer(true));
    let now = Instant::now();
    for case in &CASES {
        let bytes = case.bytes();
        let is_invite = bytes.starts_with(b"INVITE ");
        match read(&bytes) {
            Ok(_) => assert!(is_invite && case.scan == Scan::Fine, "{}", case.file),
            Err(InviteError::NotInvite) => assert!(!is_invite, "{}", case.file),
            Err(InviteError::NotSip) => assert_eq!(case.scan, Scan::NotSip, "{}", case.file),
            Err(InviteError::Defect(defect)) => {
                let text: &str = &defect.to_string();
                assert!(matches!(case.scan, Scan::Defect(it) if it == text), "{}", case.file);
            }
            Err(error) => panic!("{}: {error}", case.file),
        }
        let message = as_invite(&bytes);
        let invite = message.as_ref().and_then(|message| read(message).ok());
        let decision = invite.as_ref().map(|invite| by_address.authorize(invite, now));
        assert_eq!(decision.as_ref().map(name), case.decision, "{}", case.file);
        let (Some(invite), Some(decision)) = (invite, decision) else { continue };

        // the Request-URI, found in another way
        let text = String::from_utf8_lossy(message.as_deref().unwrap_or_default());
        let uri = text.split(' ').nth(1).unwrap();
        let facts = Invite::new(uri, INSIDE.parse().unwrap(), Transport::Udp);
        assert_eq!(by_address.authorize(&facts, now), decision, "{}", case.file);
        let outside =
            Invite::new(invite.request_uri(), "198.51.100.1:9".parse().unwrap(), Transport::Udp);
        assert!(!by_address.authorize(&outside, now).is_accept(), "{}", case.file);
        // no message has credentials
        let asked = by_password.authorize(&invite, now);
        let expected = if decision.is_accept() { "challenge" } else { name(&decision) };
        assert_eq!(name(&asked), expected, "{}", case.file);
    }
}

/// A message that rsip parses gets the same decision. A message that rsip rejects is accepted only
/// if the RFC calls it well-formed or allows it.
#[test]
fn rsip_and_the_scan_lead_to_the_same_decision() {
    let authorizer = authorizer(false);
    let now = Instant::now();
    for case in &CASES {
        let Some(bytes) = as_invite(&case.bytes()) else { continue };
        let ours = read(&bytes).map(|invite| authorizer.authorize(&invite, now));
        let request = rsip::Request::try_from(&bytes[..]);
        let theirs = request.as_ref().map(|request| {
            Invite::from_rsip(request, INSIDE.parse().unwrap(), Transport::Udp)
                .map(|invite| authorizer.authorize(&invite, now))
        });
        match (&ours, theirs) {
            (Ok(ours), Ok(Ok(theirs))) => assert_eq!(*ours, theirs, "{}", case.file),
            (Ok(ours), Ok(Err(_)) | Err(_)) if ours.is_accept() => {
                assert_ne!(case.intent, Intent::Malformed, "{}", case.file);
            }
            (Err(_), Ok(Ok(theirs))) => assert!(!theirs.is_accept(), "{}", case.file),
            _ => {}
        }
    }
}

#[test]
fn every_deviation_from_the_rfc_has_a_reason() {
    for case in &CASES {
        let refused = case.scan != Scan::Fine;
        let as_meant = match case.intent {
            Intent::Valid => !refused,
            Intent::Malformed => refused,
            Intent::Tolerable => true,
        };
        let plain = matches!(case.status, Some(200 | 400 | 415 | 416 | 420))
            && as_meant
            && (case.rsip || refused || case.decision == Some("unsupported-scheme"));
        assert!(plain || !case.why.is_empty() || case.file.ends_with("bigcode"), "{}", case.file);
    }
}

#[test]
fn truncated_messages_are_refused_unless_they_lack_a_length() {
    for case in &CASES {
        let Some(bytes) = as_invite(&case.bytes()) else { continue };
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let end = Message::scan(&bytes).map(|message| head + message.body().len());
        for length in 0..bytes.len() {
            // bytes after the body may be missing
            if end.is_none_or(|end| length < end) && read(&bytes[..length]).is_ok() {
                assert!(case.file == "rfc4475/inv2543" && length >= head, "{}", case.file);
            }
        }
    }
}

#[test]
fn with_its_true_length_the_message_of_rfc_5118_4_6_is_well_formed() {
    let case = CASES.iter().find(|case| case.file == "rfc5118/ipv6-in-sdp").unwrap();
    let text = String::from_utf8(case.bytes()).unwrap();
    let bytes = text.replace("Content-Length: 268", "Content-Length: 251").into_bytes();
    let invite = read(&bytes).unwrap();
    assert_eq!(invite.body().len(), 251);
    let StartLine::Request { uri, .. } = Message::scan(&bytes).unwrap().start_line() else {
        panic!("not a request");
    };
    assert_eq!(uri, "sip:user@[2001:db8::10]");
    assert_eq!(name(&authorizer(false).authorize(&invite, Instant::now())), "unknown-host");
}
