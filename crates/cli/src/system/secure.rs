//! The encryption of each listener.

#[cfg(feature = "tls")]
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;

use crate::args::ServeArgs;
use crate::system::output::ProgramError;
#[cfg(feature = "tls")]
use crate::system::tls::Identity;

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
pub(crate) struct Secured {
    /// The certificate for SIP over TLS.
    pub(crate) sips: Security,
    pub(crate) api: Security,
}

#[cfg(feature = "tls")]
impl Secured {
    /// Reads the certificates that the command line names.
    pub(crate) fn load(args: &ServeArgs) -> Result<Self, ProgramError> {
        let load = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::load(certificate, key).map_err(ProgramError::Setup)?;
                Ok(Security::Tls(Arc::new(identity)))
            }
            _ => Ok(Security::None),
        };
        let tls = &args.tls;
        let sips = load(&tls.tls_cert, &tls.tls_key)?;
        let api = load(&tls.api_cert, &tls.api_key)?;
        Ok(Self { sips, api })
    }

    /// Reloads the certificates. Returns false if there are none.
    pub(crate) fn reload(&self) -> bool {
        let all = [&self.sips, &self.api];
        let mut any = false;
        for security in all {
            if let Security::Tls(identity) = security {
                identity.reload();
                any = true;
            }
        }
        any
    }
}

#[cfg(not(feature = "tls"))]
impl Secured {
    /// Without the feature `tls` nothing is encrypted.
    #[allow(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
    pub(crate) fn load(_: &ServeArgs) -> Result<Self, ProgramError> {
        Ok(Self { sips: Security::None, api: Security::None })
    }

    /// Without the feature `tls` there are no certificates.
    #[allow(clippy::unused_self, reason = "with TLS it is used")]
    pub(crate) fn reload(&self) -> bool {
        false
    }
}
