//! Form and query parameters. An operation declares its parameters once; parsing and OpenAPI use the
//! declaration.

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use zeroize::Zeroizing;

use super::error::{ApiError, excerpt};
use sip_authz::model::{DomainName, NameError};
use sip_authz_directory::{DirectoryError, Kind};

/// The declaration of a parameter.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) form: ParamForm,
    pub(super) required: bool,
    pub(super) repeated: bool,
}

/// The syntax of a parameter's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ParamForm {
    Text,
    Boolean,
    Integer,
    /// Text that clients should not display.
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

    /// Copies `params` and makes the first one required.
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

/// The declared parameters of a request. Unknown parameters are ignored.
pub(super) struct Form {
    pub(super) kind: Kind,
    values: Vec<(&'static str, Zeroizing<String>)>,
}

impl Form {
    /// Parses `application/x-www-form-urlencoded`. Fails if a required parameter is missing or empty, or if
    /// a parameter is repeated without permission.
    pub(super) fn read(
        kind: Kind,
        params: &'static [Param],
        text: &[u8],
    ) -> Result<Self, ApiError> {
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

    /// The first value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a required parameter.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| self.wrong(name, "is required"))
    }

    /// All values of a repeatable parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let values = self.values.iter().filter(|(known, _)| *known == name);
        values.map(|(_, value)| value.to_string()).collect()
    }

    /// The parsed value of a parameter, if the request has it.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        let wrong = |error| ApiError::invalid(self.kind, format!("{name}: {error}"));
        let parse = |text: &str| text.parse().map_err(wrong);
        self.text(name).map(parse).transpose()
    }

    /// The value of an integer parameter: digits only, since `parse` alone accepts a sign.
    pub(super) fn integer<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        self.text(name).map_or(Ok(()), |text| self.check_digits(name, text))?;
        self.parsed(name)
    }

    /// The value of an integer parameter. An empty value clears the field: `Some(None)`.
    pub(super) fn clearable_integer<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<Option<T>>, ApiError> {
        match self.text(name) {
            Some("") => Ok(Some(None)),
            _ => Ok(self.integer(name)?.map(Some)),
        }
    }

    fn check_digits(&self, name: &str, text: &str) -> Result<(), ApiError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        let text = excerpt(text);
        Err(self
            .wrong(name, format_args!("must be a number without sign and spaces, got `{text}`")))
    }

    /// The parsed value of a parameter. An empty value clears the field: `Some(None)`.
    pub(super) fn clearable<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<Option<T>>, ApiError> {
        match self.text(name) {
            Some("") => Ok(Some(None)),
            _ => Ok(self.parsed(name)?.map(Some)),
        }
    }

    /// A boolean: `true` or `false` in any case.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => {
                let text = excerpt(text);
                Err(self.wrong(name, format_args!("must be true or false, got `{text}`")))
            }
        }
    }

    /// An enumeration value, by the serde names of the variants of `T`.
    pub(super) fn choice<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let read = |text: &str| {
            let text: StrDeserializer<'_, value::Error> = text.into_deserializer();
            let invalid = |error| ApiError::invalid(self.kind, format!("{name}: {error}"));
            T::deserialize(text).map_err(invalid)
        };
        self.text(name).map(read).transpose()
    }

    /// An absolute `http` or `https` URL. An empty value clears the field.
    pub(super) fn url(&self, name: &str) -> Result<Option<Option<String>>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if text.is_empty() {
            return Ok(Some(None));
        }
        let after = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = text.len() <= 2_048 && !text.chars().any(|c| c.is_control() || c == ' ');
        if !plain || after.is_none_or(|after| after.is_empty() || after.starts_with('/')) {
            return Err(self.wrong(
                name,
                "must be an absolute http or https URL of at most 2048 bytes, without spaces",
            ));
        }
        Ok(Some(Some(text.to_owned())))
    }

    /// The error for an invalid parameter: its name and the reason.
    pub(super) fn wrong(&self, name: &str, what: impl Display) -> ApiError {
        ApiError::invalid(self.kind, format!("{name} {what}"))
    }

    fn decode(&self, text: &[u8]) -> Result<Zeroizing<String>, ApiError> {
        let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let spaced = Zeroizing::new(spaced);
        match String::from_utf8(percent_decode(&spaced).collect()) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(_) => {
                Err(ApiError::invalid(self.kind, "the parameters must be percent-encoded UTF-8"))
            }
        }
    }
}

/// Parses the host name of a domain or trunk.
pub(super) fn domain_name(kind: Kind, text: &str) -> Result<DomainName, ApiError> {
    text.parse().map_err(|error: NameError| {
        DirectoryError::BadName { kind, message: format!("DomainName: {error}") }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &[Param] =
        &[Param::text("Name").required(), Param::flag("On"), Param::text("Many").repeated()];

    fn read(text: &str) -> Result<Form, ApiError> {
        Form::read(Kind::Domain, PARAMS, text.as_bytes())
    }

    #[test]
    fn values_are_decoded_and_unknown_names_are_ignored() {
        let form = read("Name=a+b%20c%26&Other=1&Many=x&Many=&On=TRUE&&=").unwrap();
        assert_eq!(form.text("Name"), Some("a b c&"));
        assert_eq!(form.flag("On").unwrap(), Some(true));
        assert_eq!(form.all("Many"), ["x", ""]);
        assert_eq!(form.text("Other"), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_or_refused(bytes: Vec<u8>, text in "[NameOMy%=&+0-9A-F]{0,40}") {
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
        for number in ["", "%2B1", "-1", "+1", "1+", "0x1", "1.0", "%D9%A1", "4294967296"] {
            let form = read(&format!("Name={number}a&Many={number}"));
            assert!(form.unwrap().integer::<u32>("Many").is_err(), "{number}");
        }
        assert_eq!(read("Name=a&Many=007").unwrap().integer::<u32>("Many").unwrap(), Some(7));
        for url in ["ftp://a", "http://", "http:///x", "//a", "http://a b", "javascript:x"] {
            assert!(read(&format!("Name={url}")).unwrap().url("Name").is_err(), "{url}");
        }
    }
}
