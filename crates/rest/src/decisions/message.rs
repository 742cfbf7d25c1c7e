//! Messages to explain: as a person wrote them, or made of their parts.

use std::net::SocketAddr;

use sip_authz::Transport;

use crate::error::excerpt;

/// The From of a caller that does not tell its own (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// A message from a file or a form, with the line ends of SIP.
///
/// A head without any CRLF was written by hand: its line ends become CRLF. Other heads stay as they are, since
/// a client may have sent bare line ends. A missing blank line at the end of the head is added. The body is
/// never changed, since an `auth-int` digest may cover it.
#[must_use]
pub fn with_line_ends(message: &[u8]) -> Vec<u8> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    // line ends before a request are no blank line after its head (RFC 3261 §7.5)
    let Some(start) = message.iter().position(|byte| !is_line_end(byte)) else {
        return message.to_vec();
    };
    let lines = message.get(start..).unwrap_or_default();
    let lf = lines.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2);
    let crlf = lines.windows(3).position(|bytes| bytes == b"\n\r\n").map(|at| at + 3);
    let end = lf.into_iter().chain(crlf).min();
    let (head, body) =
        message.split_at_checked(start + end.unwrap_or(lines.len())).unwrap_or((message, &[]));
    let mut text = Vec::with_capacity(message.len() + 64);
    if head.windows(2).any(|pair| pair == b"\r\n") {
        text.extend_from_slice(head);
    } else {
        for byte in head {
            if *byte == b'\n' {
                text.push(b'\r');
            }
            text.push(*byte);
        }
    }
    if end.is_none() {
        let missing: &[u8] = if text.ends_with(b"\n") { b"\r\n" } else { b"\r\n\r\n" };
        text.extend_from_slice(missing);
    }
    text.extend_from_slice(body);
    text
}

/// The parts of a request without credentials. An empty part counts as absent.
///
/// Either [`request_uri`](Self::request_uri) or [`domain`](Self::domain) is required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestParts<'p> {
    /// The method. The default is `INVITE`.
    pub method: Option<&'p str>,
    /// The Request-URI.
    pub request_uri: Option<&'p str>,
    /// The host name of the domain or trunk. It gives the Request-URI, and the host of `to` and `from`.
    pub domain: Option<&'p str>,
    /// The URI in To, or its user beside `domain`. The default is the Request-URI.
    pub to: Option<&'p str>,
    /// The URI in From, or its user beside `domain`. The default is anonymous (RFC 3323 §4.1.1.3).
    pub from: Option<&'p str>,
}

/// The error of parts that make no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// A part that could end its header field, or that needs another part.
    #[error("{part} must be {expected}, got `{found}`")]
    Invalid {
        /// The name of the part.
        part: &'static str,
        /// The expected text.
        expected: &'static str,
        /// The start of the text that was given.
        found: String,
    },
    /// Both the Request-URI and the domain are given.
    #[error("Domain must be absent beside RequestUri")]
    DomainBesideUri,
    /// Neither the Request-URI nor the domain is given.
    #[error("Message, RequestUri or Domain is required")]
    NoHost,
}

impl<'p> RequestParts<'p> {
    /// The request, with one Via and a Contact of the source.
    ///
    /// # Errors
    ///
    /// A part has characters that could end its header field, or the host is missing or named twice.
    pub fn message(&self, source: SocketAddr, transport: Transport) -> Result<Vec<u8>, PartsError> {
        let method = part("Method", self.method)?.unwrap_or("INVITE");
        if !method.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)) {
            return Err(invalid("Method", "the name of a SIP method", method));
        }
        let domain = part("Domain", self.domain)?;
        let (to, from) = (part("To", self.to)?, part("From", self.from)?);
        // the URI of a user, which stands for `sip:USER@DOMAIN` where there is a domain
        let address = |name, user: &'p str| match domain {
            _ if has_scheme(user) => Ok(user.to_owned()),
            Some(domain) => Ok(format!("sip:{user}@{domain}")),
            None => Err(invalid(name, "a SIP URI, or a user beside Domain", user)),
        };
        let to = to.map(|user| address("To", user)).transpose()?;
        let from = from.map(|user| address("From", user)).transpose()?;
        let from = from.as_deref().unwrap_or(ANONYMOUS);
        let uri = match (part("RequestUri", self.request_uri)?, domain, &to) {
            (Some(_), Some(_), _) => return Err(PartsError::DomainBesideUri),
            (Some(uri), None, _) => uri.to_owned(),
            // a registration is for the domain, and To names its user
            (None, Some(_), Some(to)) if method != "REGISTER" => to.clone(),
            (None, Some(domain), _) => format!("sip:{domain}"),
            (None, None, _) => return Err(PartsError::NoHost),
        };
        let to = to.as_ref().unwrap_or(&uri);
        let via = transport.via_name();
        Ok(format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/{via} {source};branch=z9hG4bK-explain\r\n\
             Max-Forwards: 70\r\n\
             From: <{from}>;tag=explain\r\n\
             To: <{to}>\r\n\
             Call-ID: explain\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:{source}>\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .into_bytes())
    }
}

