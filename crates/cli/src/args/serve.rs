//! The options of `sip-authz serve`.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sip_authz::model::{DomainName, Realm};
use sip_authz::uri::SipUri;
use sip_authz::{Sampling, SamplingError};

#[cfg(feature = "etcd")]
use super::bounds;
use super::bounds::ApiBounds;
use super::limits::LimitArgs;
use crate::observe::audit::Place;

pub(super) const HELP: &str = "\
What is served can be read and changed over HTTP (--api) while it runs. With --config the file is \
the truth: what would change it is answered 409. With --data DIR what \
is stored is kept in that folder: a change that was answered is on the disk. Without both nothing \
is kept: it is gone when the program ends.

Environment: SIP_AUTHZ_ADMIN_TOKEN is the token of the user `admin`, who makes accounts; without it \
there is no such user.

Signals: Ctrl-C and SIGTERM end it with a line of totals, once HTTP requests under way are answered \
(for 10 s at most; another signal ends it at once). SIGHUP reads --config and certificates again, and \
what cannot be used leaves the old state in force; it opens --decision-log anew too.

Exit code: 0 ended by a signal, 1 failed while running, 2 wrong command line or configuration, or \
the address is in use.

Try it: sip-authz serve --demo";

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Where to listen for SIP, on UDP and on TCP; with port 0 on any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5060")]
    pub(crate) sip: SocketAddr,

    /// How many threads answer datagrams [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) udp_workers: Option<u16>,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Where to answer HTTP, in clear unless it has a certificate; `off` for nowhere
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = api)]
    pub(crate) api: Api,

    /// Answer HTTP on an address that others can reach, though tokens and passwords travel in clear
    #[arg(long)]
    pub(crate) insecure_api: bool,

    #[command(flatten)]
    pub(crate) api_bounds: ApiBounds,

    /// Where clients reach the API, such as https://api.example.com behind a proxy with TLS: its
    /// links begin with it
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<String>,

    /// An origin whose pages may use the API from a browser; can be given several times
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) cors_origin: Vec<String>,

    /// A permission that roles can have besides the documented ones; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) permission: Vec<String>,

    /// The realm of credential lists that are made without one [default: sip-authz]
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<Realm>,

    /// What names of domains must end in, after a dot; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) domain_suffix: Vec<DomainName>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Serve an account made up for a try, and print commands that show what it does
    #[arg(long)]
    pub(crate) demo: bool,

    /// Serve what this TOML file says
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub(crate) config: Option<PathBuf>,

    /// Keep what is served in this folder, which is made if there is none and which one program
    /// serves at a time
    #[arg(long, value_name = "DIR", conflicts_with_all = ["demo", "config"])]
    pub(crate) data: Option<PathBuf>,

    /// Serve what the etcd at these URLs holds, as all others that name it do; separated by commas
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

    /// What an accepted INVITE is answered with: `ok` (200, all media declined; the default with
    /// --demo) or `redirect:<sip-uri>` (302 with this Contact)
    #[arg(long, value_name = "ANSWER", required_unless_present = "demo", value_parser = on_accept)]
    pub(crate) on_accept: Option<OnAccept>,

    /// Write a line to stderr for decisions, without addresses and names of users: for each
    /// (`decisions`), for refusals (`refused`), for one of N (`1/N`), or for none (`none`)
    #[arg(long, value_name = "WHICH", value_parser = log)]
    pub(crate) log: Option<Sampling>,

    /// Write addresses and names of users in these lines too
    #[arg(long, requires = "log")]
    pub(crate) log_names: bool,

    /// Answer `GET /metrics` for Prometheus, to whoever asks: at this address, or at
    /// 127.0.0.1:9464 if none is given
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Append each decision as a line of JSON to this file, which SIGHUP opens anew; `-` is stdout
    #[arg(long, value_name = "FILE", value_parser = place)]
    pub(crate) decision_log: Option<Place>,

    /// Write addresses and names of users in the decision log too
    #[arg(long, requires = "decision_log")]
    pub(crate) decision_log_names: bool,

    /// How many decisions may wait to be written; beyond that they are lost, and counted
    #[arg(long, value_name = "N", default_value_t = 32_768, requires = "decision_log")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) decision_log_queue: u32,
}

/// SIP and HTTP over TLS.
#[cfg(feature = "tls")]
#[derive(Debug, clap::Args)]
pub(crate) struct TlsArgs {
    /// Where to listen for SIP over TLS, besides --sip
    #[arg(long, value_name = "ADDR", requires = "tls_cert")]
    pub(crate) sips: Option<SocketAddr>,

    /// The certificate for SIP over TLS, with those that it leads to, in PEM; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires_all = ["sips", "tls_key"])]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// The certificate for HTTP, which is then answered over TLS alone; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "api_key", conflicts_with = "demo")]
    pub(crate) api_cert: Option<PathBuf>,

    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "api_cert")]
    pub(crate) api_key: Option<PathBuf>,
}

/// How to use the etcd of `--etcd`.
#[cfg(feature = "etcd")]
#[derive(Debug, clap::Args)]
pub(crate) struct EtcdArgs {
    /// What all keys in etcd begin with
    #[arg(long, value_name = "PREFIX", default_value = "sip-authz/", requires = "etcd")]
    pub(crate) etcd_prefix: String,

