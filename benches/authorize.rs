//! A decision of each kind, beside the bare hashing of the same message in the same run:
//! `cargo bench --bench authorize`, then `python3 benches/ratios.py` for the table of medians and
//! ratios. Absolute times are worth little on another machine; the ratios hold.
//!
//! Each row is measured with what it is given:
//!
//! - `invite`: an `Invite` that was made before; the credentials header is read within.
//! - `datagram`: a datagram of about 1,000 bytes, `Invite::from_datagram` included.
//! - `rsip`: an `rsip::Request` that was parsed before, `Invite::from_rsip` included.
//!
//! 64 domains take turns. An accept by digest uses a count of its own each time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Credential, CredentialList, Domain, GuessPolicy,
    Ha1Set, IpAccessControlList, IpAddress, Mapping, Password, Policy, Realm, UserName,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, CredentialListSid, CredentialSid, Decision, DomainSid,
    Invite, IpAccessControlListSid, IpAddressSid, Reason, Snapshot, Transport,
};

/// How many domains of each kind take turns.
const DOMAINS: usize = 64;
/// How many requests are made at once, outside the time that is measured: small enough that they
/// stay in the cache, as a datagram does that was just received.
const BATCH: usize = DOMAINS;
const REALM: &str = "example.com";
const USERS: usize = 8;
const LISTED: &str = "192.0.2.77:5060";
const UNLISTED: &str = "198.51.100.7:5060";
/// With at most 16 characters an MD5 response is made of two blocks.
const SHORT_CNONCE: &str = "0a4f113b0a4f113b";
/// What some clients send.
const LONG_CNONCE: &str = "0a4f113b0a4f113b0a4f113b0a4f113b";
const BODY: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.77\r\ns=-\r\n\
    c=IN IP4 192.0.2.77\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";

/// What a domain asks for; also the first part of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Md5,
    Sha256,
    Sha512,
    Suspended,
    Secure,
    Empty,
    Unknown,
}

impl Kind {
    const BUILT: [Self; 7] = [
        Self::Address,
        Self::Md5,
        Self::Sha256,
        Self::Sha512,
        Self::Suspended,
        Self::Secure,
        Self::Empty,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Address => "addr",
            Self::Md5 => "md5",
            Self::Sha256 => "s256",
            Self::Sha512 => "s512",
            Self::Suspended => "gone",
            Self::Secure => "tls",
            Self::Empty => "none",
            Self::Unknown => "what",
        }
    }

    fn host(self, number: usize) -> String {
        format!("{}-{number}.sip.example.com", self.label())
    }

    fn uri(self, number: usize) -> String {
        format!("sip:+14155550100@{}", self.host(number))
    }

    fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Md5 => Some(Algorithm::Md5),
            Self::Sha256 => Some(Algorithm::Sha256),
            Self::Sha512 => Some(Algorithm::Sha512_256),
            _ => None,
        }
    }
}

fn user(number: usize) -> String {
    format!("user{number:04}")
}

