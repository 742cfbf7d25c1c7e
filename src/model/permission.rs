//! Names of permissions, and sets of them.

use std::fmt;

use super::register_as::{REGISTER_PERMISSION, is_plain};

/// Permissions for both kinds of role.
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

/// The kind of a role: credentials or mappings carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum RoleKind {
    /// Credentials carry it. It applies to every target of the user.
    Deployment,
    /// Mappings of credential lists carry it. It applies to the list's users on that target.
    Channel,
}

/// A permission that cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// The name does not have 1 to 64 letters and digits, or does not start with a letter; nor is it
    /// `register=` and the user of a To header.
    #[error(
        "`{0}` is not a permission name: expected 1 to 64 letters and digits, starting with a letter, \
         or {REGISTER_PERMISSION} and at most 55 letters, digits and +-_.*#!~"
    )]
    Form(String),
    /// There are more than [`Vocabulary::MAX`] permissions.
    #[error("at most {} permissions are supported", Vocabulary::MAX)]
    TooMany,
}

/// All known permissions: the documented ones and those that the program registers.
///
/// A program creates it at startup. It lives as long as the process, so a decision can refer to it
/// without reference counting.
#[derive(Debug)]
pub struct Vocabulary {
    /// A permission's index is its bit. Registered permissions follow the documented ones.
    names: Vec<&'static str>,
}

impl Vocabulary {
    /// The maximum number of permissions, including the documented ones.
    pub const MAX: usize = 128;

    /// The documented permissions only.
    #[must_use]
    pub fn documented() -> &'static Self {
        static DOCUMENTED: std::sync::OnceLock<Vocabulary> = std::sync::OnceLock::new();
        DOCUMENTED.get_or_init(|| Self { names: documented().collect() })
    }

    /// Adds the permissions in `registered` to the documented ones, for both kinds of role. Ignores
    /// names that already exist. The result is never freed.
    ///
    /// A name has up to 64 letters and digits, or is `register=` and a user: this permission lets
    /// credentials whose deployment role has it register that user
    /// ([`Policy::register_as`](crate::model::Policy::register_as)).
    ///
    /// # Errors
    ///
    /// [`VocabularyError`].
    pub fn with<'a>(
        registered: impl IntoIterator<Item = &'a str>,
    ) -> Result<&'static Self, VocabularyError> {
        let mut names: Vec<_> = documented().collect();
        for name in registered {
            let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric());
            let registers = name.strip_prefix(REGISTER_PERMISSION);
            let registers = registers.is_some_and(|user| !user.is_empty() && is_plain(user));
            if name.len() > 64 || !(is_word || registers) {
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

    /// The set of the known permissions among `names`. Ignores unknown names.
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

/// The permissions of an accepted caller.
#[derive(Clone, Copy)]
pub struct PermissionSet {
    bits: u128,
    vocabulary: &'static Vocabulary,
}

impl PermissionSet {
    /// A set without permissions.
    #[must_use]
    pub fn empty(vocabulary: &'static Vocabulary) -> Self {
        Self { bits: 0, vocabulary }
    }

    /// Whether the set contains this permission. Unknown names are never in a set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.bits & self.vocabulary.bit(name) != 0
    }

    /// Whether the set has no permissions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// The names of the permissions in the set.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        let names = self.vocabulary.names.iter().enumerate();
        names.filter(|(place, _)| self.bits >> place & 1 == 1).map(|(_, name)| *name)
    }

    /// The users that permissions of the form `register=USER` name.
    pub(crate) fn registers(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.iter().filter_map(|name| name.strip_prefix(REGISTER_PERMISSION))
    }

    /// The permissions that are in either set.
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
    fn each_kind_has_its_own_permissions() {
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
    fn sets_hold_known_permissions_only() {
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
    fn a_permission_can_name_a_user_to_register() {
        let names = ["register=+49301", "register=a.b_*#!~-", "registered", "addMember"];
        let own = Vocabulary::with(names).unwrap();
        assert!(own.admits(RoleKind::Deployment, "register=+49301"));
        let set = own.set(names);
        assert_eq!(set.registers().collect::<Vec<_>>(), ["+49301", "a.b_*#!~-"]);
    }

    #[test]
    fn invalid_names_are_refused() {
        let long = format!("register={}", "1".repeat(56));
        for name in [
            "",
            "call International",
            "9lives",
            "añadir",
            &"x".repeat(65),
            "register=",
            "register=a,b",
            "register=a b",
            "register==a",
            "Register=a",
            "call=a",
            &long,
        ] {
            assert!(Vocabulary::with([name]).is_err(), "{name}");
        }
        let many: Vec<_> = (0..Vocabulary::MAX).map(|n| format!("p{n}")).collect();
        let error = Vocabulary::with(many.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error, VocabularyError::TooMany);
    }
}
