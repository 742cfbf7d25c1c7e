//! The options of `sip-authz serve`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sip_authz::Sampling;
use sip_authz::model::{DomainName, NextHop, NextHopSet, OnAccept, Realm};
#[cfg(feature = "tls")]
use sip_authz_config::Listener;

#[cfg(feature = "etcd")]
use super::bounds;
use super::bounds::ApiBounds;
use super::decide::DecideArgs;
use super::decision_log::{DecisionLogArgs, Limit, rate, sampling};
use super::forward::ForwardArgs;
use super::hops::HopArgs;
use super::limits::LimitArgs;
use super::listen::ListenArgs;
use super::proxies::ProxyArgs;
use super::recent::RecentArgs;
use super::reply_port::ReplyPort;
#[cfg(feature = "etcd")]
use crate::system::api_url::ApiUrl;

pub(super) const HELP: &str = "\
Storage: the REST API (--api) reads and changes the records at run time. With --config the records \
come from the file, and the API answers 409 to changes. With --data DIR they are stored in that \
folder; an answered change is on disk. Without both they are held in memory and lost at exit.

Environment: SIP_AUTHZ_ADMIN_TOKEN is the token of the API user `admin`, who creates accounts. \
Without it there is no such user. SIP_AUTHZ_DECIDE_TOKEN is the token of --decide over TCP.

Signals: Ctrl-C and SIGTERM stop the server: it finishes open HTTP requests, for 10 s at most, and \
prints a line of totals; a second signal stops it at once. SIGHUP reloads --config and the \
certificates, and keeps the old state if a file is invalid. SIGUSR1 reopens --decision-log.

Exit code: 0 stopped by a signal, 1 failed while running, 2 invalid command line or configuration, \
or address in use.

