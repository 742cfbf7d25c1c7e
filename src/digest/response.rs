//! Computing the response that right credentials have, and comparing it in constant time
//! (RFC 7616 §3.4.1 to §3.4.3).

use arrayvec::ArrayString;

use super::credentials::Credentials;
use super::hash::{
    Begun, Message, hex16, hex32, md5, same_hex, sha256, sha256_message, sha512_256,
};
use super::{Algorithm, HashFunction, Qop};

/// Blocks for the texts of nearly all headers.
const USUAL: usize = 4;
/// Blocks for any text: a method of 16 bytes, the longest digest-uri, a hash, two colons and the
/// padding; or two hashes, the longest nonce and cnonce, a count, `auth-int`, and five colons.
const ANY: usize = 18;

/// What is hashed, put together in place. It begins with H(A1) in a response and is wiped.
struct Text<const B: usize> {
    message: Message<B>,
    /// Whether every part did fit; else what is here means nothing.
    is_whole: bool,
}

impl<const B: usize> Text<B> {
    const EMPTY: Self = Self { message: Message::EMPTY, is_whole: true };

    #[inline(always)]
    fn push(&mut self, part: &[u8]) {
        self.is_whole &= self.message.push(part);
    }

    /// All that was put in; none if something did not fit.
    #[inline(always)]
    fn whole(&mut self) -> Option<&mut Message<B>> {
        self.is_whole.then_some(&mut self.message)
    }
}

impl<const B: usize> Drop for Text<B> {
    fn drop(&mut self) {
        self.message.wipe();
    }
}

/// A hash function with hashes of `N` bytes, which are `H` digits, over texts in their places.
trait Function<const N: usize, const H: usize> {
    /// A hash under way.
    type Begun: Default;

    fn of(message: &[u8]) -> [u8; N];

    fn hex(hash: &[u8; N]) -> [u8; H];

    /// The hash of a message, and that of another begun, as far as it costs nothing to do so.
    fn beside<const B: usize>(
        message: &mut Message<B>,
        other: &Message<B>,
    ) -> ([u8; N], Self::Begun);

    fn finish<const B: usize>(begun: Self::Begun, message: &mut Message<B>) -> [u8; N];
}

struct Md5;

impl Function<16, 32> for Md5 {
    type Begun = Begun;

    fn of(message: &[u8]) -> [u8; 16] {
        md5(message)
    }

    fn hex(hash: &[u8; 16]) -> [u8; 32] {
        hex16(hash)
    }

    fn beside<const B: usize>(message: &mut Message<B>, other: &Message<B>) -> ([u8; 16], Begun) {
        Begun::beside(message, other)
    }

    fn finish<const B: usize>(begun: Begun, message: &mut Message<B>) -> [u8; 16] {
        begun.finish(message)
    }
}

struct Sha256;

impl Function<32, 64> for Sha256 {
    type Begun = ();

    fn of(message: &[u8]) -> [u8; 32] {
        sha256(message)
    }

    fn hex(hash: &[u8; 32]) -> [u8; 64] {
        hex32(hash)
    }

    fn beside<const B: usize>(message: &mut Message<B>, _: &Message<B>) -> ([u8; 32], ()) {
        (sha256_message(message), ())
    }

    fn finish<const B: usize>((): (), message: &mut Message<B>) -> [u8; 32] {
        sha256_message(message)
    }
}

struct Sha512;

impl Function<32, 64> for Sha512 {
    type Begun = ();

    fn of(message: &[u8]) -> [u8; 32] {
        sha512_256(message)
    }

    fn hex(hash: &[u8; 32]) -> [u8; 64] {
        hex32(hash)
    }

    fn beside<const B: usize>(message: &mut Message<B>, _: &Message<B>) -> ([u8; 32], ()) {
        (sha512_256(message.text()), ())
    }

    fn finish<const B: usize>((): (), message: &mut Message<B>) -> [u8; 32] {
        sha512_256(message.text())
    }
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
        join(&[b"", hash_of_body(credentials.algorithm, body).as_bytes()], &mut write);
    }
}

