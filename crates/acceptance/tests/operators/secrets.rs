//! No `Debug` or error text contains a password, stored hash or response, or a user name or address
//! without the option for it. Memory does not contain a password after it was hashed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use sip_authz::acl::PrefixTable;
use sip_authz::digest::{Algorithm, HashFunction, Parsed, parse};
use sip_authz::message::Message;
use sip_authz::model::{
    Commit, Credential, Ha1Set, IpAddress, Mapping, Password, Policy, PolicyRecord, Record, Write,
};
use sip_authz::uri::{SipUri, name_addr};
use sip_authz::{Capacity, CredentialsField, Decision, Invite, Snapshot, Transport};
use sip_authz_testing::kit::*;

const USER: &str = "zebulon-of-ur";
const SECRET: &str = "Tr0ub4dor&3-and-more";
const NUMBER: &str = "+4930555777";
const SOURCE: &str = "192.0.2.177:5077";
const PREFIX: &str = "2001:db8:7777::/48";

/// A text to search for: its description and its forms.
struct Needle(String, Vec<String>);

impl Needle {
    /// `bytes` as text, in hexadecimal of either case, and as lists of numbers in several bases.
    fn new(what: &str, bytes: &[u8]) -> Self {
        let start = &bytes[..bytes.len().min(8)];
        let list =
            |number: fn(&u8) -> String| start.iter().map(number).collect::<Vec<_>>().join(",");
        let mut forms = vec![
            hex::encode(start),
            hex::encode_upper(start),
            list(|byte| format!("{byte}")),
            list(|byte| format!("{byte:x}")),
            list(|byte| format!("{byte:X}")),
            list(|byte| format!("{byte:02x}")),
            list(|byte| format!("{byte:#x}")),
        ];
        forms.extend(str::from_utf8(bytes).ok().map(str::to_owned));
        Self(what.to_owned(), forms)
    }

    fn text(what: &str, text: &str) -> Self {
        Self::new(what, text.as_bytes())
    }
}

/// The password, stored hashes and responses, which no text may contain.
fn secrets(responses: &[String]) -> Vec<Needle> {
    let ha1 = ha1();
    let mut needles = vec![Needle::text("password", SECRET)];
    for function in HashFunction::ALL {
        let hash = ha1.get(function).unwrap();
        needles.push(Needle::new(&format!("{function} hash"), hash));
        needles.push(Needle::text(&format!("{function} hash in hex"), &hex::encode(hash)));
    }
    needles.extend(responses.iter().map(|response| Needle::text("response", response)));
    needles
}

/// User names, numbers and addresses, which texts contain only with an option.
fn persons() -> Vec<Needle> {
    let source: SocketAddr = SOURCE.parse().unwrap();
    let IpAddr::V4(ip) = source.ip() else { panic!() };
    vec![
        Needle::text("user name", USER),
        Needle::text("number", NUMBER),
        Needle::text("source", "192.0.2.177"),
        Needle::new("source bytes", &ip.octets()),
        Needle::text("prefix", "2001:db8:7777"),
    ]
}

#[track_caller]
fn assert_hides(needles: &[Needle], name: &str, text: &str) {
    // white space does not matter in lists of numbers
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    for Needle(what, forms) in needles {
        for form in forms {
            assert!(!dense.contains(form.as_str()), "{name} contains the {what}: {text}");
        }
    }
}

#[track_caller]
fn assert_debug_hides(needles: &[Needle], name: &str, value: &dyn Debug) {
    for text in [
        format!("{value:?}"),
        format!("{value:#?}"),
        format!("{value:x?}"),
        format!("{value:02X?}"),
        format!("{value:#x?}"),
    ] {
        assert!(!text.is_empty());
        assert_hides(needles, name, &text);
    }
}

fn ha1() -> Ha1Set {
    let (user, realm) = (USER.parse().unwrap(), REALM.parse().unwrap());
    Ha1Set::from_password(&user, &realm, Password::new(SECRET.to_owned())).unwrap()
}

fn zebulon() -> Credential {
    Credential::new(credential(LIST, "z"), list(LIST), USER.parse().unwrap(), ha1())
}

fn far_office() -> IpAddress {
    IpAddress::new(address("far"), acl(ACL), PREFIX.parse().unwrap())
}

fn world(policy: Policy) -> World {
    let world = World::with_policy(policy);
    world.put(Record::Credential(zebulon()));
    world.put(Record::IpAddress(far_office()));
    world
}

