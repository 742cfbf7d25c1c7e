//! Verifies the responses of several headers in parallel lanes.

use arrayvec::ArrayVec;

use sip_authz_arch::Message;

use super::bytes::Bytes;
use super::credentials::Credentials;
use super::function::{HashImpl, HashVisitor};
use super::hash::same_hex;
use super::response::{Body, a2, response_prefix};
use super::{HashFunction, Qop};
use crate::method::Method;

/// The maximum number of headers in a batch.
pub(crate) const MAX_BATCH: usize = 32;

/// Room for four blocks. Longer texts are rare and are verified one at a time.
type Text = Message<4>;

/// A response to verify against H(A1).
pub(crate) struct DigestCheck<'q, 'a> {
    pub(crate) credentials: &'q Credentials<'a>,
    pub(crate) method: Method<'q>,
    pub(crate) ha1: &'q [u8],
}

impl DigestCheck<'_, '_> {
    /// Whether responses of this kind can be hashed in lanes. Nearly all clients send these.
    pub(crate) fn is_batchable(credentials: &Credentials<'_>) -> bool {
        !credentials.algorithm.is_session()
            && credentials.algorithm.hash_function().has_lanes()
            && credentials.qop.is_some_and(|fields| fields.qop == Qop::Auth)
    }
}

/// Verifies each response, in order; `None` for one that must be verified separately.
pub(crate) fn verify_batch(checks: &[DigestCheck<'_, '_>]) -> ArrayVec<Option<bool>, MAX_BATCH> {
    let mut results = ArrayVec::new();
    results.extend(checks.iter().take(MAX_BATCH).map(|_| None));
    for function in HashFunction::ALL {
        function.with(VerifyBatch { checks, results: &mut results });
    }
    results
}

/// Verifies the responses of one hash function.
struct VerifyBatch<'b, 'q, 'a> {
    checks: &'b [DigestCheck<'q, 'a>],
    results: &'b mut [Option<bool>],
}

impl HashVisitor for VerifyBatch<'_, '_, '_> {
    type Out = ();

    fn visit<F: HashImpl>(self) {
        if F::HAS_LANES {
            verify_in_lanes::<F>(self.checks, self.results);
        }
    }
}

