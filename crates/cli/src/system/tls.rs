//! TLS with certificates that can be reloaded (feature `tls`).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::observe::expiry::Expiry;
use crate::system::output::warn;
use crate::system::{expiry, pem};
use sip_authz_config::is_readable_by_others;

/// Time limit of a TLS handshake.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// The maximum of encrypted bytes that a connection holds for a client that does not read.
const UNSENT: usize = 16 << 10;

/// The files of a certificate and its key, each with the option that names it.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) certificate: (&'static str, PathBuf),
    pub(crate) key: (&'static str, PathBuf),
}

/// The certificate and key of a listener. Open connections keep theirs after a reload.
pub(crate) struct Identity {
    names: Names,
    current: ArcSwap<Loaded>,
}

/// The content of the files of an [`Identity`].
struct Loaded {
    config: Arc<ServerConfig>,
    /// The end of the certificate that expires first; none if it cannot be read.
    expires: Option<SystemTime>,
}

impl Identity {
    /// Reads a certificate chain and its private key from two PEM files. Returns each error as a line.
    pub(crate) fn load(names: Names) -> Result<Self, Vec<String>> {
        let current = ArcSwap::from_pointee(read(&names)?);
        Ok(Self { names, current })
    }

    /// Reads the files again, and returns whether they are valid. If not, the old certificate stays in
    /// use.
    pub(crate) fn reload(&self) -> bool {
        match read(&self.names) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                warn(format_args!("reloaded {}", self.names.certificate.1.display()));
                true
            }
            Err(errors) => {
                for why in errors {
                    warn(format_args!("{why}; the old certificate stays in use"));
                }
                false
            }
        }
    }

    /// The end of the certificate in use.
    pub(crate) fn expiry(&self) -> Expiry {
        Expiry { file: self.names.certificate.1.clone(), at: self.current.load().expires }
    }

    /// Performs the TLS handshake on a connection within `time`.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        time: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let accepted = TlsAcceptor::from(Arc::clone(&self.current.load().config)).accept(stream);
        let mut stream = tokio::time::timeout(time, accepted).await??;
        stream.get_mut().1.set_buffer_limit(Some(UNSENT));
        Ok(stream)
    }
}

fn read(names: &Names) -> Result<Loaded, Vec<String>> {
    let Names { certificate: (_, certificate), key: (_, key) } = names;
    let (chain, secret) = match (pem::certificates(certificate), pem::private_key(key)) {
        (Ok(chain), Ok(secret)) => (chain, secret),
        (Err(chain), Err(secret)) => {
            // each file has what the other one must have
            let swapped = chain.ends_with("a private key") && secret.ends_with("a certificate");
            let hint = if swapped { "; are certificate and key swapped?" } else { "" };
            let [chain, secret] = [chain, secret].map(|why| format!("{why}{hint}"));
            return Err(vec![of(&names.certificate, &chain), of(&names.key, &secret)]);
        }
        (chain, secret) => {
            let chain = chain.err().map(|why| of(&names.certificate, &why));
            return Err(chain
                .into_iter()
                .chain(secret.err().map(|why| of(&names.key, &why)))
                .collect());
        }
    };
    if std::fs::metadata(key).is_ok_and(|metadata| is_readable_by_others(&metadata)) {
        warn(format_args!(
            "warning: private key {} is readable by all users of this machine",
            key.display()
        ));
    }
    let failed = |error| vec![describe(&error, &chain, &secret, names)];
    let config = configure(chain.clone(), secret.clone_key()).map_err(failed)?;
    Ok(Loaded { config: Arc::new(config), expires: expiry::earliest(&chain) })
}

fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    // explicit: with a second provider in the build rustls has no default
    let provider = Arc::new(ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
}

/// The message for a certificate and key that do not work together.
fn describe(
    error: &rustls::Error,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    names: &Names,
) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let is_of_key = |one: &CertificateDer<'static>| {
                configure(vec![one.clone()], key.clone_key()).is_ok()
            };
            let certificate = names.certificate.1.display();
            let why = match chain.iter().skip(1).any(is_of_key) {
                true => format!(
                    "the key belongs to a later certificate of {certificate}; put that one first"
                ),
                false => format!("the key does not belong to the certificate in {certificate}"),
            };
            of(&names.key, &why)
        }
        rustls::Error::InvalidCertificate(_) => {
            of(&names.certificate, &"the certificate is damaged")
        }
        rustls::Error::General(_) => {
            let why = "the private key is damaged or of another type; expected RSA with 2,048 bits or \
                       more, ECDSA with P-256 or P-384, or Ed25519";
            of(&names.key, &why)
        }
        other => of(&names.certificate, other),
    }
}

/// The message with the option and the file.
fn of((option, path): &(&str, PathBuf), why: &dyn std::fmt::Display) -> String {
    format!("{option} {}: {why}", path.display())
}
