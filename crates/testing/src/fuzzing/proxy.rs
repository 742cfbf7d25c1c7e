//! Replays, mixes and changes the messages of calls before a proxy, which must send nothing to a leg that
//! its tokens do not carry.

use std::collections::BTreeSet;

use sip_authz::Transport;
use sip_authz_proxy::Leg;

use crate::proxy_world::{
    Peer, TENANTS, World, answer, answering, connection, datagram, inner_connection,
    inner_datagram, values,
};

/// The maximum number of messages that are kept.
const MAX_KEPT: usize = 400;
/// The maximum number of messages that are sent.
const MAX_SENT: usize = 60;

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "PRACK",
    "UPDATE",
    "INFO",
    "NOTIFY",
    "SUBSCRIBE",
    "REFER",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "PUBLISH",
];
const TARGETS: [&str; 7] = [
    "sip:100@a.example",
    "sip:100@b.example",
    "sip:100@c.example",
    "sip:x@victim.example",
    "sip:10.0.0.10:5060",
    "sip:100@a.example;maddr=203.0.113.66",
    "tel:+1",
];
const FIELDS: [&str; 13] = [
    "Via",
    "Route",
    "Record-Route",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Contact",
    "Content-Length",
    "X-Authz-Account",
    "Authorization",
    "Path",
];

/// Runs the steps that `bytes` describe. Returns the names of the outcomes.
///
/// A world of running calls comes first. A step takes an earlier message, changes it with parts of
/// others, and sends it from any leg. Other steps let time pass, rotate the key, restart the proxy, or
/// close an account. [`World::receive`] panics if the proxy sends a message on a leg that the ledger
/// does not allow, or one that is not well-formed.
pub fn fuzz_proxy(bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut world = running();
    let legs = legs();
    let mut input = Input(bytes);
    let mut outcomes = BTreeSet::new();
    for _ in 0..MAX_SENT {
        let Some(step) = input.byte() else { break };
        if step >= 0xf0 {
            happen(&mut world, step & 0xf, input.number());
            continue;
        }
        let messages = world.messages.take().unwrap_or_default();
        let message = input.pick(&messages).cloned().unwrap_or_default();
        let leg = *input.pick(&legs).unwrap();
        let mut text = message;
        for _ in 0..step & 3 {
            text = changed(&text, &messages, &mut input);
        }
        world.messages = Some(messages);
        outcomes.insert(world.receive(&text, leg).name());
        if let Some(messages) = &mut world.messages {
            messages.truncate(MAX_KEPT);
        }
    }
    outcomes
}

/// Something happens that is no message.
fn happen(world: &mut World, what: u8, number: u8) {
    let account = TENANTS[usize::from(number) % TENANTS.len()].account();
    match what {
        0 => world.seconds += u32::from(number),
        1 => world.seconds += u32::from(number) * 600,
        2 => world.rotate(),
        3 => world.restart(),
        4 => world.close(account),
        5 => world.open(account),
        6 => world.has_hops = number & 1 == 0,
        7 => world.reply_port = (number > 0).then(|| 5_000 + u16::from(number)),
        8 => {
            let legs = legs();
            world.disconnect(legs[usize::from(number) % legs.len()]);
        }
        _ => world.seconds = world.seconds.saturating_sub(u32::from(number)),
    }
}

/// The legs on which messages come.
fn legs() -> Vec<Leg> {
    let mut legs: Vec<_> = TENANTS.iter().flat_map(|tenant| tenant.legs().map(answering)).collect();
    legs.extend([
        datagram("192.0.2.10:5070"),
        datagram("192.0.2.10:5071"),
        connection(Transport::Tcp, "192.0.2.20:40000", 11),
        connection(Transport::Tls, "192.0.2.30:40000", 12),
        datagram("203.0.113.66:5060"),
        connection(Transport::Tcp, "203.0.113.66:5060", 13),
        // connections that hops opened
        connection(Transport::Tcp, "10.0.0.20:40000", 14),
        connection(Transport::Tcp, "10.0.0.10:5060", 15),
        // the listener for hops
        inner_datagram("10.0.0.10:5060"),
        inner_connection(Transport::Tcp, "10.0.0.20:40001", 1),
    ]);
    legs
}

