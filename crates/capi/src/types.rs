//! The structs of the interface. cbindgen gives them their names in C.

use std::ffi::{c_char, c_void};

/// Settings of `sip_authz_open`. Only services use them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `sizeof(struct sip_authz_options)`.
    pub struct_size: u32,
    /// The time for a decision of a service, with the time to connect, in milliseconds. 0 means 1000.
    pub timeout_ms: u32,
    /// The token of a `tcp:` service, ended by NUL; NULL for none. The library keeps a copy.
    pub token: *const c_char,
}

/// A header of a request. This struct never changes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The name, without the colon.
    pub name: *const c_char,
    /// The length of the name.
    pub name_length: usize,
    /// The value.
    pub value: *const c_char,
    /// The length of the value.
    pub value_length: usize,
}

/// A request from outside a dialog. Set the struct to zeros first, then `struct_size`. Pointers with the
/// length 0 may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `sizeof(struct sip_authz_request)`.
    pub struct_size: u32,
    /// `SIP_AUTHZ_UDP` and so on: how the host received the request.
    pub transport: i32,
    /// The source address of the request, 4 or 16 bytes in network order.
    pub source_ip: *const u8,
    /// 4 or 16.
    pub source_ip_length: usize,
    /// The source port, in the byte order of the host.
    pub source_port: u16,
    /// The message as received. NULL if the parts below are set.
    pub message: *const c_char,
    /// The length of the message.
    pub message_length: usize,
    /// The method of a parsed request.
    pub method: *const c_char,
    /// The length of the method.
    pub method_length: usize,
    /// The Request-URI as received, not unescaped.
    pub uri: *const c_char,
    /// The length of the Request-URI.
    pub uri_length: usize,
    /// All headers in the order of the message, repeated ones too.
    pub headers: *const Header,
    /// The number of headers.
    pub header_count: usize,
    /// The body.
    pub body: *const c_char,
    /// The length of the body.
    pub body_length: usize,
}

/// The answer to a request. Set the struct to zeros first, then `struct_size`.
///
/// After `sip_authz_decide` no text is NULL, and each ends with NUL: `""` if there is none. They are valid
/// until `sip_authz_answer_clear`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// `sizeof(struct sip_authz_answer)`.
    pub struct_size: u32,
    /// `SIP_AUTHZ_ACCEPT` and so on. Everything but `SIP_AUTHZ_ACCEPT` is a refusal.
    pub outcome: i32,
    /// The status of the response; 0 if there is no response.
    pub status: i32,
    /// 1 for a retransmission of an accepted request, which is no new call.
    pub is_retransmission: i32,
    /// The credentials header that admitted the request: its index among the headers of its name, from 0;
    /// -1 for none. Remove it before the request is forwarded.
    pub used_header_index: i32,
    /// The name of that header.
    pub used_header_name: *const c_char,
    /// The reason phrase of the status.
    pub phrase: *const c_char,
    /// All header lines for the response, each with CRLF.
    pub header_lines: *const c_char,
    /// The SID of the account, of an accept.
    pub account: *const c_char,
    /// The SID of the domain or trunk of the Request-URI.
    pub target: *const c_char,
    /// Its host name.
    pub target_name: *const c_char,
    /// The proved user name, of an accept by digest.
    pub user: *const c_char,
    /// The permissions of the caller, separated by commas.
    pub permissions: *const c_char,
    /// The reason, for logs only. After an error the text of the result.
    pub reason: *const c_char,
    /// The internal cause, for logs only. After an error its detail.
    pub cause: *const c_char,
    /// The memory of the texts. It belongs to the library.
    pub memory: *mut c_void,
}

/// The number of decisions of a handle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// `sizeof(struct sip_authz_counts)`.
    pub struct_size: u32,
    /// Answers with the outcome `SIP_AUTHZ_ACCEPT`.
    pub accepted: u64,
    /// Answers with the outcome `SIP_AUTHZ_CHALLENGE`.
    pub challenged: u64,
    /// Answers with the outcome `SIP_AUTHZ_REJECT`.
    pub rejected: u64,
    /// Answers with the outcome `SIP_AUTHZ_UNDECIDED`, without those after an error.
    pub undecided: u64,
    /// Errors, and answers with the outcome `SIP_AUTHZ_OVERLOADED`.
    pub failed: u64,
}