fn snapshot() -> Snapshot {
    let (active, suspended) = (AccountSid::from_name(&["a"]), AccountSid::from_name(&["b"]));
    let mut builder = Snapshot::builder().account(Account::new(active));
    let gone = Account { status: AccountStatus::Suspended, ..Account::new(suspended) };
    builder = builder.account(gone);
    let realm: Realm = REALM.parse().unwrap();
    let without_limit = GuessRate { burst: NonZeroU32::MAX, refill_ms: NonZeroU32::MIN };
    let guesses = GuessPolicy { source: without_limit, pair: without_limit, name: None };

    for number in 0..DOMAINS {
        let list = IpAccessControlListSid::from_name(&[&number.to_string()]);
        builder = builder.ip_access_control_list(IpAccessControlList::new(list, active));
        for prefix in ["192.0.2.64/26", "203.0.113.9", "10.0.0.0/8", "2001:db8::/32"] {
            let sid = IpAddressSid::from_name(&[&number.to_string(), prefix]);
            builder = builder.ip_address(IpAddress::new(sid, list, prefix.parse().unwrap()));
        }
        let users = CredentialListSid::from_name(&[&number.to_string()]);
        builder = builder.credential_list(CredentialList::new(users, active, realm.clone()));
        for user in (0..USERS).map(user) {
            let sid = CredentialSid::from_name(&[&number.to_string(), &user]);
            let name: UserName = user.parse().unwrap();
            let password = Password::new(format!("secret of {user}"));
            let ha1 = Ha1Set::from_password(&name, &realm, password).unwrap();
            builder = builder.credential(Credential::new(sid, users, name, ha1));
        }
        for kind in Kind::BUILT {
            let host = kind.host(number);
            let sid = DomainSid::from_name(&[&host]);
            let owner = if kind == Kind::Suspended { suspended } else { active };
            let domain = Domain::new(sid, owner, host.parse().unwrap());
            builder = builder.domain(Domain { secure: kind == Kind::Secure, ..domain });
            if kind == Kind::Address {
                builder = builder.mapping(Mapping::IpAccessControlList(sid.into(), list));
            }
            if let Some(algorithm) = kind.algorithm() {
                let algorithms = AlgorithmOffer::new([algorithm]).unwrap();
                let policy = Policy { algorithms, guesses, ..Policy::default() };
                builder =
                    builder.mapping(Mapping::CredentialList(sid.into(), users)).policy(sid, policy);
            }
        }
    }
    builder.build().unwrap()
}

struct World {
    authorizer: Authorizer,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let authorizer = Authorizer::from_seed(snapshot(), Capacity::default(), &[7; 32], now);
        Self { authorizer, now }
    }
}

/// A request as it comes, and from where.
struct Packet {
    bytes: Vec<u8>,
    source: SocketAddr,
    transport: Transport,
}

impl Packet {
    fn new(
        (kind, number): (Kind, usize),
        serial: u64,
        credentials: &str,
        source: &str,
        transport: Transport,
    ) -> Self {
        let uri = kind.uri(number);
        let via = if transport == Transport::Udp { "UDP" } else { "TCP" };
        let text = format!(
            "INVITE {uri} SIP/2.0\r\n\
             Via: SIP/2.0/{via} 192.0.2.77:5060;branch=z9hG4bK{serial:016x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Alice\" <sip:alice@sip.example.com>;tag={serial:08x}\r\n\
             To: <{uri}>\r\n\
             Call-ID: {serial:016x}@192.0.2.77\r\n\
             CSeq: 2 INVITE\r\n\
             Contact: <sip:alice@192.0.2.77:5060>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY\r\n\
             Supported: replaces, timer\r\n\
             User-Agent: bench/1.0\r\n\
             {credentials}\
             Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        Self { bytes: text.into_bytes(), source: source.parse().unwrap(), transport }
    }

    fn invite(&self) -> Invite<'_> {
        Invite::from_datagram(&self.bytes, self.source, self.transport).unwrap()
    }
}

/// The hashing of one verification and nothing else: both inputs lie ready, H(A2) is written into
/// its place in the second as hexadecimal.
struct Bare {
    a2: Vec<u8>,
    response: Vec<u8>,
    hex: Vec<u8>,
    expected: Vec<u8>,
}

impl Bare {
    fn new<D: Digest>(ha1: &str, uri: &str, nonce: &str, nc: u32, cnonce: &str) -> Self {
        let a2 = format!("INVITE:{uri}").into_bytes();
        let digits = <D as Digest>::output_size() * 2;
        let zeros = "0".repeat(digits);
        let response = format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{zeros}").into_bytes();
        let mut bare = Self { a2, response, hex: vec![0; digits], expected: vec![0; digits] };
        bare.verify::<D>();
        bare.expected = bare.hex.clone();
        assert!(bare.verify::<D>());
        bare
    }

