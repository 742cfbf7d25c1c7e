//! A map from hash functions to values, and its serialized form.

use std::fmt;

use super::function::HashFunction;

/// At most one value for each hash function, in the order of [`HashFunction::ALL`].
///
/// With the feature `serde`, it serializes as a map with the keys [`HashFunction::key`]. TOML files
/// and bulk documents hold hashes in it. The values may be secret, so neither `Debug` nor an error
/// shows one.
#[derive(Clone, PartialEq, Eq)]
pub struct PerHashFunction<T>([Option<T>; HashFunction::COUNT]);

impl<T> PerHashFunction<T> {
    /// The value for a function.
    #[must_use]
    pub fn get(&self, function: HashFunction) -> Option<&T> {
        self.0.get(function.index())?.as_ref()
    }

    /// Sets the value for a function and returns the previous one.
    pub fn insert(&mut self, function: HashFunction, value: T) -> Option<T> {
        self.0.get_mut(function.index())?.replace(value)
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The functions that have a value, and the values.
    pub fn iter(&self) -> impl Iterator<Item = (HashFunction, &T)> {
        let values = self.0.iter().map(Option::as_ref);
        HashFunction::ALL.into_iter().zip(values).filter_map(|(function, it)| Some((function, it?)))
    }

    /// The functions that have a value, and the values.
    pub fn into_pairs(self) -> impl Iterator<Item = (HashFunction, T)> {
        HashFunction::ALL.into_iter().zip(self.0).filter_map(|(function, it)| Some((function, it?)))
    }
}

// not derived, because that would require `T: Default`
impl<T> Default for PerHashFunction<T> {
    fn default() -> Self {
        Self([const { None }; HashFunction::COUNT])
    }
}

impl<T> FromIterator<(HashFunction, T)> for PerHashFunction<T> {
    /// Keeps the last of several values for the same function.
    fn from_iter<I: IntoIterator<Item = (HashFunction, T)>>(values: I) -> Self {
        let mut collected = Self::default();
        for (function, value) in values {
            collected.insert(function, value);
        }
        collected
    }
}

impl<T> fmt::Debug for PerHashFunction<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions = self.iter().map(|(function, _)| function);
        f.debug_set().entries(functions).finish()
    }
}

#[cfg(feature = "serde")]
mod written {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{self, Deserializer, MapAccess, Visitor};
    use serde::{Deserialize, Serialize, Serializer};

    use super::{HashFunction, PerHashFunction};

    impl<T: Serialize> Serialize for PerHashFunction<T> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_map(self.iter().map(|(function, value)| (function.key(), value)))
        }
    }

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerHashFunction<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            // with `deserialize_map`, serde_json would quote the value in its error
            from.deserialize_any(Values(PhantomData))
        }
    }

    struct Values<T>(PhantomData<T>);

    macro_rules! refuse {
        ($($method:ident $kind:ty,)*) => {$(
            // the default method would quote the value
            fn $method<E: de::Error>(self, _: $kind) -> Result<Self::Value, E> {
                Err(E::custom(format_args!("expected {EXPECTED}")))
            }
        )*};
    }

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
        type Value = PerHashFunction<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(EXPECTED)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = PerHashFunction::default();
            while let Some(Key(function)) = map.next_key()? {
                if values.get(function).is_some() {
                    return Err(de::Error::duplicate_field(function.key()));
                }
                values.insert(function, map.next_value()?);
            }
            Ok(values)
        }

        refuse! {
            visit_bool bool, visit_i64 i64, visit_i128 i128, visit_u64 u64, visit_u128 u128,
            visit_f64 f64, visit_str &str, visit_bytes &[u8],
        }
    }

    /// The expected input, for error messages.
    const EXPECTED: &str = "a map under names of hash functions, such as `md5`";

    struct Key(HashFunction);

    /// The keys of all functions.
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    static KEYS: [&str; HashFunction::COUNT] = {
        let (mut keys, mut at) = ([""; HashFunction::COUNT], 0);
        while at < keys.len() {
            keys[at] = HashFunction::ALL[at].key();
            at += 1;
        }
        keys
    };

    impl<'de> Deserialize<'de> for Key {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;

            impl Visitor<'_> for Text {
                type Value = Key;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("the name of a hash function")
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                    let function = HashFunction::from_key(text);
                    function.map(Key).ok_or_else(|| E::unknown_field(text, &KEYS))
                }
            }

            from.deserialize_identifier(Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_by_function() {
        let mut values = PerHashFunction::default();
        assert!(values.is_empty() && values.iter().next().is_none());
        for function in HashFunction::ALL.into_iter().rev() {
            assert_eq!(values.insert(function, function.name()), None);
            assert_eq!(values.insert(function, function.key()), Some(function.name()));
            assert_eq!(values.get(function), Some(&function.key()));
        }
        let expected = HashFunction::ALL.map(|function| (function, function.key()));
        assert!(values.iter().map(|(function, key)| (function, *key)).eq(expected));
        assert_eq!(expected.into_iter().collect::<PerHashFunction<_>>(), values);
        assert_eq!(
            format!("{values:?}"),
            format!("{{{}}}", {
                HashFunction::ALL.map(|function| format!("{function:?}")).join(", ")
            })
        );
        assert!(values.into_pairs().eq(expected));
    }
}
