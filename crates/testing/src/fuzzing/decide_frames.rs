//! Bytes as a stream of the decision service, read beside a slow second reader.

use std::collections::BTreeMap;

use sip_authz_decide::{
    AnswerWriter, Content, Frame, Goodbye, Hello, MAX_FRAME, Outcome, PREFIX, Request,
    RequestWriter, Welcome, split,
};

/// The values of each tag.
type Values = BTreeMap<u16, Vec<Vec<u8>>>;

/// Reads the frames at the start of `bytes`.
///
/// Returns the name of the last one: `hello`, `welcome`, `message`, `parsed`, `answer` or `goodbye`;
/// `refused` for one that cannot be read, `partial` if its end is missing, and `none` without bytes.
///
/// # Panics
///
/// If a slow reader finds other values, or a frame that is written again reads as another.
pub fn fuzz_decide_frames(bytes: &[u8]) -> &'static str {
    let (mut rest, mut name) = (bytes, "none");
    while !rest.is_empty() {
        let (frame, length) = match split(rest) {
            Err(_) => return "refused",
            Ok(None) => return "partial",
            Ok(Some(found)) => found,
        };
        assert_eq!(frame.len() + PREFIX, length);
        assert!(length <= rest.len() && frame.len() <= MAX_FRAME);
        let Ok(read) = Frame::decode(frame) else { return "refused" };
        // a frame that can be read has whole fields
        let (kind, values) = slow_fields(frame).unwrap_or_default();
        let copy;
        (name, copy) = check(&read, kind, &values);
        // fields in another order read as the same, and unknown ones are gone
        let (again, _) = split(&copy).ok().flatten().unwrap_or_default();
        let (_, mut known) = (kind, values);
        known.retain(|tag, _| (1..=last_tag(kind)).contains(tag));
        assert_eq!(slow_fields(again).map(|it| it.1), Some(known), "{read:?}");
        rest = rest.get(length..).unwrap_or_default();
    }
    name
}

/// The last tag of the fields of a kind of frame. The first is 1.
fn last_tag(kind: u8) -> u16 {
    match kind {
        1 => 3,
        2 => 4,
        3 => 8,
        4 => 14,
        _ => 2,
    }
}

/// The kind and the fields of a frame, one byte after the other.
fn slow_fields(frame: &[u8]) -> Option<(u8, Values)> {
    let mut bytes = frame.iter().copied();
    let kind = bytes.next()?;
    let mut values = Values::new();
    while bytes.len() > 0 {
        let tag = u16::from(bytes.next()?) * 256 + u16::from(bytes.next()?);
        let mut length = 0_u64;
        for _ in 0..4 {
            length = length * 256 + u64::from(bytes.next()?);
        }
        let mut value = Vec::new();
        for _ in 0..length {
            value.push(bytes.next()?);
        }
        values.entry(tag).or_default().push(value);
    }
    Some((kind, values))
}

