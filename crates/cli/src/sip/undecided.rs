//! Messages that are not decided: their causes, and their answers if they get any.

use sip_authz::Transport;
use sip_authz::message::{Defect, Header, Message, StartLine};

use crate::observe::cause::Cause;
use crate::sip::respond::{Echo, phrase};

/// Removes the line ends before the start line of a datagram. On a stream they were removed when it was
/// cut into messages.
pub(crate) fn without_leading_lines(bytes: &[u8], transport: Transport) -> &[u8] {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match bytes {
        [b'\r' | b'\n', ..] if transport == Transport::Udp => {
            let start = bytes.iter().position(|byte| !is_line_end(byte));
            bytes.get(start.unwrap_or(bytes.len())..).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// The cause for bytes that do not begin as a SIP message.
pub(crate) fn cause_of_garbage(bytes: &[u8]) -> Cause {
    // phones send such datagrams to keep their NAT bindings open (RFC 5626 §4.4)
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'\t' | b' ' | 0)) {
        return Cause::KeepAlive;
    }
    match bytes {
        // RFC 8489 §5: two zero bits, and the magic cookie
        [0..=0x3f, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => Cause::Stun,
        _ => Cause::NotSip,
    }
}

/// The defect for which a request is refused. This is the one place where requests on a stream are
/// refused for more than those in a datagram.
pub(super) fn defect_of(message: &Message<'_>, transport: Transport) -> Option<Defect> {
    match transport {
        Transport::Udp => message.defect(),
        _ => message.stream_defect(),
    }
}

/// Whether nothing may be read after a message on a stream, because its head has a defect.
pub(super) fn ends_stream(message: &Message<'_>) -> bool {
    match (message.start_line(), message.stream_defect()) {
        // a response is not answered, and the fields that it lacks do not move its end
        (StartLine::Response { .. }, Some(Defect::Missing(_))) => false,
        (_, defect) => defect.is_some(),
    }
}

/// Answers a request with a defect.
pub(super) fn refuse(echo: &Echo<'_>, defect: Defect, out: &mut Vec<u8>) -> Cause {
    if defect == Defect::Version {
        echo.respond(505, "Version Not Supported", out).end();
        return Cause::Version;
    }
    bad_request(echo, &defect, defect.into(), out)
}

/// Answers 400 with a detail.
pub(super) fn bad_request(
    echo: &Echo<'_>,
    detail: &dyn std::fmt::Display,
    cause: Cause,
    out: &mut Vec<u8>,
) -> Cause {
    echo.respond(400, &phrase("Bad Request", detail), out).end();
    cause
}

/// Answers 420: no extension is supported (RFC 3261 §8.2.2.3).
pub(super) fn bad_extension(echo: &Echo<'_>, out: &mut Vec<u8>) -> Cause {
    let mut response = echo.respond(420, "Bad Extension", out);
    for field in echo.message().fields().filter(|field| field.header == Header::Require) {
        response = response.echo("Unsupported", field.value);
    }
    response.end();
    Cause::Extension
}
