//! The hashes of a credential: among its other fields, one field with the stored name of each hash
//! function. Secrets are wiped, and no error contains one.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{self, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use sip_authz::digest::{HashFunction, MAX_HEX_LEN, MAX_OUTPUT_LEN, PerHashFunction};
use sip_authz::model::{Ha1Error, Ha1Set};

/// Writes the hashes as fields.
pub(super) fn write<S: SerializeStruct>(ha1: &Ha1Set, to: &mut S) -> Result<(), S::Error> {
    ha1.iter()
        .try_for_each(|(function, hash)| to.serialize_field(function.stored_name(), &Digits(hash)))
}

/// Bytes that serialize as hexadecimal text.
struct Digits<'h>(&'h [u8]);

impl Serialize for Digits<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new([0_u8; MAX_HEX_LEN]);
        let text =
            text.get_mut(..self.0.len() * 2).ok_or_else(|| ser::Error::custom("too long"))?;
        hex::encode_to_slice(self.0, text).map_err(ser::Error::custom)?;
        to.serialize_str(str::from_utf8(text).map_err(ser::Error::custom)?)
    }
}

/// The fields of a value: the hashes, and all others as `T`.
pub(super) struct WithHashes<T> {
    pub(super) others: T,
    hashes: PerHashFunction<Hash>,
}

impl<T> WithHashes<T> {
    /// The hashes; at least one is required.
    pub(super) fn ha1(&self) -> Result<Ha1Set, Ha1Error> {
        Ha1Set::from_bytes(self.hashes.iter())
    }
}

/// A hash of any length. It is wiped when it is dropped.
struct Hash {
    bytes: Zeroizing<[u8; MAX_OUTPUT_LEN]>,
    len: usize,
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithHashes<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = WithHashes<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WithHashes<T>, A::Error> {
                let mut hashes = PerHashFunction::default();
                let others = Others { map, hashes: &mut hashes };
                let others = T::deserialize(MapAccessDeserializer::new(others))?;
                Ok(WithHashes { others, hashes })
            }
        }

        from.deserialize_map(Fields(std::marker::PhantomData))
    }
}

/// A map without the hash fields, which it moves into `hashes` on the way.
struct Others<'h, A> {
    map: A,
    hashes: &'h mut PerHashFunction<Hash>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Others<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        mut seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(NameSeed(seed))? {
                None => return Ok(None),
                Some(Name::Other(name)) => return Ok(Some(name)),
                Some(Name::Hash(function, unused)) => {
                    let hash = self.map.next_value_seed(HashSeed(function))?;
                    if self.hashes.insert(function, hash).is_some() {
                        return Err(de::Error::duplicate_field(function.stored_name()));
                    }
                    seed = unused;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The name of a field.
enum Name<K, T> {
    /// A hash, and the unused seed.
    Hash(HashFunction, K),
    /// The seed's output for another name.
    Other(T),
}

struct NameSeed<K>(K);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for NameSeed<K> {
    type Value = Name<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for NameSeed<K> {
    type Value = Name<K, K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        match HashFunction::from_stored_name(name) {
            Some(function) => Ok(Name::Hash(function, self.0)),
            None => self.0.deserialize(StrDeserializer::new(name)).map(Name::Other),
        }
    }
}

struct HashSeed(HashFunction);

impl<'de> DeserializeSeed<'de> for HashSeed {
    type Value = Hash;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Hash, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for HashSeed {
    type Value = Hash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", self.0.hex_len())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hash, E> {
        let mut hash =
            Hash { bytes: Zeroizing::new([0; MAX_OUTPUT_LEN]), len: self.0.output_len() };
        let place = hash.bytes.get_mut(..hash.len).unwrap_or_default();
        match hex::decode_to_slice(text, place) {
            Ok(()) => Ok(hash),
            // the text is secret and stays out of the error
            Err(_) => Err(E::custom("expected hexadecimal digits")),
        }
    }
}
