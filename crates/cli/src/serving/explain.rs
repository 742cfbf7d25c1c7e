//! Explains the decision on a request, for the API of a running edge and for `sip-authz check`.

use std::time::Instant;

use sip_authz::message::Message;
use sip_authz::model::Target;
use sip_authz::{
    AccountSid, Authorizer, Cause, Decision, ExplainOptions, Explanation, HeaderStep, Invite,
    InviteError, Snapshot, Step, UserOutcome, escape_name,
};
use sip_authz_config::{DomainSource, Names};
use sip_authz_rest::decisions::{ExplainError, Explained, ExplainedStep, Question, with_line_ends};

use crate::sip::edge::is_in_dialog;
use crate::sip::naming::domain_hosts;

/// The decider that explains, and the asker.
pub(crate) struct Explainer<'a> {
    pub(crate) authorizer: &'a Authorizer,
    /// The sources of the domain of a call whose Request-URI names none.
    pub(crate) default_domain: &'a [DomainSource],
    /// The account that asks. Domains and trunks of others do not exist for it. None sees all.
    pub(crate) account: Option<AccountSid>,
    /// Whether guess limits hold, and wrong digests count: for each asker of a running edge.
    pub(crate) counts_guesses: bool,
    /// The name of the edge or of the records.
    pub(crate) edge: &'a str,
}

impl Explainer<'_> {
    /// Decides a request and explains each step. `names` has the names of accounts and lists, and gets those
    /// that the explanation shows.
    pub(crate) fn explain(
        &self,
        question: &Question,
        names: &mut Names,
    ) -> Result<Explained, ExplainError> {
        let bytes = with_line_ends(&question.message);
        let invite = match Message::scan(&bytes) {
            Some(message) => Invite::from_request(&message, question.source, question.transport),
            None => Err(InviteError::NotSip),
        };
        let invite = invite.map_err(|error| ExplainError::Message(error.to_string()))?;
        if is_in_dialog(invite.method()) {
            let why = format!("{} belongs to a call, and is not decided", invite.method());
            return Err(ExplainError::Message(why));
        }
        let hosts = domain_hosts(self.default_domain, &bytes);
        let invite = hosts.iter().fold(invite, |invite, (_, host)| invite.with_domain_host(host));
        let options = ExplainOptions::default()
            .with_counts_guesses(self.counts_guesses)
            .with_account(self.account);
        let explanation = self.authorizer.explain_with(&invite, Instant::now(), options);
        if self.account.is_some() && names_no_target(&explanation) {
            return Err(ExplainError::NotYours);
        }
        let snapshot = self.authorizer.snapshot();
        name_steps(&explanation.steps, &snapshot, names);
        let mut steps = Vec::with_capacity(explanation.steps.len());
        for step in &explanation.steps {
            let text = names.annotate(&step.to_string());
            steps.push(ExplainedStep { text, passed: step.passed() });
            if let Step::DomainHost { index, .. } = step
                && let Some((source, _)) = hosts.get(*index)
            {
                let text = format!("default domain: `{source}` gives that host");
                steps.push(ExplainedStep { text, passed: None });
            }
        }
        let Explanation { decision, snapshot: number, .. } = explanation;
        let cause = decision.cause();
        Ok(Explained {
            steps,
            outcome: decision.outcome().to_owned(),
            status: decision.status(),
            reason: decision.reason().to_owned(),
            cause: cause.map(|cause| cause.to_string()),
            meaning: cause.map(|cause| cause.meaning().to_owned()),
            advice: cause.map(|cause| cause.advice().to_owned()),
            snapshot: number.unwrap_or_else(|| snapshot.number()),
            edge: self.edge.to_owned(),
        })
    }
}

/// Whether the request names no domain or trunk that the asker sees. A Request-URI that cannot be read has
/// the same defect for every asker, so its explanation shows nothing of others.
fn names_no_target(explanation: &Explanation) -> bool {
    matches!(
        &explanation.decision,
        Decision::Reject(reject) if matches!(reject.cause, Cause::UnknownHost | Cause::HostlessUri)
    )
}

/// Adds the names that the snapshot and the steps have for SIDs without a name: of domains and trunks, and of
/// users. An address has no other name than the prefix, which its step shows.
fn name_steps(steps: &[Step], snapshot: &Snapshot, names: &mut Names) {
    let mut claimed = "";
    for step in steps {
        match step {
            Step::Named { target, .. } => {
                let view = snapshot.target_view(*target);
                if let Some(name) = view.and_then(|view| view.name) {
                    match target {
                        Target::Domain(sid) => names.insert_missing(sid, name),
                        Target::Trunk(sid) => names.insert_missing(sid, name),
                    }
                }
            }
            Step::Header(_, HeaderStep::Read { username, .. }) => claimed = username,
            Step::Header(_, HeaderStep::List { outcome, .. }) if !is_hash(claimed) => {
                if let Some(sid) = credential(*outcome) {
                    names.insert_missing(sid, escape_name(claimed));
                }
            }
            _ => {}
        }
    }
}

/// The credential with the claimed name.
fn credential(outcome: UserOutcome) -> Option<sip_authz::CredentialSid> {
    match outcome {
        UserOutcome::Disabled(sid)
        | UserOutcome::NoHash(sid)
        | UserOutcome::Wrong(sid)
        | UserOutcome::Right(sid)
        | UserOutcome::BeyondCopies(sid) => Some(sid),
        _ => None,
    }
}

/// Whether a claimed name can be the hash of one (RFC 7616 §3.4.4).
fn is_hash(name: &str) -> bool {
    matches!(name.len(), 32 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
