//! The value of a `Proxy-Authorization` or `Authorization` header (RFC 7616 §3.4, grammar of
//! RFC 3261 §25.1), read without allocating. Any doubt about it is a refusal.

use std::fmt;
use std::ops::Deref;

use arrayvec::{ArrayString, ArrayVec};

use super::function::{Algorithm, MAX_HEX_LEN, MIN_HEX_LEN};
use crate::digest::Qop;

mod reader;
mod usual;

use reader::{Reader, Value};

/// The longest username in bytes, after unescaping or decoding.
pub const MAX_USERNAME: usize = 64;

/// The longest digest-uri in bytes.
pub(super) const MAX_DIGEST_URI: usize = 1024;
/// The longest `response` in bytes.
const MAX_RESPONSE: usize = 128;
const _: () = assert!(MAX_RESPONSE >= MAX_HEX_LEN, "a response is a hash in hexadecimal");

/// A text of at most `N` bytes, stored in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InlineText<const N: usize>(pub(crate) ArrayString<N>);

/// A user name of at most [`MAX_USERNAME`] bytes, stored in place.
pub type InlineName = InlineText<MAX_USERNAME>;

impl<const N: usize> InlineText<N> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> Default for InlineText<N> {
    fn default() -> Self {
        Self(ArrayString::new())
    }
}

impl<const N: usize> Deref for InlineText<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Hides the text, since a log may show it.
impl<const N: usize> fmt::Debug for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineText(..)")
    }
}

impl<const N: usize> fmt::Display for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of at most [`MAX_USERNAME`] bytes, if it is text. It is checked with the zeros behind it, as
/// that goes by words: a short text alone would be looked at byte by byte.
#[inline]
pub(crate) fn username(name: &[u8]) -> Option<InlineName> {
    let mut padded = [0; MAX_USERNAME];
    padded.get_mut(..name.len())?.copy_from_slice(name);
    let mut text = ArrayString::from_byte_string(&padded).ok()?;
    text.truncate(name.len());
    Some(InlineText(text))
}

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
#[non_exhaustive]
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
#[non_exhaustive]
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
    Plain(InlineName),
    /// `userhash=true`: a hash in hexadecimal, in lower case.
    Hash(InlineText<MAX_HEX_LEN>),
}

impl Username {
    /// The name, or the digits of the hash.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plain(name) => name,
            Self::Hash(hash) => hash,
        }
    }
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
#[non_exhaustive]
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
            Self::Response => MAX_RESPONSE,
            _ => MAX_DIGEST_URI,
        }
    }

    /// Whether the value goes into the digest as sent. An escape in it could be hashed in two ways.
    const fn is_taken_as_sent(self) -> bool {
        matches!(self, Self::Nonce | Self::Uri | Self::Response | Self::Cnonce)
    }
}

/// Why a header for our realm is refused before any user is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// `userhash` neither true nor false; or true, and no hash in hexadecimal in `username`.
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
    usual::usual(value, realm).map_or_else(|| parse_any(value, realm), Parsed::Credentials)
}

/// The same by the whole grammar.
#[cold]
fn parse_any<'a>(value: &'a [u8], realm: &str) -> Parsed<'a> {
    let mut reader = Reader::new(value);
    let mut fields = Fields::default();
    if !reader.digest_scheme() {
        return Parsed::Ignored;
    }
    while reader.next_element() {
        let parameter = reader.parameter();
        if let Some((name, value)) = parameter {
            fields.add(name, value, realm);
        }
        if parameter.is_none() || !reader.element_ends() {
            fields.fail(MalformedCredentials::Syntax);
            break;
        }
    }
    fields.finish()
}

/// What was read so far: the last value of each parameter, by `Parameter as usize`.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<Value<'a>>; Parameter::Other as usize + 1],
    /// A bit for each parameter that came, but for the other ones, which may come again.
    seen: u16,
    is_ours: bool,
    fault: Option<MalformedCredentials>,
}

impl<'a> Fields<'a> {
    fn fail(&mut self, fault: MalformedCredentials) {
        self.fault.get_or_insert(fault);
    }

