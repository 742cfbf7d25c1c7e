//! The hash functions of digest authentication: one table, and one implementation of [`HashImpl`]
//! for each. To add a function, add a line to the table and an implementation. Lengths, counts and
//! the layout of stored hashes follow from them.

use std::fmt;
use std::ops::Range;

use sha2::Digest;
use sip_authz_arch::{
    Message, PartialMd5, md5, md5_messages, sha256, sha256_message, sha256_messages, sha512_256,
};

use super::bytes::Bytes;
use super::hash::write_hex;

/// A hash function. The code of the hot path is generic over it, so that all lengths are constants.
pub(crate) trait HashImpl {
    /// The entry in the table.
    const FUNCTION: HashFunction;
    /// Whether [`HashImpl::hash_messages`] hashes several messages in parallel lanes.
    const HAS_LANES: bool;

    /// The hash in bytes.
    type Output: Bytes;
    /// The hash in hexadecimal.
    type Hex: Bytes;
    /// A hash of part of a message.
    type Partial: Default;

    /// Hashes a message.
    fn hash(message: &[u8]) -> Self::Output;

    /// Hashes the concatenation of parts of any length. Wipes its buffers.
    fn hash_parts(parts: &[&[u8]]) -> Self::Output;

    /// Hashes `message`, and in the same time as much of `other` as possible.
    fn hash_interleaved<const B: usize>(
        message: &mut Message<B>,
        other: &Message<B>,
    ) -> (Self::Output, Self::Partial);

    /// Completes the hash that [`HashImpl::hash_interleaved`] has started for its `other` message.
    fn finalize<const B: usize>(partial: Self::Partial, message: &mut Message<B>) -> Self::Output;

    /// Hashes each message, in order. Wipes and empties the messages.
    fn hash_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [Self::Output]) {
        for (message, out) in messages.iter_mut().zip(out) {
            *out = Self::hash(message.text());
            message.wipe();
        }
    }

    /// The hash in lower-case hexadecimal.
    fn hex(hash: &Self::Output) -> Self::Hex {
        let mut text = Self::Hex::ZERO;
        write_hex(hash.as_bytes(), text.as_bytes_mut());
        text
    }
}

/// An operation that is generic over the hash function.
pub(crate) trait HashVisitor {
    type Out;

    fn visit<F: HashImpl>(self) -> Self::Out;
}

/// Declares [`HashFunction`] and [`Algorithm`]. The order of the lines determines the index.
macro_rules! hash_functions {
    ($(
        $(#[$doc:meta])*
        $function:ident { name: $name:literal, key: $key:literal, stored_name: $stored_name:literal }
        $session:ident { name: $session_name:literal }
    )+) => {
        /// A hash function of digest authentication (RFC 7616 §6.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum HashFunction {
            $($(#[$doc])* $function,)+
        }

        impl HashFunction {
            /// The number of hash functions.
            pub const COUNT: usize = [$($name),+].len();

            /// Every function, weakest first.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$function),+];

            /// The length of a hash in bytes.
            #[must_use]
            #[inline]
            pub const fn output_len(self) -> usize {
                match self {
                    $(Self::$function => <<$function as HashImpl>::Output as Bytes>::LEN,)+
                }
            }

            /// The name in the `algorithm` parameter, without `-sess`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$function => $name,)+
                }
            }

            /// The name in lower case, used in configuration files and bulk documents: `sha-256`.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$function => $key,)+
                }
            }

            /// The name as an identifier, used in stores: `sha256`.
            #[must_use]
            pub const fn stored_name(self) -> &'static str {
                match self {
                    $(Self::$function => $stored_name,)+
                }
            }

            /// Calls `visitor` with the implementation of the function.
            #[inline(always)]
            pub(crate) fn with<V: HashVisitor>(self, visitor: V) -> V::Out {
                match self {
                    $(Self::$function => visitor.visit::<$function>(),)+
                }
            }

            /// Whether several messages are hashed in parallel lanes.
            #[inline(always)]
            pub(crate) const fn has_lanes(self) -> bool {
                match self {
                    $(Self::$function => <$function as HashImpl>::HAS_LANES,)+
                }
            }

            /// The position of the hash in the concatenation of the hashes of all functions.
            #[inline(always)]
            pub(crate) const fn slot(self) -> Range<usize> {
                match self {
                    $(Self::$function => const { slot(Self::$function.index()) },)+
                }
            }
        }

        /// The value of the `algorithm` parameter: a hash function, plain or in its session form.
        /// A missing parameter means MD5 (RFC 7616 §3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Algorithm {
            $(
                #[doc = concat!("`", $name, "`.")]
                #[cfg_attr(feature = "serde", serde(rename = $name))]
                $function,
                #[doc = concat!("`", $session_name, "`.")]
                #[cfg_attr(feature = "serde", serde(rename = $session_name))]
                $session,
            )+
        }

        impl Algorithm {
            /// The number of algorithms.
            pub const COUNT: usize = 2 * HashFunction::COUNT;

            /// Every algorithm.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$function, Self::$session),+];

            /// The value in a challenge.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$function => $name, Self::$session => $session_name,)+
                }
            }

            /// The hash function underneath.
            #[must_use]
            #[inline]
            pub const fn hash_function(self) -> HashFunction {
                match self {
                    $(Self::$function | Self::$session => HashFunction::$function,)+
                }
            }

            /// Whether this is a `-sess` form, whose A1 includes the nonce and the cnonce
            /// (RFC 7616 §3.4.2).
            #[must_use]
            #[inline]
            pub const fn is_session(self) -> bool {
                matches!(self, $(Self::$session)|+)
            }
        }

        const _: () = {
            $(
                assert!(<$function as HashImpl>::FUNCTION.index() == HashFunction::$function.index());
                assert!(
                    <<$function as HashImpl>::Hex as Bytes>::LEN
                        == 2 * <<$function as HashImpl>::Output as Bytes>::LEN
                );
                // comparisons use 64-bit words
                assert!(<<$function as HashImpl>::Output as Bytes>::LEN.is_multiple_of(8));
            )+
        };
    };
}