fn has_scheme(text: &str) -> bool {
    text.starts_with("sip:") || text.starts_with("sips:")
}

/// A part of the message. It must not end the header field in which it stands.
fn part<'p>(name: &'static str, text: Option<&'p str>) -> Result<Option<&'p str>, PartsError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"".contains(c)) {
        let expected = "a text without spaces, control characters, quotes and angle brackets";
        return Err(invalid(name, expected, text));
    }
    Ok(Some(text))
}

fn invalid(part: &'static str, expected: &'static str, found: &str) -> PartsError {
    PartsError::Invalid { part, expected, found: excerpt(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gets_line_ends_and_a_blank_line_and_the_body_stays() {
        for (given, expected) in [
            ("A b\nc: d\n\ne\nf\n", "A b\r\nc: d\r\n\r\ne\nf\n"),
            ("A b\nc: d\n\ne\r\nf\r\n\r\n", "A b\r\nc: d\r\n\r\ne\r\nf\r\n\r\n"),
            ("A b\nc: d\n\n", "A b\r\nc: d\r\n\r\n"),
            ("A b\nc: d\n", "A b\r\nc: d\r\n\r\n"),
            ("A b\nc: d", "A b\r\nc: d\r\n\r\n"),
            // the blank line alone is missing
            ("A b\r\nc: d", "A b\r\nc: d\r\n\r\n"),
            ("A b\r\nc: d\r\n", "A b\r\nc: d\r\n\r\n"),
            // line ends before the request
            ("\n\nA b\nc: d\n\ne\n", "\r\n\r\nA b\r\nc: d\r\n\r\ne\n"),
            ("\r\n\r\nA b\r\nc: d\r\n", "\r\n\r\nA b\r\nc: d\r\n\r\n"),
            // as from the wire
            ("A b\r\nc: d\r\n\r\ne\nf\n", "A b\r\nc: d\r\n\r\ne\nf\n"),
            ("A b\r\nc: d\ne: f\r\n\r\n", "A b\r\nc: d\ne: f\r\n\r\n"),
            ("A b\r\nc: d\n\ne\r\n\r\n", "A b\r\nc: d\n\ne\r\n\r\n"),
            ("", ""),
            ("\n", "\n"),
        ] {
            let text = String::from_utf8(with_line_ends(given.as_bytes())).unwrap();
            assert_eq!(text, expected, "{given:?}");
            let again = String::from_utf8(with_line_ends(text.as_bytes())).unwrap();
            assert_eq!(again, text, "{given:?}");
        }
    }

    #[test]
    fn parts_make_a_request_or_name_their_error() {
        let source = "192.0.2.7:5060".parse().unwrap();
        let make = |parts: RequestParts<'_>| parts.message(source, Transport::Tls);
        let domain = RequestParts { domain: Some("a.example"), ..RequestParts::default() };
        let text = String::from_utf8(make(domain).unwrap()).unwrap();
        assert!(
            text.starts_with("INVITE sip:a.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.7:5060;")
        );
        assert_eq!(make(RequestParts { to: Some(""), ..domain }).unwrap(), text.as_bytes());
        assert_eq!(make(RequestParts::default()), Err(PartsError::NoHost));
        let both = RequestParts { request_uri: Some("sip:a"), ..domain };
        assert_eq!(make(both), Err(PartsError::DomainBesideUri));
        for hostile in ["a SIP/2.0\r\nX: y", "<a>", "a\u{85}", "\"a"] {
            let parts = RequestParts { domain: Some(hostile), ..RequestParts::default() };
            let error = make(parts).unwrap_err();
            assert!(matches!(error, PartsError::Invalid { part: "Domain", .. }), "{error}");
        }
    }
}
