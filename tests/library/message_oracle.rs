//! Compares [`Message::scan`] and [`frame`] with a slow line-by-line parser on damaged messages: both
//! must find the same fields, body, first defect, flawed headers and lengths on a stream.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sip_authz::message::{Frame, Header, MAX_FIELDS, MAX_HEAD, Message, StartLine, frame};
use sip_authz_testing::message_oracle;
use sip_authz_testing::message_oracle::{OracleMessage, Uncut};

const PLAIN: &str = "INVITE sip:+14155550100@pbx.example.com:5060;user=phone SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bK776asdhds8231;rport\r\n\
Route: <sip:edge.example.com;lr>\r\n\
Max-Forwards: 70\r\n\
To: <sip:+14155550100@pbx.example.com>\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=1928301774\r\n\
Call-ID: a84b4c76e66710@192.0.2.77\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@192.0.2.77:5060>\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n\
Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\"\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 12\r\n\
\r\n\
v=0\r\nTo: x\r\n\r\n";

const FOLDED: &str = "INVITE sip:a@b SIP/2.0\r\n\
v : SIP/2.0/UDP a\r\n\t;branch=z9hG4bK1\r\n\
f:\r\n <sip:a@b>\r\n  ;tag=1\r\n\
T\t: <sip:c@d>\r\n\
i: x\r\n\
cSEQ: 0001\r\n INVITE\r\n\
authorization: Digest one\r\n\
PROXY-AUTHORIZATION  : Digest two\r\n\
Authorization:Digest\r\n three\r\n\
l: 3\r\n\
\r\n\
abc";

const SHORT: &str = "OPTIONS sip:a SIP/2.0\r\nv:a\r\nf:b\r\nt:c\r\ni:d\r\nCSeq:1 OPTIONS\r\n\r\n";

const RESPONSE: &str = "SIP/2.0 200 OK\r\nVia: a\r\nFrom: b\r\nTo: c\r\nCall-ID: d\r\n\
CSeq: 1 INVITE\r\nTimestamp: 5\r\nRecord-Route: <sip:x>\r\nRequire: y\r\nl: 0\r\n\r\n";

const HEADERS: [Header; 17] = [
    Header::Via,
    Header::From,
    Header::To,
    Header::CallId,
    Header::CSeq,
    Header::Contact,
    Header::ContentLength,
    Header::ContentType,
    Header::Authorization,
    Header::ProxyAuthorization,
    Header::MaxForwards,
    Header::Require,
    Header::ProxyRequire,
    Header::RecordRoute,
    Header::Route,
    Header::Timestamp,
    Header::Other,
];

const BASES: [&str; 4] = [PLAIN, FOLDED, SHORT, RESPONSE];

/// Pieces to insert or to overwrite with.
const PIECES: [&[u8]; 59] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n \r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\x1f",
    b"\x0b",
    b":",
    b"::",
    b"\xe4",
    b"\xff",
    b"\xc3\xa4",
    b"\"",
    b"<",
    b"@",
    b"-",
    b"_",
    b"To: x\r\n",
    b"t: x\r\n",
    b"From : x\r\n",
    b"Via: x\r\n",
    b"v:\r\n",
    b"Call-ID:\r\n",
    b"CSeq: 1 INVITE\r\n",
    b"Max-Forwards: 256\r\n",
    b"Max-Forwards: 00255\r\n",
    b"l: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: 00000000000000000000000000000003\r\n",
    b"Authorization: Digest x\r\n",
    b"Proxy-Authorization: y\r\n",
    b"Proxy-Authorizatiom: y\r\n",
    b"X\0: y\r\n",
    b"T\0: y\r\n",
    b"NoColon\r\n",
    b"A-Name-Of-Sixteen: z\r\n",
    b"SIP/2.0",
    b" \r\n",
    b"\r\n \x0b\r\n",
    b"Max-Forwards: x\r\n",
    b"CSeq: 4294967295 INVITE\r\n",
    b"CSeq: 4294967296 INVITE\r\n",
    // lines that another parser could take for a Content-Length
    b" Content-Length: 3\r\n",
    b"Content-Length\r\n : 3\r\n",
    b"Content-Length \r\n\t: 3\r\n",
    b"\"Content-Length\": 3\r\n",
    b"Content-Length\xa0: 3\r\n",
    b"\xefContent-Length: 3\r\n",
    b"Content Length: 3\r\n",
    b": 3\r\n",
];

