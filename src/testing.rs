//! What fuzz targets and tests share: the bodies of the targets, and names that only they need.
//! Not part of the public interface; it may change in any release.

mod commits;
mod lanes;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Instant;

pub use crate::digest::{
    Algorithm, Credentials, MalformedCredentials, Parsed, Qop, QopFields, Username,
    parse as parse_credentials,
};

pub use commits::fuzz_commits;

use arrayvec::ArrayVec;

pub use lanes::fuzz_lanes;

/// The hashing of one message and of many, by each set of instructions that the machine has.
pub mod hash {
    pub use crate::digest::hash::{
        HeldWidth, Md5State, Message, Sha256Midstate, Width, hex16, hex32, hold_width, md5,
        md5_beside, md5_many, md5_many_with, md5_messages, md5_messages_with, md5_pair, same_hex,
        sha256, sha256_many, sha256_many_from, sha256_many_from_with, sha256_many_with, sha512_256,
    };
}

use crate::acl::{Prefix, PrefixError, PrefixTable};
use crate::authorizer::{Authorizer, Capacity};
use crate::decision::Decision;
use crate::digest::{ExpectedResponse, GuessRate, MAX_USERNAME, MOST, Question, right_responses};
use crate::invite::{Invite, Transport};
use crate::model::{
    Account, AccountStatus, AlgorithmOffer, Credential, CredentialList, Domain, GuessPolicy,
    Ha1Set, IpAccessControlList, IpAddress, Mapping, Password, Policy, QopOffer, Trunk, UriCheck,
};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    TrunkSid,
};
use crate::snapshot::Snapshot;

/// The realm that both fuzz targets ask with.
pub const FUZZ_REALM: &str = "example.com";

/// Where the requests of [`fuzz_request`] come from: inside the access list over UDP, and outside
/// it over TLS.
const WAYS: [(IpAddr, Transport); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Transport::Udp),
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), Transport::Tls),
];

/// Reads `bytes` as a key, a line end and a value, and checks that what can be read is the same when
/// it was written again, in one form. Returns whether it can be read.
#[cfg(feature = "store")]
pub fn fuzz_store_record(bytes: &[u8]) -> bool {
    use crate::store::{Sum, encoding};

    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(Ok(key)) = str::from_utf8(text).map(encoding::decode_key) else { return false };
    assert_eq!(encoding::key(key).as_bytes(), text, "one form of a key");
    let Ok(record) = encoding::decode(key, value) else { return false };
    assert!(record.key() == key, "the record of the key");
    let written = encoding::encode(&record);
    let again = written.as_ref().map(|written| encoding::decode(key, written.as_bytes()));
    assert!(again == Ok(Ok(record.clone())), "read, written and read again");
    let sums = written.map(|written| Sum::of_encoded(&encoding::key(key), written.as_bytes()));
    assert!(sums == Sum::of(&record), "one form of a value");
    true
}

