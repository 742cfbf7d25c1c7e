//! The value of a `Proxy-Authorization` or `Authorization` header (RFC 7616 §3.4, grammar of
//! RFC 3261 §25.1), read in one pass without allocating. Any doubt about it is a refusal.

use std::fmt;

use arrayvec::{ArrayString, ArrayVec};

use crate::digest::algorithm::{Algorithm, Qop};

/// The longest username in bytes, after unescaping or decoding.
pub const MAX_USERNAME: usize = 64;

/// A claimed name, kept inline.
type Name = ArrayString<MAX_USERNAME>;

/// What a credentials header says to the one who asked with a given realm.
#[derive(Debug)]
#[must_use]
pub enum Parsed<'a> {
    /// Not Digest, or no realm equal to ours could be read: the header counts for nothing.
    Ignored,
    /// Ours, with `nonce` and `response` both there and both empty. Some clients send that before
    /// they were challenged; it is no attempt.
    Empty,
    /// Ours, but not well-formed.
    Malformed(MalformedCredentials),
    /// Ours and well-formed. Nothing in it is verified yet.
    Credentials(Credentials<'a>),
}

/// A well-formed credentials header for our realm (RFC 7616 §3.4).
///
/// The borrowed values stand as they were sent, between the quotes where there were any, and hold
/// no backslash and no control character. They need not be UTF-8.
#[derive(Clone)]
pub struct Credentials<'a> {
    /// Who claims to call: 1 to [`MAX_USERNAME`] bytes.
    pub username: Username,
    /// `nonce`: 1 to 256 bytes.
    pub nonce: &'a [u8],
    /// `uri`, the digest-uri: 1 to 1,024 bytes.
    pub uri: &'a [u8],
    /// `response`: 1 to 128 bytes, not checked to be hex digits.
    pub response: &'a [u8],
    /// `algorithm`; MD5 where the parameter is missing (RFC 7616 §3.3).
    pub algorithm: Algorithm,
    /// `qop` and what belongs to it. None is the form of RFC 2069, never with a `-sess` algorithm;
    /// `nc` and `cnonce` count for nothing in it.
    pub qop: Option<QopFields<'a>>,
}

/// Says nothing about user, number or response, for it may end up in a log.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("algorithm", &self.algorithm)
            .field("qop", &self.qop.map(|fields| fields.qop))
            .finish_non_exhaustive()
    }
}

/// The parameters that a response made with `qop` takes in (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug)]
pub struct QopFields<'a> {
    /// `qop`, one value.
    pub qop: Qop,
    /// `cnonce`: 1 to 256 bytes, as sent.
    pub cnonce: &'a [u8],
    /// `nc`, never zero.
    pub nc: u32,
    /// `nc` as sent, eight hex digits in either case.
    pub nc_text: &'a [u8],
}

/// The claimed user (RFC 7616 §3.4 and §3.4.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Username {
    /// A name from `username` (unescaped) or `username*` (decoded), without control characters.
    Plain(Name),
    /// `userhash=true`: 32 to 64 hex digits in lower case.
    Hash(Name),
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Hash(_) => "Hash(..)",
        })
    }
}

/// A parameter of the credentials header (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// `username`.
    Username,
    /// `username*`, a name in the encoding of RFC 8187 §3.2.
    UsernameExt,
    /// `userhash`.
    Userhash,
    /// `realm`.
    Realm,
    /// `nonce`.
    Nonce,
    /// `uri`.
    Uri,
    /// `response`.
    Response,
    /// `algorithm`.
    Algorithm,
    /// `qop`.
    Qop,
    /// `nc`.
    Nc,
    /// `cnonce`.
    Cnonce,
    /// `opaque`.
    Opaque,
    /// Any other auth-param.
    Other,
}

