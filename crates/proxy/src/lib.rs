//! A stateless SIP proxy (RFC 3261 §16.11) on bytes: reads messages and writes those that are forwarded.
//!
//! It opens no socket and keeps no transaction and no dialog. What it must know of a dialog, its peers
//! carry in Route and Via, under a key (see [`Keys`]). So a restart goes unnoticed, and no message goes
//! to an address that a stranger names.

mod choose;
mod key_file;
mod keys;
mod leg;
pub mod put;
mod recent;
mod route_token;
mod table;
mod transaction;
pub mod via;
mod via_token;

pub use choose::{Candidate, choose};
pub use key_file::{KeyFile, KeyFileDefect, KeyFileError};
pub use keys::{Keys, KeysError, Mac, Payload, Purpose};
pub use leg::{Leg, Way};
pub use recent::{Recent, Renewed};
pub use route_token::{Bound, InsideToken, OutsideToken, Side, is_expired};
pub use transaction::{Branch, LoopMark, ToTagText, is_own_tag, loops, to_tag};
pub use via_token::{open_legs, own_via, read_own_via, seal_legs};
