//! Computing the response that right credentials have, and comparing it in constant time
//! (RFC 7616 §3.4.1 to §3.4.3).

use arrayvec::{ArrayString, ArrayVec};
use zeroize::Zeroize;

use super::credentials::Credentials;
use super::hash::{hex16, hex32, md5, md5_beside, same_hex, sha256, sha512_256};
use super::{Algorithm, HashFunction, Qop};

/// A hash in lower-case hexadecimal.
type Hex = ArrayVec<u8, 64>;

/// Long enough for the second part of every response: a method of 16 bytes, the longest digest-uri,
/// a hash, and two colons.
const MAX_A2: usize = 16 + 1024 + 64 + 2;
/// Long enough for every response: two hashes, the longest nonce and cnonce, a count, `auth-int`,
/// and five colons.
const MAX_RESPONSE: usize = 2 * 64 + 2 * 256 + 8 + 8 + 5;

/// What is hashed, put together in a fixed buffer.
struct Text<const N: usize> {
    bytes: ArrayVec<u8, N>,
    /// A part did not fit, so what is here means nothing.
    is_cut: bool,
}

impl<const N: usize> Text<N> {
    fn new() -> Self {
        Self { bytes: ArrayVec::new(), is_cut: false }
    }

    #[inline]
    fn push(&mut self, part: &[u8]) {
        self.is_cut |= self.bytes.try_extend_from_slice(part).is_err();
    }

    /// The parts with a colon between each two.
    #[inline]
    fn join(&mut self, parts: &[&[u8]]) {
        join(parts, &mut |part| self.push(part));
    }

    /// All that was put in; none if something did not fit.
    #[inline]
    fn whole(&self) -> Option<&[u8]> {
        (!self.is_cut).then_some(&self.bytes)
    }
}

/// Nothing here is secret but H(A1), with which a response begins.
impl<const N: usize> Drop for Text<N> {
    fn drop(&mut self) {
        if let Some(ha1) = self.bytes.first_chunk_mut::<64>() {
            wipe(ha1);
        }
    }
}

/// Zeros in place of a secret, by words: `zeroize` writes byte by byte.
fn wipe(bytes: &mut [u8; 64]) {
    *bytes = [0; 64];
    zeroize::optimization_barrier(bytes);
}

/// Writes the parts with a colon between each two.
#[inline(always)]
fn join(parts: &[&[u8]], write: &mut impl FnMut(&[u8])) {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            write(b":");
        }
        write(part);
    }
}

/// Writes A2 (RFC 7616 §3.4.3). The body counts with `qop=auth-int` only.
#[inline(always)]
pub(super) fn a2(
    credentials: &Credentials<'_>,
    method: &[u8],
    body: &[u8],
    mut write: impl FnMut(&[u8]),
) {
    join(&[method, credentials.uri], &mut write);
    if credentials.qop.is_some_and(|fields| fields.qop == Qop::AuthInt) {
        let body = hex_of(credentials.algorithm.hash_function(), body);
        join(&[b"", &body], &mut write);
    }
}

/// Writes what the response is the hash of, without H(A2) at its end (RFC 7616 §3.4.1).
#[inline(always)]
pub(super) fn unfinished(credentials: &Credentials<'_>, ha1: &[u8], mut write: impl FnMut(&[u8])) {
    let Credentials { nonce, qop, .. } = credentials;
    match qop {
        Some(fields) => {
            let qop = fields.qop.name().as_bytes();
            join(&[ha1, nonce, fields.nc_text, fields.cnonce, qop, b""], &mut write);
        }
        None => join(&[ha1, nonce, b""], &mut write),
    }
}

/// H(A1) in hexadecimal, as it goes into the response: of a `-sess` algorithm it takes in nonce and
/// cnonce (RFC 7616 §3.4.2).
fn ha1_in_response(credentials: &Credentials<'_>, ha1: &[u8]) -> Hex {
    let plain = hex(ha1);
    let Credentials { algorithm, nonce, qop, .. } = credentials;
    if !algorithm.is_session() {
        return plain;
    }
    let cnonce = qop.map_or(&[][..], |fields| fields.cnonce);
    let mut text = Text::<MAX_RESPONSE>::new();
    text.join(&[&plain, nonce, cnonce]);
    text.whole().map(|text| hex_of(algorithm.hash_function(), text)).unwrap_or_default()
}

/// The response that a header should have. H(A2) is computed once, however many users of one name
/// it is compared for.
pub(crate) struct ExpectedResponse<'c, 'a> {
    credentials: &'c Credentials<'a>,
    method: &'c [u8],
    body: &'c [u8],
    ha2: Option<Hex>,
}

