//! The method of a request (RFC 3261 §7.1): a token, compared by its bytes and so with case.

/// The maximum length in bytes of a method that a policy admits.
pub(crate) const MAX_METHOD: usize = 32;

/// A method. INVITE is kept apart from the others, so that the hot path tests one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method<'a> {
    other: Option<&'a str>,
}

impl<'a> Method<'a> {
    pub(crate) const INVITE: Self = Self { other: None };
    pub(crate) const REGISTER: Self = Self { other: Some("REGISTER") };

    pub(crate) fn new(name: &'a str) -> Self {
        Self { other: Some(name).filter(|name| *name != "INVITE") }
    }

    /// Whether this is REGISTER, which is decided by lists and rules of its own.
    #[inline]
    pub(crate) fn is_register(self) -> bool {
        self == Self::REGISTER
    }

    /// The name as sent.
    #[inline]
    pub(crate) fn name(self) -> &'a str {
        self.other.unwrap_or("INVITE")
    }

    /// The name of a method other than INVITE.
    #[inline]
    pub(crate) fn other(self) -> Option<&'a str> {
        self.other
    }
}
