//! The template of a redirect target.

use std::fmt::Write as _;

use super::{OnAcceptError, RedirectValues};
use crate::sid::AccountSid;
use crate::uri::{Host, Scheme, SipUri, UriError};

/// A SIP URI with placeholders. The parts are valid for every value of the placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// `sip:` or `sips:`.
    scheme: &'static str,
    user: Box<[Part]>,
    /// Host, port, parameters and headers.
    rest: Box<[Part]>,
    /// The host, if it has no placeholder.
    pub(crate) host: Option<Host>,
    pub(crate) port: Option<u16>,
    /// The first placeholder behind the user part.
    pub(crate) placeholder: Option<&'static str>,
    /// Whether a parameter or a header could name another next hop.
    pub(crate) overrides_host: bool,
}

/// The parameters that no program takes for a next hop. Beside `maddr` (RFC 3261 §19.1.1), programs
/// route by parameters of their own, such as `alias` of Kamailio and `fs_path` of FreeSWITCH.
const HARMLESS_PARAMS: [&str; 3] = ["transport", "user", "lr"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Fill(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    User,
    Host,
    Domain,
    Account,
    Username,
}

impl Placeholder {
    const ALL: [Self; 5] = [Self::User, Self::Host, Self::Domain, Self::Account, Self::Username];

    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
            Self::Domain => "domain",
            Self::Account => "account",
            Self::Username => "username",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placeholder| placeholder.name() == name)
    }
}

/// Checks that all braces enclose names of placeholders. Positions count characters of `text`.
pub(super) fn check_braces(text: &str) -> Result<(), OnAcceptError> {
    let position = |at: usize| text.get(..at).unwrap_or_default().chars().count() + 1;
    let mut from = 0;
    while let Some(brace) = text.get(from..).and_then(|rest| rest.find(['{', '}'])) {
        let at = from + brace;
        let Some(inner) = text.get(at..).and_then(|rest| rest.strip_prefix('{')) else {
            return Err(OnAcceptError::Unopened { at: position(at) });
        };
        let end = inner.find(['{', '}', '@', ',', ';']).unwrap_or(inner.len());
        let (name, behind) = inner.split_at_checked(end).unwrap_or((inner, ""));
        if !behind.starts_with('}') {
            return Err(OnAcceptError::Unclosed { at: position(at) });
        }
        if Placeholder::named(name).is_none() {
            let name = name.chars().take(20).collect();
            return Err(OnAcceptError::Placeholder { name, at: position(at) });
        }
        from = at + name.len() + 2;
    }
    Ok(())
}

/// The parts of a text whose braces were checked, each with its position in characters from 0.
fn parts(text: &str) -> impl Iterator<Item = (usize, Part)> {
    let (mut rest, mut at) = (text, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = at;
        let known = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let known = known.and_then(|(name, rest)| Some((Placeholder::named(name)?, rest)));
        let part = if let Some((placeholder, behind)) = known {
            at += placeholder.name().len() + 2;
            rest = behind;
            Part::Fill(placeholder)
        } else {
            let end = rest.char_indices().skip(1).find(|(_, c)| *c == '{');
            let end = end.map_or(rest.len(), |(end, _)| end);
            let (literal, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            at += literal.chars().count();
            rest = behind;
            Part::Text(literal.into())
        };
        Some((start, part))
    })
}

