//! Call-handling settings of domains and trunks. Of all, only
//! [`sip_registration`](DomainSettings::sip_registration) takes part in decisions.

use crate::sid::{ByocTrunkSid, PhoneNumberSid};

/// The HTTP method of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "UPPERCASE"))]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    #[default]
    Post,
}

/// A callback URL and its HTTP method.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Callback {
    /// The URL, if one is set.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub url: Option<String>,
    /// The method, if one is set.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub method: Option<HttpMethod>,
}

/// The settings of a SIP domain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DomainSettings {
    /// The callback that handles calls.
    pub voice: Callback,
    /// The callback that handles calls if the first one fails.
    pub voice_fallback: Callback,
    /// The callback that receives the status of calls.
    pub voice_status_callback: Callback,
    /// Whether user agents may register: users of the lists that are mapped for registrations. If
    /// not, each REGISTER is rejected
    /// ([`RegistrationNotAllowed`](crate::Reason::RegistrationNotAllowed)).
    pub sip_registration: bool,
    /// Whether emergency calls are enabled.
    pub emergency_calling_enabled: bool,
    /// The trunk for bring your own carrier (BYOC).
    pub byoc_trunk: Option<ByocTrunkSid>,
    /// The caller number of emergency calls.
    pub emergency_caller: Option<PhoneNumberSid>,
}

/// Whether a trunk transfers calls, and to which destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum TransferMode {
    /// Never.
    #[default]
    DisableAll,
    /// To any number.
    EnableAll,
    /// To SIP addresses only.
    SipOnly,
}

/// The caller ID of a transferred call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum TransferCallerId {
    /// The number of the transferee.
    #[default]
    FromTransferee,
    /// The number of the transferor.
    FromTransferor,
}

/// The settings of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrunkSettings {
    /// The callback that handles calls if the trunk fails.
    pub disaster_recovery: Callback,
    /// Whether the trunk transfers calls.
    pub transfer_mode: TransferMode,
    /// The caller ID of transferred calls.
    pub transfer_caller_id: TransferCallerId,
    /// Whether caller names are looked up (CNAM).
    pub cnam_lookup_enabled: bool,
}
