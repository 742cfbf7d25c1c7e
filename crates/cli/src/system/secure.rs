//! Whether connections are encrypted, and with what.

use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;

use crate::args::ServeArgs;
use crate::system::failure::Failure;
#[cfg(feature = "tls")]
use crate::system::tls::Identity;

/// What the connections of a listener carry.
#[derive(Clone)]
pub(crate) enum Security {
    /// What is said, in clear.
    None,
    /// TLS.
    #[cfg(feature = "tls")]
    Tls(Arc<Identity>),
}

impl Security {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What of the program is encrypted.
pub(crate) struct Secured {
    /// Where SIP over TLS is listened for.
    pub(crate) sips: Option<(SocketAddr, Security)>,
    pub(crate) api: Security,
}

#[cfg(feature = "tls")]
impl Secured {
    /// Reads the certificates that the command line names.
    pub(crate) fn load(args: &ServeArgs) -> Result<Self, Failure> {
        let load = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::load(certificate, key).map_err(Failure::Setup)?;
                Ok(Security::Tls(Arc::new(identity)))
            }
            _ => Ok(Security::None),
        };
        let tls = &args.tls;
        let sip = load(&tls.tls_cert, &tls.tls_key)?;
        let api = load(&tls.api_cert, &tls.api_key)?;
        Ok(Self { sips: tls.sips.map(|address| (address, sip)), api })
    }

    /// Reads the certificates again. False if there is none.
    pub(crate) fn reload(&self) -> bool {
        let all = self.sips.iter().map(|(_, security)| security).chain([&self.api]);
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
    /// Without the feature `tls` everything is in clear.
    #[allow(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
    pub(crate) fn load(_: &ServeArgs) -> Result<Self, Failure> {
        Ok(Self { sips: None, api: Security::None })
    }

    /// There is no certificate to read again.
    #[allow(clippy::unused_self, reason = "with TLS it is used")]
    pub(crate) fn reload(&self) -> bool {
        false
    }
}
