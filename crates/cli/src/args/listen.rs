//! Where `serve` listens, under which name, and what names the domain of a call. The table `[edge]` of the
//! configuration file completes these options.

use sip_authz::Invite;
use sip_authz_config::{Advertised, DomainSource, Edge, Listener};

use super::ServeArgs;
use crate::system::output::{ProgramError, warn};

/// The options of the listeners for SIP.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// Listen for SIP over UDP and TCP (repeatable) [default: 127.0.0.1:5060]
    ///
    /// ADDR is `IP:PORT`, `:PORT` for all addresses, `NAME:PORT`, or an IP or a name alone for port
    /// 5060. Port 0 selects a free port. Parts after a comma belong to this listener:
    /// `advertise=HOST[:PORT]` as --advertise, `domain=NAME` for --default-domain.
    #[arg(long, value_name = "ADDR[,PART]…")]
    pub(crate) sip: Vec<Listener>,

    /// Address of this edge for callers, for example behind a NAT; listeners on a private or wildcard
    /// address name themselves so, in Contact and in session descriptions [port: the listener's]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<Advertised>,

    /// What names the domain if the Request-URI names none (`tel:`, `urn:service:`, unknown hosts): the
    /// `domain=` of the listener, the first Route, To, or a fixed name; up to four, tried in order
    /// [default: none, such calls are refused]
    #[arg(long, value_name = "listener|route|to|NAME,…", value_delimiter = ',')]
    pub(crate) default_domain: Vec<DomainSource>,

    /// The settings of the configuration file.
    #[arg(skip)]
    file: Edge,
}

impl ServeArgs {
    /// Takes the settings that the command line does not have from the configuration file.
    pub(crate) fn completed(mut self, file: Edge) -> Result<Self, ProgramError> {
        let listen = &mut self.listen;
        fill(&mut listen.sip, &file.sip);
        fill(&mut listen.default_domain, &file.default_domain);
        listen.advertise = listen.advertise.take().or_else(|| file.advertise.clone());
        if listen.sip.is_empty() {
            let loopback = "127.0.0.1:5060".parse();
            listen.sip.push(loopback.map_err(|error| wrong(format!("--sip: {error}")))?);
        }
        if listen.default_domain.len() > Invite::MAX_DOMAIN_HOSTS {
            let most = Invite::MAX_DOMAIN_HOSTS;
            return Err(wrong(format!("--default-domain: expected at most {most} values")));
        }
        #[cfg(feature = "tls")]
        {
            let tls = &mut self.tls;
            fill(&mut tls.sips, &file.sips);
            tls.tls_cert = tls.tls_cert.take().or_else(|| file.tls_cert.clone());
            tls.tls_key = tls.tls_key.take().or_else(|| file.tls_key.clone());
            let missing = match (&tls.tls_cert, &tls.tls_key, tls.sips.is_empty()) {
                (None, None, true) | (Some(_), Some(_), false) => None,
                (None, _, false) => Some(("--sips", "--tls-cert")),
                (Some(_), None, _) => Some(("--tls-cert", "--tls-key")),
                (Some(_), Some(_), true) => Some(("--tls-cert", "--sips")),
                (None, Some(_), true) => Some(("--tls-key", "--tls-cert")),
            };
            if let Some((given, missing)) = missing {
                return Err(wrong(format!(
                    "{given} needs {missing}, as an option or in [edge] of the configuration file"
                )));
            }
        }
        #[cfg(not(feature = "tls"))]
        if !file.sips.is_empty() || file.tls_cert.is_some() || file.tls_key.is_some() {
            return Err(wrong("[edge]: this build has no TLS, so it cannot use `sips`".to_owned()));
        }
        self.listen.file = file;
        Ok(self)
    }
}

impl ListenArgs {
    /// Warns if the table of a reloaded file differs from the one at the start.
    pub(crate) fn warn_of_changes(&self, file: &Edge) {
        if *file != self.file {
            warn("[edge] of the configuration file has changed; it applies after a restart");
        }
    }
}

fn fill<T: Clone>(values: &mut Vec<T>, file: &[T]) {
    if values.is_empty() {
        values.extend_from_slice(file);
    }
}

fn wrong(message: String) -> ProgramError {
    ProgramError::Setup(message)
}
