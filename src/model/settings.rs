//! What domains and trunks carry for whoever handles their calls. None of it takes part in a
//! decision.

use crate::sid::{ByocTrunkSid, PhoneNumberSid};

/// How a URL is asked.
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

/// A URL and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Callback {
    /// The URL, if one is set.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub url: Option<String>,
    /// How it is asked, if that is set.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub method: Option<HttpMethod>,
}

/// The settings of a SIP domain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DomainSettings {
    /// What handles calls.
    pub voice: Callback,
    /// What handles calls where the first fails.
    pub voice_fallback: Callback,
    /// What is told of the state of calls.
    pub voice_status_callback: Callback,
    /// Whether user agents may register.
    pub sip_registration: bool,
    /// Whether emergency calls are handled.
    pub emergency_calling_enabled: bool,
    /// The trunk for bring-your-own carrier.
    pub byoc_trunk: Option<ByocTrunkSid>,
    /// The number that emergency calls show.
    pub emergency_caller: Option<PhoneNumberSid>,
}

/// Whether a trunk transfers calls.
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

/// Whose number a transferred call shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum TransferCallerId {
    /// That of the one who is transferred.
    #[default]
    FromTransferee,
    /// That of the one who transfers.
    FromTransferor,
}

/// The settings of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TrunkSettings {
    /// What handles calls where the trunk fails.
    pub disaster_recovery: Callback,
    /// Whether calls are transferred.
    pub transfer_mode: TransferMode,
    /// Whose number a transferred call shows.
    pub transfer_caller_id: TransferCallerId,
    /// Whether names of callers are looked up.
    pub cnam_lookup_enabled: bool,
}
