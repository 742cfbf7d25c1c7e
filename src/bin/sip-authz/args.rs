//! The command line.

mod bounds;
mod limits;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sip_authz::model::{DomainName, Realm};
use sip_authz::uri::SipUri;
use sip_authz::{AccountSid, Sampling, SamplingError, Transport};

use crate::audit::Place;

pub(crate) use bounds::ApiBounds;

/// Decides whether SIP INVITEs may pass, by address lists and digest credentials.
#[derive(Debug, Parser)]
#[command(name = "sip-authz", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Listen for SIP on UDP and TCP, and answer.
    ///
    /// INVITEs are challenged (407 or 401), turned away (403, 404 and so on, with an X-Authz-Error
    /// header where the reason has a code), or accepted, which is answered as --on-accept says. It
    /// is a stateless user agent server: no call and no media goes through it.
    #[command(after_help = SERVE_HELP)]
    Serve(Box<ServeArgs>),
    /// Decide one INVITE from a file and explain each step.
    ///
    /// Exit code: 0 accepted, 1 challenged or rejected, 2 neither, because something is wrong with
    /// the command line, the configuration or the file.
    Check(CheckArgs),
    /// Make, list, suspend and close the accounts of a running program.
    #[command(after_help = ADMIN_HELP)]
    Account(AccountArgs),
    /// Bring records from a file into a running program, all of them or none.
    ///
    /// A file is a configuration file (TOML), what `sip-authz export` wrote (JSON), or a dump of the
    /// tables `subscriber` or `address` that Kamailio and OpenSIPS keep (CSV with a header line, or
    /// what `mysql -B` prints). What is imported again replaces what it made the first time.
    #[command(after_help = ADMIN_HELP)]
    Import(ImportArgs),
    /// Write all records of a running program as JSON.
    #[command(after_help = ADMIN_HELP)]
    Export(ExportArgs),
    /// Copy what `serve --data` keeps to a new file, as of one moment, while it goes on.
    ///
    /// The copy is checked before the file appears; only its owner can read it, and hashes of
    /// passwords are in it. To go back to it, stop the program, and make the file the only one in a
    /// folder, under the name sip-authz.db.
    ///
    /// Exit code: 0 done, 1 failed, nothing is left behind then.
    Backup(BackupArgs),
}

const ADMIN_HELP: &str = "\
The admin token is taken from the environment variable SIP_AUTHZ_ADMIN_TOKEN, which must be that of \
the running `sip-authz serve`.

Exit code: 0 done, 1 the program refused or cannot be reached, 2 wrong command line or file.";

const SERVE_HELP: &str = "\
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
    pub(crate) limits: limits::LimitArgs,

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

/// An edge of a fleet.
#[cfg(feature = "etcd")]
#[derive(Debug, clap::Args)]
pub(crate) struct FleetArgs {
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

impl ServeArgs {
    /// The store that outlives the program, for people, if one is named.
    pub(crate) fn store(&self) -> Option<String> {
        #[cfg(feature = "etcd")]
        if !self.etcd.is_empty() {
            return Some(format!("what etcd at {} holds", self.etcd.join(", ")));
        }
        self.data.as_ref().map(|folder| format!("what {} keeps", folder.display()))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The TOML file that the decision is made by
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The address that the INVITE came from
    #[arg(long, value_name = "IP")]
    pub(crate) source: IpAddr,

    /// The port that the INVITE came from
    #[arg(long, value_name = "PORT", default_value_t = 5060)]
    pub(crate) port: u16,

    /// How the INVITE came
    #[arg(long, value_name = "TRANSPORT", value_enum, default_value_t = TransportName::Udp)]
    pub(crate) transport: TransportName,

    /// The INVITE, from the start line to the end of the body; `-` is stdin
    #[arg(value_name = "FILE.sip")]
    pub(crate) invite: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) command: AccountCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account and print its SID and its auth token, which is shown this once
    Create {
        /// A name for people
        name: String,
    },
    /// Print SID, status and name of each account
    List,
    /// Refuse every call to an account until it is active again
    Suspend {
        /// The account
        sid: AccountSid,
    },
    /// Undo `suspend`
    Activate {
        /// The account
        sid: AccountSid,
    },
    /// Refuse every call to an account for good
    Close {
        /// The account
        sid: AccountSid,
    },
    /// Give an account a new auth token and print it; the old one is no longer good
    RotateToken {
        /// The account
        sid: AccountSid,
    },
}

/// The running program that a command speaks to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where the running program answers HTTP
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub(crate) api: String,

    /// Speak to a program on another machine, though the admin token travels in clear
    #[arg(long, global = true)]
    pub(crate) insecure_api: bool,

    /// Trust certificates that lead to those in this file (PEM), and no others, with an https URL
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// The file; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What the file is; `auto` tells by its name and its first line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FileFormat::Auto)]
    pub(crate) format: FileFormat,

    /// The account that is to own what the file names no owner for
    #[arg(long, value_name = "SID")]
    pub(crate) account: Option<AccountSid>,

    /// The realm that the hashes of a subscriber table were made with, where it is not the domain;
    /// of a TOML file, that of credential lists that name none
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<Realm>,

    /// Import the column ha1b too: for each user another one called user@domain
    #[arg(long)]
    pub(crate) with_ha1b: bool,

    /// Import addresses that the table holds for one port, transport or pattern as addresses
    /// without that condition
    #[arg(long)]
    pub(crate) widen: bool,

    /// Import addresses with mask 0 too, which admit everybody
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// Check everything and tell what would change, but change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    Auto,
    Toml,
    Json,
    /// The table `subscriber` of Kamailio or OpenSIPS
    #[value(
        name = "subscriber-csv",
        alias = "kamailio-subscriber-csv",
        alias = "opensips-subscriber-csv"
    )]
    Subscriber,
    /// The table `address` of Kamailio or OpenSIPS
    #[value(name = "address-csv", alias = "kamailio-address-csv", alias = "opensips-address-csv")]
    Address,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// The file to write, instead of stdout; it appears when it is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write the hashes of passwords and auth tokens too; only you can read the file then
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The folder that `serve --data` keeps everything in
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// The file to write, which must not be there
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Self::Udp,
            TransportName::Tcp => Self::Tcp,
            TransportName::Tls => Self::Tls,
            TransportName::Ws => Self::Ws,
            TransportName::Wss => Self::Wss,
        }
    }
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
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

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

    #[cfg(feature = "etcd")]
    #[test]
    fn passwords_do_not_stand_on_the_command_line() {
        let parse = |url| Args::try_parse_from(["", "serve", "--on-accept=ok", "--etcd", url]);
        assert!(parse("http://a:2379,http://b:2379").is_ok());
        let error = parse("http://a:2379,http://root:secret@b:2379").unwrap_err().to_string();
        assert!(error.contains("--etcd-user"), "{error}");
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
