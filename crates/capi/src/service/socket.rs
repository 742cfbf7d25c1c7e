//! A stream socket that never blocks beyond a deadline, sends no SIGPIPE, and is closed on exec.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    connect, recv, send, shutdown, socket_with, sockopt,
};

use super::Deadline;
use crate::codes::{SIP_AUTHZ_SYSTEM, SIP_AUTHZ_UNREACHABLE};
use crate::failure::Failure;

/// The address of a service.
#[derive(Debug)]
pub(super) enum Address {
    /// A path, and the same as an address.
    Unix(PathBuf, SocketAddrUnix),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl Address {
    pub(super) fn unix(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str().is_empty() {
            return Err(Failure::argument("expected the path of a socket"));
        }
        let wrong = |error| Failure::argument(format!("{}: {error}", path.display()));
        let address = SocketAddrUnix::new(&path).map_err(wrong)?;
        Ok(Self::Unix(path, address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path, _) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// A connected socket. Its drop closes it, and leaves copies in other processes connected.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Connects within the deadline.
    pub(super) fn connect(address: &Address, deadline: Deadline) -> Result<Self, Failure> {
        let family = match address {
            Address::Unix(..) => AddressFamily::UNIX,
            Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|error| Failure::new(SIP_AUTHZ_SYSTEM, format!("socket: {error}")))?;
        let socket = Self(fd);
        let refused = |error: Errno| {
            let detail = match error {
                // a Unix socket whose backlog is full
                Errno::AGAIN => format!("{address}: too many clients wait"),
                error => format!("{address}: {error}"),
            };
            Failure::new(SIP_AUTHZ_UNREACHABLE, detail)
        };
        let connected = match address {
            Address::Unix(_, address) => connect(&socket.0, address),
            Address::Tcp(address) => {
                // small frames must not wait for one another; without it they are only slower
                let _ = sockopt::set_tcp_nodelay(&socket.0, true);
                connect(&socket.0, address)
            }
        };
        match connected {
            Ok(()) => Ok(socket),
            // an interrupted connect goes on too
            Err(Errno::INPROGRESS | Errno::INTR) => {
                socket.wait(PollFlags::OUT, deadline)?;
                let result = sockopt::socket_error(&socket.0).and_then(|result| result);
                result.map(|()| socket).map_err(refused)
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Sends all bytes.
    pub(super) fn send_all(&self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => _ = deadline.left()?,
                Err(error) => return Err(ended(error.to_string())),
            }
        }
        Ok(())
    }

    /// Waits for bytes, and returns their number; 0 at the end of the stream.
    pub(super) fn receive(&self, into: &mut [u8], deadline: Deadline) -> Result<usize, Failure> {
        loop {
            // waits first: the answer to a question is not there yet. A stream that never ends does not
            // outlast the deadline either.
            self.wait(PollFlags::IN, deadline)?;
            match recv(&self.0, &mut *into, RecvFlags::empty()) {
                Ok((_, received)) => return Ok(received),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(ended(error.to_string())),
            }
        }
    }

    /// Whether the other side has neither sent something nor ended the stream.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        loop {
            match recv(&self.0, &mut byte, RecvFlags::PEEK) {
                Err(Errno::INTR) => {}
                result => return matches!(result, Err(Errno::AGAIN)),
            }
        }
    }

    /// Ends the stream, also for copies in other processes.
    pub(super) fn end(self) {
        // the other side may have ended it
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    fn wait(&self, flags: PollFlags, deadline: Deadline) -> Result<(), Failure> {
        loop {
            // more than the system can wait for means without an end
            let left = Timespec::try_from(deadline.left()?).ok();
            match poll(&mut [PollFd::new(&self.0, flags)], left.as_ref()) {
                // the loop ends by the deadline
                Ok(0) | Err(Errno::INTR) => {}
                // an error or an end is found by the next call
                Ok(_) => return Ok(()),
                Err(error) => {
                    return Err(Failure::new(SIP_AUTHZ_SYSTEM, format!("poll: {error}")));
                }
            }
        }
    }
}

/// The error of a stream that has ended.
pub(super) fn ended(detail: impl Into<String>) -> Failure {
    Failure::new(SIP_AUTHZ_UNREACHABLE, detail)
}
