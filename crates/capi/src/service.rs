//! The client of a decision service. `docs/decision-service.md` has the protocol and the rules for clients.
//!
//! Each request has a connection for itself while it waits. Connections that are not in use wait in a
//! pool. After an error the connection is closed, so a late answer never meets a later request. No request
//! is sent twice.

mod connection;
mod pool;
mod socket;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use self::connection::Connection;
use self::pool::{Permit, Pool};
use self::socket::Address;
use crate::answer::FlatAnswer;
use crate::codes::SIP_AUTHZ_TIMEOUT;
use crate::failure::Failure;

/// The client of a service.
pub(crate) struct Service {
    address: Address,
    token: Option<Zeroizing<Vec<u8>>>,
    timeout: Duration,
    pool: Pool,
}

impl Service {
    /// A client for a Unix socket. It connects at the first request.
    pub(crate) fn unix(path: &[u8], timeout: Duration) -> Result<Self, Failure> {
        let path = PathBuf::from(OsStr::from_bytes(path));
        Self::new(Address::unix(path)?, None, timeout)
    }

    /// A client for a loopback address. It connects at the first request.
    pub(crate) fn tcp(
        address: &[u8],
        token: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(address);
        let address: SocketAddr = text.parse().map_err(|_| {
            Failure::argument(format!("expected an IP address and a port, got `{text}`"))
        })?;
        // the frames and the token are not encrypted, so the service does not listen elsewhere
        if !address.ip().to_canonical().is_loopback() {
            return Err(Failure::argument(format!("expected a loopback address, got {address}")));
        }
        let token = token.map(|token| Zeroizing::new(token.to_vec()));
        Self::new(Address::Tcp(address), token, timeout)
    }

    fn new(
        address: Address,
        token: Option<Zeroizing<Vec<u8>>>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        Ok(Self { address, token, timeout, pool: Pool::default() })
    }

    /// The answer to the frame of a question with this id.
    pub(crate) fn answer(&self, question: &[u8], id: u64) -> Result<FlatAnswer, Failure> {
        let deadline = Deadline::after(self.timeout);
        let permit = self.pool.permit(deadline)?;
        let mut connection = self.connection(&permit, deadline)?;
        if let Err(failure) = connection.check_length(question) {
            // nothing was sent
            permit.give_back(connection);
            return Err(failure);
        }
        let answer = connection.ask(question, id, deadline);
        match answer {
            Ok(_) => permit.give_back(connection),
            Err(_) => connection.end(),
        }
        answer
    }

    /// A connection that has not ended, as far as this side can know before it sends.
    fn connection(&self, permit: &Permit<'_>, deadline: Deadline) -> Result<Connection, Failure> {
        while let Some(idle) = permit.take_idle() {
            if idle.is_quiet() {
                return Ok(idle);
            }
            // the service has restarted, or has closed it
            idle.end();
        }
        Connection::open(&self.address, self.token.as_deref().map(Vec::as_slice), deadline)
    }

    /// Ends all connections. Called in the process of the handle only: a child of a fork has copies.
    pub(crate) fn end(&mut self) {
        self.pool.end();
    }
}

/// The end of the time for a request.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    /// None if the clock cannot show it.
    at: Option<Instant>,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout) }
    }

    /// The time that is left.
    fn left(self) -> Result<Duration, Failure> {
        let Some(at) = self.at else { return Ok(Duration::MAX) };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Self::passed("")) } else { Ok(left) }
    }

    /// The error of a deadline that has passed.
    fn passed(detail: &str) -> Failure {
        Failure::new(SIP_AUTHZ_TIMEOUT, detail)
    }
}
