//! The check of a message before it is forwarded.

use memchr::{memchr, memchr3};
use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz::uri::{NameAddr, Scheme, SipUri, name_addr};

use crate::fields::{Values, is_token_byte, quoted_len, raw_fields};
use crate::via::ViaParts;

/// A message whose fields that decide at every hop are well-formed, and single where they must be.
///
/// These are the start line, Via, From, To, Call-ID, CSeq, Max-Forwards, Route, Record-Route, Contact
/// and Content-Length. They have no fold. In the whole head, each line ends in CRLF, each colon follows
/// its name at once, and there is no control character except HTAB. So the next hop reads these
/// fields as this side has read them. All other fields can have any value.
#[derive(Clone, Copy, Debug)]
pub struct Strict<'a> {
    message: Message<'a>,
    start: StartLine<'a>,
    top_via: ViaParts<'a>,
    vias: usize,
    from_tag: Option<&'a [u8]>,
    to_tag: Option<&'a [u8]>,
    call_id: &'a [u8],
    cseq: (u32, &'a str),
    max_forwards: Option<u8>,
}

/// A reason not to forward a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum Flaw {
    /// The message has a defect. A request with [`Defect::Version`] is answered 505.
    #[error("{0}")] Defect(Defect),
    /// The message is a response where a request is expected, or a request where a response is.
    #[error("not a message of the expected kind")] Kind,
    /// The first line is not `METHOD SP uri SP SIP/2.0` or `SIP/2.0 SP code SP reason`, byte for byte.
    #[error("bad start line")] StartLine,
    /// The Request-URI is not a well-formed `sip:` or `sips:` URI, and not a URI of another scheme.
    #[error("bad request-uri")] RequestUri,
    /// The Request-URI has headers, or a `?` where they would begin (RFC 3261 §19.1.1).
    #[error("headers in the request-uri")] UriHeaders,
    /// The Request-URI has the parameter `maddr`: it asks for another destination.
    #[error("maddr in the request-uri")] Maddr,
    /// White space between the name of a field and its colon.
    #[error("space before the colon of a header field")] SpaceBeforeColon,
    /// A field that decides at every hop is folded.
    #[error("folded header `{}`", .0.name())] Folded(Header),
    /// A field that decides at every hop is malformed.
    #[error("bad header `{}`", .0.name())] Malformed(Header),
    /// A field that must be single is repeated, or has several values.
    #[error("repeated header `{}`", .0.name())] Repeated(Header),
}

/// A value of a Route field (RFC 3261 §20.34).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteValue<'a> {
    /// The URI without its brackets, well-formed for
    /// [`SipUri::parse_request_uri`](sip_authz::uri::SipUri::parse_request_uri).
    pub uri: &'a str,
    /// The whole value, with display name, brackets and parameters.
    pub value: &'a [u8],
}

impl<'a> Strict<'a> {
    /// Checks a request.
    ///
    /// # Errors
    /// The first [`Flaw`]. Answer it with 400, and do not forward the request.
    pub fn request(message: &Message<'a>) -> Result<Self, Flaw> {
        let StartLine::Request { method, uri } = message.start_line() else {
            return Err(Flaw::Kind);
        };
        refuse_defects(message)?;
        let rest = message.bytes().strip_prefix(method.as_bytes());
        let rest = rest.and_then(|rest| rest.strip_prefix(b" ")?.strip_prefix(uri.as_bytes()));
        if !rest.is_some_and(|rest| rest.starts_with(b" SIP/2.0\r\n")) {
            return Err(Flaw::StartLine);
        }
        check_request_uri(uri)?;
        let contacts = match method {
            "REGISTER" => Contacts::AnyOrStar,
            // the Contact is the remote target of a dialog (RFC 3261 §8.1.1.8, §12.1)
            "INVITE" | "UPDATE" | "SUBSCRIBE" | "NOTIFY" | "REFER" => Contacts::One,
            _ => Contacts::Any,
        };
        let mut strict = Self::read(message, contacts)?;
        let hops = message.first(Header::MaxForwards);
        let number = hops.map(|text| str::from_utf8(text).ok()?.parse().ok());
        strict.max_forwards = match number {
            None => None,
            Some(Some(hops)) if message.is_well_formed(Header::MaxForwards) => Some(hops),
            Some(_) => return Err(Flaw::Malformed(Header::MaxForwards)),
        };
        Ok(strict)
    }

    /// Checks a response.
    ///
    /// # Errors
    /// The first [`Flaw`]. Drop the response.
    pub fn response(message: &Message<'a>) -> Result<Self, Flaw> {
        if !matches!(message.start_line(), StartLine::Response { .. }) {
            return Err(Flaw::Kind);
        }
        refuse_defects(message)?;
        if !message.bytes().starts_with(b"SIP/2.0 ") {
            return Err(Flaw::StartLine);
        }
        Self::read(message, Contacts::Any)
    }