impl Parameter {
    /// The name in lower case; `other` for [`Parameter::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::UsernameExt => "username*",
            Self::Userhash => "userhash",
            Self::Realm => "realm",
            Self::Nonce => "nonce",
            Self::Uri => "uri",
            Self::Response => "response",
            Self::Algorithm => "algorithm",
            Self::Qop => "qop",
            Self::Nc => "nc",
            Self::Cnonce => "cnonce",
            Self::Opaque => "opaque",
            Self::Other => "other",
        }
    }

    fn from_name(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("nc") => Self::Nc,
            3 if is("uri") => Self::Uri,
            3 if is("qop") => Self::Qop,
            5 if is("realm") => Self::Realm,
            5 if is("nonce") => Self::Nonce,
            6 if is("cnonce") => Self::Cnonce,
            6 if is("opaque") => Self::Opaque,
            8 if is("username") => Self::Username,
            8 if is("response") => Self::Response,
            8 if is("userhash") => Self::Userhash,
            9 if is("algorithm") => Self::Algorithm,
            9 if is("username*") => Self::UsernameExt,
            _ => Self::Other,
        }
    }

    /// The longest value in bytes, as sent between the quotes.
    const fn max_len(self) -> usize {
        match self {
            Self::Username => 3 * MAX_USERNAME,
            Self::UsernameExt => EXT_PREFIX.len() + 3 * MAX_USERNAME,
            Self::Realm => 255,
            Self::Nonce | Self::Cnonce | Self::Opaque => 256,
            Self::Response => 128,
            _ => 1024,
        }
    }

    /// Whether the value goes into the digest as sent. An escape in it could be hashed in two ways.
    const fn is_taken_as_sent(self) -> bool {
        matches!(self, Self::Nonce | Self::Uri | Self::Response | Self::Cnonce)
    }
}

/// Why a header for our realm is refused before any user is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MalformedCredentials {
    /// Not the grammar of RFC 3261 §25.1, or a control character in a quoted string.
    Syntax,
    /// A known parameter twice, with whatever values.
    Duplicate(Parameter),
    /// A value over its bound.
    TooLong(Parameter),
    /// A backslash in a value that is hashed as sent.
    Backslash(Parameter),
    /// A mandatory parameter that is not there, or empty. For `qop`: a `-sess` algorithm needs it.
    Missing(Parameter),
    /// `username` and `username*` together (RFC 7616 §3.4).
    TwoUsernames,
    /// A name that is not UTF-8 or holds control characters; `username*` that is not `UTF-8''…`.
    BadUsername,
    /// `userhash` neither true nor false; or true, and no 32 to 64 hex digits in `username`.
    BadUserhash,
    /// An `algorithm` that RFC 7616 and RFC 8760 do not know.
    UnknownAlgorithm,
    /// A `qop` that is not exactly `auth` or `auth-int`.
    UnknownQop,
    /// `nc` that is not eight hex digits, or zero.
    BadNonceCount,
}

impl MalformedCredentials {
    /// The kind, without the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Duplicate(_) => "duplicate",
            Self::TooLong(_) => "too-long",
            Self::Backslash(_) => "backslash",
            Self::Missing(_) => "missing",
            Self::TwoUsernames => "two-usernames",
            Self::BadUsername => "bad-username",
            Self::BadUserhash => "bad-userhash",
            Self::UnknownAlgorithm => "unknown-algorithm",
            Self::UnknownQop => "unknown-qop",
            Self::BadNonceCount => "bad-nonce-count",
        }
    }

    /// The parameter that the kind is about, where it does not say so itself.
    #[must_use]
    pub const fn parameter(self) -> Option<Parameter> {
        match self {
            Self::Duplicate(parameter)
            | Self::TooLong(parameter)
            | Self::Backslash(parameter)
            | Self::Missing(parameter) => Some(parameter),
            _ => None,
        }
    }
}

/// The kind and the parameter: `syntax`, `missing-nonce`.
impl fmt::Display for MalformedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.parameter().map_or(Ok(()), |parameter| write!(f, "-{}", parameter.as_str()))
    }
}

