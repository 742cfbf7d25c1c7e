//! Decides whether a SIP INVITE may pass: accept, challenge or reject, nothing else.

pub mod acl;
mod authorizer;
mod decision;
pub mod digest;
mod invite;
pub mod message;
pub mod model;
mod sid;
mod snapshot;
pub mod uri;

pub use authorizer::{Authorizer, Capacity, Explanation, SeedError, Step};
pub use decision::{
    Accept, AddressMatch, Challenge, CredentialMatch, Decision, Reason, Reject, UsedHeader,
};
pub use invite::{CredentialsField, Invite, InviteError, Transaction, Transport};
pub use sid::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    SidError, TrunkSid,
};
pub use snapshot::{ApplyError, Snapshot, SnapshotBuilder, Warning};
