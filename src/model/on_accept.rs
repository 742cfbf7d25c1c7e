//! The answer to accepted calls: 200, a redirect to targets that a template names, or hops to forward
//! the call to.

use std::fmt;
use std::str::FromStr;

use crate::sid::AccountSid;
use crate::uri::{SipUri, UriError};

mod forward;
mod template;

pub use forward::{Forward, ForwardHop, HopError, HopTransport};
use template::Template;

/// The answer to an accepted INVITE.
///
/// The text form is `ok`, `redirect:` and targets, or `forward:` and hops, separated by commas. A target
/// is a SIP URI with placeholders, or a host, which keeps the user part of the Request-URI. `;q=` behind
/// a target is its preference (RFC 3261 §20.10). [`ForwardHop`] describes the hops.
///
/// | placeholder | value | where |
/// |---|---|---|
/// | `{user}` | the user part of the Request-URI as it came | user part |
/// | `{username}` | the user of the verified credential; empty if the address was checked | user part |
/// | `{account}` | the SID of the account | anywhere |
/// | `{host}` | the host of the Request-URI | anywhere; as the host only alone |
/// | `{domain}` | the name of the domain or trunk | anywhere; as the host only alone |
///
/// Braces are not legal in a SIP URI, so no URI is taken for a template.
///
/// ```
/// use sip_authz::model::OnAccept;
///
/// let one: OnAccept = "redirect:gw.example.net".parse()?;
/// let two: OnAccept = "redirect:sip:{user}@gw1.example.net;q=1.0,sip:{user}@gw2.example.net;q=0.5".parse()?;
/// let OnAccept::Redirect(redirect) = &two else { unreachable!() };
/// assert_eq!(redirect.targets().len(), 2);
/// let hops: OnAccept = "forward:sip:pbx1.example.net,sip:pbx2.example.net;priority=1".parse()?;
/// let OnAccept::Forward(forward) = &hops else { unreachable!() };
/// assert_eq!(forward.hops()[1].priority(), 1);
/// assert!("redirect:sip:{number}@gw.example.net".parse::<OnAccept>().is_err());
/// # let _ = one;
/// # Ok::<(), sip_authz::model::OnAcceptError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
#[non_exhaustive]
pub enum OnAccept {
    /// 200, which declines all media.
    Ok,
    /// 302 with one Contact for each target (RFC 3261 §8.3).
    Redirect(Redirect),
    /// The call goes on to one of the hops (RFC 3261 §16).
    Forward(Forward),
}

/// The targets of a redirect.
#[derive(Clone)]
pub struct Redirect {
    /// The text without `redirect:`.
    text: Box<str>,
    targets: Box<[RedirectTarget]>,
}

/// A target of a redirect: a template for a SIP URI, and its preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget {
    template: Template,
    q: Option<Box<str>>,
}

/// The values of the placeholders.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RedirectValues<'a> {
    /// The user part of the Request-URI, with its escapes; empty without one.
    pub user: &'a str,
    /// The host of the Request-URI, without its port.
    pub host: &'a str,
    /// The name of the domain or trunk that decided.
    pub domain: &'a str,
    /// The account that owns the domain or trunk.
    pub account: AccountSid,
    /// The user of the verified credential, unescaped; empty without one.
    pub username: &'a str,
}

/// Omits user and user name: they do not belong in logs.
impl fmt::Debug for RedirectValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("RedirectValues");
        f.field("host", &self.host).field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl<'a> RedirectValues<'a> {
    /// Values of a call to `domain` of `account`; the others are empty.
    #[must_use]
    pub const fn new(account: AccountSid, domain: &'a str) -> Self {
        Self { user: "", host: "", domain, account, username: "" }
    }

    /// Sets the user part of the Request-URI.
    #[must_use]
    pub const fn with_user(self, user: &'a str) -> Self {
        Self { user, ..self }
    }

    /// Sets the host of the Request-URI.
    #[must_use]
    pub const fn with_host(self, host: &'a str) -> Self {
        Self { host, ..self }
    }

    /// Sets the user of the verified credential.
    #[must_use]
    pub const fn with_username(self, username: &'a str) -> Self {
        Self { username, ..self }
    }
}

