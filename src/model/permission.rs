//! The names of what a role permits, and sets of them.

use std::fmt;

/// Permissions of both types of role.
const BOTH: [&str; 16] = [
    "addMember",
    "deleteAnyMessage",
    "destroyChannel",
    "editAnyMessage",
    "editAnyMessageAttributes",
    "editAnyUserInfo",
    "editChannelAttributes",
    "editChannelName",
    "editOwnMessage",
    "editOwnMessageAttributes",
    "editOwnUserInfo",
    "inviteMember",
    "removeMember",
    "editNotificationLevel",
    "editOwnMemberAttributes",
    "editAnyMemberAttributes",
];
const DEPLOYMENT: [&str; 2] = ["createChannel", "joinChannel"];
const CHANNEL: [&str; 4] = ["sendMessage", "sendMediaMessage", "leaveChannel", "deleteOwnMessage"];

/// What a role is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum RoleKind {
    /// To a credential, wherever it is used.
    Deployment,
    /// To the users of a credential list on the domain or trunk that it is mapped to.
    Channel,
}

/// A name that cannot be registered as a permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// Not 1 to 64 letters and digits, the first a letter.
    #[error("`{0}` is not a permission: 1 to 64 letters and digits, the first a letter")]
    Form(String),
    /// More names than a set has places for.
    #[error("more than {} permissions", Vocabulary::MAX)]
    TooMany,
}

/// The permissions that there are: the documented ones, and those that a program registers.
///
/// A program makes one when it starts; it lives as long as the process, so that a decision can name
/// it without counting references.
#[derive(Debug)]
pub struct Vocabulary {
    /// A permission's place is its bit. The registered ones stand behind the documented ones.
    names: Vec<&'static str>,
}

impl Vocabulary {
    /// The most permissions that there can be, documented ones included.
    pub const MAX: usize = 128;

    /// The documented permissions alone.
    #[must_use]
    pub fn documented() -> &'static Self {
        static DOCUMENTED: std::sync::OnceLock<Vocabulary> = std::sync::OnceLock::new();
        DOCUMENTED.get_or_init(|| Self { names: documented().collect() })
    }

    /// The documented permissions and `registered`, which serve for both types of role. Naming one
    /// that is there already changes nothing. Kept for the life of the process.
    ///
    /// # Errors
    ///
    /// [`VocabularyError`].
    pub fn with<'a>(
        registered: impl IntoIterator<Item = &'a str>,
    ) -> Result<&'static Self, VocabularyError> {
        let mut names: Vec<_> = documented().collect();
        for name in registered {
            let form = (1..=64).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric());
            if !form {
                return Err(VocabularyError::Form(name.chars().take(80).collect()));
            }
            if !names.contains(&name) {
                names.push(String::leak(name.to_owned()));
            }
        }
        if names.len() > Self::MAX {
            return Err(VocabularyError::TooMany);
        }
        Ok(Box::leak(Box::new(Self { names })))
    }

    /// Whether a role of this kind may have the permission.
    #[must_use]
    pub fn admits(&self, kind: RoleKind, name: &str) -> bool {
        let of_the_other = match kind {
            RoleKind::Deployment => CHANNEL.contains(&name),
            RoleKind::Channel => DEPLOYMENT.contains(&name),
        };
        !of_the_other && self.bit(name) != 0
    }

    /// The set of those of `names` that there are.
    #[must_use]
    pub fn set<'a>(&'static self, names: impl IntoIterator<Item = &'a str>) -> PermissionSet {
        let bits = names.into_iter().fold(0, |bits, name| bits | self.bit(name));
        PermissionSet { bits, vocabulary: self }
    }

    fn bit(&self, name: &str) -> u128 {
        match self.names.iter().position(|known| *known == name) {
            Some(place) => 1 << place,
            None => 0,
        }
    }
}

fn documented() -> impl Iterator<Item = &'static str> {
    BOTH.into_iter().chain(DEPLOYMENT).chain(CHANNEL)
}

/// What an accepted caller is permitted. `Copy`; two sets of one program share a vocabulary.
#[derive(Clone, Copy)]
pub struct PermissionSet {
    bits: u128,
    vocabulary: &'static Vocabulary,
}

impl PermissionSet {
    /// No permission.
    #[must_use]
    pub fn empty(vocabulary: &'static Vocabulary) -> Self {
        Self { bits: 0, vocabulary }
    }

    /// Whether the permission of this name is in the set. A name that does not exist never is.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.bits & self.vocabulary.bit(name) != 0
    }

    /// Whether nothing is permitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// The names in the set.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        let names = self.vocabulary.names.iter().enumerate();
        names.filter(|(place, _)| self.bits >> place & 1 == 1).map(|(_, name)| *name)
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, ..self }
    }
}

impl PartialEq for PermissionSet {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits && std::ptr::eq(self.vocabulary, other.vocabulary)
    }
}

impl Eq for PermissionSet {}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_vocabularies_of_their_own() {
        let documented = Vocabulary::documented();
        assert!(documented.admits(RoleKind::Channel, "sendMessage"));
        assert!(!documented.admits(RoleKind::Deployment, "sendMessage"));
        assert!(documented.admits(RoleKind::Deployment, "createChannel"));
        assert!(!documented.admits(RoleKind::Channel, "createChannel"));
        assert!(!documented.admits(RoleKind::Channel, "callInternational"));
        let own = Vocabulary::with(["callInternational", "addMember"]).unwrap();
        assert!(own.admits(RoleKind::Channel, "callInternational"));
        assert!(own.admits(RoleKind::Deployment, "callInternational"));
    }

    #[test]
    fn sets_hold_what_exists() {
        let own = Vocabulary::with(["callInternational"]).unwrap();
        let set = own.set(["callInternational", "addMember", "no such"]);
        assert!(set.contains("callInternational") && set.contains("addMember"));
        assert!(!set.contains("no such") && !set.contains("removeMember"));
        assert_eq!(set.iter().collect::<Vec<_>>(), ["addMember", "callInternational"]);
        let other = own.set(["removeMember"]);
        assert!(set.union(other).contains("removeMember"));
        assert!(PermissionSet::empty(own).is_empty() && !set.is_empty());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "call International", "9lives", "añadir", &"x".repeat(65)] {
            assert!(Vocabulary::with([name]).is_err(), "{name}");
        }
        let many: Vec<_> = (0..Vocabulary::MAX).map(|n| format!("p{n}")).collect();
        let error = Vocabulary::with(many.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error, VocabularyError::TooMany);
    }
}
