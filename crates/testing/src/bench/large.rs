//! A snapshot of any size, built commit by commit, and single changes to it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sip_authz::model::{
    Account, AccountStatus, Commit, Credential, CredentialList, Domain, Ha1Set,
    IpAccessControlList, IpAddress, Mapping, Password, Record, UserName,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, CredentialListSid, CredentialSid, DomainSid, Invite,
    IpAccessControlListSid, IpAddressSid, Snapshot, Transport,
};

/// The domains of an account, which share one access list.
const DOMAINS_OF_ACCOUNT: usize = 100;
/// The addresses of an access list.
const ADDRESSES: usize = 16;
/// The number of writes in a commit during the build. Small, so that the commits take little of the
/// measured memory.
const CHUNK: usize = 20_000;
const REALM: &str = "sip.example.com";

/// A well-mixed number for each `n`.
pub fn mix(n: usize) -> u64 {
    let mut z = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn sid_bytes(kind: usize, n: usize) -> [u8; 16] {
    let (a, b) = (mix(n), mix(n ^ (kind << 56)));
    std::array::from_fn(|i| if i < 8 { a.to_le_bytes()[i] } else { b.to_le_bytes()[i - 8] })
}

pub fn account(n: usize) -> AccountSid {
    AccountSid::from_bytes(sid_bytes(1, n))
}

pub fn domain(n: usize) -> DomainSid {
    DomainSid::from_bytes(sid_bytes(2, n))
}

pub fn access_list(n: usize) -> IpAccessControlListSid {
    IpAccessControlListSid::from_bytes(sid_bytes(3, n))
}

pub fn credential_list(n: usize) -> CredentialListSid {
    CredentialListSid::from_bytes(sid_bytes(4, n))
}

pub fn host(n: usize) -> String {
    format!("c{n:07}.sip.example.com")
}

/// A user name of twelve characters.
pub fn username(n: usize) -> String {
    format!("user{n:08}")
}

pub struct Large {
    pub domains: usize,
    pub credentials: usize,
    lists: usize,
    pub snapshot: Snapshot,
    ha1: Ha1Set,
}

impl Large {
    /// The accounts and their lists: an access list with addresses, and credential lists.
    pub fn new(domains: usize, credentials: usize) -> Self {
        let accounts = domains.div_ceil(DOMAINS_OF_ACCOUNT);
        // lists hold at most as many users as Twilio documents
        let lists = accounts.max(credentials.div_ceil(1_000));
        let (name, realm) = ("somebody".parse().unwrap(), REALM.parse().unwrap());
        let password = Password::new("correct horse".to_owned());
        let ha1 = Ha1Set::from_password(&name, &realm, password).unwrap();
        let snapshot = Snapshot::empty();
        let mut large = Self { domains, credentials, lists, snapshot, ha1 };
        large.put_all((0..accounts).map(|n| Account::new(account(n)).into()));
        large.put_all(
            (0..accounts).map(|n| IpAccessControlList::new(access_list(n), account(n)).into()),
        );
        large.put_all((0..accounts * ADDRESSES).map(|n| {
            let (list, entry) = (n / ADDRESSES, n % ADDRESSES);
            let prefix = format!("192.0.2.{}", 2 * entry).parse().unwrap();
            let sid = IpAddressSid::from_bytes(sid_bytes(5, n));
            IpAddress::new(sid, access_list(list), prefix).into()
        }));
        large.put_all((0..lists).map(|n| {
            let owner = account(n % accounts);
            CredentialList::new(credential_list(n), owner, realm.clone()).into()
        }));
        large
    }

    /// Adds the domains. Each has the access list of its account, and every second one a credential
    /// list.
    pub fn add_domains(&mut self) {
        let all = self.domains;
        self.put_all((0..all).flat_map(|n| {
            let owner = n / DOMAINS_OF_ACCOUNT;
            let target = domain(n).into();
            let name = host(n).parse().unwrap();
            let access = Mapping::IpAccessControlList(target, access_list(owner));
            let calls = Mapping::CredentialList(target, credential_list(owner));
            let domain = Domain::new(domain(n), account(owner), name).into();
            [Some(domain), Some(access.into()), (n % 2 == 1).then(|| calls.into())]
                .into_iter()
                .flatten()
        }));
    }

    pub fn credential(&self, n: usize) -> Credential {
        let name: UserName = username(n).parse().unwrap();
        let list = credential_list(n % self.lists);
        let sid = CredentialSid::from_bytes(sid_bytes(6, n));
        Credential::new(sid, list, name, self.ha1.clone())
    }

    pub fn add_credentials(&mut self) {
        let mut from = 0;
        while from < self.credentials {
            let to = (from + CHUNK).min(self.credentials);
            let mut commit = Commit::new();
            for n in from..to {
                commit.put(self.credential(n).into());
            }
            self.snapshot = self.snapshot.apply(&commit).unwrap();
            from = to;
        }
    }

    fn put_all(&mut self, records: impl Iterator<Item = Record>) {
        let mut records = records.peekable();
        while records.peek().is_some() {
            let mut commit = Commit::new();
            for record in records.by_ref().take(CHUNK) {
                commit.put(record);
            }
            self.snapshot = self.snapshot.apply(&commit).unwrap();
        }
    }

    pub fn whole(domains: usize, credentials: usize) -> Self {
        let mut large = Self::new(domains, credentials);
        large.add_domains();
        large.add_credentials();
        large
    }

    pub fn authorizer(&self) -> (Authorizer, Instant) {
        let now = Instant::now();
        let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
        (Authorizer::from_seed(self.snapshot.clone(), capacity, &[7; 32], now), now)
    }

    /// The change number `round` of a kind. Even rounds make a change at a random place, odd rounds
    /// undo it.
    pub fn change(&self, kind: &str, round: usize) -> Commit {
        let (pick, undo) = (mix(round / 2), round % 2 == 1);
        let n = usize::try_from(pick).unwrap() % self.domains;
        let owner = n / DOMAINS_OF_ACCOUNT;
        let target = domain(n).into();
        let mut commit = Commit::new();
        let mut toggle = |record: Record, present: bool| {
            if present {
                commit.put(record)
            } else {
                commit.delete(record.key())
            };
        };
        match kind {
            // this mapping exists from the start, so the order is reversed
            "map" => {
                toggle(Mapping::IpAccessControlList(target, access_list(owner)).into(), undo);
            }
            "address" => {
                let sid = IpAddressSid::from_bytes(sid_bytes(7, n));
                let prefix = "198.51.100.0/24".parse().unwrap();
                toggle(IpAddress::new(sid, access_list(owner), prefix).into(), !undo);
            }
            "credential" => toggle(self.credential(self.credentials + n).into(), !undo),
            "rename" => {
                let name = if undo { host(n) } else { format!("new-{}", host(n)) };
                let name = name.parse().unwrap();
                commit.put(Domain::new(domain(n), account(owner), name).into());
            }
            _ => {
                let status = if undo { AccountStatus::Active } else { AccountStatus::Suspended };
                commit.put(Account { status, ..Account::new(account(owner)) }.into());
            }
        }
        commit
    }
}

pub const KINDS: [&str; 5] = ["map", "address", "credential", "rename", "suspend"];

/// The time until each of `rounds` changes was in force, sorted.
pub fn publish(large: &Large, authorizer: &Authorizer, kind: &str, rounds: usize) -> Vec<Duration> {
    let mut times: Vec<_> = (0..rounds)
        .map(|round| {
            let commit = large.change(kind, round);
            let began = Instant::now();
            let applied = authorizer.apply(&commit);
            let took = began.elapsed();
            applied.unwrap();
            took
        })
        .collect();
    times.sort_unstable();
    times
}

/// The same for every kind while two threads decide. Also returns the times of the decisions.
pub fn publish_while_read(
    large: &Large,
    authorizer: &Authorizer,
    now: Instant,
    rounds: usize,
) -> (Vec<(&'static str, Vec<Duration>)>, Vec<Duration>) {
    let uris: Vec<String> =
        (0..4_096).map(|n| format!("sip:200@{}", host(n * 2 % large.domains))).collect();
    let done = AtomicBool::new(false);
    let reader = || {
        let mut times = Vec::new();
        while !done.load(Ordering::Relaxed) {
            for uri in &uris {
                let began = Instant::now();
                _ = black_box(authorizer.authorize(&invite(uri), now));
                times.push(began.elapsed());
            }
        }
        times
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let changes = KINDS
            .map(|kind| (kind, publish(large, authorizer, kind, rounds)))
            .into_iter()
            .collect();
        done.store(true, Ordering::Relaxed);
        let mut reads: Vec<_> =
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        reads.sort_unstable();
        (changes, reads)
    })
}

/// Prints the median, the 99th percentile and the maximum of sorted times, in microseconds.
pub fn show(what: &str, times: &[Duration]) {
    let at = |part: usize| times[(times.len() - 1) * part / 1_000].as_nanos() as f64 / 1e3;
    println!("{what:<22} {:>9.1} {:>9.1} {:>9.1}", at(500), at(990), at(1_000));
}

pub fn invite(request_uri: &str) -> Invite<'_> {
    Invite::new(request_uri, "192.0.2.8:5060".parse().unwrap(), Transport::Udp)
}
