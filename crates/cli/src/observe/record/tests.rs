use serde_json::Value;
use sip_authz::{Challenge, DecisionSid, Reject};
use sip_authz_testing::kit::{
    self, ACL_HOST, BOTH_HOST, HOST, Header as Answer, INSIDE, OUTSIDE, PASSWORD, REALM, Request,
    World,
};

use super::shown::Shown;
use super::*;

fn moment() -> Moment {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_900_000_000_123_456);
    Moment { time, took: Some(Duration::from_micros(87)), snapshot: Some(3) }
}

fn caller(source: &str) -> Caller {
    Caller { source: Source::Known(source.parse().unwrap()), transport: Transport::Udp }
}

/// The record of the decision on a request, as JSON.
fn decided(world: &World, request: &Request, source: &str, names: bool) -> Value {
    let bytes = request.bytes();
    let message = Message::scan(&bytes).unwrap();
    let invite = Invite::from_request(&message, source.parse().unwrap(), Transport::Udp).unwrap();
    let decision = world.authorizer.authorize(&invite, world.start);
    let method = MethodName::of(invite.method());
    let asked = Asked { caller: caller(source), method, message: &message, invite: &invite };
    let snapshot = world.authorizer.snapshot();
    let is_own = |realm: &str| snapshot.is_own_realm(realm);
    let record = Record::decided(&moment(), &asked, &decision, is_own);
    let shown = || Shown::of(&record, names, &snapshot);
    let line = serde_json::to_value(shown()).unwrap();
    is_answered(&line, shown());
    line
}

/// The API answers the fields of the decision log, besides the SID and the edge.
fn is_answered(line: &Value, shown: Shown<'_>) {
    let sid = DecisionSid::from_bytes([7; 16]);
    let mut expected = line.clone();
    expected["sid"] = sid.to_string().into();
    expected["edge"] = "edge-1".into();
    assert_eq!(serde_json::to_value(shown.answer(sid, "edge-1")).unwrap(), expected);
}

/// The record of another message, as JSON.
fn other(cause: Cause, bytes: &[u8]) -> Value {
    let message = Message::scan(bytes);
    let record = Record::other(&moment(), caller(INSIDE), cause, message.as_ref());
    let snapshot = World::new().authorizer.snapshot();
    let shown = || Shown::of(&record, true, &snapshot);
    let line = serde_json::to_value(shown()).unwrap();
    is_answered(&line, shown());
    line
}

fn with_agent(request: Request) -> Request {
    request.with_line(b"User-Agent: Phone/1.0 (0004f2aabbcc)")
}