hash_functions! {
    /// MD5, 16 bytes. Most deployed user agents support nothing else.
    Md5 { name: "MD5", key: "md5", stored_name: "md5" }
    Md5Sess { name: "MD5-sess" }

    /// SHA-256, 32 bytes.
    Sha256 { name: "SHA-256", key: "sha-256", stored_name: "sha256" }
    Sha256Sess { name: "SHA-256-sess" }

    /// SHA-512/256 (FIPS 180-4 §5.3.6), 32 bytes. Not the same as truncated SHA-512.
    Sha512_256 { name: "SHA-512-256", key: "sha-512-256", stored_name: "sha512_256" }
    Sha512_256Sess { name: "SHA-512-256-sess" }
}

struct Md5;

impl HashImpl for Md5 {
    const FUNCTION: HashFunction = HashFunction::Md5;
    const HAS_LANES: bool = true;

    type Output = [u8; 16];
    type Hex = [u8; 32];
    type Partial = PartialMd5;

    fn hash(message: &[u8]) -> [u8; 16] {
        md5(message)
    }

    fn hash_parts(parts: &[&[u8]]) -> [u8; 16] {
        incremental::<md5::Md5>(parts).finalize().into()
    }

    #[inline(always)]
    fn hash_interleaved<const B: usize>(
        message: &mut Message<B>,
        other: &Message<B>,
    ) -> ([u8; 16], PartialMd5) {
        PartialMd5::hash_interleaved(message, other)
    }

    #[inline(always)]
    fn finalize<const B: usize>(partial: PartialMd5, message: &mut Message<B>) -> [u8; 16] {
        partial.finalize(message)
    }

    fn hash_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [[u8; 16]]) {
        md5_messages(messages, out);
    }
}

struct Sha256;

impl HashImpl for Sha256 {
    const FUNCTION: HashFunction = HashFunction::Sha256;
    const HAS_LANES: bool = true;

    type Output = [u8; 32];
    type Hex = [u8; 64];
    type Partial = ();

    fn hash(message: &[u8]) -> [u8; 32] {
        sha256(message)
    }

    fn hash_parts(parts: &[&[u8]]) -> [u8; 32] {
        incremental::<sha2::Sha256>(parts).finalize().into()
    }

    #[inline(always)]
    fn hash_interleaved<const B: usize>(
        message: &mut Message<B>,
        _: &Message<B>,
    ) -> ([u8; 32], ()) {
        (sha256_message(message), ())
    }

    #[inline(always)]
    fn finalize<const B: usize>((): (), message: &mut Message<B>) -> [u8; 32] {
        sha256_message(message)
    }

    fn hash_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [[u8; 32]]) {
        sha256_messages(messages, out);
    }
}

struct Sha512_256;

impl HashImpl for Sha512_256 {
    const FUNCTION: HashFunction = HashFunction::Sha512_256;
    const HAS_LANES: bool = false;

    type Output = [u8; 32];
    type Hex = [u8; 64];
    type Partial = ();

    fn hash(message: &[u8]) -> [u8; 32] {
        sha512_256(message)
    }

    fn hash_parts(parts: &[&[u8]]) -> [u8; 32] {
        incremental::<sha2::Sha512_256>(parts).finalize().into()
    }

    #[inline(always)]
    fn hash_interleaved<const B: usize>(
        message: &mut Message<B>,
        _: &Message<B>,
    ) -> ([u8; 32], ()) {
        (sha512_256(message.text()), ())
    }

    #[inline(always)]
    fn finalize<const B: usize>((): (), message: &mut Message<B>) -> [u8; 32] {
        sha512_256(message.text())
    }
}

