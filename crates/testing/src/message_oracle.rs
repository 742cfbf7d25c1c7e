//! A slow second parser of SIP messages, to compare [`sip_authz::message::Message::scan`] and
//! [`sip_authz::message::frame`] with. It splits the text line by line, one character for each byte, and
//! shares no code with the library.

use std::collections::BTreeSet;

use sip_authz::message::{Defect, Header, MAX_BODY, MAX_FIELDS, MAX_HEAD};

/// The parts of a message that are compared.
#[derive(Debug, PartialEq)]
pub struct OracleMessage {
    /// The method and URI, or the status.
    pub start: Result<(String, String), u16>,
    /// Header, name and value.
    pub fields: Vec<(Header, Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub defect: Option<Defect>,
    pub stream_defect: Option<Defect>,
    /// The headers that are not well-formed, sorted by name.
    pub flawed: BTreeSet<&'static str>,
    pub trailing_space: bool,
}

const NAMES: [(Header, &str, &str); 17] = [
    (Header::Via, "via", "v"),
    (Header::From, "from", "f"),
    (Header::To, "to", "t"),
    (Header::CallId, "call-id", "i"),
    (Header::CSeq, "cseq", "cseq"),
    (Header::Contact, "contact", "m"),
    (Header::ContentLength, "content-length", "l"),
    (Header::ContentType, "content-type", "c"),
    (Header::Authorization, "authorization", "authorization"),
    (Header::ProxyAuthorization, "proxy-authorization", "proxy-authorization"),
    (Header::MaxForwards, "max-forwards", "max-forwards"),
    (Header::Require, "require", "require"),
    (Header::ProxyRequire, "proxy-require", "proxy-require"),
    (Header::RecordRoute, "record-route", "record-route"),
    (Header::Route, "route", "route"),
    (Header::Timestamp, "timestamp", "timestamp"),
    (Header::UserAgent, "user-agent", "user-agent"),
];
const SINGLE: [Header; 5] =
    [Header::From, Header::To, Header::CallId, Header::CSeq, Header::ContentLength];
const MANDATORY: [Header; 5] =
    [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq];
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn is_token(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    !text.is_empty() && text.chars().all(fits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// The number, or a number larger than any limit.
fn number(digits: &str) -> u128 {
    format!("0{}", digits.trim_start_matches('0')).parse().unwrap_or(u128::MAX)
}

pub fn scan(message: &[u8]) -> Option<OracleMessage> {
    read(message).map(|(message, _)| message)
}

/// A stream that cannot be cut into messages.
#[derive(Debug, PartialEq)]
pub struct Uncut;

/// The lengths of head and body of the message at the start of a stream. `Ok(None)` if the head is
/// incomplete, an error if the stream cannot be cut. An incomplete head may have errors.
pub fn frame(stream: &[u8]) -> Result<Option<(usize, usize)>, Uncut> {
    let window = text(&stream[..stream.len().min(MAX_HEAD)]);
    let mut head = 0;
    let mut lines = window.split_inclusive('\n');
    let ended = lines.any(|line| {
        head += line.chars().count();
        head > line.chars().count() && (line == "\n" || line == "\r\n")
    });
    if !ended {
        return if stream.len() > MAX_HEAD { Err(Uncut) } else { Ok(None) };
    }
    let (message, defects) = read(&stream[..head]).ok_or(Uncut)?;
    let ends_the_stream = |defect: &Defect| {
        use Defect::{
            ContentLength, Control, FieldName, Fold, HeadTooLong, LineEnd, NoBlankLine, Repeated,
            TooManyFields,
        };
        [ContentLength, Repeated(Header::ContentLength), HeadTooLong, NoBlankLine].contains(defect)
            || [Control, FieldName, Fold, LineEnd, TooManyFields].contains(defect)
    };
    let length = message.fields.iter().find(|field| field.0 == Header::ContentLength);
    let (_, _, length) = length.filter(|_| !defects.iter().any(ends_the_stream)).ok_or(Uncut)?;
    let body = usize::try_from(number(&text(length))).map_err(|_| Uncut)?;
    if body <= MAX_BODY { Ok(Some((head, body))) } else { Err(Uncut) }
}

/// The message and all its defects, with those on a stream.
fn read(message: &[u8]) -> Option<(OracleMessage, Vec<Defect>)> {
    let window = text(&message[..message.len().min(MAX_HEAD)]);
    let cut = if message.len() > MAX_HEAD { Defect::HeadTooLong } else { Defect::NoBlankLine };
    let mut lines = window.split_inclusive('\n').peekable();
    let first = lines.next().unwrap_or_default();
    let (start, start_defect) = start_line(first)?;
    let line = first.strip_suffix('\n').unwrap_or(first);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let trailing_space = start.is_ok() && line.ends_with([' ', '\t']);
    if !first.ends_with('\n') {
        let defect = start_defect.or(Some(cut));
        let flawed = BTreeSet::new();
        let (fields, body, stream_defect) = (vec![], vec![], defect);
        let message =
            OracleMessage { start, fields, body, defect, stream_defect, flawed, trailing_space };
        return Some((message, defect.into_iter().collect()));
    }
    let (mut flawed, mut has_control, mut folded_length) = (BTreeSet::new(), false, false);

    let mut defects: Vec<Defect> = line_defect(first, false).into_iter().collect();
    defects.extend(start_defect);
    let mut fields: Vec<(Header, Vec<u8>, Vec<u8>)> = vec![];
    let mut read = first.chars().count();
    let mut body = None;
    loop {
        let Some(line) = lines.next() else {
            defects.push(cut);
            break;
        };
        read += line.chars().count();
        if line == "\n" || line == "\r\n" {
            if line == "\n" {
                defects.push(Defect::LineEnd);
            }
            body = Some(message[read..].to_vec());
            break;
        }
        let mut whole = vec![line];
        while let Some(fold) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            read += fold.chars().count();
            whole.push(fold);
        }
        if !whole.last().unwrap().ends_with('\n') {
            defects.push(cut);
            break;
        }
        if fields.len() == MAX_FIELDS {
            defects.push(Defect::TooManyFields);
            break;
        }
        let flaws: Vec<_> =
            whole.iter().enumerate().filter_map(|(at, line)| line_defect(line, at > 0)).collect();
        let folds = whole.len() - 1;
        let whole = whole.concat();
        let named = whole
            .split_once(':')
            .map(|(name, value)| (name.trim_end_matches([' ', '\t']), value.trim_matches(SPACE)));
        let Some((name, value)) = named.filter(|(name, _)| is_token(name)) else {
            defects.extend(flaws);
            defects.push(Defect::FieldName);
            fields.push((Header::Other, bytes(whole.trim_matches(SPACE)), vec![]));
            continue;
        };
        let lower = name.to_lowercase();
        let known = NAMES.iter().find(|(_, long, compact)| [*long, *compact].contains(&&*lower));
        let header = known.map_or(Header::Other, |entry| entry.0);
        let controls = flaws.contains(&Defect::Control);
        let is_strict = [Header::CSeq, Header::ContentLength].contains(&header);
        defects.extend(flaws.into_iter().filter(|flaw| is_strict || *flaw != Defect::Control));
        has_control |= controls;
        folded_length |= header == Header::ContentLength && folds > 0;
        let hops = fields.iter().any(|field| field.0 == header) && header == Header::MaxForwards;
        if controls || hops || (MANDATORY.contains(&header) && value.is_empty()) {
            flawed.insert(header.name());
        }
        if SINGLE.contains(&header) && fields.iter().any(|field| field.0 == header) {
            defects.push(Defect::Repeated(header));
        }
        fields.push((header, bytes(name), bytes(value)));
    }

    let first =
        |header| fields.iter().find(|field| field.0 == header).map(|(_, _, value)| text(value));
    for header in MANDATORY {
        defects.extend(first(header).is_none().then_some(Defect::Missing(header)));
    }
    if let Some(value) = first(Header::CSeq) {
        defects.extend(cseq_defect(&value, start.as_ref().ok().map(|(method, _)| method.as_str())));
    }
    if let Some(value) = first(Header::MaxForwards)
        && !(is_digits(&value) && number(&value) <= 255)
    {
        flawed.insert(Header::MaxForwards.name());
    }
    let mut body = body.unwrap_or_default();
    if let Some(value) = first(Header::ContentLength) {
        if !is_digits(&value) {
            defects.push(Defect::ContentLength);
        } else if number(&value) > body.len() as u128 {
            defects.push(Defect::BodyTooShort);
        } else {
            body.truncate(usize::try_from(number(&value)).unwrap());
        }
    }
    let defect = defects.first().copied();
    defects.extend(trailing_space.then_some(Defect::RequestLine));
    defects.extend(has_control.then_some(Defect::Control));
    defects.extend(folded_length.then_some(Defect::ContentLength));
    let stream_defect = defects.first().copied();
    let message =
        OracleMessage { start, fields, body, defect, stream_defect, flawed, trailing_space };
    Some((message, defects))
}

type Start = Result<(String, String), u16>;

fn start_line(line: &str) -> Option<(Start, Option<Defect>)> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (word, rest) = line.split_once(' ')?;
    let is_sip = |text: &str| text.to_ascii_uppercase().starts_with("SIP/");
    let version = |text: &str| (!text.eq_ignore_ascii_case("SIP/2.0")).then_some(Defect::Version);
    if is_sip(word) {
        let code: String = rest.chars().take(3).collect();
        let reason: String = rest.chars().skip(3).collect();
        if code.len() != 3 || !is_digits(&code) || !(reason.is_empty() || reason.starts_with(' ')) {
            return None;
        }
        let code = code.parse().unwrap();
        let bad = !(100..=699).contains(&code) || reason.is_empty();
        return Some((Err(code), bad.then_some(Defect::StatusLine).or(version(word))));
    }
    if !is_token(word) {
        return None;
    }
    let (uri, sip) = rest.trim_matches(SPACE).rsplit_once(' ')?;
    if !is_sip(sip) {
        return None;
    }
    let uri = uri.trim_matches(SPACE);
    let mut defects = vec![];
    if format!("{uri} {sip}") != rest.trim_end_matches([' ', '\t']) {
        defects.push(Defect::RequestLine);
    }
    defects.extend(version(sip));
    if uri.chars().any(|c| !('!'..='~').contains(&c) || "<>\"".contains(c)) {
        defects.push(Defect::RequestUri);
    }
    let uri = String::from_utf8(bytes(uri)).unwrap_or_default();
    Some((Ok((word.to_owned(), uri)), defects.first().copied()))
}

fn line_defect(line: &str, fold: bool) -> Option<Defect> {
    let Some(text) = line.strip_suffix("\r\n") else { return Some(Defect::LineEnd) };
    if text.contains('\r') {
        Some(Defect::LineEnd)
    } else if fold && text.chars().all(|c| c == ' ' || c.is_ascii_control()) {
        Some(Defect::Fold)
    } else {
        text.chars().any(|c| c.is_ascii_control() && c != '\t').then_some(Defect::Control)
    }
}

fn cseq_defect(value: &str, method: Option<&str>) -> Option<Defect> {
    let after = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &value[..value.len() - after.len()];
    let named = after.trim_matches(SPACE);
    let sound = is_digits(digits) && number(digits) < 1 << 32;
    if !sound || !after.starts_with(SPACE) || !is_token(named) {
        return Some(Defect::CSeq);
    }
    method.is_some_and(|method| method != named).then_some(Defect::CSeqMethod)
}
