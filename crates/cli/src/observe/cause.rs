//! The reasons for an answer that is no decision, and for messages without an answer.
//!
//! Metrics, totals and logs all follow from the table [`causes!`].

use sip_authz::InviteError;
use sip_authz::message::{Defect, Header};
use sip_authz_decide::engine::{Garbage, Undecided};

/// The handling of a message that has a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling {
    /// A request with an answer; its status.
    Answered(u16),
    /// A message that gets no answer by the rules of SIP.
    Ignored,
    /// A message that cannot be answered.
    Dropped,
    /// A message that went on to another peer without a decision.
    Forwarded,
}

impl Handling {
    /// The stable name for metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Ignored => "ignored",
            Self::Dropped => "dropped",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Declares [`Cause`]: a row for each variant with its handling and its text.
macro_rules! causes {
    ($($name:ident, $handling:expr, $text:literal;)*) => {
        /// A reason why the outcome of a message is not that of a decision. The texts are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Cause {
            $($name,)*
        }

        impl Cause {
            /// All causes, in the order of their indices.
            pub(crate) const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            pub(crate) fn handling(self) -> Handling {
                match self {
                    $(Self::$name => $handling,)*
                }
            }

            /// The text for metrics and logs. The text for a [`Defect`] is its own, without backticks.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

use Handling::{Answered, Dropped, Forwarded, Ignored};

causes! {
    Ok, Answered(200), "ok";
    StunBinding, Answered(200), "stun binding";
    // requests that are not well-formed
    RequestLine, Answered(400), "spaces of the request line";
    RequestUri, Answered(400), "bad character in the request-uri";
    BadUri, Answered(400), "bad request-uri";
    LineEnd, Answered(400), "bare cr or lf in the head";
    Control, Answered(400), "control character in the head";
    Fold, Answered(400), "blank folded line";
    FieldName, Answered(400), "line is not a header field";
    NoBlankLine, Answered(400), "no blank line after the head";
    HeadTooLong, Answered(400), "head too long";
    TooManyFields, Answered(400), "too many header fields";
    MissingFrom, Answered(400), "missing header From";
    MissingTo, Answered(400), "missing header To";
    MissingCallId, Answered(400), "missing header Call-ID";
    MissingCSeq, Answered(400), "missing header CSeq";
    RepeatedFrom, Answered(400), "repeated header From";
    RepeatedTo, Answered(400), "repeated header To";
    RepeatedCallId, Answered(400), "repeated header Call-ID";
    RepeatedCSeq, Answered(400), "repeated header CSeq";
    RepeatedContentLength, Answered(400), "repeated header Content-Length";
    CSeq, Answered(400), "bad cseq";
    CSeqMethod, Answered(400), "cseq method is not the request's";
    ContentLength, Answered(400), "bad content-length";
    BodyTooShort, Answered(400), "body shorter than its content-length";
    Malformed, Answered(400), "malformed message";
    MissingContentLength, Answered(400), "missing content-length on a stream";
    Source, Answered(400), "repeated received or rport in via";
    TooLarge, Answered(513), "message too long for a stream";
    Version, Answered(505), "unsupported sip version";
    // well-formed requests, among them accepted INVITEs, that are answered with an error
    Method, Answered(405), "method not allowed";
    Scheme, Answered(416), "unsupported uri scheme";
    Extension, Answered(420), "unsupported extension";
    NoDialog, Answered(481), "to tag without a dialog";
    RedirectLoop, Answered(404), "redirect to the request-uri";
    RedirectTooLong, Answered(414), "redirect target too long";
    NextHop, Answered(480), "next hop not allowed";
    Sdp, Answered(400), "malformed sdp";
    Multipart, Answered(400), "malformed multipart body";
    MediaType, Answered(415), "unsupported media type";
    TooShort, Answered(400), "too short for its answer";
    StunAttribute, Answered(420), "unknown stun attribute";
    // requests that are not forwarded
    NotForwardable, Answered(400), "not well-formed enough to forward";
    Maddr, Answered(400), "maddr in the request-uri";
    Route, Answered(403), "route to elsewhere";
    Loop, Answered(482), "loop";
    TooManyHops, Answered(483), "max-forwards is zero";
    NoHop, Answered(503), "no next hop answers";
    DialogExpired, Answered(481), "dialog older than its life";
    DialogClosed, Answered(403), "account of the dialog is not active";
    DialogElsewhere, Answered(481), "dialog of another next hop";
    TokenTooLong, Answered(500), "user name too long to forward";
    FlowFromOutside, Answered(403), "token of a phone from outside";
    NotForPhones, Answered(403), "method that no phone serves";
    FlowGone, Answered(430), "flow of the phone is gone";
    SipsWithoutTls, Answered(480), "sips uri, and the way onward is not tls";
    NoFlowToken, Answered(403), "request of a next hop without the token of a phone";
    // messages that were forwarded without a decision
    Dialog, Forwarded, "request of a dialog";
    Followed, Forwarded, "cancel, or ack of a failure";
    ToPhone, Forwarded, "request to a registered phone";
    Relayed, Forwarded, "relayed response";
    OwnRealm, Forwarded, "challenge of a next hop in a realm of the edge";
    // messages that get no answer
    Ack, Ignored, "ack";
    Cancel, Ignored, "cancel";
    Response, Ignored, "response";
    KeepAlive, Ignored, "keep-alive";
    Stun, Ignored, "stun";
    // messages that cannot be answered
    MissingVia, Dropped, "missing header Via";
    NotSip, Dropped, "not sip";
    MalformedResponse, Dropped, "malformed response";
    ResponseFromElsewhere, Dropped, "response from elsewhere";
    TooShortToAnswer, Dropped, "too short for any answer";
}

impl Cause {
    /// The index in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Whether the logs have a line for it: an error that the sender can correct.
    pub(crate) fn is_logged(self) -> bool {
        match self.handling() {
            Answered(status) => status >= 300,
            Ignored | Forwarded => false,
            Dropped => true,
        }
    }
}

impl From<Defect> for Cause {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::RequestLine => Self::RequestLine,
            Defect::Version => Self::Version,
            Defect::RequestUri => Self::RequestUri,
            Defect::LineEnd => Self::LineEnd,
            Defect::Control => Self::Control,
            Defect::Fold => Self::Fold,
            Defect::FieldName => Self::FieldName,
            Defect::NoBlankLine => Self::NoBlankLine,
            Defect::HeadTooLong => Self::HeadTooLong,
            Defect::TooManyFields => Self::TooManyFields,
            Defect::Missing(Header::Via) => Self::MissingVia,
            Defect::Missing(Header::From) => Self::MissingFrom,
            Defect::Missing(Header::To) => Self::MissingTo,
            Defect::Missing(Header::CallId) => Self::MissingCallId,
            Defect::Missing(Header::CSeq) => Self::MissingCSeq,
            Defect::Repeated(Header::From) => Self::RepeatedFrom,
            Defect::Repeated(Header::To) => Self::RepeatedTo,
            Defect::Repeated(Header::CallId) => Self::RepeatedCallId,
            Defect::Repeated(Header::CSeq) => Self::RepeatedCSeq,
            Defect::Repeated(Header::ContentLength) => Self::RepeatedContentLength,
            Defect::CSeq => Self::CSeq,
            Defect::CSeqMethod => Self::CSeqMethod,
            Defect::ContentLength => Self::ContentLength,
            Defect::BodyTooShort => Self::BodyTooShort,
            _ => Self::Malformed,
        }
    }
}

impl From<&InviteError> for Cause {
    fn from(error: &InviteError) -> Self {
        match error {
            InviteError::Defect(defect) => (*defect).into(),
            _ => Self::Malformed,
        }
    }
}

impl From<Garbage> for Cause {
    fn from(garbage: Garbage) -> Self {
        match garbage {
            Garbage::KeepAlive => Self::KeepAlive,
            Garbage::Stun => Self::Stun,
            _ => Self::NotSip,
        }
    }
}

impl From<&Undecided> for Cause {
    fn from(not: &Undecided) -> Self {
        match not {
            Undecided::Garbage(garbage) => (*garbage).into(),
            Undecided::Ack => Self::Ack,
            Undecided::Cancel => Self::Cancel,
            Undecided::Response => Self::Response,
            Undecided::Malformed(error) => error.into(),
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_defect_has_a_cause_with_its_text() {
        use Header::{CSeq, CallId, ContentLength, From, To, Via};
        let plain = [
            Defect::RequestLine,
            Defect::Version,
            Defect::RequestUri,
            Defect::LineEnd,
            Defect::Control,
            Defect::Fold,
            Defect::FieldName,
            Defect::NoBlankLine,
            Defect::HeadTooLong,
            Defect::TooManyFields,
            Defect::CSeq,
            Defect::CSeqMethod,
            Defect::ContentLength,
            Defect::BodyTooShort,
        ];
        let missing = [Via, From, To, CallId, CSeq].map(Defect::Missing);
        let single = [From, To, CallId, CSeq, ContentLength].map(Defect::Repeated);
        for defect in plain.into_iter().chain(missing).chain(single) {
            assert_eq!(Cause::from(defect).as_str(), defect.to_string().replace('`', ""));
        }
    }

    #[test]
    fn answers_of_the_decision_service_have_the_text_and_the_status_of_the_cause() {
        use Undecided::{Ack, Cancel, Malformed, Response};
        let malformed = [
            InviteError::NotSip,
            InviteError::HostMismatch,
            InviteError::Defect(Defect::Version),
            InviteError::Defect(Defect::CSeq),
            InviteError::Defect(Defect::Missing(Header::Via)),
            InviteError::Defect(Defect::Missing(Header::To)),
        ];
        let garbage = [Garbage::KeepAlive, Garbage::Stun, Garbage::NotSip].map(Undecided::Garbage);
        let all = malformed.map(Malformed).into_iter().chain(garbage);
        for not in all.chain([Ack, Cancel, Response]) {
            let cause = Cause::from(&not);
            assert_eq!(not.reason(), cause.as_str());
            let status = not.response().map(|(status, _)| status);
            let Answered(expected) = cause.handling() else {
                assert_eq!(status, None, "{not:?}");
                continue;
            };
            assert_eq!(status, Some(expected), "{not:?}");
        }
    }

    #[test]
    fn indices_and_texts_are_unique() {
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), at);
            let same = Cause::ALL.iter().filter(|other| other.as_str() == cause.as_str());
            assert_eq!(same.count(), 1, "{cause:?}");
        }
    }
}
