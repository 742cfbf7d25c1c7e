//! The topmost Via of a request (RFC 3261 §20.42): finds the port for the response, and writes the value
//! back with the real source of the request (§18.2.1, RFC 3581 §4).

use std::net::{IpAddr, SocketAddr};

use memchr::{memchr, memchr2};

use crate::fields::{is_token_byte, quoted_len};
use crate::put::{is_removed, put_ip, put_line, put_number};

/// The port of a sent-by without one (RFC 3261 §18.1.1).
const DEFAULT_PORT: u16 = 5060;
/// The lowest port that a Via can choose by itself. Ports below belong to other services.
const LOWEST_PORT: u16 = 1_024;

/// The port for answers over UDP. They always go to the address of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyPort {
    /// The port of sent-by, if the sender asks for no `rport` and sent-by has its source address and a
    /// port of 1024 or above; else the source port.
    Auto,
    /// The source port.
    Source,
    /// The port of sent-by, or 5060 if it has none.
    SentBy,
}

/// The value of a message's first Via field.
#[derive(Clone, Copy, Debug)]
pub enum TopVia<'a> {
    /// The first value is well-formed.
    Parts(ViaParts<'a>),
    /// The value cannot be read: it is echoed as it came.
    Unreadable(&'a [u8]),
}

/// The first value of a Via field, split into its parts.
#[derive(Clone, Copy, Debug)]
pub struct ViaParts<'a> {
    /// Protocol and sent-by.
    head: &'a [u8],
    /// Host and port, without white space around them.
    sent_by: &'a [u8],
    host: &'a [u8],
    /// The port of sent-by; none if it is missing, zero if it is not a port.
    port: Option<u16>,
    /// The parameters, each after a `;`; empty if there are none.
    params: &'a [u8],
    /// The comma and the further values of the field, if there are any.
    rest: &'a [u8],
}

impl<'a> TopVia<'a> {
    /// Reads the value.
    #[must_use]
    pub fn read(value: &'a [u8]) -> Self {
        ViaParts::read(value).map_or(Self::Unreadable(value), Self::Parts)
    }

    /// The destination of the response over UDP: always the address of `source`, with its port or
    /// that of sent-by (RFC 3261 §18.2.2, RFC 3581 §4). `maddr` is ignored.
    #[must_use]
    pub fn destination(&self, source: SocketAddr, reply: ReplyPort) -> SocketAddr {
        let Self::Parts(via) = self else { return source };
        let port = via.port.unwrap_or(DEFAULT_PORT);
        let is_chosen = match reply {
            ReplyPort::Source => false,
            ReplyPort::SentBy => port > 0,
            // another address or a name is behind a NAT, where only the source port leads back
            ReplyPort::Auto => {
                port >= LOWEST_PORT
                    && via.host_ip() == Some(source.ip().to_canonical())
                    && !via.params().any(|param| is_named(param, b"rport"))
            }
        };
        let mut to = source;
        if is_chosen {
            to.set_port(port);
        }
        to
    }

    /// Writes the value. A well-formed one gets `received` if sent-by has another address than
    /// `source`, and its `rport` is filled in.
    pub fn write(&self, source: SocketAddr, out: &mut Vec<u8>) {
        match self {
            Self::Parts(via) => via.write(source, out),
            Self::Unreadable(value) => put_line(value, out),
        }
    }
}

impl<'a> ViaParts<'a> {
    /// Parses a value. `None` if it is malformed, has empty parts or has control characters.
    #[must_use]
    pub fn read(value: &'a [u8]) -> Option<Self> {
        if has_controls(value) {
            return None;
        }
        let (first, rest) = value.split_at_checked(find_unquoted(value, b',')?)?;
        let (head, params) = first.split_at_checked(find_unquoted(first, b';')?)?;
        let start = after_version(head)?.trim_ascii_start();
        let end = start.iter().position(u8::is_ascii_whitespace)?;
        let (transport, sent_by) = start.split_at_checked(end)?;
        let sent_by = sent_by.trim_ascii();
        let (host, port) = host_of(sent_by)?;
        let sound = transport.iter().all(|byte| is_token_byte(*byte))
            && has_no_empty_part(params, b';')
            && has_no_empty_part(rest, b',');
        sound.then_some(Self { head, sent_by, host, port, params, rest })
    }

