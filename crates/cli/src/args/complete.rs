//! Completes the command line with the table `[edge]` of the configuration file.

use sip_authz::Invite;
use sip_authz_config::{DomainSource, Edge};

use super::serve::ServeArgs;
use crate::system::output::{ProgramError, warn};

/// The error of a listener without an answer to accepted calls.
const ACCEPT: &str = "OPTION needs --on-accept, for example --on-accept ok";

impl ServeArgs {
    /// Takes the settings that the command line does not have from the configuration file.
    pub(crate) fn completed(mut self, file: Edge) -> Result<Self, ProgramError> {
        let listen = &mut self.listen;
        fill(&mut listen.sip, &file.sip);
        fill(&mut listen.default_domain, &file.default_domain);
        listen.advertise = listen.advertise.take().or_else(|| file.advertise.clone());
        let only_decides = !self.decide.decide.is_empty() && !self.demo;
        if listen.sip.is_empty() && !only_decides {
            let loopback = "127.0.0.1:5060".parse();
            listen.sip.push(loopback.map_err(|error| wrong(format!("--sip: {error}")))?);
        }
        let mut errors = Vec::new();
        errors.extend(check_default_domain(&listen.default_domain).err());
        let proxies = self.proxies.complete(&file);
        errors.extend(proxies.err().map(|given| needs(given, "--trusted-proxy")));
        let lacks_answer = self.on_accept.is_none() && !self.demo;
        if lacks_answer && !listen.sip.is_empty() {
            errors.push(ACCEPT.replace("OPTION", "--sip"));
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
                errors.push(needs(given, missing));
            }
            if lacks_answer && self.listen.sip.is_empty() && !tls.sips.is_empty() {
                errors.push(ACCEPT.replace("OPTION", "--sips"));
            }
        }
        #[cfg(not(feature = "tls"))]
        if !file.sips.is_empty() || file.tls_cert.is_some() || file.tls_key.is_some() {
            errors.push("[edge]: this build has no TLS, so it cannot use `sips`".to_owned());
        }
        if let Some(last) = errors.pop() {
            errors.iter().for_each(warn);
            return Err(wrong(last));
        }
        self.listen.file = file;
        Ok(self)
    }
}

/// Checks the number of values of --default-domain.
pub(crate) fn check_default_domain(values: &[DomainSource]) -> Result<(), String> {
    let (most, found) = (Invite::MAX_DOMAIN_HOSTS, values.len());
    match found > most {
        true => Err(format!("--default-domain: expected at most {most} values, found {found}")),
        false => Ok(()),
    }
}

fn fill<T: Clone>(values: &mut Vec<T>, file: &[T]) {
    if values.is_empty() {
        values.extend_from_slice(file);
    }
}

fn needs(given: &str, missing: &str) -> String {
    format!("{given} needs {missing}, as an option or in [edge] of the configuration file")
}

fn wrong(message: String) -> ProgramError {
    ProgramError::Setup(message)
}
