//! The sockets that the program listens on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::system::output::ProgramError;

/// The receive buffer and the send buffer of a UDP socket in bytes; the system may allow less. Answers
/// to a forged source in the same network can fill a send buffer, see `udp`.
const UDP_BUFFER: usize = 4 << 20;

/// The sockets for SIP on one address and port, UDP and TCP.
pub(crate) struct SipSockets {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: TcpListener,
    pub(crate) address: SocketAddr,
}

/// An address to bind a socket to.
#[derive(Clone, Copy)]
pub(crate) struct Bind {
    pub(crate) address: SocketAddr,
    /// Whether an IPv6 wildcard address leaves IPv4 to another socket.
    pub(crate) only_v6: bool,
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Self { address, only_v6: false }
    }
}

impl SipSockets {
    /// Opens the sockets, with one UDP socket per thread where the system supports it.
    pub(crate) fn open(bind: Bind, threads: usize) -> Result<Self, ProgramError> {
        let address = bind.address;
        // with port 0, the free UDP port may be in use for TCP
        let attempts = if address.port() == 0 { 16 } else { 1 };
        let mut last_error = ProgramError::Setup(format!("{address}: no free port"));
        for _ in 0..attempts {
            let failed =
                |transport| move |error: std::io::Error| bind_error(address, transport, &error);
            let (udp, local) = bind_udp(bind, threads).map_err(failed("udp"))?;
            match bind_tcp(Bind { address: local, ..bind }) {
                Ok(tcp) => return Ok(Self { udp, tcp, address: local }),
                Err(error) => last_error = failed("tcp")(error),
            }
        }
        Err(last_error)
    }
}

/// Opens a TCP listener; returns it with its address. `what` names its purpose in an error.
pub(crate) fn listen(
    bind: impl Into<Bind>,
    what: &str,
) -> Result<(TcpListener, SocketAddr), ProgramError> {
    let bind = bind.into();
    let listening = bind_tcp(bind).and_then(|listener| {
        let local = listener.local_addr()?;
        Ok((listener, local))
    });
    listening.map_err(|error| bind_error(bind.address, what, &error))
}

/// Opens a UDP socket per thread. The system spreads datagrams over them by source.
fn bind_udp(bind: Bind, threads: usize) -> std::io::Result<(Vec<UdpSocket>, SocketAddr)> {
    // The first is bound without SO_REUSEPORT: a port that another process uses is then an error.
    let first = socket(bind, Type::DGRAM)?;
    first.bind(&bind.address.into())?;
    let local = UdpSocket::from(first.try_clone()?).local_addr()?;
    #[cfg(target_os = "linux")]
    first.set_reuse_port(true)?;
    let mut sockets = vec![first];
    while sockets.len() < threads {
        sockets.extend(another(&sockets, Bind { address: local, ..bind })?);
    }
    // best effort: a smaller buffer works too
    for socket in &sockets {
        drop(socket.set_recv_buffer_size(UDP_BUFFER));
        drop(socket.set_send_buffer_size(UDP_BUFFER));
    }
    Ok((sockets.into_iter().map(UdpSocket::from).collect(), local))
}

#[cfg(target_os = "linux")]
fn another(_: &[Socket], local: Bind) -> std::io::Result<Option<Socket>> {
    let socket = socket(local, Type::DGRAM)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local.address.into())?;
    Ok(Some(socket))
}

/// Clones the first socket: here the system does not spread datagrams over sockets.
#[cfg(not(target_os = "linux"))]
fn another(sockets: &[Socket], _: Bind) -> std::io::Result<Option<Socket>> {
    sockets.first().map(Socket::try_clone).transpose()
}

fn bind_tcp(bind: Bind) -> std::io::Result<TcpListener> {
    let socket = socket(bind, Type::STREAM)?;
    // the port is usable while connections of an earlier run are still closing
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&bind.address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn socket(bind: Bind, kind: Type) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind.address), kind, None)?;
    if bind.address.is_ipv6() {
        // `[::]` alone accepts IPv4 too, regardless of the system's default
        socket.set_only_v6(bind.only_v6)?;
    }
    Ok(socket)
}

fn bind_error(address: SocketAddr, what: &str, error: &std::io::Error) -> ProgramError {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    ProgramError::Setup(format!("{address} ({what}): {why}"))
}
