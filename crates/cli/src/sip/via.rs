//! The topmost Via of a request (RFC 3261 §20.42): parses the parts that a response needs, and writes
//! it back with the real source of the request (§18.2.1, RFC 3581 §4).

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::sip::put::{is_echoable, put_number, put_unfolded};

/// The first value of a Via field, split into its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopVia<'a> {
    /// Protocol and sent-by.
    head: &'a [u8],
    host: &'a [u8],
    /// The parameters, each after a `;`; empty if there are none.
    params: &'a [u8],
    /// The comma and the further values of the field, if there are any.
    rest: &'a [u8],
}

impl<'a> TopVia<'a> {
    /// Parses the value of a message's first Via field. `None` if it is malformed or cannot be echoed.
    pub(crate) fn read(value: &'a [u8]) -> Option<Self> {
        if !is_echoable(value) {
            return None;
        }
        let (first, rest) = value.split_at_checked(find_unquoted(value, b',')?)?;
        let (head, params) = first.split_at_checked(find_unquoted(first, b';')?)?;
        let after =
            protocol_part(head, |part| part.eq_ignore_ascii_case(b"SIP"))?.strip_prefix(b"/")?;
        let after = protocol_part(after, |part| part == b"2.0")?.strip_prefix(b"/")?;
        let start = after.trim_ascii_start();
        let end = start.iter().position(u8::is_ascii_whitespace)?;
        let (transport, sent_by) = start.split_at_checked(end)?;
        let host = host_of(sent_by.trim_ascii())?;
        transport.iter().all(is_token_byte).then_some(Self { head, host, params, rest })
    }

    /// Whether all parameters and further values of the field are non-empty (RFC 4475 §3.1.2.1).
    pub(crate) fn is_whole(&self) -> bool {
        has_no_empty_part(self.params, b';') && has_no_empty_part(self.rest, b',')
    }

    /// Writes the value. Adds `received` if sent-by has another address than `source`, and fills in
    /// `rport`.
    pub(crate) fn write(&self, source: SocketAddr, out: &mut Vec<u8>) {
        let ip = source.ip().to_canonical();
        put_unfolded(self.head.trim_ascii(), out);
        let mut wants_port = false;
        let mut params = self.params;
        while let Some(text) = params.strip_prefix(b";") {
            let end = find_unquoted(text, b';').unwrap_or(text.len());
            let (param, after) = text.split_at_checked(end).unwrap_or((text, &[]));
            let name = param.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"rport") {
                wants_port = true;
            } else if !name.eq_ignore_ascii_case(b"received") {
                // the sender's own `received` is dropped: it could be mistaken for ours
                out.push(b';');
                put_unfolded(param.trim_ascii(), out);
            }
            params = after;
        }
        // writing to a Vec does not fail
        if wants_port || self.host_ip() != Some(ip) {
            let _ = write!(out, ";received={ip}");
        }
        if wants_port {
            out.extend_from_slice(b";rport=");
            put_number(source.port(), out);
        }
        put_unfolded(self.rest, out);
    }

    fn host_ip(&self) -> Option<IpAddr> {
        let text = str::from_utf8(self.host).ok()?;
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

/// The text after a part of the sent-protocol and its `/`, if the part passes `fits`.
fn protocol_part(text: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let (part, after) = text.split_at_checked(text.iter().position(|byte| *byte == b'/')?)?;
    fits(part.trim_ascii()).then_some(after)
}

/// The host of `host [":" port]`.
fn host_of(sent_by: &[u8]) -> Option<&[u8]> {
    let end = if sent_by.starts_with(b"[") {
        sent_by.iter().position(|byte| *byte == b']')? + 1
    } else {
        let ends = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
        sent_by.iter().position(ends).unwrap_or(sent_by.len())
    };
    let (host, after) = sent_by.split_at_checked(end)?;
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let port = match after.trim_ascii() {
        [] => true,
        [b':', port @ ..] => {
            let port = port.trim_ascii();
            !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    (port && !host.is_empty() && host.iter().all(sound)).then_some(host)
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
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == mark && !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte)
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
            TopVia::read(value.as_bytes()).unwrap().write(source.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn empty_parts_are_detected() {
        for (value, expected) in [
            ("SIP/2.0/UDP h", true),
            ("SIP/2.0/UDP h;branch=x ; rport", true),
            ("SIP/2.0/UDP h;x=\";;,,\",SIP/2.0/UDP b;y, SIP/2.0/UDP c", true),
            ("SIP/2.0/UDP h;", false),
            ("SIP/2.0/UDP h; ;branch=x", false),
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", false),
            ("SIP/2.0/UDP h;branch=x,", false),
            ("SIP/2.0/UDP h;branch=x,\r\n ,SIP/2.0/UDP b", false),
        ] {
            assert_eq!(TopVia::read(value.as_bytes()).unwrap().is_whole(), expected, "{value}");
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for value in [
            "",
            ",",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDP ;branch=x",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h:123456",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP h h",
            "SIP/2.0/UDP h;x=\"",
            "SIP/2.0/UDP h\r\nX: y",
            "SIP/2.0/UDP h\0",
            "SIP/2.0/UDP h\rX",
            ", SIP/2.0/UDP h",
        ] {
            assert!(TopVia::read(value.as_bytes()).is_none(), "{value:?}");
        }
    }
}
