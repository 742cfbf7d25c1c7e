//! The encoding of keys and records that all stores share. The checksum of the [head](super::Head)
//! covers it.
//!
//! An encoded key is text that sorts like the [`Key`]: a digit for the kind, then the SIDs.
//!
//! | key | record |
//! |---|---|
//! | `1/AC…` | account |
//! | `2/AL…` | IP access control list |
//! | `3/CL…` | credential list |
//! | `4/IP…` | entry of an IP access control list |
//! | `5/CR…` | credential |
//! | `6/SD…`, `6/TK…` | domain, trunk |
//! | `7/SD…`, `7/TK…` | policy of a domain or trunk |
//! | `8/1/SD…/AL…`, `8/1/TK…/AL…` | mapping of an IP access control list |
//! | `8/2/SD…/CL…`, `8/2/TK…/CL…` | mapping of a credential list |
//! | `8/3/SD…/CL…` | mapping of a credential list to registrations |
//! | `9/RL…` | role |
//!
//! A value is a JSON object with everything that the key does not contain. Its fields have a fixed
//! order, and the first is the version of the value, `"v":1`. Fields at their default are omitted,
//! except in a policy, which keeps its meaning when a release changes the defaults. The decoder rejects
//! unknown versions and unknown fields, so it never misreads the store of a newer release.
//!
//! A release that adds a kind of record or a field adds a [`Format`](super::Format) too, and
//! [`Format::of`](super::Format::of) says which records need it. A field that a reader may ignore goes into the object
//! `ignorable` of the value. From format 2 on it needs no format of its own: readers ignore the members that they do
//! not know. An earlier version that writes the record again drops them.

mod hashes;
mod values;

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::error::Category;
use zeroize::Zeroizing;

use sip_authz::model::{Key, Mapping, Record, Target};
use values::Value;

/// A key or record that cannot be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {message}")]
pub struct EncodingError {
    key: String,
    message: String,
    is_newer: bool,
}

impl EncodingError {
    fn new(key: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { key: key.to_string(), message: message.to_string(), is_newer: false }
    }

    /// The error of a key or record that a later version may have written.
    fn newer(key: impl fmt::Display, message: impl fmt::Display) -> Self {
        let message = format!("{message}; a later version may know it");
        Self { is_newer: true, ..Self::new(key, message) }
    }

    /// Whether a later version may have written it: a kind, a version or a field that this one does not know.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        self.is_newer
    }
}

/// An encoded record. It is wiped when it is dropped and has no `Debug`, since a credential contains
/// hashes.
pub struct Encoded(Zeroizing<Vec<u8>>);

impl Encoded {
    /// The JSON. Secret if the record is a credential.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON as text. Secret if the record is a credential.
    #[must_use]
    pub fn as_text(&self) -> &str {
        // the serializer writes UTF-8 only
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Encodes a key.
#[must_use]
pub fn key(key: Key) -> String {
    match key {
        Key::Account(sid) => format!("1/{sid}"),
        Key::IpAccessControlList(sid) => format!("2/{sid}"),
        Key::CredentialList(sid) => format!("3/{sid}"),
        Key::IpAddress(sid) => format!("4/{sid}"),
        Key::Credential(sid) => format!("5/{sid}"),
        Key::Target(target) => format!("6/{target}"),
        Key::Policy(target) => format!("7/{target}"),
        Key::Mapping(Mapping::IpAccessControlList(target, list)) => format!("8/1/{target}/{list}"),
        Key::Mapping(Mapping::CredentialList(target, list)) => format!("8/2/{target}/{list}"),
        Key::Mapping(Mapping::Registration(domain, list)) => format!("8/3/{domain}/{list}"),
        Key::Role(sid) => format!("9/{sid}"),
    }
}

/// Decodes a key.
///
/// # Errors
///
/// [`EncodingError`] if `text` is not the encoding of a key.
pub fn decode_key(text: &str) -> Result<Key, EncodingError> {
    // the message must not grow with the text
    let excerpt = || text.chars().take(100).collect::<String>();
    match key_of(text) {
        // `parse` accepts the digits of a SID in either case, but the encoding has one
        Some(found) if key(found) == text => Ok(found),
        None if is_later_kind(text) => {
            Err(EncodingError::newer(excerpt(), "unknown kind of record"))
        }
        _ => Err(EncodingError::new(excerpt(), "invalid key")),
    }
}

/// Whether the kind of a key is a number that later versions may use.
fn is_later_kind(text: &str) -> bool {
    let kind = text.split_once('/').and_then(|(kind, _)| kind.parse::<u32>().ok());
    kind.is_some_and(|kind| kind > 9)
}

fn key_of(text: &str) -> Option<Key> {
    let (kind, rest) = text.split_once('/')?;
    Some(match kind {
        "1" => Key::Account(rest.parse().ok()?),
        "2" => Key::IpAccessControlList(rest.parse().ok()?),
        "3" => Key::CredentialList(rest.parse().ok()?),
        "4" => Key::IpAddress(rest.parse().ok()?),
        "5" => Key::Credential(rest.parse().ok()?),
        "6" => Key::Target(target(rest)?),
        "7" => Key::Policy(target(rest)?),
        "8" => {
            let (kind, rest) = rest.split_once('/')?;
            let (to, list) = rest.split_once('/')?;
            Key::Mapping(match kind {
                "1" => Mapping::IpAccessControlList(target(to)?, list.parse().ok()?),
                "2" => Mapping::CredentialList(target(to)?, list.parse().ok()?),
                "3" => Mapping::Registration(to.parse().ok()?, list.parse().ok()?),
                _ => return None,
            })
        }
        "9" => Key::Role(rest.parse().ok()?),
        _ => return None,
    })
}

fn target(text: &str) -> Option<Target> {
    match text.parse() {
        Ok(domain) => Some(Target::Domain(domain)),
        Err(_) => text.parse().ok().map(Target::Trunk),
    }
}

/// Encodes the value of a record.
///
/// # Errors
///
/// [`EncodingError`], but never for a record that a snapshot can hold.
pub fn encode(record: &Record) -> Result<Encoded, EncodingError> {
    // large enough for most records: growing would leave unwiped hashes in the old buffer
    let mut bytes = Zeroizing::new(Vec::with_capacity(1_024));
    write(record, &mut *bytes)?;
    Ok(Encoded(bytes))
}

/// Writes the value of a record.
pub(super) fn write(record: &Record, to: &mut impl io::Write) -> Result<(), EncodingError> {
    let mut to = serde_json::Serializer::new(to);
    let written = Value::of(record).serialize(&mut to);
    written.map_err(|error| EncodingError::new(record.key(), error))
}

/// Decodes the value of the record with this key.
///
/// # Errors
///
/// [`EncodingError`] if `value` is invalid. It names the key and contains no secret.
pub fn decode(key: Key, value: &[u8]) -> Result<Record, EncodingError> {
    values::record(key, value).map_err(|error| {
        let text = error.to_string();
        // these name fields and versions only; other messages may repeat a secret from the value
        let without_secrets = ["missing field", "duplicate field", "a credential"];
        let of_later_versions = ["unknown field", "unsupported version"];
        match error.classify() {
            Category::Data if of_later_versions.iter().any(|known| text.starts_with(known)) => {
                EncodingError::newer(key, text)
            }
            Category::Data if without_secrets.iter().any(|known| text.starts_with(known)) => {
                EncodingError::new(key, text)
            }
            Category::Data => {
                let message = format!("invalid value at column {}", error.column());
                EncodingError::new(key, message)
            }
            _ => EncodingError::new(key, "expected a JSON object"),
        }
    })
}
