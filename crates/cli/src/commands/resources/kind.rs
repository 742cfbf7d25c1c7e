//! The table of resources: where the API has them, and what the commands show of them.

use std::fmt;

use serde_json::Value;
use sip_authz::AccountSid;

/// A kind of resource.
pub(super) struct Kind {
    /// The kind in words.
    pub(super) noun: &'static str,
    /// The letters at the beginning of its SIDs.
    prefix: &'static str,
    /// The part of the path that names its collection.
    path: &'static str,
    /// The key of the rows in a page of the listing.
    pub(super) key: &'static str,
    /// The field with the host name, if the kind has one.
    pub(super) host: Option<&'static str>,
    /// The field with the name.
    pub(super) name: &'static str,
    /// The largest page that the API returns.
    pub(super) page: u32,
    /// The command that lists the names.
    pub(super) list: &'static str,
    /// The columns of a table: headings and fields.
    pub(super) columns: &'static [(&'static str, &'static str)],
}

const BY_NAME: Kind = Kind {
    noun: "",
    prefix: "",
    path: "",
    key: "",
    host: None,
    name: "friendly_name",
    page: 1000,
    list: "",
    columns: &[("SID", "sid"), ("NAME", "friendly_name")],
};

/// The columns of domains and trunks.
const TARGET_COLUMNS: &[(&str, &str)] = &[
    ("SID", "sid"),
    ("HOST", "domain_name"),
    ("NAME", "friendly_name"),
    ("ADMITS", "auth_type"),
    ("SECURE", "secure"),
    ("ON ACCEPT", "on_accept"),
];

pub(super) static ACCOUNT: Kind = Kind {
    noun: "account",
    prefix: "AC",
    path: "",
    key: "accounts",
    list: "account list",
    ..BY_NAME
};

pub(super) static DOMAIN: Kind = Kind {
    noun: "domain",
    prefix: "SD",
    path: "Domains",
    key: "domains",
    host: Some("domain_name"),
    list: "domain list",
    columns: TARGET_COLUMNS,
    ..BY_NAME
};

pub(super) static TRUNK: Kind = Kind {
    noun: "trunk",
    prefix: "TK",
    path: "Trunks",
    key: "trunks",
    host: Some("domain_name"),
    list: "trunk list",
    columns: TARGET_COLUMNS,
    ..BY_NAME
};

pub(super) static IP_LIST: Kind = Kind {
    noun: "access list",
    prefix: "AL",
    path: "IpAccessControlLists",
    key: "ip_access_control_lists",
    list: "list list",
    ..BY_NAME
};

pub(super) static CREDENTIAL_LIST: Kind = Kind {
    noun: "credential list",
    prefix: "CL",
    path: "CredentialLists",
    key: "credential_lists",
    list: "list list",
    ..BY_NAME
};

pub(super) static ENTRY: Kind = Kind {
    noun: "entry",
    prefix: "IP",
    path: "IpAddresses",
    key: "ip_addresses",
    list: "list show",
    columns: &[("SID", "sid"), ("ADDRESS", PREFIX), ("NAME", "friendly_name")],
    ..BY_NAME
};

pub(super) static USER: Kind = Kind {
    noun: "user",
    prefix: "CR",
    path: "Credentials",
    key: "credentials",
    name: "username",
    list: "user list",
    columns: &[
        ("SID", "sid"),
        ("USER", "username"),
        ("LIST", "list"),
        ("STATE", STATE),
        ("ROLE", "role_sid"),
    ],
    ..BY_NAME
};

pub(super) static ROLE: Kind = Kind {
    noun: "role",
    prefix: "RL",
    path: "Roles",
    key: "roles",
    page: 100,
    list: "role list",
    columns: &[
        ("SID", "sid"),
        ("NAME", "friendly_name"),
        ("TYPE", "type"),
        ("PERMISSIONS", "permissions"),
    ],
    ..BY_NAME
};

/// The field of an entry with its prefix, made from two fields of the API.
pub(super) const PREFIX: &str = "prefix";
/// The field of a user with its state, made from `disabled`.
pub(super) const STATE: &str = "state";

/// The lists mapped to a domain or trunk: for calls or registrations, by kind of list.
pub(super) struct Mappings {
    pub(super) list: &'static Kind,
    /// The path below the target and the key of the rows, for a domain.
    pub(super) domain: (&'static str, &'static str),
    /// The same for a trunk, if trunks have these mappings.
    pub(super) trunk: Option<(&'static str, &'static str)>,
    /// The parameter with the SID of the list.
    pub(super) parameter: &'static str,
    /// Whether they are for registrations instead of for calls.
    pub(super) is_registration: bool,
}