    fn verify<D: Digest>(&mut self) -> bool {
        let ha2 = D::digest(black_box(&self.a2));
        let at = self.response.len() - ha2.len() * 2;
        hex::encode_to_slice(ha2, &mut self.response[at..]).unwrap();
        hex::encode_to_slice(D::digest(&self.response), &mut self.hex).unwrap();
        self.hex == black_box(&self.expected[..])
    }

    fn response(&self) -> &str {
        std::str::from_utf8(&self.expected).unwrap()
    }
}

/// A client for each of the 64 domains of a kind, with one nonce each and counts that go up.
struct Client {
    kind: Kind,
    password: &'static str,
    user_prefix: &'static str,
    cnonce: &'static str,
    transport: Transport,
    nonces: Vec<String>,
    nc: u32,
    serial: u64,
}

impl Client {
    fn new(world: &World, kind: Kind, transport: Transport) -> Self {
        let nonce = |number| {
            let packet = Packet::new((kind, number), 0, "", LISTED, transport);
            match world.authorizer.authorize(&packet.invite(), world.now) {
                Decision::Challenge(challenge) => {
                    let (_, rest) = challenge.values[0].split_once("nonce=\"").unwrap();
                    rest[..22].to_owned()
                }
                other => panic!("{other:?}"),
            }
        };
        let nonces = (0..DOMAINS).map(nonce).collect();
        let (password, user_prefix, cnonce) = ("secret of", "", SHORT_CNONCE);
        Self { kind, password, user_prefix, cnonce, transport, nonces, nc: 0, serial: 0 }
    }

    fn batch(&mut self) -> Rc<[Packet]> {
        (0..BATCH).map(|at| self.packet(at % DOMAINS)).collect()
    }

    fn packet(&mut self, number: usize) -> Packet {
        match self.kind {
            Kind::Md5 => self.answer::<Md5>(number),
            Kind::Sha256 => self.answer::<Sha256>(number),
            Kind::Sha512 => self.answer::<Sha512_256>(number),
            _ => panic!("nothing to answer"),
        }
    }

    fn answer<D: Digest>(&mut self, number: usize) -> Packet {
        let name = format!("{}{}", self.user_prefix, user(number % USERS));
        let (bare, uri) = (self.bare::<D>(number, &name), self.kind.uri(number));
        self.serial += 1;
        let header = format!(
            "Proxy-Authorization: Digest username=\"{name}\", realm=\"{REALM}\", nonce=\"{}\", \
             uri=\"{uri}\", response=\"{}\", algorithm={}, cnonce=\"{}\", qop=auth, nc={:08x}\r\n",
            self.nonces[number],
            bare.response(),
            self.kind.algorithm().unwrap(),
            self.cnonce,
            self.nc
        );
        Packet::new((self.kind, number), self.serial, &header, LISTED, self.transport)
    }

    fn bare<D: Digest>(&mut self, number: usize, name: &str) -> Bare {
        // the window is 64 wide, and a count serves one domain once
        self.nc += u32::from(number == 0);
        let ha1 = D::digest(format!("{name}:{REALM}:{} {name}", self.password));
        let (uri, nonce) = (self.kind.uri(number), &self.nonces[number]);
        Bare::new::<D>(&hex::encode(ha1), &uri, nonce, self.nc, self.cnonce)
    }
}

/// What a row is given.
#[derive(Clone, Copy)]
enum Given {
    Invite,
    Datagram,
    Rsip,
}

const BOTH: &[Given] = &[Given::Invite, Given::Datagram];
const ALL: &[Given] = &[Given::Invite, Given::Datagram, Given::Rsip];