    /// Trust etcd nodes with a certificate of this authority, a PEM file
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub(crate) etcd_ca: Option<PathBuf>,

    /// Show etcd this certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    pub(crate) etcd_cert: Option<PathBuf>,

    /// The key of --etcd-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    pub(crate) etcd_key: Option<PathBuf>,

    /// Log in to etcd as this user, with the password in SIP_AUTHZ_ETCD_PASSWORD
    #[arg(long, value_name = "NAME", requires = "etcd")]
    pub(crate) etcd_user: Option<String>,
}

/// An edge of a fleet, whichever store the fleet shares.
#[cfg(feature = "etcd")]
#[derive(Debug, clap::Args)]
pub(crate) struct FleetArgs {
    /// What this edge is called, unlike all others [default: the machine's name and the SIP port]
    #[arg(long, value_name = "NAME", requires = "etcd")]
    pub(crate) edge_name: Option<String>,

    /// How long to decide on when etcd cannot be reached, such as 30s or 5m, from 2s up; then
    /// everything is refused with 503. A change that waits for all edges waits no longer than this
    /// for one that is away; with `unlimited` it is not confirmed without the edge
    #[arg(
        long,
        value_name = "TIME",
        default_value = "unlimited",
        requires = "etcd",
        value_parser = stale_for
    )]
    pub(crate) stale_for: StaleFor,
}

/// How long an edge decides without a word from the store.
#[cfg(feature = "etcd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleFor(pub(crate) Option<std::time::Duration>);

/// A store that outlives the program. `Display` describes it for people.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreChoice<'a> {
    /// `--data`: SQLite in a folder.
    Folder(&'a Path),
    /// `--etcd`: an etcd that a fleet shares.
    #[cfg(feature = "etcd")]
    Etcd(&'a [String], &'a EtcdArgs),
}

impl fmt::Display for StoreChoice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "what {} keeps", folder.display()),
            #[cfg(feature = "etcd")]
            Self::Etcd(urls, _) => write!(f, "what etcd at {} holds", urls.join(", ")),
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
}

/// Where HTTP is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Off,
    At(SocketAddr),
}

/// What an accepted INVITE is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnAccept {
    /// 200, with all media declined.
    Ok,
    /// 302 with this Contact, a valid SIP URI.
    Redirect(String),
}

fn api(text: &str) -> Result<Api, String> {
    match text {
        "off" => Ok(Api::Off),
        _ => text.parse().map(Api::At).map_err(|_| "neither an address and port nor `off`".into()),
    }
}

#[cfg(feature = "etcd")]
fn stale_for(text: &str) -> Result<StaleFor, String> {
    use std::time::Duration;
    if text == "unlimited" {
        return Ok(StaleFor(None));
    }
    match bounds::time(text).ok_or("neither `unlimited` nor a time such as 30s, 5m or 1h")? {
        time if time < Duration::from_secs(2) => Err("less than 2s".to_owned()),
        time => Ok(StaleFor(Some(time))),
    }
}

/// A command line is no place for a password: other users of the machine can read it.
#[cfg(feature = "etcd")]
fn etcd_url(text: &str) -> Result<String, &'static str> {
    if text.contains('@') {
        return Err("a user is named with --etcd-user, and the password in the environment");
    }
    Ok(text.to_owned())
}

fn log(text: &str) -> Result<Sampling, SamplingError> {
    if text == "decisions" { Ok(Sampling::All) } else { text.parse() }
}

fn place(text: &str) -> Result<Place, Infallible> {
    Ok(if text == "-" { Place::Stdout } else { Place::File(text.into()) })
}

/// What browsers send as an origin: scheme and authority, nothing behind.
fn origin(text: &str) -> Result<String, String> {
    let authority = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    match authority {
        Some(authority) if !authority.is_empty() && authority.chars().all(fits) => {
            Ok(text.to_owned())
        }
        _ => Err("not an origin such as `https://console.example.com`".to_owned()),
    }
}

/// Scheme and authority, perhaps a path.
fn public_url(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(fits) => {
            Ok(text.to_owned())
        }
        _ => Err("not a URL such as `https://api.example.com/sip`".to_owned()),
    }
}

fn on_accept(text: &str) -> Result<OnAccept, String> {
    if text == "ok" {
        return Ok(OnAccept::Ok);
    }
    let uri = text.strip_prefix("redirect:").ok_or("neither `ok` nor `redirect:<sip-uri>`")?;
    // what is no SIP URI might not be fit to stand in a header either
    SipUri::parse(uri).map_err(|error| format!("not a SIP URI to redirect to: {error}"))?;
    Ok(OnAccept::Redirect(uri.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_http_is_answered() {
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
    fn times_without_a_word_from_the_store() {
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

    #[test]
    fn answers_to_accepted_invites() {
        assert_eq!(on_accept("ok"), Ok(OnAccept::Ok));
        let redirect = OnAccept::Redirect("sip:gw.example:5080;lr".to_owned());
        assert_eq!(on_accept("redirect:sip:gw.example:5080;lr"), Ok(redirect));
        for text in ["", "OK", "redirect", "redirect:", "redirect:gw.example", "redirect:tel:+1"] {
            assert!(on_accept(text).is_err(), "{text}");
        }
        for text in ["redirect:sip:a\r\nX: y", "redirect:sip:a>b", "redirect:<sip:a>"] {
            assert!(on_accept(text).is_err(), "{text}");
        }
    }
}