pub(super) static MAPPINGS: [Mappings; 3] = [
    Mappings {
        list: &IP_LIST,
        domain: ("Auth/Calls/IpAccessControlListMappings", "contents"),
        trunk: Some(("IpAccessControlLists", "ip_access_control_lists")),
        parameter: "IpAccessControlListSid",
        is_registration: false,
    },
    Mappings {
        list: &CREDENTIAL_LIST,
        domain: ("Auth/Calls/CredentialListMappings", "contents"),
        trunk: Some(("CredentialLists", "credential_lists")),
        parameter: "CredentialListSid",
        is_registration: false,
    },
    Mappings {
        list: &CREDENTIAL_LIST,
        domain: ("Auth/Registrations/CredentialListMappings", "contents"),
        trunk: None,
        parameter: "CredentialListSid",
        is_registration: true,
    },
];

/// A collection of resources in the API.
#[derive(Clone)]
pub(super) struct Collection {
    pub(super) kind: &'static Kind,
    path: String,
    /// The end of each path: `.json` or nothing.
    suffix: &'static str,
    pub(super) key: &'static str,
}

impl Collection {
    /// All accounts.
    pub(super) fn accounts() -> Self {
        let path = "/2010-04-01/Accounts".to_owned();
        Self { kind: &ACCOUNT, path, suffix: ".json", key: ACCOUNT.key }
    }

    /// The resources of an account below `SIP`.
    pub(super) fn sip(account: AccountSid, kind: &'static Kind) -> Self {
        let path = format!("/2010-04-01/Accounts/{account}/SIP/{}", kind.path);
        Self { kind, path, suffix: ".json", key: kind.key }
    }

    /// The trunks of an account, which the path does not name.
    pub(super) fn trunks() -> Self {
        let path = format!("/v1/{}", TRUNK.path);
        Self { kind: &TRUNK, path, suffix: "", key: TRUNK.key }
    }

    /// The roles of an account in a service.
    pub(super) fn roles(service: impl fmt::Display) -> Self {
        let path = format!("/v2/Services/{service}/{}", ROLE.path);
        Self { kind: &ROLE, path, suffix: "", key: ROLE.key }
    }

    /// The resources of a kind that belong to one resource of this collection.
    pub(super) fn below(&self, sid: &str, kind: &'static Kind) -> Self {
        let path = format!("{}/{sid}/{}", self.path, kind.path);
        Self { kind, path, suffix: self.suffix, key: kind.key }
    }

    /// The mappings of one domain or trunk of this collection; none if it cannot have them.
    pub(super) fn mappings(&self, sid: &str, mappings: &'static Mappings) -> Option<Self> {
        let part = if self.is_trunks() { mappings.trunk } else { Some(mappings.domain) };
        let (below, key) = part?;
        let path = format!("{}/{sid}/{below}", self.path);
        Some(Self { kind: mappings.list, path, suffix: self.suffix, key })
    }

    pub(super) fn is_trunks(&self) -> bool {
        self.kind.is(&TRUNK)
    }

    /// The path of the listing.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.path, self.suffix)
    }

    /// The path of one resource.
    pub(super) fn one(&self, sid: &str) -> String {
        format!("{}/{sid}{}", self.path, self.suffix)
    }

    /// The path of the policy of one domain or trunk.
    pub(super) fn policy(&self, sid: &str) -> String {
        format!("{}/{sid}/Policy{}", self.path, self.suffix)
    }
}

impl Kind {
    /// Whether this is the same row of the table.
    pub(super) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// Whether a text has the form of a SID of this kind.
    pub(super) fn is_sid(&self, text: &str) -> bool {
        let digits = text.strip_prefix(self.prefix).unwrap_or_default();
        digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// The text of a field; empty if it is absent, null or not a text.
pub(super) fn text<'v>(resource: &'v Value, field: &str) -> &'v str {
    resource.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The prefix of an entry, such as `192.0.2.0/24`; without the length if it is one address.
pub(super) fn prefix_of(entry: &Value) -> String {
    let address = text(entry, "ip_address");
    let full = if address.contains(':') { 128 } else { 32 };
    match entry.get("cidr_prefix_length").and_then(Value::as_u64) {
        Some(length) if length != full => format!("{address}/{length}"),
        _ => address.to_owned(),
    }
}

/// The host name of a domain or trunk, or the friendly name of a trunk without one.
pub(super) fn shown_name(target: &Value) -> &str {
    match text(target, "domain_name") {
        "" => text(target, "friendly_name"),
        host => host,
    }
}

/// A boolean as the API takes it.
pub(super) fn bool_text(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}
