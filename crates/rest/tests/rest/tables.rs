//! The fields of each resource in Twilio's reference.

use super::*;

pub(crate) const MAPPING: &str = "account_sid, date_created, date_updated, friendly_name, sid";
pub(crate) const OLDER_MAPPING: &str =
    "account_sid, date_created, date_updated, friendly_name, sid, domain_sid, uri";
pub(crate) const DOMAIN: &str = "account_sid, api_version, auth_type, byoc_trunk_sid, date_created, \
    date_updated, domain_name, emergency_caller_sid, emergency_calling_enabled, friendly_name, \
    secure, sid, sip_registration, subresource_uris, uri, voice_fallback_method, \
    voice_fallback_url, voice_method, voice_status_callback_method, voice_status_callback_url, \
    voice_url";
pub(crate) const LIST: &str =
    "account_sid, date_created, date_updated, friendly_name, sid, subresource_uris, uri";
pub(crate) const CREDENTIAL: &str =
    "account_sid, credential_list_sid, date_created, date_updated, sid, uri, username";
pub(crate) const ADDRESS: &str = "account_sid, cidr_prefix_length, date_created, date_updated, \
    friendly_name, ip_access_control_list_sid, ip_address, sid, uri";
pub(crate) const TRUNK: &str = "account_sid, auth_type, auth_type_set, cnam_lookup_enabled, date_created, \
    date_updated, disaster_recovery_method, disaster_recovery_url, domain_name, friendly_name, \
    links, recording, secure, sid, symmetric_rtp_enabled, transfer_caller_id, transfer_mode, url";
pub(crate) const ASSOCIATION: &str =
    "account_sid, date_created, date_updated, friendly_name, sid, trunk_sid, url";
pub(crate) const ROLE: &str = "account_sid, date_created, date_updated, friendly_name, permissions, \
    service_sid, sid, type, url";
pub(crate) const ACCOUNT: &str = "date_created, date_updated, friendly_name, sid, status";
pub(crate) const ENVELOPE: &str = "end, first_page_uri, next_page_uri, page, page_size, previous_page_uri, \
    start, uri";
pub(crate) const META: &str =
    "page, page_size, first_page_url, previous_page_url, url, next_page_url, key";

/// Every collection: its path, the JSON key of its rows, and the fields of a row.
pub(crate) fn collections(full: &Full) -> Vec<(String, &'static str, &'static str)> {
    let domain = |place: &str| sip(&format!("Domains/{}/{place}", full.domain));
    let trunk = |place: &str| format!("/v1/Trunks/{}/{place}", full.trunk);
    vec![
        (sip("Domains"), "domains", DOMAIN),
        (domain("Auth/Calls/CredentialListMappings"), "contents", MAPPING),
        (domain("Auth/Calls/IpAccessControlListMappings"), "contents", MAPPING),
        (domain("Auth/Registrations/CredentialListMappings"), "contents", MAPPING),
        (domain("CredentialListMappings"), "credential_list_mappings", OLDER_MAPPING),
        (domain("IpAccessControlListMappings"), "ip_access_control_list_mappings", OLDER_MAPPING),
        (sip("CredentialLists"), "credential_lists", LIST),
        (sip(&format!("CredentialLists/{}/Credentials", full.users)), "credentials", CREDENTIAL),
        (sip("IpAccessControlLists"), "ip_access_control_lists", LIST),
        (
            sip(&format!("IpAccessControlLists/{}/IpAddresses", full.addresses)),
            "ip_addresses",
            ADDRESS,
        ),
        ("/v1/Trunks".to_owned(), "trunks", TRUNK),
        (trunk("CredentialLists"), "credential_lists", ASSOCIATION),
        (trunk("IpAccessControlLists"), "ip_access_control_lists", ASSOCIATION),
        (roles(), "roles", ROLE),
    ]
}

/// The path of a row of a collection.
pub(crate) fn instance(collection: &str, sid: &str) -> String {
    match collection.strip_suffix(".json") {
        Some(collection) => format!("{collection}/{sid}.json"),
        None => format!("{collection}/{sid}"),
    }
}