Try it: sip-authz serve --demo";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    /// Number of UDP threads of each --sip address [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) udp_workers: Option<u16>,

    /// Port for answers over UDP; they always go to the address that the request came from
    #[arg(long, value_name = "PORT", value_enum, default_value_t = ReplyPort::Auto)]
    pub(crate) udp_reply_port: ReplyPort,

    #[command(flatten)]
    pub(crate) proxies: ProxyArgs,

    #[command(flatten)]
    pub(crate) forward: ForwardArgs,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Serve the REST API on this address, over TLS with --api-cert; `off` disables it
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:8080", value_parser = api)]
    pub(crate) api: Api,

    /// Allow --api on a non-loopback address without TLS; tokens and passwords are sent unencrypted
    #[arg(long)]
    pub(crate) insecure_api: bool,

    #[command(flatten)]
    pub(crate) api_bounds: ApiBounds,

    /// Serve the console for operators at `/console/` of --api: live decisions, lists, limits and state
    #[arg(long)]
    pub(crate) console: bool,

    /// Base URL for links in API answers, for example https://api.example.com behind a TLS proxy
    /// [default: the host of the request]
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<String>,

    /// Allow web pages of this origin to use the API (CORS; repeatable)
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) cors_origin: Vec<String>,

    /// Register a permission that roles can grant, besides the documented ones (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) permission: Vec<String>,

    /// Realm of credential lists that are created without one [default: sip-authz]
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<Realm>,

    /// Require domain names to end in a dot and this suffix (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) domain_suffix: Vec<DomainName>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Serve a demo account and print example commands
    #[arg(long)]
    pub(crate) demo: bool,

    /// Serve the records of this TOML file. Its table `[edge]` completes the options of listeners and
    /// proxies
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub(crate) config: Option<PathBuf>,

    /// Store the records in this folder; it is created if missing, and only one process can serve it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["demo", "config"])]
    pub(crate) data: Option<PathBuf>,

    /// Serve the records that a fleet of edges shares in etcd, at these URLs (comma-separated)
    #[cfg(feature = "etcd")]
    #[arg(long, value_name = "URL,…", value_delimiter = ',', value_parser = etcd_url)]
    #[arg(conflicts_with_all = ["demo", "config", "data"])]
    pub(crate) etcd: Vec<String>,

    #[cfg(feature = "etcd")]
    #[command(flatten)]
    pub(crate) etcd_access: EtcdArgs,

    #[cfg(feature = "etcd")]
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,

    /// Answer to accepted INVITEs, unless a domain or trunk has its own: `ok` (200, declines all media;
    /// the default with --demo), `redirect:TARGET,…` (302 with a Contact for each target) or
    /// `forward:HOP,…`. A target is a host, which keeps the user part, or a SIP URI such as
    /// `sip:{user}@gw.example.net;q=0.5` with {user}, {host}, {domain}, {account} and {username}. A hop
    /// is a host or SIP URI such as `sip:pbx.example.net:5060;transport=tcp;priority=1;weight=10`. Not
    /// needed with --decide alone: the host answers
    #[arg(long, value_name = "ok|redirect:TARGET|forward:HOP")]
    #[arg(required_unless_present_any = ["demo", "decide"])]
    pub(crate) on_accept: Option<OnAccept>,

    /// Allow domains and trunks to redirect or forward calls to this host, `.suffix` or IP prefix, with an
    /// optional port (repeatable) [default: none]
    #[arg(long, value_name = "HOST")]
    pub(crate) next_hop_allow: Vec<NextHop>,

    #[command(flatten)]
    pub(crate) hops: HopArgs,

    /// Log decisions to stderr, one line each, without personal fields: all of them
    /// (`decisions`), only rejections (`refused`), one of N (`1/N`) or none (`none`) [default: none]
    #[arg(long, value_name = "decisions|refused|1/N|none", value_parser = sampling)]
    pub(crate) log: Option<Sampling>,

    /// Include the personal fields in the lines of --log: addresses, user names and other texts of callers
    #[arg(long, requires = "log")]
    pub(crate) log_names: bool,

    /// Maximum number of lines of --log a second for each reason of a challenge, rejection or
    /// retransmission. The accepted calls of each account have as many, after a burst of as many as in a
    /// minute. Further ones are counted in a line a second
    #[arg(long, requires = "log")]
    #[arg(value_name = "N|unlimited", default_value = "100", value_parser = rate)]
    pub(crate) log_rate: Limit<u32>,

    /// Serve Prometheus metrics at `GET /metrics` on this address, without authentication
    /// [default without ADDR: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Number of domains and trunks with metrics of their own: the busiest ones; 0 is none. All others
    /// are counted together
    #[arg(long, value_name = "N", default_value_t = 20, requires = "metrics")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub(crate) metrics_domains: u16,

    #[command(flatten)]
    pub(crate) decision_log: DecisionLogArgs,

    #[command(flatten)]
    pub(crate) decide: DecideArgs,

    #[command(flatten)]
    pub(crate) recent: RecentArgs,
}

/// SIP and HTTP over TLS.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TlsArgs {
    /// Listen for SIP over TLS, in addition to --sip and in the same form; the default port is 5061
    /// (repeatable)
    #[arg(long, value_name = "ADDR[,PART]…")]
    pub(crate) sips: Vec<Listener>,

    /// Certificate chain for SIP over TLS (PEM), needed for --sips; SIGHUP reloads it
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Certificate chain for the API, which then accepts only HTTPS (PEM); SIGHUP reloads it
    #[arg(long, value_name = "FILE", requires = "api_key", conflicts_with = "demo")]
    pub(crate) api_cert: Option<PathBuf>,

    /// Private key of --api-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "api_cert")]
    pub(crate) api_key: Option<PathBuf>,
}

/// How to connect to the etcd of `--etcd`.
#[cfg(feature = "etcd")]
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EtcdArgs {
    /// Prefix of all keys in etcd
    #[arg(long, value_name = "PREFIX", default_value = "sip-authz/", requires = "etcd")]
    pub(crate) etcd_prefix: String,

    /// CA certificate of the etcd nodes (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) etcd_ca: Option<PathBuf>,

    /// Client certificate for etcd (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    pub(crate) etcd_cert: Option<PathBuf>,

    /// Private key of --etcd-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    pub(crate) etcd_key: Option<PathBuf>,

    /// Log in to etcd as this user; the password is in SIP_AUTHZ_ETCD_PASSWORD
    #[arg(long, value_name = "NAME", requires = "etcd")]
    pub(crate) etcd_user: Option<String>,
}

