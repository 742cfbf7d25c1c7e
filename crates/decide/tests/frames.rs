//! Frames that are written are read again; truncated and corrupted ones never panic or read as others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proptest::sample::Index;
use sip_authz_decide::{
    Answer, AnswerWriter, Content, EncodeError, Frame, FrameError, Goodbye, GoodbyeCode, Hello,
    MAX_FRAME, Outcome, PREFIX, Request, RequestWriter, VERSION, Welcome, split,
};

const OUTCOMES: [Outcome; 5] =
    [Outcome::Accept, Outcome::Challenge, Outcome::Reject, Outcome::Undecided, Outcome::Overloaded];

/// The one frame in these bytes.
fn only(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (frame, length) = split(bytes)?.expect("a whole frame");
    assert_eq!(length, bytes.len());
    Frame::decode(frame)
}

fn request(bytes: &[u8]) -> Request<'_> {
    let Frame::Request(request) = only(bytes).unwrap() else { panic!("no request") };
    request
}

fn answer(bytes: &[u8]) -> Answer<'_> {
    let Frame::Answer(answer) = only(bytes).unwrap() else { panic!("no answer") };
    answer
}

/// A frame of this kind with these fields.
fn frame(kind: u8, fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![kind];
    for (tag, value) in fields {
        body.extend(tag.to_be_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn error(bytes: &[u8]) -> FrameError {
    only(bytes).expect_err("an error")
}

const SOURCE: &[u8] = &[192, 0, 2, 1, 0x13, 0xc4];

/// The fields of a request with a message.
fn fields() -> Vec<(u16, &'static [u8])> {
    vec![(1, &[0, 0, 0, 0, 0, 0, 0, 9]), (2, b"TLS"), (3, SOURCE), (4, b"INVITE")]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn word() -> impl Strategy<Value = String> {
    "[ -~é☎]{1,20}"
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(
        id: u64, transport in word(), ip in ip(), port: u16, message in bytes(300),
    ) {
        let (source, mut out) = (SocketAddr::new(ip, port), b"before".to_vec());
        RequestWriter::new(&mut out, id, &transport, source).message(&message).end().unwrap();
        let read = request(&out[6..]);
        prop_assert_eq!((read.id, read.transport, read.source), (id, &*transport, source));
        prop_assert!(matches!(read.content, Content::Message(it) if it == message));
    }

    #[test]
    fn parsed_requests_are_read_as_they_were_written(
        method in bytes(20), uri in bytes(20), body in bytes(50),
        headers in prop::collection::vec((bytes(20), bytes(50)), 0..8),
    ) {
        let mut out = Vec::new();
        let source = "[2001:db8::1]:5061".parse().unwrap();
        let mut writer = RequestWriter::new(&mut out, 1, "TCP", source).start_line(&method, &uri);
        for (name, value) in &headers {
            writer = writer.header(name, value);
        }
        writer.body(&body).end().unwrap();
        let Content::Parsed(read) = request(&out).content else { panic!("no parts") };
        prop_assert_eq!((read.method, read.uri, read.body), (&*method, &*uri, &*body));
        let read: Vec<_> = read.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(read, headers);
    }

    #[test]
    fn answers_are_read_as_they_were_written(
        id: u64, outcome in prop::sample::select(&OUTCOMES[..]), status in 300..700_u16, phrase in word(),
        values in prop::collection::vec(word(), 0..4), index: u16, sid in word(), user in ".{0,20}",
        permissions in prop::collection::vec(word(), 0..4), again: bool,
    ) {
        let mut out = Vec::new();
        let mut writer = AnswerWriter::new(&mut out, id, outcome)
            .status(status)
            .phrase(&phrase)
            .used_header(index, "Authorization")
            .account(&sid)
            .target(&sid)
            .target_name(&phrase)
            .user(&user)
            .reason(&sid)
            .cause(&phrase);
        for value in &values {
            writer = writer.header_line("WWW-Authenticate", value);
        }
        for permission in &permissions {
            writer = writer.permission(permission);
        }
        if again {
            writer = writer.retransmission();
        }
        writer.end().unwrap();
        let read = answer(&out);
        prop_assert_eq!((read.id, read.outcome, read.status), (id, outcome, Some(status)));
        let used = read.used_header.unwrap();
        prop_assert_eq!((used.index, used.name), (index, "Authorization"));
        let texts = [read.account, read.target, read.reason, read.phrase, read.target_name, read.cause];
        let (sid, phrase) = (Some(&*sid), Some(&*phrase));
        prop_assert_eq!(texts, [sid, sid, sid, phrase, phrase, phrase]);
        prop_assert_eq!((read.user, read.is_retransmission), (Some(&*user), again));
        let lines: Vec<_> = values.iter().map(|it| format!("WWW-Authenticate: {it}\r\n")).collect();
        prop_assert_eq!(read.header_lines().collect::<Vec<_>>(), lines);
        prop_assert_eq!(read.permissions().collect::<Vec<_>>(), permissions);
    }

    /// Each part of a stream has the frames of the whole stream, and never another one.
    #[test]
    fn a_stream_that_arrives_in_parts_has_the_same_frames(messages in prop::collection::vec(bytes(40), 1..5), at: Index) {
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        for message in &messages {
            let source = SocketAddr::from(([192, 0, 2, 1], 1));
            RequestWriter::new(&mut out, 1, "UDP", source).message(message).end().unwrap();
            ends.push(out.len());
        }
        let part = &out[..at.index(out.len() + 1)];
        let (mut start, mut read) = (0, 0);
        while let Some((_, length)) = split(&part[start..]).unwrap() {
            start += length;
            prop_assert_eq!(start, ends[read]);
            read += 1;
        }
        prop_assert_eq!(read, ends.iter().filter(|end| **end <= part.len()).count());
    }

    #[test]
    fn truncated_and_corrupted_frames_never_panic(
        message in bytes(60), edits in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6), cut: Index,
    ) {
        let mut out = Vec::new();
        let source = SocketAddr::from(([192, 0, 2, 1], 1));
        let writer = RequestWriter::new(&mut out, 1, "UDP", source).start_line(b"INVITE", b"sip:a@b");
        writer.header(b"From", &message).body(b"x").end().unwrap();
        AnswerWriter::new(&mut out, 1, Outcome::Reject).header_line("A", 1).permission("p").end().unwrap();
        for (at, byte) in edits {
            let at = at.index(out.len());
            out[at] = byte;
        }
        let mut rest = &out[..cut.index(out.len() + 1)];
        while let Ok(Some((frame, length))) = split(rest) {
            match Frame::decode(frame) {
                Ok(Frame::Request(request)) => {
                    if let Content::Parsed(parsed) = request.content {
                        prop_assert!(parsed.headers().count() < frame.len());
                    }
                }
                Ok(Frame::Answer(answer)) => {
                    prop_assert!(answer.header_lines().count() + answer.permissions().count() < frame.len());
                    prop_assert!(answer.header_lines().all(|line| line.ends_with("\r\n")));
                }
                _ => {}
            }
            rest = &rest[length..];
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in bytes(400)) {
        if let Ok(Some((frame, length))) = split(&bytes) {
            prop_assert!(length <= bytes.len());
            let _ = Frame::decode(frame);
        }
        let _ = Frame::decode(&bytes);
    }
}

#[test]
fn greetings_are_read_as_they_were_written() {
    for token in [None, Some(&b"secret"[..])] {
        let mut out = Vec::new();
        Hello::new(token).encode(&mut out).unwrap();
        let Frame::Hello(hello) = only(&out).unwrap() else { panic!("no hello") };
        assert_eq!((hello.versions.clone(), hello.token), (VERSION..=VERSION, token));
        assert!(!format!("{hello:?}").contains("secret"), "{hello:?}");
    }
    let mut out = Vec::new();
    Welcome::new(1, 131_072).encode(&mut out).unwrap();
    let Frame::Welcome(welcome) = only(&out).unwrap() else { panic!("no welcome") };
    assert_eq!(welcome, Welcome::new(1, 131_072));
    for number in 0..=u8::MAX {
        let bytes = frame(5, &[(1, &[number]), (2, "für das Log\n".as_bytes())]);
        let Frame::Goodbye(goodbye) = only(&bytes).unwrap() else { panic!("no goodbye") };
        assert_eq!((goodbye.code.number(), goodbye.text), (number, "für das Log\n"));
        assert_eq!(matches!(goodbye.code, GoodbyeCode::Unknown(_)), !(1..=8).contains(&number));
        let mut again = Vec::new();
        Goodbye::new(goodbye.code, goodbye.text).encode(&mut again).unwrap();
        assert_eq!(again, bytes);
    }
}

#[test]
fn unknown_fields_are_skipped() {
    let mut with = fields();
    with.insert(0, (99, b"of a later version"));
    with.push((0xffff, b""));
    let bytes = frame(3, &with);
    let read = request(&bytes);
    assert_eq!((read.id, read.transport), (9, "TLS"));
    assert!(matches!(read.content, Content::Message(b"INVITE")));
    let accept = frame(4, &[(1, &[0; 8]), (99, b"x"), (2, &[1])]);
    assert_eq!(answer(&accept).outcome, Outcome::Accept);
}

#[test]
fn the_order_of_fields_is_free() {
    let mut reversed = fields();
    reversed.reverse();
    assert_eq!(request(&frame(3, &reversed)).source, "192.0.2.1:5060".parse().unwrap());
}

#[test]
fn a_missing_or_repeated_field_is_an_error() {
    for (at, name) in ["id", "transport", "source", "message"].into_iter().enumerate() {
        let mut without = fields();
        let field = without.remove(at);
        assert_eq!(error(&frame(3, &without)), FrameError::Missing(name));
        without.extend([field, field]);
        assert_eq!(error(&frame(3, &without)), FrameError::Repeated(name));
    }
    assert_eq!(error(&frame(4, &[(1, &[0; 8])])), FrameError::Missing("outcome"));
    let twice: [(u16, &[u8]); 3] = [(1, &[0; 8]), (2, &[3]), (2, &[1])];
    assert_eq!(error(&frame(4, &twice)), FrameError::Repeated("outcome"));
    assert_eq!(error(&frame(1, &[(2, &[0, 1, 0, 1])])), FrameError::Missing("magic"));
    assert_eq!(error(&frame(1, &[(1, b"SIP-AUTHZ")])), FrameError::Missing("version"));
}

#[test]
fn a_message_and_parts_exclude_each_other() {
    for part in [(5, &b"INVITE"[..]), (6, b"sip:a@b"), (7, b"\0\x01aB"), (8, b"")] {
        let mut both = fields();
        both.push(part);
        assert_eq!(error(&frame(3, &both)), FrameError::Repeated("message"));
    }
}

#[test]
fn a_value_of_another_form_is_an_error() {
    for (tag, value, name) in [
        (1, &[0; 7][..], "id"),
        (1, &[0; 9], "id"),
        (2, b"", "transport"),
        (2, b"UDP\r\n", "transport"),
        (2, b"\xff", "transport"),
        (3, &[1, 2, 3, 4], "source"),
        (3, &[0; 5], "source"),
        (3, &[0; 17], "source"),
        (3, &[0; 19], "source"),
    ] {
        let mut wrong = fields();
        wrong[usize::from(tag) - 1] = (tag, value);
        assert_eq!(error(&frame(3, &wrong)), FrameError::Value(name), "{value:?}");
    }
    let parsed: Vec<(u16, &[u8])> = [&fields()[..3], &[(5, b"INVITE"), (6, b"sip:a@b")]].concat();
    assert!(only(&frame(3, &parsed)).is_ok());
    for header in [&b""[..], b"\0", b"\0\x05Call", b"\xff\xffx"] {
        let wrong = [&parsed[..], &[(7, header)]].concat();
        assert_eq!(error(&frame(3, &wrong)), FrameError::Value("header"), "{header:?}");
    }
    for (tag, value, name) in [
        (2, &[0][..], "outcome"),
        (2, &[6], "outcome"),
        (2, &[1, 1], "outcome"),
        (2, &[], "outcome"),
        (3, &[0, 200], "status"),
        (3, &[2, 188], "status"),
        (3, &[1], "status"),
        (4, b"OK\r\nVia: x", "phrase"),
        (5, b"A: b", "header line"),
        (5, b"A: b\n", "header line"),
        (5, b"A: b\r\nC: d\r\n", "header line"),
        (5, b": b\r\n", "header line"),
        (5, b"\r\n", "header line"),
        (6, b"\0", "used header"),
        (6, b"\0\0", "used header"),
        (11, b"", "permission"),
        (12, &[0], "retransmission"),
        (12, &[], "retransmission"),
    ] {
        let mut wrong: Vec<(u16, &[u8])> = vec![(1, &[0; 8])];
        if tag != 2 {
            wrong.push((2, &[1]));
        }
        wrong.push((tag, value));
        assert_eq!(error(&frame(4, &wrong)), FrameError::Value(name), "{tag} {value:?}");
    }
    for versions in [&[0, 2, 0, 1][..], &[0, 1], &[0, 1, 0, 1, 0]] {
        let wrong = frame(1, &[(1, b"SIP-AUTHZ"), (2, versions)]);
        assert_eq!(error(&wrong), FrameError::Value("version"));
    }
    let wrong = frame(1, &[(1, b"SIP-AUTHX"), (2, &[0, 1, 0, 1])]);
    assert_eq!(error(&wrong), FrameError::Value("magic"));
}

/// The caller of the host chooses them. An error would end the connection for all its other requests.
#[test]
fn no_part_of_a_parsed_request_is_an_error() {
    for part in [&b""[..], b"\0", b"\r\n", b"\xff\xfe", b"INVITE sip:a@b SIP/2.0\r\n"] {
        let header = [&u16::try_from(part.len()).unwrap().to_be_bytes()[..], part, part].concat();
        let parts = [(5, part), (6, part), (7, &header), (8, part)];
        let bytes = frame(3, &[&fields()[..3], &parts].concat());
        let Content::Parsed(read) = request(&bytes).content else { panic!("no parts") };
        assert_eq!((read.method, read.uri, read.body), (part, part, part));
        assert_eq!(read.headers().collect::<Vec<_>>(), [(part, part)]);
    }
}

#[test]
fn a_frame_has_a_known_kind_and_a_length_within_the_limit() {
    assert_eq!(split(&[0; 4]), Err(FrameError::Empty));
    for kind in [0, 6, 255] {
        assert_eq!(error(&frame(kind, &[])), FrameError::Kind(kind));
    }
    let length = u32::try_from(MAX_FRAME).unwrap();
    assert_eq!(split(&length.to_be_bytes()), Ok(None));
    assert_eq!(split(&(length + 1).to_be_bytes()), Err(FrameError::TooLong(length + 1)));
    // other protocols are refused by their first bytes
    for start in [b"GET ", b"INVI", b"\x16\x03\x01\x02"] {
        assert!(matches!(split(start), Err(FrameError::TooLong(_))), "{start:?}");
    }
    let mut cut = frame(3, &fields());
    cut.truncate(cut.len() - 1);
    let shorter = u32::try_from(cut.len() - PREFIX).unwrap();
    cut[..PREFIX].copy_from_slice(&shorter.to_be_bytes());
    assert_eq!(error(&cut), FrameError::Cut);
}

#[test]
fn what_cannot_be_written_leaves_the_buffer_as_it_was() {
    let (mut out, source) = (b"before".to_vec(), "192.0.2.1:1".parse().unwrap());
    let long = vec![b'x'; MAX_FRAME];
    let written = [
        RequestWriter::new(&mut out, 1, "UDP", source).message(&long).end(),
        RequestWriter::new(&mut out, 1, "UDP", source).header(&long, b"").end(),
        AnswerWriter::new(&mut out, 1, Outcome::Reject)
            .header_line("A", "x".repeat(MAX_FRAME))
            .end(),
    ];
    assert_eq!(written, [Err(EncodeError::TooLong); 3]);
    let written = [
        RequestWriter::new(&mut out, 1, "U\rDP", source).message(b"").end(),
        AnswerWriter::new(&mut out, 1, Outcome::Reject).header_line("A", "b\r\nVia: c").end(),
        AnswerWriter::new(&mut out, 1, Outcome::Reject).header_line("A\r\n", "b").end(),
        AnswerWriter::new(&mut out, 1, Outcome::Reject).phrase("a\0").end(),
    ];
    assert_eq!(written, [Err(EncodeError::LineEnd); 4]);
    assert_eq!(out, b"before");
    // the longest that fits
    let room = MAX_FRAME - 1 - (6 + 8) - (6 + 3) - (6 + 6) - 6;
    RequestWriter::new(&mut out, 1, "UDP", source).message(&long[..room]).end().unwrap();
    assert_eq!(out.len(), 6 + PREFIX + MAX_FRAME);
}
