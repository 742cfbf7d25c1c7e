//! Digest authentication as SIP uses it: RFC 2617, 3261 §22, 7616 and 8760.
//!
//! Parsing a credentials header, computing and comparing a response, issuing and opening nonces,
//! and the bounded memory of what was used and guessed. Which answer follows is decided elsewhere.

mod algorithm;
mod base64url;
mod buckets;
mod bytes;
mod challenge;
mod credentials;
mod fingerprint;
mod framed;
mod function;
mod guess;
pub(crate) mod hash;
mod many;
mod nonce;
mod per_function;
mod repeat;
mod replay;
mod response;
mod sync;

pub use algorithm::Qop;
pub(crate) use bytes::Bytes;
pub(crate) use challenge::ChallengeText;
pub(crate) use credentials::username;
pub use credentials::{
    Credentials, InlineName, InlineText, MAX_USERNAME, MalformedCredentials, Parameter, Parsed,
    QopFields, Username, parse,
};
pub(crate) use fingerprint::Fingerprints;
pub(crate) use function::{ALL_OUTPUTS_LEN, HashImpl, HashVisitor};
pub use function::{Algorithm, HashFunction, MAX_HEX_LEN, MAX_OUTPUT_LEN};
pub use guess::GuessRate;
pub(crate) use guess::{GuessKey, GuessLimiter};
pub(crate) use many::{MOST, Question, right_responses};
pub(crate) use nonce::{Binding, Freshness, Nonce, NonceIssuer};
pub use per_function::PerHashFunction;
pub(crate) use repeat::{Insertion, RepeatTable};
pub(crate) use replay::{Admission, ReplayTable};
pub(crate) use response::{ExpectedResponse, HexText, decoy, userhash};
