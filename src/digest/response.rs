//! Computing the response that right credentials have, and comparing it in constant time
//! (RFC 7616 §3.4.1 to §3.4.3).

use arrayvec::ArrayString;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use subtle::ConstantTimeEq;

use super::credentials::Credentials;
use super::{Algorithm, HashFunction, Qop};

/// The longest output of a hash function, in hexadecimal.
const MAX_HEX: usize = 64;

/// What a response is made of besides the user: the header's own values and H(A2), computed once
/// however many lists are tried.
pub(crate) struct Ha2<'c, 'a> {
    credentials: &'c Credentials<'a>,
    ha2: Hex,
}

impl<'c, 'a> Ha2<'c, 'a> {
    /// H(A2) of an INVITE with this header and body. The body counts with `qop=auth-int` only.
    pub(crate) fn new(credentials: &'c Credentials<'a>, body: &[u8]) -> Self {
        Self::with_method(credentials, b"INVITE", body)
    }

    /// The same of another request.
    pub(crate) fn with_method(
        credentials: &'c Credentials<'a>,
        method: &[u8],
        body: &[u8],
    ) -> Self {
        let ha2 = match credentials.algorithm.hash_function() {
            HashFunction::Md5 => ha2::<Md5>(credentials, method, body),
            HashFunction::Sha256 => ha2::<Sha256>(credentials, method, body),
            HashFunction::Sha512_256 => ha2::<Sha512_256>(credentials, method, body),
        };
        Self { credentials, ha2 }
    }

    /// Whether the header's response is the one that `ha1` makes. The time depends on lengths and
    /// the algorithm, never on a value. Hexadecimal is taken in either case.
    pub(crate) fn verify(&self, ha1: &[u8]) -> bool {
        let expected = match self.credentials.algorithm.hash_function() {
            HashFunction::Md5 => self.response::<Md5>(ha1),
            HashFunction::Sha256 => self.response::<Sha256>(ha1),
            HashFunction::Sha512_256 => self.response::<Sha512_256>(ha1),
        };
        let mut sent = [0; MAX_HEX];
        let Some(sent) = sent.get_mut(..self.credentials.response.len()) else { return false };
        sent.copy_from_slice(self.credentials.response);
        sent.make_ascii_lowercase();
        sent.ct_eq(expected.as_bytes()).into()
    }

    fn response<D: Digest>(&self, ha1: &[u8]) -> Hex {
        let Credentials { nonce, algorithm, qop, .. } = self.credentials;
        let mut ha1 = Hex::of(ha1);
        if algorithm.is_session() {
            let cnonce = qop.map_or(&[][..], |fields| fields.cnonce);
            ha1 = joined::<D>(&[ha1.as_bytes(), nonce, cnonce]);
        }
        match qop {
            Some(fields) => joined::<D>(&[
                ha1.as_bytes(),
                nonce,
                fields.nc_text,
                fields.cnonce,
                fields.qop.name().as_bytes(),
                self.ha2.as_bytes(),
            ]),
            None => joined::<D>(&[ha1.as_bytes(), nonce, self.ha2.as_bytes()]),
        }
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
    let parts = [username.as_bytes(), realm.as_bytes()];
    let hash = match function {
        HashFunction::Md5 => joined::<Md5>(&parts),
        HashFunction::Sha256 => joined::<Sha256>(&parts),
        HashFunction::Sha512_256 => joined::<Sha512_256>(&parts),
    };
    // hexadecimal of at most 64 digits always fits
    std::str::from_utf8(hash.as_bytes())
        .ok()
        .and_then(|text| ArrayString::from(text).ok())
        .unwrap_or_default()
}

fn ha2<D: Digest>(credentials: &Credentials<'_>, method: &[u8], body: &[u8]) -> Hex {
    match credentials.qop {
        Some(fields) if fields.qop == Qop::AuthInt => {
            let body = Hex::of(&D::digest(body));
            joined::<D>(&[method, credentials.uri, body.as_bytes()])
        }
        _ => joined::<D>(&[method, credentials.uri]),
    }
}

/// The hash of the parts with a colon between each two, in hexadecimal.
fn joined<D: Digest>(parts: &[&[u8]]) -> Hex {
    let mut hash = D::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    Hex::of(&hash.finalize())
}

/// A hash in lower-case hexadecimal.
struct Hex {
    digits: [u8; MAX_HEX],
    len: usize,
}

impl Hex {
    fn of(bytes: &[u8]) -> Self {
        let mut digits = [0; MAX_HEX];
        let len = bytes.len() * 2;
        // no hash is longer; an impossible one becomes an empty text, which equals no response
        let fits = digits.get_mut(..len).is_some_and(|d| hex::encode_to_slice(bytes, d).is_ok());
        Self { digits, len: if fits { len } else { 0 } }
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }
}
