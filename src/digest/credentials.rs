//! Parses the value of a `Proxy-Authorization` or `Authorization` header (RFC 7616 §3.4, grammar of
//! RFC 3261 §25.1) without allocation. An ambiguous header is an error.

use std::fmt;
use std::ops::Deref;

use arrayvec::{ArrayString, ArrayVec};

use super::function::{Algorithm, MAX_HEX_LEN, MIN_HEX_LEN};
use crate::digest::Qop;

mod defect;
mod fast;
mod reader;
mod split;

pub use defect::{MalformedCredentials, Parameter};
pub(crate) use fast::parse_fast;
use reader::{Reader, Value};
pub use split::split;

/// The maximum length of a username in bytes, after unescaping or decoding.
pub const MAX_USERNAME: usize = 64;

/// The maximum length of a digest-uri in bytes.
pub(super) const MAX_DIGEST_URI: usize = 1024;
/// The maximum length of `response` in bytes.
const MAX_RESPONSE: usize = 128;
const _: () = assert!(MAX_RESPONSE >= MAX_HEX_LEN, "a response is a hash in hexadecimal");

/// A string of at most `N` bytes, stored inline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InlineText<const N: usize>(pub(crate) ArrayString<N>);

/// A user name of at most [`MAX_USERNAME`] bytes, stored inline.
pub type InlineName = InlineText<MAX_USERNAME>;

impl<const N: usize> InlineText<N> {
    /// The text as `&str`.
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

/// Hides the text, because a log may show it.
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

/// Returns the name if it is UTF-8 and has at most [`MAX_USERNAME`] bytes. Checks it together with
/// zero padding, because a check of whole words is faster than one of single bytes.
#[inline]
pub(crate) fn username(name: &[u8]) -> Option<InlineName> {
    let mut padded = [0; MAX_USERNAME];
    padded.get_mut(..name.len())?.copy_from_slice(name);
    let mut text = ArrayString::from_byte_string(&padded).ok()?;
    text.truncate(name.len());
    Some(InlineText(text))
}

/// The result of parsing a credentials header for one realm.
#[must_use]
pub enum Parsed<'a> {
    /// The scheme is not Digest, or no realm equals ours. The header is ignored.
    Ignored,
    /// Our realm, but the rest does not match the grammar of RFC 3261 §25.1. Counts as no
    /// credentials.
    Unreadable,
    /// Our realm, but `nonce` or `response` is missing or empty, so it answers no challenge. Some
    /// clients send this before their first challenge. Counts as no credentials.
    Incomplete,
    /// Our realm, with a nonce and a response, but not well-formed. A defect only counts if the
    /// nonce is live.
    Malformed {
        /// `nonce`, the last one if there are several.
        nonce: &'a [u8],
        /// The first defect.
        defect: MalformedCredentials,
    },
    /// Our realm and well-formed. Nothing is verified yet.
    Credentials(Credentials<'a>),
}

/// Hides the nonce, because a log may show it.
impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored => f.write_str("Ignored"),
            Self::Unreadable => f.write_str("Unreadable"),
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Malformed { defect, .. } => write!(f, "Malformed({defect})"),
            Self::Credentials(credentials) => credentials.fmt(f),
        }
    }
}

/// A well-formed credentials header for our realm (RFC 7616 §3.4).
///
/// The borrowed values are the bytes as sent, without quotes. They have no backslash and no control
/// character and may be invalid UTF-8.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials<'a> {
    /// The claimed user: 1 to [`MAX_USERNAME`] bytes.
    pub username: Username,
    /// `nonce`: 1 to 256 bytes.
    pub nonce: &'a [u8],
    /// `uri`, the digest-uri: 1 to 1,024 bytes.
    pub uri: &'a [u8],
    /// `response`: 1 to 128 bytes, not checked for hex digits.
    pub response: &'a [u8],
    /// `algorithm`; MD5 if the parameter is missing (RFC 7616 §3.3).
    pub algorithm: Algorithm,
    /// `qop`, `nc` and `cnonce`. `None` for the form of RFC 2069, which ignores `nc` and `cnonce`
    /// and is never used with a `-sess` algorithm.
    pub qop: Option<QopFields<'a>>,
}

impl Credentials<'_> {
    /// Whether the response covers the body (`auth-int`, RFC 7616 §3.4.3).
    pub(crate) fn covers_body(&self) -> bool {
        self.qop.is_some_and(|fields| fields.qop == Qop::AuthInt)
    }
}

