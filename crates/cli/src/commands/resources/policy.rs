//! Changes to the policy of a domain or trunk.

use sip_authz::escape_name;
use sip_authz_config::nearest;

use super::api::Api;
use crate::system::output::ProgramError;

macro_rules! parameters {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
        /// The fields of a policy, each with its parameter.
        const FIELDS: &[(&str, &str)] = &[
            $((stringify!($field), $parameter),)*
            ("guess_source_burst", "GuessSourceBurst"),
            ("guess_source_refill_ms", "GuessSourceRefillMs"),
            ("guess_pair_burst", "GuessPairBurst"),
            ("guess_pair_refill_ms", "GuessPairRefillMs"),
            ("guess_name_burst", "GuessNameBurst"),
            ("guess_name_refill_ms", "GuessNameRefillMs"),
            ("guess_any_name_burst", "GuessAnyNameBurst"),
            ("guess_any_name_refill_ms", "GuessAnyNameRefillMs"),
        ];
    };
}
sip_authz::policy_fields!(parameters);

/// The names of the fields, in their order.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(field, _)| *field)
}

/// A change to some fields of a policy.
#[derive(Debug, Default)]
pub(super) struct PolicyChange(Vec<(&'static str, String)>);

impl PolicyChange {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends the change, if there is one, to the path of the policy.
    pub(super) fn send(&self, api: &Api, path: &str) -> Result<(), ProgramError> {
        if self.is_empty() {
            return Ok(());
        }
        let form: Vec<_> =
            self.0.iter().map(|(parameter, value)| (*parameter, value.as_str())).collect();
        api.post(path, &form).map(drop)
    }
}

/// Reads texts such as `nonce_lifetime=300`.
pub(super) fn read(texts: &[String]) -> Result<PolicyChange, ProgramError> {
    let mut change = PolicyChange::default();
    for text in texts {
        let wrong =
            |why: String| ProgramError::Setup(format!("--policy {}: {why}", escape_name(text)));
        let Some((key, value)) = text.split_once('=') else {
            return Err(wrong("expected KEY=VALUE".to_owned()));
        };
        let names: Vec<_> = fields().collect();
        let Some((_, parameter)) = FIELDS.iter().find(|(field, _)| *field == key) else {
            let known = match nearest(key, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", names.join(", ")),
            };
            return Err(wrong(format!("unknown field; {known}")));
        };
        if change.0.iter().any(|(given, _)| given == parameter) {
            return Err(wrong("the field is given twice".to_owned()));
        }
        change.0.push((parameter, value.to_owned()));
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_their_parameters() {
        let texts = ["nonce_lifetime=300", "register_as=+49{user}=x", "guess_name_burst="];
        let change = read(&texts.map(str::to_owned)).unwrap();
        let parts: Vec<_> = change.0.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected =
            [("NonceLifetime", "300"), ("RegisterAs", "+49{user}=x"), ("GuessNameBurst", "")];
        assert_eq!(parts, expected);
        for (texts, part) in [
            (&["nonce_lifetime"][..], "expected KEY=VALUE"),
            (&["nonce_lifetme=1"], "did you mean `nonce_lifetime`?"),
            (&["account_sid=AC0"], "expected one of algorithms, qop, "),
            (&["=1"], "unknown field"),
            (&["qop=auth", "qop=auth-int"], "the field is given twice"),
        ] {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            let error = read(&texts).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