/// Options of an edge in a fleet, for any shared store.
#[cfg(feature = "etcd")]
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FleetArgs {
    /// Name of this edge, unique in the fleet [default: host name and SIP port]
    #[arg(long, value_name = "NAME", requires = "etcd")]
    pub(crate) edge_name: Option<String>,

    /// Answer 503 once etcd has been unreachable for this long, for example 30s or 5m, at least 2s.
    /// A change that waits for all edges waits this long for an unreachable edge; with `unlimited`
    /// it is not confirmed without that edge
    #[arg(
        long,
        value_name = "TIME|unlimited",
        default_value = "unlimited",
        requires = "etcd",
        value_parser = stale_for
    )]
    pub(crate) stale_for: StaleFor,

    /// Base URL at which the other edges reach the --api of this one, for example
    /// https://edge1.example.com:8080. A question about recent decisions or guess limits is then
    /// answered by all edges. All need the same SIP_AUTHZ_ADMIN_TOKEN. Plain HTTP to another machine
    /// needs --insecure-api [default: other edges cannot ask this one]
    #[arg(long, value_name = "URL", requires = "etcd", value_parser = ApiUrl::parse)]
    pub(crate) api_advertise: Option<ApiUrl>,

    /// CA certificates of the APIs of the other edges (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) api_ca: Option<PathBuf>,
}

/// How long an edge decides without contact to the store; `None` is unlimited.
#[cfg(feature = "etcd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleFor(pub(crate) Option<std::time::Duration>);

/// A persistent store. `Display` names its records for log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreChoice<'a> {
    /// `--data`: an SQLite file in a folder.
    Folder(&'a Path),
    /// `--etcd`: an etcd that a fleet shares.
    #[cfg(feature = "etcd")]
    Etcd(&'a [String], &'a EtcdArgs),
}

impl fmt::Display for StoreChoice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "the records in {}", folder.display()),
            #[cfg(feature = "etcd")]
            Self::Etcd(urls, _) => write!(f, "the records in etcd at {}", urls.join(", ")),
        }
    }
}

impl ServeArgs {
    /// The store that the options name, if any.
    pub(crate) fn store(&self) -> Option<StoreChoice<'_>> {
        #[cfg(feature = "etcd")]
        if !self.etcd.is_empty() {
            return Some(StoreChoice::Etcd(&self.etcd, &self.etcd_access));
        }
        self.data.as_deref().map(StoreChoice::Folder)
    }

    /// The answer to accepted INVITEs for domains and trunks without their own.
    pub(crate) fn default_answer(&self) -> OnAccept {
        self.on_accept.clone().unwrap_or(OnAccept::Ok)
    }

    /// Checks that other edges can reach this one as `--api-advertise` says.
    #[cfg(feature = "etcd")]
    pub(crate) fn check_advertised_api(&self) -> Result<(), String> {
        let Some(url) = &self.fleet.api_advertise else { return Ok(()) };
        let text = url.as_str();
        if self.api == Api::Off {
            return Err(format!("--api-advertise {text}: --api off serves no API"));
        }
        if !url.is_safe() && !self.insecure_api {
            return Err(format!(
                "--api-advertise {text}: plain HTTP would send questions about calls and their \
                 answers, with user names and addresses, unencrypted to other machines; use https, \
                 or allow it with --insecure-api"
            ));
        }
        Ok(())
    }

    /// The next hops that domains and trunks can name.
    pub(crate) fn next_hops(&self) -> NextHopSet {
        NextHopSet::new(self.next_hop_allow.clone()).with_default(self.default_answer())
    }
}

/// The address of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Off,
    At(SocketAddr),
}

fn api(text: &str) -> Result<Api, String> {
    match text {
        "off" => Ok(Api::Off),
        _ => text
            .parse()
            .map(Api::At)
            .map_err(|_| "expected an IP address and port, or `off`".to_owned()),
    }
}