#[test]
fn each_decision_has_its_fields() {
    let world = World::new();
    let request = with_agent(Request::to(HOST));
    let challenged = decided(&world, &request, OUTSIDE, true);
    let answer = |user: &str, password: &str| {
        with_agent(world.answered(&Request::to(HOST), OUTSIDE, user, password))
    };
    let proved = decided(&world, &answer("alice", PASSWORD), OUTSIDE, true);
    let wrong = decided(&world, &answer("alice", "wrong"), OUTSIDE, true);
    let disabled = decided(&world, &answer("carol", PASSWORD), OUTSIDE, true);
    let unknown = decided(&world, &answer("mallory", PASSWORD), OUTSIDE, true);
    for (line, cause, claimed, credential) in [
        (&challenged, Some("no-credentials"), None, None),
        (&proved, None, None, Some(kit::credential(kit::LIST, "alice"))),
        (&wrong, Some("wrong-password"), Some("alice"), Some(kit::credential(kit::LIST, "alice"))),
        (
            &disabled,
            Some("user-disabled"),
            Some("carol"),
            Some(kit::credential(kit::LIST, "carol")),
        ),
        (&unknown, Some("user-unknown"), Some("mallory"), None),
    ] {
        let credential = credential.map(|it| it.to_string());
        assert_eq!(line["cause"], Value::from(cause), "{line}");
        assert_eq!(line["claimed_user"], Value::from(claimed), "{line}");
        let (proved, not) =
            if cause.is_none() { ("credential", "claimed") } else { ("claimed", "credential") };
        assert_eq!((&line[proved], line.get(not)), (&Value::from(credential), None), "{line}");
        for (field, expected) in [
            ("time", "2030-03-17T17:46:40.123456Z"),
            ("method", "INVITE"),
            ("transport", "udp"),
            ("name", HOST),
            ("account", &kit::account().to_string()),
            ("target", &kit::domain(HOST).to_string()),
            ("host", HOST),
            ("called", "100"),
            ("from", "alice"),
            ("call_id", "a84b4c76e66710@client"),
            ("user_agent", "Phone/1.0 (0004f2aabbcc)"),
            ("source", OUTSIDE),
        ] {
            assert_eq!(line[field], expected, "{field} of {line}");
        }
        assert_eq!((&line["snapshot"], &line["took_us"]), (&3.into(), &87.into()));
        let has_credentials = cause != Some("no-credentials");
        let expected = |text: &'static str| Value::from(has_credentials.then_some(text));
        assert_eq!(line["header"], expected("Proxy-Authorization"));
        assert_eq!(line["realm"], expected(REALM));
        assert_eq!(line["qop"], expected("auth"));
        assert_eq!(line["algorithm"].is_string(), has_credentials, "{line}");
    }
    assert_eq!((&proved["username"], &proved["cseq"]), (&"alice".into(), &314_159.into()));
    assert_eq!(proved["credential_list"], kit::list(kit::LIST).to_string());

    let inside = decided(&world, &Request::to(ACL_HOST), INSIDE, true);
    assert_eq!(inside["access_list"], kit::acl(kit::ACL).to_string());
    assert_eq!((&inside["outcome"], inside.get("header")), (&"accept".into(), None));
    let elsewhere = decided(&world, &Request::to("nowhere.example"), INSIDE, true);
    assert_eq!(elsewhere["cause"], "unknown-host");
    assert_eq!((&elsewhere["host"], elsewhere.get("name")), (&"nowhere.example".into(), None));
    assert_eq!((elsewhere.get("target"), elsewhere.get("account")), (None, None));
}

#[test]
fn a_record_without_names_has_no_text_of_the_caller() {
    let world = World::new();
    let mark = |request: Request| Request {
        uri: request.uri.replace("100", "secretcallee"),
        from: "<sip:secretfrom@example.com>;tag=1".to_owned(),
        call_id: "secretid".to_owned(),
        ..request.with_line(b"User-Agent: secretphone")
    };
    let proved = {
        let request = Request { uri: format!("sip:secretcallee@{HOST}"), ..Request::to(HOST) };
        mark(world.answered(&request, OUTSIDE, "alice", PASSWORD))
    };
    let other_realm = Request::to(HOST).with(
        "Digest username=\"secretuser\", realm=\"secretrealm\", nonce=\"secretnonce\", \
         uri=\"sip:secreturi\", response=\"secretresponse\"",
    );
    for request in [mark(Request::to("secret.example")), mark(other_realm), proved] {
        for source in [INSIDE, OUTSIDE] {
            let text = decided(&world, &request, source, false).to_string();
            for personal in ["secret", "192.0.2.", "198.51.", "alice"] {
                assert!(!text.contains(personal), "{personal} in {text}");
            }
            let text = decided(&world, &request, source, true).to_string();
            for never in ["secretnonce", "secretresponse", "secreturi", PASSWORD] {
                assert!(!text.contains(never), "{never} in {text}");
            }
        }
    }
}

#[test]
fn of_several_credentials_those_for_the_own_realm_are_recorded() {
    let world = World::new();
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let own = Answer::answer(&challenge.values[0], &request, "mallory", PASSWORD).text();
    let foreign = "Digest username=\"bob\", realm=\"other.example\", nonce=\"n\", uri=\"sip:a\", \
                   response=\"00000000000000000000000000000000\", algorithm=SHA-256";
    for values in [[foreign, &own], [&own, foreign]] {
        let both = values.iter().fold(request.clone(), |request, value| request.with(value));
        let line = decided(&world, &both, OUTSIDE, true);
        assert_eq!((&line["claimed_user"], &line["realm"]), (&"mallory".into(), &REALM.into()));
        assert_eq!(line["cause"], "user-unknown");
    }
    // none is for this side
    let line = decided(&world, &request.clone().with(foreign), OUTSIDE, true);
    assert_eq!(line["cause"], "other-realm");
    assert_eq!((&line["claimed_user"], &line["realm"]), (&"bob".into(), &"other.example".into()));
    assert_eq!(line["algorithm"], "SHA-256");
    // no credentials of the scheme Digest
    let line = decided(&world, &request.with("Basic eDp5"), OUTSIDE, true);
    assert_eq!((line.get("header"), line.get("claimed_user")), (None, None));
}