/// Reads `value` as a credentials header, checks what is promised of every outcome, and hands the
/// outcome to `compare`, which knows another parser.
pub fn fuzz_digest_header(value: &[u8], compare: impl FnOnce(&Parsed<'_>)) {
    let parsed = parse_credentials(value, FUZZ_REALM);
    if let Parsed::Credentials(credentials) = &parsed {
        check_credentials(credentials);
    }
    if !matches!(parsed, Parsed::Ignored | Parsed::Malformed(_)) {
        let other = parse_credentials(value, "EXAMPLE.com");
        assert!(matches!(other, Parsed::Ignored), "ours for two realms");
    }
    compare(&parsed);
}

fn check_credentials(credentials: &Credentials<'_>) {
    let sound = |value: &[u8], max: usize| {
        let clean = |byte: &u8| !byte.is_ascii_control() && !b"\"\\".contains(byte);
        (1..=max).contains(&value.len()) && value.iter().all(clean)
    };
    assert!(sound(credentials.nonce, 256), "nonce");
    assert!(sound(credentials.uri, 1024), "uri");
    assert!(sound(credentials.response, 128), "response");
    let (Username::Plain(name) | Username::Hash(name)) = &credentials.username;
    assert!((1..=MAX_USERNAME).contains(&name.len()), "length of the name");
    assert!(!name.contains(char::is_control), "control character in the name");
    if let Username::Hash(hash) = &credentials.username {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(hash.len() >= 32 && hash.bytes().all(digit), "userhash");
    }
    assert!(credentials.qop.is_some() || !credentials.algorithm.is_session(), "-sess without qop");
    if let Some(fields) = credentials.qop {
        assert!(sound(fields.cnonce, 256), "cnonce");
        assert!(fields.nc != 0 && fields.nc_text.len() == 8, "nc");
        let nc_text = str::from_utf8(fields.nc_text).unwrap_or_default();
        assert_eq!(u32::from_str_radix(nc_text, 16), Ok(fields.nc), "nc");
    }
}

/// Reads `bytes` as prefixes, 18 bytes each: family, length, address. Each address that they begin or
/// end at, and those beside it, must be found in the table as in a scan of the list.
pub fn fuzz_prefix_table(bytes: &[u8]) {
    let (entries, _) = bytes.as_chunks::<18>();
    let prefixes: Vec<Prefix> = entries.iter().map(|entry| fuzz_prefix(*entry)).collect();
    let Ok(table) = PrefixTable::build(prefixes.iter().copied()) else { return };
    assert_eq!(table.len(), prefixes.len());
    for prefix in &prefixes {
        for addr in addresses_around(*prefix) {
            let matching = prefixes.iter().enumerate().filter(|(_, prefix)| prefix.contains(addr));
            // of the longest the first
            let longest = matching.max_by_key(|(i, prefix)| (prefix.len(), usize::MAX - i));
            assert_eq!(table.longest(addr), longest.map(|(i, _)| i), "{addr} in {prefixes:?}");
            assert_eq!(table.contains(addr), longest.is_some(), "{addr} in {prefixes:?}");
        }
    }
}

fn fuzz_prefix([family, len, addr @ ..]: [u8; 18]) -> Prefix {
    let [a, b, c, d, ..] = addr;
    let (addr, max) = match family % 3 {
        0 => (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 32),
        1 => (IpAddr::V6(Ipv4Addr::new(a, b, c, d).to_ipv6_mapped()), 32),
        _ => (IpAddr::V6(Ipv6Addr::from(addr)), 128),
    };
    let len = if max == 32 || addr.to_canonical().is_ipv4() { len % 33 } else { len % 129 };
    match Prefix::new(addr.to_canonical(), len) {
        Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
        Err(_) => addr.into(),
    }
}

/// The first and last address of `prefix`, their neighbours, and IPv4 also as mapped.
fn addresses_around(prefix: Prefix) -> Vec<IpAddr> {
    let len = u32::from(prefix.len());
    match prefix.addr() {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let last = first | u32::MAX.unbounded_shr(len);
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            let plain = all.map(Ipv4Addr::from_bits);
            plain.iter().flat_map(|v4| [(*v4).into(), v4.to_ipv6_mapped().into()]).collect()
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let last = first | u128::MAX.unbounded_shr(len);
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.iter().map(|bits| Ipv6Addr::from_bits(*bits).into()).collect()
        }
    }
}

/// Decides `bytes`, taken as a datagram and as a message over TLS, on a fixed snapshot, and checks
/// what must hold whatever the bytes are. Returns the decision over UDP, if it is an INVITE.
///
/// The same bytes always meet the same state: the authorizer is made anew, from a fixed seed.
pub fn fuzz_request(bytes: &[u8]) -> Option<Decision> {
    let [over_udp, _] = WAYS.map(|(ip, transport)| {
        let source = SocketAddr::new(ip, 5060);
        let invite = Invite::from_datagram(bytes, source, transport).ok()?;
        #[cfg(feature = "rsip")]
        compare_with_rsip(bytes, &invite);
        let (authorizer, now) = fuzz_authorizer();
        Some(check_decision(&authorizer, &invite, now))
    });
    over_udp
}