#[inline(never)]
fn hash_of_body(algorithm: Algorithm, body: &[u8]) -> ArrayString<64> {
    hex_of(algorithm.hash_function(), body)
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

/// H(A1) in hexadecimal, as it goes into the response of a `-sess` algorithm: it takes in nonce and
/// cnonce (RFC 7616 §3.4.2).
#[inline(never)]
fn session<F: Function<N, H>, const N: usize, const H: usize>(
    credentials: &Credentials<'_>,
    ha1: &[u8; H],
) -> [u8; H] {
    let cnonce = credentials.qop.map_or(&[][..], |fields| fields.cnonce);
    let mut text = Text::<ANY>::EMPTY;
    join(&[ha1, credentials.nonce, cnonce], &mut |part| text.push(part));
    // two bounded values and a hash always fit
    F::hex(&F::of(text.message.text()))
}

/// The response that a header should have. H(A2) is computed once, however many users of one name
/// it is compared for.
pub(crate) struct ExpectedResponse<'c, 'a> {
    credentials: &'c Credentials<'a>,
    method: &'c [u8],
    body: &'c [u8],
    ha2: Option<[u8; 64]>,
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
        match self.credentials.algorithm.hash_function() {
            HashFunction::Md5 => ha1.as_array().is_some_and(|ha1| self.equals_by::<Md5, _, _>(ha1)),
            HashFunction::Sha256 => {
                ha1.as_array().is_some_and(|ha1| self.equals_by::<Sha256, _, _>(ha1))
            }
            HashFunction::Sha512_256 => {
                ha1.as_array().is_some_and(|ha1| self.equals_by::<Sha512, _, _>(ha1))
            }
        }
    }

    #[inline(always)]
    fn equals_by<F: Function<N, H>, const N: usize, const H: usize>(
        &mut self,
        ha1: &[u8; N],
    ) -> bool {
        let equal = self.equals_in::<F, N, H, USUAL>(ha1);
        equal.or_else(|| self.equals_at_length::<F, N, H>(ha1)).unwrap_or(false)
    }

    /// For texts that are longer than most.
    #[cold]
    fn equals_at_length<F: Function<N, H>, const N: usize, const H: usize>(
        &mut self,
        ha1: &[u8; N],
    ) -> Option<bool> {
        self.equals_in::<F, N, H, ANY>(ha1)
    }

    /// The answer, if all texts fit into `B` blocks; that depends on lengths alone.
    #[inline(always)]
    fn equals_in<F: Function<N, H>, const N: usize, const H: usize, const B: usize>(
        &mut self,
        ha1: &[u8; N],
    ) -> Option<bool> {
        let mut digits = F::hex(ha1);
        if self.credentials.algorithm.is_session() {
            digits = session::<F, N, H>(self.credentials, &digits);
        }
        let mut text = Text::<B>::EMPTY;
        unfinished(self.credentials, &digits, |part| text.push(part));
        digits = [0; H];
        zeroize::optimization_barrier(&digits);
        let mut begun = F::Begun::default();
        if self.ha2.is_none() {
            // nothing in it is secret
            let (mut second, mut fits) = (Message::<B>::EMPTY, true);
            a2(self.credentials, self.method, self.body, |part| fits &= second.push(part));
            if !fits {
                return None;
            }
            // the two do not depend on each other, so they may be hashed side by side
            let hash;
            (hash, begun) = F::beside(&mut second, text.whole()?);
            let ha2 = self.ha2.insert([0; 64]);
            *ha2.first_chunk_mut()? = F::hex(&hash);
        }
        text.push(self.ha2.as_ref()?.first_chunk::<H>()?);
        let hash = F::finish(begun, text.whole()?);
        Some(equal(&F::hex(&hash), self.credentials.response))
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
    let mut text = Text::<ANY>::EMPTY;
    join(&[username.as_bytes(), realm.as_bytes()], &mut |part| text.push(part));
    text.whole().map(|text| hex_of(function, text.text())).unwrap_or_default()
}

/// A hash in lower-case hexadecimal.
fn hex_of(function: HashFunction, message: &[u8]) -> ArrayString<64> {
    let text = |digits: &[u8]| {
        // digits are text, and 64 of them fit
        str::from_utf8(digits).ok().and_then(|text| ArrayString::from(text).ok())
    };
    match function {
        HashFunction::Md5 => text(&Md5::hex(&md5(message))),
        HashFunction::Sha256 => text(&Sha256::hex(&sha256(message))),
        HashFunction::Sha512_256 => text(&Sha512::hex(&sha512_256(message))),
    }
    .unwrap_or_default()
}
