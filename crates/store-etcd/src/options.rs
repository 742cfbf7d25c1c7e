//! The options of the etcd client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use zeroize::Zeroizing;

/// Bytes in one transaction, and the most in a page; the engine takes 1.5 MiB (1,572,864 bytes)
/// unless told otherwise. One change of a collection may come with members' pages beside its own.
pub(super) const BYTES: usize = 1 << 20;

/// Called before each write; false stops the caller there for good.
pub(super) type BeforeWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// The nodes of etcd, and how to use them.
#[derive(Clone)]
pub struct EtcdOptions {
    pub(super) endpoints: Vec<String>,
    pub(super) root: String,
    pub(super) first_node: usize,
    pub(super) give_up_after: Duration,
    pub(super) orphans_after: Duration,
    pub(super) before_write: Option<BeforeWrite>,
    pub(super) limit: usize,
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    user: Option<(String, Zeroizing<String>)>,
}

impl EtcdOptions {
    /// The nodes at these URLs (`http://` or `https://`), with all keys under `sip-authz/`. Each node
    /// need only know some of the others: name all of them here, since the first that fails is left
    /// for the next.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            root: "sip-authz/".to_owned(),
            first_node: 0,
            give_up_after: Duration::from_secs(10),
            orphans_after: Duration::from_secs(600),
            before_write: None,
            limit: BYTES,
            ca: None,
            identity: None,
            user: None,
        }
    }

    /// Keeps all keys under this prefix, which no other may begin with.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<String>) -> Self {
        self.root = root.into();
        self
    }

    /// Asks the node at this place first, so that many edges are spread over the nodes.
    #[must_use]
    pub fn with_first_node(mut self, place: usize) -> Self {
        self.first_node = place;
        self
    }

    /// Gives a call up after this time, with all nodes tried again and again; 10 s unless told.
    #[must_use]
    pub fn with_give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = time;
        self
    }

    /// Takes staged parts of a large commit for left behind when they have been there for this time
    /// and are no part of the head; ten minutes unless told. One that is still being staged then is
    /// not committed.
    #[must_use]
    pub fn with_orphans_after(mut self, time: Duration) -> Self {
        self.orphans_after = time;
        self
    }

    /// Trusts nodes with a certificate of this authority (PEM), for `https://`.
    #[must_use]
    pub fn with_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Shows nodes this certificate (PEM) and proves it with this key (PEM).
    #[must_use]
    pub fn with_identity(mut self, certificate: impl Into<Vec<u8>>, key: Vec<u8>) -> Self {
        self.identity = Some((certificate.into(), Zeroizing::new(key)));
        self
    }

    /// Logs in as this user.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: String) -> Self {
        self.user = Some((name.into(), Zeroizing::new(password)));
        self
    }

    /// Stops a writer for good before the write that `go_on` says no to, as a kill would.
    #[doc(hidden)]
    #[must_use]
    pub fn with_stop(mut self, go_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.before_write = Some(Arc::new(go_on));
        self
    }

    /// Makes no commit whose transactions or pages would have more bytes, for an etcd that takes
    /// little; 1 MiB unless told.
    #[doc(hidden)]
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    pub(super) fn connect(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_connect_timeout(Duration::from_secs(2))
            .with_keep_alive(Duration::from_secs(3), Duration::from_secs(3))
            .with_keep_alive_while_idle(true);
        if self.ca.is_some() || self.identity.is_some() {
            let mut tls = TlsOptions::new();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let Some((certificate, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(certificate, key.as_slice()));
            }
            options = options.with_tls(tls);
        }
        if let Some((name, password)) = &self.user {
            // a node forgets whom it has let in when it starts anew
            options = options.with_user(name, password.as_str()).with_auto_token_refresh(true);
        }
        options
    }
}

/// Shows no key and no password.
impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
