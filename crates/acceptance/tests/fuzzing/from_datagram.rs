//! The seeds of the fuzz target `from_datagram`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::seeds;
use rsip::Request;
use sip_authz::message::Message;
use sip_authz::{Decision, Invite, Transport};
use sip_authz_testing::fuzzing::from_datagram::*;

#[test]
fn snapshot_is_complete() {
    let debug = format!("{:?}", admitting());
    assert_eq!(debug, "Snapshot { number: 1, targets: 12, credentials: 0, .. }");
}

/// The name of a seed begins with its outcome: `none`, `refused`, `accept`, or `lenient` if the library
/// accepts what rsip rejects.
#[test]
fn seeds_have_the_outcome_in_their_name() {
    let (mut reasons, mut wrong) = (BTreeSet::new(), Vec::new());
    for (file, bytes) in seeds("from_datagram") {
        let theirs = Request::try_from(&bytes[..]);
        let name = match fuzz_from_datagram(&bytes) {
            None => "none",
            Some(Decision::Accept(_)) if theirs.is_ok() => "accept",
            Some(Decision::Accept(_)) => "lenient",
            Some(_) => "refused",
        };
        if file.split_once('.').map(|(name, _)| name) != Some(name) {
            wrong.push((file, name));
        }
        if name == "lenient" {
            let message = Message::scan(&bytes).unwrap();
            let invite = Invite::from_datagram(&bytes, SOURCE, Transport::Udp).unwrap();
            reasons.extend(why_rsip_refuses(&bytes, &message, invite.request_uri()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(reasons.len(), 11, "a seed for each: {reasons:?}");
}

#[test]
fn torture_messages_and_requests_are_parsed_equally() {
    let mut accepted = 0;
    for folder in ["tests/torture/rfc4475", "tests/torture/rfc5118", "fuzz/seeds/request"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            accepted += u32::from(fuzz_from_datagram(&bytes).is_some_and(|it| it.is_accept()));
        }
    }
    assert!(accepted >= 20, "{accepted}");
}

/// A text inserted into a seed in place of some bytes.
type Edit = (Index, usize, Vec<u8>);

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    const TEXTS: [&str; 47] = [
        "",
        " ",
        "\t",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\r\n ",
        "\r\n\r\n",
        ":",
        ";",
        "@",
        "?",
        "=",
        ".",
        "[",
        "]",
        "%31",
        "%",
        "sip:",
        "sips:",
        "://",
        "a.b",
        "a:b@",
        ";lr",
        ";transport=tcp",
        ";maddr=1",
        "?a=b",
        ":5060",
        ":+5060",
        ":0",
        " SIP/2.0",
        "INVITE ",
        "f: x\r\n",
        "l: 4\r\n",
        "Via: x\r\n",
        "Authorization: Digest x\r\n",
        "2001:db8::9",
        "+",
        "\u{e9}",
        ";transport=udp;transport=udp",
        ";;x=",
        "?",
        "%zz",
        "\x0b",
        " \r\n",
        "\r\n \x01",
    ];
    let text = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    (any::<Index>(), 0..4_usize, text)
}

/// The bytes with each edit made in its first line or anywhere.
pub(crate) fn edited(bytes: &[u8], edits: Vec<(bool, Edit)>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (early, (at, len, text)) in edits {
        let end = if early { bytes.len().min(60) } else { bytes.len() };
        let at = at.index(end + 1);
        let end = bytes.len().min(at + len);
        bytes.splice(at..end, text);
    }
    bytes
}

proptest! {
    #[test]
    fn edited_seeds_are_parsed_equally(
        seed in any::<Index>(),
        // most edits are in the first line, where the parsers differ
        edits in prop::collection::vec((any::<bool>(), edit()), 1..4),
    ) {
        static SEEDS: LazyLock<Vec<(String, Vec<u8>)>> =
            LazyLock::new(|| seeds("from_datagram"));
        let bytes = edited(&seed.get(&SEEDS).1, edits);
        fuzz_from_datagram(&bytes);
    }
}
