//! Snapshots are swapped as fast as possible while four threads decide: every decision belongs to
//! exactly one of the two generations. Hostile case 35.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, ChallengeKind, Commit, Credential, CredentialList,
    Domain, GuessPolicy, Ha1Set, IpAccessControlList, IpAddress, Mapping, Password, Policy,
    PolicyRecord, QopOffer, Realm, Record, Target,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, Challenge, CredentialListSid, CredentialSid,
    CredentialsField, Decision, DomainSid, Invite, IpAccessControlListSid, IpAddressSid, Reason,
    Snapshot, Transport,
};

const READERS: usize = 4;
/// Minimum rounds of a reader; a round has seven decisions.
const ROUNDS: usize = 500;
/// The time after which a reader gives up that has seen only one generation, or too few swaps.
const PATIENCE: Duration = Duration::from_secs(120);
const SWAPS_AT_LEAST: usize = 100;

/// One of two states with the same six hosts and no SID in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    A,
    B,
}

use Generation::{A, B};

impl Generation {
    fn name(self) -> &'static str {
        if self == A { "a" } else { "b" }
    }

    fn account(self, host: &str) -> AccountSid {
        let owner = if host == "status" { "of status" } else { "of the others" };
        AccountSid::from_name(&[self.name(), owner])
    }

    fn target(self, host: &str) -> Target {
        DomainSid::from_name(&[self.name(), host]).into()
    }

    fn access_list(self, host: &str) -> IpAccessControlListSid {
        IpAccessControlListSid::from_name(&[self.name(), host])
    }

    fn address(self, host: &str) -> IpAddressSid {
        IpAddressSid::from_name(&[self.name(), host])
    }

    fn credential_list(self, host: &str) -> CredentialListSid {
        CredentialListSid::from_name(&[self.name(), host])
    }

    fn credential(self, host: &str) -> CredentialSid {
        CredentialSid::from_name(&[self.name(), host])
    }

    fn password(self) -> &'static str {
        if self == A { "password 1" } else { "password 2" }
    }

    fn realm(self, host: &str) -> Realm {
        // nonces are bound to the realm, so a user can only authenticate in both generations if
        // they share it
        let realm = if host == "challenge" { self.name() } else { "users" };
        realm.parse().unwrap()
    }

    /// All records. A admits by prefix and challenges with MD5 as a proxy; B admits by address and
    /// challenges with SHA-256 first and as a server.
    fn records(self) -> Vec<Record> {
        let mut records = Vec::new();
        let status = if self == A { AccountStatus::Active } else { AccountStatus::Suspended };
        records.push(Record::Account(Account { status, ..Account::new(self.account("status")) }));
        records.push(Record::Account(Account::new(self.account(""))));
        for host in ["listed", "status", "mapped", "challenge", "user", "secure"] {
            let (account, target) = (self.account(host), self.target(host));
            let Target::Domain(sid) = target else { panic!("no domain") };
            let name = format!("{host}.example.com").parse().unwrap();
            let secure = host == "secure" && self == B;
            records.push(Record::Domain(Domain { secure, ..Domain::new(sid, account, name) }));
            if ["challenge", "user"].contains(&host) {
                let list = self.credential_list(host);
                let (realm, user) = (self.realm(host), "bob".parse().unwrap());
                let password = Password::new(self.password().to_owned());
                let ha1 = Ha1Set::from_password(&user, &realm, password).unwrap();
                let credential = Credential::new(self.credential(host), list, user, ha1);
                let list = CredentialList::new(list, account, realm);
                records.push(Record::from(Mapping::CredentialList(target, list.sid)));
                records.push(PolicyRecord::new(target, self.policy(host)).into());
                records.extend([Record::CredentialList(list), Record::Credential(credential)]);
                continue;
            }
            let list = IpAccessControlList::new(self.access_list(host), account);
            let prefix = match (host, self) {
                ("mapped", B) => "198.51.100.0/24",
                (_, A) => "192.0.2.0/24",
                (_, B) => "192.0.2.1",
            };
            let prefix = prefix.parse().unwrap();
            let address = IpAddress::new(self.address(host), list.sid, prefix);
            if (host, self) != ("mapped", A) {
                let mapping = Mapping::IpAccessControlList(target, list.sid);
                records.push(Record::from(mapping));
            }
            records.extend([Record::IpAccessControlList(list), Record::IpAddress(address)]);
        }
        records
    }

    fn policy(self, host: &str) -> Policy {
        let without_limit = GuessRate { burst: NonZeroU32::MAX, refill_ms: NonZeroU32::MIN };
        let guesses = GuessPolicy::default().with_source(without_limit).with_pair(without_limit);
        let policy = Policy::default().with_guesses(guesses);
        if host == "user" || self == A {
            return policy;
        }
        policy
            .with_algorithms(AlgorithmOffer::new([Algorithm::Sha256, Algorithm::Md5]).unwrap())
            .with_qop(QopOffer::Both)
            .with_userhash(true)
            .with_challenge(ChallengeKind::Server)
    }

    fn snapshot(self) -> Snapshot {
        let records = self.records().into_iter();
        records.fold(Snapshot::builder(), sip_authz::SnapshotBuilder::record).build().unwrap()
    }

    /// A single commit that turns the other generation into this one.
    fn commit(self) -> Commit {
        let other = if self == A { B } else { A };
        let mut commit = Commit::new();
        for record in other.records() {
            commit.delete(record.key());
        }
        for record in self.records() {
            commit.put(record);
        }
        commit
    }
}