fn call(host: &str) -> Request {
    Request {
        uri: format!("sip:{NUMBER}@{host}"),
        from: format!("\"{USER}\" <sip:{USER}@192.0.2.177>;tag=1"),
        to: format!("<sip:{NUMBER}@{host}>"),
        call_id: "1@192.0.2.177".to_owned(),
        body: b"o=- 1 1 IN IP4 192.0.2.177\r\n".to_vec(),
        ..Request::to(host)
    }
}

/// A call with correct credentials, and their response.
fn answered(world: &World, host: &str, password: &str) -> (Request, String) {
    let request = call(host);
    let challenge = world.challenge(&request, SOURCE);
    let header = Header::answer(&challenge.values[0], &request, USER, password);
    (request.with(&header.text()), header.inner.response)
}

#[test]
fn the_search_finds_each_form() {
    let needle = |bytes: &[u8]| vec![Needle::new("it", bytes)];
    let (bytes, text) = ([147_u8, 158, 117, 120], "sesame");
    for shown in [
        format!("{bytes:?}"),
        format!("{bytes:#?}"),
        format!("{bytes:x?}"),
        format!("{bytes:02X?}"),
        format!("{:?}", Some(vec![bytes])),
        hex::encode(bytes),
    ] {
        let found = std::panic::catch_unwind(|| assert_hides(&needle(&bytes), "it", &shown));
        assert!(found.is_err(), "{shown}");
    }
    for shown in [format!("{text:?}"), format!("{:?}", text.as_bytes()), format!("x{text}x")] {
        let found =
            std::panic::catch_unwind(|| assert_hides(&needle(text.as_bytes()), "it", &shown));
        assert!(found.is_err(), "{shown}");
    }
}

#[test]
fn records_commits_and_snapshots_contain_no_secret() {
    let needles = [secrets(&[]), persons()].concat_all();
    let records = [
        Record::Credential(zebulon()),
        Record::IpAddress(far_office()),
        Record::from(Mapping::CredentialList(domain(HOST).into(), list(LIST))),
        PolicyRecord::new(domain(HOST), Policy::default()).into(),
    ];
    let mut commit = Commit::new();
    let mut builder = Snapshot::builder();
    for record in &records {
        assert_debug_hides(&needles, "Record", record);
        assert_debug_hides(&needles, "Write", &Write::Put(record.clone()));
        assert_debug_hides(&needles, "Key", &record.key());
        commit.put(record.clone());
        builder = builder.record(record.clone());
    }
    assert_debug_hides(&needles, "Credential", &zebulon());
    assert_debug_hides(&needles, "IpAddress", &far_office());
    assert_debug_hides(&needles, "Commit", &commit);
    assert_debug_hides(&needles, "SnapshotBuilder", &builder);
    assert_debug_hides(&needles, "Password", &Password::new(SECRET.to_owned()));
    assert_debug_hides(&needles, "Ha1Set", &ha1());
    let world = world(Policy::default());
    assert_debug_hides(&needles, "Snapshot", &*world.authorizer.snapshot());
    assert_debug_hides(&needles, "Capacity", &Capacity::default());
    let table = PrefixTable::build([PREFIX.parse().unwrap()]).unwrap();
    assert_debug_hides(&needles, "PrefixTable", &table);
}

#[test]
fn errors_about_hashes_do_not_contain_them() {
    let (user, realm) = (USER.parse().unwrap(), REALM.parse().unwrap());
    let needles = secrets(&[]);
    for function in HashFunction::ALL {
        let hash = hex::encode(ha1().get(function).unwrap());
        for given in [
            vec![(function, &hash[1..])],
            vec![(function, &hash[..]), (function, &hash[..])],
            vec![(function, "g"), (function, &hash[..])],
        ] {
            let error = Ha1Set::from_hex(&user, &realm, given).unwrap_err();
            assert_hides(&needles, "Ha1Error", &format!("{error} {error:?}"));
        }
    }
    // the error for a rejected commit contains at most the user name
    let world = world(Policy::default());
    let mut commit = Commit::new();
    commit.put(Record::Credential(Credential { sid: credential(LIST, "twin"), ..zebulon() }));
    let error = world.authorizer.apply(&commit).unwrap_err();
    assert_hides(&needles, "ApplyError", &format!("{error} {error:?}"));
}

