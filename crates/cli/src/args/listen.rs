//! Where `serve` listens, under which name, and what names the domain of a call. The table `[edge]` of the
//! configuration file completes these options.

use sip_authz_config::{Advertised, DomainSource, Edge, Listener};

use crate::system::output::warn;

/// The options of the listeners for SIP.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// Listen for SIP over UDP and TCP (repeatable) [default: 127.0.0.1:5060; with --decide none]
    ///
    /// ADDR is `IP:PORT`, `:PORT` for all addresses, `NAME:PORT`, or an IP or a name alone for port
    /// 5060. Port 0 selects a free port. Parts after a comma belong to this listener:
    /// `advertise=HOST[:PORT]` as --advertise, `domain=NAME` for --default-domain, `inside` if it faces
    /// the next hops of forwarded calls.
    #[arg(long, value_name = "ADDR[,PART]…")]
    pub(crate) sip: Vec<Listener>,

    /// Address of this edge for callers, for example behind a NAT. Listeners on a private or wildcard
    /// address write it into Contact and session descriptions [default port: the listener's]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<Advertised>,

    /// Number of connections of each listener over TCP and TLS. A further one replaces another: phones
    /// that registered on theirs need one each
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(crate) sip_connections: u32,

    /// Sources of the domain of a call whose Request-URI names none (`tel:`, `urn:service:`, unknown
    /// hosts): the `domain=` of the listener, the first Route, To, or a fixed name. Up to four are tried
    /// in order [default: none, such calls are refused]
    #[arg(long, value_name = "listener|route|to|NAME,…", value_delimiter = ',')]
    pub(crate) default_domain: Vec<DomainSource>,

    /// The settings of the configuration file.
    #[arg(skip)]
    pub(super) file: Edge,
}

impl ListenArgs {
    /// Warns if the table of a reloaded file differs from the one at the start.
    pub(crate) fn warn_of_changes(&self, file: &Edge) {
        if *file != self.file {
            warn("[edge] of the configuration file has changed; it applies after a restart");
        }
    }
}
