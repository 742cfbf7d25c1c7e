//! The snapshot and requests of the benches: 64 domains of each kind, clients that answer their
//! challenges, and the bare hashing for the same messages.

use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::Criterion;
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

/// The measuring time of each row in benches that compare decisions with bare hashing.
pub fn settings() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(40)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1_600))
}

/// The number of domains of each kind, which take turns.
pub const DOMAINS: usize = 64;
/// The number of requests made at once, outside the measured time. Small enough that they stay in the
/// cache, like a datagram just received.
pub const BATCH: usize = DOMAINS;
pub const REALM: &str = "example.com";
pub const USERS: usize = 8;
pub const LISTED: &str = "192.0.2.77:5060";
pub const UNLISTED: &str = "198.51.100.7:5060";
/// With at most 16 characters the input of an MD5 response fits in two blocks.
pub const SHORT_CNONCE: &str = "0a4f113b0a4f113b";
/// A long client nonce, as some clients send.
pub const LONG_CNONCE: &str = "0a4f113b0a4f113b0a4f113b0a4f113b";
pub const BODY: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.77\r\ns=-\r\n\
    c=IN IP4 192.0.2.77\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";

/// The authentication that a domain requires; also the first part of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    pub const BUILT: [Self; 7] = [
        Self::Address,
        Self::Md5,
        Self::Sha256,
        Self::Sha512,
        Self::Suspended,
        Self::Secure,
        Self::Empty,
    ];

    pub fn label(self) -> &'static str {
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

    pub fn host(self, number: usize) -> String {
        format!("{}-{number}.sip.example.com", self.label())
    }

    pub fn uri(self, number: usize) -> String {
        format!("sip:+14155550100@{}", self.host(number))
    }

    pub fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Md5 => Some(Algorithm::Md5),
            Self::Sha256 => Some(Algorithm::Sha256),
            Self::Sha512 => Some(Algorithm::Sha512_256),
            _ => None,
        }
    }
}

pub fn user(number: usize) -> String {
    format!("user{number:04}")
}

pub fn snapshot() -> Snapshot {
    let (active, suspended) = (AccountSid::from_name(&["a"]), AccountSid::from_name(&["b"]));
    let mut builder = Snapshot::builder().account(Account::new(active));
    let gone = Account { status: AccountStatus::Suspended, ..Account::new(suspended) };
    builder = builder.account(gone);
    let realm: Realm = REALM.parse().unwrap();
    let without_limit = GuessRate { burst: NonZeroU32::MAX, refill_ms: NonZeroU32::MIN };
    let guesses = GuessPolicy::default().with_source(without_limit).with_pair(without_limit);

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
                let policy = Policy::default().with_algorithms(algorithms).with_guesses(guesses);
                builder =
                    builder.mapping(Mapping::CredentialList(sid.into(), users)).policy(sid, policy);
            }
        }
    }
    builder.build().unwrap()
}

pub struct World {
    pub authorizer: Authorizer,
    pub now: Instant,
}

impl World {
    pub fn new() -> Self {
        let now = Instant::now();
        let authorizer = Authorizer::from_seed(snapshot(), Capacity::default(), &[7; 32], now);
        Self { authorizer, now }
    }
}

/// A request as received, with its source.
pub struct Packet {
    pub bytes: Vec<u8>,
    pub source: SocketAddr,
    pub transport: Transport,
}

impl Packet {
    pub fn new(
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

    pub fn invite(&self) -> Invite<'_> {
        Invite::from_datagram(&self.bytes, self.source, self.transport).unwrap()
    }
}

/// The hashing of one verification and nothing else. Both inputs are prepared; H(A2) is written into
/// the second one in hexadecimal.
pub struct Bare {
    pub a2: Vec<u8>,
    pub response: Vec<u8>,
    pub hex: Vec<u8>,
    pub expected: Vec<u8>,
}

impl Bare {
    pub fn new<D: Digest>(ha1: &str, uri: &str, nonce: &str, nc: u32, cnonce: &str) -> Self {
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

    pub fn verify<D: Digest>(&mut self) -> bool {
        let ha2 = D::digest(black_box(&self.a2));
        let at = self.response.len() - ha2.len() * 2;
        hex::encode_to_slice(ha2, &mut self.response[at..]).unwrap();
        hex::encode_to_slice(D::digest(&self.response), &mut self.hex).unwrap();
        self.hex == black_box(&self.expected[..])
    }

    pub fn response(&self) -> &str {
        std::str::from_utf8(&self.expected).unwrap()
    }
}

/// A client for each of the 64 domains of a kind. It has one nonce for each, and counts up.
pub struct Client {
    pub kind: Kind,
    pub password: &'static str,
    pub user_prefix: &'static str,
    pub cnonce: &'static str,
    pub transport: Transport,
    pub nonces: Vec<String>,
    pub nc: u32,
    pub serial: u64,
}

impl Client {
    pub fn new(world: &World, kind: Kind, transport: Transport) -> Self {
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

    pub fn batch(&mut self) -> Rc<[Packet]> {
        (0..BATCH).map(|at| self.packet(at % DOMAINS)).collect()
    }

    pub fn packet(&mut self, number: usize) -> Packet {
        match self.kind {
            Kind::Md5 => self.answer::<Md5>(number),
            Kind::Sha256 => self.answer::<Sha256>(number),
            Kind::Sha512 => self.answer::<Sha512_256>(number),
            _ => panic!("expected a challenge"),
        }
    }

    pub fn answer<D: Digest>(&mut self, number: usize) -> Packet {
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

    pub fn bare<D: Digest>(&mut self, number: usize, name: &str) -> Bare {
        // the window is 64 wide, and each domain sees a count once
        self.nc += u32::from(number == 0);
        let ha1 = D::digest(format!("{name}:{REALM}:{} {name}", self.password));
        let (uri, nonce) = (self.kind.uri(number), &self.nonces[number]);
        Bare::new::<D>(&hex::encode(ha1), &uri, nonce, self.nc, self.cnonce)
    }
}
/// Returns the same requests each time.
pub fn same(
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

pub fn rejected(decision: &Decision, reason: Reason) -> bool {
    matches!(decision, Decision::Reject(reject) if reject.reason == reason)
}

pub fn by_credential(decision: &Decision, of_repeat: bool) -> bool {
    matches!(decision, Decision::Accept(it) if it.credential.is_some() && it.repeat == of_repeat)
}
