//! Reads the request of a caller, and writes it as a question.
#![allow(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use sip_authz::Transport;
use sip_authz_decide::{EncodeError, RequestWriter};

use crate::codes::{
    SIP_AUTHZ_SCTP, SIP_AUTHZ_TCP, SIP_AUTHZ_TLS, SIP_AUTHZ_TLS_SCTP, SIP_AUTHZ_UDP, SIP_AUTHZ_WS,
    SIP_AUTHZ_WSS,
};
use crate::failure::Failure;
use crate::raw;
use crate::types::{Header, Request};

/// A request of a caller, with lengths that were checked.
pub(crate) struct RequestParts<'a> {
    transport: Transport,
    source: SocketAddr,
    content: Content<'a>,
}

enum Content<'a> {
    Message(&'a [u8]),
    Parsed { method: &'a [u8], uri: &'a [u8], headers: Vec<(&'a [u8], &'a [u8])>, body: &'a [u8] },
}

impl<'a> RequestParts<'a> {
    /// Reads a request.
    ///
    /// # Safety
    ///
    /// `request` is NULL, or points to a request whose pointers have as many items as it says, and which
    /// all stay as they are for as long as `'a`.
    pub(crate) unsafe fn read(request: *const Request) -> Result<Self, Failure> {
        // SAFETY: as the caller promises.
        let request = unsafe { raw::read(request) }
            .ok_or_else(|| Failure::request("the request is NULL, or its struct_size too small"))?;
        // SAFETY: as the caller promises.
        let source_ip = unsafe { raw::slice(request.source_ip, request.source_ip_length) };
        let source = SocketAddr::new(ip_of(source_ip)?, request.source_port);
        let transport = transport_of(request.transport)?;
        // SAFETY: as the caller promises.
        let content = unsafe { content_of(&request) }?;
        Ok(Self { transport, source, content })
    }

    /// The frame of the question.
    pub(crate) fn encode(&self, id: u64) -> Result<Vec<u8>, Failure> {
        let mut frame = Vec::new();
        let writer = RequestWriter::new(&mut frame, id, self.transport.via_name(), self.source);
        let writer = match &self.content {
            Content::Message(message) => writer.message(message),
            Content::Parsed { method, uri, headers, body } => {
                let mut writer = writer.start_line(method, uri);
                for (name, value) in headers {
                    writer = writer.header(name, value);
                }
                writer.body(body)
            }
        };
        match writer.end() {
            Ok(()) => Ok(frame),
            Err(error @ EncodeError::TooLong) => Err(Failure::too_long(error.to_string())),
            Err(error) => Err(Failure::request(error.to_string())),
        }
    }
}

fn ip_of(bytes: Option<&[u8]>) -> Result<IpAddr, Failure> {
    let bytes = bytes.unwrap_or_default();
    let ip = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    ip.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| Failure::request("expected a source_ip of 4 or 16 bytes"))
}

fn transport_of(number: i32) -> Result<Transport, Failure> {
    Ok(match number {
        SIP_AUTHZ_UDP => Transport::Udp,
        SIP_AUTHZ_TCP => Transport::Tcp,
        SIP_AUTHZ_TLS => Transport::Tls,
        SIP_AUTHZ_SCTP => Transport::Sctp,
        SIP_AUTHZ_TLS_SCTP => Transport::TlsSctp,
        SIP_AUTHZ_WS => Transport::Ws,
        SIP_AUTHZ_WSS => Transport::Wss,
        other => return Err(Failure::request(format!("unknown transport {other}"))),
    })
}

/// # Safety
///
/// As for [`RequestParts::read`].
unsafe fn content_of<'a>(request: &Request) -> Result<Content<'a>, Failure> {
    let wrong = |name: &str| Failure::request(format!("`{name}` is NULL or has a wrong length"));
    // SAFETY: the caller promises that each pointer has as many items as the request says.
    let (message, method, uri, headers, body) = unsafe {
        (
            raw::bytes(request.message, request.message_length).ok_or_else(|| wrong("message"))?,
            raw::bytes(request.method, request.method_length).ok_or_else(|| wrong("method"))?,
            raw::bytes(request.uri, request.uri_length).ok_or_else(|| wrong("uri"))?,
            raw::slice(request.headers, request.header_count).ok_or_else(|| wrong("headers"))?,
            raw::bytes(request.body, request.body_length).ok_or_else(|| wrong("body"))?,
        )
    };
    let has_parts = !(method.is_empty() && uri.is_empty() && headers.is_empty() && body.is_empty());
    match (request.message.is_null(), has_parts) {
        (false, false) => Ok(Content::Message(message)),
        // the two could be two different requests
        (false, true) => Err(Failure::request("expected a message or its parts, got both")),
        (true, false) => Err(Failure::request("expected a message or its parts, got neither")),
        (true, true) => {
            // SAFETY: as above.
            let headers = headers.iter().map(|header| unsafe { header_of(header) });
            let headers = headers.collect::<Option<_>>().ok_or_else(|| wrong("header"))?;
            Ok(Content::Parsed { method, uri, headers, body })
        }
    }
}

/// # Safety
///
/// As for [`RequestParts::read`].
unsafe fn header_of<'a>(header: &Header) -> Option<(&'a [u8], &'a [u8])> {
    // SAFETY: as the caller promises.
    let (name, value) = unsafe {
        (raw::bytes(header.name, header.name_length), raw::bytes(header.value, header.value_length))
    };
    Some((name?, value?))
}
