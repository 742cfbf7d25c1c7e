//! The header fields that tell the next hop who calls.

use crate::fields::is_token_byte;

/// The names of the fields with the caller's account, domain, user and permits.
///
/// The values come from this side only: whatever a peer sends under these names is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFields {
    account: String,
    domain: String,
    user: String,
    permits: String,
    asserted: bool,
}

/// A name that cannot be an identity field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The name is not a token (RFC 3261 §25.1), has one letter as compact forms have, or is too long.
    #[error("expected a header name of 2 to {MAX_NAME} token characters, found `{0}`")]
    Name(String),
    /// The name has a meaning in SIP.
    #[error("expected a header name without a meaning in SIP, found `{0}`")]
    Standard(String),
    /// Two fields have the same name.
    #[error("expected different header names, found `{0}` twice")]
    Repeated(String),
}

/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 64;

const ASSERTED: &str = "P-Asserted-Identity";
const PREFERRED: &str = "P-Preferred-Identity";
const PARTY: &str = "Remote-Party-ID";
/// The way back to a registered phone (RFC 3327). A Path of a phone would lead its calls elsewhere.
const PATH: &str = "Path";

/// The names in the IANA registry of SIP header fields, with those of drafts that servers read. Compact
/// forms have one letter.
#[rustfmt::skip]
const STANDARD: &[&str] = &[
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Accept-Resource-Priority",
    "Additional-Identity", "Alert-Info", "Allow", "Allow-Events", "Answer-Mode", "Attestation-Info",
    "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Cellular-Network-Info", "Contact",
    "Content-Disposition", "Content-Encoding", "Content-ID", "Content-Language", "Content-Length",
    "Content-Transfer-Encoding", "Content-Type", "CSeq", "Date", "DC-Info", "Diversion", "Encryption",
    "Error-Info", "Event", "Expires", "Feature-Caps", "Flow-Timer", "From", "Geolocation",
    "Geolocation-Error", "Geolocation-Routing", "Hide", "History-Info", "Identity", "Identity-Info",
    "In-Reply-To", "Info-Package", "Join", "Max-Breadth", "Max-Forwards", "MIME-Version", "Min-Expires",
    "Min-SE", "Organization", "Origination-Id", "P-Access-Network-Info", "P-Answer-State",
    "P-Asserted-Identity", "P-Asserted-Service", "P-Associated-URI", "P-Called-Party-ID",
    "P-Charge-Info", "P-Charging-Function-Addresses", "P-Charging-Vector", "P-DCS-Billing-Info",
    "P-DCS-LAES", "P-DCS-OSPS", "P-DCS-Redirect", "P-DCS-Trace-Party-ID", "P-Early-Media",
    "P-Media-Authorization", "P-Preferred-Identity", "P-Preferred-Service",
    "P-Private-Network-Indication", "P-Profile-Key", "P-Refused-URI-List", "P-Served-User",
    "P-User-Database", "P-Visited-Network-ID", "Path", "Permission-Missing", "Policy-Contact",
    "Policy-ID", "Priority", "Priority-Share", "Priority-Verstat", "Priv-Answer-Mode", "Privacy",
    "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Require", "RAck",
    "Reason", "Reason-Phrase", "Record-Route", "Recv-Info", "Refer-Events-At", "Refer-Sub", "Refer-To",
    "Referred-By", "Reject-Contact", "Relayed-Charge", "Remote-Party-ID", "Replaces", "Reply-To",
    "Request-Disposition", "Require", "Resource-Priority", "Resource-Share", "Response-Key",
    "Response-Source", "Restoration-Info", "Retry-After", "Route", "RSeq", "Security-Client",
    "Security-Server", "Security-Verify", "Server", "Service-Interact-Info", "Service-Route",
    "Session-Expires", "Session-ID", "SIP-ETag", "SIP-If-Match", "Subject", "Subscription-State",
    "Supported", "Suppress-If-Match", "Target-Dialog", "Timestamp", "To", "Trigger-Consent",
    "Unsupported", "User-Agent", "User-to-User", "Via", "Warning", "WWW-Authenticate",
];

