//! A slow second writer of forwarded messages, to compare `sip-authz-proxy` with. It splits the text line
//! by line, one character for each byte, and shares no code with the proxy.

use std::net::{IpAddr, SocketAddr};

/// The changes on the way.
pub struct Changes<'a> {
    /// The source of a request; `None` for a response.
    pub source: Option<SocketAddr>,
    pub via: &'a str,
    pub record_routes: &'a [&'a str],
    pub routes_removed: usize,
    /// Whether a credentials field with this value comes out.
    pub drops: &'a dyn Fn(&[u8]) -> bool,
    /// The names of the fields that come out, in lower case.
    pub stripped: &'a [&'a str],
    pub added: &'a [(&'a str, &'a str)],
    pub to_stream: bool,
}

/// A header field: its name in lower case and without compact forms, and its text with the line end.
pub type TextField = (String, String);

/// The first line, the fields, and the bytes after the blank line.
pub fn parts(message: &[u8]) -> (String, Vec<TextField>, Vec<u8>) {
    let text: String = message.iter().map(|byte| char::from(*byte)).collect();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let start = format!("{}\r\n", lines.next().unwrap());
    let mut fields: Vec<TextField> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            fields.last_mut().unwrap().1.push_str(&format!("{line}\r\n"));
        } else {
            let name = line.split(':').next().unwrap().trim().to_lowercase();
            let long = match &*name {
                "v" => "via",
                "f" => "from",
                "t" => "to",
                "i" => "call-id",
                "m" => "contact",
                "l" => "content-length",
                other => other,
            };
            fields.push((long.to_owned(), format!("{line}\r\n")));
        }
    }
    (start, fields, bytes(rest))
}

/// The bytes of a text of one character for each.
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// The value of a field, without white space around it.
pub fn value(text: &str) -> &str {
    text.split_once(':').unwrap().1.trim_matches([' ', '\t', '\r', '\n'])
}

/// The values of a list.
pub fn values(list: &str) -> Vec<String> {
    split(list, ',')
}

/// Splits at a mark that is not within quotes or brackets.
fn split(text: &str, mark: char) -> Vec<String> {
    let mut texts = Vec::new();
    let mut start = 0;
    for at in marks(text, mark) {
        texts.push(&text[start..at]);
        start = at + 1;
    }
    texts.push(&text[start..]);
    texts.iter().map(|text| text.trim_matches([' ', '\t']).to_owned()).collect()
}

/// The positions of a mark that is not within quotes or brackets.
fn marks(text: &str, mark: char) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    for (at, c) in text.char_indices() {
        if c == mark && !quoted && !bracketed {
            found.push(at);
        }
        let was_escaped = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if quoted => escaped = !was_escaped,
            '"' if !bracketed && !was_escaped => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
    }
    found
}

/// The message as it is forwarded. It must be well-formed.
pub fn forwarded(message: &[u8], changes: &Changes<'_>) -> Vec<u8> {
    let (start, fields, rest) = parts(message);
    let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
    let mut out = start;
    if changes.source.is_some() {
        out += &format!("Via: {}\r\n", changes.via);
        for route in changes.record_routes {
            out += &format!("Record-Route: {route}\r\n");
        }
        if !has("max-forwards") {
            out += "Max-Forwards: 70\r\n";
        }
        for (name, value) in changes.added {
            out += &format!("{name}: {value}\r\n");
        }
    }
    let (mut vias, mut routes) = (0, 0);
    for (name, text) in &fields {
        let is_response = changes.source.is_none();
        let kept = match &**name {
            "via" => {
                vias += 1;
                match changes.source {
                    Some(source) if vias == 1 => with_source(text, source),
                    None if vias == 1 => without(text, 1),
                    _ => text.clone(),
                }
            }
            "route" if !is_response => {
                let already = routes;
                routes += values(value(text)).len();
                without(text, changes.routes_removed.saturating_sub(already))
            }
            "max-forwards" if !is_response => {
                let hops: u32 = value(text).parse().unwrap();
                text.replacen(value(text), &hops.saturating_sub(1).to_string(), 1)
            }
            "authorization" | "proxy-authorization"
                if !is_response && (changes.drops)(&bytes(value(text))) =>
            {
                String::new()
            }
            name if names_stripped(name, text, changes.stripped) => String::new(),
            _ => text.clone(),
        };
        out += &kept;
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let len = length.map_or(rest.len(), |(_, text)| value(text).parse().unwrap());
    if changes.to_stream && length.is_none() {
        out += &format!("Content-Length: {len}\r\n");
    }
    [bytes(&out), b"\r\n".to_vec(), rest[..len].to_vec()].concat()
}

/// Whether the field, or one of its folded lines, has one of the names.
fn names_stripped(name: &str, text: &str, stripped: &[&str]) -> bool {
    let is_one = |name: &str| {
        let name = name.trim_matches([' ', '\t']).to_lowercase().replace('_', "-");
        stripped.contains(&&*name)
    };
    let folded = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    is_one(name) || folded.into_iter().any(|(name, _)| is_one(name))
}

/// The field without its first values; empty if none is left.
fn without(text: &str, count: usize) -> String {
    let list = value(text);
    if count == 0 {
        return text.to_owned();
    }
    let Some(comma) = marks(list, ',').get(count - 1).copied() else { return String::new() };
    let (before, after) = text.split_once(list).unwrap();
    format!("{before}{}{after}", list[comma + 1..].trim_start_matches([' ', '\t']))
}

/// The top Via with the source in it.
fn with_source(text: &str, source: SocketAddr) -> String {
    let ip = source.ip().to_canonical();
    let list = value(text);
    let end = marks(list, ',').first().copied().unwrap_or(list.len());
    let (first, rest) = list.split_at(end);
    let params = split(first, ';');
    let name_of = |param: &String| param.split('=').next().unwrap().trim().to_lowercase();
    let sent_by = params[0].rsplit('/').next().unwrap().trim_start();
    let host = sent_by.split_once([' ', '\t']).unwrap().1.trim();
    let host: Option<IpAddr> = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap().parse().ok(),
        None => host.split([':', ' ', '\t']).next().unwrap().parse().ok(),
    };
    let mut via = params[0].clone();
    for param in &params[1..] {
        if !["received", "rport"].contains(&&*name_of(param)) {
            via += &format!(";{param}");
        }
    }
    let asks = params.iter().any(|param| name_of(param) == "rport");
    if asks || host.map(|host| host.to_canonical()) != Some(ip) {
        via += &format!(";received={ip}");
    }
    if asks {
        via += &format!(";rport={}", source.port());
    }
    let (before, after) = text.split_once(list).unwrap();
    format!("{before}{via}{rest}{after}")
}
