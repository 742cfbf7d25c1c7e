//! The steps of a decision, with the names of the resources that its record has by SID.

use std::str::FromStr;

use sip_authz::AccountSid;
use sip_authz::model::{Key, Record};
use sip_authz_rest::decisions::{DecisionRecord, StepNames};
use sip_authz_store::Store;

use crate::App;
use crate::names::{self, named};
use crate::problem::Problem;
use crate::texts::is_refused;
use crate::visit::Visit;

/// A step: a check in words, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepLine {
    pub(crate) text: String,
    pub(crate) sign: &'static str,
    pub(crate) word: &'static str,
    pub(crate) class: &'static str,
}

impl StepLine {
    pub(crate) fn new(passed: Option<bool>, text: impl Into<String>) -> Self {
        let (sign, word, class) = match passed {
            Some(true) => ("\u{2713}", "passed", "good"),
            Some(false) => ("\u{2717}", "failed", "bad"),
            None => ("\u{2022}", "noted", "quiet"),
        };
        Self { text: text.into(), sign, word, class }
    }
}

/// The steps of `record`, in the order of the decision.
pub(crate) async fn steps<S: Store>(
    app: &App<S>,
    visit: &Visit,
    record: &DecisionRecord,
) -> Result<Vec<StepLine>, Problem> {
    let steps = record.steps(&step_names(app, visit, record).await?);
    let refused = is_refused(record);
    // a challenge ends at a step that is no error of the caller
    let line = |step: sip_authz_rest::decisions::RecordStep| {
        StepLine::new((step.passed || refused).then_some(step.passed), step.text)
    };
    Ok(steps.into_iter().map(line).collect())
}

/// The names of the SIDs of a record.
async fn step_names<S: Store>(
    app: &App<S>,
    visit: &Visit,
    record: &DecisionRecord,
) -> Result<StepNames, Problem> {
    let mut names = StepNames::default();
    if let Some(sid) = parsed::<AccountSid>(record.account.as_deref())
        && let Some(Record::Account(account)) = names::record(app, Key::Account(sid)).await?
    {
        names.account = Some(named(&account.friendly_name, sid));
    }
    if let Some(sid) = parsed(record.access_list.as_deref()) {
        names.access_list = Some(names::access_list(app, sid).await?);
    }
    if let Some(sid) = parsed(record.address.as_deref())
        && let Some(Record::IpAddress(entry)) = names::record(app, Key::IpAddress(sid)).await?
    {
        names.address = Some(entry.prefix.to_string());
    }
    let user = record.credential.as_deref().or(record.claimed.as_deref());
    if let Some(sid) = parsed(user) {
        let known = names::credential(app, visit, sid).await?;
        names.credential_list = known.map(|(_, list)| list);
    }
    Ok(names)
}

fn parsed<T: FromStr>(sid: Option<&str>) -> Option<T> {
    sid?.parse().ok()
}
