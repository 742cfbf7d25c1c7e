//! `sip-authz serve`: opens the store and the listeners, prints their addresses, and runs until a
//! signal.

mod options;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sip_authz::Authorizer;
use sip_authz::model::Commit;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::args::ServeArgs;
use crate::commands::client;
use crate::decide::counts::DecideCounts;
use crate::decide::{self, DecisionService};
use crate::observe::audit::Audit;
use crate::observe::log::DecisionLog;
use crate::observe::logins::FailedLogins;
use crate::observe::metrics::Scraped;
use crate::observe::observers::DecisionObservers;
use crate::observe::recent::Recent;
use crate::observe::reloads::Reloads;
use crate::observe::targets::TargetCounts;
use crate::observe::writer::Writer;
use crate::serving::api;
use crate::serving::console::ConsoleSetup;
use crate::serving::demo::Demo;
use crate::serving::edge_name;
use crate::serving::forwarding;
use crate::serving::open::open;
use crate::serving::resources::{Resources, Setup};
use crate::serving::summary::Counts;
use crate::sip::edge::Edge;
use crate::sip::listeners::{Listeners, OpenListeners};
use crate::sip::naming::Naming;
use crate::sip::peer::Local;
use crate::sip::redirect::Answers;
use crate::sip::respond::TagKey;
use crate::sip::sockets;
use crate::sip::tcp;
use crate::sip::udp;
use crate::system::key_file::load_keys;
use crate::system::output::{ProgramError, config_lines, say, warn, warn_all};
use crate::system::process;
use crate::system::secure::{Secured, Security};
use crate::system::service::{self, Phase};
use crate::system::signals::{EarlySignals, Signal, Signals};
use options::{check_api, options, settings};
use sip_authz_config::{Edge as FileEdge, Options};

/// The end of a message about a failed reload.
const OLD_STATE: &str = "the old state stays in use";

pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, ProgramError> {
    // separate runtimes, so that HTTP requests of tenants never delay calls
    let (runtime, streams) = (runtime("http")?, runtime("sip")?);
    let early = {
        let _within = runtime.enter();
        EarlySignals::new().map_err(|error| ProgramError::Runtime(error.to_string()))?
    };
    let demo = args.demo.then(Demo::new).transpose()?;
    let reloads = Arc::new(Reloads::default());
    let (records, file) = match records(args, demo.as_ref()) {
        Ok(found) => found,
        Err(last) => {
            // those of the certificates too, so that all errors are printed at once
            if let Err(error) = Secured::load(args, &reloads) {
                error.report();
            }
            return Err(last);
        }
    };
    let args = &args.clone().completed(file)?;
    let secured = Secured::load(args, &reloads)?;
    if args.config.is_some() {
        reloads.config.note(true);
    }
    let counts = args.config.is_some().then(|| Counts::of(&records));
    let api = check_api(args, &secured)?;
    #[cfg(feature = "etcd")]
    args.check_advertised_api().map_err(ProgramError::Setup)?;
    let listeners = Listeners::resolve(args)?;
    let logins = Arc::new(FailedLogins::default());
    let (settings, options) = (settings(args)?, options(args, &logins)?);
    open_files(args, listeners.count(), api.is_some());
    let admin = options.admin.is_some();
    let (capacity, recent) = (args.limits.capacity(), recent(args, &listeners)?);
    let (edge, default_domain) = (edge_name::of(args), args.listen.default_domain.clone());
    let console = args.console.then(|| ConsoleSetup::new(args, api, &reloads));
    let setup = Setup {
        settings,
        options,
        capacity,
        recent,
        has_api: api.is_some(),
        edge,
        console,
        default_domain,
        #[cfg(feature = "etcd")]
        fleet: None,
    };
    let front = Front { demo: demo.as_ref(), api, admin, counts, reloads, logins };
    let served = runtime.block_on(async {
        let mut signals =
            Signals::new(early).map_err(|error| ProgramError::Runtime(error.to_string()))?;
        let resources = tokio::select! {
            started = open(args, records, setup) => started?,
            () = signals.end() => return Ok(None),
        };
        let served = answer(args, front, listeners, &resources, &secured, &streams, signals).await;
        resources.end().await;
        served.map(Some)
    });
    // connections end with the process
    streams.shutdown_background();
    runtime.shutdown_background();
    if let Some(edge) = served? {
        if let Some(log) = &edge.observers.log {
            log.end();
        }
        if let Some(audit) = &edge.observers.audit {
            audit.end();
        }
        // on its own thread: the reader of stdout may have stopped
        let writer = Writer::start("totals", move || say(&edge.totals))?;
        if !writer.ends() {
            warn("the totals could not be written: stdout is blocked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The grace period for open HTTP requests at the end of the program.
const END: Duration = Duration::from_secs(10);
/// The wait before the grace period is announced.
const END_IN_SILENCE: Duration = Duration::from_millis(300);

/// Facts that the program prints at the start.
struct Front<'a> {
    demo: Option<&'a Demo>,
    api: Option<SocketAddr>,
    admin: bool,
    /// The numbers of records of the configuration file.
    counts: Option<Counts>,
    reloads: Arc<Reloads>,
    logins: Arc<FailedLogins>,
}

/// The records of the demo or of the configuration file, whose warnings it prints, and the file's
/// settings of the edge.
fn records(args: &ServeArgs, demo: Option<&Demo>) -> Result<(Commit, FileEdge), ProgramError> {
    match (demo, &args.config) {
        (Some(demo), _) => Ok((demo.commit()?, FileEdge::default())),
        (None, Some(path)) => {
            let config = sip_authz_config::load(path, &config_options(args));
            let config = config.map_err(ProgramError::Config)?;
            warn_all(config.warnings());
            Ok((config.commit, config.edge))
        }
        (None, None) => Ok((Commit::new(), FileEdge::default())),
    }
}

/// The facts that the configuration file lacks.
fn config_options(args: &ServeArgs) -> Options {
    #[cfg(feature = "tls")]
    let has_tls = !args.tls.sips.is_empty();
    #[cfg(not(feature = "tls"))]
    let has_tls = {
        let _ = args;
        false
    };
    Options::new().tls(has_tls).next_hops(args.next_hops())
}

/// Opens the listeners and answers SIP and HTTP until a signal or an error.
async fn answer(
    args: &ServeArgs,
    front: Front<'_>,
    listeners: Listeners,
    resources: &Resources,
    secured: &Secured,
    streams: &Runtime,
    mut signals: Signals,
) -> Result<Arc<Edge>, ProgramError> {
    let tags = TagKey::random().map_err(|error| ProgramError::Runtime(error.to_string()))?;
    // the targets in a file were checked when it was read
    let allowed = args.config.is_none().then(|| args.next_hops());
    let answers = Answers::new(args.default_answer(), allowed);
    warn_all(&answers.warnings(&resources.authorizer.snapshot()));
    let authorizer = Arc::clone(&resources.authorizer);
    let observers = observers(args, &authorizer)?.with_recent(Arc::clone(resources.recent()));
    tokio::spawn(resources.decisions.clone().keep_forgetting());
    let edge = Edge::new(authorizer, tags, answers, args.udp_reply_port, observers);
    let edge = edge.with_trusted(args.proxies.trusted());
    let OpenListeners { sip, sips, naming } = listeners.open(udp_workers(args))?;
    let http = front.api.map(|address| sockets::listen(address, "api")).transpose()?;
    let scrapes = args.metrics.map(|address| sockets::listen(address, "metrics")).transpose()?;
    let decide = decide::OpenListeners::open(&args.decide)?;
    let decide_counts =
        (!decide.is_empty()).then(|| DecideCounts::start().map(Arc::new)).transpose()?;
    let listening = Listening {
        sip: sip.iter().map(|sockets| sockets.address).collect(),
        sips: sips.iter().map(|(_, local)| *local).collect(),
        api: http.as_ref().map(|(_, local)| *local),
        metrics: scrapes.as_ref().map(|(_, local)| *local),
    };
    announce(args, &front, &listening, &naming, secured);
    decide.announce();
    tokio::spawn(Arc::clone(&front.reloads).watch_certificates());
    let within = streams.enter();
    let (forwarding, outlets, inbound) = forwarding::open(args, &naming, &sip)?;
    let edge = Arc::new(edge.with_naming(naming).with_forwarding(forwarding, outlets));
    inbound.set(&edge);
    forwarding::resolve(&edge).await;
    streams.spawn(forwarding::follow(Arc::clone(&edge)));
    drop(within);
    let failed = |error: std::io::Error| ProgramError::Runtime(error.to_string());
    let mut servers = Vec::new();
    if let Some((listener, _)) = http {
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let (router, security) = (Arc::clone(&resources.router), secured.api.clone());
        servers.push(api::Server::start(listener, router, security, args.api_bounds));
    }
    if let Some((listener, address)) = scrapes {
        let local = address.ip().to_canonical().is_loopback();
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let (reloads, logins) = (Arc::clone(&front.reloads), Arc::clone(&front.logins));
        let scraped = Scraped::new(Arc::clone(&edge), resources, reloads, logins);
        let scraped = scraped.with_decide(decide_counts.clone());
        let router = scraped.router(local);
        let router = Arc::new(ArcSwap::from_pointee(router));
        servers.push(api::Server::start(listener, router, Security::None, args.api_bounds));
    }
    let within = streams.enter();
    let (mut udp, count, most) = (Vec::new(), sip.len(), args.listen.sip_connections);
    for (number, sockets) in sip.into_iter().enumerate() {
        let listener = TcpListener::from_std(sockets.tcp).map_err(failed)?;
        streams.spawn(tcp::serve(Arc::clone(&edge), listener, number, most, Security::None));
        let local = Local::at(sockets.address, number);
        udp.extend(sockets.udp.into_iter().map(|socket| (socket, local)));
    }
    for (number, (listener, _)) in (count..).zip(sips) {
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        streams.spawn(tcp::serve(Arc::clone(&edge), listener, number, most, secured.sips.clone()));
    }
    drop(within);
    let (stopped, threads) = unbounded_channel();
    let workers = udp::start(&edge, udp, &stopped).map_err(failed)?;
    let decide = match &decide_counts {
        Some(counts) => DecisionService::start(&edge, decide, counts, streams, &stopped)?,
        None => None,
    };
    service::report(Phase::Ready(&status(args)));
    let state = Reloaded { args, resources, secured, reloads: &front.reloads, edge: &edge };
    let ended = until_the_end(&state, &edge, &mut signals, threads).await;
    service::report(Phase::Stopping);
    resources.decisions.end();
    if let Some(decide) = decide {
        decide.end().await;
    }
    if ended.is_ok() {
        tokio::select! {
            () = end(servers) => {}
            () = signals.end() => {}
        }
    }
    workers.end(|| {});
    ended.map(|()| edge)
}

/// The status for the service manager.
fn status(args: &ServeArgs) -> String {
    match (&args.config, args.store()) {
        (Some(path), _) => format!("serving the records in {}", path.display()),
        (None, Some(store)) => format!("serving {store}"),
        (None, None) => "serving records in memory".to_owned(),
    }
}

/// Stops the HTTP servers and waits for open requests. Calls are answered meanwhile.
async fn end(servers: Vec<api::Server>) {
    let ended = async {
        for server in servers {
            server.end().await;
        }
    };
    tokio::pin!(ended);
    if tokio::time::timeout(END_IN_SILENCE, &mut ended).await.is_err() {
        warn(format_args!(
            "waiting up to {} s for open HTTP requests; a second signal stops the program at once",
            END.as_secs()
        ));
        if tokio::time::timeout(END, ended).await.is_err() {
            warn(format_args!(
                "warning: HTTP requests are still open after {} s; they get no answer",
                END.as_secs()
            ));
        }
    }
}

/// Starts the log and the decision log.
fn observers(
    args: &ServeArgs,
    authorizer: &Arc<Authorizer>,
) -> Result<DecisionObservers, ProgramError> {
    let log = args.log.map(|sampling| {
        let authorizer = Arc::clone(authorizer);
        DecisionLog::start(sampling, args.log_names, args.log_rate.0, authorizer)
    });
    let audit = args.decision_log.options();
    let audit = audit.map(|options| Audit::start(options, Arc::clone(authorizer)));
    let rows = args.metrics.map_or(0, |_| args.metrics_domains);
    let targets = (rows > 0).then(|| TargetCounts::new(rows, Instant::now()));
    Ok(DecisionObservers::new(log.transpose()?, audit.transpose()?).with_targets(targets))
}

/// Raises the limit of open files, and warns if it does not cover all connections.
fn open_files(args: &ServeArgs, sip: usize, api: bool) {
    let sip = sip as u64;
    let http = u64::from(u16::from(api) + u16::from(args.metrics.is_some()));
    let connections = sip
        * tcp::most_connections(args.listen.sip_connections, &args.proxies.trusted())
        + http * u64::from(args.api_bounds.connections)
        + decide::most_connections(&args.decide);
    if let Err(allowed) = process::make_room(connections) {
        warn(format_args!(
            "warning: the limit of {allowed} open files does not cover {connections} connections: \
             clients could block each other and the store; raise it (ulimit -n, LimitNOFILE=)"
        ));
    }
}

/// Reserves memory for recent decisions: a ring for each UDP thread, and one for the connections.
fn recent(args: &ServeArgs, listeners: &Listeners) -> Result<Arc<Recent>, ProgramError> {
    let threads = listeners.udp_count().saturating_mul(udp_workers(args));
    Recent::new(args.recent.options(), threads).map(Arc::new)
}

/// The number of UDP threads.
fn udp_workers(args: &ServeArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    args.udp_workers.map_or_else(cores, usize::from)
}

/// Prints the addresses of the listeners and the source of the records.
fn announce(
    args: &ServeArgs,
    front: &Front<'_>,
    listening: &Listening,
    naming: &Naming,
    secured: &Secured,
) {
    let Front { demo, admin, counts, .. } = *front;
    let (api, metrics) = (listening.api, listening.metrics);
    listening.announce(naming);
    if let Some(api) = api {
        let scheme = if secured.api.is_none() { "http" } else { "https" };
        say(format_args!("listening for HTTP on {scheme}://{api}"));
        if args.console {
            say(format_args!("the console is at {scheme}://{api}/console/"));
        }
    }
    if let Some(metrics) = metrics {
        say(format_args!("listening for scrapes on http://{metrics}/metrics"));
        if !metrics.ip().to_canonical().is_loopback() {
            warn(format_args!(
                "warning: --metrics {metrics}: anyone who can reach this address can read the metrics"
            ));
        }
    }
    match (demo, &args.config) {
        (Some(demo), _) => {
            listening.sip.first().into_iter().for_each(|sip| demo.print(*sip, api));
        }
        (None, Some(path)) => {
            say(format_args!(
                "serving the records in {}; SIGHUP reloads it, changes over HTTP are refused",
                path.display()
            ));
            if let Some(counts) = counts {
                say(format_args!("snapshot 1: {counts}"));
            }
        }
        (None, None) => {
            match args.store() {
                Some(store) => say(format_args!("serving {store}")),
                None => say("serving records in memory, empty at first; they are lost at exit \
                     (--data stores them)"),
            }
            if !admin && api.is_some() {
                let token = client::ADMIN_TOKEN;
                warn(format_args!("warning: {token} is not set, so no accounts can be created"));
            }
        }
    }
}

/// The state that SIGHUP reloads.
struct Reloaded<'a> {
    args: &'a ServeArgs,
    resources: &'a Resources,
    secured: &'a Secured,
    reloads: &'a Arc<Reloads>,
    edge: &'a Edge,
}

/// Reloads at each SIGHUP and reopens the decision log at each SIGUSR1, until another signal ends the
/// program or a UDP thread stops. Only SIGHUP waits for the end of a reload, which may hang on the file.
async fn until_the_end(
    state: &Reloaded<'_>,
    edge: &Edge,
    signals: &mut Signals,
    mut threads: UnboundedReceiver<String>,
) -> Result<(), ProgramError> {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            Some(why) = threads.recv() => return Err(ProgramError::Runtime(why)),
        };
        match signal {
            Signal::End => return Ok(()),
            Signal::Reload => {
                service::report(Phase::Reloading);
                let reload = state.reload();
                tokio::pin!(reload);
                loop {
                    let signal = tokio::select! {
                        () = &mut reload => break,
                        signal = signals.next_but_reload() => signal,
                        Some(why) = threads.recv() => return Err(ProgramError::Runtime(why)),
                    };
                    match signal {
                        Signal::End => return Ok(()),
                        _ => reopen(edge),
                    }
                }
                service::report(Phase::Reloaded);
            }
            Signal::Reopen => reopen(edge),
        }
    }
}