#[test]
fn messages_and_decisions_contain_no_secret() {
    for algorithm in Algorithm::ALL {
        for userhash in [false, true] {
            let policy = offering(&[algorithm]).with_userhash(userhash);
            let world = world(policy);
            for (host, password, status) in
                [(HOST, SECRET, 200), (HOST, "wrong", 403), (BOTH_HOST, SECRET, 200)]
            {
                let (request, response) = answered(&world, host, password);
                let hashed = format!("{USER}:{REALM}");
                let hashed = match algorithm.hash_function() {
                    HashFunction::Md5 => hex::encode(<md5::Md5 as md5::Digest>::digest(hashed)),
                    HashFunction::Sha256 => {
                        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(hashed))
                    }
                    HashFunction::Sha512_256 => {
                        hex::encode(<sha2::Sha512_256 as sha2::Digest>::digest(hashed))
                    }
                    other => panic!("add the hash of user names for {other} to this test"),
                };
                let needles = [
                    secrets(&[response]),
                    persons(),
                    vec![Needle::text("hashed user name", &hashed)],
                ]
                .concat_all();
                show_message(&needles, &request);
                let decision = world.send(&request, SOURCE);
                assert_eq!(decision.status(), status, "{algorithm} {host}");
                assert_debug_hides(&needles, "Decision", &decision);
                if let Decision::Accept(accept) = &decision {
                    assert_debug_hides(&needles, "Accept", accept);
                    assert_debug_hides(&needles, "CredentialMatch", &accept.credential);
                }
                if let Decision::Reject(reject) = &decision {
                    assert_hides(&needles, "Reason", &reject.reason.to_string());
                }
                // from another source it gets a challenge
                let again = world.send(&request, "192.0.2.177:5078");
                assert_debug_hides(&needles, "Decision", &again);
            }
        }
    }
}

/// Checks every type that is parsed from a message.
fn show_message(needles: &[Needle], request: &Request) {
    let bytes = request.bytes();
    let message = Message::scan(&bytes).unwrap();
    assert_debug_hides(needles, "Message", &message);
    assert_debug_hides(needles, "Fields", &message.fields());
    assert_debug_hides(needles, "StartLine", &message.start_line());
    message.fields().for_each(|field| assert_debug_hides(needles, "Field", &field));

    let source = SOURCE.parse().unwrap();
    let invite = Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
    assert_debug_hides(needles, "Invite", &invite);
    assert_debug_hides(needles, "NameAddr", &name_addr(invite.from().unwrap()).unwrap());
    assert_debug_hides(needles, "SipUri", &SipUri::parse(invite.request_uri()).unwrap());
    let owned = Invite::new(request.uri.clone(), source, Transport::Tls)
        .with_credentials(CredentialsField::Authorization, invite.credentials()[0].1)
        .with_body(invite.body());
    assert_debug_hides(needles, "Invite", &owned);
    // the errors for truncated messages contain no secret either
    for len in (0..bytes.len()).step_by(7) {
        if let Err(error) = Invite::from_datagram(&bytes[..len], source, Transport::Udp) {
            assert_debug_hides(needles, "InviteError", &error);
            assert_hides(needles, "InviteError", &error.to_string());
        }
    }

    let (_, value) = invite.credentials()[0];
    let parsed = parse(value, REALM);
    assert_debug_hides(needles, "Parsed", &parsed);
    let Parsed::Credentials(credentials) = parsed else { panic!("{parsed:?}") };
    assert_debug_hides(needles, "Credentials", &credentials);
    assert_debug_hides(needles, "Username", &credentials.username);
    assert_debug_hides(needles, "QopFields", &credentials.qop);
    for len in 0..value.len() {
        let parsed = parse(&value[..len], REALM);
        assert_debug_hides(needles, "Parsed", &parsed);
        if let Parsed::Malformed { defect, .. } = parsed {
            assert_hides(needles, "MalformedCredentials", &defect.to_string());
        }
    }
}

#[test]
fn an_explanation_contains_names_but_no_secret() {
    let world = world(Policy::default());
    for password in [SECRET, "wrong"] {
        let (request, response) = answered(&world, BOTH_HOST, password);
        let bytes = request.bytes();
        let source = SOURCE.parse().unwrap();
        let invite = Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
        let explanation = world.authorizer.explain(&invite, world.start);
        let text = explanation.to_string();
        assert!(text.contains(USER) && text.contains("192.0.2.177"), "names are expected: {text}");
        let needles = secrets(&[response]);
        assert_hides(&needles, "Explanation", &text);
        assert_debug_hides(&needles, "Explanation", &explanation);
    }
}

