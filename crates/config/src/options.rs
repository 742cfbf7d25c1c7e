//! Settings for a configuration that the file does not contain.

use sip_authz::AccountSid;
use sip_authz::model::{Dates, NextHopSet, Realm};

/// Settings that complete a configuration file. The default suits a self-contained file.
///
/// ```
/// use sip_authz_config::Options;
///
/// let options = Options::new().file("edge.toml").realm("example.com".parse()?);
/// # Ok::<(), sip_authz::model::NameError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) file: Option<String>,
    pub(crate) owner: Option<AccountSid>,
    pub(crate) realm: Option<Realm>,
    pub(crate) dates: Option<Dates>,
    pub(crate) has_tls: Option<bool>,
    pub(crate) next_hops: NextHopSet,
}

impl Options {
    /// Creates options with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the file in errors and warnings. Default: `config` for a text, the path for a file
    /// that is loaded.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>) -> Self {
        self.file = Some(name.into());
        self
    }

    /// Sets the account that owns all records of a file without accounts. The configuration has no
    /// record of it. Default: a new account `default`, which is one of the records.
    #[must_use]
    pub fn owner(mut self, owner: AccountSid) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the realm of credential lists without one, if the file has no realm either. Default: such
    /// lists are an error.
    #[must_use]
    pub fn realm(mut self, realm: Realm) -> Self {
        self.realm = Some(realm);
        self
    }

    /// Sets the dates of all records. Default: 0 for a text, the time of the last change for a file that is
    /// loaded.
    #[must_use]
    pub fn dates(mut self, dates: Dates) -> Self {
        self.dates = Some(dates);
        self
    }

    /// Sets whether the program listens for TLS, also without `sips` in `[edge]`. Without a listener,
    /// each `secure` domain and trunk is a warning. Default: unknown, and no such warning.
    #[must_use]
    pub fn tls(mut self, has_listener: bool) -> Self {
        self.has_tls = Some(has_listener);
        self
    }

    /// Allows redirects and forwards to these next hops, besides those of the file's `next_hop_allow`.
    /// Default: none.
    #[must_use]
    pub fn next_hops(mut self, next_hops: NextHopSet) -> Self {
        self.next_hops = next_hops;
        self
    }
}
