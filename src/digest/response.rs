//! Computes the expected response and compares it in constant time (RFC 7616 §3.4.1 to §3.4.3).

use std::cell::OnceCell;

use arrayvec::ArrayString;

use sip_authz_arch::Message;

use super::bytes::Bytes;
use super::credentials::{Credentials, MAX_DIGEST_URI};
use super::function::{HashImpl, HashVisitor, MAX_HEX_LEN, MAX_OUTPUT_LEN};
use super::hash::same_hex;
use super::{Algorithm, HashFunction};
use crate::method::{MAX_METHOD, Method};

/// The body of a request, hashed at most once with each function.
pub(crate) struct Body<'a> {
    bytes: &'a [u8],
    hashes: [OnceCell<HexText>; HashFunction::COUNT],
}

impl<'a> Body<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hashes: [const { OnceCell::new() }; HashFunction::COUNT] }
    }

    #[inline(never)]
    fn hash(&self, function: HashFunction) -> HexText {
        let make = || hex_of(function, self.bytes);
        // there is a place for each function
        self.hashes.get(function.index()).map_or_else(make, |place| *place.get_or_init(make))
    }
}

/// A hash in hexadecimal.
pub(crate) type HexText = ArrayString<MAX_HEX_LEN>;

/// Blocks for the texts of nearly all headers.
const TYPICAL_BLOCKS: usize = 4;
/// Blocks for any text. The longest text is A2: a method, the longest digest-uri, a hash, two
/// colons and nine bytes of padding. The input of the response is shorter: two hashes, the longest
/// nonce and cnonce, a count, `auth-int` and five colons.
const MAX_BLOCKS: usize = (MAX_METHOD + MAX_DIGEST_URI + MAX_HEX_LEN + 2 + 9).div_ceil(64);
const _: () = assert!(MAX_BLOCKS * 64 > 2 * MAX_HEX_LEN + 2 * 256 + 8 + 8 + 5 + 9);

/// Hash input, concatenated in place. In a response it starts with H(A1), so it is wiped on drop.
struct Text<const B: usize> {
    message: Message<B>,
    /// Whether a part did not fit, so that the message is incomplete. False at first: an empty text is
    /// all zeros, which is cheaper to write than to copy.
    is_cut: bool,
}

impl<const B: usize> Text<B> {
    const EMPTY: Self = Self { message: Message::EMPTY, is_cut: false };

    #[inline(always)]
    fn push(&mut self, part: &[u8]) {
        self.is_cut |= !self.message.push(part);
    }

    /// The message; `None` if a part did not fit.
    #[inline(always)]
    fn whole(&mut self) -> Option<&mut Message<B>> {
        (!self.is_cut).then_some(&mut self.message)
    }
}

impl<const B: usize> Drop for Text<B> {
    fn drop(&mut self) {
        self.message.wipe();
    }
}

/// Writes the parts, separated by colons.
#[inline(always)]
fn join(parts: &[&[u8]], write: &mut impl FnMut(&[u8])) {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            write(b":");
        }
        write(part);
    }
}

/// Writes A2 (RFC 7616 §3.4.3). It includes the body only with `qop=auth-int`.
#[inline(always)]
pub(super) fn a2(
    credentials: &Credentials<'_>,
    method: Method<'_>,
    body: &Body<'_>,
    mut write: impl FnMut(&[u8]),
) {
    match method.other() {
        // a text of constant length is written without a loop
        None => write(b"INVITE"),
        Some(method) => write(method.as_bytes()),
    }
    join(&[b"", credentials.uri], &mut write);
    if credentials.covers_body() {
        join(&[b"", body.hash(credentials.algorithm.hash_function()).as_bytes()], &mut write);
    }
}

/// Writes the input of the response hash, without H(A2) at its end (RFC 7616 §3.4.1).
#[inline(always)]
pub(super) fn response_prefix(
    credentials: &Credentials<'_>,
    ha1: &[u8],
    mut write: impl FnMut(&[u8]),
) {
    let Credentials { nonce, qop, .. } = credentials;
    match qop {
        Some(fields) => {
            let qop = fields.qop.name().as_bytes();
            join(&[ha1, nonce, fields.nc_text, fields.cnonce, qop, b""], &mut write);
        }
        None => join(&[ha1, nonce, b""], &mut write),
    }
}

/// H(A1) of a `-sess` algorithm in hexadecimal, which includes nonce and cnonce (RFC 7616 §3.4.2).
#[inline(never)]
fn session<F: HashImpl>(credentials: &Credentials<'_>, ha1: &F::Hex) -> F::Hex {
    let cnonce = credentials.qop.map_or(&[][..], |fields| fields.cnonce);
    let mut text = Text::<MAX_BLOCKS>::EMPTY;
    join(&[ha1.as_bytes(), credentials.nonce, cnonce], &mut |part| text.push(part));
    // a hash and two bounded values always fit
    F::hex(&F::hash(text.message.text()))
}

/// The expected response of a header. H(A2) is computed once for all users that are compared.
pub(crate) struct ExpectedResponse<'c, 'a> {
    credentials: &'c Credentials<'a>,
    method: Method<'c>,
    body: &'c Body<'c>,
    ha2: Option<[u8; MAX_HEX_LEN]>,
}

