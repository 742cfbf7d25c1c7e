//! The proof that a question comes from another edge of the fleet: a code over the question, with a key
//! that all edges derive from the same admin token.
//!
//! The code covers the URL of the edge that is asked, so a code that one edge receives is worth nothing at
//! another. It covers the time, so it is worth nothing later. Neither the token nor its hash is sent.

use std::fmt;
use std::time::{Duration, SystemTime};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::auth::AdminToken;

/// The scheme of the Authorization header.
const SCHEME: &str = "SIP-Authz-Edge";
/// The text from which the key is derived, so that a code is valid for this purpose only.
const CONTEXT: &str = "sip-authz rest 2026: questions between edges";
/// The allowed difference between the clocks of two edges.
const MAX_SKEW: Duration = Duration::from_secs(30);

/// The key of questions between edges. Edges with the same admin token have the same key.
#[derive(Clone)]
pub struct EdgeKey(Zeroizing<[u8; 32]>);

/// The reason why a code is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdgeKeyError {
    /// The header is missing or malformed, or the code is wrong.
    Wrong,
    /// The code is right, and its time too far from the time here.
    Time,
}

impl EdgeKey {
    /// Derives the key from the hash of the admin token.
    #[must_use]
    pub fn new(admin: &AdminToken) -> Self {
        let hash = Zeroizing::new(admin.hash());
        Self(Zeroizing::new(blake3::derive_key(CONTEXT, hash.as_slice())))
    }

    /// The value of the Authorization header for a question to the edge at `url`, its advertised base URL.
    #[must_use]
    pub fn authorization(&self, url: &str, now: SystemTime, body: &[u8]) -> String {
        let seconds = seconds(now);
        format!("{SCHEME} {seconds}-{}", self.code(url, seconds, body).to_hex())
    }

    /// Whether `authorization` is the header of this question to the edge at `url`.
    pub(super) fn verify(
        &self,
        authorization: &str,
        url: &str,
        now: SystemTime,
        body: &[u8],
    ) -> Result<(), EdgeKeyError> {
        let (sent, code) = read(authorization).ok_or(EdgeKeyError::Wrong)?;
        let right = self.code(url, sent, body);
        if !bool::from(right.as_bytes().ct_eq(&code)) {
            return Err(EdgeKeyError::Wrong);
        }
        // after the code, so that only an edge learns of its clock
        let apart = seconds(now).abs_diff(sent);
        if apart > MAX_SKEW.as_secs() { Err(EdgeKeyError::Time) } else { Ok(()) }
    }

    fn code(&self, url: &str, seconds: u64, body: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // fixed lengths first, so that no two questions have the same input
        hasher.update(&seconds.to_be_bytes());
        hasher.update(&(url.len() as u64).to_be_bytes());
        hasher.update(url.as_bytes());
        hasher.update(body);
        hasher.finalize()
    }
}

impl fmt::Debug for EdgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdgeKey(..)")
    }
}

/// Whether the header has the scheme of edges.
pub(super) fn is_of_edge(authorization: &str) -> bool {
    read(authorization).is_some()
}

/// The time and the code in a header.
fn read(authorization: &str) -> Option<(u64, [u8; 32])> {
    let (scheme, value) = authorization.split_once(' ')?;
    let (seconds, code) = value.split_once('-')?;
    // as they are written: one header for one proof
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let lower = !code.bytes().any(|byte| byte.is_ascii_uppercase());
    if scheme != SCHEME || !digits || !lower {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(code, &mut bytes).ok()?;
    Some((seconds.parse().ok()?, bytes))
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://one.example:8080";
    const BODY: &[u8] = b"{\"v\":1}";

    fn key(token: &str) -> EdgeKey {
        EdgeKey::new(&AdminToken::new(token).unwrap())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_code_is_valid_for_its_question_its_edge_and_its_time() {
        let header = key("token").authorization(URL, at(1_000), BODY);
        let verify = |token, url, now, body| key(token).verify(&header, url, at(now), body);
        for now in [970, 1_000, 1_030] {
            assert_eq!(verify("token", URL, now, BODY), Ok(()), "{now}");
        }
        for now in [0, 969, 1_031, u64::MAX >> 2] {
            assert_eq!(verify("token", URL, now, BODY), Err(EdgeKeyError::Time), "{now}");
        }
        let wrong = Err(EdgeKeyError::Wrong);
        assert_eq!(verify("Token", URL, 1_000, BODY), wrong);
        assert_eq!(verify("token", "https://one.example:808", 1_000, b"0{\"v\":1}"), wrong);
        assert_eq!(verify("token", "", 1_000, BODY), wrong);
        assert_eq!(verify("token", URL, 1_000, b""), wrong);
        // a wrong code tells nothing of the clock
        assert_eq!(verify("other", URL, 5_000, BODY), wrong);
    }

    #[test]
    fn other_headers_are_refused() {
        let right = key("token").authorization(URL, at(1_000), BODY);
        let code = right.rsplit_once('-').unwrap().1;
        let mut flipped = right.clone();
        let last = if flipped.pop() == Some('0') { '1' } else { '0' };
        flipped.push(last);
        for header in [
            String::new(),
            flipped,
            right.to_lowercase(),
            right.to_uppercase(),
            right.replacen("1000", "+1000", 1),
            right.replacen("1000", "01000", 1) + "0",
            right.replacen("1000", "1001", 1),
            right.replacen("1000", "", 1),
            right.replacen("1000", "99999999999999999999", 1),
            format!(" {right}"),
            format!("{right} "),
            format!("Basic {code}"),
            format!("{SCHEME} 1000-{}", &code[1..]),
            format!("{SCHEME} 1000-"),
            format!("{SCHEME} 1000-{}", "0".repeat(64)),
            SCHEME.to_owned(),
        ] {
            let verified = key("token").verify(&header, URL, at(1_000), BODY);
            assert_eq!(verified, Err(EdgeKeyError::Wrong), "{header}");
        }
        // the same number in another form is the same proof
        let padded = right.replacen("1000", "01000", 1);
        assert_eq!(key("token").verify(&padded, URL, at(1_000), BODY), Ok(()));
    }

    #[test]
    fn the_key_is_not_the_hash_of_the_token_and_is_not_shown() {
        let admin = AdminToken::new("token").unwrap();
        assert_ne!(*EdgeKey::new(&admin).0, admin.hash());
        assert_eq!(format!("{:?}", EdgeKey::new(&admin)), "EdgeKey(..)");
    }
}