/// The time of `iters` decisions on requests from `next`, each of which must come out as `expected`
/// says.
fn time(
    world: &World,
    given: Given,
    iters: u64,
    next: &mut dyn FnMut() -> Rc<[Packet]>,
    expected: fn(&Decision) -> bool,
) -> Duration {
    let (mut left, mut spent) = (iters, Duration::ZERO);
    while left > 0 {
        let packets = next();
        let count = packets.len().min(usize::try_from(left).unwrap());
        left -= count as u64;
        let packets = &packets[..count];
        let decide = |invite: &Invite<'_>| {
            let decision = world.authorizer.authorize(black_box(invite), world.now);
            usize::from(expected(black_box(&decision)))
        };
        let mut right = 0;
        match given {
            Given::Invite => {
                let invites: Vec<_> = packets.iter().map(Packet::invite).collect();
                let start = Instant::now();
                right += invites.iter().map(decide).sum::<usize>();
                spent += start.elapsed();
            }
            Given::Datagram => {
                let start = Instant::now();
                right += packets.iter().map(|packet| decide(&packet.invite())).sum::<usize>();
                spent += start.elapsed();
            }
            Given::Rsip => {
                let parse = |packet: &Packet| rsip::Request::try_from(&packet.bytes[..]).unwrap();
                let requests: Vec<_> = packets.iter().map(parse).collect();
                let start = Instant::now();
                for (packet, request) in packets.iter().zip(&requests) {
                    let invite = Invite::from_rsip(request, packet.source, packet.transport);
                    right += decide(&invite.unwrap());
                }
                spent += start.elapsed();
            }
        }
        assert_eq!(right, count, "a decision came out otherwise");
    }
    spent
}

fn row(
    c: &mut Criterion,
    world: &World,
    name: &str,
    givens: &[Given],
    expected: fn(&Decision) -> bool,
    mut next: impl FnMut() -> Rc<[Packet]>,
) {
    let mut group = c.benchmark_group("authorize");
    for given in givens {
        let label = match given {
            Given::Invite => "invite",
            Given::Datagram => "datagram",
            Given::Rsip => "rsip",
        };
        group.bench_function(BenchmarkId::new(name, label), |bencher| {
            bencher.iter_custom(|iters| time(world, *given, iters, &mut next, expected));
        });
    }
    group.finish();
}

/// The same requests again and again.
fn same(
    kind: Kind,
    credentials: &str,
    source: &str,
    transport: Transport,
) -> impl FnMut() -> Rc<[Packet]> + use<> {
    let packet = |at: usize| {
        let place = (kind, at % DOMAINS);
        Packet::new(place, at as u64, credentials, source, transport)
    };
    let packets: Rc<[Packet]> = (0..BATCH).map(packet).collect();
    move || Rc::clone(&packets)
}

fn rejected(decision: &Decision, reason: Reason) -> bool {
    matches!(decision, Decision::Reject(reject) if reject.reason == reason)
}

fn by_credential(decision: &Decision, of_repeat: bool) -> bool {
    matches!(decision, Decision::Accept(it) if it.credential.is_some() && it.repeat == of_repeat)
}

