//! The sockets that the program listens on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::system::failure::Failure;

/// Datagrams that wait at a socket while its thread is busy, in bytes; the system may allow less.
const UDP_BUFFER: usize = 4 << 20;

/// Where SIP is listened for: one address and port, for UDP and TCP.
pub(crate) struct SipSockets {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: TcpListener,
    pub(crate) address: SocketAddr,
}

impl SipSockets {
    /// Opens them, for so many threads that answer datagrams.
    pub(crate) fn open(address: SocketAddr, threads: usize) -> Result<Self, Failure> {
        // with port 0, the port that is free for UDP may be taken for TCP
        let attempts = if address.port() == 0 { 16 } else { 1 };
        let mut failure = Failure::Setup(format!("{address}: no free port"));
        for _ in 0..attempts {
            let failed =
                |transport| move |error: std::io::Error| bind_failure(address, transport, &error);
            let (udp, local) = bind_udp(address, threads).map_err(failed("udp"))?;
            match bind_tcp(local) {
                Ok(tcp) => return Ok(Self { udp, tcp, address: local }),
                Err(error) => failure = failed("tcp")(error),
            }
        }
        Err(failure)
    }
}

/// A listener and the address that it got. `what` it is for is told if that fails.
pub(crate) fn listen(
    address: SocketAddr,
    what: &str,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let listening = bind_tcp(address).and_then(|listener| {
        let local = listener.local_addr()?;
        Ok((listener, local))
    });
    listening.map_err(|error| bind_failure(address, what, &error))
}

/// A socket for each thread, which the system spreads datagrams over by where they come from.
fn bind_udp(address: SocketAddr, threads: usize) -> std::io::Result<(Vec<UdpSocket>, SocketAddr)> {
    // The first is bound alone: otherwise another process that shares ports would go unnoticed.
    let first = socket(address, Type::DGRAM)?;
    first.bind(&address.into())?;
    let local = UdpSocket::from(first.try_clone()?).local_addr()?;
    #[cfg(target_os = "linux")]
    first.set_reuse_port(true)?;
    let mut sockets = vec![first];
    while sockets.len() < threads {
        sockets.extend(another(&sockets, local)?);
    }
    // as much as the system allows; less works too
    sockets.iter().for_each(|socket| drop(socket.set_recv_buffer_size(UDP_BUFFER)));
    Ok((sockets.into_iter().map(UdpSocket::from).collect(), local))
}

#[cfg(target_os = "linux")]
fn another(_: &[Socket], local: SocketAddr) -> std::io::Result<Option<Socket>> {
    let socket = socket(local, Type::DGRAM)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local.into())?;
    Ok(Some(socket))
}

/// Where the system does not spread datagrams, all threads share one socket.
#[cfg(not(target_os = "linux"))]
fn another(sockets: &[Socket], _: SocketAddr) -> std::io::Result<Option<Socket>> {
    sockets.first().map(Socket::try_clone).transpose()
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM)?;
    // connections of an earlier run that are still closing do not hold the port
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // `[::]` means all addresses of this machine, whatever the system's default
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn bind_failure(address: SocketAddr, what: &str, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Failure::Setup(format!("{address} ({what}): {why}"))
}
