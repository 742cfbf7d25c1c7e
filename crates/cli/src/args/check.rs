//! The command line of `sip-authz check`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use sip_authz::model::{NextHop, OnAccept};
use sip_authz_config::DomainSource;

#[cfg(feature = "etcd")]
use super::serve::{EtcdArgs, etcd_url};
use super::{ServerArgs, TransportName};

pub(super) const HELP: &str = "\
Environment of --api: SIP_AUTHZ_ADMIN_TOKEN is the admin token, and SIP_AUTHZ_ACCOUNT_SID and \
SIP_AUTHZ_AUTH_TOKEN are those of an account, which can ask about its own domains and trunks. Without them \
the command reads the client's configuration file.";

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("records").args(SOURCES).required(true)))]
pub(crate) struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Folder of `serve --data`, which a server may serve meanwhile; it is only read
    #[arg(long, value_name = "DIR", requires = "invite")]
    pub(crate) data: Option<PathBuf>,

    /// Etcd that a fleet of edges shares, at these URLs (comma-separated); it is only read
    #[cfg(feature = "etcd")]
    #[arg(long, value_name = "URL,…", value_delimiter = ',', value_parser = etcd_url)]
    #[arg(requires = "invite")]
    pub(crate) etcd: Vec<String>,

    #[cfg(feature = "etcd")]
    #[command(flatten)]
    pub(crate) etcd_access: EtcdArgs,

    /// Output of `sip-authz export --with-secrets` (JSON)
    #[arg(long, value_name = "FILE", requires = "invite")]
    pub(crate) export: Option<PathBuf>,

    /// Print the result as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Allow `on_accept` of domains and trunks to name this next hop, as `serve` does (repeatable)
    #[arg(long, value_name = "HOST", conflicts_with_all = OTHERS)]
    pub(crate) next_hop_allow: Vec<NextHop>,

    /// Allow `on_accept` of domains and trunks to name the targets or hops of this answer, as `serve` does
    #[arg(long, value_name = "ok|redirect:TARGET|forward:HOP", conflicts_with_all = OTHERS)]
    pub(crate) on_accept: Option<OnAccept>,

    /// Register a permission that roles in the records grant, as for `serve` (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "api"])]
    pub(crate) permission: Vec<String>,

    /// Source IP address of the request
    #[arg(long, value_name = "IP", requires = "invite")]
    pub(crate) source: Option<IpAddr>,

    /// Source port of the request
    #[arg(long, value_name = "PORT", default_value_t = 5060, requires = "invite")]
    pub(crate) port: u16,

    /// Transport of the request
    #[arg(long, value_name = "TRANSPORT", value_enum, default_value_t = TransportName::Udp)]
    #[arg(requires = "invite")]
    pub(crate) transport: TransportName,

    /// Sources of the domain of a call whose Request-URI names none, as for `serve`
    /// [default: `default_domain` of the configuration file or of the running server]
    #[arg(long, value_name = "route|to|NAME,…", value_delimiter = ',', requires = "invite")]
    #[arg(conflicts_with = "api")]
    pub(crate) default_domain: Vec<DomainSource>,

    /// File with the request, from the start line to the end of the body; `-` is stdin. Without it,
    /// only the configuration file is checked
    #[arg(value_name = "FILE.sip", requires = "source")]
    pub(crate) invite: Option<PathBuf>,
}

/// The sources of records.
#[cfg(feature = "etcd")]
const SOURCES: [&str; 5] = ["config", "api", "data", "etcd", "export"];
#[cfg(not(feature = "etcd"))]
const SOURCES: [&str; 4] = ["config", "api", "data", "export"];

/// The sources of records without a configuration file.
#[cfg(feature = "etcd")]
const OTHERS: [&str; 4] = ["api", "data", "etcd", "export"];
#[cfg(not(feature = "etcd"))]
const OTHERS: [&str; 3] = ["api", "data", "export"];

/// The source of the records that decide. `Display` names it for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RecordSource<'a> {
    /// `--config`.
    Config(&'a Path),
    /// `--api`.
    Api(&'a ServerArgs),
    /// `--data`.
    Folder(&'a Path),
    /// `--etcd`.
    #[cfg(feature = "etcd")]
    Etcd(&'a [String], &'a EtcdArgs),
    /// `--export`.
    Export(&'a Path),
}

impl fmt::Display for RecordSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(path) | Self::Folder(path) | Self::Export(path) => path.display().fmt(f),
            Self::Api(server) => f.write_str(server.api.as_deref().unwrap_or_default()),
            #[cfg(feature = "etcd")]
            Self::Etcd(urls, _) => f.write_str(&urls.join(",")),
        }
    }
}

impl CheckArgs {
    /// The source of the records. None if the command line has none, which the parser refuses.
    pub(crate) fn records(&self) -> Option<RecordSource<'_>> {
        #[cfg(feature = "etcd")]
        if !self.etcd.is_empty() {
            return Some(RecordSource::Etcd(&self.etcd, &self.etcd_access));
        }
        let config = self.config.as_deref().map(RecordSource::Config);
        let local = config
            .or_else(|| self.data.as_deref().map(RecordSource::Folder))
            .or_else(|| self.export.as_deref().map(RecordSource::Export));
        local.or_else(|| self.server.api.is_some().then_some(RecordSource::Api(&self.server)))
    }
}
