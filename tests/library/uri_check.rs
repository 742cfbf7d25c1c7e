//! The digest-uri check against the Request-URI, in each mode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{Policy, UriCheck};
use sip_authz::{Decision, Reason};
use sip_authz_testing::kit::*;

const MODES: [UriCheck; 4] =
    [UriCheck::Off, UriCheck::SameHost, UriCheck::SameUserAndHost, UriCheck::Equivalent];

/// Sends a request for `uri` with a correct digest over `digest_uri`.
fn send(world: &World, uri: &str, digest_uri: &str) -> Decision {
    let request = Request { uri: uri.to_owned(), ..Request::to(HOST) };
    let challenge = world.challenge(&request, OUTSIDE);
    let mut header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
    digest_uri.clone_into(&mut header.inner.uri);
    header.sign();
    let decision = world.send(&request.clone().with(&header.text()), OUTSIDE);
    // a rejection for the digest-uri uses up no nonce and does not reveal whether the digest is
    // right
    if !decision.is_accept() {
        let junk = header.text_with("response", "\"0\"");
        let other = world.send(&request.with(&junk), OUTSIDE);
        assert_eq!(rejected(other), Reason::UriMismatch);
        assert_eq!(world.authorizer.remembered_nonces().0, 0);
    }
    decision
}

#[test]
fn modes() {
    let uri = "sip:100@digest.example.com";
    let with_port = "sip:100@digest.example.com:5060;transport=tcp;user=phone";
    let doubled = "sip:100@digest.example.com;transport=udp;transport=udp";
    let escaped = "sip:%31*0%2b@digest.example.com?subject=a";
    let table: &[(&str, &str, [bool; 4])] = &[
        // the same text
        (uri, uri, [true; 4]),
        (with_port, with_port, [true; 4]),
        // case: ignored in scheme and host, significant in the user
        (uri, "SIP:100@Digest.EXAMPLE.com", [true; 4]),
        (uri, "sip:100@digest.example.com.", [true; 4]),
        ("sip:al@digest.example.com", "sip:AL@digest.example.com", [true, true, false, false]),
        // escapes: equal to an unreserved character, different from a reserved one
        (uri, "sip:1%30%30@digest.example.com", [true; 4]),
        (escaped, "sip:1*0%2B@digest.example.com?Subject=%61", [true; 4]),
        (escaped, "sip:1*0+@digest.example.com?subject=a", [true, true, false, false]),
        // another number, and no number
        (uri, "sip:101@digest.example.com", [true, true, false, false]),
        (uri, "sip:1000@digest.example.com", [true, true, false, false]),
        (uri, "sip:digest.example.com", [true, true, false, false]),
        // port and password: an omitted port differs from the default port
        (uri, "sip:100@digest.example.com:5060", [true, true, true, false]),
        (
            with_port,
            "sip:100@digest.example.com:5070;transport=tcp;user=phone",
            [true, true, true, false],
        ),
        (uri, "sip:100:x@digest.example.com", [true, true, true, false]),
        (uri, "sips:100@digest.example.com", [true, true, true, false]),
        // parameters: some have no default; of the others only those in both URIs are compared
        (uri, "sip:100@digest.example.com;transport=udp", [true, true, true, false]),
        (with_port, "sip:100@digest.example.com:5060;USER=phone;Transport=TCP", [true; 4]),
        (
            with_port,
            "sip:100@digest.example.com:5060;transport=udp;user=phone",
            [true, true, true, false],
        ),
        (with_port, "sip:100@digest.example.com:5060;transport=tcp", [true, true, true, false]),
        (uri, "sip:100@digest.example.com;lr;x=1", [true; 4]),
        (uri, "sip:100@digest.example.com?subject=a", [true, true, true, false]),
        // malformed parameters and headers equal only the same text
        (doubled, doubled, [true; 4]),
        (doubled, "sip:100@DIGEST.example.com;transport=udp;transport=udp", [true; 4]),
        (doubled, "sip:100@digest.example.com;transport=udp", [true, true, true, false]),
        (doubled, "sip:100@digest.example.com;lr;lr", [true, true, true, false]),
        (
            doubled,
            "sip:101@digest.example.com;transport=udp;transport=udp",
            [true, true, false, false],
        ),
        (
            doubled,
            "sip:100@other.example.com;transport=udp;transport=udp",
            [true, false, false, false],
        ),
        ("sip:100@digest.example.com;", uri, [true, true, true, false]),
        (uri, "sip:100@digest.example.com?", [true, true, true, false]),
        (uri, "sip:100@digest.example.com;ob=", [true, true, true, false]),
        ("sip:100@digest.example.com;x=%zz", "sip:100@digest.example.com;x=%zz", [true; 4]),
        (uri, "sip:100@digest.example.com;x=a@other.example.com", [true, false, false, false]),
        // other hosts, and lookalikes
        (uri, "sip:100@other.example.com", [true, false, false, false]),
        (uri, "sip:100@xdigest.example.com", [true, false, false, false]),
        (uri, "sip:100@digest.example.com.example", [true, false, false, false]),
        (uri, "sip:digest.example.com@other.example.com", [true, false, false, false]),
        (uri, "sip:100@192.0.2.1", [true, false, false, false]),
        // not a SIP URI
        (uri, "tel:100", [true, false, false, false]),
        (uri, "100", [true, false, false, false]),
        (uri, "*", [true, false, false, false]),
        (uri, "sip:100@digest.example.com ", [true, false, false, false]),
        (uri, "sip:1\u{ff10}0@digest.example.com", [true, false, false, false]),
    ];
    for (uri, digest_uri, expected) in table {
        for (mode, expected) in MODES.into_iter().zip(*expected) {
            let world = World::with_policy(Policy::default().with_uri_check(mode));
            match send(&world, uri, digest_uri) {
                Decision::Accept(_) => assert!(expected, "{mode:?}: {uri} {digest_uri}"),
                other => {
                    assert!(!expected, "{mode:?}: {uri} {digest_uri}");
                    assert_eq!((other.status(), rejected(other)), (400, Reason::UriMismatch));
                }
            }
        }
    }
}

#[test]
fn the_digest_covers_the_digest_uri_as_sent() {
    // a digest over the Request-URI, with an equivalent digest-uri in the header
    for uri_check in MODES {
        let world = World::with_policy(Policy::default().with_uri_check(uri_check));
        let request = Request::to(HOST);
        let challenge = world.challenge(&request, OUTSIDE);
        let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
        let text = header.text_with("uri", "\"sip:100@DIGEST.example.com\"");
        let decision = world.send(&request.clone().with(&text), OUTSIDE);
        assert_eq!(rejected(decision), Reason::WrongCredentials);
        accepted(world.send(&request.with(&header.text()), OUTSIDE));
    }
}