    /// The parameters, without surrounding white space.
    pub(crate) fn params(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.params;
        std::iter::from_fn(move || next_param(&mut rest))
    }

    pub(crate) fn write(&self, source: SocketAddr, out: &mut Vec<u8>) {
        let ip = source.ip().to_canonical();
        put_line(self.head.trim_ascii(), out);
        let mut wants_port = false;
        for param in self.params() {
            if is_named(param, b"rport") {
                wants_port = true;
            } else if !is_named(param, b"received") {
                // the sender's own `received` is dropped: it could be mistaken for ours
                out.push(b';');
                put_line(param, out);
            }
        }
        if wants_port || self.host_ip() != Some(ip) {
            out.extend_from_slice(b";received=");
            put_ip(ip, out);
        }
        if wants_port {
            out.extend_from_slice(b";rport=");
            put_number(source.port(), out);
        }
        put_line(self.rest, out);
    }

    /// The values of the parameters with this name, each without white space around it; empty if it has
    /// none.
    pub fn values(self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.params;
        std::iter::from_fn(move || next_param(&mut rest))
            .filter_map(move |param| value_of(param, name))
    }

    /// The value of the parameter with this name; none if there is no such parameter, or more than one.
    #[must_use]
    pub fn only_value(self, name: &'static [u8]) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The host, and the port if there is one, as sent.
    #[must_use]
    pub fn sent_by(self) -> &'a [u8] {
        self.sent_by
    }

    /// The value as sent, without the further values of the field: protocol and sent-by, and the
    /// parameters.
    #[must_use]
    pub fn head_and_params(self) -> [&'a [u8]; 2] {
        [self.head, self.params]
    }

    /// The further values of the field, if there are any.
    #[must_use]
    pub fn next_values(self) -> Option<&'a [u8]> {
        self.rest.strip_prefix(b",")
    }

    /// The address of sent-by, if it is an IPv4 address or an IPv6 address in brackets.
    #[must_use]
    pub fn host_literal(self) -> Option<IpAddr> {
        let text = str::from_utf8(self.host).ok()?;
        match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => text.parse().ok().map(IpAddr::V4),
        }
    }

    fn host_ip(&self) -> Option<IpAddr> {
        let text = str::from_utf8(self.host).ok()?;
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

/// Removes the first parameter from `rest` and returns it without white space around it.
fn next_param<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = rest.strip_prefix(b";")?;
    let end = find_unquoted(text, b';').unwrap_or(text.len());
    let (param, after) = text.split_at_checked(end).unwrap_or((text, &[]));
    *rest = after;
    Some(param.trim_ascii())
}

fn is_named(param: &[u8], name: &[u8]) -> bool {
    value_of(param, name).is_some()
}

/// The value of a parameter, without white space around it, if it has this name; empty if it has none.
/// `param` begins without white space.
fn value_of<'a>(param: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, after) = param.split_at_checked(name.len())?;
    let after = after.trim_ascii_start();
    match after.strip_prefix(b"=") {
        _ if !found.eq_ignore_ascii_case(name) => None,
        Some(value) => Some(value.trim_ascii()),
        None => after.is_empty().then_some(after),
    }
}

/// Whether a value has control characters except HTAB and folds.
fn has_controls(value: &[u8]) -> bool {
    // the common case has none; without an early exit the loop is vectorised
    if !value.iter().fold(false, |found, byte| found | is_removed(*byte)) {
        return false;
    }
    let mut rest = value;
    loop {
        rest = match rest {
            [] => return false,
            [b'\r', b'\n', b' ' | b'\t', after @ ..] => after,
            [byte, ..] if is_removed(*byte) => return true,
            [_, after @ ..] => after,
        }
    }
}

/// The text after `SIP/2.0/`.
fn after_version(head: &[u8]) -> Option<&[u8]> {
    // the usual form, without white space
    if let Some(after) = head.strip_prefix(b"SIP/2.0/") {
        return Some(after);
    }
    let name = protocol_part(head, |part| part.eq_ignore_ascii_case(b"SIP"))?;
    protocol_part(name.strip_prefix(b"/")?, |part| part == b"2.0")?.strip_prefix(b"/")
}