impl Default for IdentityFields {
    /// `X-Authz-Account`, `X-Authz-Domain`, `X-Authz-User` and `X-Authz-Permits`.
    fn default() -> Self {
        Self {
            account: "X-Authz-Account".to_owned(),
            domain: "X-Authz-Domain".to_owned(),
            user: "X-Authz-User".to_owned(),
            permits: "X-Authz-Permits".to_owned(),
            asserted: false,
        }
    }
}

impl IdentityFields {
    /// Takes the names of the fields.
    ///
    /// # Errors
    /// A name is not a token, has one letter, is longer than 64 bytes, is a standard name of SIP, or is
    /// given twice. Case does not count, and a `_` is taken for a `-`.
    pub fn new(
        account: &str,
        domain: &str,
        user: &str,
        permits: &str,
    ) -> Result<Self, IdentityError> {
        let names = [account, domain, user, permits];
        for (at, name) in names.into_iter().enumerate() {
            let is_token = name.bytes().all(is_token_byte);
            if !(2..=MAX_NAME).contains(&name.len()) || !is_token {
                return Err(IdentityError::Name(name.to_owned()));
            }
            if STANDARD.iter().any(|standard| is_same(name.as_bytes(), standard)) {
                return Err(IdentityError::Standard(name.to_owned()));
            }
            if names.iter().take(at).any(|earlier| is_same(name.as_bytes(), earlier)) {
                return Err(IdentityError::Repeated(name.to_owned()));
            }
        }
        let [account, domain, user, permits] = names.map(str::to_owned);
        Ok(Self { account, domain, user, permits, asserted: false })
    }

    /// Sets whether P-Asserted-Identity is sent to the next hop too (RFC 3325). P-Preferred-Identity is
    /// then removed from requests.
    #[must_use]
    pub fn with_asserted(mut self, asserted: bool) -> Self {
        self.asserted = asserted;
        self
    }

    /// Whether P-Asserted-Identity is sent to the next hop.
    #[must_use]
    pub fn is_asserted(&self) -> bool {
        self.asserted
    }

    /// The name of the field with the account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The name of the field with the domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The name of the field with the user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The name of the field with the permits.
    #[must_use]
    pub fn permits(&self) -> &str {
        &self.permits
    }

    /// Whether this is the name of one of the four fields, in any case. A `_` counts as a `-`, because
    /// programs behind a PBX often replace one by the other.
    #[must_use]
    pub fn is_one(&self, name: &[u8]) -> bool {
        [&self.account, &self.domain, &self.user, &self.permits]
            .into_iter()
            .any(|own| is_same(name, own))
    }

    /// Whether a field of a peer is removed. `asserted` also removes what only this side may say of a
    /// phone.
    pub(crate) fn is_removed(&self, name: &[u8], asserted: bool) -> bool {
        let of_peer = |known| is_same(name, known);
        self.is_one(name)
            || (asserted && [ASSERTED, PARTY, PATH].into_iter().any(of_peer))
            || (asserted && self.asserted && of_peer(PREFERRED))
    }

    /// Whether a folded line looks like one of these fields. A parser that does not know folds would
    /// read it.
    pub(crate) fn is_removed_line(&self, line: &[u8], asserted: bool) -> bool {
        let Some(end) = line.iter().position(|byte| *byte == b':') else { return false };
        let name = line.get(..end).unwrap_or_default();
        self.is_removed(name.trim_ascii_end(), asserted)
    }
}

/// Whether two names are equal: in any case, and with `_` and `-` taken for the same.
fn is_same(name: &[u8], own: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == own.len() && name.iter().zip(own.bytes()).all(|(a, b)| plain(*a) == plain(b))
}

/// Appends the value of an identity field: percent-encodes every byte that is not visible ASCII, and `%`.
/// So the value stays on its line, and different texts have different values.
pub fn put_identity(text: &str, out: &mut Vec<u8>) {
    put_encoded(text, |byte| byte.is_ascii_graphic() && byte != b'%', out);
}

/// Appends the value of P-Asserted-Identity (RFC 3325 §9.1): `<sip:user@domain>`, or `<sip:domain>`
/// without a user. In the user, all but the unreserved characters of RFC 3261 §25.1 and `+` are
/// percent-encoded.
pub fn put_asserted_identity(user: Option<&str>, domain: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<sip:");
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte);
        put_encoded(user, stays, out);
        out.push(b'@');
    }
    // a domain is a host of the configuration, so nothing is encoded
    put_encoded(domain, |byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte), out);
    out.push(b'>');
}

