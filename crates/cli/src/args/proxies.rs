//! The proxies in front of the edge, and the place in which they name their callers.

use clap::ValueEnum;
use sip_authz_config::{Edge, SourceFrom, SourceHeader, TrustedProxy};

use crate::sip::trusted::{SourcePlace, TrustedProxies};

/// The proxies in front of the edge.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// Trust the proxy at this address or prefix to name the source of its requests, see --source-from
    /// (repeatable). A sender at this address can name any source
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<TrustedProxy>,

    /// Place in which a trusted proxy names the source of a request [default: header]
    #[arg(long, value_name = "PLACE", value_enum)]
    source_from: Option<PlaceName>,

    /// Header field with the source of a request, as IP:PORT or [IPv6]:PORT. The trusted proxy must
    /// remove it from the requests of callers [default: X-Authz-Source]
    #[arg(long, value_name = "NAME")]
    source_header: Option<SourceHeader>,
}

/// The place in which a trusted proxy names the source of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlaceName {
    /// Header field of --source-header
    Header,
    /// Via below that of the last trusted proxy, with `received` and `rport`
    Via,
}

impl ProxyArgs {
    /// Takes the settings that the command line does not have from the configuration file. An error names
    /// the option that has no effect without a proxy.
    pub(super) fn complete(&mut self, file: &Edge) -> Result<(), &'static str> {
        if self.trusted_proxy.is_empty() {
            self.trusted_proxy.extend_from_slice(&file.trusted_proxy);
        }
        self.source_from = self.source_from.or(match file.source_from {
            Some(SourceFrom::Header) => Some(PlaceName::Header),
            Some(SourceFrom::Via) => Some(PlaceName::Via),
            _ => None,
        });
        self.source_header = self.source_header.take().or_else(|| file.source_header.clone());
        match (self.trusted_proxy.is_empty(), self.source_from, &self.source_header) {
            (true, Some(_), _) => Err("--source-from"),
            (true, None, Some(_)) => Err("--source-header"),
            _ => Ok(()),
        }
    }

    /// The proxies that the options trust.
    pub(crate) fn trusted(&self) -> TrustedProxies {
        let place = match self.source_from.unwrap_or(PlaceName::Header) {
            PlaceName::Header => {
                let name = self.source_header.clone().unwrap_or_default();
                SourcePlace::Header(name.as_str().to_owned())
            }
            PlaceName::Via => SourcePlace::Via,
        };
        let prefixes = self.trusted_proxy.iter().map(|proxy| proxy.prefix());
        TrustedProxies::new(prefixes.collect(), place)
    }
}
