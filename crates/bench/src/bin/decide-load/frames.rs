//! A connection of frames, with many requests under way.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use sip_authz_decide::{Frame, Hello, Outcome, RequestWriter, split};

use crate::service::{Answer, Service, TIMEOUT};

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection that was welcomed.
pub(crate) struct Frames {
    stream: Box<dyn Stream>,
    source: SocketAddr,
    due: Vec<u8>,
    received: Vec<u8>,
    buffer: Vec<u8>,
    /// The id of the next request. Its remainder by `window` is the slot.
    window: u64,
    round: u64,
}

impl Frames {
    pub(crate) fn unix(
        path: &str,
        source: SocketAddr,
        window: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Self::new(Box::new(stream), None, source, window)
    }

    pub(crate) fn tcp(
        address: &str,
        token: &str,
        source: SocketAddr,
        window: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Self::new(Box::new(stream), Some(token), source, window)
    }

    fn new(
        stream: Box<dyn Stream>,
        token: Option<&str>,
        source: SocketAddr,
        window: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let (due, received, buffer) = (Vec::new(), Vec::new(), vec![0; 1 << 17]);
        let window = window as u64;
        let mut frames = Self { stream, source, due, received, buffer, window, round: 0 };
        Hello::new(token.map(str::as_bytes)).encode(&mut frames.due)?;
        frames.flush()?;
        loop {
            if let Some((frame, length)) = split(&frames.received)? {
                return match Frame::decode(frame)? {
                    Frame::Welcome(_) => {
                        frames.received.drain(..length);
                        Ok(frames)
                    }
                    other => Err(format!("expected a welcome, found {other:?}").into()),
                };
            }
            frames.read()?;
        }
    }

    fn read(&mut self) -> Result<(), Box<dyn Error>> {
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err("the service has closed the connection".into()),
            Ok(count) => {
                self.received.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Service for Frames {
    fn ask(&mut self, slot: usize, message: &[u8]) -> Result<(), Box<dyn Error>> {
        self.round += 1;
        let id = self.round * self.window + slot as u64;
        let writer = RequestWriter::new(&mut self.due, id, "UDP", self.source);
        Ok(writer.message(message).end()?)
    }

    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        self.stream.write_all(&self.due)?;
        self.due.clear();
        Ok(())
    }

    fn answers(&mut self, answers: &mut Vec<(usize, Answer)>) -> Result<(), Box<dyn Error>> {
        while answers.is_empty() {
            self.read()?;
            let mut start = 0;
            while let Some((frame, length)) = split(self.received.get(start..).unwrap_or_default())?
            {
                start += length;
                let answer = match Frame::decode(frame)? {
                    Frame::Answer(answer) => answer,
                    other => return Err(format!("expected an answer, found {other:?}").into()),
                };
                let slot = usize::try_from(answer.id % self.window)?;
                let answer = match answer.outcome {
                    Outcome::Accept => Answer::Accept,
                    Outcome::Challenge => Answer::Challenge(answer.header_lines().collect()),
                    other => Answer::Other(format!("{other:?} {:?}", answer.reason)),
                };
                answers.push((slot, answer));
            }
            self.received.drain(..start);
        }
        Ok(())
    }
}