impl<'c, 'a> ExpectedResponse<'c, 'a> {
    /// For a request with this header, method and body. A method of more than [`MAX_METHOD`] bytes
    /// may not match.
    pub(crate) fn new(
        credentials: &'c Credentials<'a>,
        method: Method<'c>,
        body: &'c Body<'c>,
    ) -> Self {
        Self { credentials, method, body, ha2: None }
    }

    /// Whether the header's response, in either case, matches `ha1`. The time depends on the
    /// lengths and the algorithm only, never on a value.
    pub(crate) fn equals(&mut self, ha1: &[u8]) -> bool {
        struct Equals<'e, 'c, 'a>(&'e mut ExpectedResponse<'c, 'a>, &'e [u8]);

        impl HashVisitor for Equals<'_, '_, '_> {
            type Out = bool;

            #[inline(always)]
            fn visit<F: HashImpl>(self) -> bool {
                let Self(expected, ha1) = self;
                F::Output::from_slice(ha1).is_some_and(|ha1| expected.equals_with::<F>(ha1))
            }
        }

        self.credentials.algorithm.hash_function().with(Equals(self, ha1))
    }

    #[inline(always)]
    fn equals_with<F: HashImpl>(&mut self, ha1: &F::Output) -> bool {
        let equal = if self.is_typical::<F>() {
            self.equals_within::<F, TYPICAL_BLOCKS>(ha1)
        } else {
            self.equals_long::<F>(ha1)
        };
        equal.unwrap_or(false)
    }

    /// Whether both texts certainly fit into [`TYPICAL_BLOCKS`], with nine bytes of padding. Checked
    /// before anything is hashed.
    #[inline(always)]
    fn is_typical<F: HashImpl>(&self) -> bool {
        /// The longest qop, a count, and the colons of the response or of A2.
        const FIXED: usize = "auth-int".len() + 8 + 5;
        let Credentials { nonce, uri, qop, .. } = self.credentials;
        let cnonce = qop.map_or(0, |fields| fields.cnonce.len());
        let response = 2 * F::Hex::LEN + nonce.len() + cnonce + FIXED;
        let a2 = self.method.name().len() + uri.len() + F::Hex::LEN + 2;
        response.max(a2) <= TYPICAL_BLOCKS * 64 - 9
    }

    /// The slow path for long texts.
    #[cold]
    fn equals_long<F: HashImpl>(&mut self, ha1: &F::Output) -> Option<bool> {
        self.equals_within::<F, MAX_BLOCKS>(ha1)
    }

    /// Returns `None` if a text does not fit into `B` blocks; that depends on the lengths only.
    #[inline(always)]
    fn equals_within<F: HashImpl, const B: usize>(&mut self, ha1: &F::Output) -> Option<bool> {
        let mut digits = F::hex(ha1);
        if self.credentials.algorithm.is_session() {
            digits = session::<F>(self.credentials, &digits);
        }
        let mut text = Text::<B>::EMPTY;
        response_prefix(self.credentials, digits.as_bytes(), |part| text.push(part));
        digits = F::Hex::ZERO;
        zeroize::optimization_barrier(&digits);
        let mut partial = F::Partial::default();
        if self.ha2.is_none() {
            // A2 is not secret
            let (mut second, mut fits) = (Message::<B>::EMPTY, true);
            a2(self.credentials, self.method, self.body, |part| fits &= second.push(part));
            if !fits {
                return None;
            }
            // the two are independent, so they can be hashed at the same time
            let hash;
            (hash, partial) = F::hash_interleaved(&mut second, text.whole()?);
            let ha2 = self.ha2.insert([0; MAX_HEX_LEN]);
            *F::Hex::prefix_mut(ha2)? = F::hex(&hash);
        }
        text.push(self.ha2.as_ref()?.get(..F::Hex::LEN)?);
        let hash = F::finalize(partial, text.whole()?);
        Some(same_hex(&F::hex(&hash), self.credentials.response))
    }
}

/// A random value in place of the H(A1) of an unknown user, with the length of a real hash, so that
/// a miss takes the same time as a hit.
pub(crate) fn decoy(algorithm: Algorithm, random: &[u8; MAX_OUTPUT_LEN]) -> &[u8] {
    // no hash is longer
    random.get(..algorithm.hash_function().output_len()).unwrap_or(random)
}

/// H(username:realm) of `userhash=true` (RFC 7616 §3.4.4), in lower-case hexadecimal.
pub(crate) fn userhash(function: HashFunction, username: &str, realm: &str) -> HexText {
    // at most 64 bytes of name and 255 bytes of realm
    let mut text = Text::<MAX_BLOCKS>::EMPTY;
    join(&[username.as_bytes(), realm.as_bytes()], &mut |part| text.push(part));
    text.whole().map(|text| hex_of(function, text.text())).unwrap_or_default()
}

/// The hash of a message in lower-case hexadecimal.
fn hex_of(function: HashFunction, message: &[u8]) -> HexText {
    struct HexOf<'m>(&'m [u8]);

    impl HashVisitor for HexOf<'_> {
        type Out = Option<HexText>;

        fn visit<F: HashImpl>(self) -> Option<HexText> {
            let digits = F::hex(&F::hash(self.0));
            // hex digits are UTF-8, and the longest hash fits
            str::from_utf8(digits.as_bytes()).ok().and_then(|text| HexText::from(text).ok())
        }
    }

    function.with(HexOf(message)).unwrap_or_default()
}
