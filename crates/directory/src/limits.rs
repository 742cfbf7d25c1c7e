//! The quotas of resources, and the length limits of names and passwords. The defaults are those of Twilio.

use super::{DirectoryError, Kind};
use sip_authz::model::Password;

/// The limits of an installation. The defaults are those of Twilio's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most domains of an account. Default: 100.
    pub domains: usize,
    /// The most trunks of an account. Default: 100.
    pub trunks: usize,
    /// The most IP access control lists of an account. Default: 1,000.
    pub ip_access_control_lists: usize,
    /// The most addresses of an IP access control list. Default: 100.
    pub ip_addresses: usize,
    /// The most credential lists of an account. Default: 100.
    pub credential_lists: usize,
    /// The most credentials of a list. Default: 1,000.
    pub credentials: usize,
    /// The most roles of an account, over all services. Default: 1,000.
    pub roles: usize,
    /// The most characters of a user name. Default: 32.
    pub username: usize,
    /// The fewest characters of a password. Default: 12. A password must also have an upper-case letter, a
    /// lower-case letter and a digit.
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
        let count = name.chars().count();
        if count > most {
            let message = format!("FriendlyName must have at most {most} characters, got {count}");
            return Err(DirectoryError::invalid(kind, message));
        }
        if name.chars().any(char::is_control) {
            let message = "FriendlyName must not contain control characters";
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
            "Password must have at least {least} characters, with an upper-case letter, a \
             lower-case letter and a digit"
        );
        Err(DirectoryError::invalid(Kind::Credential, message))
    }
}