    fn add(&mut self, parameter: Parameter, value: Value<'a>, realm: &str) {
        let bit = 1 << (parameter as u16) & !(1 << (Parameter::Other as u16));
        if self.seen & bit != 0 {
            self.fail(MalformedCredentials::Duplicate(parameter));
        }
        self.seen |= bit;
        if value.raw.len() > parameter.max_len() {
            self.fail(MalformedCredentials::TooLong(parameter));
        }
        if value.escaped && parameter.is_taken_as_sent() {
            self.fail(MalformedCredentials::Backslash(parameter));
        }
        if let Some(place) = self.values.get_mut(parameter as usize) {
            *place = Some(value);
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
        let missing = MalformedCredentials::Missing(Parameter::Username);
        if is_hash {
            let hash = match (self.value(Parameter::Username), self.get(Parameter::UsernameExt)) {
                (None, None) => Err(missing),
                (Some(_), Some(_)) => Err(MalformedCredentials::TwoUsernames),
                (None, Some(_)) => Err(MalformedCredentials::BadUserhash),
                (Some(value), None) => plain_username::<MAX_HEX_LEN>(value),
            }?;
            return match hash.len() {
                0 => Err(missing),
                _ => hashed_name(hash).ok_or(MalformedCredentials::BadUserhash),
            };
        }
        let name = match (self.value(Parameter::Username), self.value(Parameter::UsernameExt)) {
            (None, None) => Err(missing),
            (Some(_), Some(_)) => Err(MalformedCredentials::TwoUsernames),
            (Some(value), None) => plain_username(value),
            (None, Some(value)) => decoded_username(value),
        }?;
        if name.is_empty() { Err(missing) } else { Ok(Username::Plain(name)) }
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

/// The claimed hash, if it is as long as one may be and hexadecimal.
fn hashed_name(mut hash: InlineText<MAX_HEX_LEN>) -> Option<Username> {
    if hash.len() < MIN_HEX_LEN || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    hash.0.make_ascii_lowercase();
    Some(Username::Hash(hash))
}

/// `username`, unescaped.
fn plain_username<const N: usize>(value: Value<'_>) -> Result<InlineText<N>, MalformedCredentials> {
    if !value.escaped {
        return checked_name(value.raw, Parameter::Username);
    }
    let mut name = ArrayVec::<u8, N>::new();
    for byte in value.unescaped() {
        name.try_push(byte).map_err(|_| MalformedCredentials::TooLong(Parameter::Username))?;
    }
    checked_name(&name, Parameter::Username)
}

/// Before the percent-encoded text of `username*`: the charset, in any case, and no language.
const EXT_PREFIX: &[u8] = b"UTF-8''";

/// `username*`, decoded (RFC 8187 §3.2.1).
fn decoded_username(value: Value<'_>) -> Result<InlineName, MalformedCredentials> {
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

fn checked_name<const N: usize>(
    name: &[u8],
    parameter: Parameter,
) -> Result<InlineText<N>, MalformedCredentials> {
    if name.len() > N {
        return Err(MalformedCredentials::TooLong(parameter));
    }
    let text = str::from_utf8(name)
        .ok()
        .filter(|text| !text.contains(char::is_control))
        .ok_or(MalformedCredentials::BadUsername)?;
    ArrayString::from(text).map(InlineText).map_err(|_| MalformedCredentials::TooLong(parameter))
}

/// `nc`: exactly eight hex digits, and not zero (RFC 7616 §3.4).
fn nonce_count(text: &[u8]) -> Option<u32> {
    let digits: &[u8; 8] = text.try_into().ok()?;
    hex(digits).filter(|&count| count != 0)
}

/// The number that at most eight hex digits stand for.
#[inline]
fn hex<const N: usize>(digits: &[u8; N]) -> Option<u32> {
    let (mut number, mut seen) = (0, 0);
    for digit in digits {
        let value = DIGITS.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        seen |= value;
        number = number << 4 | u32::from(value & 15);
    }
    (seen < 16).then_some(number)
}

const NO_DIGIT: u8 = 0xff;

/// The value of each hex digit.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0_u8;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        digits[digit as usize] = value;
        digits[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    digits
};

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
        assert_eq!(credentials.username, Username::Plain(username(b"bob").unwrap()));
        assert_eq!(credentials.nonce, b"n0nce");
        assert_eq!(credentials.algorithm, Algorithm::Md5Sess);
        let qop = credentials.qop.map(|fields| (fields.qop, fields.nc, fields.cnonce));
        assert_eq!(qop, Some((Qop::Auth, 10, b"c".as_slice())));
    }
}