/// Reads a header value, without the header's name and its end of line, for one realm.
///
/// Of several faults the one reported is the first of: a fault of syntax, duplicate, length or
/// backslash, in the order of the text (syntax ends the reading, and a realm after it is not seen);
/// then a fault of a value, in the order username, nonce, uri, response, algorithm, qop, nc,
/// cnonce. A header that is [`Parsed::Empty`] is not asked for the latter.
///
/// Time is linear in the length of `value`.
pub fn parse<'a>(value: &'a [u8], realm: &str) -> Parsed<'a> {
    let mut reader = Reader { rest: value };
    let mut fields = Fields::default();
    if !reader.digest_scheme() {
        return Parsed::Ignored;
    }
    while reader.next_element() {
        let parameter = reader.parameter();
        if let Some((name, value)) = parameter {
            fields.add(Parameter::from_name(name), value, realm);
        }
        if parameter.is_none() || !reader.element_ends() {
            fields.fail(MalformedCredentials::Syntax);
            break;
        }
    }
    fields.finish()
}

/// A value as sent: a token, or what stood between the quotes.
#[derive(Clone, Copy)]
struct Value<'a> {
    raw: &'a [u8],
    quoted: bool,
    /// Whether `raw` holds quoted-pairs. Only ASCII is ever escaped.
    escaped: bool,
}

impl<'a> Value<'a> {
    fn unescaped(self) -> impl Iterator<Item = u8> + 'a {
        let mut bytes = self.raw.iter().copied();
        std::iter::from_fn(move || match bytes.next() {
            Some(b'\\') => bytes.next(),
            byte => byte,
        })
    }

    fn unescapes_to(self, text: &str) -> bool {
        if self.escaped { self.unescaped().eq(text.bytes()) } else { self.raw == text.as_bytes() }
    }
}

const TOKEN: u8 = 1;
const QUOTED_TEXT: u8 = 2;

/// For each byte whether it may stand in a token (RFC 7230 §3.2.6, which has a few characters more
/// than RFC 3261) and, unescaped, in a quoted string.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(byte, b'^'..=b'`' | b'|' | b'~');
        let quoted_text = !byte.is_ascii_control() && byte != b'"' && byte != b'\\';
        classes[byte as usize] = (token as u8 * TOKEN) | (quoted_text as u8 * QUOTED_TEXT);
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