fn source() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

fn uri(host: &str) -> String {
    format!("sip:100@{host}.example.com")
}

/// The generation that every part of the decision belongs to.
fn generation_of(host: &str, decision: &Decision) -> Generation {
    let of = |is: &dyn Fn(Generation) -> bool| match (is(A), is(B)) {
        (true, false) => A,
        (false, true) => B,
        _ => panic!("{host}: neither of A nor of B: {decision:?}"),
    };
    match decision {
        Decision::Accept(accept) => of(&|generation| {
            let address = accept
                .address
                .map(|it| (it.list, it.address))
                .is_none_or(|it| it == (generation.access_list(host), generation.address(host)));
            let credential = accept.credential.as_ref().is_none_or(|it| {
                (it.list, it.credential)
                    == (generation.credential_list(host), generation.credential(host))
                    && it.username.as_str() == "bob"
            });
            assert!(!accept.repeat && accept.address.is_some() != accept.credential.is_some());
            accept.account == generation.account(host)
                && accept.target == generation.target(host)
                && address
                && credential
        }),
        Decision::Challenge(challenge) => of(&|generation| {
            challenge.target == generation.target(host) && is_challenge_of(generation, challenge)
        }),
        Decision::Reject(reject) => of(&|generation| {
            let reason = match (host, generation) {
                ("status", B) => Some(Reason::AccountInactive),
                ("mapped", A) => Some(Reason::NothingMapped),
                ("mapped", B) => Some(Reason::AddressNotListed),
                ("secure", B) => Some(Reason::NotSecure),
                ("user", _) => Some(Reason::WrongCredentials),
                _ => None,
            };
            reject.target == Some(generation.target(host)) && Some(reject.reason) == reason
        }),
    }
}

fn is_challenge_of(generation: Generation, challenge: &Challenge) -> bool {
    let has = |text: &str| challenge.values.iter().all(|value| value.contains(text));
    let nonce = challenge.values[0].split('"').nth(3).unwrap();
    let same_nonce = has(&format!("nonce=\"{nonce}\"")) && nonce.len() == 22;
    let algorithms: Vec<_> =
        challenge.values.iter().map(|value| value.split(", ").nth(2).unwrap()).collect();
    same_nonce
        && has(&format!("realm=\"{}\"", generation.name()))
        && match generation {
            A => {
                algorithms == ["algorithm=MD5"]
                    && has("qop=\"auth\"")
                    && !has("userhash")
                    && challenge.kind == ChallengeKind::Proxy
            }
            B => {
                algorithms == ["algorithm=SHA-256", "algorithm=MD5"]
                    && has("qop=\"auth,auth-int\"")
                    && has("userhash=true")
                    && challenge.kind == ChallengeKind::Server
            }
        }
}

/// A client at the host `user`, which both generations know with different passwords.
struct Client {
    password: &'static str,
    challenge: WwwAuthenticateHeader,
}

impl Client {
    fn new(authorizer: &Authorizer, now: Instant, password: &'static str) -> Self {
        let invite = Invite::new(uri("user"), source(), Transport::Tcp);
        let Decision::Challenge(challenge) = authorizer.authorize(&invite, now) else {
            panic!("not challenged")
        };
        Self { password, challenge: digest_auth::parse(&challenge.values[0]).unwrap() }
    }

    /// A response with the next count of the same nonce.
    fn answer(&mut self) -> String {
        let method = HttpMethod::from("INVITE");
        let (uri, body) = (uri("user"), None::<&[u8]>);
        let context = AuthContext::new_with_method("bob", self.password, uri, body, method);
        self.challenge.respond(&context).unwrap().to_string()
    }
}

