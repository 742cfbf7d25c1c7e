//! A small snapshot, and a client whose digests are computed by an independent crate.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use digest_auth::{AuthContext, AuthorizationHeader, HttpMethod, WwwAuthenticateHeader};
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::internals::in_other_process;
use sip_authz::message::Message;
use sip_authz::model::{
    Account, AlgorithmOffer, Commit, Credential, CredentialList, Domain, Ha1Set,
    IpAccessControlList, IpAddress, Key, Mapping, Password, Policy, PolicyRecord, Record,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, Challenge, CredentialListSid, CredentialSid, Decision,
    DomainSid, Invite, InviteError, IpAccessControlListSid, IpAddressSid, Reason, Snapshot,
    Transport,
};

pub const REALM: &str = "example.com";
/// The domain whose callers authenticate with [`LIST`].
pub const HOST: &str = "digest.example.com";
/// The domain whose callers come from 192.0.2.0/24 or 2001:db8::/32, by the list [`ACL`].
pub const ACL_HOST: &str = "acl.example.com";
/// The domain with both lists.
pub const BOTH_HOST: &str = "both.example.com";
/// The domain without a list.
pub const BARE_HOST: &str = "bare.example.com";
/// The domain with the list [`OTHER_LIST`], which contains only bob.
pub const OTHER_HOST: &str = "other.example.com";
/// A source inside the access list.
pub const INSIDE: &str = "192.0.2.7:5060";
/// A source outside it.
pub const OUTSIDE: &str = "198.51.100.7:5060";

pub fn account() -> AccountSid {
    AccountSid::from_name(&["test"])
}

pub fn domain(host: &str) -> DomainSid {
    DomainSid::from_name(&[host])
}

pub fn list(name: &str) -> CredentialListSid {
    CredentialListSid::from_name(&[name])
}

pub fn credential(list: &str, user: &str) -> CredentialSid {
    CredentialSid::from_name(&[list, user])
}

pub fn acl(name: &str) -> IpAccessControlListSid {
    IpAccessControlListSid::from_name(&[name])
}

pub fn address(prefix: &str) -> IpAddressSid {
    IpAddressSid::from_name(&[prefix])
}

/// Contains alice, with [`PASSWORD`], and carol, who is disabled.
pub const LIST: &str = "users";
/// Contains bob, with [`PASSWORD`].
pub const OTHER_LIST: &str = "others";
pub const ACL: &str = "offices";
pub const PASSWORD: &str = "Correct-Horse-7";

/// The record of a user with all hashes.
pub fn user(list_name: &str, name: &str, password: &str) -> Credential {
    let username = name.parse().unwrap();
    let password = Password::new(password.to_owned());
    let ha1 = Ha1Set::from_password(&username, &REALM.parse().unwrap(), password).unwrap();
    Credential::new(credential(list_name, name), list(list_name), username, ha1)
}

/// Limits that no test reaches by accident.
pub fn unlimited() -> GuessRate {
    GuessRate { burst: 1_000_000.try_into().unwrap(), refill_ms: 1.try_into().unwrap() }
}

/// An authorizer with the domains and lists above, and its own clock.
pub struct World {
    pub authorizer: Authorizer,
    pub start: Instant,
    /// Time since `start`.
    pub now: Duration,
    pub transport: Transport,
}

impl World {
    pub fn new() -> Self {
        Self::with_policy(Policy::default())
    }

    /// A world in which every domain has `policy`.
    pub fn with_policy(policy: Policy) -> Self {
        Self::with(
            policy,
            Capacity::default().with_nonces(4_096).with_repeats(4_096).with_guesses(4_096),
            &[7; 32],
        )
    }

    pub fn with(policy: Policy, capacity: Capacity, seed: &[u8; 32]) -> Self {
        let start = Instant::now();
        let authorizer = Authorizer::from_seed(snapshot(&policy), capacity, seed, start);
        Self { authorizer, start, now: Duration::ZERO, transport: Transport::Udp }
    }

    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The world as a process finds it that was forked from the one that made it.
    pub fn in_other_process(self) -> Self {
        Self { authorizer: in_other_process(self.authorizer), ..self }
    }

    pub fn sleep(&mut self, time: Duration) {
        self.now += time;
    }

    /// Decides a datagram from `source`.
    pub fn try_send(&self, bytes: &[u8], source: &str) -> Result<Decision, InviteError> {
        let source: SocketAddr = source.parse().unwrap();
        let invite = Invite::from_datagram(bytes, source, self.transport)?;
        Ok(self.authorizer.authorize(&invite, self.start + self.now))
    }

    /// Decides a request of any method that is decided.
    pub fn send(&self, request: &Request, source: &str) -> Decision {
        let bytes = request.bytes();
        if request.method == "INVITE" {
            return self.try_send(&bytes, source).unwrap();
        }
        let message = Message::scan(&bytes).unwrap();
        let request = Invite::from_request(&message, source.parse().unwrap(), self.transport);
        self.authorizer.authorize(&request.unwrap(), self.start + self.now)
    }