/// Reads the grammar; what it has not read yet is `rest`.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The scheme, whole, and white space behind it.
    fn digest_scheme(&mut self) -> bool {
        self.skip_white_space();
        let is_digest = self.token().eq_ignore_ascii_case(b"Digest");
        is_digest && self.skip_white_space()
    }

    /// Moves to the next list element that is not empty; false at the end.
    fn next_element(&mut self) -> bool {
        self.skip_white_space();
        while self.skip(b',') {
            self.skip_white_space();
        }
        !self.rest.is_empty()
    }

    /// Whether nothing more stands in this list element.
    fn element_ends(&mut self) -> bool {
        self.skip_white_space();
        matches!(self.rest, [] | [b',', ..])
    }

    /// `name = value`.
    fn parameter(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let name = self.token();
        self.skip_white_space();
        if name.is_empty() || !self.skip(b'=') {
            return None;
        }
        self.skip_white_space();
        if self.skip(b'"') {
            return self.quoted().map(|value| (name, value));
        }
        let raw = self.token();
        (!raw.is_empty()).then_some((name, Value { raw, quoted: false, escaped: false }))
    }

    /// The rest of a quoted string, whose opening quote is read.
    fn quoted(&mut self) -> Option<Value<'a>> {
        let mut escaped = false;
        let mut bytes = self.rest.iter().enumerate();
        loop {
            match bytes.find(|&(_, &byte)| !is(byte, QUOTED_TEXT))? {
                (len, b'"') => {
                    let (raw, rest) = self.rest.split_at_checked(len)?;
                    self.rest = rest.get(1..)?;
                    return Some(Value { raw, quoted: true, escaped });
                }
                (_, b'\\') => {
                    escaped = true;
                    bytes.next().filter(|(_, byte)| matches!(byte, b' '..=b'~'))?;
                }
                _ => return None,
            }
        }
    }

    fn token(&mut self) -> &'a [u8] {
        let len = self.rest.iter().take_while(|&&byte| is(byte, TOKEN)).count();
        let (token, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        token
    }

    /// Spaces, tabs and folds (CRLF and a space or tab); whether there were any.
    fn skip_white_space(&mut self) -> bool {
        let before = self.rest.len();
        while let [b' ' | b'\t', rest @ ..] | [b'\r', b'\n', b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.len() < before
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// What was read so far: the last value of each parameter, by `Parameter as usize`.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<Value<'a>>; Parameter::Other as usize + 1],
    is_ours: bool,
    fault: Option<MalformedCredentials>,
}

impl<'a> Fields<'a> {
    fn fail(&mut self, fault: MalformedCredentials) {
        self.fault.get_or_insert(fault);
    }

    fn add(&mut self, parameter: Parameter, value: Value<'a>, realm: &str) {
        let before = self.values.get_mut(parameter as usize).and_then(|seen| seen.replace(value));
        if before.is_some() && parameter != Parameter::Other {
            self.fail(MalformedCredentials::Duplicate(parameter));
        }
        if value.raw.len() > parameter.max_len() {
            self.fail(MalformedCredentials::TooLong(parameter));
        }
        if value.escaped && parameter.is_taken_as_sent() {
            self.fail(MalformedCredentials::Backslash(parameter));
        }
        // A second realm too: which of two is meant is in doubt, so ours among them is enough.
        if parameter == Parameter::Realm {
            self.is_ours |= value.unescapes_to(realm);
        }
    }

    fn value(&self, parameter: Parameter) -> Option<Value<'a>> {
        self.values.get(parameter as usize).copied().flatten()
    }

    fn get(&self, parameter: Parameter) -> Option<&'a [u8]> {
        self.value(parameter).map(|value| value.raw)
    }

    fn required(&self, parameter: Parameter) -> Result<&'a [u8], MalformedCredentials> {
        self.get(parameter)
            .filter(|raw| !raw.is_empty())
            .ok_or(MalformedCredentials::Missing(parameter))
    }

    fn finish(&self) -> Parsed<'a> {
        if !self.is_ours {
            return Parsed::Ignored;
        }
        if let Some(fault) = self.fault {
            return Parsed::Malformed(fault);
        }
        if self.get(Parameter::Nonce) == Some(b"") && self.get(Parameter::Response) == Some(b"") {
            return Parsed::Empty;
        }
        self.credentials().map_or_else(Parsed::Malformed, Parsed::Credentials)
    }

    fn credentials(&self) -> Result<Credentials<'a>, MalformedCredentials> {
        let username = self.username()?;
        let nonce = self.required(Parameter::Nonce)?;
        let uri = self.required(Parameter::Uri)?;
        let response = self.required(Parameter::Response)?;
        let algorithm = self.get(Parameter::Algorithm).map_or(Ok(Algorithm::Md5), |name| {
            Algorithm::from_name(name).ok_or(MalformedCredentials::UnknownAlgorithm)
        })?;
        let qop = self.qop_fields()?;
        if algorithm.is_session() && qop.is_none() {
            return Err(MalformedCredentials::Missing(Parameter::Qop));
        }
        Ok(Credentials { username, nonce, uri, response, algorithm, qop })
    }

    fn username(&self) -> Result<Username, MalformedCredentials> {
        let userhash = self.get(Parameter::Userhash).unwrap_or(b"false");
        let is_hash = userhash.eq_ignore_ascii_case(b"true");
        if !is_hash && !userhash.eq_ignore_ascii_case(b"false") {
            return Err(MalformedCredentials::BadUserhash);
        }
        let mut name = match (self.value(Parameter::Username), self.value(Parameter::UsernameExt)) {
            (None, None) => Err(MalformedCredentials::Missing(Parameter::Username)),
            (Some(_), Some(_)) => Err(MalformedCredentials::TwoUsernames),
            (None, Some(_)) if is_hash => Err(MalformedCredentials::BadUserhash),
            (Some(value), None) => plain_username(value),
            (None, Some(value)) => decoded_username(value),
        }?;
        if name.is_empty() {
            return Err(MalformedCredentials::Missing(Parameter::Username));
        }
        if !is_hash {
            return Ok(Username::Plain(name));
        }
        if name.len() < 32 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MalformedCredentials::BadUserhash);
        }
        name.make_ascii_lowercase();
        Ok(Username::Hash(name))
    }

    fn qop_fields(&self) -> Result<Option<QopFields<'a>>, MalformedCredentials> {
        let Some(qop) = self.get(Parameter::Qop) else { return Ok(None) };
        let qop = Qop::from_name(qop).ok_or(MalformedCredentials::UnknownQop)?;
        let nc_text = self.required(Parameter::Nc)?;
        let nc = nonce_count(nc_text).ok_or(MalformedCredentials::BadNonceCount)?;
        let cnonce = self.required(Parameter::Cnonce)?;
        Ok(Some(QopFields { qop, cnonce, nc, nc_text }))
    }
}