/// Reopens the decision log. Apart from SIGHUP, so that a rotation does not load a file that is being
/// edited.
fn reopen(edge: &Edge) {
    match &edge.observers.audit {
        Some(audit) => audit.reopen(),
        None => warn("SIGUSR1: nothing to reopen without --decision-log"),
    }
}

impl Reloaded<'_> {
    /// Loads the certificates and the configuration file again.
    async fn reload(&self) {
        let (secured, reloads) = (self.secured.clone(), Arc::clone(self.reloads));
        let certificates = tokio::task::spawn_blocking(move || secured.reload(&reloads)).await;
        let certificates = certificates.unwrap_or_else(|error| {
            warn(format_args!("certificates: {error}; {OLD_STATE}"));
            true
        });
        let keys = self.reload_keys();
        match &self.args.config {
            Some(path) => self.reloads.config.note(self.reload_config(path).await),
            None if certificates || keys => {}
            None => warn("SIGHUP: nothing to reload without --config"),
        }
    }

    /// Loads the keys of forwarded calls; after an error the old ones stay in use. Returns whether there
    /// is a file of keys.
    fn reload_keys(&self) -> bool {
        let file = self.args.forward.key_file(self.args.data.as_deref());
        let Some(((path, _), forwarding)) = file.zip(self.edge.forwarding()) else { return false };
        match load_keys(&path) {
            Ok(keys) => {
                warn(format_args!("reloaded {}: keys {keys:?}", path.display()));
                forwarding.set_keys(keys);
            }
            Err(error) => warn(format_args!("{error}; {OLD_STATE}")),
        }
        true
    }

    /// Loads the configuration file and replaces the records; after an error the old ones stay in use.
    /// Returns whether it succeeded.
    async fn reload_config(&self, path: &std::path::Path) -> bool {
        let owned = path.to_owned();
        let named = path.display();
        let options = config_options(self.args);
        // on a thread of its own: hashing many passwords takes long
        let load = move || sip_authz_config::load(&owned, &options);
        let config = match tokio::task::spawn_blocking(load).await {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => {
                let mut lines = config_lines(&errors);
                let last = lines.pop().unwrap_or_default();
                lines.iter().for_each(warn);
                warn(format_args!("{last}; {OLD_STATE}"));
                return false;
            }
            Err(error) => {
                warn(format_args!("{named}: {error}; {OLD_STATE}"));
                return false;
            }
        };
        warn_all(config.warnings());
        self.args.listen.warn_of_changes(&config.edge);
        let counts = Counts::of(&config.commit);
        match self.resources.replace(config.commit).await {
            Ok(changes) => {
                let number = self.resources.authorizer.snapshot().number();
                warn(format_args!("reloaded {named}: snapshot {number}: {counts}"));
                warn(format_args!("snapshot {number}: {changes}"));
                true
            }
            Err(error) => {
                warn(format_args!("{named}: {error}; {OLD_STATE}"));
                false
            }
        }
    }
}

/// The addresses of the listeners.
struct Listening {
    sip: Vec<SocketAddr>,
    sips: Vec<SocketAddr>,
    api: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl Listening {
    /// Prints the addresses for SIP, and the names that callers see in their place.
    fn announce(&self, naming: &Naming) {
        for address in &self.sip {
            say(format_args!("listening for SIP on {address} (udp and tcp)"));
        }
        for address in &self.sips {
            say(format_args!("listening for SIP on {address} (tls)"));
        }
        let all = || self.sip.iter().chain(&self.sips);
        if all().next().is_none() {
            return;
        }
        for (number, name) in naming.advertised() {
            if let Some(address) = all().nth(number) {
                say(format_args!("callers of {address} see {name}"));
            }
        }
        if all().all(|address| address.ip().to_canonical().is_loopback()) {
            say("listening on loopback only; callers on other machines need --sip :5060");
        }
    }
}

/// Starts a runtime for one kind of work, so that it does not wait for another kind.
fn runtime(name: &str) -> Result<Runtime, ProgramError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(name).build();
    runtime.map_err(|error| ProgramError::Runtime(format!("cannot start the runtime: {error}")))
}
