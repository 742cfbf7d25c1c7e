//! Measures the HTTP API over loopback, with a simple client on persistent connections: `cargo bench
//! --bench rest --features rest`, with `-- --quick` for about three seconds.
//!
//! Prints two tables. The first has requests per second: the median, slowest and fastest round. Each
//! round of POST fills its own credential list, except in rows that name a size. For the second it
//! creates a resource and decides an INVITE that only this resource allows, before and right after. The
//! table has the number of accepted INVITEs, and the time from the end of the answer to the end of the
//! decision. Exits with 1 if an INVITE was accepted before its resource was created or rejected after.
//!
//! Client and server share the machine and the process, so the rates include the work of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use digest_auth::{AuthContext, HttpMethod};
use sip_authz::model::{Commit, Credential, Ha1Set, Mapping, Password, Realm, UserName};
use sip_authz::{
    AccountSid, Authorizer, CredentialListSid, CredentialSid, CredentialsField, Decision, Invite,
    IpAccessControlListSid, Transport,
};
use sip_authz_directory::{Directory, Limits, Settings};
use sip_authz_rest::{RestOptions, router};
use sip_authz_store::Follower;
use sip_authz_store::MemoryStore;
use tokio::runtime::Runtime;

const REALM: &str = "example.com";
const PASSWORD: &str = "Correct-Horse-7";
/// A domain that requires an address.
const LISTED: &str = "listed.example.com";
/// A domain that requires a password.
const SECRET: &str = "secret.example.com";
/// The number of resources created for the second table.
const CREATED: u32 = 1_000;

/// The length and size of the measurements.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    round: Duration,
    /// The number of credentials in the rows with many.
    many: usize,
}