/// Hides user, number and response, because a log may show it.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("algorithm", &self.algorithm)
            .field("qop", &self.qop.map(|fields| fields.qop))
            .finish_non_exhaustive()
    }
}

/// The parameters that belong to `qop` (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct QopFields<'a> {
    /// `qop`, a single value.
    pub qop: Qop,
    /// `cnonce`: 1 to 256 bytes, as sent.
    pub cnonce: &'a [u8],
    /// `nc`, never zero.
    pub nc: u32,
    /// `nc` as sent, one to eight hex digits in either case. The digest covers this text.
    pub nc_text: &'a [u8],
}

/// The claimed user (RFC 7616 §3.4 and §3.4.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Username {
    /// A name from `username` (unescaped) or `username*` (decoded), without control characters.
    Plain(InlineName),
    /// `userhash=true`: a hash in lower-case hexadecimal.
    Hash(InlineText<MAX_HEX_LEN>),
}

impl Username {
    /// The name, or the hex digits of the hash.
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

/// Parses one set of credentials for one realm. `value` is a header value without name and line
/// end, or a part of one from [`split`].
///
/// If the credentials have several defects, the result is the first of these:
///
/// 1. [`Parsed::Unreadable`]. A syntax error ends the parsing, so a realm after it is not found;
/// 2. [`Parsed::Incomplete`];
/// 3. a duplicate, a value that is too long, or a backslash, in the order of the text;
/// 4. an invalid value, in the order username, uri, algorithm, qop, nc, cnonce.
///
/// Time is linear in the length of `value`.
pub fn parse<'a>(value: &'a [u8], realm: &str) -> Parsed<'a> {
    parse_fast(value, realm).map_or_else(|| parse_full(value, realm), Parsed::Credentials)
}

/// Whether the scheme of the credentials is Digest.
pub(crate) fn is_digest(value: &[u8]) -> bool {
    Reader::new(value).digest_scheme()
}

/// The full parser: accepts the whole grammar and classifies every defect.
#[cold]
fn parse_full<'a>(value: &'a [u8], realm: &str) -> Parsed<'a> {
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
            return if fields.is_ours { Parsed::Unreadable } else { Parsed::Ignored };
        }
    }
    fields.finish()
}

/// The parameters read so far: the last value of each, by `Parameter as usize`.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<Value<'a>>; Parameter::Other as usize + 1],
    /// A bit for each parameter seen, except [`Parameter::Other`], which may appear several times.
    seen: u16,
    is_ours: bool,
    defect: Option<MalformedCredentials>,
}

impl<'a> Fields<'a> {
    fn fail(&mut self, defect: MalformedCredentials) {
        self.defect.get_or_insert(defect);
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
        // With two realms it is unclear which one counts, so it is enough that one is ours.
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
        let (Ok(nonce), Ok(response)) =
            (self.required(Parameter::Nonce), self.required(Parameter::Response))
        else {
            return Parsed::Incomplete;
        };
        let read = match self.defect {
            Some(defect) => Err(defect),
            None => self.credentials(nonce, response),
        };
        read.map_or_else(|defect| Parsed::Malformed { nonce, defect }, Parsed::Credentials)
    }

    fn credentials(
        &self,
        nonce: &'a [u8],
        response: &'a [u8],
    ) -> Result<Credentials<'a>, MalformedCredentials> {
        let username = self.username()?;
        let uri = self.required(Parameter::Uri)?;
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

/// Returns the claimed hash if it is hexadecimal and not too short.
fn hashed_name(mut hash: InlineText<MAX_HEX_LEN>) -> Option<Username> {
    if hash.len() < MIN_HEX_LEN || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    hash.0.make_ascii_lowercase();
    Some(Username::Hash(hash))
}

/// Unescapes `username`.
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

/// The start of `username*`: the charset, in any case, and an empty language.
const EXT_PREFIX: &[u8] = b"UTF-8''";

/// Decodes `username*` (RFC 8187 §3.2.1).
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

/// Parses `nc`: hex digits, not zero. RFC 7616 §3.4 asks for exactly eight; some clients send
/// fewer, and hash the digits as sent.
fn nonce_count(text: &[u8]) -> Option<u32> {
    let count = match text.try_into() {
        Ok(digits) => hex::<8>(digits),
        Err(_) => {
            // an empty text is a zero
            let mut digits = [b'0'; 8];
            let start = digits.len().checked_sub(text.len())?;
            digits.get_mut(start..)?.copy_from_slice(text);
            hex(&digits)
        }
    };
    count.filter(|count| *count != 0)
}

/// Parses at most eight hex digits.
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
    fn quotes_are_not_part_of_a_value() {
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
