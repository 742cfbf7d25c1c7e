//! Messages that are not decided: their causes, and their answers if they get any.

use sip_authz::Transport;
use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz_decide::engine::Garbage;
pub(crate) use sip_authz_decide::engine::without_leading_lines;

use crate::observe::cause::Cause;
use crate::sip::respond::{Echo, phrase};

/// The cause for bytes that do not begin as a SIP message.
pub(crate) fn cause_of_garbage(bytes: &[u8]) -> Cause {
    Garbage::of(bytes).into()
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
