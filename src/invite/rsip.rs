//! Reads an INVITE from a request parsed by the rsip crate.
//!
//! Uses only rsip's message, URI and header texts; credentials are parsed from the header text.

use std::net::{IpAddr, SocketAddr};

use rsip::prelude::UntypedHeader;
use rsip::{Header, Method, Request, Version};

use super::{Invite, InviteError, Transport};
use crate::message::Defect;
use crate::uri::{Host, SipUri};

impl<'a> Invite<'a> {
    /// Takes the parts from `request`, received from `source` over `transport`.
    ///
    /// The checks are those of [`Self::from_fields`]. Everything is borrowed except the Request-URI,
    /// which is formatted again because rsip keeps only its parts, and over UDP a copy of all fields,
    /// by which a retransmission is recognised.
    ///
    /// Beyond the list of [`Self::from_fields`], rsip 0.4 hides the following flaws, so use
    /// [`Self::from_datagram`] if the program has the bytes:
    ///
    /// - a method in another case. `invite` is refused only if CSeq does not name INVITE,
    /// - a sign or leading zeros of the port, `sip:100@example.com:+5060`,
    /// - a SIP version 2 with another minor number, `SIP/2.1`.
    ///
    /// # Errors
    ///
    /// - [`InviteError::NotInvite`] for another method.
    /// - [`InviteError::HostMismatch`] if rsip has read another host in the Request-URI than
    ///   [`SipUri::parse_request_uri`] does. A decision for one host must not admit a call to
    ///   another. rsip 0.4 takes a user with a dot, and the headers of a URI, for a part of the
    ///   host: `sip:john.doe@example.com`. Use [`Invite::from_datagram`] for such calls.
    /// - [`InviteError::Defect`] for SIP version 1, and as for [`Self::from_fields`].
    pub fn from_rsip(
        request: &'a Request,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        if request.method != Method::Invite {
            return Err(InviteError::NotInvite);
        }
        if request.version != Version::V2 {
            return Err(InviteError::Defect(Defect::Version));
        }
        let uri = request.uri.to_string();
        // a URI that cannot be read names no host, and the decision rejects it
        if SipUri::parse_request_uri(&uri).is_ok_and(|uri| !is_host(request.uri.host(), uri.host)) {
            return Err(InviteError::HostMismatch);
        }
        let fields = request.headers.iter().map(name_and_value);
        Self::from_fields("INVITE", uri, fields, &request.body, source, transport)
    }
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

/// Defines [`name_and_value`] from the names of all headers that rsip knows.
macro_rules! headers {
    ($($variant:ident $name:literal,)*) => {
        /// The header as name and value. rsip keeps compact names and unknown ones as sent.
        fn name_and_value(header: &Header) -> (&str, &str) {
            match header {
                $(Header::$variant(header) => ($name, header.value()),)*
                Header::Other(name, value) => (name, value),
            }
        }

        #[cfg(test)]
        const KNOWN: &[&str] = &[$($name),*];
    };
}

headers! {
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CSeq "CSeq",
    CallId "Call-ID",
    CallInfo "Call-Info",
    Contact "Contact",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding",
    ContentLanguage "Content-Language",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    Date "Date",
    ErrorInfo "Error-Info",
    Event "Event",
    Expires "Expires",
    From "From",
    InReplyTo "In-Reply-To",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    Organization "Organization",
    Priority "Priority",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RecordRoute "Record-Route",
    ReplyTo "Reply-To",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    Server "Server",
    Subject "Subject",
    SubscriptionState "Subscription-State",
    Supported "Supported",
    Timestamp "Timestamp",
    To "To",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Via "Via",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_header_has_the_name_that_rsip_writes() {
        let others = ["v", "L", "X-Y"];
        let lines = |names: &[&str]| {
            let fields = names.iter().map(|name| format!("{name}: value of {name}\r\n"));
            format!("INVITE sip:a@b SIP/2.0\r\n{}\r\n", fields.collect::<String>())
        };
        let all: Vec<&str> = KNOWN.iter().copied().chain(others).collect();
        let request = Request::try_from(lines(&all).as_bytes()).unwrap();
        let mut compared = 0;
        for (header, sent) in request.headers.iter().zip(&all) {
            let (name, value) = name_and_value(header);
            assert!(name.eq_ignore_ascii_case(sent), "{name}, sent as {sent}");
            assert_eq!(value, format!("value of {sent}"));
            compared += 1;
        }
        assert_eq!(compared, all.len());
    }
}