/// The server and its contents.
struct World {
    runtime: Runtime,
    directory: Arc<Directory<MemoryStore>>,
    authorizer: Arc<Authorizer>,
    address: SocketAddr,
    account: AccountSid,
    /// The value of the Authorization header.
    authorization: String,
    addresses: IpAccessControlListSid,
    users: CredentialListSid,
    /// The path of the mapping of `users`.
    mapping: String,
    names: AtomicUsize,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (directory, authorizer, address) = runtime.block_on(serve());
        let (account, token, addresses, users, mapping) = runtime.block_on(async {
            let made = directory.create_account("bench").await.unwrap();
            let account = made.account.sid;
            let addresses = directory.create_ip_access_control_list(account, "a").await.unwrap();
            let users = directory.create_credential_list(account, "users", None).await.unwrap();
            let domain =
                |name: &str| directory.create_domain(account, name.parse().unwrap(), |_| {});
            let (listed, secret) = (domain(LISTED).await.unwrap(), domain(SECRET).await.unwrap());
            let listed = Mapping::IpAccessControlList(listed.sid.into(), addresses.sid);
            directory.map(account, listed, None).await.unwrap();
            let asked = Mapping::CredentialList(secret.sid.into(), users.sid);
            directory.map(account, asked, None).await.unwrap();
            let mapping =
                format!("Domains/{}/Auth/Calls/CredentialListMappings/{}", secret.sid, users.sid);
            (account, made.token, addresses.sid, users.sid, mapping)
        });
        let pair = BASE64_STANDARD.encode(format!("{account}:{}", token.as_str()));
        let authorization = format!("Basic {pair}");
        Self {
            runtime,
            directory,
            authorizer,
            address,
            account,
            authorization,
            addresses,
            users,
            mapping,
            names: AtomicUsize::new(0),
        }
    }

    /// A complete request for a resource of the account.
    fn request(&self, method: &str, path: &str, form: &str) -> Vec<u8> {
        let mut text = format!(
            "{method} /2010-04-01/Accounts/{}/SIP/{path}.json HTTP/1.1\r\nHost: {}\r\n\
             Authorization: {}\r\n",
            self.account, self.address, self.authorization
        );
        if method == "POST" {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
            text += &format!("Content-Length: {}\r\n", form.len());
        }
        (text + "\r\n" + form).into_bytes()
    }

    fn get_mapping(&self) -> Vec<u8> {
        self.request("GET", &self.mapping, "")
    }

    /// A request that creates a credential with a new name.
    fn post_credential(&self, list: CredentialListSid) -> Vec<u8> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        self.request_credential(list, &format!("user{number}"))
    }

    fn request_credential(&self, list: CredentialListSid, user: &str) -> Vec<u8> {
        let path = format!("CredentialLists/{list}/Credentials");
        self.request("POST", &path, &format!("Username={user}&Password={PASSWORD}"))
    }

    fn new_list(&self) -> CredentialListSid {
        let name = format!("list{}", self.names.fetch_add(1, Ordering::Relaxed));
        let made = self.directory.create_credential_list(self.account, &name, None);
        self.runtime.block_on(made).unwrap().sid
    }

    /// Puts credentials into a list with one commit.
    fn fill(&self, list: CredentialListSid, count: usize) {
        let realm: Realm = REALM.parse().unwrap();
        let mut commit = Commit::new();
        let user: UserName = "anybody".parse().unwrap();
        let ha1 = Ha1Set::from_password(&user, &realm, Password::new(PASSWORD.to_owned())).unwrap();
        for number in 0..count {
            let name = format!("filled{number}");
            let sid = CredentialSid::from_name(&["bench", &name]);
            commit.put(Credential::new(sid, list, name.parse().unwrap(), ha1.clone()).into());
        }
        self.runtime.block_on(self.directory.import(commit)).unwrap();
    }

    /// Requests per second on this many connections at once, for each round.
    fn rate(
        &self,
        plan: Plan,
        connections: usize,
        expected: u16,
        mut prepare: impl FnMut() -> CredentialListSid,
        request: impl Fn(CredentialListSid) -> Vec<u8> + Sync,
    ) -> Vec<f64> {
        let mut rates = Vec::new();
        // round 0 warms up
        for round in 0..=plan.rounds {
            let list = prepare();
            let started = Instant::now();
            let one = || {
                let mut connection = Connection::open(self.address);
                let mut count = 0_u32;
                while started.elapsed() < plan.round {
                    assert_eq!(connection.ask(&request(list)), expected);
                    count += 1;
                }
                count
            };
            let count: u32 = std::thread::scope(|scope| {
                let all: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            if round > 0 {
                rates.push(f64::from(count) / started.elapsed().as_secs_f64());
            }
        }
        rates.sort_by(f64::total_cmp);
        rates
    }

    fn accepts(&self, invite: &Invite<'_>) -> bool {
        matches!(self.authorizer.authorize_now(invite), Decision::Accept(_))
    }

    /// Creates addresses, and decides an INVITE from each.
    fn addresses_at_once(&self) -> AtOnce {
        let mut connection = Connection::open(self.address);
        let mut seen = AtOnce::default();
        for number in 0..CREATED {
            let ip = Ipv4Addr::from_bits(0x0a00_0000 + number);
            let path = format!("IpAccessControlLists/{}/IpAddresses", self.addresses);
            let form = format!("FriendlyName=n{number}&IpAddress={ip}");
            let request = self.request("POST", &path, &form);
            let source = (ip, 5060).into();
            let invite = Invite::new(format!("sip:100@{LISTED}"), source, Transport::Udp);
            seen.early += u32::from(self.accepts(&invite));
            assert_eq!(connection.ask(&request), 201);
            seen.decide(|| self.accepts(&invite));
        }
        seen
    }

    /// Creates credentials, and decides an INVITE with the digest of each, computed before.
    fn credentials_at_once(&self) -> AtOnce {
        let mut connection = Connection::open(self.address);
        let mut seen = AtOnce::default();
        for number in 0..CREATED {
            // a new source for each INVITE, since wrong digests are counted by source
            let source = (Ipv4Addr::from_bits(0x0b00_0000 + number), 5060).into();
            let user = format!("caller{number}");
            let request = self.request_credential(self.users, &user);
            let (early, then) = (self.answer(&user, source), self.answer(&user, source));
            let (early, then) = (answered(&early, source), answered(&then, source));
            seen.early += u32::from(self.accepts(&early));
            assert_eq!(connection.ask(&request), 201);
            seen.decide(|| self.accepts(&then));
        }
        seen
    }

    /// The answer to a new challenge.
    fn answer(&self, user: &str, source: SocketAddr) -> String {
        let uri = format!("sip:100@{SECRET}");
        let asked = Invite::new(uri.as_str(), source, Transport::Udp);
        let Decision::Challenge(challenge) = self.authorizer.authorize_now(&asked) else {
            panic!("no challenge");
        };
        let mut prompt = digest_auth::parse(&challenge.values[0]).unwrap();
        let method = HttpMethod::from("INVITE");
        let context = AuthContext::new_with_method(user, PASSWORD, &uri, None::<&[u8]>, method);
        prompt.respond(&context).unwrap().to_header_string()
    }
}

fn answered(credentials: &str, source: SocketAddr) -> Invite<'_> {
    Invite::new(format!("sip:100@{SECRET}"), source, Transport::Udp)
        .with_credentials(CredentialsField::ProxyAuthorization, credentials.as_bytes())
}