/// A world with calls, answered, ringing and cancelled ones, a subscription, and phones that registered
/// and are called.
fn running() -> World {
    let mut world = World::new();
    world.messages = Some(Vec::new());
    let legs = legs();
    for (at, host) in [(4, "a.example"), (6, "b.example"), (7, "c.example")] {
        let leg = legs[at];
        let mut call = world.call(leg, host, &at.to_string());
        let invite = world.receive(call.callee.request("INVITE", ""), call.callee.leg).sent().1;
        world.receive(answer(&invite, 200, "x", leg.address), leg).sent();
        for method in ["INFO", "BYE"] {
            // these are still to come
            let of_both = [call.caller.request(method, ""), call.callee.request(method, "")];
            world.messages.as_mut().unwrap().extend(of_both.map(String::into_bytes));
        }
    }
    let mut ringing = Peer::phone(legs[4], "a.example", "4");
    ringing.cseq = 7;
    let (hop, got) = world.receive(ringing.request("INVITE", ""), legs[4]).sent();
    world.receive(answer(&got, 486, "t", hop.address), answering(hop)).sent();
    world.receive(ringing.request("CANCEL", ""), legs[4]).sent();
    let mut watcher = Peer::phone(legs[4], "a.example", "5");
    let (hop, got) = world.receive(watcher.request("SUBSCRIBE", ""), legs[4]).sent();
    let mut server = Peer::answerer(answering(hop), &got, "t");
    let notify = world.receive(server.request("NOTIFY", ""), server.leg).sent().1;
    world.receive(answer(&notify, 200, "t", legs[4].address), legs[4]).sent();
    // by a datagram, a connection that the hop opened, and one that this side opened
    for (at, from, host) in [(4, 12, "a.example"), (6, 13, "b.example"), (7, 3, "c.example")] {
        let (leg, from) = (legs[at], legs[from]);
        let path = world.register(leg, host, &at.to_string());
        let mut call = world.call_phone(from, &path, leg, &format!("p{at}"));
        let mut other = Peer::pbx(from, &path, &format!("q{at}"));
        let texts = [
            call.pbx.request("BYE", ""),
            call.phone.request("BYE", ""),
            other.request("MESSAGE", ""),
        ];
        world.messages.as_mut().unwrap().extend(texts.map(String::into_bytes));
    }
    world
}