#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Insert(Index, usize),
    Over(Index, usize),
    Remove(Index, usize),
    Truncate(Index),
    /// Copies a line to another position.
    Again(Index, Index),
    /// Changes the case of a byte.
    Case(Index),
    /// Inserts a piece many times.
    Flood(Index, usize, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    let piece = 0..PIECES.len();
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        6 => (any::<Index>(), piece.clone()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        4 => (any::<Index>(), piece.clone()).prop_map(|(at, piece)| Damage::Over(at, piece)),
        3 => (any::<Index>(), 1..30_usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => any::<Index>().prop_map(Damage::Truncate),
        4 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Again(from, to)),
        2 => any::<Index>().prop_map(Damage::Case),
        1 => (any::<Index>(), piece, 200..4_000_u16)
            .prop_map(|(at, piece, times)| Damage::Flood(at, piece, times)),
    ]
}

/// Start of each line in `bytes`; pieces that are lines are most harmful there.
fn line_starts(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect()
}

fn place(bytes: &[u8], at: &Index, piece: &[u8]) -> usize {
    if piece.ends_with(b"\r\n") && piece.len() > 4 {
        let starts = line_starts(bytes);
        starts[at.index(starts.len())]
    } else {
        at.index(bytes.len() + 1)
    }
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Byte(at, byte) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Insert(at, piece) => {
            let at = place(bytes, at, PIECES[*piece]);
            bytes.splice(at..at, PIECES[*piece].iter().copied());
        }
        Damage::Over(at, piece) => {
            let at = place(bytes, at, PIECES[*piece]);
            let end = bytes.len().min(at + PIECES[*piece].len());
            bytes.splice(at..end, PIECES[*piece].iter().copied());
        }
        Damage::Remove(at, len) => {
            let at = at.index(bytes.len() + 1);
            bytes.drain(at..bytes.len().min(at + len));
        }
        Damage::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Damage::Again(from, to) => {
            let starts = line_starts(bytes);
            let (from, to) = (starts[from.index(starts.len())], starts[to.index(starts.len())]);
            let end = bytes[from..].iter().position(|byte| *byte == b'\n');
            let line = bytes[from..end.map_or(bytes.len(), |len| from + len + 1)].to_vec();
            bytes.splice(to..to, line);
        }
        Damage::Case(at) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= 0x20;
        }
        Damage::Flood(at, piece, times) => {
            let at = place(bytes, at, PIECES[*piece]);
            bytes.splice(at..at, PIECES[*piece].repeat(usize::from(*times)));
        }
        Damage::Byte(..) | Damage::Case(_) => {}
    }
}

fn read(message: &Message<'_>) -> OracleMessage {
    let start = match message.start_line() {
        StartLine::Request { method, uri } => Ok((method.to_owned(), uri.to_owned())),
        StartLine::Response { status } => Err(status),
    };
    let fields: Vec<_> = message
        .fields()
        .map(|field| (field.header, field.name.to_vec(), field.value.to_vec()))
        .collect();
    for header in [Header::Via, Header::To, Header::Authorization, Header::ContentLength] {
        let first = fields.iter().find(|field| field.0 == header);
        assert_eq!(message.first(header), first.map(|(_, _, value)| &value[..]));
    }
    let flawed = HEADERS.into_iter().filter(|header| !message.is_well_formed(*header));
    OracleMessage {
        start,
        fields,
        body: message.body().to_vec(),
        defect: message.defect(),
        stream_defect: message.stream_defect(),
        flawed: flawed.map(Header::name).collect(),
        trailing_space: message.has_trailing_space(),
    }
}

