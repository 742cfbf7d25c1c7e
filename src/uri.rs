//! SIP URIs (RFC 3261 §19.1, §25.1), host names, and the URI in a From or To value.
//!
//! Borrowed, linear and without allocation. Texts outside the grammar are rejected, except that
//! [`SipUri::parse_request_uri`] leaves parameters and headers unread.

use std::fmt;

use memchr::{memchr, memchr2};

mod compare;
mod host;
mod hostless;
mod name_addr;

use compare::{Pair, read_pairs, same_headers, same_params, same_text, units};
pub use host::{Host, HostError};
use host::{HostKind, is_host_name_fast, read_host};
pub(crate) use hostless::is_hostless;
pub use hostless::tel_number;
pub use name_addr::{NameAddr, name_addr};

/// Maximum length of a URI, in bytes.
pub const MAX_URI: usize = 2_048;
/// Maximum number of uri-parameters, and of headers, in a URI.
pub const MAX_PARAMS: usize = 32;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966); the rest is not parsed.
    Tel,
    /// Any other scheme.
    Other,
}

impl Scheme {
    /// Parses the scheme of a URI, in any case. None if the text has none (RFC 3261 §25.1
    /// `scheme`).
    #[must_use]
    pub fn of(uri: &str) -> Option<Scheme> {
        let starts = |known: &[u8]| {
            uri.as_bytes().get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
        };
        if starts(b"sip:") {
            return Some(Scheme::Sip);
        }
        if starts(b"sips:") {
            return Some(Scheme::Sips);
        }
        let (name, _) = uri.split_once(':')?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let sound = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(fits);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        sound.then(|| match () {
            () if is("sip") => Scheme::Sip,
            () if is("sips") => Scheme::Sips,
            () if is("tel") => Scheme::Tel,
            () => Scheme::Other,
        })
    }
}

/// The parts of a SIP or SIPS URI, all as sent.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SipUri<'a> {
    /// [`Scheme::Sip`] or [`Scheme::Sips`].
    pub scheme: Scheme,
    /// The user; never empty.
    pub user: Option<&'a str>,
    /// The password; may be empty.
    pub password: Option<&'a str>,
    /// The host, valid for [`Host::parse`]; an IPv6 address has its brackets.
    pub host: &'a str,
    /// The port, 1 to 65535.
    pub port: Option<u16>,
    /// The uri-parameters without the first `;`; empty without parameters. As sent and unread after
    /// [`SipUri::parse_request_uri`].
    pub params: &'a str,
    /// The headers without the `?`; empty without headers. As sent and unread after
    /// [`SipUri::parse_request_uri`].
    pub headers: &'a str,
    /// Parameters and headers with their marks.
    tail: &'a str,
}