/// The text after a part of the sent-protocol, if the part passes `fits`. It begins with the `/`.
fn protocol_part(text: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let (part, after) = text.split_at_checked(memchr(b'/', text)?)?;
    fits(part.trim_ascii()).then_some(after)
}

/// The host and port of `host [":" port]`. The port is none if it is missing, zero if it is above the
/// maximum.
fn host_of(sent_by: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = if sent_by.starts_with(b"[") {
        sent_by.iter().position(|byte| *byte == b']')? + 1
    } else {
        let ends = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
        sent_by.iter().position(ends).unwrap_or(sent_by.len())
    };
    let (host, after) = sent_by.split_at_checked(end)?;
    let sound = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    let port = match after.trim_ascii() {
        [] => None,
        [b':', port @ ..] => {
            let port = port.trim_ascii();
            if port.is_empty() || port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
                return None;
            }
            Some(str::from_utf8(port).ok()?.parse().unwrap_or(0))
        }
        _ => return None,
    };
    (!host.is_empty() && host.iter().all(sound)).then_some((host, port))
}

/// Whether all parts are non-empty, each of which follows a `mark`.
fn has_no_empty_part(mut text: &[u8], mark: u8) -> bool {
    while let [_, part @ ..] = text {
        let end = find_unquoted(part, mark).unwrap_or(part.len());
        let (part, after) = part.split_at_checked(end).unwrap_or((part, &[]));
        if part.trim_ascii().is_empty() {
            return false;
        }
        text = after;
    }
    true
}

