//! Digest authentication as SIP uses it: RFC 2617, 3261 §22, 7616 and 8760.
//!
//! It parses credentials headers, computes and compares responses, and issues and checks nonces. It
//! also holds the fixed-size tables of used nonces, accepted requests and wrong guesses. The
//! decision itself is made in [`Authorizer`](crate::Authorizer).

mod algorithm;
mod base64url;
mod buckets;
mod bytes;
mod challenge;
mod credentials;
mod evicted;
mod fingerprint;
mod framed;
mod function;
mod guess;
pub(crate) mod hash;
mod many;
mod nonce;
mod per_function;
mod proven;
mod rate;
mod replay;
mod response;
mod retransmission;
mod stale;
mod sync;

pub use algorithm::Qop;
pub(crate) use bytes::Bytes;
pub(crate) use challenge::ChallengeText;
pub use credentials::{
    Credentials, InlineName, InlineText, MAX_USERNAME, MalformedCredentials, Parameter, Parsed,
    QopFields, Username, parse, split,
};
pub(crate) use credentials::{is_digest, parse_fast, username};
pub(crate) use fingerprint::Fingerprints;
pub(crate) use function::{ALL_OUTPUTS_LEN, HashImpl, HashVisitor};
pub use function::{Algorithm, HashFunction, MAX_HEX_LEN, MAX_OUTPUT_LEN};
pub(crate) use guess::{GuessKey, GuessLimiter, MAX_NAME, PROVEN_FLOW, Scope};
pub(crate) use many::{DigestCheck, MAX_BATCH, verify_batch};
pub(crate) use nonce::{Binding, Freshness, Nonce, NonceIssuer, Origin};
pub use per_function::PerHashFunction;
pub(crate) use proven::{Proof, ProvenFlows};
pub use rate::GuessRate;
pub(crate) use replay::{Admission, ReplayTable};
pub(crate) use response::{Body, ExpectedResponse, HexText, decoy, userhash};
pub(crate) use retransmission::{Insertion, RetransmissionCache};
pub(crate) use stale::{StaleAnswers, StaleFlow};