impl<'c, 'a> ExpectedResponse<'c, 'a> {
    /// That of an INVITE with this header and body.
    pub(crate) fn new(credentials: &'c Credentials<'a>, body: &'c [u8]) -> Self {
        Self::with_method(credentials, b"INVITE", body)
    }

    /// That of another request. A method of more than 16 bytes has none.
    pub(crate) fn with_method(
        credentials: &'c Credentials<'a>,
        method: &'c [u8],
        body: &'c [u8],
    ) -> Self {
        Self { credentials, method, body, ha2: None }
    }

    /// Whether the header's response is the one that `ha1` makes. The time depends on lengths and
    /// the algorithm, never on a value. Hexadecimal is taken in either case.
    pub(crate) fn equals(&mut self, ha1: &[u8]) -> bool {
        let function = self.credentials.algorithm.hash_function();
        if ha1.len() != function.output_len() {
            return false;
        }
        let mut ha1 = ha1_in_response(self.credentials, ha1);
        let mut text = Text::<MAX_RESPONSE>::new();
        unfinished(self.credentials, &ha1, |part| text.push(part));
        ha1.as_mut_slice().zeroize();
        let begun = match &self.ha2 {
            Some(ha2) => {
                text.push(ha2);
                None
            }
            None => {
                let mut second = Text::<MAX_A2>::new();
                a2(self.credentials, self.method, self.body, |part| second.push(part));
                let Some(second) = second.whole() else { return false };
                // the two do not depend on each other, so they are hashed side by side
                let (ha2, begun) = match text.bytes.first_chunk() {
                    Some(first) if function == HashFunction::Md5 => {
                        let (ha2, begun) = md5_beside(second, first);
                        (hex(&ha2), Some(begun))
                    }
                    _ => (hex_of(function, second), None),
                };
                text.push(&ha2);
                self.ha2 = Some(ha2);
                begun
            }
        };
        let Some(message) = text.whole() else { return false };
        let sent = self.credentials.response;
        match begun {
            Some(begun) => {
                let tail = message.get(64..).unwrap_or_default();
                equal(&hex16(&begun.finish(tail, message.len())), sent)
            }
            None => equal(&hex_of(function, message), sent),
        }
    }
}

/// Whether a response is the expected one, in hexadecimal of either case. The time depends on the
/// lengths alone.
pub(super) fn equal(expected: &[u8], response: &[u8]) -> bool {
    match expected.len() {
        32 => expected.as_array::<32>().is_some_and(|expected| same_hex(expected, response)),
        _ => expected.as_array::<64>().is_some_and(|expected| same_hex(expected, response)),
    }
}

/// The bytes that stand in for the hash of a user that cannot be verified, cut to the length of a
/// real one, so that a miss takes the time of a hit.
pub(crate) fn decoy(algorithm: Algorithm, random: &[u8; 32]) -> &[u8] {
    let (ha1, _) = random.split_at(algorithm.hash_function().output_len());
    ha1
}

/// H(username:realm), as `userhash=true` sends it (RFC 7616 §3.4.4), in lower-case hexadecimal.
pub(crate) fn userhash(function: HashFunction, username: &str, realm: &str) -> ArrayString<64> {
    // a name has at most 64 bytes and a realm 255
    let mut text = Text::<320>::new();
    text.join(&[username.as_bytes(), realm.as_bytes()]);
    let hash = text.whole().map(|text| hex_of(function, text)).unwrap_or_default();
    // hexadecimal of at most 64 digits always fits
    std::str::from_utf8(&hash)
        .ok()
        .and_then(|text| ArrayString::from(text).ok())
        .unwrap_or_default()
}

fn hex_of(function: HashFunction, message: &[u8]) -> Hex {
    match function {
        HashFunction::Md5 => hex(&md5(message)),
        HashFunction::Sha256 => hex(&sha256(message)),
        HashFunction::Sha512_256 => hex(&sha512_256(message)),
    }
}

/// Nothing for what is no hash; it equals no response.
fn hex(hash: &[u8]) -> Hex {
    let mut text = Hex::new();
    let written = match (hash.as_array::<16>(), hash.as_array::<32>()) {
        (Some(hash), _) => text.try_extend_from_slice(&hex16(hash)),
        (_, Some(hash)) => text.try_extend_from_slice(&hex32(hash)),
        _ => Ok(()),
    };
    debug_assert!(written.is_ok(), "64 digits fit");
    text
}
