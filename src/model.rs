//! The records that decide calls, the commits that write them, and the rules that every commit must
//! keep.
//!
//! Each type checks its own values: a [`DomainName`] is a valid name, an [`Ha1Set`] holds at least
//! one hash. The conditions between records are in [`rules`]. Snapshots and stores apply the same
//! rules.

mod commit;
mod credential;
mod methods;
mod name;
mod next_hop;
mod on_accept;
mod password;
mod permission;
mod policy;
mod record;
mod register_as;
pub mod rules;
mod settings;

pub use commit::{Commit, Write};
pub use credential::{Ha1Error, Ha1Set};
pub use methods::{MethodSet, MethodSetError};
pub use name::{DomainName, NameError, Realm, UserName};
pub use next_hop::{NextHop, NextHopError, NextHopRefusal, NextHopSet};
pub use on_accept::{
    Forward, ForwardHop, HopError, HopTransport, OnAccept, OnAcceptError, Redirect, RedirectTarget,
    RedirectValues,
};
pub use password::Password;
pub use permission::{PermissionSet, RoleKind, Vocabulary, VocabularyError};
pub use policy::{
    AlgorithmOffer, ChallengeKind, FromCheck, GuessPolicy, OfferError, Policy, PolicyError,
    QopOffer, UriCheck, WrongAnswer,
};
pub use record::{
    Account, AccountStatus, Credential, CredentialList, Dates, Domain, IpAccessControlList,
    IpAddress, Key, Mapping, MappingRecord, PolicyRecord, Record, Role, Target, TokenHash, Trunk,
};
pub use register_as::{RegisterAs, RegisterAsError};
pub use settings::{
    Callback, DomainSettings, HttpMethod, TransferCallerId, TransferMode, TrunkSettings,
};
