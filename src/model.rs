//! The records that decide, the batches they are written in, and the rules every batch must keep.
//!
//! A value of these types is right by itself (a [`DomainName`] is a name, an [`Ha1Set`] holds a
//! hash); what several records must agree on stands in [`rules`], and is the same for a snapshot and
//! for whoever writes to a store.

mod commit;
mod credential;
mod name;
mod password;
mod permission;
mod policy;
mod record;
pub mod rules;
mod settings;

pub use commit::{Commit, Write};
pub use credential::{Ha1Error, Ha1Set};
pub use name::{DomainName, NameError, Realm, UserName};
pub use password::Password;
pub use permission::{PermissionSet, RoleKind, Vocabulary, VocabularyError};
pub use policy::{
    AlgorithmOffer, ChallengeKind, GuessPolicy, OfferError, Policy, PolicyError, QopOffer,
    UriCheck, WrongAnswer,
};
pub use record::{
    Account, AccountStatus, Credential, CredentialList, Dates, Domain, IpAccessControlList,
    IpAddress, Key, Mapping, MappingRecord, PolicyRecord, Record, Role, Target, TokenHash, Trunk,
};
pub use settings::{
    Callback, DomainSettings, HttpMethod, TransferCallerId, TransferMode, TrunkSettings,
};
