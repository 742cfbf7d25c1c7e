//! `sip-authz serve`: sets everything up, tells where it listens, and ends on a signal.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use sip_authz::Authorizer;
use tokio::net::{TcpListener, UdpSocket};

use crate::args::{OnAccept, ServeArgs};
use crate::config::{self, Config};
use crate::demo::Demo;
use crate::edge::Edge;
use crate::failure::{Failure, complain, say};
use crate::log::DecisionLog;
use crate::respond::TagKey;
use crate::signals::{Signal, Signals};
use crate::{tcp, udp};

/// Tasks that read the UDP socket, so that a slow answer does not hold up the next datagram.
const UDP_TASKS: usize = 2;
/// Datagrams that wait while all tasks are busy, in bytes; the system may allow less.
const UDP_BUFFER: usize = 4 << 20;

pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let random = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
    let demo = args.demo.then(Demo::new).transpose()?;
    let snapshot = match (&demo, &args.config) {
        (Some(demo), _) => demo.snapshot()?,
        (None, Some(path)) => {
            let config = Config::load(path).map_err(|error| Failure::Setup(error.to_string()))?;
            config.warn();
            config.snapshot
        }
        (None, None) => return Err(Failure::Setup("--demo or --config is needed".to_owned())),
    };
    let authorizer = Authorizer::new(snapshot).map_err(|error| random(&error))?;
    let tags = TagKey::random().map_err(|error| random(&error))?;
    let on_accept = args.on_accept.clone().unwrap_or(OnAccept::Ok);
    let log = args.log.map(|_| DecisionLog { names: args.log_names });
    let edge = Arc::new(Edge::new(authorizer, tags, on_accept, log));

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    let served = runtime.block_on(serve(args, demo.as_ref(), &edge));
    // connections end with the process
    runtime.shutdown_background();
    served?;
    say(&edge.totals);
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal ends it.
async fn serve(args: &ServeArgs, demo: Option<&Demo>, edge: &Arc<Edge>) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::Runtime(error.to_string()))?;
    let (socket, listener, local) = listen(args.sip)?;
    let socket = Arc::new(socket);
    for _ in 0..UDP_TASKS {
        tokio::spawn(udp::serve(Arc::clone(edge), Arc::clone(&socket), local));
    }
    tokio::spawn(tcp::serve(Arc::clone(edge), listener));

    say(format_args!("listening for SIP on {local} (udp and tcp)"));
    match (demo, &args.config) {
        (Some(demo), _) => demo.print(local),
        (None, Some(path)) => say(format_args!(
            "serving {}, which SIGHUP reads again; nothing is stored",
            path.display()
        )),
        (None, None) => {}
    }
    loop {
        match (signals.next().await, &args.config) {
            (Signal::End, _) => return Ok(()),
            (Signal::Reload, Some(path)) => reload(path, edge).await,
            (Signal::Reload, None) => complain("SIGHUP: there is no --config to read again"),
        }
    }
}

/// Puts what the file says now in force; if it cannot be used, the old state stays.
async fn reload(path: &std::path::Path, edge: &Edge) {
    let owned = path.to_owned();
    // hashing many passwords takes its time, which no call should wait for
    match tokio::task::spawn_blocking(move || Config::load(&owned)).await {
        Ok(Ok(config)) => {
            config.warn();
            edge.authorizer.replace(config.snapshot);
            complain(format_args!("{} was read again and is in force", path.display()));
        }
        Ok(Err(error)) => complain(format_args!("{error}; {}", config::OLD_STATE)),
        Err(error) => complain(format_args!("{}: {error}; {}", path.display(), config::OLD_STATE)),
    }
}

/// Both sockets at one address and port.
fn listen(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), Failure> {
    // with port 0, the port that is free for UDP may be taken for TCP
    let attempts = if address.port() == 0 { 16 } else { 1 };
    let mut failure = Failure::Setup(format!("{address}: no free port"));
    for _ in 0..attempts {
        let failed = |transport: &'static str| {
            move |error: std::io::Error| Failure::Setup(bind_error(address, transport, &error))
        };
        let socket = bind_udp(address).map_err(failed("udp"))?;
        let local = socket.local_addr().map_err(failed("udp"))?;
        match bind_tcp(local) {
            Ok(listener) => return Ok((socket, listener, local)),
            Err(error) => failure = failed("tcp")(error),
        }
    }
    Err(failure)
}

fn bind_udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = bind(address, socket2::Type::DGRAM)?;
    // as much as the system allows; less works too
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = bind(address, socket2::Type::STREAM)?;
    socket.listen(1_024)?;
    TcpListener::from_std(socket.into())
}

fn bind(address: SocketAddr, kind: socket2::Type) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // `[::]` means all addresses of this machine, whatever the system's default
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    if kind == socket2::Type::STREAM {
        // connections of an earlier run that are still closing do not hold the port
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_error(address: SocketAddr, transport: &str, error: &std::io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("{address} ({transport}): {why}")
}