/// Decides and checks one INVITE.
fn check_decision(authorizer: &Authorizer, invite: &Invite<'_>, now: Instant) -> Decision {
    let explained = authorizer.explain(invite, now).decision;
    let decision = authorizer.authorize(invite, now);
    match (&decision, &explained) {
        // an explanation counts nothing, so of several wrong headers it may look at one more
        _ if invite.credentials().len() > 1 => {}
        // the nonce is another, all else is the same
        (Decision::Challenge(one), Decision::Challenge(two)) => {
            let facts = |it: &crate::Challenge| (it.target, it.kind, it.stale, it.values.len());
            assert_eq!(facts(one), facts(two));
        }
        (one, two) => assert_eq!(one, two),
    }
    let Decision::Accept(accept) = &decision else {
        assert!(!authorizer.authorize(invite, now).is_accept(), "accepted when it came again");
        return decision;
    };
    assert!(!accept.repeat, "the first is no repeat");
    let Some(credential) = &accept.credential else {
        let open = [sids::domain("addr").into(), sids::trunk("trunk").into()];
        assert!(open.contains(&accept.target) && accept.address.is_some(), "{accept:?}");
        assert_eq!(invite.source().ip(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(authorizer.authorize(invite, now), decision);
        return decision;
    };
    // of the passwords in the snapshot only the one of this list is in the seeds
    let known = [sids::domain("known").into(), sids::domain("strict").into()];
    assert!(known.contains(&accept.target), "nobody knows a password for this one: {accept:?}");
    assert!(["alice", r"corp\bob"].contains(&credential.username.as_str()), "disabled");
    let mut copies = std::iter::repeat_with(|| authorizer.authorize(invite, now));
    if invite.transport().retransmits() {
        let repeat = crate::Accept { repeat: true, ..accept.clone() };
        assert_eq!(copies.next(), Some(Decision::Accept(repeat)));
    } else {
        // a client may have put several counts of one nonce in one request, each good for once
        let accepted = copies.take_while(Decision::is_accept).take(16).count();
        assert!(accepted < invite.credentials().len(), "replayed");
    }
    decision
}

/// Where rsip takes the same bytes for an INVITE, it must find the same facts in them.
#[cfg(feature = "rsip")]
fn compare_with_rsip(bytes: &[u8], invite: &Invite<'_>) {
    use crate::message::{Header, Message, trim};
    use crate::uri::SipUri;

    let compact = |name: &[u8]| name.len() == 1;
    let Some(message) = Message::scan(bytes) else { return };
    if message.fields().any(|field| field.header != Header::Other && compact(field.name)) {
        return; // names that rsip does not know
    }
    let Ok(request) = ::rsip::Request::try_from(bytes) else { return };
    let (source, transport) = (invite.source(), invite.transport());
    let Ok(other) = Invite::from_rsip(&request, source, transport) else { return };
    // rsip looks for the end of a user beyond the first line; with such a URI the request is refused
    let Ok(theirs) = SipUri::parse(other.request_uri()) else { return };
    let ours = SipUri::parse(invite.request_uri());
    assert!(
        ours.is_ok_and(|ours| ours.equivalent(&theirs)),
        "`{}`, rsip `{}`",
        invite.request_uri(),
        other.request_uri()
    );

    let text = |value: &[u8]| String::from_utf8_lossy(trim(value)).into_owned();
    let credentials = |invite: &Invite<'_>| {
        let values = invite.credentials().iter();
        values.map(|(field, value)| (*field, text(value))).collect::<Vec<_>>()
    };
    assert_eq!(credentials(invite), credentials(&other));
    assert_eq!(invite.has_too_many_credentials(), other.has_too_many_credentials());
    let transaction = |invite: &Invite<'_>| {
        let it = invite.transaction()?;
        Some([it.from, it.to, it.call_id, it.cseq, it.via].map(text))
    };
    assert_eq!(transaction(invite), transaction(&other));
    assert_eq!(invite.body(), other.body());
}

/// How many of `hosts` name something, looked up one after the other; for benches.
#[must_use]
pub fn count_named(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    hosts.iter().filter(|host| snapshot.named_entry(host).is_some()).count()
}

/// As [`count_named`], reading ahead for 64 at a time.
#[must_use]
pub fn count_named_at_once(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    let targets = snapshot.targets();
    let mut count = 0;
    for hosts in hosts.chunks(64) {
        let keys: ArrayVec<_, 64> = hosts.iter().map(|host| targets.key(host)).collect();
        let slots: ArrayVec<_, 64> = keys.iter().map(|key| targets.read_ahead(*key)).collect();
        black_box(slots.iter().flatten().filter(|slot| targets.touch(**slot)).count());
        let named = |(key, host): (&_, &&str)| targets.named(*key, host).is_some();
        count += keys.iter().zip(hosts).filter(|pair| named(*pair)).count();
    }
    count
}

/// How many of the names are users of the lists mapped to `host`, looked up one after the other; for
/// benches.
#[must_use]
pub fn count_users(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let lists = entry.credential_lists.iter();
    lists
        .map(|mapped| {
            let found = |name: &&&str| snapshot.look_up(mapped.list, name).found.is_some();
            names.iter().filter(found).count()
        })
        .sum()
}

