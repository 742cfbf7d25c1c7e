//! The credentials header that was used, in messages with several.

use sip_authz::{CredentialsField, Decision, Invite, Transport, UsedHeader};
use sip_authz_testing::kit::*;

use CredentialsField::{Authorization, ProxyAuthorization};

const OTHERS: [&str; 4] = [
    r#"Digest realm="elsewhere.example", username="alice", nonce="1", uri="sip:a", response="0""#,
    "Basic YTpi",
    "Digest",
    r#"Digest realm="example.com", nonce="", response="""#,
];

fn name(field: CredentialsField) -> &'static str {
    match field {
        Authorization => "Authorization",
        ProxyAuthorization => "Proxy-Authorization",
    }
}

/// A request whose credentials headers have these names. The one at `right` has right credentials.
fn request(world: &World, number: usize, names: &[CredentialsField], right: usize) -> Request {
    let mut request = Request::to(HOST);
    request.call_id = format!("{number}@client");
    let challenge = world.challenge(&request, OUTSIDE);
    let answer = Header::answer(&challenge.values[0], &request, "alice", PASSWORD).text();
    for (at, field) in names.iter().enumerate() {
        let value = if at == right { &answer } else { OTHERS[(at + right) % OTHERS.len()] };
        request = request.with_line(format!("{}: {value}", name(*field)).as_bytes());
        // other fields between them do not count
        request = request.with_line(b"X-Authorization: Digest");
    }
    request
}

/// The lines of the message without the header that `used` names among those of its name.
fn without(message: &str, used: UsedHeader) -> String {
    let start = format!("{}: ", name(used.field));
    let mut seen = 0;
    let is_kept = |line: &&str| {
        let is_of_name = line.starts_with(&start);
        seen += usize::from(is_of_name);
        !(is_of_name && seen == used.index_of_name + 1)
    };
    message.split_inclusive("\r\n").filter(is_kept).collect()
}

/// All messages with one to five headers of either name, and the place of the right one.
fn all() -> impl Iterator<Item = (Vec<CredentialsField>, usize)> {
    (1..=5).flat_map(|len| (0..1 << len).map(move |bits| (len, bits))).flat_map(|(len, bits)| {
        let field = move |at| if bits >> at & 1 == 0 { Authorization } else { ProxyAuthorization };
        (0..len).map(move |right| ((0..len).map(field).collect(), right))
    })
}

fn check(names: &[CredentialsField], right: usize, message: &str, decision: Decision) {
    let context = format!("{names:?}, {right}");
    let used = accepted(decision).credential.expect(&context).header;
    let of_name = names[..right].iter().filter(|field| **field == names[right]).count();
    assert_eq!(
        (used.field, used.index, used.index_of_name),
        (names[right], right, of_name),
        "{context}"
    );
    let rest = without(message, used);
    assert_eq!(rest.matches("nc=00000001").count(), 0, "the credentials are gone: {context}");
    assert_eq!(rest.matches("\r\n").count() + 1, message.matches("\r\n").count(), "{context}");
}

#[test]
fn the_used_header_is_counted_among_all_and_among_those_of_its_name() {
    let world = World::new();
    for (number, (names, right)) in all().enumerate() {
        let request = request(&world, number, &names, right);
        let message = String::from_utf8(request.bytes()).unwrap();
        check(&names, right, &message, world.send(&request, OUTSIDE));
    }
}

#[test]
fn a_batch_counts_the_used_header_in_the_same_way() {
    let world = World::new();
    let all: Vec<_> = all().collect();
    for (round, cases) in all.chunks(48).enumerate() {
        let messages: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(at, (names, right))| request(&world, round * 48 + at, names, *right).bytes())
            .collect();
        let invites: Vec<_> = messages
            .iter()
            .map(|bytes| {
                Invite::from_datagram(bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap()
            })
            .collect();
        let mut decisions = Vec::new();
        world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
        for ((decision, (names, right)), bytes) in decisions.into_iter().zip(cases).zip(&messages) {
            check(names, *right, str::from_utf8(bytes).unwrap(), decision);
        }
    }
}
