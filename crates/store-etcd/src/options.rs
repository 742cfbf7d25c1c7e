//! The options of the etcd client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use zeroize::Zeroizing;

/// The default limit of a transaction and of a page, in bytes. etcd accepts 1.5 MiB (1,572,864 bytes)
/// by default. One change of a collection may write pages of members beside the page of the collection.
pub(super) const BYTES: usize = 1 << 20;

/// Called before each write. If it returns false, the caller stops there forever.
pub(super) type BeforeWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// The nodes of etcd, and the settings of the client.
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
    /// Uses the nodes at these URLs (`http://` or `https://`), with all keys under `sip-authz/`. List
    /// all nodes: if one fails or stalls, the client tries the next.
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

    /// Keeps all keys under this prefix. The prefix of another store must not begin with it.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<String>) -> Self {
        self.root = root.into();
        self
    }

    /// Uses the node at this index first, so that many edges spread over the nodes.
    #[must_use]
    pub fn with_first_node(mut self, index: usize) -> Self {
        self.first_node = index;
        self
    }

    /// Fails a call after this time. Until then it retries at all nodes. The default is 10 s.
    #[must_use]
    pub fn with_give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = time;
        self
    }

    /// Deletes a staged commit that is older than this and not yet the head, as abandoned by its
    /// writer. A commit that takes longer to stage fails. The default is ten minutes.
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

    /// Authenticates to the nodes with this certificate and private key (PEM).
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

    /// Stops a writer forever before the first write for which `go_on` returns false, as a kill would.
    #[doc(hidden)]
    #[must_use]
    pub fn with_stop(mut self, go_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.before_write = Some(Arc::new(go_on));
        self
    }

    /// Rejects commits whose transactions or pages would exceed this many bytes, for an etcd with a low
    /// limit. The default is 1 MiB.
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
            // a node loses its logins when it restarts
            options = options.with_user(name, password.as_str()).with_auto_token_refresh(true);
        }
        options
    }
}

/// Contains no key and no password.
impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
