//! Parameters: declared once for an operation, and read by that declaration.

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use zeroize::Zeroizing;

use super::error::Refusal;
use sip_authz::model::{DomainName, NameError};
use sip_authz_directory::{DirectoryError, Kind};

/// A parameter that an operation knows.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) form: ParamForm,
    pub(super) required: bool,
    pub(super) repeated: bool,
}

/// What a parameter's value is written like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ParamForm {
    Text,
    Boolean,
    Integer,
    /// Never shown by a client that can help it.
    Secret,
}

impl Param {
    pub(super) const fn new(name: &'static str, form: ParamForm) -> Self {
        Self { name, form, required: false, repeated: false }
    }

    pub(super) const fn text(name: &'static str) -> Self {
        Self::new(name, ParamForm::Text)
    }

    pub(super) const fn flag(name: &'static str) -> Self {
        Self::new(name, ParamForm::Boolean)
    }

    pub(super) const fn integer(name: &'static str) -> Self {
        Self::new(name, ParamForm::Integer)
    }

    pub(super) const fn secret(name: &'static str) -> Self {
        Self::new(name, ParamForm::Secret)
    }

    /// The same parameters, of which the first is required.
    pub(super) const fn first_required<const N: usize>(params: &[Self]) -> [Self; N] {
        let mut changed = [Self::text(""); N];
        changed.copy_from_slice(params);
        if let Some(first) = changed.first_mut() {
            first.required = true;
        }
        changed
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn repeated(self) -> Self {
        Self { repeated: true, ..self }
    }
}

/// The parameters that came with a request, as far as its operation knows them.
pub(super) struct Form {
    pub(super) kind: Kind,
    values: Vec<(&'static str, Zeroizing<String>)>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`. Required parameters are there, and none is given
    /// twice that must not be.
    pub(super) fn read(kind: Kind, params: &'static [Param], text: &[u8]) -> Result<Self, Refusal> {
        let mut form = Self { kind, values: Vec::new() };
        for pair in text.split(|byte| *byte == b'&') {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = form.decode(halves.next().unwrap_or_default())?;
            let value = form.decode(halves.next().unwrap_or_default())?;
            let Some(param) = params.iter().find(|param| param.name == *name) else {
                continue;
            };
            if !param.repeated && form.text(param.name).is_some() {
                return Err(form.wrong(param.name, "must not be repeated"));
            }
            form.values.push((param.name, value));
        }
        let missing = params.iter().find(|param| {
            param.required && form.text(param.name).is_none_or(|value| value.is_empty())
        });
        match missing {
            Some(param) => Err(form.wrong(param.name, "is required")),
            None => Ok(form),
        }
    }

    /// A parameter's (first) value.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is declared as required.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| self.wrong(name, "is required"))
    }

    /// All values of a parameter that can be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let values = self.values.iter().filter(|(known, _)| *known == name);
        values.map(|(_, value)| value.to_string()).collect()
    }

    /// A value that is read from text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        let wrong = |error| Refusal::invalid(self.kind, format!("{name}: {error}"));
        let parse = |text: &str| text.parse().map_err(wrong);
        self.text(name).map(parse).transpose()
    }

    /// A value that is cleared by an empty text: `Some(None)`.
    pub(super) fn clearable<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<Option<T>>, Refusal> {
        match self.text(name) {
            Some("") => Ok(Some(None)),
            _ => Ok(self.parsed(name)?.map(Some)),
        }
    }

    /// `true` or `false`, in any case.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// One of the names that serde knows the variants of `T` by.
    pub(super) fn choice<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let read = |text: &str| {
            let text: StrDeserializer<'_, value::Error> = text.into_deserializer();
            T::deserialize(text).map_err(|error| self.wrong(name, format_args!("has an {error}")))
        };
        self.text(name).map(read).transpose()
    }

    /// An absolute `http` or `https` URL, or an empty text that clears it.
    pub(super) fn url(&self, name: &str) -> Result<Option<Option<String>>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if text.is_empty() {
            return Ok(Some(None));
        }
        let after = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = text.len() <= 2_048 && !text.chars().any(|c| c.is_control() || c == ' ');
        if !plain || after.is_none_or(|after| after.is_empty() || after.starts_with('/')) {
            return Err(self.wrong(name, "must be an http or https URL of at most 2048 bytes"));
        }
        Ok(Some(Some(text.to_owned())))
    }

    /// The refusal of a parameter.
    pub(super) fn wrong(&self, name: &str, what: impl Display) -> Refusal {
        Refusal::invalid(self.kind, format!("{name} {what}"))
    }

    fn decode(&self, text: &[u8]) -> Result<Zeroizing<String>, Refusal> {
        let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let spaced = Zeroizing::new(spaced);
        match String::from_utf8(percent_decode(&spaced).collect()) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(_) => Err(Refusal::invalid(self.kind, "the parameters are not UTF-8")),
        }
    }
}

/// The host name of a domain or trunk.
pub(super) fn domain_name(kind: Kind, text: &str) -> Result<DomainName, Refusal> {
    text.parse().map_err(|error: NameError| {
        DirectoryError::BadName { kind, message: format!("DomainName: {error}") }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &[Param] =
        &[Param::text("Name").required(), Param::flag("On"), Param::text("Many").repeated()];

    fn read(text: &str) -> Result<Form, Refusal> {
        Form::read(Kind::Domain, PARAMS, text.as_bytes())
    }

    #[test]
    fn values_are_decoded_and_unknown_names_ignored() {
        let form = read("Name=a+b%20c%26&Other=1&Many=x&Many=&On=TRUE&&=").unwrap();
        assert_eq!(form.text("Name"), Some("a b c&"));
        assert_eq!(form.flag("On").unwrap(), Some(true));
        assert_eq!(form.all("Many"), ["x", ""]);
        assert_eq!(form.text("Other"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[NameOMy%=&+0-9A-F]{0,40}") {
            for text in [&bytes, text.as_bytes()] {
                if let Ok(form) = Form::read(Kind::Domain, PARAMS, text) {
                    assert!(form.text("Name").is_some_and(|name| !name.is_empty()));
                    assert!(form.all("On").len() <= 1);
                }
            }
        }
    }

    #[test]
    fn wrong_forms_are_refused() {
        for text in ["", "Name=", "name=a", "Name=a&Name=b", "Name=%FF", "%FF=1&Name=a"] {
            assert!(read(text).is_err(), "{text}");
        }
        for on in ["", "1", "yes", "tru"] {
            assert!(read(&format!("Name=a&On={on}")).unwrap().flag("On").is_err(), "{on}");
        }
        for url in ["ftp://a", "http://", "http:///x", "//a", "http://a b", "javascript:x"] {
            assert!(read(&format!("Name={url}")).unwrap().url("Name").is_err(), "{url}");
        }
    }
}
