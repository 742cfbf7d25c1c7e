//! A connection of HTTP, with one request under way.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::service::{Answer, Service, TIMEOUT};

/// A connection that is kept open.
pub(crate) struct Http {
    stream: TcpStream,
    /// The head of each request, up to the value of Content-Length.
    head: String,
    due: Vec<u8>,
    received: Vec<u8>,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn new(
        address: &str,
        token: &str,
        source: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let head = format!(
            "POST /v1/decide?transport=UDP&source={source} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: message/sip\r\nContent-Length: "
        );
        Ok(Self { stream, head, due: Vec::new(), received: Vec::new(), buffer: vec![0; 1 << 14] })
    }

    /// The status and the body of a response that has arrived as a whole.
    fn response(&self) -> Result<Option<(u16, &str)>, Box<dyn Error>> {
        let text = str::from_utf8(&self.received)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.ok_or("no content-length")?.parse()? {
            return Ok(None);
        }
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok(Some((status, body)))
    }
}

impl Service for Http {
    fn ask(&mut self, _: usize, message: &[u8]) -> Result<(), Box<dyn Error>> {
        write!(self.due, "{}{}\r\n\r\n", self.head, message.len())?;
        self.due.extend_from_slice(message);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        self.stream.write_all(&self.due)?;
        self.due.clear();
        Ok(())
    }

    fn answers(&mut self, answers: &mut Vec<(usize, Answer)>) -> Result<(), Box<dyn Error>> {
        let (status, body) = loop {
            if let Some(response) = self.response()? {
                break response;
            }
            let count = self.stream.read(&mut self.buffer)?;
            if count == 0 {
                return Err("the service has closed the connection".into());
            }
            self.received.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        };
        let value: Value = serde_json::from_str(body)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let answer = match (status, text("outcome")) {
            (200, "accept") => Answer::Accept,
            (200, "challenge") => Answer::Challenge(text("header_lines").to_owned()),
            _ => Answer::Other(format!("{status} {body}")),
        };
        self.received.clear();
        answers.push((0, answer));
        Ok(())
    }
}
