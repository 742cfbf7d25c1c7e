//! The reasons to reject an INVITE. One table defines each reason's status, code and text; the
//! enum, its methods, the counters, metrics and logs derive from it.

use std::fmt;

use crate::digest::MalformedCredentials;

/// Declares [`Reason`] from rows `Variant: status, [code code,] "text", "description";`. A variant
/// with a payload gives an example value for [`Reason::ALL`].
macro_rules! reasons {
    ($(
        $variant:ident $(($payload:ty = $example:expr))?:
            $status:literal, $(code $code:literal,)? $text:literal, $description:literal;
    )*) => {
        /// A reason to reject an INVITE. The texts of [`Reason::as_str`] are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(
                #[doc = concat!("Status ", $status, $(", code ", $code,)? ": ", $description)]
                $variant $(($payload))?,
            )*
        }

        impl Reason {
            /// Every reason once, in the order of [`Self::index`]. A reason with a payload has an
            /// example value.
            pub const ALL: &'static [Self] = &[$(Self::$variant $(($example))?),*];

            /// Index of this reason in [`Self::ALL`], for any payload.
            #[must_use]
            pub const fn index(self) -> usize {
                enum Row { $($variant),* }
                match self {
                    $(Self::$variant { .. } => Row::$variant as usize,)*
                }
            }

            /// The SIP status code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant { .. } => $status,)*
                }
            }

            /// The Twilio error code of this reason, if there is one.
            #[must_use]
            pub const fn code(self) -> Option<u16> {
                match self {
                    $(Self::$variant { .. } => reasons!(@code $($code)?),)*
                }
            }

            /// A stable text for logs and metrics, without values from the request. Call
            /// [`Self::public`] first if the text is sent to the caller.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $text,)*
                }
            }
        }
    };
    (@code) => { None };
    (@code $code:literal) => { Some($code) };
}

reasons! {
    UnsupportedScheme: 416, "unsupported-scheme",
        "the Request-URI is neither sip: nor sips:.";
    BadRequestUri: 400, "bad-request-uri",
        "the Request-URI is not a SIP URI.";
    UnknownHost: 404, "unknown-host",
        "no domain or trunk has the host name.";
    AccountInactive: 603, "account-inactive",
        "the account is suspended or closed.";
    NotSecure: 488, code 32209, "not-secure",
        "the domain or a sips: URI requires TLS, and the transport is not secure.";
    NothingMapped: 403, code 32200, "nothing-mapped",
        "no list is mapped to the domain or trunk.";
    AddressNotListed: 403, code 32201, "address-not-listed",
        "the source address is in no mapped access list.";
    MethodNotAllowed: 405, "method-not-allowed",
        "the domain or trunk does not admit the method. The response has an Allow header of those that it \
         admits ([`Authorizer::refusal`](crate::Authorizer::refusal)).";
    RegistrationNotAllowed: 403, "registration-not-allowed",
        "a REGISTER for a trunk, or for a domain that takes no registrations or has no list mapped for \
         them.";
    WrongCredentials: 403, code 32202, "wrong-credentials",
        "the credentials are wrong. The answer does not reveal whether the user exists.";
    TooManyGuesses: 403, code 32202, "too-many-guesses",
        "too many wrong credentials came before, so these were not verified. The answer is that of \
         [`Self::WrongCredentials`].";
    FromMismatch: 403, "from-mismatch",
        "the From header has another user than the credentials.";
    ToMismatch: 403, "to-mismatch",
        "the To header of a REGISTER names another user than the credentials, or another domain.";
    MalformedCredentials(MalformedCredentials = MalformedCredentials::UnknownQop):
        400, "malformed-credentials",
        "credentials for the realm with a live nonce are malformed.";
    QopMissing: 400, "qop-missing",
        "a response without qop, which the policy does not allow.";
    UriMismatch: 400, "uri-mismatch",
        "the digest-uri does not match the Request-URI as the policy requires.";
    TooManyCredentials: 400, "too-many-credentials",
        "more than eight credentials for the realm, or more than sixteen headers in all.";
    SnapshotStale: 503, "snapshot-stale",
        "the snapshot has not been confirmed within the program's limit \
         ([`Authorizer::refuse_from`](crate::Authorizer::refuse_from)).";
    OtherProcess: 503, "other-process",
        "this process did not create the [`Authorizer`](crate::Authorizer). Create it after the fork, \
         and after daemonizing.";
}

impl Reason {
    /// The reason phrase of the status code (RFC 3261 §21).
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            416 => "Unsupported URI Scheme",
            488 => "Not Acceptable Here",
            503 => "Service Unavailable",
            _ => "Decline",
        }
    }

    /// The reason to show to the caller: [`Self::WrongCredentials`] for [`Self::TooManyGuesses`],
    /// any other reason unchanged.
    #[must_use]
    pub const fn public(self) -> Self {
        match self {
            Self::TooManyGuesses => Self::WrongCredentials,
            reason => reason,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::MalformedCredentials(kind) => write!(f, " ({kind})"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_index_and_its_texts_differ() {
        let indices: Vec<_> = Reason::ALL.iter().map(|reason| reason.index()).collect();
        assert_eq!(indices, Vec::from_iter(0..Reason::ALL.len()));
        let texts: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        let (one, other) = (MalformedCredentials::BadUsername, MalformedCredentials::UnknownQop);
        let index = |kind| Reason::MalformedCredentials(kind).index();
        assert_eq!(index(one), index(other));
    }

    #[test]
    fn each_status_has_its_phrase() {
        for reason in Reason::ALL {
            assert_eq!(reason.status() == 603, reason.phrase() == "Decline", "{reason}");
        }
    }

    #[test]
    fn too_many_guesses_looks_like_wrong_credentials() {
        let (limit, wrong) = (Reason::TooManyGuesses, Reason::WrongCredentials);
        assert_eq!(limit.public(), wrong);
        assert_eq!((limit.status(), limit.phrase()), (wrong.status(), wrong.phrase()));
        assert_eq!(limit.code(), wrong.code());
        for reason in Reason::ALL.iter().filter(|reason| **reason != limit) {
            assert_eq!(reason.public(), *reason);
        }
    }
}