/// Makes one change, with parts of other messages.
fn changed(text: &[u8], messages: &[Vec<u8>], input: &mut Input<'_>) -> Vec<u8> {
    let (kind, at, with) = (input.number(), input.number(), input.number());
    let other: &[u8] = messages.get(usize::from(with) % messages.len().max(1)).map_or(b"", |it| it);
    let mut lines = lines_of(text);
    let (at, other_lines) = (usize::from(at) % lines.len().max(1), lines_of(other));
    if lines.is_empty() || other_lines.is_empty() {
        return text.to_vec();
    }
    let name = FIELDS[usize::from(input.number()) % FIELDS.len()];
    let is_named = |line: &Vec<u8>| is_field(line, name);
    match kind % 19 {
        0 => lines[at] = other_lines[usize::from(input.number()) % other_lines.len()].clone(),
        1 => {
            lines.retain(|line| !is_named(line));
            lines.splice(1..1, other_lines.into_iter().filter(is_named));
        }
        2 => drop(lines.remove(at)),
        3 => lines.insert(at, lines[at].clone()),
        4 => {
            let line = lines.remove(at);
            lines.insert(usize::from(input.number()) % (lines.len() + 1), line);
        }
        5 => {
            // the tokens in Routes and Vias move
            let (ours, theirs) = (tokens_of(text), tokens_of(other));
            let (Some(from), Some(to)) = (input.pick(&ours), input.pick(&theirs)) else {
                return text.to_vec();
            };
            return replaced(text, from, to);
        }
        6 => {
            let mut text = text.to_vec();
            let place = usize::from(input.number()) << 8 | usize::from(input.number());
            let len = text.len();
            if let Some(byte) = text.get_mut(place % len.max(1)) {
                *byte ^= input.number();
            }
            return text;
        }
        7 => lines.insert(at, input.take(usize::from(with)).to_vec()),
        8 => {
            let method = METHODS[usize::from(with) % METHODS.len()];
            let text = String::from_utf8_lossy(text).into_owned();
            let old = text.split(' ').next().unwrap_or_default().to_owned();
            let number = values(&text, "CSeq").concat();
            return text
                .replacen(&old, method, 1)
                .replace(&number, &number.replace(&old, method))
                .into_bytes();
        }
        9 => {
            let line = String::from_utf8_lossy(&lines[0]).into_owned();
            let parts: Vec<_> = line.split(' ').collect();
            if let [method, _, version] = parts[..] {
                let target = TARGETS[usize::from(with) % TARGETS.len()];
                lines[0] = format!("{method} {target} {version}").into_bytes();
            }
        }
        10 => {
            let text = String::from_utf8_lossy(text);
            if sip_authz::message::Message::scan(text.as_bytes()).is_some() {
                let status = 100 + u16::from(with) * 3 % 600;
                return answer(&text, status, "t", ([10, 0, 0, 10], 5060).into()).into_bytes();
            }
        }
        11 => {
            // all values in one field
            let joined: Vec<_> = lines.iter().filter(|line| is_named(line)).cloned().collect();
            let values: Vec<_> =
                joined.iter().filter_map(|line| line.get(name.len() + 1..)).collect();
            lines.retain(|line| !is_named(line));
            if !values.is_empty() {
                lines.insert(1, [name.as_bytes(), b":", &values.join(&b","[..])].concat());
            }
        }
        12 => lines[at].make_ascii_uppercase(),
        13 => {
            let place = usize::from(with) % (lines[at].len() + 1);
            lines[at].splice(place..place, *b"\r\n ");
        }
        14 => {
            for line in &mut lines {
                let to = if is_field(line, "From") { "To" } else { "From" };
                if is_field(line, "From") || is_field(line, "To") {
                    let colon = line.iter().position(|byte| *byte == b':').unwrap_or_default();
                    line.splice(..colon, to.bytes());
                }
            }
        }
        // the routes that another message recorded, in either order
        15 | 16 => {
            let recorded = other_lines.into_iter().filter(|line| is_field(line, "Record-Route"));
            let mut routes: Vec<_> =
                recorded.map(|line| replaced(&line, b"Record-Route", b"Route")).collect();
            if kind % 19 == 16 {
                routes.reverse();
            }
            lines.retain(|line| !is_field(line, "Route"));
            lines.splice(1..1, routes);
        }
        // the Path of another message, alone or before the Routes
        17 | 18 => {
            let paths = other_lines.into_iter().filter(|line| is_field(line, "Path"));
            let paths: Vec<_> = paths.map(|line| replaced(&line, b"Path", b"Route")).collect();
            if kind % 19 == 17 {
                lines.retain(|line| !is_field(line, "Route"));
            }
            lines.splice(1..1, paths);
        }
        _ => {}
    }
    [lines.join(&b"\r\n"[..]), b"\r\n\r\n".to_vec()].concat()
}

/// The lines of the head.
fn lines_of(text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n").map(|line| line.as_bytes().to_vec()).collect()
}

fn is_field(line: &[u8], name: &str) -> bool {
    let found = line.split(|byte| *byte == b':').next().unwrap_or_default();
    found.eq_ignore_ascii_case(name.as_bytes())
}

/// The long words of a message: tokens and codes.
fn tokens_of(text: &[u8]) -> Vec<&[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.split(|byte| !is_part(byte)).filter(|word| word.len() >= 16).collect()
}

/// Replaces the first occurrence.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = text.windows(from.len().max(1)).position(|part| part == from);
    at.map_or_else(|| text.to_vec(), |at| [&text[..at], to, &text[at + from.len()..]].concat())
}

/// The bytes that are left. After the end come zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        list.get(usize::from(self.number()) % list.len().max(1))
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