/// A text that names no answer. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnAcceptError {
    /// Neither `ok` nor `redirect:` nor `forward:`.
    #[error("expected `ok`, or `redirect:` or `forward:` and a SIP URI or host")]
    Unknown,
    /// The text is longer than [`OnAccept::MAX_LEN`].
    #[error("expected at most {max} bytes, got {0}", max = OnAccept::MAX_LEN)]
    TooLong(usize),
    /// More than [`OnAccept::MAX_TARGETS`] targets.
    #[error("expected at most {max} targets, got {0}", max = OnAccept::MAX_TARGETS)]
    TooMany(usize),
    /// More than [`OnAccept::MAX_TARGETS`] hops.
    #[error("expected at most {max} hops, got {0}", max = OnAccept::MAX_TARGETS)]
    TooManyHops(usize),
    /// A placeholder with an unknown name.
    #[error(
        "unknown placeholder `{{{name}}}` at position {at}, expected {{user}}, {{host}}, {{domain}}, \
         {{account}} or {{username}}"
    )]
    Placeholder {
        /// The text between the braces, shortened.
        name: String,
        /// The position of the opening brace.
        at: usize,
    },
    /// An opening brace without a closing one.
    #[error("`{{` at position {at} is not closed")]
    Unclosed {
        /// The position of the brace.
        at: usize,
    },
    /// A closing brace without an opening one.
    #[error("`}}` at position {at} closes nothing")]
    Unopened {
        /// The position of the brace.
        at: usize,
    },
    /// A placeholder where its value could make the URI invalid.
    #[error("`{{{name}}}` at position {at}: {rule}")]
    Misplaced {
        /// The name of the placeholder.
        name: &'static str,
        /// The position of the opening brace.
        at: usize,
        /// The places where it can be.
        rule: &'static str,
    },
    /// A user part without `sip:` or `sips:` before it.
    #[error(
        "target at position {at}: expected `sip:` before a user part; a comma separates targets"
    )]
    NoScheme {
        /// The position of the target.
        at: usize,
    },
    /// A password, which a redirect would show to every caller.
    #[error("target at position {at}: expected no password")]
    Password {
        /// The position of the target.
        at: usize,
    },
    /// A preference that is no `qvalue` of RFC 3261 §25.1, or two of them.
    #[error("target at position {at}: expected one q from 0 to 1 with at most three decimals")]
    Preference {
        /// The position of the target.
        at: usize,
    },
    /// A target is no SIP URI.
    #[error("target at position {at}: expected a host or SIP URI: {error}")]
    Uri {
        /// The position of the target.
        at: usize,
        /// The reason.
        error: UriError,
    },
    /// A brace in a hop: only targets of a redirect have placeholders.
    #[error("brace at position {at}: expected no placeholder in a hop")]
    PlaceholderInHop {
        /// The position of the brace.
        at: usize,
    },
    /// A hop is invalid, or there twice.
    #[error("hop at position {at}: {error}")]
    Hop {
        /// The position of the hop.
        at: usize,
        /// The reason.
        error: HopError,
    },
}

impl OnAccept {
    /// The maximum length of the text, in bytes.
    pub const MAX_LEN: usize = 1_024;
    /// The maximum number of targets of a redirect, and of hops of a forward.
    pub const MAX_TARGETS: usize = 8;
}

impl Redirect {
    /// The targets, in the order of the text; at least one.
    #[must_use]
    pub fn targets(&self) -> &[RedirectTarget] {
        &self.targets
    }
}

