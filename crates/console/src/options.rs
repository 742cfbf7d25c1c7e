//! The options of the console.

use sip_authz_rest::{AdminToken, OnFailedLogin, SharedDecisions};

use super::state::SharedState;

/// The options of a [`Console`](crate::Console).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsoleOptions {
    /// The token of the user `admin`; without a token there is no such user. Default: none.
    pub admin: Option<AdminToken>,
    /// The decisions that the program keeps. Default: none; the view then says so.
    pub decisions: Option<SharedDecisions>,
    /// The callback for logins with a wrong token. Default: none.
    pub on_failed_login: Option<OnFailedLogin>,
    /// The state of the program. Default: none.
    pub state: Option<SharedState>,
    /// The base URL of the server as browsers see it, such as `https://api.example.com/sip`. The host of each
    /// request must then be an IP address, `localhost`, or the host and port of this URL. Default: none.
    pub public_base: Option<String>,
    /// Whether the server listens on a loopback address only. Without `public_base`, the host of each request
    /// must then be an IP address or `localhost`; else any host is admitted. Default: false.
    pub local: bool,
    /// Whether a configuration file defines the resources, so that no page offers changes. Default: false.
    pub read_only: bool,
}

sip_authz::setters! {
    ConsoleOptions {
        with_admin: admin: Option<AdminToken>,
        with_decisions: decisions: Option<SharedDecisions>,
        with_on_failed_login: on_failed_login: Option<OnFailedLogin>,
        with_state: state: Option<SharedState>,
        with_public_base: public_base: Option<String>,
        with_local: local: bool,
        with_read_only: read_only: bool,
    }
}

impl ConsoleOptions {
    /// The decisions, if any are kept.
    pub(crate) fn kept_decisions(&self) -> Option<&SharedDecisions> {
        self.decisions.as_ref().filter(|decisions| decisions.0.keeps())
    }

    /// The path of the public URL, without a slash at the end; empty without one.
    pub(crate) fn prefix(&self) -> &str {
        self.public_parts().map_or("", |(_, path)| path)
    }

    /// The origin of the public URL.
    pub(crate) fn public_origin(&self) -> Option<&str> {
        self.public_parts().map(|(origin, _)| origin)
    }

    /// Origin and path of the public URL.
    fn public_parts(&self) -> Option<(&str, &str)> {
        let base = self.public_base.as_deref()?;
        let host = base.find("://")? + 3;
        let end = base.get(host..)?.find('/').map_or(base.len(), |at| host + at);
        let (origin, path) = base.split_at_checked(end)?;
        Some((origin, path.trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_has_an_origin_and_a_path() {
        let parts = |base: &str| {
            let options = ConsoleOptions::default().with_public_base(Some(base.to_owned()));
            (options.public_origin().map(str::to_owned), options.prefix().to_owned())
        };
        let origin = Some("https://a.example:8443".to_owned());
        assert_eq!(parts("https://a.example:8443"), (origin.clone(), String::new()));
        assert_eq!(parts("https://a.example:8443/"), (origin.clone(), String::new()));
        assert_eq!(parts("https://a.example:8443/sip/x/"), (origin, "/sip/x".to_owned()));
    }
}
