//! A stateless SIP proxy (RFC 3261 §16.11) on bytes: reads messages and writes those that are forwarded.
//!
//! It opens no socket and keeps no transaction and no dialog. Its peers carry the facts of a dialog in
//! Route and Via, under a key (see [`Keys`]). So a restart goes unnoticed, and no message goes
//! to an address that a stranger names.
//!
//! [`Proxy`] has the rules. It asks its program for names and records through [`Surroundings`], and
//! returns for each message what goes where.

mod bucket;
mod choose;
mod credentials;
mod fields;
mod flow_token;
mod identity;
mod key_file;
mod keys;
mod leg;
mod proxy;
pub mod put;
mod recent;
mod request;
mod response;
mod route_token;
mod strict;
mod table;
mod transaction;
mod verdict;
pub mod via;
mod via_token;

pub use choose::{Candidate, choose};
pub use credentials::named_realms;
pub use identity::{IdentityError, IdentityFields, put_asserted_identity, put_identity};
pub use key_file::{KeyFile, KeyFileDefect, KeyFileError};
pub use keys::{Keys, KeysError};
pub use leg::{Leg, Way};
pub use proxy::{Admitted, Arrival, Now, Proxy, Settings, Surroundings};
pub use request::ForwardedRequest;
pub use response::ForwardedResponse;
pub use strict::{Flaw, RouteValue, Strict};
pub use verdict::{NotRelayed, Refusal, Verdict};
