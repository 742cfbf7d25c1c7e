//! Advice to an operator about a refused call, with the button that follows it.

use sip_authz::Cause;
use sip_authz::model::Target;
use sip_authz_rest::decisions::DecisionRecord;
use sip_authz_store::Store;

use crate::App;
use crate::fields::query;
use crate::names;
use crate::problem::Problem;
use crate::texts::address_of;
use crate::visit::Visit;

/// A button or link that does something about a refusal.
pub(crate) struct Action {
    pub(crate) label: String,
    /// The address below `/console/`.
    pub(crate) path: String,
    /// Whether it is a form that changes something at once.
    pub(crate) posts: bool,
}

impl Action {
    fn link(label: impl Into<String>, path: impl Into<String>) -> Self {
        Self { label: label.into(), path: path.into(), posts: false }
    }
}

/// The maximum number of lists that are offered for one name or address.
const MAX_ACTIONS: usize = 5;

/// The advice for a record and the actions that follow it.
pub(crate) async fn advice<S: Store>(
    app: &App<S>,
    visit: &Visit,
    record: &DecisionRecord,
) -> Result<(String, Vec<Action>), Problem> {
    let advice = record.cause_in_words().advice.unwrap_or_default().to_owned();
    let Some(cause) = record.internal_cause() else { return Ok((advice, Vec::new())) };
    let mut actions = Vec::new();
    let writes = !app.console.options.read_only;
    let target = record.target.as_deref().and_then(target_of);
    let user = record.claimed_user.as_deref().unwrap_or_default();
    match cause {
        Cause::UserDisabled | Cause::WrongPassword | Cause::HashMissing if writes => {
            let sid = record.claimed.as_deref().and_then(|sid| sid.parse().ok());
            let known = match sid {
                Some(sid) => names::credential(app, visit, sid).await?,
                None => None,
            };
            if let Some((credential, list)) = known {
                let path = format!("lists/users/{}/{}", credential.list, credential.sid);
                let name = &credential.username;
                if credential.disabled {
                    actions.push(Action {
                        label: format!("Enable {name} in list \u{201c}{list}\u{201d}"),
                        path: format!("{path}/enable"),
                        posts: true,
                    });
                } else if cause == Cause::UserDisabled {
                    actions.push(Action::link(format!("{name} is enabled by now"), path));
                } else {
                    let label = format!("Set a new password for {name}");
                    actions.push(Action::link(label, format!("{path}/password")));
                }
            }
        }
        Cause::UserUnknown if writes => {
            for list in lists(app, target).await?.iter().filter(|list| list.is_users) {
                let label = format!("Add {user} to list \u{201c}{}\u{201d}", list.name);
                let path = format!("{}{}#add", list.path, query(&[("add", user)]));
                actions.push(Action::link(label, path));
            }
        }
        Cause::AddressNotListed if writes => {
            let source = record.source.as_deref().map(address_of).unwrap_or_default();
            for list in lists(app, target).await?.iter().filter(|list| !list.is_users) {
                let label = format!("Add {source} to list \u{201c}{}\u{201d}", list.name);
                let path = format!("{}{}#add", list.path, query(&[("add", source)]));
                actions.push(Action::link(label, path));
            }
        }
        Cause::GuessLimit | Cause::GuessLimitOfName | Cause::GuessLimitOfSource => {
            let with = query(&[("account", &visit.chosen_sid())]);
            actions.push(Action::link("See the held names and sources", format!("limits{with}")));
        }
        _ => {}
    }
    actions.truncate(MAX_ACTIONS);
    if let Some(target) = target
        && let Some((name, owner)) = names::target(app, target).await?
        && visit.may_see(owner)
    {
        let verb = if shows_policy(cause) { "See the policy of" } else { "See" };
        actions.push(Action::link(format!("{verb} {}", name.name), name.path));
    }
    Ok((advice, actions))
}

async fn lists<S: Store>(
    app: &App<S>,
    target: Option<Target>,
) -> Result<Vec<names::ListName>, Problem> {
    let mut lists = match target {
        Some(target) => names::mapped(app, target).await?,
        None => Vec::new(),
    };
    // a list for calls and registrations is one list
    let mut seen = std::collections::HashSet::new();
    lists.retain(|list| seen.insert(list.sid.clone()));
    Ok(lists)
}

/// The domain or trunk with this SID.
pub(crate) fn target_of(sid: &str) -> Option<Target> {
    let domain = sid.parse().map(Target::Domain).ok();
    domain.or_else(|| sid.parse().map(Target::Trunk).ok())
}

/// Whether the advice names a field of the policy.
fn shows_policy(cause: Cause) -> bool {
    cause.advice().contains('`') || cause.advice().contains("policy")
}
