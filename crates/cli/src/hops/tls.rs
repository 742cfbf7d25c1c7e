//! TLS to next hops and other edges: the certificate of each must be valid for its host.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use sip_authz::uri::Host;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream to a hop or edge, encrypted or not.
pub(crate) enum HopStream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Opens TLS on connections to hops or edges.
pub(crate) struct Connector {
    /// The option that names the certificates to trust.
    #[cfg(feature = "tls")]
    option: &'static str,
    #[cfg(feature = "tls")]
    config: std::sync::OnceLock<Result<std::sync::Arc<rustls::ClientConfig>, String>>,
}

#[cfg(feature = "tls")]
impl Connector {
    /// A connector that trusts the certificates in a PEM file, or else those of the system, which are
    /// read for the first connection.
    ///
    /// # Errors
    ///
    /// A line about the file.
    pub(crate) fn new(option: &'static str, ca: Option<&PathBuf>) -> Result<Self, String> {
        let config = std::sync::OnceLock::new();
        if let Some(path) = ca {
            let of = |why: String| format!("{option} {}: {why}", path.display());
            let mut roots = rustls::RootCertStore::empty();
            for certificate in crate::system::pem::certificates(path).map_err(of)? {
                let added = roots.add(certificate);
                added.map_err(|_| of("a certificate is damaged".to_owned()))?;
            }
            // the cell is new
            let _ = config.set(configure(roots));
        }
        Ok(Self { option, config })
    }

    /// Performs the handshake and verifies the certificate.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &Host,
    ) -> Result<HopStream, String> {
        let config = self.config.get_or_init(|| of_system(self.option)).clone()?;
        let text = host.as_str().trim_matches(['[', ']']);
        let name = rustls::pki_types::ServerName::try_from(text.to_owned())
            .map_err(|_| format!("`{text}` cannot be the name of a certificate"))?;
        let connector = tokio_rustls::TlsConnector::from(config);
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(HopStream::Tls(Box::new(stream))),
            Err(error) => Err(format!("TLS failed: {error}")),
        }
    }
}

/// Trusts the certificates of the system.
#[cfg(feature = "tls")]
fn of_system(option: &str) -> Result<std::sync::Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // some systems have a certificate that rustls cannot read
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(format!("this machine has no CA certificates; name them with {option}"));
    }
    configure(roots)
}

#[cfg(feature = "tls")]
fn configure(roots: rustls::RootCertStore) -> Result<std::sync::Arc<rustls::ClientConfig>, String> {
    // explicit: with a second provider in the build rustls has no default
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    Ok(std::sync::Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(not(feature = "tls"))]
impl Connector {
    /// Without the feature `tls` there are no certificates.
    #[allow(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
    pub(crate) fn new(_: &'static str, _: Option<&PathBuf>) -> Result<Self, String> {
        Ok(Self {})
    }

    /// Without the feature `tls` no hop is reached over TLS.
    #[allow(clippy::unused_async, reason = "with TLS it waits")]
    pub(crate) async fn connect(&self, _: TcpStream, _: &Host) -> Result<HopStream, String> {
        Err("this build has no TLS".to_owned())
    }
}

impl AsyncRead for HopStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for HopStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
