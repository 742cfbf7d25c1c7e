//! The methods that a domain or trunk admits from outside a dialog.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::message::is_token;
use crate::method::{MAX_METHOD, Method};

/// Methods that no set has: they belong to a call (ACK, CANCEL, BYE, PRACK) or have rules of their own
/// (REGISTER). Refused in any case, because a program behind may compare methods without case.
const NEVER: [&str; 5] = ["ACK", "BYE", "CANCEL", "PRACK", "REGISTER"];

/// The methods of requests from outside a dialog that a domain or trunk admits.
///
/// 1 to 16 methods in no order, each a token of 1 to 32 bytes (RFC 3261 §7.1), compared with case.
/// ACK, BYE, CANCEL, PRACK and REGISTER are not among them, in upper or lower case. `Display` writes
/// the value of an Allow header: `INVITE, OPTIONS`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MethodSet {
    /// Kept apart, because nearly all requests are INVITEs.
    has_invite: bool,
    /// All of them, sorted and without duplicates.
    names: Cow<'static, [Cow<'static, str>]>,
}

/// An invalid set of methods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodSetError {
    /// The set is empty.
    #[error("at least one method must be admitted")]
    Empty,
    /// The set has too many methods.
    #[error("at most {max} methods can be admitted", max = MethodSet::MAX_METHODS)]
    TooMany,
    /// A text is not a method, shortened to 40 characters.
    #[error("expected a method of 1 to {max} token characters, found `{0}`", max = MethodSet::MAX_LEN)]
    NotAMethod(String),
    /// The set has a method twice.
    #[error("{0} is admitted twice")]
    Twice(String),
    /// The method belongs to a call or is REGISTER.
    #[error("{0} cannot be admitted: it belongs to a call or a registration")]
    Never(String),
}

impl MethodSet {
    /// INVITE and OPTIONS.
    pub const DEFAULT: Self = Self {
        has_invite: true,
        names: Cow::Borrowed(&[Cow::Borrowed("INVITE"), Cow::Borrowed("OPTIONS")]),
    };

    /// The maximum number of methods.
    pub const MAX_METHODS: usize = 16;

    /// The maximum length of a method in bytes.
    pub const MAX_LEN: usize = MAX_METHOD;

    /// Creates the set of these methods.
    ///
    /// # Errors
    ///
    /// [`MethodSetError`] for the first text that cannot be a member, or if there are none or too many.
    pub fn new(methods: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, MethodSetError> {
        let mut names = Vec::<Cow<'static, str>>::new();
        for method in methods {
            let method = method.as_ref();
            Self::check_member(method)?;
            let Err(place) = names.binary_search_by(|name| (**name).cmp(method)) else {
                return Err(MethodSetError::Twice(method.to_owned()));
            };
            if names.len() == Self::MAX_METHODS {
                return Err(MethodSetError::TooMany);
            }
            names.insert(place, Cow::Owned(method.to_owned()));
        }
        if names.is_empty() {
            return Err(MethodSetError::Empty);
        }
        // most policies keep the default, which needs no memory
        if *names == *Self::DEFAULT.names {
            return Ok(Self::DEFAULT);
        }
        let has_invite = names.iter().any(|name| name == "INVITE");
        Ok(Self { has_invite, names: names.into() })
    }

    /// Whether a set can have `method`.
    pub(super) fn check_member(method: &str) -> Result<(), MethodSetError> {
        if !is_token(method.as_bytes()) || method.len() > Self::MAX_LEN {
            return Err(MethodSetError::NotAMethod(method.chars().take(40).collect()));
        }
        match NEVER.iter().any(|never| never.eq_ignore_ascii_case(method)) {
            true => Err(MethodSetError::Never(method.to_owned())),
            false => Ok(()),
        }
    }

    /// Whether the set has `method`, compared with case.
    #[must_use]
    pub fn contains(&self, method: &str) -> bool {
        self.admits(Method::new(method))
    }

    /// The methods, sorted by their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    pub(crate) fn admits(&self, method: Method<'_>) -> bool {
        match method.other() {
            None => self.has_invite,
            Some(other) => self.iter().any(|name| name == other),
        }
    }
}