fn verify_in_lanes<F: HashImpl>(checks: &[DigestCheck<'_, '_>], results: &mut [Option<bool>]) {
    let mut chosen = ArrayVec::<_, MAX_BATCH>::new();
    let mut a2_texts = ArrayVec::<Text, MAX_BATCH>::new();
    let mut response_texts = ArrayVec::<Text, MAX_BATCH>::new();
    for (check, result) in checks.iter().zip(results) {
        let DigestCheck { credentials, method, ha1 } = check;
        if credentials.algorithm.hash_function() != F::FUNCTION
            || !DigestCheck::is_batchable(credentials)
        {
            continue;
        }
        let Some(ha1) = F::Output::from_slice(ha1) else { continue };
        // written in place, because moving a message costs more than writing it
        let at = chosen.len();
        response_texts.iter_mut().skip(at).for_each(Message::wipe);
        a2_texts.truncate(at);
        response_texts.truncate(at);
        a2_texts.push(Message::EMPTY);
        response_texts.push(Message::EMPTY);
        let (Some(first), Some(second)) = (a2_texts.last_mut(), response_texts.last_mut()) else {
            continue;
        };
        let mut fits = true;
        // the body counts with `auth-int` only
        a2(credentials, *method, &Body::new(b""), |part| fits &= first.push(part));
        let mut digits = F::hex(ha1);
        response_prefix(credentials, digits.as_bytes(), |part| fits &= second.push(part));
        zeroize::Zeroize::zeroize(digits.as_bytes_mut());
        if fits && second.spare() >= F::Hex::LEN {
            chosen.push((result, credentials.response));
        }
    }
    let count = chosen.len();
    let mut hashes = [F::Output::ZERO; MAX_BATCH];
    let (Some(hashes), Some(a2_texts), Some(texts)) =
        (hashes.get_mut(..count), a2_texts.get_mut(..count), response_texts.get_mut(..count))
    else {
        return;
    };
    // empties the messages and wipes H(A1)
    F::hash_messages(a2_texts, hashes);
    for (text, ha2) in texts.iter_mut().zip(&*hashes) {
        // checked above
        debug_assert!(text.spare() >= F::Hex::LEN);
        let _ = text.push(F::hex(ha2).as_bytes());
    }
    F::hash_messages(texts, hashes);
    for ((result, response), hash) in chosen.into_iter().zip(&*hashes) {
        *result = Some(same_hex(&F::hex(hash), response));
    }
    response_texts.iter_mut().skip(count).for_each(Message::wipe);
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::super::credentials::{Parsed, parse};
    use super::super::response::ExpectedResponse;
    use super::*;

    /// A header with the right response to a request without a body, and its H(A1).
    fn right(algorithm: Algorithm, qop: &str, number: usize, method: &str) -> (String, Vec<u8>) {
        let hash = |text: String| match algorithm.hash_function() {
            HashFunction::Md5 => sip_authz_arch::md5(text.as_bytes()).to_vec(),
            _ => sip_authz_arch::sha256(text.as_bytes()).to_vec(),
        };
        let hex = |text: String| hex::encode(hash(text));
        let uri = format!("sip:{}", "1".repeat(number));
        let body = if qop == "auth" { String::new() } else { ":".to_owned() + &hex(String::new()) };
        let ha1 = hash(format!("the user of {number}"));
        let mut first = hex::encode(&ha1);
        if algorithm.is_session() {
            first = hex(format!("{first}:n:c"));
        }
        let ha2 = hex(format!("{method}:{uri}{body}"));
        let response = hex(format!("{first}:n:00000001:c:{qop}:{ha2}"));
        let name = algorithm.name();
        let header = format!(
            "Digest username=a,realm=r,nonce=n,uri=\"{uri}\",response=\"{response}\",\
             algorithm={name},qop={qop},nc=00000001,cnonce=c"
        );
        (header, ha1)
    }

    const METHODS: [&str; 5] =
        ["INVITE", "MESSAGE", "invite", "A", "X-ABCDEFGHIJKLMNOPQRSTUVWXYZ.123"];

    #[test]
    fn batchable_headers_that_fit_are_verified() {
        let mut headers = Vec::<((String, Vec<u8>), bool)>::new();
        for number in [3, 40, 400] {
            for algorithm in
                [Algorithm::Md5, Algorithm::Sha256, Algorithm::Md5Sess, Algorithm::Sha256Sess]
            {
                for qop in ["auth", "auth-int"] {
                    let batchable = !algorithm.is_session() && qop == "auth" && number < 400;
                    let method = METHODS[headers.len() % METHODS.len()];
                    headers.push((right(algorithm, qop, number, method), batchable));
                }
            }
        }
        let parsed: Vec<_> = headers
            .iter()
            .map(|((header, _), ..)| match parse(header.as_bytes(), "r") {
                Parsed::Credentials(credentials) => credentials,
                _ => panic!("{header}"),
            })
            .collect();
        for (is_right, same_method) in [(true, true), (false, true), (false, false)] {
            let method = |place: usize| {
                Method::new(METHODS[(place + usize::from(!same_method)) % METHODS.len()])
            };
            let mut hashes: Vec<_> = headers.iter().map(|((_, ha1), ..)| ha1.clone()).collect();
            hashes.iter_mut().for_each(|ha1| ha1[0] ^= u8::from(!is_right && same_method));
            let checks: Vec<_> = parsed
                .iter()
                .zip(&hashes)
                .enumerate()
                .map(|(place, (credentials, ha1))| DigestCheck {
                    credentials,
                    method: method(place),
                    ha1,
                })
                .collect();
            let expected = headers.iter().map(|(.., batchable)| batchable.then_some(is_right));
            assert!(verify_batch(&checks).into_iter().eq(expected));
            // the others are verified one at a time
            for (place, (credentials, ha1)) in parsed.iter().zip(&hashes).enumerate() {
                let body = Body::new(b"");
                let mut response = ExpectedResponse::new(credentials, method(place), &body);
                assert_eq!(response.equals(ha1), is_right);
            }
        }
    }
}