fn authorize(c: &mut Criterion) {
    use Transport::{Tcp, Udp};

    let world = &World::new();
    let challenged = |d: &Decision| matches!(d, Decision::Challenge(it) if !it.stale);
    let stale = |d: &Decision| matches!(d, Decision::Challenge(it) if it.stale);
    let proved = |d: &Decision| by_credential(d, false);
    let client = |kind, transport| Client::new(world, kind, transport);

    let next = same(Kind::Address, "", LISTED, Udp);
    row(c, world, "accept_address", ALL, Decision::is_accept, next);
    row(c, world, "challenge", ALL, challenged, same(Kind::Md5, "", LISTED, Udp));

    let mut md5 = client(Kind::Md5, Udp);
    row(c, world, "accept_md5", ALL, proved, || md5.batch());
    let mut md5_tcp = client(Kind::Md5, Tcp);
    row(c, world, "accept_md5_tcp", BOTH, proved, || md5_tcp.batch());
    let mut long = Client { cnonce: LONG_CNONCE, ..client(Kind::Md5, Udp) };
    row(c, world, "accept_md5_cnonce32", BOTH, proved, || long.batch());
    let mut sha256 = client(Kind::Sha256, Udp);
    row(c, world, "accept_sha256", BOTH, proved, || sha256.batch());
    let mut sha512 = client(Kind::Sha512, Udp);
    row(c, world, "accept_sha512_256", BOTH, proved, || sha512.batch());

    let used = client(Kind::Md5, Tcp).batch();
    time(world, Given::Invite, BATCH as u64, &mut || Rc::clone(&used), proved);
    row(c, world, "replay_md5_tcp", BOTH, stale, || Rc::clone(&used));
    // a world of its own: time stands still, so the older accepts are not older
    let world = &World::new();
    let sent = Client::new(world, Kind::Md5, Udp).batch();
    time(world, Given::Invite, BATCH as u64, &mut || Rc::clone(&sent), proved);
    row(c, world, "repeat_md5_udp", BOTH, |d| by_credential(d, true), || Rc::clone(&sent));

    let wrong = |d: &Decision| rejected(d, Reason::WrongCredentials);
    let mut other_password = Client { password: "not that of", ..client(Kind::Md5, Udp) };
    row(c, world, "reject_wrong_password_md5", BOTH, wrong, || other_password.batch());
    let mut other_user = Client { user_prefix: "no", ..client(Kind::Md5, Udp) };
    row(c, world, "reject_unknown_user_md5", BOTH, wrong, || other_user.batch());

    let malformed = |d: &Decision| {
        let Decision::Reject(reject) = d else { return false };
        matches!(reject.reason, Reason::MalformedCredentials(_))
    };
    let packet = client(Kind::Md5, Udp).packet(0);
    let text = String::from_utf8(packet.bytes).unwrap();
    let header = text.lines().find(|line| line.starts_with("Proxy-")).unwrap();
    let header = format!("{}\r\n", header.replace("nc=", "nc=0"));
    row(c, world, "reject_malformed", BOTH, malformed, same(Kind::Md5, &header, LISTED, Udp));

    let unknown = |d: &Decision| rejected(d, Reason::UnknownHost);
    row(c, world, "reject_unknown_host", BOTH, unknown, same(Kind::Unknown, "", LISTED, Udp));
    let inactive = |d: &Decision| rejected(d, Reason::AccountInactive);
    let next = same(Kind::Suspended, "", LISTED, Udp);
    row(c, world, "reject_account_inactive", BOTH, inactive, next);
    let not_secure = |d: &Decision| rejected(d, Reason::NotSecure);
    row(c, world, "reject_not_secure", BOTH, not_secure, same(Kind::Secure, "", LISTED, Udp));
    let nothing = |d: &Decision| rejected(d, Reason::NothingMapped);
    row(c, world, "reject_nothing_mapped", BOTH, nothing, same(Kind::Empty, "", LISTED, Udp));
    let unlisted = |d: &Decision| rejected(d, Reason::AddressNotListed);
    let next = same(Kind::Address, "", UNLISTED, Udp);
    row(c, world, "reject_address_not_listed", BOTH, unlisted, next);

    let mut long = Client { cnonce: LONG_CNONCE, ..client(Kind::Md5, Udp) };
    bare::<Md5>(c, "md5_cnonce32", &mut long);
    bare::<Md5>(c, "md5", &mut client(Kind::Md5, Udp));
    bare::<Sha256>(c, "sha256", &mut client(Kind::Sha256, Udp));
    bare::<Sha512_256>(c, "sha512_256", &mut client(Kind::Sha512, Udp));
}

/// The bare hashing of the messages that the client's accepts are made of.
fn bare<D: Digest>(c: &mut Criterion, name: &str, client: &mut Client) {
    let message = |at: usize| client.bare::<D>(at % DOMAINS, &user(at % DOMAINS % USERS));
    let mut messages: Vec<Bare> = (0..BATCH).map(message).collect();
    let mut at = 0;
    c.bench_function(&format!("bare/{name}"), |bencher| {
        bencher.iter(|| {
            at = (at + 1) % BATCH;
            assert!(messages[at].verify::<D>());
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(40)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1_600));
    targets = authorize
}
criterion_main!(benches);
