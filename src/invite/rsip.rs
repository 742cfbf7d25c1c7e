//! An INVITE from a request that the rsip crate has parsed.
//!
//! Only rsip's message, its header values as text and its URI are used; credentials are read from
//! the header's own text.

use std::net::SocketAddr;

use rsip::message::HeadersExt;
use rsip::prelude::UntypedHeader;
use rsip::{Header, Method, Request};

use super::{CredentialsField, Invite, InviteError, Transaction, Transport};
use crate::message::Defect;

impl<'a> Invite<'a> {
    /// Takes the facts from `request`, which came from `source` over `transport`.
    ///
    /// Everything is borrowed but the Request-URI: rsip keeps its parts and not its text, so it is
    /// written anew.
    ///
    /// # Errors
    ///
    /// [`InviteError::NotInvite`] for another method, [`InviteError::Missing`] if From, To, Call-ID,
    /// `CSeq` or Via is not there, [`InviteError::Defect`] if the body is shorter than Content-Length
    /// says.
    pub fn from_rsip(
        request: &'a Request,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        if request.method != Method::Invite {
            return Err(InviteError::NotInvite);
        }
        let mut invite = Self::new(request.uri.to_string(), source, transport)
            .with_body(body(request).ok_or(InviteError::Defect(Defect::BodyTooShort))?);
        for header in request.headers.iter() {
            let (field, value) = match header {
                Header::Authorization(header) => (CredentialsField::Authorization, header.value()),
                Header::ProxyAuthorization(header) => {
                    (CredentialsField::ProxyAuthorization, header.value())
                }
                _ => continue,
            };
            invite = invite.with_credentials(field, value.as_bytes());
        }
        let missing = |name| move |_| InviteError::Missing(name);
        Ok(invite.with_transaction(Transaction {
            from: request.from_header().map_err(missing("From"))?.value().as_bytes(),
            to: request.to_header().map_err(missing("To"))?.value().as_bytes(),
            call_id: request.call_id_header().map_err(missing("Call-ID"))?.value().as_bytes(),
            cseq: request.cseq_header().map_err(missing("CSeq"))?.value().as_bytes(),
            via: request.via_header().map_err(missing("Via"))?.value().as_bytes(),
        }))
    }
}

/// The bytes of the body that Content-Length counts, if they are all there (RFC 3261 §18.3).
fn body(request: &Request) -> Option<&[u8]> {
    let length = request.headers.iter().find_map(|header| match header {
        Header::ContentLength(length) => Some(length.value().trim().parse()),
        _ => None,
    });
    match length {
        None => Some(&request.body),
        Some(length) => request.body.get(..length.ok()?),
    }
}