fn put_encoded(text: &str, stays: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let digit = |value: u8| b"0123456789ABCDEF".get(usize::from(value)).copied().unwrap_or(b'0');
    for byte in text.bytes() {
        if stays(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_user(name: &str) -> Result<IdentityFields, IdentityError> {
        IdentityFields::new("X-A", "X-D", name, "X-P")
    }

    #[test]
    fn names_are_tokens_without_a_meaning() {
        for name in ["X-User", "x", "Xy", "PBX.User", "P-Our-User", "a!%*_+`'~"] {
            assert_eq!(with_user(name).is_ok(), name.len() > 1, "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "v", "Z", "X User", "X:", "X-Üser", "X\r\nY", "X\0", "<X>", "X,Y", &long]
        {
            assert_eq!(with_user(name), Err(IdentityError::Name(name.to_owned())));
        }
        for name in STANDARD {
            for name in [name.to_uppercase(), name.to_lowercase(), name.replace('-', "_")] {
                let expected = if name.len() < 2 {
                    IdentityError::Name(name.clone())
                } else {
                    IdentityError::Standard(name.clone())
                };
                assert_eq!(with_user(&name), Err(expected));
            }
        }
        for name in ["X-A", "x-d", "x_p"] {
            assert!(matches!(with_user(name), Err(IdentityError::Repeated(_))), "{name}");
        }
        let default = IdentityFields::default();
        let names = [default.account(), default.domain(), default.user(), default.permits()];
        let [account, domain, user, permits] = names;
        assert_eq!(IdentityFields::new(account, domain, user, permits), Ok(default.clone()));
    }

    #[test]
    fn fields_of_peers_are_known_in_every_spelling() {
        let fields = with_user("X-User").unwrap();
        for name in ["X-User", "x-user", "X_USER", "X-a", "x_D", "X-P"] {
            assert!(fields.is_one(name.as_bytes()), "{name}");
        }
        for name in ["", "X-Users", "X-Use", "XUser", "X-User ", "P-Asserted-Identity"] {
            assert!(!fields.is_one(name.as_bytes()), "{name}");
        }
        for (name, of_phone, preferred) in [
            ("p-asserted-identity", true, true),
            ("REMOTE-PARTY-ID", true, true),
            ("P-Preferred-Identity", false, true),
            ("Privacy", false, false),
        ] {
            assert!(!fields.is_removed(name.as_bytes(), false), "{name}");
            assert_eq!(fields.is_removed(name.as_bytes(), true), of_phone, "{name}");
            let asserting = fields.clone().with_asserted(true);
            assert_eq!(asserting.is_removed(name.as_bytes(), true), preferred, "{name}");
        }
        assert!(fields.is_removed_line(b"x-user \t: a\r", false));
        assert!(!fields.is_removed_line(b"x-user\r", false));
    }

    #[test]
    fn an_asserted_identity_is_a_sip_uri() {
        for (user, domain, expected) in [
            (Some("alice"), "a.example", "<sip:alice@a.example>"),
            (Some("+1-(2)"), "192.0.2.1", "<sip:+1-(2)@192.0.2.1>"),
            (Some("a@b>;x=\"\r\n é%"), "[::1]", "<sip:a%40b%3E%3Bx%3D%22%0D%0A%20%C3%A9%25@[::1]>"),
            (Some(""), "a.example", "<sip:a.example>"),
            (None, "a>\r\n", "<sip:a%3E%0D%0A>"),
        ] {
            let mut out = Vec::new();
            put_asserted_identity(user, domain, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_value_is_visible_and_is_read_back(text: String) {
            let mut out = Vec::new();
            put_identity(&text, &mut out);
            prop_assert!(out.iter().all(u8::is_ascii_graphic));
            let (mut decoded, mut rest) = (Vec::new(), &out[..]);
            while let Some((byte, after)) = rest.split_first() {
                let code = str::from_utf8(&after[..after.len().min(2)]).unwrap();
                decoded.push(if *byte == b'%' { u8::from_str_radix(code, 16).unwrap() } else { *byte });
                rest = if *byte == b'%' { &after[2..] } else { after };
            }
            prop_assert_eq!(decoded, text.into_bytes());
        }
    }
}