    fn read(message: &Message<'a>, allowed: Contacts) -> Result<Self, Flaw> {
        let (mut top_via, mut vias) = (None, 0);
        let (mut from_tag, mut to_tag, mut contacts) = (None, None, 0);
        for raw in raw_fields(message) {
            let header = raw.field.header;
            if !raw.has_tight_colon() {
                return Err(Flaw::SpaceBeforeColon);
            }
            if decides(header) && raw.is_folded() {
                return Err(Flaw::Folded(header));
            }
            let malformed = Flaw::Malformed(header);
            match header {
                Header::Via => {
                    let (first, count) = read_vias(raw.field.value).ok_or(malformed)?;
                    vias += count;
                    top_via = top_via.or(Some(first));
                }
                Header::From => from_tag = name_addr(raw.field.value).ok_or(malformed)?.tag(),
                Header::To => to_tag = name_addr(raw.field.value).ok_or(malformed)?.tag(),
                Header::Route | Header::RecordRoute => {
                    let mut values = Values::new(raw.field.value);
                    if !values.all(|value| route_value(value).is_some()) {
                        return Err(malformed);
                    }
                }
                Header::Contact => {
                    contacts += count_contacts(raw.field.value, allowed).ok_or(malformed)?;
                }
                _ => {}
            }
        }
        // `*` counts as more than one, so that it stands alone
        if contacts > STAR || (contacts > 1 && allowed == Contacts::One) {
            return Err(Flaw::Repeated(Header::Contact));
        }
        let call_id = message.first(Header::CallId).filter(|text| is_word(text));
        let cseq = message.first(Header::CSeq).and_then(cseq);
        Ok(Self {
            message: *message,
            start: message.start_line(),
            top_via: top_via.ok_or(Flaw::Malformed(Header::Via))?,
            vias,
            from_tag,
            to_tag,
            call_id: call_id.ok_or(Flaw::Malformed(Header::CallId))?,
            cseq: cseq.ok_or(Flaw::Malformed(Header::CSeq))?,
            max_forwards: None,
        })
    }

    /// The scanned message.
    #[must_use]
    pub fn message(&self) -> &Message<'a> {
        &self.message
    }

    /// The method of a request; for a response that of its CSeq.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.cseq.1
    }

    /// The Request-URI; empty for a response.
    #[must_use]
    pub fn request_uri(&self) -> &'a str {
        match self.start {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => "",
        }
    }

    /// The status of a response; `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status } => Some(status),
        }
    }

    /// Max-Forwards; `None` if it is missing, and for a response.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// The first value of the first Via field, with the further values of that field.
    #[must_use]
    pub fn top_via(&self) -> ViaParts<'a> {
        self.top_via
    }

    /// The values of all Via fields, in order, each by itself.
    pub fn vias(&self) -> impl Iterator<Item = ViaParts<'a>> {
        self.message.vias().flat_map(Values::new).filter_map(ViaParts::read)
    }

    /// The number of Via values.
    #[must_use]
    pub fn via_count(&self) -> usize {
        self.vias
    }

    /// The values of all Route fields, in order.
    pub fn routes(&self) -> impl Iterator<Item = RouteValue<'a>> {
        // without a Route, which is usual, the fields are not read again
        let present = self.message.first(Header::Route).is_some();
        let fields = present.then(|| self.message.fields()).into_iter().flatten();
        let routes = fields.filter(|field| field.header == Header::Route);
        // `read` has checked that each value has one pair of brackets
        routes.flat_map(|field| Values::new(field.value)).filter_map(|value| {
            let uri = value.get(memchr(b'<', value)? + 1..memchr(b'>', value)?)?;
            Some(RouteValue { uri: str::from_utf8(uri).ok()?, value })
        })
    }

    /// The tag of From; `None` without one (RFC 2543).
    #[must_use]
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from_tag
    }

    /// The tag of To; `None` without one.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to_tag
    }

    /// The Call-ID; never empty.
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        self.call_id
    }

    /// The number of CSeq.
    #[must_use]
    pub fn cseq_number(&self) -> u32 {
        self.cseq.0
    }
}

/// Whether a field decides at every hop.
fn decides(header: Header) -> bool {
    use Header::{
        CSeq, CallId, Contact, ContentLength, From, MaxForwards, RecordRoute, Route, To, Via,
    };
    matches!(
        header,
        Via | From
            | To
            | CallId
            | CSeq
            | MaxForwards
            | Route
            | RecordRoute
            | Contact
            | ContentLength
    )
}

/// Refuses a message that the next hop could read in another way, in datagrams too: it may be reached over a
/// stream.
fn refuse_defects(message: &Message<'_>) -> Result<(), Flaw> {
    message.stream_defect().map_or(Ok(()), |defect| Err(Flaw::Defect(defect)))
}

fn check_request_uri(uri: &str) -> Result<(), Flaw> {
    let has_headers = match Scheme::of(uri) {
        None => return Err(Flaw::RequestUri),
        Some(Scheme::Sip | Scheme::Sips) => {
            SipUri::parse_request_uri(uri).map_err(|_| Flaw::RequestUri)?;
            has_headers(uri)
        }
        Some(_) if uri.contains('\\') => return Err(Flaw::RequestUri),
        Some(_) => uri.contains('?'),
    };
    if has_headers {
        return Err(Flaw::UriHeaders);
    }
    let names_maddr =
        |param: &str| is_escaped(param.split('=').next().unwrap_or_default(), "maddr");
    if uri.split(';').skip(1).any(names_maddr) { Err(Flaw::Maddr) } else { Ok(()) }
}

