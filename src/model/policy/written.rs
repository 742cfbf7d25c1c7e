//! `Serialize` and `Deserialize` for policies.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use super::{AlgorithmOffer, FromCheck, GuessPolicy, MethodSet, RegisterAs};
use crate::digest::{Algorithm, GuessRate};

/// The serialized form of [`GuessPolicy`]. A missing limit keeps its default.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuessPolicyForm {
    source: Option<GuessRate>,
    pair: Option<GuessRate>,
    name: Option<GuessRate>,
    any_name: Option<GuessRate>,
}

impl From<GuessPolicyForm> for GuessPolicy {
    fn from(form: GuessPolicyForm) -> Self {
        Self {
            source: form.source.unwrap_or(Self::DEFAULT.source),
            pair: form.pair.unwrap_or(Self::DEFAULT.pair),
            name: form.name.or(Self::DEFAULT.name),
            any_name: form.any_name.or(Self::DEFAULT.any_name),
        }
    }
}

/// Serializes as a list of algorithm names.
impl Serialize for AlgorithmOffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Reads the name of a preset, or a list of algorithm names in any case.
impl<'de> Deserialize<'de> for AlgorithmOffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PresetOrList;

        impl<'de> Visitor<'de> for PresetOrList {
            type Value = AlgorithmOffer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (name, _) in AlgorithmOffer::PRESETS {
                    write!(f, "`{name}`, ")?;
                }
                f.write_str("or a list of names such as `MD5`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AlgorithmOffer, E> {
                let preset = AlgorithmOffer::PRESETS.into_iter().find(|(name, _)| *name == text);
                preset
                    .map(|(_, offer)| offer)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut names: A,
            ) -> Result<AlgorithmOffer, A::Error> {
                let mut algorithms = Vec::new();
                while let Some(Named(algorithm)) = names.next_element()? {
                    algorithms.push(algorithm);
                }
                AlgorithmOffer::new(algorithms).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(PresetOrList)
    }
}

/// Serializes as a boolean where one suffices, so that the bytes of stored policies stay the same.
impl Serialize for FromCheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::User => serializer.serialize_bool(true),
            Self::UserOrAnonymous => serializer.serialize_str(Self::OR_ANONYMOUS),
        }
    }
}

/// Reads a boolean or `or-anonymous`.
impl<'de> Deserialize<'de> for FromCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BooleanOrName;

        impl Visitor<'_> for BooleanOrName {
            type Value = FromCheck;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "false, true or \"{}\"", FromCheck::OR_ANONYMOUS)
            }

            fn visit_bool<E: de::Error>(self, must_match: bool) -> Result<FromCheck, E> {
                Ok(must_match.into())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FromCheck, E> {
                match text {
                    FromCheck::OR_ANONYMOUS => Ok(FromCheck::UserOrAnonymous),
                    // to quote the text would read as if the boolean had been found
                    "true" | "false" => Err(E::invalid_type(Unexpected::Str(text), &self)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(BooleanOrName)
    }
}

/// Serializes as a list of methods.
impl Serialize for MethodSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Reads a list of methods.
impl<'de> Deserialize<'de> for MethodSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List {
            expected: "a list of methods such as `INVITE`",
            max: MethodSet::MAX_METHODS,
            new: |methods| MethodSet::new(methods.iter().map(|Method(method)| method)),
        })
    }
}

/// A method that a set can have, read by itself so that an error has its place in the list.
struct Method(String);

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let method = String::deserialize(deserializer)?;
        MethodSet::check_member(&method).map_err(de::Error::custom)?;
        Ok(Self(method))
    }
}

/// Serializes as a list of templates.
impl Serialize for RegisterAs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Reads a list of templates.
impl<'de> Deserialize<'de> for RegisterAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List {
            expected: "a list of templates such as `{user}`",
            max: RegisterAs::MAX_TEMPLATES,
            new: |templates| RegisterAs::new(templates.iter().map(|Template(template)| template)),
        })
    }
}

/// A template that a list can have, read by itself so that an error has its place in the list.
struct Template(String);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let template = String::deserialize(deserializer)?;
        RegisterAs::check_template(&template).map_err(de::Error::custom)?;
        Ok(Self(template))
    }
}

/// Reads a list, and makes a value of its members. It keeps at most one member more than `max`, which is
/// enough for the error.
struct List<M, T, E> {
    expected: &'static str,
    max: usize,
    new: fn(Vec<M>) -> Result<T, E>,
}

impl<'de, M: Deserialize<'de>, T, E: fmt::Display> Visitor<'de> for List<M, T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<T, A::Error> {
        let mut kept = Vec::new();
        while let Some(member) = members.next_element()? {
            if kept.len() <= self.max {
                kept.push(member);
            }
        }
        (self.new)(kept).map_err(de::Error::custom)
    }
}

/// An algorithm, read from its name in any case.
struct Named(Algorithm);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Algorithm::from_name(name.as_bytes()).map(Self).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            let name: String = name.chars().take(40).collect();
            de::Error::custom(format_args!("expected one of {known}, found `{name}`"))
        })
    }
}