impl Template {
    /// Parses a target without its preference. `at` is its position, for errors.
    pub(super) fn parse(text: &str, at: usize) -> Result<Self, OnAcceptError> {
        let wrong = |error| OnAcceptError::Uri { at, error };
        let (scheme, length) = match Scheme::of(text) {
            Some(Scheme::Sip) => ("sip:", 4),
            Some(Scheme::Sips) => ("sips:", 5),
            Some(Scheme::Tel) => return Err(wrong(UriError::UnsupportedScheme)),
            // `gw.example.net:5060` looks like a scheme and a number
            Some(_) if !has_port(text) => return Err(wrong(UriError::UnsupportedScheme)),
            _ if text.contains('@') => return Err(OnAcceptError::NoScheme { at }),
            _ => ("sip:", 0),
        };
        let body = text.get(length..).unwrap_or_default();
        let (user, rest) = match body.split_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, body),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(OnAcceptError::Password { at });
        }
        let user_at = at + length;
        let rest_at = user_at + user.map_or(0, |user| user.chars().count() + 1);
        let host_end = rest.find([';', '?']).unwrap_or(rest.len());
        let (hostport, tail) = rest.split_at_checked(host_end).unwrap_or((rest, ""));
        check_host_placeholders(hostport, rest_at)?;
        check_tail_placeholders(tail, rest_at + hostport.chars().count())?;

        let kept = || Box::from([Part::Fill(Placeholder::User)]);
        let mut template = Self {
            scheme,
            user: user.map_or_else(kept, |user| parts(user).map(|(_, part)| part).collect()),
            rest: parts(rest).map(|(_, part)| part).collect(),
            host: None,
            port: None,
            placeholder: None,
            overrides_host: false,
        };
        // `sip:@gw.example.net` has an empty user, which the grammar does not allow
        if user == Some("") {
            return Err(wrong(UriError::EmptyUser));
        }
        let samples = RedirectValues {
            user: "1",
            host: "h.example",
            domain: "h.example",
            account: AccountSid::from_bytes([0; 16]),
            username: "1",
        };
        let sample = template.fill(&samples);
        let uri = SipUri::parse(&sample).map_err(wrong)?;
        let placeholder = template.rest.iter().find_map(|part| match part {
            Part::Fill(placeholder) => Some(placeholder.name()),
            Part::Text(_) => None,
        });
        let has_literal_host = !hostport.contains('{');
        let host = has_literal_host.then(|| Host::parse(uri.host)).transpose();
        let host = host.map_err(|error| wrong(UriError::Host(error)))?;
        let overrides_host = !uri.has_only_params(&HARMLESS_PARAMS) || !uri.headers.is_empty();
        let port = uri.port;
        (template.host, template.port, template.placeholder) = (host, port, placeholder);
        template.overrides_host = overrides_host;
        Ok(template)
    }

    /// The URI for these values. A SIP URI, unless it is too long or a host value is invalid.
    pub(super) fn fill(&self, values: &RedirectValues<'_>) -> String {
        let mut uri = String::with_capacity(128);
        uri.push_str(self.scheme);
        for part in &self.user {
            match part {
                Part::Text(text) => uri.push_str(text),
                Part::Fill(Placeholder::User) => push_user(&mut uri, values.user, USER, true),
                Part::Fill(Placeholder::Host) => push_user(&mut uri, values.host, USER, false),
                Part::Fill(Placeholder::Domain) => push_user(&mut uri, values.domain, USER, false),
                Part::Fill(Placeholder::Account) => push(&mut uri, values.account),
                Part::Fill(Placeholder::Username) => {
                    push_user(&mut uri, values.username, NAME, false);
                }
            }
        }
        if uri.len() > self.scheme.len() {
            uri.push('@');
        }
        for part in &self.rest {
            match part {
                Part::Text(text) => uri.push_str(text),
                Part::Fill(Placeholder::Host) => uri.push_str(values.host),
                Part::Fill(Placeholder::Domain) => uri.push_str(values.domain),
                Part::Fill(Placeholder::Account) => push(&mut uri, values.account),
                // the parser refuses them here
                Part::Fill(Placeholder::User | Placeholder::Username) => {}
            }
        }
        uri
    }
}

/// Whether the text is a host with a port, and not a scheme with the rest of a URI.
pub(super) fn has_port(text: &str) -> bool {
    let port = text.split_once(':').map(|(_, rest)| rest);
    port.is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// Refuses placeholders whose values could make the host invalid.
fn check_host_placeholders(hostport: &str, at: usize) -> Result<(), OnAcceptError> {
    let host = hostport.split_once(':').map_or(hostport, |(host, _)| host);
    for (start, part) in parts(hostport) {
        let Part::Fill(placeholder) = part else { continue };
        let (name, at) = (placeholder.name(), at + start);
        let rule = match placeholder {
            Placeholder::User | Placeholder::Username => "expected it in the user part",
            Placeholder::Account => continue,
            Placeholder::Host | Placeholder::Domain if host.len() == name.len() + 2 => continue,
            Placeholder::Host | Placeholder::Domain => "expected it to be the whole host",
        };
        return Err(OnAcceptError::Misplaced { name, at, rule });
    }
    Ok(())
}

/// Refuses placeholders whose values can be empty, which no parameter may be.
fn check_tail_placeholders(tail: &str, at: usize) -> Result<(), OnAcceptError> {
    for (start, part) in parts(tail) {
        if let Part::Fill(placeholder @ (Placeholder::User | Placeholder::Username)) = part {
            let (name, rule) = (placeholder.name(), "expected it in the user part");
            return Err(OnAcceptError::Misplaced { name, at: at + start, rule });
        }
    }
    Ok(())
}

fn push(uri: &mut String, sid: AccountSid) {
    // writing to a string does not fail
    let _ = write!(uri, "{sid}");
}

/// `user-unreserved` of RFC 3261 §25.1.
const USER: &[u8] = b"&=+$,;?/";
/// The part of it that no parser takes for a separator.
const NAME: &[u8] = b"&=+$";

/// Appends a user part. Escapes every character but the unreserved ones and those of `more`. With
/// `keeps_escapes`, complete escapes stay as they are.
fn push_user(uri: &mut String, value: &str, more: &[u8], keeps_escapes: bool) {
    let bytes = value.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate() {
        let digits = bytes.get(at + 1..at + 3);
        let is_escape = keeps_escapes
            && byte == b'%'
            && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if crate::uri::is_unreserved(byte) || more.contains(&byte) || is_escape {
            uri.push(char::from(byte));
        } else {
            // writing to a string does not fail
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}