/// As [`count_users`], reading ahead for 64 at a time.
#[must_use]
pub fn count_users_at_once(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let users = snapshot.users();
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let mut count = 0;
    for list in entry.credential_lists.iter().map(|mapped| mapped.list) {
        for names in names.chunks(64) {
            let keys: ArrayVec<_, 64> = names.iter().map(|name| users.key(list, name)).collect();
            let slots: ArrayVec<_, 64> = keys.iter().map(|key| users.read_ahead(*key)).collect();
            black_box(slots.iter().flatten().filter(|slot| users.touch(**slot)).count());
            let pairs = keys.iter().zip(names);
            count += pairs.filter(|(key, n)| users.look_up(**key, list, n).found.is_some()).count();
        }
    }
    count
}

/// The authorizer that [`fuzz_request`] asks, and the time it asks for. Its nonces are the same in
/// every process, so that seeds can hold live ones.
pub fn fuzz_authorizer() -> (Authorizer, Instant) {
    static SNAPSHOT: OnceLock<(Snapshot, Instant)> = OnceLock::new();
    let (snapshot, now) = SNAPSHOT.get_or_init(|| (fuzz_snapshot(), Instant::now()));
    let capacity = Capacity { nonces: 0, repeats: 0, guesses: 0 };
    (Authorizer::from_seed(snapshot.clone(), capacity, &[7; 32], *now), *now)
}

/// SIDs by name.
mod sids {
    use super::{AccountSid, CredentialListSid, DomainSid, IpAccessControlListSid, TrunkSid};

    pub(super) fn account(name: &str) -> AccountSid {
        AccountSid::from_name(&[name])
    }

    pub(super) fn domain(name: &str) -> DomainSid {
        DomainSid::from_name(&[name])
    }

    pub(super) fn trunk(name: &str) -> TrunkSid {
        TrunkSid::from_name(&[name])
    }

    pub(super) fn access_list(name: &str) -> IpAccessControlListSid {
        IpAccessControlListSid::from_name(&[name])
    }

    pub(super) fn credential_list(name: &str) -> CredentialListSid {
        CredentialListSid::from_name(&[name])
    }
}

/// A domain or trunk for each way a decision can go. Whatever cannot be built is left out; a test
/// counts them.
fn fuzz_snapshot() -> Snapshot {
    let (open, shut) = (sids::account("open"), sids::account("shut"));
    let mut builder = Snapshot::builder()
        .account(Account::new(open))
        .account(Account { status: AccountStatus::Suspended, ..Account::new(shut) })
        .ip_access_control_list(IpAccessControlList::new(sids::access_list("office"), open))
        .ip_access_control_list(IpAccessControlList::new(sids::access_list("far"), open));
    for (list, text) in
        [("office", "192.0.2.0/24"), ("office", "2001:db8::/32"), ("far", "203.0.113.9")]
    {
        if let Ok(prefix) = text.parse() {
            let sid = IpAddressSid::from_name(&[text]);
            builder = builder.ip_address(IpAddress::new(sid, sids::access_list(list), prefix));
        }
    }
    const DOMAINS: [&str; 10] =
        ["addr", "far", "secret", "plain", "both", "known", "strict", "tls", "none", "shut"];
    for name in DOMAINS {
        if let Ok(host) = format!("{name}.example.com").parse() {
            let account = if name == "shut" { shut } else { open };
            let secure = name == "tls";
            let domain = Domain { secure, ..Domain::new(sids::domain(name), account, host) };
            builder = builder.domain(domain);
        }
    }
    let name = "trunk.example.com".parse().ok();
    builder = builder.trunk(Trunk::new(sids::trunk("trunk"), open, name));

    for list in ["hidden", "known"] {
        let sid = sids::credential_list(list);
        let Ok(realm) = FUZZ_REALM.parse() else { continue };
        for user in ["alice", r"corp\bob", "carol"] {
            let Ok(username) = user.parse() else { continue };
            let password = Password::new(format!("the {list} one"));
            let Ok(ha1) = Ha1Set::from_password(&username, &realm, password) else { continue };
            let credential = CredentialSid::from_name(&[list, user]);
            let credential = Credential::new(credential, sid, username, ha1);
            builder = builder.credential(Credential { disabled: user == "carol", ..credential });
        }
        builder = builder.credential_list(CredentialList::new(sid, open, realm));
    }

    let listed = |target, list| Mapping::IpAccessControlList(target, sids::access_list(list));
    let asked = |name, list| {
        Mapping::CredentialList(sids::domain(name).into(), sids::credential_list(list))
    };
    for mapping in [
        listed(sids::domain("addr").into(), "office"),
        listed(sids::domain("both").into(), "office"),
        listed(sids::domain("far").into(), "far"),
        listed(sids::trunk("trunk").into(), "office"),
        asked("secret", "hidden"),
        asked("plain", "hidden"),
        asked("both", "hidden"),
        asked("strict", "known"),
        asked("tls", "hidden"),
        asked("known", "known"),
    ] {
        builder = builder.mapping(mapping);
    }

    let once = GuessRate { burst: NonZeroU32::MIN, refill_ms: NonZeroU32::MIN };
    let wide = Policy {
        algorithms: AlgorithmOffer::new(Algorithm::ALL).unwrap_or(AlgorithmOffer::MD5_FIRST),
        qop: QopOffer::Both,
        allow_rfc2069: true,
        userhash: true,
        guesses: GuessPolicy { name: Some(GuessPolicy::DEFAULT.pair), ..GuessPolicy::DEFAULT },
        ..Policy::DEFAULT
    };
    let strict = Policy {
        uri_check: UriCheck::Equivalent,
        from_must_match: true,
        guesses: GuessPolicy { source: once, pair: once, name: None },
        ..wide.clone()
    };
    builder
        .policy(sids::domain("secret"), Policy { uri_check: UriCheck::SameHost, ..wide.clone() })
        .policy(sids::domain("known"), wide)
        .policy(sids::domain("strict"), strict)
        .build()
        .unwrap_or_default()
}

