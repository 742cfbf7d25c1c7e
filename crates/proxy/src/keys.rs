//! The keys that prove what peers carry: message authentication codes of 128 bits.

use std::fmt;

use arrayvec::ArrayVec;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A message authentication code: the first 128 bits of a keyed BLAKE3 hash.
pub(crate) type Mac = [u8; 16];

/// The purpose of a code. Each purpose has a key of its own, so no code is valid for another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The branch of a Via.
    Branch,
    /// The loop check of a Via.
    Loop,
    /// The To tag of an answer that this side gives.
    Tag,
    /// The legs in a Via.
    Via,
    /// The Record-Route towards the side of the callers.
    Outside,
    /// The Record-Route towards the next hop.
    Inside,
    /// The Path of a registration.
    Flow,
    /// The dialog of a renewal, in memory.
    Dialog,
}

/// The text from which each key is derived, in the order of [`Purpose`].
const CONTEXTS: [&str; 8] = [
    "sip-authz proxy 2026: branch",
    "sip-authz proxy 2026: loop",
    "sip-authz proxy 2026: tag",
    "sip-authz proxy 2026: via",
    "sip-authz proxy 2026: outside",
    "sip-authz proxy 2026: inside",
    "sip-authz proxy 2026: flow",
    "sip-authz proxy 2026: dialog",
];

/// The current key, and the previous one, which is still accepted.
pub struct Keys {
    keys: ArrayVec<Key, { Keys::MAX }>,
}

/// Keys with equal numbers: a token could not tell which one it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("both keys have the number {0}")]
pub struct KeysError(pub u8);

/// The maximum length of parts that are joined before they are hashed: the length of a chunk of BLAKE3.
const MAX_JOINED: usize = 1_024;

struct Key {
    number: u8,
    purposes: [Zeroizing<[u8; 32]>; CONTEXTS.len()],
}

impl Keys {
    /// The maximum number of keys: the current and the previous one.
    pub(crate) const MAX: usize = 2;
    /// The maximum length of the payload of a token, in bytes.
    pub(crate) const MAX_PAYLOAD: usize = 768;
    const MAX_SEALED: usize = 1 + Self::MAX_PAYLOAD + size_of::<Mac>();

    /// Derives the keys from secrets of 32 random bytes, each with its number.
    ///
    /// # Errors
    ///
    /// If both have the same number.
    pub fn new(
        current: (u8, &[u8; 32]),
        previous: Option<(u8, &[u8; 32])>,
    ) -> Result<Self, KeysError> {
        if let Some((number, _)) = previous
            && number == current.0
        {
            return Err(KeysError(number));
        }
        Ok(Self::derive(std::iter::once(current).chain(previous)))
    }

