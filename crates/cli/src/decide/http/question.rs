//! Reads a question: the request of a host, as a message or as its parts, in one of three types of content.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;
use serde::Deserialize;
use sip_authz::Transport;
use sip_authz_decide::RequestWriter;

/// The id of each question in its frame: an HTTP request has its own way back.
pub(super) const ID: u64 = 1;

/// A part of a question.
type Text<'a> = Cow<'a, [u8]>;
/// A name and a value.
type Pair<'a> = (Text<'a>, Text<'a>);

/// A question that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuestionError {
    /// The message, or its parts, are too long for a frame.
    #[error("the request is too long")]
    TooLong,
    /// Another type of content.
    #[error("{0}")]
    Type(&'static str),
    /// A part is missing, repeated, unknown or malformed.
    #[error("{0}")]
    Malformed(String),
}

fn malformed(error: impl Into<String>) -> QuestionError {
    QuestionError::Malformed(error.into())
}

/// The type of the content of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Json,
    Form,
}

/// The type of the content, which must not be encoded.
pub(super) fn kind(headers: &HeaderMap) -> Result<Kind, QuestionError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(QuestionError::Type("expected no Content-Encoding"));
    }
    let expected = QuestionError::Type(
        "expected the Content-Type message/sip, application/json or application/x-www-form-urlencoded",
    );
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(expected) };
    let value = value.to_str().unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "message/sip" => Ok(Kind::Message),
        "application/json" => Ok(Kind::Json),
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        _ => Err(expected),
    }
}

/// The frame with the request of a question.
pub(super) fn frame(
    kind: Kind,
    query: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, QuestionError> {
    let query = query.unwrap_or_default();
    if kind == Kind::Message {
        let mut question = Question::default();
        for pair in pairs(query.as_bytes()) {
            let (name, value) = pair?;
            match &*name {
                b"transport" | b"source" | b"port" => question.add(&name, value)?,
                _ => return Err(unknown(&name)),
            }
        }
        set(&mut question.message, "message", Cow::Borrowed(body))?;
        return question.frame();
    }
    if !query.is_empty() {
        return Err(malformed("expected all parameters in the body, found a query"));
    }
    let question = if kind == Kind::Json {
        // the reader of structures takes a list of all members too
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(malformed("expected a JSON object"));
        }
        let json: Json = serde_json::from_slice(body).map_err(|it| malformed(it.to_string()))?;
        json.into()
    } else {
        let mut question = Question::default();
        for pair in pairs(body) {
            let (name, value) = pair?;
            question.add(&name, value)?;
        }
        question
    };
    question.frame()
}

/// The parts of a question. The caller of the host chooses the bytes of most, so the thread that decides
/// checks them.
#[derive(Default)]
struct Question<'a> {
    transport: Option<Text<'a>>,
    source: Option<Text<'a>>,
    port: Option<Text<'a>>,
    message: Option<Text<'a>>,
    method: Option<Text<'a>>,
    uri: Option<Text<'a>>,
    headers: Vec<Pair<'a>>,
    body: Option<Text<'a>>,
}

/// A question in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    transport: String,
    source: String,
    port: Option<u16>,
    message: Option<String>,
    method: Option<String>,
    uri: Option<String>,
    headers: Option<Vec<(String, String)>>,
    body: Option<String>,
}

impl From<Json> for Question<'_> {
    fn from(json: Json) -> Self {
        fn bytes(text: String) -> Text<'static> {
            Cow::Owned(text.into_bytes())
        }
        let Json { transport, source, port, message, method, uri, headers, body } = json;
        let header = |(name, value)| (bytes(name), bytes(value));
        Self {
            transport: Some(bytes(transport)),
            source: Some(bytes(source)),
            port: port.map(|port| bytes(port.to_string())),
            message: message.map(bytes),
            method: method.map(bytes),
            uri: uri.map(bytes),
            headers: headers.unwrap_or_default().into_iter().map(header).collect(),
            body: body.map(bytes),
        }
    }
}

/// Sets a part that must be single.
fn set<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), QuestionError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(format!("repeated `{name}`"))),
    }
}

fn unknown(name: &[u8]) -> QuestionError {
    malformed(format!("unknown parameter `{}`", excerpt(name)))
}