/// Compares how both cut a stream. Whatever the scan refuses in the lines of a head ends the stream.
fn compare_frames(bytes: &[u8]) {
    let text = || format!("{:.3000}", bytes.escape_ascii());
    let framed = frame(bytes).map(|framed| framed.map(|Frame { head, body }| (head, body)));
    match message_oracle::frame(bytes) {
        // an error may show before the head is complete
        Ok(None) => assert!(!matches!(framed, Ok(Some(_))), "{framed:?}: {}", text()),
        expected => assert_eq!(framed.map_err(|_| Uncut), expected, "{}", text()),
    }
}

/// Compares both parsers; returns whether the message has no defect.
fn compare(bytes: &[u8]) -> bool {
    compare_frames(bytes);
    let (ours, theirs) =
        (Message::scan(bytes).map(|message| read(&message)), message_oracle::scan(bytes));
    assert_eq!(ours, theirs, "{:.3000}", bytes.escape_ascii());
    ours.is_some_and(|message| message.defect.is_none())
}

#[test]
fn undamaged_and_cut_off_at_every_byte() {
    for base in BASES {
        assert!(compare(base.as_bytes()), "{base}");
        for len in 0..base.len() {
            assert!(!compare(&base.as_bytes()[..len]) || len >= base.find("\r\n\r\n").unwrap());
        }
    }
}

#[test]
fn every_byte_replaced_by_every_other() {
    for base in [SHORT, FOLDED] {
        for (at, byte) in (0..base.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            let mut bytes = base.as_bytes().to_vec();
            bytes[at] = byte;
            compare(&bytes);
        }
    }
}

#[test]
fn every_piece_at_every_place() {
    for (base, piece) in [FOLDED, SHORT].iter().flat_map(|base| PIECES.map(|piece| (base, piece))) {
        for at in 0..base.len() {
            let (before, after) = base.as_bytes().split_at(at);
            compare(&[before, piece, after].concat());
        }
    }
}

#[test]
fn a_cr_missing_in_one_place_and_a_control_character_too_many_in_another() {
    for base in [FOLDED, SHORT] {
        for cr in base.match_indices('\r').map(|(at, _)| at) {
            for at in 0..base.len() {
                let mut bytes = base.as_bytes().to_vec();
                bytes[at] = 0x7f;
                bytes.remove(cr);
                compare(&bytes);
            }
        }
    }
}

#[test]
fn at_the_limits() {
    let head = PLAIN.find("\r\n\r\n").unwrap() + 2;
    let (before, after) = PLAIN.split_at(head);
    for len in [MAX_HEAD - 3, MAX_HEAD - 2, MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1, MAX_HEAD + 900] {
        let pad = "a".repeat(len - head - "X: \r\n".len());
        compare(format!("{before}X: {pad}\r\n{after}").as_bytes());
        compare(format!("{before}X: {pad}\r{after}").as_bytes());
    }
    for fields in MAX_FIELDS - 14..MAX_FIELDS + 2 {
        compare(format!("{before}{}{after}", "x: y\r\n".repeat(fields)).as_bytes());
        compare(format!("{before}{}{after}", "x: y\r\n \t\r\n".repeat(fields)).as_bytes());
    }
}

/// A head is cut the same however much of the stream has arrived, and an error stays one.
#[test]
fn a_longer_stream_is_cut_the_same() {
    for (base, piece) in BASES.iter().flat_map(|base| PIECES.map(|piece| (base, piece))) {
        for at in line_starts(base.as_bytes()) {
            let (before, after) = base.as_bytes().split_at(at);
            let bytes = [before, piece, after].concat();
            let mut last = Ok(None);
            for len in 0..=bytes.len() {
                let framed = frame(&bytes[..len]);
                assert!(last == framed || last == Ok(None), "{:?}", bytes.escape_ascii());
                last = framed;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_048,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_in_any_way(base in select(BASES.to_vec()), damages in vec(damage(), 1..5)) {
        let mut bytes = base.as_bytes().to_vec();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        compare(&bytes);
    }

    #[test]
    fn bytes_like_lines(lines in vec("[TtvViFf:0\r\n \t\\x00a-]{0,12}(\r\n|\n|\r)?", 0..12)) {
        compare(format!("INVITE sip:a SIP/2.0\r\n{}", lines.concat()).as_bytes());
    }
}
