//! The reasons of messages without a decision in words, with advice to the operator.

/// A reason in words. Both are clauses in plain words, without a full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) meaning: &'static str,
    pub(super) advice: &'static str,
}

/// The advice for a request that breaks the grammar of SIP.
const REPORT: &str =
    "report the request to the maker of the client, or of the proxy before the edge";

/// Reasons that need neither an explanation nor advice.
const PLAIN: [&str; 12] = [
    "ok",
    "stun binding",
    "request of a dialog",
    "cancel, or ack of a failure",
    "request to a registered phone",
    "relayed response",
    "challenge of a next hop in a realm of the edge",
    "ack",
    "cancel",
    "response",
    "keep-alive",
    "stun",
];

/// Whether a reason is known and needs no words of its own.
pub(super) fn is_plain(text: &str) -> bool {
    PLAIN.contains(&text)
}

/// The words of a reason that the sender or the operator can correct; none for the others. The program has
/// a row for each of these texts, and its tests compare the two tables.
pub(super) fn words(text: &str) -> Option<Words> {
    let (meaning, advice) = match text {
        "spaces of the request line" => {
            ("the request line does not have its three parts with single spaces between", REPORT)
        }
        "bad character in the request-uri" => (
            "the Request-URI has a character that may stand nowhere in a URI",
            "correct the dial plan of the client; such characters must be escaped",
        ),
        "bad request-uri" => (
            "the Request-URI of a request that is answered here is malformed",
            "correct the address that the client or the proxy asks for",
        ),
        "bare cr or lf in the head" => ("the head has a CR or LF that ends no line", REPORT),
        "control character in the head" => ("the head has a control character", REPORT),
        "blank folded line" => ("the head has a folded line that is blank", REPORT),
        "line is not a header field" => {
            ("a line of the head has no name of a header field", REPORT)
        }
        "no blank line after the head" => (
            "no blank line follows the head, so the message may be cut",
            "see whether the network drops fragments of long datagrams; if so, use TCP",
        ),
        "head too long" => {
            ("the head is longer than the edge reads", "let the client and the proxies add less")
        }
        "too many header fields" => (
            "the head has more fields than the edge reads",
            "see which proxies on the way add fields",
        ),
        "missing header From" => ("the request has no From", REPORT),
        "missing header To" => ("the request has no To", REPORT),
        "missing header Call-ID" => ("the request has no Call-ID", REPORT),
        "missing header CSeq" => ("the request has no CSeq", REPORT),
        "repeated header From" => ("the request has several From", REPORT),
        "repeated header To" => ("the request has several To", REPORT),
        "repeated header Call-ID" => ("the request has several Call-ID", REPORT),
        "repeated header CSeq" => ("the request has several CSeq", REPORT),
        "repeated header Content-Length" => ("the request has several Content-Length", REPORT),
        "bad cseq" => ("CSeq is not a number and a method", REPORT),
        "cseq method is not the request's" => {
            ("CSeq names another method than the request line", REPORT)
        }
        "bad content-length" => ("Content-Length is not a number", REPORT),
        "body shorter than its content-length" => (
            "the body is shorter than its Content-Length, so the message may be cut",
            "see whether the network or a proxy changes the body, or drops fragments of long \
             datagrams",
        ),
        "malformed message" => ("the request is malformed", REPORT),
        "missing content-length on a stream" => (
            "a message on a connection has no Content-Length, so its end is unknown",
            "let the client send Content-Length over TCP and TLS",
        ),
        "repeated received or rport in via" => (
            "the Via of a trusted proxy names its source twice",
            "set the proxy to remove `received` and `rport` that callers add",
        ),
        "message too long for a stream" => (
            "the message on a connection is longer than the edge reads",
            "let the client send a shorter body",
        ),
        "unsupported sip version" => {
            ("the request is of another version than SIP/2.0", "set the client to SIP/2.0")
        }
        "method not allowed" => (
            "the edge does not serve the method here",
            "nothing if the client can do without; a REGISTER or another method outside a call \
             needs a domain whose calls are forwarded (`--on-accept forward:HOP`)",
        ),
        "unsupported uri scheme" => (
            "the Request-URI of a request that is answered here is neither `sip:` nor `sips:`",
            "set the client to ask SIP URIs",
        ),
        "unsupported extension" => (
            "the request requires an extension that the edge does not have",
            "switch the extension off in the client, or let it only be supported, not required",
        ),
        "to tag without a dialog" => (
            "the request belongs to a call that the edge does not know",
            "nothing if the call has ended. Else see whether phones and next hops keep \
             Record-Route, and whether all edges have the same keys of forwarded calls",
        ),
        "redirect to the request-uri" => (
            "the call is accepted, and all targets of its redirect are its own Request-URI",
            "correct the targets of the redirect (`--on-accept`, `on_accept`)",
        ),
        "redirect target too long" => (
            "the call is accepted, and all targets of its redirect get too long with its number",
            "shorten the targets of the redirect, or the number that the client sends",
        ),
        "next hop not allowed" => (
            "the call is accepted, and a target of its domain is not among the allowed next hops",
            "allow it (`--next-hop-allow`), or change `on_accept` of the domain",
        ),
        "malformed sdp" => (
            "the call is accepted, and its session description is malformed",
            "report the session description to the maker of the client",
        ),
        "malformed multipart body" => (
            "the call is accepted, and its multipart body is malformed",
            "report the body to the maker of the client",
        ),
        "unsupported media type" => (
            "the call is accepted, and its body must be understood and has no session description",
            "let the client send a session description (`application/sdp`)",
        ),
        "too short for its answer" => (
            "the request is so short that its answer would be more than three times as long",
            "nothing for a probe; phones send longer requests. Else use TCP, or offer fewer \
             algorithms",
        ),
        "unknown stun attribute" => (
            "a STUN request has an attribute that must be understood and is not",
            "switch ICE or TURN at this address off in the client",
        ),
        "not well-formed enough to forward" => {
            ("the call is accepted, and its head is not well-formed enough to forward", REPORT)
        }
        "maddr in the request-uri" => (
            "the call is accepted, and its Request-URI has `maddr`, which would lead it elsewhere",
            "remove `maddr` in the client",
        ),
        "route to elsewhere" => (
            "the call is accepted, and its Route leads elsewhere",
            "set the outbound proxy of the client to the edge alone",
        ),
        "loop" => (
            "the request has come through this edge before",
            "see why the next hop sends it back; let the PBX answer for its own users",
        ),
        "max-forwards is zero" => (
            "Max-Forwards of the request is zero",
            "see whether proxies on the way send it in a circle",
        ),
        "no next hop answers" => (
            "the call is accepted, and no next hop answers",
            "see which hops are down (`sip_authz_hop_up`), and the log for the reason",
        ),
        "dialog older than its life" => (
            "the forwarded call of the request is older than a call may be",
            "nothing if it is rare: the call has lasted longer than the routes of forwarded \
             calls are valid",
        ),
        "account of the dialog is not active" => (
            "the account of the forwarded call is no longer active",
            "set the account active again, unless it was suspended on purpose",
        ),
        "dialog of another next hop" => (
            "the request belongs to a forwarded call of another next hop",
            "see whether the addresses of the next hops changed during the call",
        ),
        "user name too long to forward" => (
            "the call is accepted, and its user name is too long for the route of the call",
            "give the user a shorter name",
        ),
        "token of a phone from outside" => (
            "a request with the route to a phone comes from outside",
            "nothing: only next hops may use such a route. If it is a next hop, let it send to \
             a listener that is marked `inside`",
        ),
        "method that no phone serves" => (
            "a request to a registered phone has a method that no phone serves",
            "see why the PBX sends it",
        ),
        "sips uri, and the way onward is not tls" => (
            "the request has a `sips:` URI, and the way to the phone or next hop is not over TLS",
            "let the phone register over TLS, or call it by a `sip:` URI",
        ),
        "flow of the phone is gone" => (
            "the connection of the registered phone is gone",
            "nothing: the phone registers again. If it happens often, let the phone register, \
             or send keep-alives, in shorter intervals",
        ),
        "request of a next hop without the token of a phone" => (
            "a next hop sends a request that has no route to a phone",
            "let the PBX keep the Path of registrations, or send its calls to a listener that \
             is not marked `inside`",
        ),
        "missing header Via" => (
            "the message has no Via, so no answer could reach its sender",
            "nothing if it is a probe; else report it to the maker of the client",
        ),
        "not sip" => (
            "the message is not SIP",
            "nothing if it is a probe; else see which program sends to the port of the edge",
        ),
        "malformed response" => (
            "a response is malformed, so it is not relayed",
            "report the response to the maker of the next hop or phone",
        ),
        "response from elsewhere" => (
            "a response comes from another peer than its request went to",
            "let the next hop answer from the address that it is called at",
        ),
        "too short for any answer" => (
            "the request is shorter than a third of any answer, so it gets none",
            "nothing: phones send longer requests",
        ),
        _ => return None,
    };
    Some(Words { meaning, advice })
}
