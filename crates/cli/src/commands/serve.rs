//! `sip-authz serve`: sets everything up, tells where it listens, and ends on a signal.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sip_authz::model::{Commit, Vocabulary};
use sip_authz_directory::Settings;
use sip_authz_rest::{AdminToken, RestOptions};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::args::{Api, OnAccept, ServeArgs};
use crate::commands::client;
use crate::observe::audit::Audit;
use crate::observe::faults;
use crate::observe::log::DecisionLog;
use crate::observe::metrics::Scraped;
use crate::observe::watch::Watch;
use crate::observe::writer::Writer;
use crate::serving::api;
use crate::serving::demo::{self, Demo};
use crate::serving::open::open;
use crate::serving::resources::{Resources, Setup};
use crate::sip::edge::Edge;
use crate::sip::respond::TagKey;
use crate::sip::sockets::{self, SipSockets};
use crate::sip::tcp;
use crate::sip::udp::Workers;
use crate::system::failure::{Failure, complain, config_lines, say, warn};
use crate::system::process;
use crate::system::secure::{Secured, Security};
use crate::system::signals::{Signal, Signals};
use sip_authz_config::Options;

/// The end of a message about a file that was read again and cannot be used.
const OLD_STATE: &str = "the old state stays in force";

pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let secured = Secured::load(args)?;
    let api = check_api(args, &secured)?;
    let demo = args.demo.then(Demo::new).transpose()?;
    let records = match (&demo, &args.config) {
        (Some(demo), _) => demo.commit()?,
        (None, Some(path)) => {
            let config = sip_authz_config::load(path, &Options::new()).map_err(Failure::Config)?;
            warn(config.warnings());
            config.commit
        }
        (None, None) => Commit::new(),
    };
    let (settings, options) = (settings(args)?, options(args)?);
    open_files(args, &secured, api.is_some());
    let admin = options.admin.is_some();
    let setup = Setup { settings, options, capacity: args.limits.capacity() };
    let front = Front { demo: demo.as_ref(), api, admin };
    // what a tenant asks for by HTTP, however much it is, delays no call
    let (runtime, streams) = (runtime("http")?, runtime("sip")?);
    let served = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| Failure::Runtime(error.to_string()))?;
        let resources = tokio::select! {
            started = open(args, records, setup) => started?,
            () = signals.end() => return Ok(None),
        };
        let served = answer(args, &front, &resources, &secured, &streams, signals).await;
        resources.end().await;
        served.map(Some)
    });
    // connections end with the process
    streams.shutdown_background();
    runtime.shutdown_background();
    if let Some(edge) = served? {
        if let Some(log) = &edge.watch.log {
            log.end();
        }
        if let Some(audit) = &edge.watch.audit {
            audit.end();
        }
        // whoever reads stdout may have stopped
        let told = Writer::start("totals", move || say(&edge.totals))?;
        if !told.ends() {
            complain("nobody takes the totals");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What requests of HTTP have to be answered in once the program is told to end.
const END: Duration = Duration::from_secs(10);
/// What of that passes before it is told.
const END_IN_SILENCE: Duration = Duration::from_millis(300);

/// What there is beside the records.
struct Front<'a> {
    demo: Option<&'a Demo>,
    api: Option<SocketAddr>,
    admin: bool,
}

/// Answers whoever asks, until a signal or a failure ends it.
async fn answer(
    args: &ServeArgs,
    front: &Front<'_>,
    resources: &Resources,
    secured: &Secured,
    streams: &Runtime,
    mut signals: Signals,
) -> Result<Arc<Edge>, Failure> {
    let tags = TagKey::random().map_err(|error| Failure::Runtime(error.to_string()))?;
    let on_accept = args.on_accept.clone().unwrap_or(OnAccept::Ok);
    let authorizer = Arc::clone(&resources.authorizer);
    let edge = Arc::new(Edge::new(authorizer, tags, on_accept, watch(args)?));
    let sip = SipSockets::open(args.sip, udp_workers(args))?;
    let http = front.api.map(|address| sockets::listen(address, "api")).transpose()?;
    let sips = secured.sips.as_ref().map(|(address, _)| sockets::listen(*address, "tls"));
    let sips = sips.transpose()?;
    let scrapes = args.metrics.map(|address| sockets::listen(address, "metrics")).transpose()?;
    let listening = Listening {
        sip: sip.address,
        sips: sips.as_ref().map(|(_, local)| *local),
        api: http.as_ref().map(|(_, local)| *local),
        metrics: scrapes.as_ref().map(|(_, local)| *local),
    };
    tell(args, front, listening, secured);
    let failed = |error: std::io::Error| Failure::Runtime(error.to_string());
    let mut servers = Vec::new();
    if let Some((listener, _)) = http {
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let (router, security) = (Arc::clone(&resources.router), secured.api.clone());
        servers.push(api::Server::start(listener, router, security, args.api_bounds));
    }
    if let Some((listener, address)) = scrapes {
        let local = address.ip().to_canonical().is_loopback();
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let router = Scraped::new(Arc::clone(&edge), resources).router(local);
        let router = Arc::new(ArcSwap::from_pointee(router));
        servers.push(api::Server::start(listener, router, Security::None, args.api_bounds));
    }
    let within = streams.enter();
    let listener = TcpListener::from_std(sip.tcp).map_err(failed)?;
    streams.spawn(tcp::serve(Arc::clone(&edge), listener, Security::None));
    if let (Some((listener, _)), Some((_, security))) = (sips, &secured.sips) {
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        streams.spawn(tcp::serve(Arc::clone(&edge), listener, security.clone()));
    }
    drop(within);
    let (broken, threads) = unbounded_channel();
    let workers = Workers::start(&edge, sip.udp, sip.address, &broken).map_err(failed)?;
    let ended = until_the_end(args, resources, secured, &edge, &mut signals, threads).await;
    if ended.is_ok() {
        tokio::select! {
            () = end(servers) => {}
            () = signals.end() => {}
        }
    }
    workers.end();
    ended.map(|()| edge)
}

/// Has the HTTP servers end, which may have requests under way; calls are answered all the while.
async fn end(servers: Vec<api::Server>) {
    let ended = async {
        for server in servers {
            server.end().await;
        }
    };
    tokio::pin!(ended);
    if tokio::time::timeout(END_IN_SILENCE, &mut ended).await.is_err() {
        complain(format_args!(
            "ending once the HTTP requests under way are answered, in {} s at most; \
             another signal ends it at once",
            END.as_secs()
        ));
        let _ = tokio::time::timeout(END, ended).await;
    }
}

/// Who is to be told of decisions.
fn watch(args: &ServeArgs) -> Result<Watch, Failure> {
    let log = args.log.map(|sampling| DecisionLog::start(sampling, args.log_names));
    let queue = usize::try_from(args.decision_log_queue).unwrap_or(usize::MAX);
    let place = args.decision_log.clone();
    let audit = place.map(|place| Audit::start(place, queue, args.decision_log_names));
    Ok(Watch { log: log.transpose()?, audit: audit.transpose()?, ..Watch::default() })
}

/// Sees to it that all connections that may be open can be.
fn open_files(args: &ServeArgs, secured: &Secured, api: bool) {
    let sip = u64::from(1 + u16::from(secured.sips.is_some()));
    let http = u64::from(u16::from(api) + u16::from(args.metrics.is_some()));
    let connections =
        sip * tcp::MAX_CONNECTIONS as u64 + http * u64::from(args.api_bounds.connections);
    if let Err(allowed) = process::make_room(connections) {
        complain(format_args!(
            "warning: {allowed} files may be open, fewer than {connections} connections need: \
             clients could keep each other and the store from opening any (ulimit -n, LimitNOFILE=)"
        ));
    }
}

/// How many threads answer datagrams.
fn udp_workers(args: &ServeArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    args.udp_workers.map_or_else(cores, usize::from)
}

/// The best advice to whoever would have HTTP in clear reached by others.
const TLS_HINT: &str =
    if cfg!(feature = "tls") { "give it --api-cert and --api-key, " } else { "" };

/// Where HTTP is answered, if that is safe enough.
fn check_api(args: &ServeArgs, secured: &Secured) -> Result<Option<SocketAddr>, Failure> {
    match args.api {
        Api::Off if !args.demo && args.config.is_none() && args.store().is_none() => {
            Err(Failure::Setup(
                "--api off leaves nothing to serve: without --demo, --config and a store everything \
                 comes by it"
                    .to_owned(),
            ))
        }
        Api::Off => Ok(None),
        Api::At(address)
            if !address.ip().to_canonical().is_loopback()
                && secured.api.is_none()
                && !args.insecure_api =>
        {
            Err(Failure::Setup(format!(
                "--api {address}: others can reach this address, and HTTP carries tokens and \
                 passwords in clear; {TLS_HINT}put a proxy with TLS before a loopback address \
                 (and name it with --public-url), or say --insecure-api"
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
    Ok(Settings::new(realm)
        .with_limits(args.limits.limits())
        .with_suffixes(args.domain_suffix.iter().map(ToString::to_string).collect())
        .with_vocabulary(
            vocabulary.map_err(|error| wrong(&format_args!("--permission: {error}")))?,
        ))
}

fn options(args: &ServeArgs) -> Result<RestOptions, Failure> {
    let token = client::admin_token()?;
    Ok(RestOptions::default()
        .with_admin(token.as_deref().and_then(|token| AdminToken::new(token)))
        .with_cors_origins(args.cors_origin.clone())
        .with_on_fault(Some(faults::to_stderr()?))
        .with_public_base(args.public_url.clone())
        .with_read_only(args.config.is_some()))
}

/// Tells what is served, and where.
fn tell(args: &ServeArgs, front: &Front<'_>, listening: Listening, secured: &Secured) {
    let Front { demo, admin, .. } = *front;
    let Listening { sip, sips, api, metrics } = listening;
    say(format_args!("listening for SIP on {sip} (udp and tcp)"));
    if let Some(sips) = sips {
        say(format_args!("listening for SIP on {sips} (tls)"));
    }
    if let Some(api) = api {
        let scheme = if secured.api.is_none() { "http" } else { "https" };
        say(format_args!("listening for HTTP on {scheme}://{api}"));
    }
    if let Some(metrics) = metrics {
        say(format_args!("listening for scrapes on http://{metrics}/metrics"));
        if !metrics.ip().to_canonical().is_loopback() {
            complain(format_args!(
                "warning: --metrics {metrics}: whoever reaches this address can read the figures"
            ));
        }
    }
    match (demo, &args.config) {
        (Some(demo), _) => demo.print(sip, api),
        (None, Some(path)) => say(format_args!(
            "serving {}, which SIGHUP reads again; nothing is stored",
            path.display()
        )),
        (None, None) => {
            match args.store() {
                Some(store) => say(format_args!("serving {store}")),
                None => say(
                    "serving what comes by HTTP; nothing is kept: it is gone when the program ends \
                     (--data keeps it)",
                ),
            }
            if !admin && api.is_some() {
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
    secured: &Secured,
    edge: &Edge,
    signals: &mut Signals,
    mut threads: UnboundedReceiver<String>,
) -> Result<(), Failure> {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            Some(why) = threads.recv() => return Err(Failure::Runtime(why)),
        };
        if signal == Signal::End {
            return Ok(());
        }
        let certificates = secured.reload();
        let audit = edge.watch.audit.as_ref();
        if let Some(audit) = audit {
            audit.reopen();
        }
        match &args.config {
            Some(path) => reload(path, resources).await,
            None if certificates || audit.is_some() => {}
            None => complain("SIGHUP: there is no --config to read again"),
        }
    }
}

/// Puts what the file says now in force; if it cannot be used, the old state stays.
async fn reload(path: &std::path::Path, resources: &Resources) {
    let owned = path.to_owned();
    let named = path.display();
    // hashing many passwords takes its time, which no call should wait for
    let load = move || sip_authz_config::load(&owned, &Options::new());
    let config = match tokio::task::spawn_blocking(load).await {
        Ok(Ok(config)) => config,
        Ok(Err(errors)) => {
            let mut lines = config_lines(&errors);
            let last = lines.pop().unwrap_or_default();
            lines.iter().for_each(complain);
            return complain(format_args!("{last}; {OLD_STATE}"));
        }
        Err(error) => return complain(format_args!("{named}: {error}; {OLD_STATE}")),
    };
    warn(config.warnings());
    match resources.replace(config.commit).await {
        Ok(()) => complain(format_args!("{named} was read again and is in force")),
        Err(error) => complain(format_args!("{named}: {error}; {OLD_STATE}")),
    }
}

/// The addresses that the program is found at.
#[derive(Clone, Copy)]
struct Listening {
    sip: SocketAddr,
    sips: Option<SocketAddr>,
    api: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// A runtime of its own for one kind of work, so that none waits for another kind.
fn runtime(name: &str) -> Result<Runtime, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(name).build();
    runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))
}
