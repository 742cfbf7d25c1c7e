//! A server whose behaviour each test writes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sip_authz_decide::{AnswerWriter, Content, Frame, MAX_FRAME, Outcome, VERSION, Welcome, split};

/// Long enough for each machine: a test that waits so long has failed.
pub(crate) const PATIENCE_MS: u32 = 60_000;

/// The folder of a socket. Its drop removes both.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sip-authz-capi-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("decide.sock")
    }

    pub(crate) fn listen(&self) -> UnixListener {
        let _ = std::fs::remove_file(self.path());
        UnixListener::bind(self.path()).unwrap()
    }

    /// The text for `sip_authz_open`.
    pub(crate) fn location(&self) -> String {
        format!("unix:{}", self.path().display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One connection of a client.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    received: Vec<u8>,
}

/// A question, as far as tests look at it.
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) message: String,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let patience = Duration::from_millis(PATIENCE_MS.into());
        stream.set_read_timeout(Some(patience)).unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(crate) fn accept(listener: &UnixListener) -> Self {
        Self::new(listener.accept().unwrap().0)
    }

    /// Accepts a client, and answers its hello.
    pub(crate) fn greet(listener: &UnixListener) -> Self {
        Self::greet_with(listener, u32::try_from(MAX_FRAME).unwrap())
    }

    /// As [`Self::greet`], with another limit of frames.
    pub(crate) fn greet_with(listener: &UnixListener, limit: u32) -> Self {
        let mut peer = Self::accept(listener);
        assert_eq!(peer.hello(), None);
        let mut welcome = Vec::new();
        Welcome::new(VERSION, limit).encode(&mut welcome).unwrap();
        peer.send(&welcome);
        peer
    }

    /// Reads a hello, and returns its token.
    pub(crate) fn hello(&mut self) -> Option<Vec<u8>> {
        let frame = self.frame().expect("a hello");
        let Frame::Hello(hello) = Frame::decode(&frame).unwrap() else { panic!("no hello") };
        assert_eq!(hello.versions, VERSION..=VERSION);
        hello.token.map(<[u8]>::to_vec)
    }

    /// The next question; none at the end of the stream.
    pub(crate) fn question(&mut self) -> Option<Asked> {
        let frame = self.frame()?;
        let Frame::Request(request) = Frame::decode(&frame).unwrap() else { panic!("no request") };
        assert_eq!((request.transport, &*request.source.to_string()), ("UDP", "192.0.2.1:5060"));
        let Content::Message(message) = request.content else { panic!("parts") };
        Some(Asked { id: request.id, message: str::from_utf8(message).unwrap().to_owned() })
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((frame, length)) = split(&self.received).unwrap() {
                let frame = frame.to_vec();
                self.received.drain(..length);
                return Some(frame);
            }
            let mut chunk = [0; 9_999];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.received.extend(&chunk[..count]),
                // a client that closes with bytes left to read resets the connection
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // the client may have closed the connection
        let _ = self.stream.write_all(bytes);
    }

    /// Answers with the message of the question as the reason.
    pub(crate) fn answer(&mut self, asked: &Asked, outcome: Outcome) {
        self.send(&answer(asked.id, outcome, &asked.message));
    }

    /// Whether the client has closed the connection without another byte.
    pub(crate) fn has_ended(mut self) -> bool {
        self.frame().is_none() && self.received.is_empty()
    }
}

/// The frame of an answer with a reason.
pub(crate) fn answer(id: u64, outcome: Outcome, reason: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = AnswerWriter::new(&mut bytes, id, outcome).reason(reason);
    if outcome != Outcome::Accept {
        writer = writer.status(403).phrase("Forbidden");
    }
    writer.end().unwrap();
    bytes
}