/// Decides for at least [`ROUNDS`] rounds and until both generations were seen. Returns the
/// decisions of each.
fn read(authorizer: &Authorizer, now: Instant, swaps: &AtomicUsize) -> [usize; 2] {
    let mut clients = [A, B].map(|it| Client::new(authorizer, now, it.password()));
    let mut counts = [0; 2];
    for round in 0.. {
        let both = counts.iter().all(|count| *count > 0);
        if both && round >= ROUNDS && swaps.load(Ordering::Relaxed) >= SWAPS_AT_LEAST {
            break;
        }
        assert!(now.elapsed() < PATIENCE, "{counts:?} of A and B");
        for host in ["listed", "status", "mapped", "challenge", "secure"] {
            let invite = Invite::new(uri(host), source(), Transport::Tcp);
            let decision = authorizer.authorize(&invite, now);
            counts[generation_of(host, &decision) as usize] += 1;
        }
        for client in &mut clients {
            let value = client.answer();
            let field = CredentialsField::ProxyAuthorization;
            let invite = Invite::new(uri("user"), source(), Transport::Tcp)
                .with_credentials(field, value.as_bytes());
            let decision = authorizer.authorize(&invite, now);
            let generation = generation_of("user", &decision);
            // accepted only in the generation that has this password
            assert_eq!(decision.is_accept(), client.password == generation.password());
            counts[generation as usize] += 1;
        }
    }
    counts
}

/// Calls `swap` until the readers finish.
fn swap_under_readers(what: &str, swap: impl Fn(&Authorizer, Generation) + Sync) {
    let (now, capacity) = (Instant::now(), Capacity::default());
    let authorizer = Authorizer::from_seed(A.snapshot(), capacity, &[7; 32], now);
    let (swaps, reading) = (AtomicUsize::new(0), AtomicUsize::new(READERS));
    let counts: Vec<[usize; 2]> = thread::scope(|scope| {
        let reader = || {
            let done = Done(&reading);
            let counts = read(&authorizer, now, &swaps);
            drop(done);
            counts
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        while reading.load(Ordering::Relaxed) > 0 {
            for generation in [B, A] {
                swap(&authorizer, generation);
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for count in &counts {
        assert!(count.iter().all(|count| *count > 0), "a reader saw one generation only");
    }
    let total: usize = counts.iter().flatten().sum();
    let (swaps, took) = (swaps.into_inner(), now.elapsed());
    println!("{what}: {swaps} swaps under {total} decisions ({counts:?} of A and B) in {took:?}");
    assert!(swaps >= SWAPS_AT_LEAST);
}

/// Signals the end of a reader, also after a panic.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn case_35_every_decision_is_of_one_generation_when_snapshots_are_replaced() {
    let snapshots = [A.snapshot(), B.snapshot()];
    swap_under_readers("replace", |authorizer, generation| {
        authorizer.replace(snapshots[generation as usize].clone());
    });
}

#[test]
fn case_35_every_decision_is_of_one_generation_when_commits_are_applied() {
    let commits = [A.commit(), B.commit()];
    swap_under_readers("apply", |authorizer, generation| {
        authorizer.apply(&commits[generation as usize]).unwrap();
    });
}

#[test]
fn case_35_a_change_that_fails_leaves_the_old_snapshot_in_force() {
    let now = Instant::now();
    let authorizer = Authorizer::from_seed(A.snapshot(), Capacity::default(), &[7; 32], now);
    let before = authorizer.snapshot();
    let decide =
        |host: &str| authorizer.authorize(&Invite::new(uri(host), source(), Transport::Udp), now);
    let accepted = decide("listed");
    assert_eq!(generation_of("listed", &accepted), A);

    // all of B, plus one record that breaks a rule
    let nowhere = IpAccessControlListSid::from_name(&["nowhere"]);
    let mut missing = B.commit();
    missing.put(Record::from(Mapping::IpAccessControlList(B.target("mapped"), nowhere)));
    let mut twice = B.commit();
    twice.put(B.records().swap_remove(0));
    let mut in_use = Commit::new();
    in_use.delete(A.records().swap_remove(0).key());
    for (commit, expected) in [
        (&missing, format!("there is no IP access control list {nowhere}")),
        (&twice, "is written twice".to_owned()),
        (&in_use, "is in use".to_owned()),
    ] {
        let error = authorizer.apply(commit).unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
        assert!(Arc::ptr_eq(&before, &authorizer.snapshot()));
        assert_eq!(decide("listed"), accepted);
        assert_eq!(generation_of("challenge", &decide("challenge")), A);
    }
    assert_eq!(before.number(), 1);

    authorizer.apply(&B.commit()).unwrap();
    assert_eq!(authorizer.snapshot().number(), 2);
    assert_eq!(generation_of("listed", &decide("listed")), B);
}