impl<'a> Question<'a> {
    /// Adds a parameter of a query or a form.
    fn add(&mut self, name: &[u8], value: Text<'a>) -> Result<(), QuestionError> {
        match name {
            b"transport" => set(&mut self.transport, "transport", value),
            b"source" => set(&mut self.source, "source", value),
            b"port" => set(&mut self.port, "port", value),
            b"message" => set(&mut self.message, "message", value),
            b"method" => set(&mut self.method, "method", value),
            b"uri" => set(&mut self.uri, "uri", value),
            b"body" => set(&mut self.body, "body", value),
            b"header" => {
                let colon = value.iter().position(|byte| *byte == b':');
                let Some((name, rest)) = colon.and_then(|colon| value.split_at_checked(colon))
                else {
                    return Err(malformed("expected a name, a colon and a value in `header`"));
                };
                let value = rest.get(1..).unwrap_or_default();
                let blank: &[_] = b" \t";
                let start = value.iter().position(|byte| !blank.contains(byte));
                let value = value.get(start.unwrap_or(value.len())..).unwrap_or_default();
                self.headers.push((Cow::Owned(name.to_vec()), Cow::Owned(value.to_vec())));
                Ok(())
            }
            _ => Err(unknown(name)),
        }
    }

    fn frame(&self) -> Result<Vec<u8>, QuestionError> {
        let missing = |name: &str| malformed(format!("no `{name}`"));
        let transport = self.transport.as_deref().ok_or_else(|| missing("transport"))?;
        let transport = str::from_utf8(transport).ok().filter(|it| it.parse::<Transport>().is_ok());
        let transport = transport.ok_or_else(|| {
            let all: Vec<_> = Transport::ALL.iter().map(|it| it.via_name()).collect();
            malformed(format!("expected one of {} in `transport`", all.join(", ")))
        })?;
        let source =
            source(self.source.as_deref().ok_or_else(|| missing("source"))?, self.port.as_deref())?;
        let mut frame = Vec::new();
        let mut writer = RequestWriter::new(&mut frame, ID, transport, source);
        let has_parts = self.method.is_some() || self.uri.is_some() || self.body.is_some();
        writer = match &self.message {
            // the two could be two different requests
            Some(_) if has_parts || !self.headers.is_empty() => {
                return Err(malformed("expected `message` or the parts of a request, found both"));
            }
            Some(message) => writer.message(message),
            None => {
                let method = self.method.as_deref().ok_or_else(|| missing("message"))?;
                let uri = self.uri.as_deref().ok_or_else(|| missing("uri"))?;
                writer = writer.start_line(method, uri);
                for (name, value) in &self.headers {
                    writer = writer.header(name, value);
                }
                writer.body(self.body.as_deref().unwrap_or_default())
            }
        };
        // the transport has no line end, so only the length is left
        writer.end().map_err(|_| QuestionError::TooLong)?;
        Ok(frame)
    }
}

/// The source: an address with its port, or both apart.
fn source(source: &[u8], port: Option<&[u8]>) -> Result<SocketAddr, QuestionError> {
    let wrong = || {
        malformed("expected an IP address and a port in `source`, or the address there and `port`")
    };
    let source = str::from_utf8(source).map_err(|_| wrong())?;
    // without `port`, an IPv6 address without brackets would swallow its port
    let Some(port) = port else { return source.parse().map_err(|_| wrong()) };
    let bare = source.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let ip = match bare {
        Some(ip) => ip.parse().map(IpAddr::V6).map_err(|_| wrong())?,
        None => source.parse().map_err(|_| wrong())?,
    };
    let port = str::from_utf8(port).ok().and_then(|port| port.parse().ok()).ok_or_else(wrong)?;
    Ok(SocketAddr::new(ip, port))
}

/// The decoded names and values of a query or a form.
fn pairs<'a>(text: &'a [u8]) -> impl Iterator<Item = Result<Pair<'a>, QuestionError>> {
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(equals).unwrap_or((pair, b""));
        Ok((decoded(name)?, decoded(value.get(1..).unwrap_or_default())?))
    })
}

/// Decodes a name or a value.
fn decoded(text: &[u8]) -> Result<Text<'_>, QuestionError> {
    let mut parts = text.split(|byte| *byte == b'%');
    // before the first one
    parts.next();
    let is_escape =
        |part: &[u8]| part.get(..2).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
    if !parts.all(is_escape) {
        // a host that does not encode would have another request decided than its own
        return Err(malformed("expected two hexadecimal digits after each `%`"));
    }
    if !text.contains(&b'+') {
        return Ok(percent_decode(text).into());
    }
    let text: Vec<_> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Ok(Cow::Owned(percent_decode(&text).collect()))
}