/// Whether the header's response is the one that `ha1` makes of a request with this method and
/// body. The vectors of the RFCs are of GET, which no INVITE can stand for.
#[must_use]
pub fn verify(credentials: &Credentials<'_>, ha1: &[u8], method: &str, body: &[u8]) -> bool {
    ExpectedResponse::with_method(credentials, method.as_bytes(), body).equals(ha1)
}

/// How many of the headers have the response that the H(A1) beside them makes of an INVITE, compared
/// side by side as in a batch; for benches.
#[must_use]
pub fn count_right(headers: &[(Credentials<'_>, impl AsRef<[u8]>)]) -> usize {
    let mut right = 0;
    for headers in headers.chunks(MOST) {
        let mut questions = ArrayVec::<_, MOST>::new();
        for (credentials, ha1) in headers {
            questions.push(Question { credentials, ha1: ha1.as_ref() });
        }
        right += right_responses(&questions).iter().filter(|it| **it == Some(true)).count();
    }
    right
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    /// `none`, `accept`, `challenge`, `stale` or the reason of the rejection.
    fn name_of(decision: Option<&Decision>) -> &'static str {
        match decision {
            None => "none",
            Some(Decision::Accept(_)) => "accept",
            Some(Decision::Challenge(challenge)) if challenge.stale => "stale",
            Some(Decision::Challenge(_)) => "challenge",
            Some(Decision::Reject(reject)) => reject.reason.as_str(),
        }
    }

    #[test]
    fn snapshot_is_whole() {
        let debug = format!("{:?}", fuzz_snapshot());
        assert_eq!(debug, "Snapshot { number: 1, targets: 11, credentials: 6, .. }");
    }

    #[test]
    fn seeds_of_requests_are_decided_as_their_names_begin() {
        let mut seen = BTreeSet::new();
        for (file, bytes) in seeds("request") {
            let name = name_of(fuzz_request(&bytes).as_ref());
            assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
            seen.insert(name);
        }
        // all but too-many-guesses, which takes a second request
        assert_eq!(seen.len(), 17, "a seed for each outcome: {seen:?}");
    }

    #[cfg(feature = "store")]
    #[test]
    fn seeds_of_records_are_read_as_their_names_begin() {
        let mut read = 0;
        for (file, bytes) in seeds("store_record") {
            assert_eq!(fuzz_store_record(&bytes), file.starts_with("record."), "{file}");
            read += usize::from(file.starts_with("record."));
        }
        assert!(read >= 20, "{read}");
    }

    #[test]
    fn seeds_of_commits_hold() {
        for (_, bytes) in seeds("commits") {
            fuzz_commits(&bytes);
        }
    }

    #[test]
    fn seeds_of_headers_are_read_as_their_names_begin() {
        for (file, value) in seeds("digest_header") {
            fuzz_digest_header(&value, |parsed| {
                let name = match parsed {
                    Parsed::Ignored => "ignored".to_owned(),
                    Parsed::Empty => "empty".to_owned(),
                    Parsed::Malformed(kind) => kind.to_string(),
                    Parsed::Credentials(_) => "credentials".to_owned(),
                };
                assert_eq!(file.split_once('.').map(|(name, _)| name), Some(&*name), "{file}");
            });
        }
    }
}
