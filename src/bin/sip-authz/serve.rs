//! `sip-authz serve`: sets everything up, tells where it listens, and ends on a signal.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use sip_authz::directory::Settings;
use sip_authz::model::{Commit, Vocabulary};
use sip_authz::rest::{AdminToken, RestOptions};
use tokio::net::{TcpListener, UdpSocket};

use crate::args::{Api, OnAccept, ServeArgs};
use crate::config::{self, Config};
use crate::demo::{self, Demo};
use crate::edge::Edge;
use crate::failure::{Failure, complain, say};
use crate::log::DecisionLog;
use crate::resources::{Resources, Stopped};
use crate::respond::TagKey;
use crate::signals::{Signal, Signals};
use crate::{api, client, tcp, udp};

/// Tasks that read the UDP socket, so that a slow answer does not hold up the next datagram.
const UDP_TASKS: usize = 2;
/// Datagrams that wait while all tasks are busy, in bytes; the system may allow less.
const UDP_BUFFER: usize = 4 << 20;

pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let api = check_api(args)?;
    let demo = args.demo.then(Demo::new).transpose()?;
    let commit = match (&demo, &args.config) {
        (Some(demo), _) => demo.commit()?,
        (None, Some(path)) => {
            let config = Config::load(path).map_err(|error| Failure::Setup(error.to_string()))?;
            config.warn();
            config.commit
        }
        (None, None) => Commit::new(),
    };
    let (settings, options) = (settings(args)?, options(args)?);
    let admin = options.admin.is_some();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    let served = runtime.block_on(async {
        let signals = Signals::new().map_err(|error| Failure::Runtime(error.to_string()))?;
        let (resources, stopped) = Resources::start(commit, settings, options).await?;
        let tags = TagKey::random().map_err(|error| Failure::Runtime(error.to_string()))?;
        let on_accept = args.on_accept.clone().unwrap_or(OnAccept::Ok);
        let log = args.log.map(|_| DecisionLog { names: args.log_names });
        let authorizer = Arc::clone(&resources.authorizer);
        let edge = Arc::new(Edge::new(authorizer, tags, on_accept, log));
        let api = listen(args, &edge, api, &resources)?;
        tell(args, demo.as_ref(), api, admin);
        until_the_end(args, &resources, signals, stopped).await?;
        Ok(edge)
    });
    // connections end with the process
    runtime.shutdown_background();
    say(&served?.totals);
    Ok(ExitCode::SUCCESS)
}

/// Where HTTP is answered, if that is safe enough.
fn check_api(args: &ServeArgs) -> Result<Option<SocketAddr>, Failure> {
    match args.api {
        Api::Off if !args.demo && args.config.is_none() => Err(Failure::Setup(
            "--api off leaves nothing to serve: without --demo and --config everything comes by it"
                .to_owned(),
        )),
        Api::Off => Ok(None),
        Api::At(address) if !address.ip().to_canonical().is_loopback() && !args.insecure_api => {
            Err(Failure::Setup(format!(
                "--api {address}: others can reach this address, and HTTP carries tokens and \
                 passwords in clear; put a proxy with TLS before a loopback address (and \
                 name it with --public-url), or say --insecure-api"
            )))
        }
        Api::At(address) => Ok(Some(address)),
    }
}

fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Setup(error.to_string());
    let fallback = if args.demo { demo::REALM } else { "sip-authz" };
    let realm = match &args.realm {
        Some(realm) => realm.clone(),
        None => fallback.parse().map_err(|error| wrong(&error))?,
    };
    let registered = args.permission.iter().map(String::as_str);
    let vocabulary = Vocabulary::with(registered);
    Ok(Settings {
        suffixes: args.domain_suffix.iter().map(ToString::to_string).collect(),
        vocabulary: vocabulary.map_err(|error| wrong(&format_args!("--permission: {error}")))?,
        ..Settings::new(realm)
    })
}

