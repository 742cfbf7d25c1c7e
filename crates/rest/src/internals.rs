//! The body of the fuzz target for client input: form bodies and the queries of listings.

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

/// The parameters of [`fuzz_rest_form`]: name, required, repeatable.
pub fn fuzz_rest_params() -> impl Iterator<Item = (&'static str, bool, bool)> {
    PARAMS.iter().map(|param| (param.name, param.required, param.repeated))
}

/// Parses `bytes` as a form body and as the query of a listing, and checks the invariants of both.
/// Returns the values of a valid form, sorted by the order of the declared parameters.
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
        // a valid name survives a round trip
        assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    }
    let mut values = Vec::new();
    for param in PARAMS {
        values.extend(form.all(param.name).into_iter().map(|value| (param.name, value)));
    }
    Some(values)
}