    /// The challenge to `request` without credentials.
    pub fn challenge(&self, request: &Request, source: &str) -> Challenge {
        match self.send(&request.without_credentials(), source) {
            Decision::Challenge(challenge) => challenge,
            other => panic!("expected a challenge: {other:?}"),
        }
    }

    /// The request of `name` with correct credentials for a new challenge.
    pub fn answered(&self, request: &Request, source: &str, name: &str, password: &str) -> Request {
        let challenge = self.challenge(request, source);
        let header = Header::answer(&challenge.values[0], request, name, password);
        request.clone().with(&header.text())
    }

    pub fn apply(&self, build: impl FnOnce(&mut Commit)) {
        let mut commit = Commit::new();
        build(&mut commit);
        self.authorizer.apply(&commit).unwrap();
    }

    pub fn put(&self, record: Record) {
        self.apply(|commit| {
            commit.put(record);
        });
    }

    pub fn delete(&self, key: Key) {
        self.apply(|commit| {
            commit.delete(key);
        });
    }
}

pub fn snapshot(policy: &Policy) -> Snapshot {
    let mut builder = Snapshot::builder()
        .account(Account::new(account()))
        .ip_access_control_list(IpAccessControlList::new(acl(ACL), account()))
        .credential_list(CredentialList::new(list(LIST), account(), REALM.parse().unwrap()))
        .credential_list(CredentialList::new(list(OTHER_LIST), account(), REALM.parse().unwrap()))
        .credential(user(LIST, "alice", PASSWORD))
        .credential(Credential { disabled: true, ..user(LIST, "carol", PASSWORD) })
        .credential(user(OTHER_LIST, "bob", PASSWORD));
    for prefix in ["192.0.2.0/24", "2001:db8::/32"] {
        builder =
            builder.ip_address(IpAddress::new(address(prefix), acl(ACL), prefix.parse().unwrap()));
    }
    for host in [HOST, ACL_HOST, BOTH_HOST, BARE_HOST, OTHER_HOST] {
        builder = builder
            .domain(Domain::new(domain(host), account(), host.parse().unwrap()))
            .policy(domain(host), policy.clone());
    }
    builder
        .mapping(Mapping::CredentialList(domain(HOST).into(), list(LIST)))
        .mapping(Mapping::IpAccessControlList(domain(ACL_HOST).into(), acl(ACL)))
        .mapping(Mapping::CredentialList(domain(BOTH_HOST).into(), list(LIST)))
        .mapping(Mapping::IpAccessControlList(domain(BOTH_HOST).into(), acl(ACL)))
        .mapping(Mapping::CredentialList(domain(OTHER_HOST).into(), list(OTHER_LIST)))
        .build()
        .unwrap()
}

/// A policy that offers these algorithms.
pub fn offering(algorithms: &[Algorithm]) -> Policy {
    let algorithms = AlgorithmOffer::new(algorithms.iter().copied()).unwrap();
    Policy::default().with_algorithms(algorithms)
}

/// The record that gives `host` a policy.
pub fn policy_of(host: &str, policy: Policy) -> Record {
    PolicyRecord::new(domain(host), policy).into()
}

/// Contains alice and dave, with [`PHONE_PASSWORD`]; [`take_registrations`] maps it.
pub const PHONES: &str = "phones";
pub const PHONE_PASSWORD: &str = "Battery-Staple-9";

/// The record of a domain that takes registrations.
pub fn registering(host: &str) -> Domain {
    let mut record = Domain::new(domain(host), account(), host.parse().unwrap());
    record.settings.sip_registration = true;
    record
}

/// Lets the users of [`PHONES`] register at `host`.
pub fn take_registrations(world: &World, host: &str) {
    world.apply(|commit| {
        let realm = REALM.parse().unwrap();
        commit.put(CredentialList::new(list(PHONES), account(), realm).into());
        for name in ["alice", "dave"] {
            commit.put(user(PHONES, name, PHONE_PASSWORD).into());
        }
        commit.put(registering(host).into());
        commit.put(Record::from(Mapping::Registration(domain(host), list(PHONES))));
    });
}

