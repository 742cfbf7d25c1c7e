//! Parameters that each set one field of a record.

use std::num::NonZeroU32;

use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use super::error::ApiError;
use super::error::excerpt;
use super::form::{Form, ParamForm, domain_name};
use sip_authz::digest::Algorithm;
use sip_authz::model::{
    AlgorithmOffer, ChallengeKind, DomainName, FromCheck, HttpMethod, MethodSet, MethodSetError,
    OnAccept, QopOffer, RegisterAs, RegisterAsError, TransferCallerId, TransferMode, UriCheck,
    WrongAnswer,
};
use sip_authz::{ByocTrunkSid, PhoneNumberSid};

/// The type of a field that a parameter sets.
pub(super) trait FormValue: Clone + Send + Sync + 'static {
    /// The syntax of the parameter.
    const FORM: ParamForm;

    /// The value of the parameter, if the request has it.
    fn read(form: &Form, name: &str) -> Result<Option<Self>, ApiError>;

    /// The schema of the field in a response.
    fn field_schema() -> RefOr<Schema> {
        match Self::FORM {
            ParamForm::Boolean => bool::schema(),
            ParamForm::Integer => u32::schema(),
            ParamForm::Text | ParamForm::Secret => String::schema(),
        }
    }
}

macro_rules! form_value {
    ($($type:ty: $form:ident = |$from:ident, $name:ident| $read:expr;)*) => {$(
        impl FormValue for $type {
            const FORM: ParamForm = ParamForm::$form;

            fn read($from: &Form, $name: &str) -> Result<Option<Self>, ApiError> {
                $read
            }
        }
    )*};
}

form_value! {
    bool: Boolean = |form, name| form.flag(name);
    u32: Integer = |form, name| form.integer(name);
    NonZeroU32: Integer = |form, name| form.integer(name);
    String: Text = |form, name| Ok(form.text(name).map(str::to_owned));
    Option<String>: Text = |form, name| form.url(name);
    Option<HttpMethod>: Text = |form, name| Ok(form.choice(name)?.map(Some));
    Option<ByocTrunkSid>: Text = |form, name| form.clearable(name);
    Option<PhoneNumberSid>: Text = |form, name| form.clearable(name);
    Option<OnAccept>: Text = |form, name| form.clearable(name);
    DomainName: Text =
        |form, name| form.text(name).map(|host| domain_name(form.kind, host)).transpose();
    Option<DomainName>: Text = |form, name| match form.text(name) {
        Some("") => Ok(Some(None)),
        _ => Ok(DomainName::read(form, name)?.map(Some)),
    };
    QopOffer: Text = |form, name| form.choice(name);
    UriCheck: Text = |form, name| form.choice(name);
    WrongAnswer: Text = |form, name| form.choice(name);
    ChallengeKind: Text = |form, name| form.choice(name);
    TransferMode: Text = |form, name| form.choice(name);
    TransferCallerId: Text = |form, name| form.choice(name);
}

/// The name of a preset, or a comma-separated list of algorithms.
impl FormValue for AlgorithmOffer {
    const FORM: ParamForm = ParamForm::Text;

    fn read(form: &Form, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(text) = form.text(name) else { return Ok(None) };
        let preset =
            Self::PRESETS.into_iter().find(|(preset, _)| preset.eq_ignore_ascii_case(text));
        if let Some((_, offer)) = preset {
            return Ok(Some(offer));
        }
        let mut named = Vec::new();
        for algorithm in text.split(',').map(str::trim) {
            named.push(Algorithm::from_name(algorithm.as_bytes()).ok_or_else(|| {
                let unknown = excerpt(algorithm);
                form.wrong(name, format_args!("names an unknown algorithm: `{unknown}`"))
            })?);
        }
        let offer = Self::new(named);
        offer.map(Some).map_err(|error| form.wrong(name, format_args!("is invalid: {error}")))
    }

    fn field_schema() -> RefOr<Schema> {
        Vec::<String>::schema()
    }
}

/// A comma-separated list of methods, in their case.
impl FormValue for MethodSet {
    const FORM: ParamForm = ParamForm::Text;

    fn read(form: &Form, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(text) = form.text(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|error: MethodSetError| form.wrong(name, format_args!("is invalid: {error}")))
    }

    fn field_schema() -> RefOr<Schema> {
        Vec::<String>::schema()
    }
}

/// A comma-separated list of templates.
impl FormValue for RegisterAs {
    const FORM: ParamForm = ParamForm::Text;

    fn read(form: &Form, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(text) = form.text(name) else { return Ok(None) };
        let wrong = |error: RegisterAsError| form.wrong(name, format_args!("is invalid: {error}"));
        text.parse().map(Some).map_err(wrong)
    }

    fn field_schema() -> RefOr<Schema> {
        Vec::<String>::schema()
    }
}

/// `true`, `false` or `or-anonymous`, in any case.
impl FormValue for FromCheck {
    const FORM: ParamForm = ParamForm::Text;

    fn read(form: &Form, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(text) = form.text(name) else { return Ok(None) };
        let is = |value: &str| text.eq_ignore_ascii_case(value);
        match () {
            () if is("false") => Ok(Some(Self::Off)),
            () if is("true") => Ok(Some(Self::User)),
            () if is(Self::OR_ANONYMOUS) => Ok(Some(Self::UserOrAnonymous)),
            () => {
                let (other, text) = (Self::OR_ANONYMOUS, excerpt(text));
                Err(form.wrong(name, format_args!("must be true, false or {other}, got `{text}`")))
            }
        }
    }

    fn field_schema() -> RefOr<Schema> {
        let types = SchemaType::Array(vec![Type::Boolean, Type::String]);
        let values = [json!(false), json!(true), json!(Self::OR_ANONYMOUS)];
        let schema = ObjectBuilder::new().schema_type(types).enum_values(Some(values));
        RefOr::T(Schema::Object(schema.build()))
    }
}

type Change<R> = Box<dyn Fn(&mut R) + Send + Sync>;

/// The changes that a form makes to a record of type `R`. Fields without a parameter keep their value.
pub(super) struct Changes<R>(Vec<Change<R>>);

impl<R> Default for Changes<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R: 'static> Changes<R> {
    /// Reads a parameter that sets this field.
    pub(super) fn read<T: FormValue>(
        &mut self,
        form: &Form,
        name: &str,
        field: fn(&mut R) -> &mut T,
    ) -> Result<(), ApiError> {
        if let Some(value) = T::read(form, name)? {
            self.0.push(Box::new(move |record| field(record).clone_from(&value)));
        }
        Ok(())
    }

    pub(super) fn apply(&self, record: &mut R) {
        self.0.iter().for_each(|change| change(record));
    }
}

/// Declares `PARAMS`, the parameters of a record, and `changes`, which reads them from a form. It only
/// declares the parameters behind `and`; the caller reads them.
macro_rules! changes {
    ($record:ty {
        $($name:literal => $($field:ident).+: $type:ty,)*
    } $(and $($other:expr),+)?) => {
        const PARAMS: &[Param] = &[
            $(Param::new($name, <$type as $crate::change::FormValue>::FORM),)*
            $($($other,)+)?
        ];

        fn changes(form: &Form) -> Result<$crate::change::Changes<$record>, ApiError> {
            let mut changes = $crate::change::Changes::<$record>::default();
            $(changes.read::<$type>(form, $name, |record| &mut record.$($field).+)?;)*
            Ok(changes)
        }
    };
}
pub(super) use changes;
