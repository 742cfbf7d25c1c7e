//! Deserialises one value of the tree with serde.
//!
//! Errors have their place, the expected value and the type that was found. They do not quote values of
//! the wrong type.

use std::fmt;
use std::ops::Range;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::keys::home_of;
use crate::place::is_plain;
use crate::problem::{Problems, Subject};

type Span = Range<usize>;

/// Deserialises a value and reports every part of it that is wrong.
///
/// Serde stops at the first error. So this function removes the invalid part and reads the value
/// again. The result has the type's default for each removed part, or is `None` if there is no default.
pub(crate) fn read<T: DeserializeOwned>(
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<T> {
    let mut left_out = Vec::new();
    loop {
        let error = match T::deserialize(Node { value, left_out: &left_out }) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let span = error.span.unwrap_or_else(|| value.span());
        if !error.is_consequence {
            let subject = error.missing.map_or(Subject::Value, |_| Subject::Missing);
            problems.add(span.clone(), error.message, subject);
        }
        // the second condition prevents an endless loop
        if span == value.span() || left_out.contains(&span) {
            return None;
        }
        left_out.push(span);
    }
}

/// The type of a value, with an article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The message for an unknown key of a table.
pub(crate) fn unknown_key(key: &str, expected: &[&str]) -> String {
    let named =
        if is_plain(key) { format!("unknown key `{key}`") } else { "unknown key".to_owned() };
    match nearest(key, expected) {
        Some(meant) => format!("{named}, did you mean `{meant}`?"),
        None => match home_of(key) {
            Some(home) => format!("{named} here; it belongs {home}"),
            None => format!("{named}, expected {}", one_of(expected)),
        },
    }
}

/// The candidate closest to `word`, if it is close enough to be a typing error.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    // the comparison is quadratic in the length, and no key is that long
    if word.len() > 40 {
        return None;
    }
    let distances = candidates.iter().map(|candidate| (distance(word, candidate), *candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= (candidate.len() / 3).clamp(1, 3)).then_some(candidate)
}

/// The number of letters to insert, delete, replace or swap with the next one (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (row, letter) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut previous_b = None;
        for (column, other) in b.iter().enumerate() {
            let at = |costs: &[usize], column: usize| costs.get(column).copied().unwrap_or(0);
            let replaced = at(&last, column) + usize::from(letter != other);
            let mut least = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            if previous_a == Some(other) && previous_b == Some(letter) {
                least = least.min(at(&before_last, column.saturating_sub(1)) + 1);
            }
            current.push(least);
            previous_b = Some(other);
        }
        before_last = std::mem::replace(&mut last, current);
        previous_a = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

/// The words in backticks, the last one after "or".
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

/// An error in a value.
#[derive(Debug)]
pub(crate) struct ValueError {
    message: String,
    span: Option<Span>,
    /// The key that is missing.
    missing: Option<&'static str>,
    /// Whether an array or table is invalid as a whole only because a part of it was removed.
    is_consequence: bool,
}

impl ValueError {
    fn placed(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// Marks an error of a whole array or table as a consequence if the condition holds.
    fn after(mut self, is_consequence: impl FnOnce() -> bool) -> Self {
        self.is_consequence |= self.span.is_none() && is_consequence();
        self
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None, missing: None, is_consequence: false }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => "an integer",
            Unexpected::Float(_) => "a float",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            Unexpected::Other(kind) => kind,
            _ => "another value",
        };
        Self::custom(format_args!("expected {}, found {found}", wanted(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = wanted(expected);
        match found {
            Unexpected::Signed(number) => {
                Self::custom(format_args!("expected {expected}, found {number}"))
            }
            Unexpected::Unsigned(number) => {
                Self::custom(format_args!("expected {expected}, found {number}"))
            }
            Unexpected::Str(text) => {
                Self::custom(format_args!("expected {expected}, found `{}`", shortened(text)))
            }
            _ => Self::custom(format_args!("expected {expected}")),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let found = shortened(variant);
        Self::custom(format_args!("expected {}, found `{found}`", one_of(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown_key(field, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::custom(missing_key(field)) }
    }
}

/// The message for a missing key.
pub(crate) fn missing_key(key: &str) -> String {
    format!("missing key `{key}`")
}

/// The beginning of a text from the file, without control characters.
fn shortened(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The expected value in terms of TOML instead of Rust.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => format!("an integer from 0 to {}", u8::MAX),
        "u16" => format!("an integer from 0 to {}", u16::MAX),
        "u32" => format!("an integer from 0 to {}", u32::MAX),
        "u64" | "usize" => "an integer from 0".to_owned(),
        "a nonzero u32" => format!("an integer from 1 to {}", u32::MAX),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        _ => text,
    }
}

/// A value without its invalid parts.
#[derive(Clone, Copy)]
struct Node<'t> {
    value: &'t Spanned<DeValue<'t>>,
    left_out: &'t [Span],
}

impl<'t> Node<'t> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Integer(number) => {
                let (digits, radix) = (number.as_str(), number.radix());
                if let Ok(number) = i64::from_str_radix(digits, radix) {
                    visitor.visit_i64(number)
                } else if let Ok(number) = u64::from_str_radix(digits, radix) {
                    visitor.visit_u64(number)
                } else {
                    Err(de::Error::invalid_type(
                        Unexpected::Other("an integer of more than 64 bits"),
                        &visitor,
                    ))
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(de::Error::invalid_type(Unexpected::Float(0.0), &visitor)),
            },
            DeValue::Datetime(_) => {
                let found = Unexpected::Other(kind(self.value.get_ref()));
                Err(de::Error::invalid_type(found, &visitor))
            }
            DeValue::Array(items) => {
                let read = visitor.visit_seq(Items { node: self, items, next: 0 });
                let spans = items.iter().map(Spanned::span);
                read.map_err(|error| error.after(|| self.has_left_out(spans)))
            }
            DeValue::Table(table) => {
                let read =
                    visitor.visit_map(Entries { node: self, entries: table.iter(), value: None });
                let spans = table.iter().flat_map(|(key, value)| [key.span(), value.span()]);
                read.map_err(|error| match error.missing {
                    Some(key) => error.after(|| is_left_out(table, key, self.left_out)),
                    None => error.after(|| self.has_left_out(spans)),
                })
            }
        }
    }

    fn has_left_out(&self, mut spans: impl Iterator<Item = Span>) -> bool {
        !self.left_out.is_empty() && spans.any(|span| self.left_out.contains(&span))
    }
}

/// Whether the table's `key` was removed, or an unknown key that is a misspelling of it.
fn is_left_out(table: &DeTable<'_>, key: &'static str, left_out: &[Span]) -> bool {
    table.iter().any(|(present, value)| {
        let out = left_out.contains(&present.span()) || left_out.contains(&value.span());
        out && (present.get_ref() == key || nearest(present.get_ref(), &[key]).is_some())
    })
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.visit(visitor).map_err(|error| error.placed(self.value.span()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    /// Reads a table. Serde would also take an array for a structure.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if matches!(self.value.get_ref(), DeValue::Array(_)) {
            let error: ValueError = de::Error::invalid_type(Unexpected::Seq, &visitor);
            return Err(error.placed(self.value.span()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self).map_err(|error| error.placed(self.value.span()))
    }

    /// Reads the name of a variant; no type of the configuration has variants with content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let read = match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            other => Err(de::Error::invalid_type(Unexpected::Other(kind(other)), &"a string")),
        };
        read.map_err(|error: ValueError| error.placed(self.value.span()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'t> {
    node: Node<'t>,
    items: &'t DeArray<'t>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let left_out = self.node.left_out;
        while let Some(value) = self.items.get(self.next) {
            self.next += 1;
            if !left_out.contains(&value.span()) {
                let read = seed.deserialize(Node { value, left_out });
                return read.map(Some).map_err(|error| error.placed(value.span()));
            }
        }
        Ok(None)
    }
}

struct Entries<'t, I> {
    node: Node<'t>,
    entries: I,
    value: Option<&'t Spanned<DeValue<'t>>>,
}

impl<'t, 'de, I> MapAccess<'de> for Entries<'t, I>
where
    I: Iterator<Item = (&'t Spanned<toml::de::DeString<'t>>, &'t Spanned<DeValue<'t>>)>,
{
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let left_out = self.node.left_out;
        for (key, value) in self.entries.by_ref() {
            if left_out.contains(&key.span()) || left_out.contains(&value.span()) {
                continue;
            }
            self.value = Some(value);
            let read = seed.deserialize(key.get_ref().as_ref().into_deserializer());
            return read.map(Some).map_err(|error: ValueError| error.placed(key.span()));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        match self.value.take() {
            Some(value) => {
                let read = seed.deserialize(Node { value, left_out: self.node.left_out });
                read.map_err(|error| error.placed(value.span()))
            }
            None => Err(de::Error::custom("a value was read without its key")),
        }
    }
}
