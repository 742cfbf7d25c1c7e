//! `POST /v1/Decisions/Explain`: the decision about a message that is not sent, with each of its steps.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::request::{Question, answer};
use super::{ExplainError, Question as Asked, RequestParts, with_line_ends};
use crate::Api;
use crate::error::{ApiError, BAD_PARAMETER, excerpt};
use crate::form::{Form, Param};
use sip_authz::Transport;
use sip_authz_store::Store;

/// The parameters: a message or its parts, and the caller.
pub(super) const PARAMS: &[Param] = &[
    Param::text("Source").required(),
    Param::text("Transport"),
    Param::text("Message"),
    Param::text("Method"),
    Param::text("RequestUri"),
    Param::text("Domain"),
    Param::text("To"),
    Param::text("From"),
];

/// The parameters that make a message.
const PARTS: [&str; 5] = ["Method", "RequestUri", "Domain", "To", "From"];

/// The port of a caller whose port is not given, and of SIP.
const PORT: u16 = 5060;

pub(super) async fn explain<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, PARAMS, request).await?;
    let asked = read(&question.form)?;
    match question.decisions.explain(question.asker, asked).await {
        Ok(explained) => Ok(answer(explained)),
        Err(ExplainError::Message(defect)) => Err(ApiError::bad(
            BAD_PARAMETER,
            format!("the message is answered before any decision: {defect}"),
        )),
        Err(ExplainError::NotYours) => Err(ApiError::not_found(
            "no domain or trunk of this account has the host of the message",
        )),
    }
}

fn read(form: &Form) -> Result<Asked, ApiError> {
    let given = |name| form.text(name).filter(|text| !text.is_empty());
    let source = source(form.required("Source")?)?;
    let transport = given("Transport").map_or(Ok(Transport::Udp), transport)?;
    let message = match given("Message") {
        Some(text) => {
            if let Some(part) = PARTS.into_iter().find(|part| given(part).is_some()) {
                let message = format!("{part} must be absent beside Message");
                return Err(ApiError::bad(BAD_PARAMETER, message));
            }
            with_line_ends(text.as_bytes())
        }
        None => made(form, source, transport)?,
    };
    Ok(Asked { message, source, transport })
}

/// An address with or without port.
fn source(text: &str) -> Result<SocketAddr, ApiError> {
    let alone = || {
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address: IpAddr = address.unwrap_or(text).parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    };
    let source = text.parse().ok().or_else(alone);
    source.ok_or_else(|| {
        let expected =
            "an address with or without port, such as 192.0.2.7:5060 or [2001:db8::7]:5060";
        wrong("Source", expected, text)
    })
}

fn transport(text: &str) -> Result<Transport, ApiError> {
    text.parse().map_err(|_| wrong("Transport", "udp, tcp, tls, sctp, tls-sctp, ws or wss", text))
}

/// A message without credentials, made of its parts.
fn made(form: &Form, source: SocketAddr, transport: Transport) -> Result<Vec<u8>, ApiError> {
    let parts = RequestParts {
        method: form.text("Method"),
        request_uri: form.text("RequestUri"),
        domain: form.text("Domain"),
        to: form.text("To"),
        from: form.text("From"),
    };
    let message = parts.message(source, transport);
    message.map_err(|error| ApiError::bad(BAD_PARAMETER, error.to_string()))
}

fn wrong(name: &str, expected: &str, found: &str) -> ApiError {
    let found = excerpt(found);
    ApiError::bad(BAD_PARAMETER, format!("{name} must be {expected}, got `{found}`"))
}