/// The index of the first `mark` outside quoted strings, or the length. `None` if a quote is unclosed.
fn find_unquoted(text: &[u8], mark: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr2(mark, b'"', text.get(at..)?) {
        at += found;
        if text.get(at) == Some(&mark) {
            return Some(at);
        }
        at += quoted_len(text.get(at..)?)?;
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_and_rport_name_the_source() {
        for (source, value, expected) in [
            ("192.0.2.1:5060", "SIP/2.0/UDP 192.0.2.1;branch=x", "SIP/2.0/UDP 192.0.2.1;branch=x"),
            (
                "192.0.2.1:5061",
                "SIP/2.0/UDP a.example:5060;branch=x",
                "SIP/2.0/UDP a.example:5060;branch=x;received=192.0.2.1",
            ),
            (
                "192.0.2.1:5061",
                "SIP/2.0/UDP 192.0.2.1;rport;branch=x",
                "SIP/2.0/UDP 192.0.2.1;branch=x;received=192.0.2.1;rport=5061",
            ),
            (
                "192.0.2.1:5061",
                "sip / 2.0\r\n / UDP  192.0.2.9 : 5060 ; RECEIVED=1.2.3.4 ; Rport=7 ;maddr=9.9.9.9",
                "sip / 2.0 / UDP  192.0.2.9 : 5060;maddr=9.9.9.9;received=192.0.2.1;rport=5061",
            ),
            (
                "[2001:db8::1]:5060",
                "SIP/2.0/TCP [2001:DB8:0::1]:5060;branch=x",
                "SIP/2.0/TCP [2001:DB8:0::1]:5060;branch=x",
            ),
            (
                "[::ffff:192.0.2.1]:5060",
                "SIP/2.0/UDP [2001:db8::1];branch=x, SIP/2.0/UDP b;rport",
                "SIP/2.0/UDP [2001:db8::1];branch=x;received=192.0.2.1, SIP/2.0/UDP b;rport",
            ),
            (
                "192.0.2.1:1",
                r#"SIP/2.0/UDP h;x="a,\";received=b" ,SIP/2.0/UDP b"#,
                r#"SIP/2.0/UDP h;x="a,\";received=b";received=192.0.2.1,SIP/2.0/UDP b"#,
            ),
        ] {
            let mut out = Vec::new();
            TopVia::read(value.as_bytes()).write(source.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn a_malformed_value_is_echoed_as_it_came() {
        let source: SocketAddr = "192.0.2.1:9".parse().unwrap();
        for value in [
            "",
            ",",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDP ;branch=x",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/U(D)P h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h:123456;rport",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP [fe80::1%eth0]:5060;rport",
            "SIP/2.0/UDP 2001:db8::1:5060;rport",
            "SIP/2.0/UDP h h",
            "SIP/2.0/UDP h_\u{e9};rport",
            "SIP/2.0/UDP h;x=\"",
            ", SIP/2.0/UDP h",
            "SIP/2.0/UDP h;",
            "SIP/2.0/UDP h; ;branch=x;rport",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP h;rport;branch=x,",
            "SIP/2.0/UDP h;branch=x, ,SIP/2.0/UDP b",
        ] {
            let via = TopVia::read(value.as_bytes());
            assert!(matches!(via, TopVia::Unreadable(_)), "{value:?}");
            let mut out = Vec::new();
            via.write(source, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value);
            for reply in [ReplyPort::Auto, ReplyPort::Source, ReplyPort::SentBy] {
                assert_eq!(via.destination(source, reply), source, "{value:?}");
            }
        }
        for (value, expected) in [
            ("SIP/2.0/UDP h\r\nX: y", "SIP/2.0/UDP hX: y"),
            ("SIP/2.0/UDP h\0;rport", "SIP/2.0/UDP h;rport"),
            ("SIP/2.0/UDP h;a=\rX,\r\n\t\u{7f}b", "SIP/2.0/UDP h;a=X,\tb"),
            ("SIP/2.0/UDP h;\r\n branch=x;", "SIP/2.0/UDP h; branch=x;"),
        ] {
            let mut out = Vec::new();
            TopVia::read(value.as_bytes()).write(source, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn well_formed_values_are_read() {
        for value in [
            "SIP/2.0/UDP h",
            "SIP/2.0/UDP h;branch=x ; rport",
            "SIP/2.0/FOO h;x=\";;,,\",SIP/2.0/UDP b;y, SIP/2.0/UDP c",
        ] {
            assert!(matches!(TopVia::read(value.as_bytes()), TopVia::Parts(_)), "{value}");
        }
    }

    #[test]
    fn the_destination_is_the_source_with_its_port_or_that_of_sent_by() {
        // the source, the value, and the port: chosen by the value, and with `sent-by`
        for (source, value, auto, sent_by) in [
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1", 5060, 5060),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1 : 5070 ;branch=x", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:1024", 1024, 1024),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:1023", 9, 1023),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:0", 9, 9),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:65536", 9, 9),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070;rport", 9, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070;branch=x; RPORT =5", 9, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070;x=\";rport\"", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070;rportx", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070, SIP/2.0/UDP b;rport", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1:5070;maddr=203.0.113.1", 5070, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 203.0.113.1:5070;received=192.0.2.1", 9, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP 10.0.0.1:5070", 9, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP phone.example:5070", 9, 5070),
            ("192.0.2.1:9", "SIP/2.0/UDP phone.example", 9, 5060),
            ("192.0.2.1:9", "SIP/2.0/UDP [::ffff:192.0.2.1]:5070", 5070, 5070),
            ("[::ffff:192.0.2.1]:9", "SIP/2.0/UDP 192.0.2.1:5070", 5070, 5070),
            ("[2001:db8::1]:9", "SIP/2.0/UDP [2001:DB8:0::1]:5070", 5070, 5070),
            ("[2001:db8::1]:9", "SIP/2.0/UDP [2001:db8::2]:5070", 9, 5070),
            ("[fe80::1%3]:9", "SIP/2.0/UDP [fe80::1]:5070", 5070, 5070),
        ] {
            let (source, via): (SocketAddr, _) =
                (source.parse().unwrap(), TopVia::read(value.as_bytes()));
            let with = |port| {
                let mut to = source;
                to.set_port(port);
                to
            };
            assert_eq!(via.destination(source, ReplyPort::Auto), with(auto), "{value}");
            assert_eq!(via.destination(source, ReplyPort::SentBy), with(sent_by), "{value}");
            assert_eq!(via.destination(source, ReplyPort::Source), source, "{value}");
        }
    }
}