/// The beginning of a name, for an error.
fn excerpt(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use sip_authz_decide::{Content, Frame, split};

    use super::*;

    /// The request in a frame, as text.
    fn shown(frame: &[u8]) -> String {
        let (frame, _) = split(frame).unwrap().unwrap();
        let Ok(Frame::Request(request)) = Frame::decode(frame) else { panic!() };
        let content = match &request.content {
            Content::Message(message) => format!("message {}", message.escape_ascii()),
            Content::Parsed(parsed) => {
                let mut text =
                    format!("{} {}", parsed.method.escape_ascii(), parsed.uri.escape_ascii());
                for (name, value) in parsed.headers() {
                    text += &format!("|{}|{}", name.escape_ascii(), value.escape_ascii());
                }
                format!("{text}|body {}", parsed.body.escape_ascii())
            }
        };
        format!("{} {} {content}", request.transport, request.source)
    }

    fn read(kind: Kind, query: &str, body: &[u8]) -> Result<String, String> {
        let query = (!query.is_empty()).then_some(query);
        frame(kind, query, body).map(|it| shown(&it)).map_err(|it| it.to_string())
    }

    #[test]
    fn each_type_of_content_is_read() {
        let query = "transport=UDP&source=192.0.2.7:5060";
        for (kind, query, body, expected) in [
            (Kind::Message, query, &b"I\xff\0\r\n%+"[..], r"UDP 192.0.2.7:5060 message I\xff\x00\r\n%+"),
            (
                Kind::Message,
                "source=%5B2001%3Adb8::7%5d:1&&transport=tls-sctp",
                b"",
                "tls-sctp [2001:db8::7]:1 message ",
            ),
            (Kind::Message, "transport=UDP&source=2001:db8::7&port=1", b"", "UDP [2001:db8::7]:1 message "),
            (Kind::Message, "transport=UDP&source=[2001:db8::7]&port=1", b"", "UDP [2001:db8::7]:1 message "),
            (Kind::Message, "transport=UDP&source=192.0.2.7&port=0", b"", "UDP 192.0.2.7:0 message "),
            (
                Kind::Json,
                "",
                br#"{"transport":"tcp","source":"[::1]:9","message":"a\r\n\u00e9\"b"}"#,
                r#"tcp [::1]:9 message a\r\n\xc3\xa9\"b"#,
            ),
            (
                Kind::Json,
                "",
                br#"{"transport":"UDP","source":"192.0.2.7","port":5060,"method":"INVITE","uri":"sip:a",
                    "headers":[["To","<sip:a>"],["via","b"],["To",""]],"body":"x y"}"#,
                "UDP 192.0.2.7:5060 INVITE sip:a|To|<sip:a>|via|b|To||body x y",
            ),
            (
                Kind::Form,
                "",
                b"transport=UDP&source=192.0.2.7:5060&method=INVITE&uri=sip%3Aa%40b&header=To:%20%3Csip:a%3E\
                  &header=X:&header=Y:+\t+z+:+%2B&body=%ff",
                r"UDP 192.0.2.7:5060 INVITE sip:a@b|To|<sip:a>|X||Y|z : +|body \xff",
            ),
            (
                Kind::Form,
                "",
                b"message=INVITE+sip:a+SIP/2.0%0D%0A&transport=UDP&source=192.0.2.7:5060",
                r"UDP 192.0.2.7:5060 message INVITE sip:a SIP/2.0\r\n",
            ),
        ] {
            assert_eq!(read(kind, query, body).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn parts_that_are_missing_repeated_unknown_or_malformed_are_errors() {
        let from = "transport=UDP&source=192.0.2.7:5060";
        let json = r#""transport":"UDP","source":"192.0.2.7:5060""#;
        let query = |query: String| (Kind::Message, query, String::new());
        let form = |body: String| (Kind::Form, String::new(), body);
        let object = |members: String| (Kind::Json, String::new(), format!("{{{members}}}"));
        for ((kind, query, body), expected) in [
            (query(String::new()), "no `transport`"),
            (query("transport=UDP".into()), "no `source`"),
            (query("source=192.0.2.7:5060".into()), "no `transport`"),
            (query(format!("{from}&transport=UDP")), "repeated `transport`"),
            (query(format!("{from}&source=192.0.2.7:5060")), "repeated `source`"),
            (query(format!("{from}&sources=1")), "unknown parameter `sources`"),
            (query(format!("{from}&message=a")), "unknown parameter `message`"),
            (query(format!("{from}&method=a")), "unknown parameter `method`"),
            (query(format!("{from}&port=5060")), "expected an IP address"),
            (query("transport=QUIC&source=192.0.2.7:1".into()), "expected one of UDP, TCP"),
            (query("transport=&source=192.0.2.7:1".into()), "expected one of UDP"),
            (query("transport=UDP%0d%0a&source=192.0.2.7:1".into()), "expected one of UDP"),
            (query("transport=UDP&source=192.0.2.7".into()), "expected an IP address"),
            // not the address 2001:db8::7:5060
            (query("transport=UDP&source=2001:db8::7:5060".into()), "expected an IP address"),
            (query("transport=UDP&source=[192.0.2.7]&port=1".into()), "expected an IP address"),
            (query("transport=UDP&source=192.0.2.7&port=65536".into()), "expected an IP address"),
            (query("transport=UDP&source=192.0.2.7&port=".into()), "expected an IP address"),
            (query("transport=UDP&source=localhost:1".into()), "expected an IP address"),
            (query("transport=UDP&source=%zz".into()), "expected two hexadecimal digits"),
            (query("transport=UDP&source=1%".into()), "expected two hexadecimal digits"),
            (query("transport=UDP&source=1%2".into()), "expected two hexadecimal digits"),
            (form(from.to_owned()), "no `message`"),
            (form(format!("{from}&method=INVITE")), "no `uri`"),
            (form(format!("{from}&uri=sip:a")), "no `message`"),
            (form(format!("{from}&message=a&message=b")), "repeated `message`"),
            (form(format!("{from}&method=a&method=b")), "repeated `method`"),
            (form(format!("{from}&message=a&method=b&uri=c")), "found both"),
            (form(format!("{from}&message=a&header=To:b")), "found both"),
            (form(format!("{from}&message=a&body=b")), "found both"),
            (form(format!("{from}&method=a&uri=b&header=To")), "expected a name, a colon"),
            (form(format!("{from}&Message=a")), "unknown parameter `Message`"),
            ((Kind::Form, "a=b".into(), format!("{from}&message=a")), "found a query"),
            ((Kind::Json, from.into(), format!("{{{json},\"message\":\"a\"}}")), "found a query"),
            (object(String::new()), "missing field `transport`"),
            (object(json.to_owned()), "no `message`"),
            (object(format!("{json},\"method\":\"INVITE\"")), "no `uri`"),
            (object(format!("{json},\"message\":\"a\",\"uri\":\"b\"")), "found both"),
            (object(format!("{json},\"message\":\"a\",\"headers\":[[\"a\",\"b\"]]")), "found both"),
            (
                object(format!("{json},\"message\":\"a\",\"message\":\"b\"")),
                "duplicate field `message`",
            ),
            (object(format!("{json},\"message\":\"a\",\"header\":[]")), "unknown field `header`"),
            (object(format!("{json},\"message\":1")), "invalid type"),
            (object(format!("{json},\"message\":null")), "no `message`"),
            (object(format!("{json},\"message\":\"\\ud800\"")), "hex escape"),
            (
                object(format!("{json},\"method\":\"a\",\"uri\":\"b\",\"headers\":[[\"a\"]]")),
                "invalid length 1",
            ),
            (object(format!("{json},\"message\":\"a\",\"port\":70000")), "invalid value"),
            ((Kind::Json, String::new(), "[]".into()), "expected a JSON object"),
            ((Kind::Json, String::new(), "{} {}".into()), "missing field"),
            ((Kind::Json, String::new(), String::new()), "expected a JSON object"),
            ((Kind::Json, String::new(), "{".into()), "EOF"),
        ] {
            let error = read(kind, &query, body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{query} {body}: {error}");
        }
        let trailing = format!("{{{json},\"message\":\"a\"}} x");
        assert!(read(Kind::Json, "", trailing.as_bytes()).unwrap_err().contains("trailing"));
        assert!(read(Kind::Json, "", &[b'[', 0xff, b']']).is_err());
    }

    #[test]
    fn a_request_that_is_too_long_for_a_frame_is_an_error() {
        let from = "transport=UDP&source=192.0.2.7:5060";
        let long = vec![b'x'; 131_072];
        assert_eq!(frame(Kind::Message, Some(from), &long), Err(QuestionError::TooLong));
        assert!(frame(Kind::Message, Some(from), &long[..131_000]).is_ok());
        let name = format!("{from}&method=a&uri=b&header={}:", "x".repeat(65_536));
        assert_eq!(frame(Kind::Form, None, name.as_bytes()), Err(QuestionError::TooLong));
    }

    #[test]
    fn other_types_of_content_are_errors() {
        let kind_of = |values: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(*name, value.parse().unwrap());
            }
            kind(&headers).ok()
        };
        let of = |value| kind_of(&[("content-type", value)]);
        assert_eq!(of("message/sip"), Some(Kind::Message));
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(Kind::Json));
        assert_eq!(of("application/x-www-form-urlencoded"), Some(Kind::Form));
        assert_eq!(of("message/sipfrag"), None);
        assert_eq!(of("text/plain"), None);
        assert_eq!(of(""), None);
        assert_eq!(kind_of(&[]), None);
        assert_eq!(kind_of(&[("content-type", "message/sip"); 2]), None);
        let encoded = [("content-type", "message/sip"), ("content-encoding", "gzip")];
        assert_eq!(kind_of(&encoded), None);
    }
}
