//! The places and the memory of connections: who loses one, and what a client costs that reads no
//! answer. Hostile case 37.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::Http;
use crate::support::{Caller, PATIENCE, Request, Server, status};
use crate::tcp::{Connection, invite};

const PASSWORD: &str = "Correct-Horse-7";
/// The maximum number of connections of a listener.
const MOST: u16 = 1_024;

/// Reserves the open files of this process for a test with many connections. `None` if the limit does
/// not cover them.
pub(crate) fn reserve_files() -> Option<MutexGuard<'static, ()>> {
    static RESERVED: Mutex<()> = Mutex::new(());
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    if soft.is_none_or(|soft| soft < 4_096) {
        eprintln!("not tested: too few file descriptors");
        return None;
    }
    Some(RESERVED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An account with a domain that admits the loopback network, and one whose users have passwords.
struct Tenant {
    sid: String,
    /// The path of its users, without extension.
    users: String,
    http: Http,
}

impl Tenant {
    fn new(server: &Server, name: &str) -> Self {
        let http = Http::admin(server);
        let sid = http.create("/2010-04-01/Accounts.json", &[("FriendlyName", name)]);
        let sip = format!("/2010-04-01/Accounts/{sid}/SIP");
        let list = "IpAccessControlLists";
        let domain =
            |host: String| http.create(&format!("{sip}/Domains.json"), &[("DomainName", &host)]);
        let by_address = domain(format!("{name}.example"));
        let by_password = domain(format!("users.{name}.example"));
        let addresses = http.create(&format!("{sip}/{list}.json"), &[("FriendlyName", "all")]);
        let loopback =
            [("FriendlyName", "all"), ("IpAddress", "127.0.0.0"), ("CidrPrefixLength", "8")];
        http.create(&format!("{sip}/{list}/{addresses}/IpAddresses.json"), &loopback);
        let mappings = |domain: &str| format!("{sip}/Domains/{domain}/Auth/Calls");
        http.create(
            &format!("{}/IpAccessControlListMappings.json", mappings(&by_address)),
            &[("IpAccessControlListSid", &addresses)],
        );
        let users = [("FriendlyName", "staff")];
        let users = http.create(&format!("{sip}/CredentialLists.json"), &users);
        http.create(
            &format!("{}/CredentialListMappings.json", mappings(&by_password)),
            &[("CredentialListSid", &users)],
        );
        let credentials = format!("{sip}/CredentialLists/{users}/Credentials");
        Self { sid, users: credentials, http }
    }

    /// Creates a user; returns the path of the resource.
    fn user(&self, name: &str) -> String {
        let form = [("Username", name), ("Password", PASSWORD)];
        let sid = self.http.create(&format!("{}.json", self.users), &form);
        format!("{}/{sid}.json", self.users)
    }

    fn close(&self) {
        let path = format!("/2010-04-01/Accounts/{}.json", self.sid);
        assert_eq!(self.http.post(&path, &[("Status", "closed")]).0, 200);
    }
}

fn options() -> Request {
    Request::new("OPTIONS", "sip:a").via("SIP/2.0/TCP a;branch=z9hG4bKo")
}

fn start() -> Server {
    Server::start(&["--on-accept", "ok", "--realm", "example"])
}

/// Opens connections with an accepted call each.
fn accepted_connections(
    server: &Server,
    count: u16,
    source: impl Fn(u16) -> [u8; 4],
) -> Vec<Connection> {
    let request = invite("hostile").text();
    let mut all: Vec<_> = (0..count).map(|n| Connection::from(source(n), server.address)).collect();
    all.iter_mut().for_each(|connection| connection.send(&request));
    for connection in &mut all {
        assert_eq!(status(&connection.response()), 200);
    }
    all
}

#[test]
fn the_number_of_connections_is_limited() {
    let Some(_files) = reserve_files() else { return };
    let server = Server::demo();
    let mut all: Vec<_> = (0..1_100).map(|_| Connection::open(&server)).collect();
    // each of the last 76 took the place of the oldest; each task closes its own in its time
    assert!(all[..76].iter_mut().all(Connection::is_closed));
    assert!(all[76..].iter_mut().all(Connection::is_open));
    // UDP still works, and so does TCP
    let caller = Caller::new(&server);
    assert_eq!(status(&caller.ask(&invite("by-address").text())), 200);
    assert_eq!(status(&Connection::open(&server).ask(&invite("by-address"))), 200);
    drop(all);
    assert_eq!(status(&Connection::open(&server).ask(&invite("by-address"))), 200);
}

#[test]
fn a_host_with_all_connections_loses_those_without_an_accepted_call() {
    let Some(_files) = reserve_files() else { return };
    let server = Server::demo();
    let mut caller = Connection::open(&server);
    assert_eq!(status(&caller.ask(&invite("by-address"))), 200);
    let mut idle: Vec<_> = (1..MOST).map(|_| Connection::open(&server)).collect();

    let mut other = Connection::from([127, 9, 0, 1], server.address);
    assert_eq!(status(&other.ask(&invite("nowhere"))), 404);
    assert_eq!(status(&caller.ask(&invite("by-address"))), 200, "it has called");
    assert!(idle[0].is_closed(), "the oldest that has not");
    // a flood from that host evicts neither
    for _ in 0..1_200 {
        drop(Connection::open(&server));
    }
    assert_eq!(status(&other.ask(&invite("nowhere"))), 404);
    assert_eq!(status(&caller.ask(&invite("by-address"))), 200);
}

#[test]
fn case_37_newcomers_are_served_while_others_hold_all_connections() {
    let Some(_files) = reserve_files() else { return };
    let sources: [fn(u16) -> [u8; 4]; 2] =
        [|_| [127, 0, 0, 1], |n| [127, 1 + n.to_be_bytes()[0], n.to_be_bytes()[1], 1]];
    for source in sources {
        let server = start();
        Tenant::new(&server, "hostile");
        Tenant::new(&server, "honest");
        let mut held = accepted_connections(&server, MOST, source);
        // each newcomer is served, keeps its connection and is served again
        let mut newcomers: Vec<_> =
            (1..=40).map(|n| Connection::from([127, 200, n, 1], server.address)).collect();
        for newcomer in &mut newcomers {
            assert_eq!(status(&newcomer.ask(&invite("honest"))), 200);
        }
        // also while the others call again
        let request = invite("hostile").text();
        for connection in &mut held {
            let _ = connection.stream.write_all(request.as_bytes());
        }
        for n in 1..=40 {
            let mut newcomer = Connection::from([127, 201, n, 1], server.address);
            assert_eq!(status(&newcomer.ask(&invite("honest"))), 200);
            newcomers.push(newcomer);
        }
        for newcomer in &mut newcomers {
            assert_eq!(status(&newcomer.ask(&invite("honest"))), 200);
        }
        // newcomers took no more places than they needed
        let is_served = |connection: &mut Connection| {
            let called_again = connection.try_response().is_some();
            let _ = connection.stream.write_all(options().text().as_bytes());
            called_again && connection.try_response().is_some()
        };
        assert_eq!(
            held.iter_mut().filter_map(|it| is_served(it).then_some(())).count(),
            1_024 - 80
        );
    }
}

#[test]
fn case_37_closing_an_account_closes_its_connections() {
    let Some(_files) = reserve_files() else { return };
    let server = start();
    let hostile = Tenant::new(&server, "hostile");
    Tenant::new(&server, "honest");
    let mut other = Connection::open(&server);
    assert_eq!(status(&other.ask(&invite("honest"))), 200);
    let mut held = accepted_connections(&server, MOST - 1, |_| [127, 0, 0, 1]);
    hostile.close();
    // without another connection or request
    assert!(held.iter_mut().all(Connection::is_closed));
    assert_eq!(status(&other.ask(&invite("honest"))), 200);
    let refused = Connection::open(&server).ask(&invite("hostile"));
    assert_eq!(status(&refused), 603, "{refused}");
}

#[test]
fn case_34_a_trusted_proxy_keeps_its_connections() {
    let Some(_files) = reserve_files() else { return };
    let trusting = ["--on-accept", "ok", "--realm", "example", "--trusted-proxy", "127.8.0.1"];
    let server = Server::start(&trusting);
    let hostile = Tenant::new(&server, "hostile");
    Tenant::new(&server, "honest");
    let call = |tenant: &str| invite(tenant).header("X-Authz-Source", "127.0.0.9:5060");
    let mut idle = Connection::from([127, 8, 0, 1], server.address);
    let mut proxy = Connection::from([127, 8, 0, 1], server.address);
    for tenant in ["honest", "hostile"] {
        assert_eq!(status(&proxy.ask(&call(tenant))), 200);
    }
    // strangers replace each other only, with and without an accepted call
    let spread = |n: u16| [127, 16 + n.to_be_bytes()[0], n.to_be_bytes()[1], 1];
    let mut held = accepted_connections(&server, MOST, spread);
    let strangers = (0..200).map(|n| Connection::from([127, 32, n, 1], server.address));
    let strangers: Vec<_> = strangers.collect();
    assert_eq!(status(&idle.ask(&call("honest"))), 200);
    // the last caller of the proxy is no longer admitted, but others behind it are
    hostile.close();
    assert!(held.iter_mut().all(Connection::is_closed));
    assert_eq!(status(&proxy.ask(&call("hostile"))), 603);
    assert_eq!(status(&proxy.ask(&call("honest"))), 200);
    drop(strangers);
}

#[test]
fn case_37_changes_of_a_user_close_its_connections() {
    let server = start();
    let tenant = Tenant::new(&server, "hostile");
    let call = |name: &str| {
        let mut connection = Connection::open(&server);
        let invite = invite("users.hostile");
        let challenge = connection.ask(&invite);
        let answer = connection.ask(&invite.authorized(&challenge, name, PASSWORD));
        assert_eq!(status(&answer), 200, "{answer}");
        connection
    };
    let paths = ["alice", "bob", "carol", "dave"].map(|name| tenant.user(name));
    let [mut alice, mut bob, mut carol, mut dave] = ["alice", "bob", "carol", "dave"].map(call);
    let mut stranger = Connection::open(&server);
    assert_eq!(tenant.http.delete(&paths[0]), 204);
    assert!(alice.is_closed());
    let another = [("Password", "Another-Horse-8")];
    assert_eq!(tenant.http.post(&paths[1], &another).0, 200);
    assert!(bob.is_closed());
    assert_eq!(tenant.http.post(&paths[2], &[("Disabled", "true")]).0, 200);
    assert!(carol.is_closed());
    // the others stay
    for connection in [&mut dave, &mut stranger] {
        assert_eq!(status(&connection.ask(&options())), 200);
    }
}

/// Fills connections with requests and reads no answer, until the server takes no more. Returns
/// the growth of its resident memory in MiB: the most, and that at the end.
#[cfg(target_os = "linux")]
fn growth_of_unread(count: u16, first: &[u8], then: &[u8]) -> (u64, u64) {
    let server = Server::demo();
    let mut one = Connection::open(&server);
    assert_eq!(status(&one.ask(&invite("by-address"))), 200);
    let before = server.resident();
    let mut bytes = first.to_vec();
    while bytes.len() < 220_000 {
        bytes.extend_from_slice(then);
    }
    let mut streams: Vec<_> = (0..count)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            let stream = Connection::from([127, 1 + high, low, 1], server.address).stream;
            // answers fill a small window soon
            socket2::SockRef::from(&stream).set_recv_buffer_size(2_048).unwrap();
            stream.set_nonblocking(true).unwrap();
            (stream, &*bytes)
        })
        .collect();
    let growth = || server.resident().saturating_sub(before) >> 10;
    let mut most = 0;
    let mut quiet = 0;
    let begun = Instant::now();
    while quiet < 10 && begun.elapsed() < 4 * PATIENCE {
        let mut written = 0;
        for (stream, left) in &mut streams {
            if let Ok(count) = stream.write(left) {
                *left = &left[count..];
                written += count;
            }
        }
        let before = server.processor_ticks();
        std::thread::sleep(Duration::from_millis(50));
        let is_idle = written == 0 && server.processor_ticks() <= before + 1;
        quiet = if is_idle { quiet + 1 } else { 0 };
        most = most.max(growth());
    }
    let end = growth();
    let mut late = Connection::from([127, 100, 0, 1], server.address);
    // the server may still be at the others, which lose their connections after 32 s
    late.stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
    assert_eq!(status(&late.ask(&invite("nowhere"))), 404, "others are served");
    (most, end)
}

#[cfg(target_os = "linux")]
#[test]
fn case_37_a_client_that_reads_no_answer_takes_little_memory() {
    let Some(_files) = reserve_files() else { return };
    let tiny = b"OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/TCP a\r\nl:0\r\n\r\n";
    // the large body makes the buffer of the connection grow, before many requests fit into it
    let large = format!(
        "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/TCP a\r\nl:65535\r\n\r\n{}",
        "x".repeat(65_535)
    );
    let (most, end) = growth_of_unread(250, large.as_bytes(), tiny);
    eprintln!("tiny requests after a large one: at most {most} MiB, then {end} MiB");
    // while the large ones arrive, each connection holds one
    assert!(most < 32, "{most} MiB");
    // an answer of 40 kB
    let echoed = format!(
        "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/TCP a\r\nt:<sip:{}>\r\nl:0\r\n\r\n",
        "x".repeat(40_000)
    );
    let (most, end) = growth_of_unread(1_000, b"", echoed.as_bytes());
    eprintln!("large answers: at most {most} MiB, then {end} MiB");
    assert!(most < 128, "{most} MiB");
}
