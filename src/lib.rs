//! Decides whether a SIP INVITE may pass: accept, challenge or reject, nothing else.
//!
//! Link the crate into a SIP proxy or edge. It does no I/O, starts no thread, and a decision waits
//! for nothing; the caller passes the time. It is not a SIP stack. [`Invite::from_datagram`] parses the
//! parts that a decision needs, or the program's own stack parses messages: [`Invite::from_fields`], and
//! `Invite::from_rsip` (feature `rsip`).
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
//! let decision = authorizer.authorize_now(&invite);
//! if let Decision::Accept(accept) = &decision {
//!     println!("{} may call {}", accept.account, accept.target);
//! }
//! // what to send to a caller that is challenged or rejected
//! let refusal = authorizer.refusal(&decision).ok_or("accepted")?;
//! assert_eq!(refusal.to_string(), "407 Proxy Authentication Required");
//! let lines = refusal.header_lines().to_string();
//! assert!(lines.starts_with("Proxy-Authenticate: Digest realm=\"example.com\", nonce=\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a decision is made
//!
//! 1. The host of the Request-URI must be the name of a domain or trunk; otherwise the answer is
//!    404. A URI that is not `sip:` or `sips:` gets 416. If [`Invite::with_domain_host`] gives other
//!    hosts, the first one that names a domain or trunk decides for a host that names none, and for
//!    `tel:` and `urn:service:`.
//! 2. The account must be active (603). The transport must be TLS if the domain or a `sips:` URI
//!    requires it (488).
//! 3. A list must be mapped (403, code 32200).
//! 4. If access lists are mapped, one of them must contain the source address (403, code 32201).
//! 5. The [policy](model::Policy::methods) must admit the method (405), by default INVITE and OPTIONS.
//!    For REGISTER, the domain must take registrations and have a list mapped for them (403).
//! 6. If credential lists are mapped, the request must carry valid digest credentials of a user in
//!    one of them. A request without credentials is challenged. Wrong credentials get 403, code
//!    32202, or a new challenge, as set in the [policy](model::Policy).
//! 7. If both kinds are mapped, both must pass.
//! 8. A REGISTER always needs credentials of a list that is mapped for registrations, is challenged
//!    by 401, and must name the authenticated user in To (403).
//!
//! Before these steps, an authorizer with a deadline answers 503 once the deadline has passed:
//! [`Authorizer::refuse_from`]. In a process that did not create it, it answers 503 to every
//! INVITE.
//!
//! The crate decides INVITEs and, by [`Invite::from_request`] or [`Invite::from_fields`], other requests
//! from outside a dialog, except ACK and CANCEL. A To tag makes no difference: a program matches requests within
//! dialogs against its own dialog table.
//!
//! # Main types
//!
//! An [`Authorizer`] holds the current [`Snapshot`] and the state that outlives it: the key of its
//! nonces, the used nonces, and the counters of wrong guesses. [`Authorizer::apply`] turns a
//! change, a [`model::Commit`], into the next snapshot; decisions never wait for it.
//! [`Authorizer::explain`] lists the steps of a decision.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `rsip` (default) | `Invite::from_rsip` |
//! | `serde` | `Serialize` and `Deserialize` for SIDs, names, prefixes, policy choices and callbacks; of the secrets, `Password` can be read and none can be written |
//! | `metrics` | `metrics::record`: exports the metrics of an authorizer to a recorder of the crate `metrics` |
//! | `tracing` | a span for each call and an event for each decision, for subscribers of the crate `tracing` |
//!
//! Other crates of the project build on this one. `sip-authz-store` keeps an authorizer up to date
//! with a store. `sip-authz-directory` has the commands on resources, and `sip-authz-rest` a
//! Twilio-compatible REST API over them. `sip-authz-config` reads a TOML file, and `sip-authz-cli`
//! is the program.

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
mod method;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod model;
mod printable;
mod setters;
mod sid;
mod snapshot;
pub mod uri;
mod words;

#[cfg(feature = "tracing")]
pub use authorizer::EventOptions;
pub use authorizer::{
    Authorizer, Capacity, Counts, ExplainOptions, Explanation, FromOutcome, GuessLimit, GuessState,
    HeaderStep, NonceState, SeedError, Step, ToOutcome, UserOutcome,
};
pub use decision::{
    Accept, AddressMatch, Cause, Challenge, CredentialMatch, Decision, Reason, Refusal, Reject,
    Sampling, SamplingError, UsedHeader,
};
pub use invite::{CredentialsField, Invite, InviteError, Transport, TransportError};
pub use printable::{escape_line, escape_name};
pub use sid::{
    AccountSid, ByocTrunkSid, CredentialListSid, CredentialSid, DecisionSid, DomainSid,
    IpAccessControlListSid, IpAddressSid, PhoneNumberSid, RoleSid, ServiceSid, SidError, SidText,
    TrunkSid,
};
pub use snapshot::{AcceptBasis, ApplyError, Snapshot, SnapshotBuilder, TargetView, Warning};

/// Compiles and runs the examples in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