fn incremental<D: Digest>(parts: &[&[u8]]) -> D {
    parts.iter().fold(D::new(), |hash, part| hash.chain_update(part))
}

/// The length of the longest hash in bytes.
pub const MAX_OUTPUT_LEN: usize = max_output_len();
/// The length of the longest hash in hexadecimal digits.
pub const MAX_HEX_LEN: usize = 2 * MAX_OUTPUT_LEN;
/// The length of the shortest hash in hexadecimal digits.
pub(crate) const MIN_HEX_LEN: usize = 2 * min_output_len();
/// The total length of the hashes of all functions in bytes.
pub(crate) const ALL_OUTPUTS_LEN: usize = slot(HashFunction::COUNT - 1).end;

impl HashFunction {
    /// The position in [`HashFunction::ALL`].
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The length of a hash in hexadecimal digits.
    #[must_use]
    #[inline]
    pub const fn hex_len(self) -> usize {
        2 * self.output_len()
    }

    /// The function with this [key](Self::key).
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.key() == key)
    }

    /// The function with this [stored name](Self::stored_name).
    #[must_use]
    pub fn from_stored_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.stored_name() == name)
    }
}

impl fmt::Display for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn slot(index: usize) -> Range<usize> {
    let (mut start, mut at) = (0, 0);
    while at < index {
        start += HashFunction::ALL[at].output_len();
        at += 1;
    }
    start..start + HashFunction::ALL[index].output_len()
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn max_output_len() -> usize {
    let (mut max, mut at) = (0, 0);
    while at < HashFunction::COUNT {
        let len = HashFunction::ALL[at].output_len();
        max = if len > max { len } else { max };
        at += 1;
    }
    max
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn min_output_len() -> usize {
    let (mut min, mut at) = (MAX_OUTPUT_LEN, 0);
    while at < HashFunction::COUNT {
        let len = HashFunction::ALL[at].output_len();
        min = if len < min { len } else { min };
        at += 1;
    }
    min
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The hashes of a message, computed in each way that the implementation has.
    struct EveryWay<'m>(&'m [u8]);

    impl HashVisitor for EveryWay<'_> {
        type Out = Vec<Vec<u8>>;

        fn visit<F: HashImpl>(self) -> Self::Out {
            let message = || {
                let mut message = Message::<8>::EMPTY;
                assert!(message.push(self.0));
                message
            };
            let (first, partial) = F::hash_interleaved(&mut message(), &message());
            let second = F::finalize(partial, &mut message());
            let mut many = [F::Output::ZERO; 3];
            F::hash_messages(&mut [message(), message(), message()], &mut many);
            let (start, end) = self.0.split_at(self.0.len() / 2);
            let hash = F::hash(self.0);
            assert_eq!(F::Output::LEN, F::FUNCTION.output_len());
            assert_eq!(F::hex(&hash).as_bytes(), hex::encode(hash.as_bytes()).as_bytes());
            [hash, F::hash_parts(&[start, end]), first, second]
                .iter()
                .chain(&many)
                .map(|hash| hash.as_bytes().to_vec())
                .collect()
        }
    }

    proptest! {
        #[test]
        fn every_way_to_hash_gives_the_same_output(message in vec(any::<u8>(), 0..500)) {
            let mut outputs = HashSet::new();
            for function in HashFunction::ALL {
                let hashes = function.with(EveryWay(&message));
                prop_assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{}", function);
                prop_assert_eq!(hashes[0].len(), function.output_len());
                outputs.insert(hashes[0].clone());
            }
            prop_assert_eq!(outputs.len(), HashFunction::COUNT);
        }
    }

    #[test]
    fn the_table_is_consistent() {
        let mut end = 0;
        for (index, function) in HashFunction::ALL.into_iter().enumerate() {
            assert_eq!(function.index(), index);
            assert_eq!(function.key(), function.name().to_lowercase());
            assert_eq!(function.stored_name().replace('_', ""), function.key().replace('-', ""));
            assert_eq!(HashFunction::from_key(function.key()), Some(function));
            assert_eq!(HashFunction::from_stored_name(function.stored_name()), Some(function));
            assert_eq!(function.hex_len(), 2 * function.output_len());
            assert!((MIN_HEX_LEN..=MAX_HEX_LEN).contains(&function.hex_len()));
            assert_eq!(function.slot(), end..end + function.output_len());
            end += function.output_len();
            let [plain, session] = [Algorithm::ALL[2 * index], Algorithm::ALL[2 * index + 1]];
            assert_eq!((plain.name(), plain.is_session()), (function.name(), false));
            assert_eq!(session.name(), format!("{}-sess", function.name()));
            assert!(session.is_session());
            assert_eq!([plain.hash_function(), session.hash_function()], [function; 2]);
        }
        assert_eq!(end, ALL_OUTPUTS_LEN);
        let names: HashSet<_> = Algorithm::ALL.map(Algorithm::name).into();
        assert_eq!(names.len(), Algorithm::COUNT);
    }
}
