//! A record as logs show it. Names of domains and trunks are looked up here.

use std::borrow::Cow;

use serde::Serialize;
use sip_authz::{Cause, CredentialsField, Reason, Snapshot};
use sip_authz_rest::decisions::rfc3339;

use super::texts::Text;
use super::{Record, Verdict};
use crate::observe::method::MethodName;

/// The fields of a record, in the order of the decision log. Fields without a value are left out.
#[derive(Serialize)]
pub(crate) struct Shown<'r> {
    pub(crate) time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<u64>,
    pub(crate) transport: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
    /// None for a message without a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeat: Option<bool>,
    /// The internal cause of a challenge or rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'static str>,
    /// The credential with the claimed name of a refused call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claimed: Option<String>,
    /// The host name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The defect of malformed credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) defect: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) header: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qop: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cseq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) took_us: Option<u32>,
    #[serde(flatten)]
    pub(crate) personal: Personal<'r>,
    #[serde(skip)]
    pub(crate) verdict: Verdict,
}

/// The personal fields: the source, and each text that the caller wrote. This is the one place that names
/// them; a log that may not show them has none of them.
#[derive(Default, Serialize)]
pub(crate) struct Personal<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) called: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Cow<'r, str>>,
    /// The name that was claimed and not proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_user: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) realm: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<Cow<'r, str>>,
    /// The names of the fields whose texts are shortened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) shortened: Vec<&'static str>,
    // these two stand at the end: filters of log readers look for them there
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// The name that was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<Cow<'r, str>>,
}

impl<'r> Personal<'r> {
    fn of(record: &'r Record) -> Self {
        let text = |text| record.texts.get(text);
        let name = text(Text::ClaimedUser);
        let (username, claimed_user) = if record.is_proved() { (name, None) } else { (None, name) };
        let is_shortened = |text: &Text| record.texts.is_shortened(*text);
        Self {
            host: text(Text::Host),
            called: text(Text::Called),
            from: text(Text::From),
            claimed_user,
            realm: text(Text::Realm),
            call_id: text(Text::CallId),
            user_agent: text(Text::UserAgent),
            shortened: Text::ALL.into_iter().filter(is_shortened).map(Text::key).collect(),
            source: Some(record.source()),
            username,
        }
    }
}

impl<'r> Shown<'r> {
    /// The fields of a record, with the personal ones if `names` is set. `snapshot` has the names.
    pub(crate) fn of(record: &'r Record, names: bool, snapshot: &Snapshot) -> Self {
        let verdict = record.verdict;
        let view = record.target.and_then(|target| snapshot.target_view(target));
        let account = record.account.or(view.map(|view| view.account));
        let credential = record.credential.map(|credential| credential.to_string());
        let name = view.and_then(|view| view.name);
        Self {
            time: rfc3339(record.time),
            snapshot: record.snapshot,
            transport: record.transport.as_str(),
            outcome: verdict.outcome(),
            reason: verdict.reason(),
            status: verdict.status(),
            code: match verdict {
                Verdict::Reject(reason) => reason.code(),
                _ => None,
            },
            method: record.method.map(MethodName::as_str),
            account: account.map(|account| account.to_string()),
            target: record.target.map(|target| target.to_string()),
            access_list: record.entry.map(|entry| entry.list.to_string()),
            address: record.entry.map(|entry| entry.address.to_string()),
            credential_list: record.list.map(|list| list.to_string()),
            credential: credential.clone().filter(|_| record.is_proved()),
            repeat: match verdict {
                Verdict::Accept { repeat } => Some(repeat),
                Verdict::Challenge { .. } | Verdict::Reject(_) => Some(false),
                Verdict::Other(_) => None,
            },
            cause: record.cause.map(Cause::as_str),
            claimed: credential.filter(|_| !record.is_proved()),
            name: name.map(ToString::to_string),
            defect: match verdict {
                Verdict::Reject(Reason::MalformedCredentials(defect)) => Some(defect.to_string()),
                _ => None,
            },
            permissions: record
                .permissions
                .iter()
                .flat_map(|all| all.iter())
                .map(|permission| if names { permission } else { without_user(permission) })
                .collect(),
            header: record.header.map(|header| match header {
                CredentialsField::Authorization => "Authorization",
                CredentialsField::ProxyAuthorization => "Proxy-Authorization",
            }),
            algorithm: record.algorithm.map(|algorithm| algorithm.name()),
            qop: record.qop.map(|qop| qop.name()),
            cseq: record.cseq,
            took_us: record.took,
            personal: if names { Personal::of(record) } else { Personal::default() },
            verdict,
        }
    }
}

/// A permission without the user that it lets register: `register=USER` is personal.
fn without_user(permission: &'static str) -> &'static str {
    permission.split_once('=').map_or(permission, |(name, _)| name)
}