#[cfg(feature = "etcd")]
fn stale_for(text: &str) -> Result<StaleFor, String> {
    use std::time::Duration;
    if text == "unlimited" {
        return Ok(StaleFor(None));
    }
    match bounds::time(text).ok_or("expected `unlimited` or a time such as 30s, 5m or 1h")? {
        time if time < Duration::from_secs(2) => Err("expected at least 2s".to_owned()),
        time => Ok(StaleFor(Some(time))),
    }
}

/// Refuses URLs with a user and password: other users of the machine can read the command line.
#[cfg(feature = "etcd")]
pub(super) fn etcd_url(text: &str) -> Result<String, &'static str> {
    if text.contains('@') {
        return Err("expected a URL without a user; use --etcd-user and SIP_AUTHZ_ETCD_PASSWORD");
    }
    Ok(text.to_owned())
}

/// Accepts an origin as browsers send it: scheme and authority, without a path.
fn origin(text: &str) -> Result<String, String> {
    let authority = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    match authority {
        Some(authority) if !authority.is_empty() && authority.chars().all(fits) => {
            Ok(text.to_owned())
        }
        _ => Err("expected an origin such as `https://console.example.com`".to_owned()),
    }
}

/// Accepts a URL of a scheme, an authority and an optional path.
fn public_url(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(fits) => {
            Ok(text.to_owned())
        }
        _ => Err("expected a URL such as `https://api.example.com/sip`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_addresses_and_origins() {
        assert_eq!(api("off"), Ok(Api::Off));
        assert_eq!(api("[::1]:80"), Ok(Api::At("[::1]:80".parse().unwrap())));
        assert!(api("8080").is_err() && api("localhost:8080").is_err());
        assert!(origin("https://a.example:8443").is_ok() && origin("http://[::1]").is_ok());
        for text in ["*", "https://", "https://a.example/", "a.example", "https://A.example"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn stale_for_accepts_times_of_two_seconds_or_more() {
        let seconds = |n| Ok(StaleFor(Some(std::time::Duration::from_secs(n))));
        assert_eq!(stale_for("unlimited"), Ok(StaleFor(None)));
        assert_eq!(
            [stale_for("2s"), stale_for("5m"), stale_for("1h")],
            [2, 300, 3_600].map(seconds)
        );
        for text in ["", "30", "s", "1s", "0h", "5 m", "-5s", "1d", "99999999999s"] {
            assert!(stale_for(text).is_err(), "{text}");
        }
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn plain_http_between_machines_needs_insecure_api() {
        use clap::Parser as _;
        let check = |more: &[&str]| {
            let base = ["sip-authz", "serve", "--on-accept", "ok", "--etcd", "http://127.0.0.1:1"];
            let args = crate::args::Args::try_parse_from(base.iter().chain(more));
            match args.map_err(|error| error.to_string())?.command {
                crate::args::Command::Serve(args) => args.check_advertised_api(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(check(&[]), Ok(()));
        for url in ["http://127.0.0.1:8080", "http://localhost", "https://edge1.example.com"] {
            assert_eq!(check(&["--api-advertise", url]), Ok(()), "{url}");
            let off = check(&["--api-advertise", url, "--api", "off"]);
            assert!(off.is_err_and(|error| error.contains("serves no API")));
        }
        let plain = ["--api-advertise", "http://192.0.2.1:8080"];
        assert!(check(&plain).is_err_and(|error| error.contains("--insecure-api")));
        assert_eq!(check(&[plain.as_slice(), &["--insecure-api"]].concat()), Ok(()));
        for wrong in ["edge1:8080", "https://u@edge1.example.com", "https://edge1.example.com/?a"] {
            assert!(check(&["--api-advertise", wrong]).is_err(), "{wrong}");
        }
        for (option, value) in [("--api-advertise", "http://127.0.0.1:1"), ("--api-ca", "ca.pem")] {
            let alone = ["sip-authz", "serve", "--on-accept", "ok", option, value];
            assert!(crate::args::Args::try_parse_from(alone).is_err(), "{option} needs --etcd");
        }
    }
}
