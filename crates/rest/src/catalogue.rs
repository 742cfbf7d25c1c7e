//! The meaning of each error code, at `/errors/{code}`.

use axum::Router;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::ApiError;

const CODES: &[(u32, &str)] = &[
    (20_001, "A parameter or the body is missing, repeated or invalid."),
    (20_003, "The credentials are missing or wrong, or they do not permit this request."),
    (
        20_004,
        "The resource does not support this method. The Allow header lists the supported ones.",
    ),
    (20_007, "PageSize is above the limit. The default limit is 1000, for roles 100."),
    (20_404, "The resource does not exist or belongs to another account."),
    (
        20_409,
        "The server takes its resources from a file, or the format of its store cannot have the change yet.",
    ),
    (20_429, "The caller follows as many streams as it may. Close one first."),
    (20_500, "An internal error of the server."),
    (20_503, "The store is unavailable, or too many changes came at once. Try again later."),
    (21_230, "The account has reached its limit of SIP domains."),
    (21_231, "A parameter of a SIP domain is invalid, or the list is already mapped to it."),
    (21_232, "The name of a SIP domain is not a valid host name, or it is taken."),
    (21_233, "The SIP domain is in use and cannot be deleted."),
    (21_234, "The account has reached its limit of IP access control lists."),
    (21_235, "A parameter of an IP access control list is invalid."),
    (21_236, "The IP access control list is mapped. Delete its mappings first."),
    (21_237, "The IP access control list has reached its limit of addresses."),
    (21_238, "An address or prefix is invalid, or it admits every address without AllowAll=true."),
    (21_239, "The account has reached its limit of credential lists."),
    (21_240, "A parameter of a credential list is invalid, or its name is taken."),
    (21_241, "The credential list is mapped. Delete its mappings first."),
    (21_242, "The credential list has reached its limit of credentials."),
    (21_243, "A user name or password is invalid, or the list already has the user name."),
    (21_244, "The account has reached its limit of trunks."),
    (21_245, "A parameter of a trunk is invalid, or the list is already associated with it."),
    (21_247, "The trunk is in use and cannot be deleted."),
    (21_248, "The domain name of the trunk is taken."),
    (21_481, "The PageToken is invalid or belongs to another listing."),
    (
        32_200,
        "SIP: no list is mapped to the domain or trunk for calls, so it refuses every caller.",
    ),
    (32_201, "SIP: the source address of the call is in no mapped access list."),
    (32_202, "SIP: the credentials of the call are wrong, or too many wrong ones came before."),
    (32_209, "SIP: the domain, the trunk or the sips: URI requires TLS."),
    (50_104, "Roles of this type do not have this permission."),
    (50_105, "The type of a role must be channel or deployment."),
];

pub(super) fn routes() -> Router {
    Router::new().route("/errors/{code}", get(explain))
}

async fn explain(params: Result<RawPathParams, RawPathParamsRejection>) -> Response {
    let params = params.ok();
    let wanted = params.as_ref().and_then(|params| params.iter().next()?.1.parse().ok());
    match CODES.iter().find(|(code, _)| Some(*code) == wanted) {
        Some((code, text)) => format!("{code}: {text}\n").into_response(),
        None => ApiError::not_found("unknown error code").into_response(),
    }
}
