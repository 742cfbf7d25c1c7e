//! What the file does not say itself.

use sip_authz::AccountSid;
use sip_authz::model::{Dates, Realm};

/// What a configuration does not say itself. The default suits a file that says everything.
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
}

impl Options {
    /// No option set.
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

    /// Sets the account that owns everything in a file that names no account. It is not one of the
    /// configuration's records. Default: an account `default`, which is.
    #[must_use]
    pub fn owner(mut self, owner: AccountSid) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the realm of credential lists that name none in a file without a realm. Default: such lists are
    /// an error.
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
}
