//! A question: may this request pass?

use std::net::{IpAddr, SocketAddr};

use crate::error::{EncodeError, FrameError};
use crate::wire::{Fields, REQUEST, Writer, line, set};

const ID: u16 = 1;
const TRANSPORT: u16 = 2;
const SOURCE: u16 = 3;
const MESSAGE: u16 = 4;
const METHOD: u16 = 5;
const URI: u16 = 6;
const HEADER: u16 = 7;
const BODY: u16 = 8;

/// A question.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The id, which the answer has too. A client uses each once on a connection.
    pub id: u64,
    /// The transport on which the host received the request, as in a Via header. Not checked here.
    pub transport: &'a str,
    /// The source address that the client asserts.
    pub source: SocketAddr,
    /// The request.
    pub content: Content<'a>,
}

/// The request of a question.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Its bytes as received.
    Message(&'a [u8]),
    /// Its parts, from a host that has parsed it.
    Parsed(Parsed<'a>),
}

/// The parts of a request. The caller of the host chooses their bytes, so none is checked here: a part
/// that SIP does not allow must not end the connection of the host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The body; empty if there is none.
    pub body: &'a [u8],
    fields: Fields<'a>,
}

impl<'a> Parsed<'a> {
    /// The names and values of the headers, in the order of the message.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers(self.fields.clone())
    }
}

/// The names and values of the headers of a [`Parsed`] request, in the order of the message.
#[derive(Clone, Debug)]
pub struct Headers<'a>(Fields<'a>);

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // the frame was checked as a whole, so there is no error to drop
        self.0.by_ref().flatten().find_map(|(tag, value)| (tag == HEADER).then(|| header(value))?)
    }
}

impl<'a> Request<'a> {
    pub(crate) fn read(fields: Fields<'a>) -> Result<Self, FrameError> {
        let (mut id, mut transport, mut source, mut message) = (None, None, None, None);
        let (mut method, mut uri, mut body, mut has_headers) = (None, None, None, false);
        for field in fields.clone() {
            match field? {
                (ID, value) => set(&mut id, "id", value.try_into().ok().map(u64::from_be_bytes))?,
                (TRANSPORT, value) => set(&mut transport, "transport", line(value))?,
                (SOURCE, value) => set(&mut source, "source", address(value))?,
                (MESSAGE, value) => set(&mut message, "message", Some(value))?,
                (METHOD, value) => set(&mut method, "method", Some(value))?,
                (URI, value) => set(&mut uri, "request-uri", Some(value))?,
                (HEADER, value) => {
                    has_headers = true;
                    header(value).ok_or(FrameError::Value("header"))?;
                }
                (BODY, value) => set(&mut body, "body", Some(value))?,
                _ => {}
            }
        }
        let content = match message {
            Some(message) => {
                let other = method.is_some() || uri.is_some() || body.is_some() || has_headers;
                if other {
                    // the two could be two different requests
                    return Err(FrameError::Repeated("message"));
                }
                Content::Message(message)
            }
            None => Content::Parsed(Parsed {
                method: method.ok_or(FrameError::Missing("message"))?,
                uri: uri.ok_or(FrameError::Missing("request-uri"))?,
                body: body.unwrap_or_default(),
                fields,
            }),
        };
        Ok(Self {
            id: id.ok_or(FrameError::Missing("id"))?,
            transport: transport.ok_or(FrameError::Missing("transport"))?,
            source: source.ok_or(FrameError::Missing("source"))?,
            content,
        })
    }
}

/// The name and the value of a header.
fn header(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// An address of 4 or 16 bytes and a port.
fn address(value: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = value.split_last_chunk()?;
    let ip = <[u8; 4]>::try_from(ip)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from));
    Some(SocketAddr::new(ip.ok()?, u16::from_be_bytes(*port)))
}

/// Writes a question behind the bytes of a buffer. [`Self::end`] completes it.
#[derive(Debug)]
#[must_use]
pub struct RequestWriter<'o>(Writer<'o>);

impl<'o> RequestWriter<'o> {
    /// Begins a question with an id, and the transport and source of the request.
    pub fn new(out: &'o mut Vec<u8>, id: u64, transport: &str, source: SocketAddr) -> Self {
        let mut writer = Writer::new(out, REQUEST);
        writer.put(ID, &[&id.to_be_bytes()]);
        writer.put_line(TRANSPORT, transport);
        let port = source.port().to_be_bytes();
        match source.ip() {
            IpAddr::V4(ip) => writer.put(SOURCE, &[&ip.octets(), &port]),
            IpAddr::V6(ip) => writer.put(SOURCE, &[&ip.octets(), &port]),
        }
        Self(writer)
    }

    /// Adds the request as received.
    pub fn message(mut self, message: &[u8]) -> Self {
        self.0.put(MESSAGE, &[message]);
        self
    }

    /// Adds the method and the Request-URI of a parsed request.
    pub fn start_line(mut self, method: &[u8], uri: &[u8]) -> Self {
        self.0.put(METHOD, &[method]);
        self.0.put(URI, &[uri]);
        self
    }

    /// Adds a header of a parsed request. Add them in the order of the message.
    pub fn header(mut self, name: &[u8], value: &[u8]) -> Self {
        match u16::try_from(name.len()) {
            Ok(length) => self.0.put(HEADER, &[&length.to_be_bytes(), name, value]),
            Err(_) => self.0.fail(EncodeError::TooLong),
        }
        self
    }

    /// Adds the body of a parsed request.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.0.put(BODY, &[body]);
        self
    }

    /// Completes the frame.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the frame is too long, or the transport has a line end.
    pub fn end(self) -> Result<(), EncodeError> {
        self.0.end()
    }
}