    /// Derives the keys. The caller makes sure that there are one or two, of different numbers.
    pub(crate) fn derive<'s>(secrets: impl Iterator<Item = (u8, &'s [u8; 32])>) -> Self {
        Self { keys: secrets.map(Key::derive).take(Self::MAX).collect() }
    }

    /// The code of these parts under the current key. The boundaries of the parts count.
    #[must_use]
    pub(crate) fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> Mac {
        self.macs(purpose, parts).next().unwrap_or_default()
    }

    /// The codes of these parts under all keys, the current one first.
    pub(crate) fn macs(&self, purpose: Purpose, parts: &[&[u8]]) -> impl Iterator<Item = Mac> {
        self.macs_of(purpose, parts.iter().copied())
    }

    /// As [`macs`](Self::macs).
    pub(crate) fn macs_of<'p>(
        &self,
        purpose: Purpose,
        parts: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> impl Iterator<Item = Mac> {
        self.keys.iter().map(move |key| key.code(purpose, parts.clone()))
    }

    /// Appends a token: the payload with a code over it and `bound`, in base64url (RFC 4648 §5).
    ///
    /// The payload can be read by everybody. `bound` is not part of the token; who opens it must have
    /// the same.
    ///
    /// Returns false, and appends nothing, if the payload is longer than
    /// [`MAX_PAYLOAD`](Self::MAX_PAYLOAD).
    #[must_use]
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        payload: &[u8],
        bound: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(key) = self.keys.first().filter(|_| payload.len() <= Self::MAX_PAYLOAD) else {
            return false;
        };
        let mut sealed = ArrayVec::<u8, { Self::MAX_SEALED }>::new();
        for part in [&[key.number], payload, &key.sign(purpose, payload, bound)] {
            // the array has room for the longest payload
            let _ = sealed.try_extend_from_slice(part);
        }
        let mut text = [0; Self::MAX_SEALED.div_ceil(3) * 4];
        let Ok(len) = URL_SAFE_NO_PAD.encode_slice(&sealed, &mut text) else { return false };
        out.extend_from_slice(text.get(..len).unwrap_or_default());
        true
    }

    /// Whether a text has the form of a token of one of these keys. Its code is not checked.
    pub(crate) fn is_like_token(&self, text: &[u8]) -> bool {
        let mut sealed = [0; Self::MAX_SEALED];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut sealed).unwrap_or_default();
        let number = sealed.first().filter(|_| len > size_of::<Mac>());
        self.keys.iter().any(|key| Some(&key.number) == number)
    }

    /// The payload of a token that [`seal`](Self::seal) made for this purpose with the same `bound`.
    #[must_use]
    pub(crate) fn open(&self, purpose: Purpose, token: &[u8], bound: &[&[u8]]) -> Option<Payload> {
        let mut sealed = [0; Self::MAX_SEALED];
        let len = URL_SAFE_NO_PAD.decode_slice(token, &mut sealed).ok()?;
        let (number, rest) = sealed.get(..len)?.split_first()?;
        let (payload, found) = rest.split_last_chunk::<{ size_of::<Mac>() }>()?;
        let key = self.keys.iter().find(|key| key.number == *number)?;
        let expected = key.sign(purpose, payload, bound);
        let mut opened = Payload::new();
        let is_right = bool::from(expected.ct_eq(found));
        (is_right && opened.try_extend_from_slice(payload).is_ok()).then_some(opened)
    }
}

/// The payload of a token whose code was right.
pub(crate) type Payload = ArrayVec<u8, { Keys::MAX_PAYLOAD }>;

impl Key {
    fn derive((number, secret): (u8, &[u8; 32])) -> Self {
        let purposes = CONTEXTS.map(|context| Zeroizing::new(blake3::derive_key(context, secret)));
        Self { number, purposes }
    }

    /// The code of a token: that of its payload and of the parts that it is bound to.
    fn sign(&self, purpose: Purpose, payload: &[u8], bound: &[&[u8]]) -> Mac {
        self.code(purpose, std::iter::once(payload).chain(bound.iter().copied()))
    }

