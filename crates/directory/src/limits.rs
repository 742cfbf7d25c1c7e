//! The quotas of resources and the limits of names, as the documented service has them.

use super::{DirectoryError, Kind};
use sip_authz::model::Password;

/// Limits of an installation. The defaults are the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Domains of an account. 100.
    pub domains: usize,
    /// Trunks of an account. 100.
    pub trunks: usize,
    /// IP access control lists of an account. 1,000.
    pub ip_access_control_lists: usize,
    /// Addresses of an IP access control list. 100.
    pub ip_addresses: usize,
    /// Credential lists of an account. 100.
    pub credential_lists: usize,
    /// Credentials of a list. 1,000.
    pub credentials: usize,
    /// Roles of an account, in all services. 1,000.
    pub roles: usize,
    /// Characters of a user name. 32.
    pub username: usize,
    /// Characters of a password, at least. 12. It must also have an upper-case letter, a lower-case
    /// letter and a digit.
    pub password: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            domains: 100,
            trunks: 100,
            ip_access_control_lists: 1_000,
            ip_addresses: 100,
            credential_lists: 100,
            credentials: 1_000,
            roles: 1_000,
            username: 32,
            password: 12,
        }
    }
}

sip_authz::setters! {
    Limits {
        with_domains: domains: usize,
        with_trunks: trunks: usize,
        with_ip_access_control_lists: ip_access_control_lists: usize,
        with_ip_addresses: ip_addresses: usize,
        with_credential_lists: credential_lists: usize,
        with_credentials: credentials: usize,
        with_roles: roles: usize,
        with_username: username: usize,
        with_password: password: usize,
    }
}

impl Limits {
    /// Checks a friendly name: at most 255 characters for access lists and addresses, 64 for the rest, and
    /// no control characters.
    pub(super) fn friendly_name(kind: Kind, name: &str) -> Result<(), DirectoryError> {
        let most = match kind {
            Kind::IpAccessControlList | Kind::IpAddress => 255,
            _ => 64,
        };
        if name.chars().count() > most {
            let message = format!("FriendlyName has at most {most} characters");
            return Err(DirectoryError::invalid(kind, message));
        }
        if name.chars().any(char::is_control) {
            let message = "FriendlyName has a control character";
            return Err(DirectoryError::invalid(kind, message));
        }
        Ok(())
    }

    pub(super) fn check_password(&self, password: &Password) -> Result<(), DirectoryError> {
        let text = password.expose();
        let strong = text.chars().count() >= self.password
            && text.chars().any(char::is_uppercase)
            && text.chars().any(char::is_lowercase)
            && text.chars().any(|c| c.is_ascii_digit());
        if strong {
            return Ok(());
        }
        let least = self.password;
        let message = format!(
            "Password has at least {least} characters, among them an upper-case letter, a \
             lower-case letter and a digit"
        );
        Err(DirectoryError::invalid(Kind::Credential, message))
    }
}
