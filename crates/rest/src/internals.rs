//! The body of the fuzz target for what clients write: form bodies and the queries of listings.

use super::form::{Form, Param};
use super::page;
use sip_authz::model::{DomainName, HttpMethod};
use sip_authz_directory::Kind;

const PARAMS: &[Param] = &[
    Param::text("Name").required(),
    Param::text("Url"),
    Param::text("Method"),
    Param::flag("On"),
    Param::integer("Size"),
    Param::text("Many").repeated(),
];

/// The names that [`fuzz_rest_form`] knows, and of each whether it is required and may be repeated.
pub fn fuzz_rest_params() -> impl Iterator<Item = (&'static str, bool, bool)> {
    PARAMS.iter().map(|param| (param.name, param.required, param.repeated))
}

/// Reads `bytes` as a form body, and as the query of a listing, and checks what must hold of both.
/// Returns the values of the form in the order of their names, if it is not refused.
pub fn fuzz_rest_form(bytes: &[u8]) -> Option<Vec<(&'static str, String)>> {
    if let Ok(query) = std::str::from_utf8(bytes) {
        page::check_query(query);
    }
    let form = Form::read(Kind::Domain, PARAMS, bytes).ok()?;
    assert!(form.required("Name").is_ok_and(|name| !name.is_empty()));
    if let Ok(Some(Some(url))) = form.url("Url") {
        assert!(url.starts_with("http") && !url.chars().any(char::is_control), "{url:?}");
    }
    if let Ok(Some(size)) = form.parsed::<u64>("Size") {
        assert_eq!(form.text("Size").and_then(|text| text.parse().ok()), Some(size));
    }
    if let Ok(Some(on)) = form.flag("On") {
        assert!(form.text("On").is_some_and(|text| text.eq_ignore_ascii_case(&on.to_string())));
    }
    let _ = form.choice::<HttpMethod>("Method");
    if let Ok(Some(Some(name))) = form.clearable::<DomainName>("Name") {
        // a name that was taken can be written and taken again
        assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    }
    let mut values = Vec::new();
    for param in PARAMS {
        values.extend(form.all(param.name).into_iter().map(|value| (param.name, value)));
    }
    Some(values)
}