impl PartialEq for Redirect {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Redirect {}

impl std::hash::Hash for Redirect {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl RedirectTarget {
    /// The URI with the placeholders replaced.
    ///
    /// None if the result is no SIP URI, for example because it is longer than
    /// [`MAX_URI`](crate::uri::MAX_URI). Characters that are illegal in the user part are escaped.
    #[must_use]
    pub fn uri(&self, values: &RedirectValues<'_>) -> Option<String> {
        let uri = self.template.fill(values);
        SipUri::parse(&uri).is_ok().then_some(uri)
    }

    /// The preference, a `qvalue` of RFC 3261 §25.1, as written.
    #[must_use]
    pub fn q(&self) -> Option<&str> {
        self.q.as_deref()
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    fn parse(text: &str, at: usize) -> Result<Self, OnAcceptError> {
        let (uri, q) = take_preference(text, at)?;
        Ok(Self { template: Template::parse(&uri, at)?, q })
    }
}

/// Removes the parameter `q` of a target, which belongs to the Contact and not to the URI.
fn take_preference(text: &str, at: usize) -> Result<(String, Option<Box<str>>), OnAcceptError> {
    // the user part can contain `;` and `?`
    let start = text.find('@').map_or(0, |user| user + 1);
    let (user, rest) = text.split_at_checked(start).unwrap_or(("", text));
    let end = rest.find('?').unwrap_or(rest.len());
    let (params, headers) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let mut parts = params.split(';');
    let mut uri = user.to_owned() + parts.next().unwrap_or_default();
    let mut q = None;
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("q") => {
                if q.is_some() || !is_qvalue(value) {
                    return Err(OnAcceptError::Preference { at });
                }
                q = Some(value.into());
            }
            _ => {
                uri.push(';');
                uri.push_str(part);
            }
        }
    }
    uri.push_str(headers);
    Ok((uri, q))
}

/// Whether this is a `qvalue`: 0 or 1, with at most three decimals (RFC 3261 §25.1).
fn is_qvalue(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let fits = |digit: u8| match whole {
        "0" => digit.is_ascii_digit(),
        _ => digit == b'0',
    };
    matches!(whole, "0" | "1") && decimals.len() <= 3 && decimals.bytes().all(fits)
}

impl FromStr for OnAccept {
    type Err = OnAcceptError;

    fn from_str(text: &str) -> Result<Self, OnAcceptError> {
        if text.len() > Self::MAX_LEN {
            return Err(OnAcceptError::TooLong(text.len()));
        }
        if text == "ok" {
            return Ok(Self::Ok);
        }
        if let Some(list) = text.strip_prefix("forward:") {
            return Forward::parse(list, "forward:".len() + 1).map(Self::Forward);
        }
        let list = text.strip_prefix("redirect:").ok_or(OnAcceptError::Unknown)?;
        template::check_braces(text)?;
        let count = list.split(',').count();
        if count > Self::MAX_TARGETS {
            return Err(OnAcceptError::TooMany(count));
        }
        let targets = listed(list, "redirect:".len() + 1);
        let targets: Result<_, _> =
            targets.map(|(at, target)| RedirectTarget::parse(target, at)).collect();
        Ok(Self::Redirect(Redirect { text: list.into(), targets: targets? }))
    }
}

/// The elements between commas, without spaces around them, each with its position. `at` is the position
/// of the first character.
fn listed(list: &str, mut at: usize) -> impl Iterator<Item = (usize, &str)> {
    list.split(',').map(move |element| {
        let spaces = element.len() - element.trim_start_matches(' ').len();
        let start = at + spaces;
        at += element.chars().count() + 1;
        (start, element.trim_matches(' '))
    })
}

impl fmt::Display for OnAccept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Redirect(redirect) => write!(f, "redirect:{}", redirect.text),
            Self::Forward(forward) => write!(f, "forward:{forward}"),
        }
    }
}

impl TryFrom<String> for OnAccept {
    type Error = OnAcceptError;

    fn try_from(text: String) -> Result<Self, OnAcceptError> {
        text.parse()
    }
}

impl From<OnAccept> for String {
    fn from(on_accept: OnAccept) -> Self {
        on_accept.to_string()
    }
}

#[cfg(test)]
mod tests;