impl SipUri<'_> {
    /// Parses a URI by RFC 3261 §25.1. Tolerates `#` in the user, because phones send it.
    ///
    /// # Errors
    /// [`UriError`] if the text is not a well-formed SIP or SIPS URI.
    pub fn parse(text: &str) -> Result<SipUri<'_>, UriError> {
        let uri = SipUri::parse_request_uri(text)?;
        check_tail(uri.tail)?;
        Ok(uri)
    }

    /// Parses the Request-URI of a received request: scheme, user, password, host and port by RFC
    /// 3261 §25.1, as [`parse`](Self::parse) does. Takes parameters and headers as sent, because
    /// phones send them doubled, empty or badly escaped, and they do not name the host.
    ///
    /// [`equivalent`](Self::equivalent) is false for malformed parameters or headers, unless both
    /// texts are equal.
    ///
    /// # Errors
    /// [`UriError`] as for `parse`, except [`Parameter`](UriError::Parameter),
    /// [`Header`](UriError::Header) and [`TooMany`](UriError::TooMany). A second `@`, or `<`, `>`,
    /// `"` or a byte beyond ASCII, is [`Character`](UriError::Character) anywhere, because another
    /// parser could take another host.
    pub fn parse_request_uri(text: &str) -> Result<SipUri<'_>, UriError> {
        read(text).map(|(uri, _)| uri)
    }

    /// Parses a Request-URI and its canonical host. `host` is the buffer for a host that is not
    /// canonical as sent.
    pub(crate) fn parse_with_host<'t>(
        text: &'t str,
        host: &'t mut Host,
    ) -> Result<(SipUri<'t>, &'t str), UriError> {
        let (uri, kind) = read(text)?;
        Ok((uri, host.written(&kind).map_err(UriError::Host)?))
    }

    /// Fast path: splits `sip:user@host`, where the host is the whole rest and not validated. The
    /// caller must validate it, for example by finding it among known hosts.
    #[inline]
    pub(crate) fn parse_fast(text: &str) -> Option<SipUri<'_>> {
        let rest = text.strip_prefix("sip:").filter(|_| text.len() <= MAX_URI)?;
        let plain = |byte: &u8| PLAIN.get(usize::from(*byte)).is_some_and(|plain| *plain);
        let end = rest.bytes().take_while(plain).count();
        let (user, host) = rest.split_at_checked(end).filter(|(user, _)| !user.is_empty())?;
        let host = host.strip_prefix('@')?;
        let (scheme, user) = (Scheme::Sip, Some(user));
        let (password, port, params, headers, tail) = (None, None, "", "", "");
        Some(SipUri { scheme, user, password, host, port, params, headers, tail })
    }

    /// Compares two URIs by RFC 3261 §19.1.4.
    ///
    /// Not transitive, as in the RFC: parameters in only one URI are ignored, except user, ttl,
    /// method, maddr and transport. Header values are compared case-sensitively, so different
    /// values are never equal. Malformed parameters or headers equal only the same text.
    #[must_use]
    pub fn equivalent(&self, other: &SipUri<'_>) -> bool {
        let hosts = (read_host(self.host), read_host(other.host));
        self.scheme == other.scheme
            && self.port == other.port
            && matches!(hosts, (Ok(a), Ok(b)) if a.same(&b))
            && self.same_user(other)
            && same_text(self.password, other.password)
            && (self.tail == other.tail || self.same_tail(other))
    }

    /// Whether the parameters and headers of both are well-formed and equal by RFC 3261 §19.1.4.
    fn same_tail(&self, other: &SipUri<'_>) -> bool {
        check_tail(self.tail).is_ok()
            && check_tail(other.tail).is_ok()
            && same_params(self.params, other.params)
            && same_headers(self.headers, other.headers)
    }

    /// Whether each uri-parameter has one of these names, in any case and without escapes.
    pub(crate) fn has_only_params(&self, names: &[&str]) -> bool {
        compare::only_params(self.params, names)
    }

    /// Whether the user parts are equal by RFC 3261 §19.1.4, or both missing.
    #[must_use]
    pub fn same_user(&self, other: &SipUri<'_>) -> bool {
        same_text(self.user, other.user)
    }

    /// Whether the user part, with escapes decoded, equals `name` byte for byte.
    #[must_use]
    pub fn user_is(&self, name: &str) -> bool {
        self.user_is_all([name])
    }

    /// [`Self::user_is`] for a name in several parts.
    pub(crate) fn user_is_all<const N: usize>(&self, parts: [&str; N]) -> bool {
        let name = parts.iter().flat_map(|part| part.bytes());
        self.user.is_some_and(|user| units(user).map(|(byte, _)| byte).eq(name))
    }

    /// Whether this is an anonymous URI (RFC 3323 §4.1.1.3): the host is `anonymous.invalid` and
    /// the user is `anonymous` or missing, all in any case. Scheme, port and parameters do not
    /// matter.
    ///
    /// Another user at that host, and the user `anonymous` at another host, may name somebody.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        let user = self.user.is_none_or(|user| {
            units(user).map(|(byte, _)| byte.to_ascii_lowercase()).eq(b"anonymous".iter().copied())
        });
        user && self.password.is_none()
            && matches!(read_host(self.host), Ok(HostKind::Name(name))
                if name.eq_ignore_ascii_case("anonymous.invalid"))
    }
}

impl fmt::Debug for SipUri<'_> {
    /// Omits user, password, parameters and headers: they do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("SipUri");
        f.field("scheme", &self.scheme).field("host", &self.host).field("port", &self.port);
        f.finish_non_exhaustive()
    }
}

