//! The results for requests and responses.

use crate::Leg;
use crate::strict::Flaw;

/// The result for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message that was appended goes to this leg.
    Send(Leg),
    /// The request is answered with this refusal.
    Refuse(Refusal),
    /// The request gets no answer and goes nowhere.
    Drop,
    /// The request is not of a dialog that this side has recorded. It is decided like a new one.
    Decide,
}

/// A reason not to forward a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A field that decides at every hop is malformed or repeated.
    Flaw(Flaw),
    /// A Route that does not name this side, or a second one.
    Route,
    /// The request has come by here (RFC 3261 §16.3 item 4).
    Loop,
    /// Max-Forwards is zero (RFC 3261 §16.3 item 3).
    TooManyHops,
    /// An extension that proxies must know (RFC 3261 §16.3 item 5).
    Extension,
    /// No next hop answers.
    NoHop,
    /// The dialog is older than its life.
    Expired,
    /// The account of the dialog was closed.
    Closed,
    /// The request comes from elsewhere than the dialog's next hop.
    Elsewhere,
    /// The user name is too long to be carried.
    TooLong,
    /// A request with the flow token of a phone comes from outside.
    NotInside,
    /// A method that no phone serves, with the flow token of one.
    NotForPhones,
    /// The connection of a phone has ended, or the token of its registration is older than its life (RFC
    /// 5626 §5.3).
    FlowGone,
    /// The Request-URI is a `sips:` URI, and the way onward is not over TLS (RFC 3261 §26.2.2). Requests that
    /// end a call pass.
    NotSecure,
}

impl Refusal {
    /// Status and reason phrase of the answer. A [`Flaw`] has a text of its own.
    #[must_use]
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Flaw(_) => (400, "Bad Request"),
            Self::Route => (403, "Forbidden (Route)"),
            Self::Loop => (482, "Loop Detected"),
            Self::TooManyHops => (483, "Too Many Hops"),
            Self::Extension => (420, "Bad Extension"),
            Self::NoHop => (503, "Service Unavailable"),
            Self::Expired => (481, "Call/Transaction Does Not Exist (expired)"),
            Self::Closed => (403, "Forbidden"),
            Self::Elsewhere => (481, "Call/Transaction Does Not Exist"),
            Self::TooLong => (500, "Server Internal Error"),
            Self::NotInside | Self::NotForPhones => (403, "Forbidden"),
            Self::FlowGone => (430, "Flow Failed"),
            // RFC 5630 §5.3
            Self::NotSecure => (480, "Temporarily Unavailable (SIPS Not Allowed)"),
        }
    }
}

/// A reason not to relay a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRelayed {
    /// A field that decides at every hop is malformed or repeated.
    Flaw,
    /// The top Via is not ours, or its code is wrong.
    NotOurs,
    /// It comes from elsewhere than its request was sent to.
    Elsewhere,
    /// It has no Via behind ours: it answers a request of this side.
    NoVia,
}