#[test]
fn malformed_credentials_have_their_defect() {
    let world = World::new();
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let answer = Answer::answer(&challenge.values[0], &request, "alice", PASSWORD);
    for (text, defect) in [
        (answer.text_with("qop", "other"), "unknown-qop"),
        (answer.text_without("uri"), "missing-uri"),
    ] {
        let line = decided(&world, &request.clone().with(&text), OUTSIDE, false);
        assert_eq!(
            (&line["reason"], &line["defect"]),
            (&"malformed-credentials".into(), &defect.into())
        );
    }
    let line = decided(&world, &request.with(&answer.text()), OUTSIDE, false);
    assert_eq!((&line["outcome"], line.get("defect")), (&"accept".into(), None));
}

#[test]
fn an_address_admits_no_claimed_name() {
    let world = World::new();
    let header = "Digest username=\"eve\", realm=\"x\", nonce=\"n\", uri=\"sip:a\", response=\"0\"";
    let line = decided(&world, &Request::to(ACL_HOST).with(header), INSIDE, true);
    assert_eq!((&line["outcome"], &line["claimed_user"]), (&"accept".into(), &"eve".into()));
    assert!(line.get("username").is_none(), "{line}");
    let both = world.answered(&Request::to(BOTH_HOST), INSIDE, "alice", PASSWORD);
    let line = decided(&world, &both, INSIDE, true);
    assert_eq!((&line["username"], line.get("claimed_user")), (&"alice".into(), None));
}