/// The decisions on INVITEs before and right after their resource was created.
#[derive(Default)]
struct AtOnce {
    early: u32,
    accepted: u32,
    times: Vec<Duration>,
}

impl AtOnce {
    fn decide(&mut self, accepts: impl FnOnce() -> bool) {
        let answered = Instant::now();
        let accepted = accepts();
        self.times.push(answered.elapsed());
        self.accepted += u32::from(accepted);
    }

    /// Prints a row, and returns whether all decisions were correct.
    fn print(mut self, what: &str) -> bool {
        self.times.sort();
        let micros = |at: usize| self.times[at].as_secs_f64() * 1e6;
        let last = self.times.len() - 1;
        println!(
            "{what:44} {CREATED:>9} {:>9} {:>9} {:>9.1} {:>9.1}",
            self.early,
            self.accepted,
            micros(last / 2),
            micros(last)
        );
        self.early == 0 && self.accepted == CREATED
    }
}

/// Serves the HTTP API on a free port.
async fn serve() -> (Arc<Directory<MemoryStore>>, Arc<Authorizer>, SocketAddr) {
    let store = MemoryStore::new();
    let limits = Limits::default()
        .with_ip_addresses(usize::MAX)
        .with_credential_lists(usize::MAX)
        .with_credentials(usize::MAX);
    let settings = Settings::new(REALM.parse().unwrap()).with_limits(limits);
    let (snapshot, head) = Follower::load(&store, settings.vocabulary).await.unwrap();
    let authorizer = Arc::new(Authorizer::new(snapshot).unwrap());
    let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
    let directory = Arc::new(Directory::new(store, settings, Some(follower.applied())));
    tokio::spawn(follower.run());
    let router = router(Arc::clone(&directory), RestOptions::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // the server writes whole answers, so do not delay them
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (directory, authorizer, address)
}

/// A persistent connection: HTTP/1.1 with bodies of known length.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request, reads the whole answer and returns its status.
    fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).unwrap();
        self.buffer.clear();
        let mut chunk = [0; 4_096];
        let (mut head, mut total) = (0, usize::MAX);
        while self.buffer.len() < total {
            let read = self.stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..read]);
            if head == 0
                && let Some(end) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n")
            {
                head = end + 4;
                total = head + content_length(&self.buffer[..end]);
            }
        }
        assert_eq!(self.buffer.len(), total, "more than one answer");
        std::str::from_utf8(&self.buffer[9..12]).unwrap().parse().unwrap()
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let field = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    field.expect("an answer of known length").1.trim().parse().unwrap()
}

fn print_rates(what: &str, connections: usize, rates: &[f64]) {
    let (low, middle, high) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    println!("{what:44} {connections:>11} {middle:>9.0} {low:>9.0} {high:>9.0}");
}

fn main() -> ExitCode {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    // without --bench, `cargo test` runs this with small sizes
    let quick = has("--quick") || !has("--bench");
    let plan = if quick {
        Plan { rounds: 3, round: Duration::from_millis(80), many: 10_000 }
    } else {
        Plan { rounds: 9, round: Duration::from_millis(500), many: 100_000 }
    };
    let world = World::new();
    let none = || world.users;
    let get = |_| world.get_mapping();
    let post = |list| world.post_credential(list);

    println!("{:44} {:>11} {:>9} {:>9} {:>9}", "", "connections", "median/s", "slowest", "fastest");
    for connections in [1, 4] {
        let rates = world.rate(plan, connections, 200, none, get);
        print_rates("GET one mapping", connections, &rates);
    }
    for connections in [1, 4] {
        let rates = world.rate(plan, connections, 201, || world.new_list(), post);
        print_rates("POST one credential", connections, &rates);
    }

    let list = world.new_list();
    world.fill(list, plan.many);
    let many = plan.many;
    let rates = world.rate(plan, 1, 200, none, get);
    print_rates(&format!("GET one mapping, {many} credentials stored"), 1, &rates);
    let rates = world.rate(plan, 1, 201, || list, post);
    print_rates(&format!("POST one credential, {many} in its list"), 1, &rates);

    println!();
    println!(
        "{:44} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "created", "early", "at once", "median/µs", "most/µs"
    );
    let mut right = world.addresses_at_once().print("POST an address, INVITE from it");
    right &= world.credentials_at_once().print("POST a credential, INVITE with its digest");

    if !right {
        println!("\nsome INVITEs were not decided by the latest answered change");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
