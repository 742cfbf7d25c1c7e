//! Decides whether a SIP INVITE may pass: accept, challenge or reject, nothing else.
//!
//! The crate is linked into a SIP proxy or edge. It opens no socket, starts no thread and waits for
//! nobody on the way to the answer; the time is the caller's. It is not a SIP stack: messages are
//! parsed by the program ([`Invite::from_rsip`]) or, as far as a decision needs, by
//! [`Invite::from_datagram`].
//!
//! ```
//! use sip_authz::model::{Account, CredentialList, Credential, Domain, Ha1Set, Mapping, Password};
//! use sip_authz::{AccountSid, CredentialListSid, CredentialSid, DomainSid};
//! use sip_authz::{Authorizer, Decision, Invite, Snapshot, Transport};
//!
//! let account = AccountSid::from_name(&["acme"]);
//! let domain = DomainSid::from_name(&["acme", "sip.example.com"]);
//! let list = CredentialListSid::from_name(&["acme", "phones"]);
//! let (user, realm) = ("alice".parse()?, "example.com".parse()?);
//! let ha1 = Ha1Set::from_password(&user, &realm, Password::new("Correct-Horse-7".to_owned()))?;
//! let alice = Credential::new(CredentialSid::from_name(&["acme", "alice"]), list, user, ha1);
//! let snapshot = Snapshot::builder()
//!     .account(Account::new(account))
//!     .domain(Domain::new(domain, account, "sip.example.com".parse()?))
//!     .credential_list(CredentialList::new(list, account, realm))
//!     .credential(alice)
//!     .mapping(Mapping::CredentialList(domain.into(), list))
//!     .build()?;
//! let authorizer = Authorizer::new(snapshot)?;
//!
//! // for each INVITE, with the source address and transport of its socket
//! let invite = Invite::new("sip:100@sip.example.com", "192.0.2.7:5060".parse()?, Transport::Udp);
//! match authorizer.authorize_now(&invite) {
//!     Decision::Accept(accept) => println!("{} may call {}", accept.account, accept.target),
//!     Decision::Challenge(challenge) => {
//!         assert_eq!(challenge.status(), 407);
//!         assert!(challenge.values[0].starts_with("Digest realm=\"example.com\", nonce=\""));
//!     }
//!     Decision::Reject(reject) => println!("{} {}", reject.reason.status(), reject.reason),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a decision is made
//!
//! 1. The host of the Request-URI names a domain or trunk, or the answer is 404. A URI that is not
//!    `sip:` or `sips:` gets 416.
//! 2. The account must be active (603), and TLS in use where the domain or a `sips:` URI asks for it
//!    (488).
//! 3. Something must be mapped (403, code 32200).
//! 4. If access lists are mapped, the source address must be in one of them (403, code 32201).
//! 5. If credential lists are mapped, the request must carry right digest credentials of a user in
//!    one of them: none is answered by a challenge, wrong ones by 403, code 32202, or a new
//!    challenge, as the [policy](model::Policy) has it.
//! 6. Both kinds mapped: both must pass.
//!
//! Before all that, an authorizer that was given a deadline refuses everything from then on with 503:
//! [`Authorizer::refuse_from`].
//!
//! Only INVITE is decided. A To tag exempts from nothing: a program passes the dialogs that it knows
//! by its own dialog table.
//!
//! # Where things are
//!
//! An [`Authorizer`] holds the [`Snapshot`] in force and what must outlive it: the key of its
//! nonces, which of them were used, and who guessed how often. A change is a [`model::Commit`] that
//! [`Authorizer::apply`] turns into the next snapshot; decisions never wait for it.
//! [`Authorizer::explain`] tells a decision step by step.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `rsip` (default) | [`Invite::from_rsip`] |
//! | `serde` | `Serialize` and `Deserialize` for SIDs, names, prefixes, choices and callbacks; of secrets, `Password` is read and nothing is written |
//! | `metrics` | `metrics::record`: the figures of an authorizer for a recorder of the crate `metrics` |
//! | `tracing` | a span for each call and an event for each decision, for subscribers of the crate `tracing` |
//!
//! Other crates of the project stand around this one: `sip-authz-store` keeps an authorizer at the head
//! of a store, `sip-authz-directory` has the commands on resources, `sip-authz-rest` a Twilio-compatible
//! REST API over them, `sip-authz-config` reads a TOML file, and `sip-authz-cli` is the program.

pub mod acl;
mod authorizer;
mod decision;
pub mod digest;
pub mod guide;
#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod internals;
mod invite;
pub mod message;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod model;
mod setters;
mod sid;
mod snapshot;
pub mod uri;
mod words;

#[cfg(feature = "tracing")]
pub use authorizer::EventOptions;
pub use authorizer::{
    Authorizer, Capacity, Counts, Explanation, HeaderStep, NonceState, SeedError, Step, UserOutcome,
};
pub use decision::{
    Accept, AddressMatch, Challenge, CredentialMatch, Decision, Reason, Reject, Sampling,
    SamplingError, UsedHeader,
};
pub use invite::{CredentialsField, Invite, InviteError, Transaction, Transport};
pub use sid::{
    AccountSid, ByocTrunkSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid,
    IpAddressSid, PhoneNumberSid, RoleSid, ServiceSid, SidError, TrunkSid,
};
pub use snapshot::{ApplyError, Snapshot, SnapshotBuilder, Warning};

/// Compiles and runs what README.md shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