/// A reason why a text is not a SIP URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum UriError {
    /// No scheme before a colon.
    #[error("no uri scheme")] NoScheme,
    /// A scheme other than `sip` and `sips`; answer the request with 416.
    #[error("unsupported uri scheme")] UnsupportedScheme,
    /// More than [`MAX_URI`] bytes.
    #[error("uri too long")] TooLong,
    /// A backslash anywhere.
    #[error("backslash in the uri")] Backslash,
    /// A space anywhere.
    #[error("space in the uri")] Space,
    /// A control character anywhere.
    #[error("control character in the uri")] Control,
    /// Another character not allowed in its position, or a `%` without two hex digits.
    #[error("bad character or escape in the uri")] Character,
    /// An `@` with no user before it.
    #[error("empty user")] EmptyUser,
    /// No host.
    #[error("empty host")] EmptyHost,
    /// Brackets that are unbalanced or do not enclose the whole host.
    #[error("unbalanced brackets")] Brackets,
    /// The host is invalid.
    #[error("bad host: {0}")] Host(HostError),
    /// A colon after the host without a number from 1 to 65535.
    #[error("bad port")] Port,
    /// A parameter without name, with an empty value, or repeated.
    #[error("bad uri-parameter")] Parameter,
    /// A header without name or `=`, or an empty header part after the `?`.
    #[error("bad uri header")] Header,
    /// More than [`MAX_PARAMS`] parameters or headers.
    #[error("too many uri-parameters or headers")] TooMany,
}

/// Parses a Request-URI and its host: the fast path first, then the full parser.
fn read(text: &str) -> Result<(SipUri<'_>, HostKind<'_>), UriError> {
    read_fast(text).map_or_else(|| read_full(text), Ok)
}

/// Fast path: `sip:user@host` with a plain user and host name; none for anything else.
#[inline]
fn read_fast(text: &str) -> Option<(SipUri<'_>, HostKind<'_>)> {
    let uri = SipUri::parse_fast(text).filter(|uri| is_host_name_fast(uri.host.as_bytes()))?;
    Some((uri, HostKind::Name(uri.host)))
}

fn read_full(text: &str) -> Result<(SipUri<'_>, HostKind<'_>), UriError> {
    let scheme = Scheme::of(text).ok_or(UriError::NoScheme)?;
    if !matches!(scheme, Scheme::Sip | Scheme::Sips) {
        return Err(UriError::UnsupportedScheme);
    }
    if text.len() > MAX_URI {
        return Err(UriError::TooLong);
    }
    // no early exit, so that the compiler vectorises the loop; the first odd byte rarely matters
    let odd =
        |byte: u8| (byte <= b' ') | (byte >= 0x7f) | matches!(byte, b'\\' | b'<' | b'>' | b'"');
    if text.bytes().fold(false, |any, byte| any | odd(byte)) {
        text.bytes().try_for_each(|byte| match byte {
            b'\\' => Err(UriError::Backslash),
            b' ' => Err(UriError::Space),
            _ if byte.is_ascii_control() => Err(UriError::Control),
            _ if odd(byte) => Err(UriError::Character),
            _ => Ok(()),
        })?;
    }
    let (_, rest) = split_once(text, ':').ok_or(UriError::NoScheme)?;
    // host, parameters and headers cannot contain `@`, so the first one ends the userinfo
    let (userinfo, rest) = split_before(rest, '@');
    let end = memchr2(b';', b'?', rest.as_bytes()).unwrap_or(rest.len());
    let (hostport, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (host, port) = split_port(hostport)?;
    let (user, password) = match userinfo.map(|info| split_after(info, ':')) {
        Some((user, password)) => (Some(user), password),
        None => (None, None),
    };
    if user == Some("") {
        return Err(UriError::EmptyUser);
    }
    check(user.unwrap_or_default(), b"&=+$,;?/#")?;
    check(password.unwrap_or_default(), b"&=+$,")?;
    let kind = match read_host(host) {
        Err(HostError::Empty) => return Err(UriError::EmptyHost),
        read => read.map_err(UriError::Host)?,
    };
    // a parser that takes the last one for the end of the userinfo would read another host
    if memchr(b'@', tail.as_bytes()).is_some() {
        return Err(UriError::Character);
    }
    let (params, headers) = split_tail(tail);
    let (params, headers) = (params.unwrap_or_default(), headers.unwrap_or_default());
    Ok((SipUri { scheme, user, password, host, port, params, headers, tail }, kind))
}

/// The uri-parameters and the headers, if present, without their marks. `tail` starts with one.
fn split_tail(tail: &str) -> (Option<&str>, Option<&str>) {
    let (params, headers) = split_after(tail, '?');
    (params.strip_prefix(';'), headers)
}

/// Checks the grammar of the text after host and port.
fn check_tail(tail: &str) -> Result<(), UriError> {
    if tail.is_empty() {
        return Ok(());
    }
    let (params, headers) = split_tail(tail);
    check_params(params)?;
    check_headers(headers)
}

fn split_port(hostport: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = if hostport.starts_with('[') {
        let end = hostport.find(']').ok_or(UriError::Brackets)?;
        let (host, rest) = hostport.split_at_checked(end + 1).ok_or(UriError::Brackets)?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(UriError::Brackets);
        }
        (host, port)
    } else if memchr2(b'[', b']', hostport.as_bytes()).is_some() {
        return Err(UriError::Brackets);
    } else {
        split_after(hostport, ':')
    };
    let Some(digits) = port else { return Ok((host, None)) };
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| plain && *port > 0);
    port.map(|port| (host, Some(port))).ok_or(UriError::Port)
}

