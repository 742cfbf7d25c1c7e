//! The encryption of each listener.

#[cfg(feature = "tls")]
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::SystemTime;

use crate::args::ServeArgs;
#[cfg(feature = "tls")]
use crate::observe::reloads::LastLoad;
use crate::observe::reloads::Reloads;
use crate::system::output::ProgramError;
#[cfg(feature = "tls")]
use crate::system::output::warn;
#[cfg(feature = "tls")]
use crate::system::tls::{Identity, Names};

/// The encryption of a listener's connections.
#[derive(Clone)]
pub(crate) enum Security {
    /// No encryption.
    None,
    /// TLS with this certificate.
    #[cfg(feature = "tls")]
    Tls(Arc<Identity>),
}

impl Security {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The encryption of all listeners.
#[derive(Clone)]
pub(crate) struct Secured {
    /// The certificate for SIP over TLS.
    pub(crate) sips: Security,
    pub(crate) api: Security,
}

#[cfg(feature = "tls")]
impl Secured {
    /// Reads the certificates that the command line names. Prints all errors but the last, and returns
    /// that one.
    pub(crate) fn load(args: &ServeArgs, reloads: &Reloads) -> Result<Self, ProgramError> {
        let mut errors = Vec::new();
        let mut load = |files: [(&'static str, &Option<PathBuf>); 2], last: &LastLoad| {
            let [(certificate_option, Some(certificate)), (key_option, Some(key))] = files else {
                return Security::None;
            };
            let names = Names {
                certificate: (certificate_option, certificate.clone()),
                key: (key_option, key.clone()),
            };
            match Identity::load(names) {
                Ok(identity) => {
                    last.note(true);
                    last.set_expiry(identity.expiry());
                    Security::Tls(Arc::new(identity))
                }
                Err(more) => {
                    errors.extend(more);
                    Security::None
                }
            }
        };
        let tls = &args.tls;
        let sip = [("--tls-cert", &tls.tls_cert), ("--tls-key", &tls.tls_key)];
        let sips = load(sip, &reloads.sips);
        let api = [("--api-cert", &tls.api_cert), ("--api-key", &tls.api_key)];
        let api = load(api, &reloads.api);
        match errors.pop() {
            None => Ok(Self { sips, api }),
            Some(last) => {
                errors.iter().for_each(warn);
                Err(ProgramError::Setup(last))
            }
        }
    }

    /// Reloads the certificates. Returns false if there are none.
    pub(crate) fn reload(&self, reloads: &Reloads) -> bool {
        let mut any = false;
        for (security, last) in [(&self.sips, &reloads.sips), (&self.api, &reloads.api)] {
            if let Security::Tls(identity) = security {
                let succeeded = identity.reload();
                last.note(succeeded);
                if succeeded {
                    last.set_expiry(identity.expiry());
                }
                any = true;
            }
        }
        reloads.warnings(SystemTime::now()).iter().for_each(warn);
        any
    }
}

#[cfg(not(feature = "tls"))]
impl Secured {
    /// Without the feature `tls` nothing is encrypted.
    #[allow(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
    pub(crate) fn load(_: &ServeArgs, _: &Reloads) -> Result<Self, ProgramError> {
        Ok(Self { sips: Security::None, api: Security::None })
    }

    /// Without the feature `tls` there are no certificates.
    #[allow(clippy::unused_self, reason = "with TLS it is used")]
    pub(crate) fn reload(&self, _: &Reloads) -> bool {
        false
    }
}
