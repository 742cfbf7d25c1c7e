//! The keys of each table, in the order in which messages list them.

use sip_authz::digest::HashFunction;

pub(crate) const FILE: &[&str] = &[
    "realm",
    "edge",
    "next_hop_allow",
    "accounts",
    "ip_access_control_lists",
    "credential_lists",
    "domains",
    "trunks",
];
pub(crate) const ACCOUNT: &[&str] = &["name", "sid", "friendly_name", "status", "token_sha256"];
pub(crate) const ACCESS_LIST: &[&str] = &["name", "sid", "friendly_name", "account", "addresses"];
pub(crate) const ADDRESS: &[&str] = &["address", "sid", "friendly_name", "allow_all"];
pub(crate) const CREDENTIAL_LIST: &[&str] =
    &["name", "sid", "friendly_name", "account", "realm", "credentials"];
pub(crate) const CREDENTIAL: &[&str] = &["username", "sid", "password", "ha1", "disabled"];
pub(crate) const DOMAIN: &[&str] = &[
    "name",
    "sid",
    "friendly_name",
    "account",
    "secure",
    "on_accept",
    "ip_access_control_lists",
    "credential_lists",
    "registrations",
    "policy",
];
pub(crate) const TRUNK: &[&str] = &[
    "name",
    "domain_name",
    "sid",
    "friendly_name",
    "account",
    "secure",
    "on_accept",
    "ip_access_control_lists",
    "credential_lists",
    "policy",
];
pub(crate) const EDGE: &[&str] = &[
    "sip",
    "sips",
    "advertise",
    "default_domain",
    "tls_cert",
    "tls_key",
    "trusted_proxy",
    "source_from",
    "source_header",
];

/// The table of a key that files often have in another table.
pub(crate) fn home_of(key: &str) -> Option<&'static str> {
    match key {
        // behind the header of a table, a key is part of this table
        "next_hop_allow" => Some("before the first table of the file"),
        "realm" => Some("in a credential list, or before the first table of the file"),
        "on_accept" => Some("in a domain or trunk; `serve --on-accept` sets the default"),
        _ if EDGE.contains(&key) => Some("in the table `[edge]`"),
        _ => None,
    }
}

/// Whether the file may have a key of this name. Keys of a policy are not counted.
pub(crate) fn is_known_key(key: &str) -> bool {
    let tables =
        [FILE, EDGE, ACCOUNT, ACCESS_LIST, ADDRESS, CREDENTIAL_LIST, CREDENTIAL, DOMAIN, TRUNK];
    tables.iter().any(|keys| keys.contains(&key))
        || HashFunction::ALL.into_iter().any(|function| function.key() == key)
}