/// `username`, unescaped.
fn plain_username(value: Value<'_>) -> Result<Name, MalformedCredentials> {
    if !value.escaped {
        return checked_name(value.raw, Parameter::Username);
    }
    let mut name = ArrayVec::<u8, MAX_USERNAME>::new();
    for byte in value.unescaped() {
        name.try_push(byte).map_err(|_| MalformedCredentials::TooLong(Parameter::Username))?;
    }
    checked_name(&name, Parameter::Username)
}

/// Before the percent-encoded text of `username*`: the charset, in any case, and no language.
const EXT_PREFIX: &[u8] = b"UTF-8''";

/// `username*`, decoded (RFC 8187 §3.2.1).
fn decoded_username(value: Value<'_>) -> Result<Name, MalformedCredentials> {
    let (_, encoded) = value
        .raw
        .split_at_checked(EXT_PREFIX.len())
        .filter(|(prefix, _)| !value.quoted && prefix.eq_ignore_ascii_case(EXT_PREFIX))
        .ok_or(MalformedCredentials::BadUsername)?;
    let mut name = ArrayVec::<u8, MAX_USERNAME>::new();
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => bytes.next().zip(bytes.next()).and_then(|(high, low)| hex(&[high, low])),
            b'*' | b'\'' => None,
            byte => Some(u32::from(byte)),
        };
        let byte = decoded
            .and_then(|byte| u8::try_from(byte).ok())
            .ok_or(MalformedCredentials::BadUsername)?;
        name.try_push(byte).map_err(|_| MalformedCredentials::TooLong(Parameter::UsernameExt))?;
    }
    checked_name(&name, Parameter::UsernameExt)
}

fn checked_name(name: &[u8], parameter: Parameter) -> Result<Name, MalformedCredentials> {
    if name.len() > MAX_USERNAME {
        return Err(MalformedCredentials::TooLong(parameter));
    }
    let text = str::from_utf8(name)
        .ok()
        .filter(|text| !text.contains(char::is_control))
        .ok_or(MalformedCredentials::BadUsername)?;
    ArrayString::from(text).map_err(|_| MalformedCredentials::TooLong(parameter))
}

/// `nc`: exactly eight hex digits, and not zero (RFC 7616 §3.4).
fn nonce_count(text: &[u8]) -> Option<u32> {
    (text.len() == 8).then(|| hex(text)).flatten().filter(|&count| count != 0)
}

/// The number that at most eight hex digits stand for.
fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, &digit| Some((number << 4) | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_without_their_quotes() {
        let header = concat!(
            r#"Digest username="b\ob",realm="a",nonce="n0nce",uri="sip:100@sip.example","#,
            r#"response="0123456789abcdef",algorithm=MD5-sess,qop=auth,nc=0000000A,cnonce="c""#,
        );
        let Parsed::Credentials(credentials) = parse(header.as_bytes(), "a") else {
            panic!("{header}");
        };
        assert_eq!(credentials.username, Username::Plain(ArrayString::from("bob").unwrap()));
        assert_eq!(credentials.nonce, b"n0nce");
        assert_eq!(credentials.algorithm, Algorithm::Md5Sess);
        let qop = credentials.qop.map(|fields| (fields.qop, fields.nc, fields.cnonce));
        assert_eq!(qop, Some((Qop::Auth, 10, b"c".as_slice())));
    }
}