    fn code<'p>(&self, purpose: Purpose, parts: impl Iterator<Item = &'p [u8]> + Clone) -> Mac {
        // the enum has as many values as there are contexts
        let key = self.purposes.get(purpose as usize).map_or(&[0; 32], |key| &**key);
        let length = |part: &[u8]| (part.len() as u64).to_le_bytes();
        // to hash the joined parts costs half as much as to hash each by itself
        let mut joined = ArrayVec::<u8, MAX_JOINED>::new();
        let mut join = |part: &[u8]| joined.try_extend_from_slice(part).is_ok();
        let hash = if parts.clone().all(|part| join(&length(part)) && join(part)) {
            blake3::keyed_hash(key, &joined)
        } else {
            let mut hasher = blake3::Hasher::new_keyed(key);
            for part in parts {
                hasher.update(&length(part)).update(part);
            }
            hasher.finalize()
        };
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// Shows the numbers only.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.number)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Purpose; CONTEXTS.len()] = [
        Purpose::Branch,
        Purpose::Loop,
        Purpose::Tag,
        Purpose::Via,
        Purpose::Outside,
        Purpose::Inside,
        Purpose::Flow,
        Purpose::Dialog,
    ];

    fn keys(current: u8, previous: Option<u8>) -> Keys {
        let secret = |number: u8| [number ^ 0x55; 32];
        let previous = previous.map(|number| (number, secret(number)));
        let previous = previous.as_ref().map(|(number, secret)| (*number, secret));
        Keys::new((current, &secret(current)), previous).unwrap()
    }

    fn seal(keys: &Keys, payload: &[u8], bound: &[&[u8]]) -> Vec<u8> {
        let mut token = Vec::new();
        assert!(keys.seal(Purpose::Outside, payload, bound, &mut token));
        token
    }

    #[test]
    fn a_token_opens_for_its_purpose_key_and_bound_parts_only() {
        let ours = keys(1, None);
        let token = seal(&ours, b"payload", &[b"call", b"tag"]);
        let opened = ours.open(Purpose::Outside, &token, &[b"call", b"tag"]);
        assert_eq!(opened.as_deref(), Some(&b"payload"[..]));
        for purpose in ALL.into_iter().filter(|purpose| *purpose != Purpose::Outside) {
            assert_eq!(ours.open(purpose, &token, &[b"call", b"tag"]), None, "{purpose:?}");
        }
        for bound in [vec![], vec![&b"call"[..]], vec![b"callt", b"ag"], vec![b"call", b"tag", b""]]
        {
            assert_eq!(ours.open(Purpose::Outside, &token, &bound), None, "{bound:?}");
        }
        for other in [keys(2, None), keys(2, Some(3))] {
            assert_eq!(other.open(Purpose::Outside, &token, &[b"call", b"tag"]), None);
        }
    }

    #[test]
    fn every_change_of_a_token_is_noticed() {
        let keys = keys(1, Some(2));
        let token = seal(&keys, b"some payload", &[]);
        for at in 0..token.len() {
            for byte in (0..=255).filter(|byte| *byte != token[at]) {
                let mut changed = token.clone();
                changed[at] = byte;
                assert_eq!(keys.open(Purpose::Outside, &changed, &[]), None, "{at} {byte}");
            }
            assert_eq!(keys.open(Purpose::Outside, &token[..at], &[]), None, "{at}");
        }
        assert_eq!(keys.open(Purpose::Outside, &[&*token, b"A"].concat(), &[]), None);
        assert_eq!(keys.open(Purpose::Outside, &[&*token, b"=="].concat(), &[]), None);
        assert_eq!(keys.open(Purpose::Outside, &[b'A'; 5_000], &[]), None);
    }

    #[test]
    fn the_previous_key_still_opens() {
        let token = seal(&keys(1, None), b"x", &[]);
        assert!(keys(2, Some(1)).open(Purpose::Outside, &token, &[]).is_some());
        assert!(keys(3, Some(2)).open(Purpose::Outside, &token, &[]).is_none());
        assert_eq!(Keys::new((1, &[0; 32]), Some((1, &[1; 32]))).err(), Some(KeysError(1)));
        let codes: Vec<_> = keys(2, Some(1)).macs(Purpose::Branch, &[b"x"]).collect();
        assert_eq!(codes[1], keys(1, None).mac(Purpose::Branch, &[b"x"]));
        assert_ne!(codes[0], codes[1]);
    }

    #[test]
    fn long_parts_have_the_code_of_all_their_bytes() {
        let keys = keys(1, None);
        let text = vec![b'x'; 3_000];
        for len in [0, 1, 1_000, 1_015, 1_016, 1_017, 1_024, 1_025, 3_000] {
            let (part, key) = (&text[..len], &*keys.keys[0].purposes[Purpose::Loop as usize]);
            let framed = [&(len as u64).to_le_bytes(), part].concat();
            let expected = blake3::keyed_hash(key, &framed);
            assert_eq!(keys.mac(Purpose::Loop, &[part]), expected.as_bytes()[..16], "{len}");
        }
    }

    #[test]
    fn a_payload_has_a_maximum_length() {
        let (keys, mut out) = (keys(1, None), Vec::new());
        assert!(!keys.seal(Purpose::Via, &[0; Keys::MAX_PAYLOAD + 1], &[], &mut out));
        assert!(out.is_empty());
        assert!(keys.seal(Purpose::Via, &[7; Keys::MAX_PAYLOAD], &[], &mut out));
        assert_eq!(keys.open(Purpose::Via, &out, &[]).as_deref(), Some(&[7; 768][..]));
    }
}