fn options(args: &ServeArgs) -> Result<RestOptions, Failure> {
    let token = client::admin_token()?;
    Ok(RestOptions {
        admin: token.as_deref().and_then(|token| AdminToken::new(token)),
        cors_origins: args.cors_origin.clone(),
        public_base: args.public_url.clone(),
        read_only: args.config.is_some(),
        ..RestOptions::default()
    })
}

/// Tells what is served, and where.
fn tell(args: &ServeArgs, demo: Option<&Demo>, listening: Listening, admin: bool) {
    let Listening { sip, api } = listening;
    say(format_args!("listening for SIP on {sip} (udp and tcp)"));
    if let Some(api) = api {
        say(format_args!("listening for HTTP on http://{api}"));
    }
    match (demo, &args.config) {
        (Some(demo), _) => demo.print(sip, api),
        (None, Some(path)) => say(format_args!(
            "serving {}, which SIGHUP reads again; nothing is stored",
            path.display()
        )),
        (None, None) => {
            say("serving what comes by HTTP; nothing is kept: it is gone when the program ends");
            if !admin {
                let token = client::ADMIN_TOKEN;
                complain(format_args!("warning: {token} is not set, so nobody can make accounts"));
            }
        }
    }
}

/// Reads the file again at each signal that says so, until another ends the program.
async fn until_the_end(
    args: &ServeArgs,
    resources: &Resources,
    mut signals: Signals,
    mut stopped: Stopped,
) -> Result<(), Failure> {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            Some(why) = stopped.recv() => {
                let why = format!("decisions no longer follow what is stored: {why}");
                return Err(Failure::Runtime(why));
            }
        };
        match (signal, &args.config) {
            (Signal::End, _) => return Ok(()),
            (Signal::Reload, Some(path)) => reload(path, resources).await,
            (Signal::Reload, None) => complain("SIGHUP: there is no --config to read again"),
        }
    }
}

/// Puts what the file says now in force; if it cannot be used, the old state stays.
async fn reload(path: &std::path::Path, resources: &Resources) {
    let owned = path.to_owned();
    let named = path.display();
    // hashing many passwords takes its time, which no call should wait for
    let config = match tokio::task::spawn_blocking(move || Config::load(&owned)).await {
        Ok(Ok(config)) => config,
        Ok(Err(error)) => return complain(format_args!("{error}; {}", config::OLD_STATE)),
        Err(error) => return complain(format_args!("{named}: {error}; {}", config::OLD_STATE)),
    };
    config.warn();
    match resources.replace(config.commit).await {
        Ok(()) => complain(format_args!("{named} was read again and is in force")),
        Err(error) => complain(format_args!("{named}: {error}; {}", config::OLD_STATE)),
    }
}

/// The addresses that the program is found at.
#[derive(Clone, Copy)]
struct Listening {
    sip: SocketAddr,
    api: Option<SocketAddr>,
}

/// Opens all sockets, and then has them served.
fn listen(
    args: &ServeArgs,
    edge: &Arc<Edge>,
    api: Option<SocketAddr>,
    resources: &Resources,
) -> Result<Listening, Failure> {
    let (socket, listener, sip) = listen_sip(args.sip)?;
    let failed =
        |address| move |error: std::io::Error| Failure::Setup(bind_error(address, "api", &error));
    let http = match api {
        Some(address) => {
            let listener = bind_tcp(address).map_err(failed(address))?;
            let local = listener.local_addr().map_err(failed(address))?;
            Some((listener, local))
        }
        None => None,
    };
    let socket = Arc::new(socket);
    for _ in 0..UDP_TASKS {
        tokio::spawn(udp::serve(Arc::clone(edge), Arc::clone(&socket), sip));
    }
    tokio::spawn(tcp::serve(Arc::clone(edge), listener));
    let api = http.map(|(listener, local)| {
        tokio::spawn(api::serve(listener, Arc::clone(&resources.router)));
        local
    });
    Ok(Listening { sip, api })
}

/// Both sockets at one address and port.
fn listen_sip(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), Failure> {
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
