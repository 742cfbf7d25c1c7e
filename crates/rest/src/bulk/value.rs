//! Values that a document holds as strings.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use sip_authz::model::{Password, Target};
use sip_authz::{CredentialListSid, IpAccessControlListSid};

/// A time in seconds since 1970, written as `2018-04-27T22:02:11Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stamp = i64::try_from(self.0).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        serializer.collect_str(&stamp.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let stamp = text.parse::<jiff::Timestamp>().map_err(|_| {
            let text: String = text.chars().take(40).collect();
            de::Error::custom(format!("expected a time such as 2018-04-27T22:02:11Z, got `{text}`"))
        })?;
        let seconds = u64::try_from(stamp.as_second());
        seconds.map(Self).map_err(|_| de::Error::custom("expected a time after 1970-01-01"))
    }
}

/// A password, or a hash in hexadecimal. Its memory is wiped on drop.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Secret(Password);

impl Secret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Password::new(text))
    }

    /// The secret text.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The text as a password.
    #[must_use]
    pub fn into_password(self) -> Password {
        self.0
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

/// The SID of a domain or trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSid(pub Target);

/// The SID of a list of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListSid {
    /// An IP access control list.
    IpAccessControl(IpAccessControlListSid),
    /// A credential list.
    Credential(CredentialListSid),
}

impl fmt::Display for ListSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpAccessControl(sid) => sid.fmt(f),
            Self::Credential(sid) => sid.fmt(f),
        }
    }
}

impl Serialize for TargetSid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TargetSid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(sid) = text.parse() {
            return Ok(Self(Target::Domain(sid)));
        }
        match text.parse() {
            Ok(sid) => Ok(Self(Target::Trunk(sid))),
            Err(_) => Err(wrong_sid(&text, "a domain (SD) or trunk (TK)")),
        }
    }
}

impl Serialize for ListSid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListSid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(sid) = text.parse() {
            return Ok(Self::IpAccessControl(sid));
        }
        match text.parse() {
            Ok(sid) => Ok(Self::Credential(sid)),
            Err(_) => {
                Err(wrong_sid(&text, "an IP access control list (AL) or credential list (CL)"))
            }
        }
    }
}

fn wrong_sid<E: de::Error>(text: &str, what: &str) -> E {
    let text: String = text.chars().take(40).collect();
    E::custom(format!("expected the SID of {what}, got `{text}`"))
}
