//! The numbers of the interface.

use std::ffi::CStr;

/// The version of this interface. It is unstable until 1.0: compare it with `sip_authz_abi_version()`.
pub const SIP_AUTHZ_ABI_VERSION: u32 = 1;

/// The result of a function: `SIP_AUTHZ_OK`, or an error.
pub type ResultCode = i32;

/// Success.
pub const SIP_AUTHZ_OK: i32 = 0;
/// An argument is wrong.
pub const SIP_AUTHZ_ARGUMENT: i32 = 1;
/// The configuration is wrong.
pub const SIP_AUTHZ_CONFIG: i32 = 2;
/// The system refused a file, memory or random numbers.
pub const SIP_AUTHZ_SYSTEM: i32 = 3;
/// There is no connection to the service, or it ended.
pub const SIP_AUTHZ_UNREACHABLE: i32 = 4;
/// The service did not answer in time.
pub const SIP_AUTHZ_TIMEOUT: i32 = 5;
/// The service sent something other than an answer to the request.
pub const SIP_AUTHZ_PROTOCOL: i32 = 6;
/// The service refused this client: its user, token, version or number of connections.
pub const SIP_AUTHZ_REFUSED: i32 = 7;
/// The request does not fit into a frame.
pub const SIP_AUTHZ_TOO_LONG: i32 = 8;
/// Another process opened the handle: fork first, then open.
pub const SIP_AUTHZ_OTHER_PROCESS: i32 = 9;
/// This kind of handle does not have the function.
pub const SIP_AUTHZ_UNSUPPORTED: i32 = 10;
/// An earlier call failed within the library, so the handle refuses.
pub const SIP_AUTHZ_POISONED: i32 = 11;
/// This call failed within the library, and poisoned the handle.
pub const SIP_AUTHZ_PANIC: i32 = 12;

/// The request may pass. Every other outcome is a refusal.
pub const SIP_AUTHZ_ACCEPT: i32 = 1;
/// Credentials are needed.
pub const SIP_AUTHZ_CHALLENGE: i32 = 2;
/// The request must not pass.
pub const SIP_AUTHZ_REJECT: i32 = 3;
/// The message is not well-formed or of a kind that is not decided, or an error prevented a decision.
pub const SIP_AUTHZ_UNDECIDED: i32 = 4;
/// Too many requests wait at the service; nothing was decided.
pub const SIP_AUTHZ_OVERLOADED: i32 = 5;

/// UDP.
pub const SIP_AUTHZ_UDP: i32 = 1;
/// TCP.
pub const SIP_AUTHZ_TCP: i32 = 2;
/// TLS over TCP.
pub const SIP_AUTHZ_TLS: i32 = 3;
/// SCTP.
pub const SIP_AUTHZ_SCTP: i32 = 4;
/// TLS over SCTP.
pub const SIP_AUTHZ_TLS_SCTP: i32 = 5;
/// WebSocket.
pub const SIP_AUTHZ_WS: i32 = 6;
/// WebSocket over TLS.
pub const SIP_AUTHZ_WSS: i32 = 7;

/// The text of a result.
pub(crate) fn text_of(result: ResultCode) -> &'static CStr {
    match result {
        SIP_AUTHZ_OK => c"success",
        SIP_AUTHZ_ARGUMENT => c"wrong argument",
        SIP_AUTHZ_CONFIG => c"wrong configuration",
        SIP_AUTHZ_SYSTEM => c"refused by the system",
        SIP_AUTHZ_UNREACHABLE => c"no connection to the service",
        SIP_AUTHZ_TIMEOUT => c"no answer in time",
        SIP_AUTHZ_PROTOCOL => c"no valid answer of the service",
        SIP_AUTHZ_REFUSED => c"refused by the service",
        SIP_AUTHZ_TOO_LONG => c"request too long",
        SIP_AUTHZ_OTHER_PROCESS => c"handle of another process",
        SIP_AUTHZ_UNSUPPORTED => c"not supported by this kind of handle",
        SIP_AUTHZ_POISONED => c"handle refuses after an internal error",
        SIP_AUTHZ_PANIC => c"internal error",
        _ => c"unknown result",
    }
}
