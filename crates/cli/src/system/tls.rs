//! TLS with certificates that can be reloaded (feature `tls`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::system::output::warn;
use sip_authz_config::is_readable_by_others;

/// Time limit of a TLS handshake.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// The maximum of encrypted bytes that a connection holds for a client that does not read.
const UNSENT: usize = 16 << 10;

/// The certificate and key of a listener. Open connections keep theirs after a reload.
pub(crate) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

impl Identity {
    /// Reads a certificate chain and its private key from two PEM files.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let current = ArcSwap::from_pointee(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads the files again. If they are invalid, the old certificate stays in use.
    pub(crate) fn reload(&self) {
        let name = self.certificate.display();
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                warn(format_args!("reloaded {name}"));
            }
            Err(why) => warn(format_args!("{why}; the old certificate stays in use")),
        }
    }

    /// Performs the TLS handshake on a connection within `time`.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        time: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let accepted = TlsAcceptor::from(self.current.load_full()).accept(stream);
        let mut stream = tokio::time::timeout(time, accepted).await??;
        stream.get_mut().1.set_buffer_limit(Some(UNSENT));
        Ok(stream)
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &"expected a certificate in PEM, found none"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    if std::fs::metadata(key).is_ok_and(|metadata| is_readable_by_others(&metadata)) {
        warn(format_args!(
            "warning: private key {} is readable by all users of this machine",
            key.display()
        ));
    }
    // explicit: with a second provider in the build rustls has no default
    let provider = Arc::new(ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| wrong(certificate, &error))
}