#[test]
fn another_message_has_what_can_be_read_of_it() {
    let publish = b"PUBLISH sip:bob@x.example SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\
        From: \"A\" <sip:alice@x.example>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: c1\r\n\
        CSeq: 7 PUBLISH\r\nUser-agent: P\r\n\r\n";
    let line = other(Cause::Method, publish);
    for (field, expected) in [
        ("outcome", "answered"),
        ("reason", "method not allowed"),
        ("method", "PUBLISH"),
        ("host", "x.example"),
        ("called", "bob"),
        ("from", "alice"),
        ("call_id", "c1"),
        ("user_agent", "P"),
        ("source", INSIDE),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!((&line["status"], &line["cseq"]), (&405.into(), &7.into()));
    assert!(line.get("repeat").is_none() && line.get("cause").is_none(), "{line}");

    // every prefix of a message has a record
    for end in 0..publish.len() {
        let line = other(Cause::NoBlankLine, &publish[..end]);
        assert_eq!(line["source"], INSIDE);
    }
    let line = other(Cause::CSeq, b"INVITE tel:+1 SIP/2.0\r\nFrom: garbage <\r\nCSeq: x\r\n\r\n");
    assert_eq!((&line["called"], &line["from"]), (&"tel:+1".into(), &"garbage <".into()));
    assert_eq!((line.get("host"), line.get("cseq")), (None, None));
    let line = other(Cause::NotSip, b"\x80\0\0\x01 media");
    assert_eq!((line.get("method"), &line["outcome"]), (None, &"dropped".into()));
    let line = other(Cause::MalformedResponse, b"SIP/2.0 200 OK\r\nCall-ID: c2\r\n\r\n");
    assert_eq!((line.get("method"), &line["call_id"]), (None, &"c2".into()));
}

#[test]
fn a_password_in_a_text_that_is_no_uri_is_cut() {
    for (text, kept) in [
        ("sip:alice:secret@x y", "sip:alice"),
        ("SIPS:alice:secret@x y", "SIPS:alice"),
        ("alice:secret@x y", "alice"),
        ("\"A\" <sip:alice:secret@x", "\"A\" <sip:alice"),
        ("sip:sip:secret@x@y z", "sip:sip"),
        ("\"A: B\" <sip:alice:secret@x", "\"A"),
        ("http:secret@x", "http"),
        ("sip:alice@x:y", "sip:alice@x:y"),
        ("tel:+1", "tel:+1"),
        ("x:y", "x:y"),
        ("", ""),
    ] {
        assert_eq!(without_password(text.as_bytes()), kept.as_bytes(), "{text}");
    }
    let head = "INVITE sip:bob:secret@x.example: SIP/2.0\r\nFrom: <sip:alice:secret@x y>\r\n\r\n";
    let line = other(Cause::BadUri, head.as_bytes());
    assert_eq!((&line["called"], &line["from"]), (&"sip:bob".into(), &"<sip:alice".into()));
    let readable = "INVITE sip:bob:secret@x.example SIP/2.0\r\nFrom: <sip:alice:secret@x>\r\n\r\n";
    let line = other(Cause::MissingTo, readable.as_bytes());
    assert_eq!((&line["called"], &line["from"]), (&"bob".into(), &"alice".into()));
}

#[test]
fn a_verdict_has_the_texts_of_its_decision() {
    let world = World::new();
    let challenge = world.challenge(&Request::to(HOST), OUTSIDE);
    let mut decisions = Vec::new();
    for kind in [ChallengeKind::Proxy, ChallengeKind::Server] {
        for stale in [false, true] {
            let mut challenge: Challenge = challenge.clone();
            (challenge.kind, challenge.stale) = (kind, stale);
            decisions.push(Decision::Challenge(challenge));
        }
    }
    let accept = kit::accepted(world.send(&Request::to(ACL_HOST), INSIDE));
    for repeat in [false, true] {
        let mut accept = accept.clone();
        accept.repeat = repeat;
        decisions.push(Decision::Accept(accept));
    }
    let rejects = Reason::ALL.iter().map(|reason| Decision::Reject(Reject::new(None, *reason)));
    decisions.extend(rejects);
    for decision in decisions {
        let verdict = Verdict::of(&decision);
        assert_eq!((verdict.outcome(), verdict.reason()), (decision.outcome(), decision.reason()));
        assert_eq!(verdict.status(), Some(decision.status()));
    }
}

#[test]
fn a_plain_uri_has_the_parts_that_the_whole_parser_finds() {
    let mut plain = 0;
    for user in ["alice", "+4930-1_2.3", "a%20b", "a:b", "", "ä", "a;b", "*1"] {
        for host in ["x.example", "192.0.2.1", "[2001:db8::1]", "x", "a-b.c1"] {
            for rest in ["", ";transport=udp", ":5060", "?a=b"] {
                let uri = format!("sip:{user}@{host}{rest}");
                let parsed = SipUri::parse_request_uri(&uri);
                let parts = parsed.map(|uri| (uri.host, uri.user.unwrap_or_default()));
                assert_eq!(host_and_user(&uri), parts.unwrap_or(("", without_secret(&uri))));
                for name in ["", "A ", "\"A <sip:eve@x>\" ", "\"A\" ", "A < "] {
                    let value = format!("{name}<{uri}>;tag=1");
                    let whole = || {
                        let from = name_addr(value.as_bytes())?;
                        SipUri::parse_request_uri(from.uri).ok()?.user
                    };
                    if let Some(user) = plain_user(value.as_bytes()) {
                        assert_eq!(Some(str::from_utf8(user).unwrap()), whole(), "{value}");
                        plain += 1;
                    }
                }
            }
        }
    }
    // two users, four hosts, three names, and each end but that of headers
    assert_eq!(plain, 2 * 4 * 3 * 3);
    for other in ["sip:alice", "sips:alice@x", "sip:@x", "tel:+1", "sip:alice@", "SIP:alice@x"] {
        assert_eq!(plain_uri(other.as_bytes()), None, "{other}");
    }
}

fn without_secret(uri: &str) -> &str {
    str::from_utf8(without_password(uri.as_bytes())).unwrap()
}