/// Compares a frame with the values that the slow reader found. Returns its name, and the frame written
/// again.
fn check(read: &Frame<'_>, kind: u8, values: &Values) -> (&'static str, Vec<u8>) {
    let all = |tag| values.get(&tag).cloned().unwrap_or_default();
    let one = |tag| all(tag).pop();
    let text = |tag| one(tag).map(|it| String::from_utf8(it).unwrap_or_default());
    let mut out = Vec::new();
    let (name, written) = match read {
        Frame::Hello(hello) => {
            assert_eq!(hello.token.map(<[u8]>::to_vec), one(3));
            let mut copy = Hello::new(hello.token);
            copy.versions = hello.versions.clone();
            ("hello", copy.encode(&mut out))
        }
        Frame::Welcome(welcome) => {
            assert_eq!(one(2), Some(welcome.version.to_be_bytes().to_vec()));
            ("welcome", Welcome::new(welcome.version, welcome.limit).encode(&mut out))
        }
        Frame::Request(request) => {
            assert_eq!(one(1), Some(request.id.to_be_bytes().to_vec()));
            assert_eq!(text(2).as_deref(), Some(request.transport));
            let Request { id, transport, source, .. } = *request;
            let writer = RequestWriter::new(&mut out, id, transport, source);
            match &request.content {
                Content::Message(message) => {
                    assert_eq!(one(4).as_deref(), Some(*message));
                    ("message", writer.message(message).end())
                }
                Content::Parsed(parsed) => {
                    assert_eq!(
                        (one(5), one(6)),
                        (Some(parsed.method.into()), Some(parsed.uri.into()))
                    );
                    let mut writer = writer.start_line(parsed.method, parsed.uri);
                    for (name, value) in parsed.headers() {
                        writer = writer.header(name, value);
                    }
                    assert_eq!(one(8).unwrap_or_default(), parsed.body);
                    if one(8).is_some() {
                        writer = writer.body(parsed.body);
                    }
                    ("parsed", writer.end())
                }
            }
        }
        Frame::Answer(answer) => {
            assert_eq!(one(2), Some(vec![answer.outcome.number()]));
            // nothing but the byte 1 accepts
            assert_eq!(answer.outcome == Outcome::Accept, all(2) == [[1]]);
            let texts = [
                (4, answer.phrase),
                (7, answer.account),
                (8, answer.target),
                (9, answer.target_name),
                (10, answer.user),
                (13, answer.reason),
                (14, answer.cause),
            ];
            for (tag, value) in texts {
                assert_eq!(text(tag).as_deref(), value, "{tag}");
            }
            assert_eq!(answer.is_retransmission, one(12).is_some());
            let mut writer = AnswerWriter::new(&mut out, answer.id, answer.outcome);
            if let Some(status) = answer.status {
                writer = writer.status(status);
            }
            for line in answer.header_lines() {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match value.strip_prefix(' ').and_then(|value| value.strip_suffix("\r\n")) {
                    Some(value) => writer = writer.header_line(name, value),
                    // the writer puts a space behind the colon
                    None => return ("answer", rewritten(kind, values, answer.header_lines())),
                }
            }
            if let Some(used) = answer.used_header {
                writer = writer.used_header(used.index, used.name);
            }
            let [phrase, account, target, name, user, reason, cause] = texts.map(|it| it.1);
            writer = phrase.into_iter().fold(writer, AnswerWriter::phrase);
            writer = account.into_iter().fold(writer, AnswerWriter::account);
            writer = target.into_iter().fold(writer, AnswerWriter::target);
            writer = name.into_iter().fold(writer, AnswerWriter::target_name);
            writer = user.into_iter().fold(writer, AnswerWriter::user);
            writer = reason.into_iter().fold(writer, AnswerWriter::reason);
            writer = cause.into_iter().fold(writer, AnswerWriter::cause);
            writer = answer.permissions().fold(writer, AnswerWriter::permission);
            if answer.is_retransmission {
                writer = writer.retransmission();
            }
            ("answer", writer.end())
        }
        Frame::Goodbye(goodbye) => {
            assert_eq!(one(1), Some(vec![goodbye.code.number()]));
            assert_eq!(text(2).unwrap_or_default(), goodbye.text);
            if one(2).is_none() {
                return ("goodbye", rewritten(kind, values, std::iter::empty()));
            }
            ("goodbye", Goodbye::new(goodbye.code, goodbye.text).encode(&mut out))
        }
    };
    assert_eq!(written, Ok(()));
    (name, out)
}

/// The known fields of a frame, for one that the writer would write in another form. `lines` are its
/// header lines as read.
fn rewritten<'l>(kind: u8, values: &Values, lines: impl Iterator<Item = &'l str>) -> Vec<u8> {
    let read: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    if kind == 4 {
        assert_eq!(values.get(&5).cloned().unwrap_or_default(), read);
    }
    let mut body = vec![kind];
    for (tag, all) in values.range(1..=last_tag(kind)) {
        for value in all {
            body.extend(tag.to_be_bytes());
            body.extend(u32::try_from(value.len()).unwrap_or_default().to_be_bytes());
            body.extend(value);
        }
    }
    [&u32::try_from(body.len()).unwrap_or_default().to_be_bytes()[..], &body].concat()
}