/// A builder of an INVITE or another request.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub branch: String,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// Whole header lines without line ends.
    pub headers: Vec<Vec<u8>>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn to(host: &str) -> Self {
        Self {
            method: "INVITE".to_owned(),
            uri: format!("sip:100@{host}"),
            branch: "z9hG4bK776asdhds".to_owned(),
            from: "Alice <sip:alice@example.com>;tag=1928301774".to_owned(),
            to: format!("<sip:100@{host}>"),
            call_id: "a84b4c76e66710@client".to_owned(),
            cseq: 314_159,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The REGISTER of a user, without credentials.
    pub fn register(host: &str, name: &str) -> Self {
        Self {
            method: "REGISTER".to_owned(),
            uri: format!("sip:{host}"),
            from: format!("<sip:{name}@{host}>;tag=1928301774"),
            to: format!("<sip:{name}@{host}>"),
            ..Self::to(host)
        }
    }

    /// Adds a Proxy-Authorization header with this value.
    pub fn with(self, value: &str) -> Self {
        self.with_line(format!("Proxy-Authorization: {value}").as_bytes())
    }

    /// Adds a header line.
    pub fn with_line(mut self, line: &[u8]) -> Self {
        self.headers.push(line.to_vec());
        self
    }

    /// The same request with another method.
    pub fn with_method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    pub fn without_credentials(&self) -> Self {
        Self { headers: Vec::new(), ..self.clone() }
    }

    /// The next transaction: another branch, one more CSeq.
    pub fn next(&self) -> Self {
        Self {
            branch: format!("{}x", self.branch),
            cseq: self.cseq + 1,
            ..self.without_credentials()
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, uri, branch, from, to, call_id, cseq, headers, body } = self;
        let mut bytes = format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP client.example.com:5060;branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             From: {from}\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:alice@client.example.com>\r\n"
        )
        .into_bytes();
        for line in headers {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// A credentials header whose response is computed by the crate `digest_auth`. Tests change fields
/// before or after [`Header::sign`].
#[derive(Clone)]
pub struct Header {
    pub inner: AuthorizationHeader,
    pub method: String,
    pub username: String,
    pub password: String,
    pub body: Vec<u8>,
}

impl Header {
    /// The signed answer to one value of a challenge, with nc 1 and a client nonce of 16 characters.
    /// Uses `auth` if it is offered.
    pub fn answer(challenge: &str, request: &Request, username: &str, password: &str) -> Self {
        let prompt = WwwAuthenticateHeader::parse(challenge).unwrap();
        let qop = prompt.qop.as_ref().map(|offered| {
            let auth = digest_auth::Qop::AUTH;
            if offered.contains(&auth) { auth } else { digest_auth::Qop::AUTH_INT }
        });
        let inner = AuthorizationHeader {
            realm: prompt.realm,
            nonce: prompt.nonce,
            opaque: prompt.opaque,
            userhash: prompt.userhash,
            algorithm: prompt.algorithm,
            response: String::new(),
            username: String::new(),
            uri: request.uri.clone(),
            qop,
            cnonce: Some("0a4f113bd0a4f113".to_owned()),
            nc: 1,
        };
        let mut header = Self {
            inner,
            method: request.method.clone(),
            username: username.to_owned(),
            password: password.to_owned(),
            body: request.body.clone(),
        };
        header.sign();
        header
    }

    /// Computes the response from the current fields.
    pub fn sign(&mut self) {
        let context = AuthContext::new_with_method(
            self.username.as_str(),
            self.password.as_str(),
            self.inner.uri.clone(),
            Some(self.body.as_slice()),
            HttpMethod(Cow::Borrowed(self.method.as_str())),
        );
        self.inner.digest(&context);
    }

    /// Signs again with this count.
    pub fn with_nc(mut self, nc: u32) -> Self {
        self.inner.nc = nc;
        self.sign();
        self
    }

    /// The parameters as `name=value` in a common order, quoted where the grammar requires it.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let header = &self.inner;
        let quoted = |text: &str| format!("\"{text}\"");
        let mut parameters = vec![
            ("username", quoted(&header.username)),
            ("realm", quoted(&header.realm)),
            ("nonce", quoted(&header.nonce)),
            ("uri", quoted(&header.uri)),
            ("response", quoted(&header.response)),
            ("algorithm", header.algorithm.to_string()),
        ];
        if let (Some(qop), Some(cnonce)) = (&header.qop, &header.cnonce) {
            parameters.push(("qop", qop.to_string()));
            parameters.push(("nc", format!("{:08x}", header.nc)));
            parameters.push(("cnonce", quoted(cnonce)));
        }
        if header.userhash {
            parameters.push(("userhash", "true".to_owned()));
        }
        parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The header value.
    pub fn text(&self) -> String {
        join(&self.parameters())
    }

    /// The header value with the value of one parameter replaced, including its quotes.
    pub fn text_with(&self, name: &str, value: &str) -> String {
        let mut parameters = self.parameters();
        parameters.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.to_owned();
        join(&parameters)
    }

    /// The header value without one parameter.
    pub fn text_without(&self, name: &str) -> String {
        let mut parameters = self.parameters();
        parameters.retain(|(n, _)| n != name);
        join(&parameters)
    }
}

/// A header value with these parameters.
pub fn join(parameters: &[(String, String)]) -> String {
    let parameters: Vec<_> = parameters.iter().map(|(n, v)| format!("{n}={v}")).collect();
    format!("Digest {}", parameters.join(", "))
}

/// Asserts an accept and returns it.
#[track_caller]
pub fn accepted(decision: Decision) -> sip_authz::Accept {
    match decision {
        Decision::Accept(accept) => accept,
        other => panic!("expected an accept: {other:?}"),
    }
}

/// Asserts a challenge and returns whether it is stale.
#[track_caller]
pub fn challenged(decision: Decision) -> bool {
    match decision {
        Decision::Challenge(challenge) => challenge.stale,
        other => panic!("expected a challenge: {other:?}"),
    }
}

/// Asserts a rejection and returns its reason.
#[track_caller]
pub fn rejected(decision: Decision) -> Reason {
    match decision {
        Decision::Reject(reject) => reject.reason,
        other => panic!("expected a rejection: {other:?}"),
    }
}