/// The text before `mark`, if present, and the rest.
fn split_before(text: &str, mark: char) -> (Option<&str>, &str) {
    split_once(text, mark).map_or((None, text), |(before, after)| (Some(before), after))
}

/// The text before `mark`, and the text after it, if present.
fn split_after(text: &str, mark: char) -> (&str, Option<&str>) {
    split_once(text, mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Splits at the first `mark`, an ASCII character.
fn split_once(text: &str, mark: char) -> Option<(&str, &str)> {
    let at = memchr(u8::try_from(mark).ok()?, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Accepts unreserved characters, complete escapes and the bytes of `more`.
fn check(text: &str, more: &[u8]) -> Result<(), UriError> {
    if text.bytes().all(is_unreserved) {
        return Ok(());
    }
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        if !(is_unreserved(byte) || more.contains(&byte) || (byte == b'%' && hex() && hex())) {
            return Err(UriError::Character);
        }
    }
    Ok(())
}

/// Whether this is an unreserved character of RFC 3261 §25.1.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    UNRESERVED.get(usize::from(byte)).is_some_and(|unreserved| *unreserved)
}

/// The unreserved characters of RFC 3261 §25.1.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static UNRESERVED: [bool; 256] = {
    let mut unreserved = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let mark = matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')');
        unreserved[byte as usize] = byte.is_ascii_alphanumeric() || mark;
        byte += 1;
    }
    unreserved
};

/// The characters of a user part on the fast path: the unreserved ones and `+`.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static PLAIN: [bool; 256] = {
    let mut plain = UNRESERVED;
    plain[b'+' as usize] = true;
    plain
};

fn check_params(params: Option<&str>) -> Result<(), UriError> {
    let Some(text) = params else { return Ok(()) };
    check(text, b"[]/:&+$;=")?;
    let pairs = read_pairs(text, ';').ok_or(UriError::TooMany)?;
    for (at, pair) in pairs.iter().enumerate() {
        let again = pairs.iter().take(at).any(|earlier| earlier.is_named(pair));
        let bad_value = pair.value.is_some_and(|value| value.is_empty() || value.contains('='));
        if pair.name.is_empty() || bad_value || again {
            return Err(UriError::Parameter);
        }
    }
    if text.is_empty() { Err(UriError::Parameter) } else { Ok(()) }
}

fn check_headers(headers: Option<&str>) -> Result<(), UriError> {
    let Some(text) = headers else { return Ok(()) };
    check(text, b"[]/?:+$&=")?;
    let sound = |pair: &Pair<'_>| {
        !pair.name.is_empty() && pair.value.is_some_and(|value| !value.contains('='))
    };
    let all_sound = read_pairs(text, '&').ok_or(UriError::TooMany)?.iter().all(sound);
    if all_sound && !text.is_empty() { Ok(()) } else { Err(UriError::Header) }
}

#[cfg(test)]
mod tests;
