//! Reads an INVITE from a request parsed by the rsip crate.
//!
//! Uses only rsip's message, URI and header texts; credentials are parsed from the header text.

use std::net::{IpAddr, SocketAddr};

use rsip::prelude::UntypedHeader;
use rsip::{Header, Method, Request};

use super::{CredentialsField, Invite, InviteError, Transport};
use crate::message::{Defect, Header as Field, number, trim};
use crate::uri::{Host, SipUri};

impl<'a> Invite<'a> {
    /// Takes the parts from `request`, received from `source` over `transport`.
    ///
    /// Everything is borrowed except the Request-URI, which is formatted again because rsip keeps
    /// only its parts, and over UDP a copy of all fields, by which a retransmission is recognised.
    ///
    /// # Errors
    ///
    /// - [`InviteError::NotInvite`] for another method.
    /// - [`InviteError::HostMismatch`] if rsip has read another host in the Request-URI than
    ///   [`SipUri::parse_request_uri`] does. A decision for one host must not admit a call to
    ///   another. rsip 0.4 takes a user with a dot, and the headers of a URI, for a part of the
    ///   host: `sip:john.doe@example.com`. Use [`Invite::from_datagram`] for such calls.
    /// - [`InviteError::Missing`] if From, To, Call-ID, `CSeq` or Via is missing.
    /// - [`InviteError::Defect`] if From, To, Call-ID, `CSeq` or Content-Length is repeated, by its
    ///   long or compact name. Also if Content-Length is not digits only or exceeds the body.
    pub fn from_rsip(
        request: &'a Request,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        if request.method != Method::Invite {
            return Err(InviteError::NotInvite);
        }
        let uri = request.uri.to_string();
        // a URI that cannot be read names no host, and the decision rejects it
        if SipUri::parse_request_uri(&uri).is_ok_and(|uri| !is_host(request.uri.host(), uri.host)) {
            return Err(InviteError::HostMismatch);
        }
        let mut invite = Self::new(uri, source, transport);
        let (mut from, mut to, mut call_id, mut cseq) = (None, None, None, None);
        let (mut via, mut length) = (None, None);
        for header in request.headers.iter() {
            let (field, value) = match header {
                Header::Authorization(header) => (Field::Authorization, header.value()),
                Header::ProxyAuthorization(header) => (Field::ProxyAuthorization, header.value()),
                Header::From(header) => (Field::From, header.value()),
                Header::To(header) => (Field::To, header.value()),
                Header::CallId(header) => (Field::CallId, header.value()),
                Header::CSeq(header) => (Field::CSeq, header.value()),
                Header::ContentLength(header) => (Field::ContentLength, header.value()),
                Header::Via(header) => (Field::Via, header.value()),
                // compact names, which rsip does not know
                Header::Other(name, value) => (Field::of(trim(name.as_bytes())), value.as_str()),
                _ => continue,
            };
            match field {
                Field::Authorization => {
                    let value = value.as_bytes();
                    invite = invite.with_credentials(CredentialsField::Authorization, value);
                }
                Field::ProxyAuthorization => {
                    let value = value.as_bytes();
                    invite = invite.with_credentials(CredentialsField::ProxyAuthorization, value);
                }
                Field::From => once(&mut from, field, value)?,
                Field::To => once(&mut to, field, value)?,
                Field::CallId => once(&mut call_id, field, value)?,
                Field::CSeq => once(&mut cseq, field, value)?,
                Field::ContentLength => once(&mut length, field, value)?,
                // only the topmost Via counts
                Field::Via if via.is_none() => via = Some(value),
                _ => {}
            }
        }
        for (field, value) in [
            (Field::From, from),
            (Field::To, to),
            (Field::CallId, call_id),
            (Field::CSeq, cseq),
            (Field::Via, via),
        ] {
            value.ok_or(InviteError::Missing(field.name()))?;
        }
        invite.from = from.map(str::as_bytes);
        invite.body = body(request, length)?;
        if transport.retransmits() {
            invite.received = Some(all_fields(request).into());
        }
        Ok(invite)
    }
}

/// A text that two requests share only if all their fields and bodies are equal: each part after its
/// length.
fn all_fields(request: &Request) -> Vec<u8> {
    let mut text = Vec::new();
    let mut add = |part: &[u8]| {
        text.extend_from_slice(&part.len().to_le_bytes());
        text.extend_from_slice(part);
    };
    add(request.uri.to_string().as_bytes());
    for header in request.headers.iter() {
        add(header.to_string().as_bytes());
    }
    add(&request.body);
    text
}

/// Whether `ours` is the host that rsip has read.
fn is_host(theirs: &rsip::Host, ours: &str) -> bool {
    let canonical = match theirs {
        rsip::Host::Domain(name) if name.to_string().eq_ignore_ascii_case(ours) => return true,
        rsip::Host::Domain(name) => Host::parse(&name.to_string()),
        rsip::Host::IpAddr(IpAddr::V4(address)) => Host::parse(&address.to_string()),
        rsip::Host::IpAddr(IpAddr::V6(address)) => Host::parse(&format!("[{address}]")),
    };
    canonical.is_ok_and(|theirs| Host::parse(ours).is_ok_and(|ours| ours == theirs))
}

/// Stores the value of a header that must be single; rsip allows repeated ones.
fn once<'a>(place: &mut Option<&'a str>, field: Field, value: &'a str) -> Result<(), InviteError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(InviteError::Defect(Defect::Repeated(field))),
    }
}

/// The body by Content-Length, if it is complete (RFC 3261 §18.3).
fn body<'a>(request: &'a Request, length: Option<&str>) -> Result<&'a [u8], InviteError> {
    let Some(length) = length else { return Ok(&request.body) };
    let length = number(trim(length.as_bytes()));
    let length = length.ok_or(InviteError::Defect(Defect::ContentLength))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    request.body.get(..length).ok_or(InviteError::Defect(Defect::BodyTooShort))
}
