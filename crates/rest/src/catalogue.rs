//! What the error codes mean, at `/errors/{code}`.

use axum::Router;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::Refusal;

const CODES: &[(u32, &str)] = &[
    (20_001, "A parameter is missing, repeated or not what it may be."),
    (20_003, "The credentials are missing or wrong, or do not permit this."),
    (20_004, "The resource knows no such method; the Allow header has those it knows."),
    (20_007, "PageSize is over the limit: 1000, for roles 100, if not configured otherwise."),
    (20_404, "There is no such resource, or it is another account's."),
    (20_409, "This installation takes its resources from a file; they are not changed here."),
    (20_500, "An error of this program."),
    (20_503, "The store cannot be asked at present, or changes too fast; try again later."),
    (21_230, "The account has as many SIP domains as it can have."),
    (21_231, "A parameter of a SIP domain is wrong, or the list is mapped to it already."),
    (21_232, "The name of a SIP domain is no host name, or is taken."),
    (21_233, "The SIP domain is in use and cannot be deleted."),
    (21_234, "The account has as many IP access control lists as it can have."),
    (21_235, "A parameter of an IP access control list is wrong."),
    (21_236, "The IP access control list is mapped; delete its mappings first."),
    (21_237, "The IP access control list has as many addresses as it can have."),
    (21_238, "An address or prefix is wrong, or would admit the whole internet without AllowAll."),
    (21_239, "The account has as many credential lists as it can have."),
    (21_240, "A parameter of a credential list is wrong, or its name is taken."),
    (21_241, "The credential list is mapped; delete its mappings first."),
    (21_242, "The credential list has as many credentials as it can have."),
    (21_243, "A user name or password breaks the rules, or the name is taken in its list."),
    (21_244, "The account has as many trunks as it can have."),
    (21_245, "A parameter of a trunk is wrong, or the list is associated with it already."),
    (21_247, "The trunk is in use and cannot be deleted."),
    (21_248, "The domain name of a trunk is taken."),
    (21_481, "The PageToken is not one that was given out for this listing."),
    (50_104, "The permission does not exist for roles of this type."),
    (50_105, "The type of a role is channel or deployment."),
];

pub(super) fn routes() -> Router {
    Router::new().route("/errors/{code}", get(explain))
}

async fn explain(params: Result<RawPathParams, RawPathParamsRejection>) -> Response {
    let params = params.ok();
    let wanted = params.as_ref().and_then(|params| params.iter().next()?.1.parse().ok());
    match CODES.iter().find(|(code, _)| Some(*code) == wanted) {
        Some((code, text)) => format!("{code}: {text}\n").into_response(),
        None => Refusal::not_found("there is no such error code").into_response(),
    }
}