/// [`MethodSet::DEFAULT`].
impl Default for MethodSet {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reads a list with commas, and spaces around them.
impl FromStr for MethodSet {
    type Err = MethodSetError;

    fn from_str(text: &str) -> Result<Self, MethodSetError> {
        match text.trim() {
            "" => Err(MethodSetError::Empty),
            text => Self::new(text.split(',').map(str::trim)),
        }
    }
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_has_its_members_in_their_case_only() {
        let set = MethodSet::new(["SUBSCRIBE", "MESSAGE", "invite"]).unwrap();
        for method in ["SUBSCRIBE", "MESSAGE", "invite"] {
            assert!(set.contains(method), "{method}");
        }
        for method in ["INVITE", "message", "MESSAG", "MESSAGES", "", "OPTIONS", "MESSAGE "] {
            assert!(!set.contains(method), "{method}");
        }
        assert_eq!(set.to_string(), "MESSAGE, SUBSCRIBE, invite");
        assert_eq!(MethodSet::DEFAULT.to_string(), "INVITE, OPTIONS");
        assert!(MethodSet::DEFAULT.contains("INVITE") && !MethodSet::DEFAULT.contains("MESSAGE"));
    }

    #[test]
    fn the_default_in_any_order_is_the_default_and_takes_no_memory() {
        let set = MethodSet::new(["OPTIONS", "INVITE"]).unwrap();
        assert_eq!(set, MethodSet::default());
        assert!(matches!(set.names, Cow::Borrowed(_)));
        assert_eq!(" OPTIONS ,INVITE".parse(), Ok(set));
    }

    #[test]
    fn texts_that_cannot_be_members_are_refused() {
        for never in NEVER {
            for text in [never.to_owned(), never.to_lowercase(), never.replace('A', "a")] {
                let error = MethodSet::new(["INVITE", &text]).unwrap_err();
                assert_eq!(error, MethodSetError::Never(text));
            }
        }
        let long = "M".repeat(33);
        for text in ["", " ", "A B", "A,B", "A:B", "é", "A\r\n", "\"A\"", "<A>", &long] {
            let error = MethodSet::new([text]).unwrap_err();
            assert_eq!(error, MethodSetError::NotAMethod(text.to_owned()), "{text}");
        }
        let error = MethodSet::new(["x y".repeat(100)]).unwrap_err();
        assert!(matches!(error, MethodSetError::NotAMethod(text) if text.len() == 40));
        assert!(MethodSet::new([&long[1..]]).is_ok());
        let twice = MethodSet::new(["INVITE", "MESSAGE", "INVITE"]);
        assert_eq!(twice, Err(MethodSetError::Twice("INVITE".to_owned())));
        assert_eq!(MethodSet::new([""; 0]), Err(MethodSetError::Empty));
        for text in ["", " ", "INVITE,", ",", "INVITE;OPTIONS"] {
            assert!(text.parse::<MethodSet>().is_err(), "{text:?}");
        }
        let many: Vec<_> = (0..17).map(|n| format!("M{n}")).collect();
        assert_eq!(MethodSet::new(&many), Err(MethodSetError::TooMany));
        assert_eq!(MethodSet::new(&many[1..]).unwrap().iter().count(), 16);
    }

    proptest! {
        #[test]
        fn does_what_a_set_of_texts_does(
            members in prop::collection::btree_set("[ABab]{1,3}|INVITE", 1..17),
            other in "[ABab]{1,3}|INVITE",
        ) {
            let set = MethodSet::new(&members).unwrap();
            prop_assert_eq!(set.contains(&other), members.contains(&other));
            prop_assert_eq!(set.iter().map(str::to_owned).collect::<BTreeSet<_>>(), members);
            prop_assert_eq!(set.to_string().parse::<MethodSet>().unwrap(), set.clone());
            prop_assert_eq!(MethodSet::new(set.iter().collect::<Vec<_>>().iter().rev()).unwrap(), set);
        }
    }
}