/// The output of a `tracing` subscriber, with spans and fields.
fn events_of(decide: impl FnOnce()) -> String {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Bytes(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Bytes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bytes = Bytes::default();
    let writer = bytes.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), decide);
    String::from_utf8(bytes.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn events_contain_names_only_with_options_and_never_secrets() {
    use sip_authz::EventOptions;

    for names in [false, true] {
        let world = world(Policy::default());
        world.authorizer.set_events(EventOptions::default().with_names(names));
        for (host, password, outcome) in [
            (HOST, SECRET, "accept"),
            (BOTH_HOST, SECRET, "accept"),
            (HOST, "wrong", "reject"),
            ("nowhere.example.com", SECRET, "reject"),
        ] {
            let (request, response) = if host.starts_with("nowhere") {
                (Request { uri: format!("sip:{NUMBER}@{host}"), ..call(HOST) }, String::new())
            } else {
                answered(&world, host, password)
            };
            let text = events_of(|| {
                let _ = world.send(&call(HOST), SOURCE);
                let _ = world.send(&request, SOURCE);
            });
            assert!(text.contains(&format!("outcome=\"{outcome}\"")), "{text}");
            let mut needles = secrets(&[]);
            if !response.is_empty() {
                needles.push(Needle::text("response", &response));
            }
            if names {
                // the requested fields, and for accepts only the user
                assert!(text.contains(SOURCE), "{text}");
                assert_eq!(text.contains(USER), outcome == "accept", "{text}");
                needles.push(Needle::text("number", NUMBER));
            } else {
                needles.extend(persons());
            }
            assert_hides(&needles, "events", &text);
        }
    }
}

#[test]
fn counts_contain_only_fixed_texts() {
    let world = world(Policy::default());
    let (request, response) = answered(&world, BOTH_HOST, SECRET);
    let _ = world.send(&request, SOURCE);
    let counts = world.authorizer.counts();
    assert!(counts.total() > 1);
    let needles = [secrets(&[response]), persons()].concat_all();
    assert_debug_hides(&needles, "Counts", &counts);
}

/// Concatenates lists of needles.
trait ConcatAll {
    fn concat_all(self) -> Vec<Needle>;
}

impl<const N: usize> ConcatAll for [Vec<Needle>; N] {
    fn concat_all(self) -> Vec<Needle> {
        self.into_iter().flatten().collect()
    }
}

/// The number of copies of a text in writable memory of this process, and their mappings. `hidden`
/// holds its bytes with all bits inverted, so the search itself makes no copy.
#[cfg(target_os = "linux")]
fn copies_in_memory(hidden: &[u8]) -> Vec<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};

    let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = Vec::new();
    // read a page and a tail at a time, so that this buffer holds little of the searched memory
    let mut buffer = vec![0_u8; 4_096 + hidden.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
        for page in (from..to).step_by(4_096) {
            let len = buffer.len().min(usize::try_from(to - page).unwrap());
            memory.seek(SeekFrom::Start(page)).unwrap();
            if memory.read_exact(&mut buffer[..len]).is_err() {
                continue;
            }
            let is_it = |window: &[u8]| window.iter().zip(hidden).all(|(a, b)| *a == !*b);
            for at in 0..len.saturating_sub(hidden.len() - 1).min(4_096) {
                let place = page + at as u64;
                if is_it(&buffer[at..at + hidden.len()]) && !own.contains(&place) {
                    found.push(format!("{place:x} in {rest}"));
                }
            }
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[test]
fn hashing_a_password_wipes_it_from_memory() {
    // Computed at run time, so that the program file does not contain it. Long, and the search uses
    // only its end, since an allocator overwrites the start of freed memory.
    let inverted: Vec<u8> = (0..120_u8).map(|n| !(b'a' + (n % 26 * 7 + n / 26 + 3) % 26)).collect();
    let reveal = || -> String { inverted.iter().map(|byte| char::from(!*byte)).collect() };
    let hidden = &inverted[80..];

    // the search finds a password that is still held
    let held = Password::new(reveal());
    assert!(!copies_in_memory(hidden).is_empty());
    drop(held);
    assert_eq!(copies_in_memory(hidden), Vec::<String>::new(), "dropped");

    let (user, realm) = (USER.parse().unwrap(), REALM.parse().unwrap());
    let ha1 = Ha1Set::from_password(&user, &realm, Password::new(reveal())).unwrap();
    assert_eq!(copies_in_memory(hidden), Vec::<String>::new(), "hashed");
    drop(ha1);
}
