//! Writes the answer to a question.

use sip_authz::{Accept, Authorizer, CredentialsField, Decision, Snapshot};

use super::question::Undecided;
use crate::answer::{AnswerWriter, Outcome};

/// The header with the code and reason of a rejection.
pub const ERROR_HEADER: &str = "X-Authz-Error";

/// The outcome of a decision.
#[must_use]
pub fn outcome_of(decision: &Decision) -> Outcome {
    match decision {
        Decision::Accept(_) => Outcome::Accept,
        Decision::Challenge(_) => Outcome::Challenge,
        Decision::Reject(_) => Outcome::Reject,
    }
}

/// The frame with the answer of a decision. `snapshot` has the name of the target.
#[must_use]
pub fn decided(
    id: u64,
    decision: &Decision,
    authorizer: &Authorizer,
    snapshot: &Snapshot,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = AnswerWriter::new(&mut bytes, id, outcome_of(decision));
    if let Decision::Accept(accept) = decision {
        writer = accepted(writer, accept);
    }
    if let Some(refusal) = authorizer.refusal(decision) {
        writer = writer.status(refusal.status()).phrase(refusal.phrase());
        for (name, value) in refusal.headers() {
            writer = writer.header_line(name, value);
        }
        if let Some((reason, code)) = refusal.reason().and_then(|it| Some((it, it.code()?))) {
            writer = writer.header_line(ERROR_HEADER, format_args!("{code} {}", reason.as_str()));
        }
    }
    if let Some(target) = decision.target() {
        writer = writer.target(&target.to_string());
        if let Some(name) = snapshot.target_view(target).and_then(|view| view.name) {
            writer = writer.target_name(name.as_str());
        }
    }
    writer = writer.reason(decision.reason());
    if let Some(cause) = decision.cause() {
        writer = writer.cause(cause.as_str());
    }
    if writer.end().is_err() {
        return failed(id);
    }
    bytes
}

fn accepted<'o>(mut writer: AnswerWriter<'o>, accept: &Accept) -> AnswerWriter<'o> {
    writer = writer.account(&accept.account.as_str());
    if let Some(proved) = &accept.credential {
        let used = proved.header;
        // there are far fewer credentials than numbers
        let index = u16::try_from(used.index_of_name).unwrap_or(u16::MAX);
        writer = writer.used_header(index, name_of(used.field)).user(&proved.username);
    }
    for permission in accept.permissions.iter() {
        writer = writer.permission(permission);
    }
    if accept.repeat { writer.retransmission() } else { writer }
}

fn name_of(field: CredentialsField) -> &'static str {
    match field {
        CredentialsField::Authorization => "Authorization",
        CredentialsField::ProxyAuthorization => "Proxy-Authorization",
    }
}

/// The frame with the answer to a request that is not decided.
#[must_use]
pub fn undecided(id: u64, undecided: &Undecided) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = AnswerWriter::new(&mut bytes, id, Outcome::Undecided);
    if let Some((status, phrase)) = undecided.response() {
        writer = writer.status(status).phrase(&phrase);
    }
    if writer.reason(&undecided.reason()).end().is_err() {
        return failed(id);
    }
    bytes
}

/// The frame with the answer to a request that is not decided because too many others wait.
#[must_use]
pub fn overloaded(id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let writer = AnswerWriter::new(&mut bytes, id, Outcome::Overloaded).status(503);
    // without texts of others it can be written
    let _ = writer.phrase("Service Unavailable").reason("overloaded").end();
    bytes
}

/// The answer in place of one that cannot be written. It is never an accept.
fn failed(id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let writer = AnswerWriter::new(&mut bytes, id, Outcome::Undecided).status(500);
    // without texts it is short
    let _ = writer.phrase("Server Internal Error").reason("answer too long").end();
    bytes
}