/// Whether a SIP URI has headers, or a `?` where they would begin. An `@` stands before the host only, and
/// a `?` before it is part of the user.
fn has_headers(uri: &str) -> bool {
    let uri = uri.as_bytes();
    let after_user = memchr(b'@', uri).and_then(|at| uri.get(at + 1..)).unwrap_or(uri);
    memchr(b'?', after_user).is_some()
}

/// Whether a text is `plain`, in any case and with any escapes of RFC 3261 §19.1.2.
fn is_escaped(text: &str, plain: &str) -> bool {
    let mut bytes = text.bytes();
    let decoded = std::iter::from_fn(|| {
        let byte = bytes.next()?;
        let mut ahead = bytes.clone();
        if byte != b'%' {
            return Some(byte);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pair = ahead.next().and_then(digit).zip(ahead.next().and_then(digit));
        let decoded = pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        if decoded.is_some() {
            bytes = ahead;
        }
        Some(decoded.unwrap_or(byte))
    });
    decoded.map(|byte| byte.to_ascii_lowercase()).eq(plain.bytes())
}

/// The first value of a Via field, with its further values, and the number of all; `None` if one is
/// malformed.
fn read_vias(field: &[u8]) -> Option<(ViaParts<'_>, usize)> {
    let first = ViaParts::read(field).filter(|via| is_strict_via(*via))?;
    let mut further = first.next_values().into_iter().flat_map(Values::new);
    let count = further.try_fold(1, |count, value| {
        let via = ViaParts::read(value).filter(|via| is_strict_via(*via))?;
        via.next_values().is_none().then_some(count + 1)
    })?;
    Some((first, count))
}

/// Whether the parameters of a Via value can be read in one way only (RFC 3261 §20.42).
///
/// Values that are no tokens pass, because devices put Base64 into branches. Quotes, brackets and the
/// parentheses of comments do not: other parsers could take commas in them for separators.
fn is_strict_via(via: ViaParts<'_>) -> bool {
    let is_odd = |byte: u8| {
        !byte.is_ascii_graphic()
            | matches!(byte, b'"' | b'(' | b')' | b',' | b';' | b'<' | b'>' | b'\\')
    };
    // without an early exit the loop is vectorised
    let is_text = |text: &[u8]| !text.iter().fold(false, |odd, byte| odd | is_odd(*byte));
    let mut branches = 0;
    via.params().all(|param| {
        let (name, value) = match memchr(b'=', param) {
            Some(end) => (param.get(..end).unwrap_or_default(), param.get(end + 1..)),
            None => (param, None),
        };
        let name = name.trim_ascii();
        branches += usize::from(name.eq_ignore_ascii_case(b"branch"));
        !name.is_empty()
            && name.iter().all(|byte| is_token_byte(*byte))
            && match value.map(<[u8]>::trim_ascii) {
                None => true,
                Some(text @ [b'"', ..]) => quoted_len(text) == Some(text.len()),
                Some(text) => !text.is_empty() && is_text(text),
            }
    }) && branches <= 1
}

/// Reads a value of Route or Record-Route: a URI in brackets, by RFC 3261 §20.34 and §20.30.
fn route_value(value: &[u8]) -> Option<RouteValue<'_>> {
    let NameAddr { uri, .. } = name_addr(value)?;
    let (before, rest) = value.split_at_checked(memchr(b'<', value)?)?;
    let after = rest.strip_prefix(b"<")?.strip_prefix(uri.as_bytes())?.strip_prefix(b">")?;
    // a parser that does not know quotes would find other brackets, or another end of the value
    let is_plain = [before, after].iter().all(|text| memchr3(b'<', b'>', b',', text).is_none());
    let sound = is_plain && !has_headers(uri) && SipUri::parse_request_uri(uri).is_ok();
    sound.then_some(RouteValue { uri, value })
}

/// The Contact values that a message can have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contacts {
    /// At most one.
    One,
    /// Any number.
    Any,
    /// Any number, or `*` alone.
    AnyOrStar,
}

/// The count of a Contact of `*`. A head has not as many values.
const STAR: usize = 1 << 20;

/// The number of values of a Contact field; `None` if one is malformed.
fn count_contacts(list: &[u8], allowed: Contacts) -> Option<usize> {
    if list == b"*" && allowed == Contacts::AnyOrStar {
        return Some(STAR);
    }
    Values::new(list).try_fold(0, |count, value| name_addr(value).map(|_| count + 1))
}

/// Whether a text is visible ASCII, without a comma. RFC 3261 §25.1 allows less in a Call-ID.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

/// Reads a CSeq that passed the check of [`Message::defect`].
fn cseq(value: &[u8]) -> Option<(u32, &str)> {
    let (number, method) = str::from_utf8(value).ok()?.split_once([' ', '\t'])?;
    Some((number.parse().ok()?, method.trim_ascii()))
}
