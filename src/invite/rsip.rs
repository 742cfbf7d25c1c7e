//! An INVITE from a request that the rsip crate has parsed.
//!
//! Only rsip's message, its header values as text and its URI are used; credentials are read from
//! the header's own text.

use std::net::SocketAddr;

use rsip::prelude::UntypedHeader;
use rsip::{Header, Method, Request};

use super::{CredentialsField, Invite, InviteError, Transaction, Transport};
use crate::message::{Defect, Header as Field};

impl<'a> Invite<'a> {
    /// Takes the facts from `request`, which came from `source` over `transport`.
    ///
    /// Everything is borrowed but the Request-URI: rsip keeps its parts and not its text, so it is
    /// written anew.
    ///
    /// # Errors
    ///
    /// [`InviteError::NotInvite`] for another method, [`InviteError::Missing`] if From, To, Call-ID,
    /// `CSeq` or Via is not there, [`InviteError::Defect`] if one of them but Via is there twice, or
    /// the body is shorter than Content-Length says.
    pub fn from_rsip(
        request: &'a Request,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        if request.method != Method::Invite {
            return Err(InviteError::NotInvite);
        }
        let mut invite = Self::new(request.uri.to_string(), source, transport);
        let (mut from, mut to, mut call_id, mut cseq) = (None, None, None, None);
        let (mut via, mut length) = (None, None);
        for header in request.headers.iter() {
            match header {
                Header::Authorization(header) => {
                    let value = header.value().as_bytes();
                    invite = invite.with_credentials(CredentialsField::Authorization, value);
                }
                Header::ProxyAuthorization(header) => {
                    let value = header.value().as_bytes();
                    invite = invite.with_credentials(CredentialsField::ProxyAuthorization, value);
                }
                Header::From(header) => once(&mut from, Field::From, header.value())?,
                Header::To(header) => once(&mut to, Field::To, header.value())?,
                Header::CallId(header) => once(&mut call_id, Field::CallId, header.value())?,
                Header::CSeq(header) => once(&mut cseq, Field::CSeq, header.value())?,
                Header::ContentLength(header) => {
                    once(&mut length, Field::ContentLength, header.value())?;
                }
                // the topmost counts
                Header::Via(header) if via.is_none() => via = Some(header.value()),
                _ => {}
            }
        }
        let there = |field: Field, value: Option<&'a str>| {
            value.map(str::as_bytes).ok_or(InviteError::Missing(field.name()))
        };
        Ok(invite.with_body(body(request, length)?).with_transaction(Transaction {
            from: there(Field::From, from)?,
            to: there(Field::To, to)?,
            call_id: there(Field::CallId, call_id)?,
            cseq: there(Field::CSeq, cseq)?,
            via: there(Field::Via, via)?,
        }))
    }
}

/// Takes the value of a header that a message has once; rsip lets it stand twice.
fn once<'a>(place: &mut Option<&'a str>, field: Field, value: &'a str) -> Result<(), InviteError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(InviteError::Defect(Defect::Repeated(field))),
    }
}

/// The bytes of the body that Content-Length counts, if they are all there (RFC 3261 §18.3).
fn body<'a>(request: &'a Request, length: Option<&str>) -> Result<&'a [u8], InviteError> {
    let Some(length) = length else { return Ok(&request.body) };
    let length = length.trim().parse().map_err(|_| InviteError::Defect(Defect::ContentLength))?;
    request.body.get(..length).ok_or(InviteError::Defect(Defect::BodyTooShort))
}
