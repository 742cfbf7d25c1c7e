//! Domains and trunks: their lists, policy, last accepted call, and warnings.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use sip_authz::AccountSid;
use sip_authz::model::{Domain, Key, Mapping, Policy, Record, Target, Trunk};
use sip_authz_directory::{Cursor, Listing, Page};
use sip_authz_rest::decisions::{Filter, Outcome, Query, SilentEdge, Start};
use sip_authz_store::{Collection, Store};

use super::candidates::{self, Candidate};
use crate::App;
use crate::fields::query;
use crate::frame::{Frame, View};
use crate::names::{self, ListName, named, purpose, target_path};
use crate::problem::{Problem, html};
use crate::texts::{Time, date, time};
use crate::visit::Visit;

/// The domains, and the trunks, of a page.
const PAGE: usize = 100;
/// The accepted calls among which the last one of each domain is looked for.
const ACCEPTS: usize = 1_000;

/// A domain or trunk as a row.
pub(super) struct TargetRow {
    pub(super) name: String,
    pub(super) friendly_name: String,
    pub(super) path: String,
    lists: Vec<ListName>,
    last_accept: Option<Time>,
    pub(super) warnings: Vec<String>,
}

#[derive(Template)]
#[template(path = "targets.html")]
struct TargetsPage {
    frame: Frame,
    domains: Vec<TargetRow>,
    trunks: Vec<TargetRow>,
    next_domains: String,
    next_trunks: String,
    is_first: bool,
    silent: Vec<SilentEdge>,
}

/// A mapped list on the page of its domain.
struct MappedRow {
    name: String,
    path: String,
    purpose: &'static str,
    size: u64,
    /// The query of the page that asks before the mapping is removed.
    unmap: String,
}

#[derive(Template)]
#[template(path = "target.html")]
struct TargetPage {
    frame: Frame,
    kind: &'static str,
    row: TargetRow,
    sid: String,
    mapped: Vec<MappedRow>,
    candidates: Vec<Candidate>,
    facts: Vec<(&'static str, String)>,
    policy: Vec<(String, String)>,
    policy_is_default: bool,
    created: String,
    error: String,
    silent: Vec<SilentEdge>,
}

pub(crate) fn routes<S: Store>() -> Router<App<S>> {
    Router::new()
        .route("/console/domains", get(list::<S>))
        .route("/console/domains/{sid}", get(page::<S>))
        .route("/console/trunks/{sid}", get(page::<S>))
}

/// The fields that a domain and a trunk share.
pub(super) struct Facts {
    pub(super) target: Target,
    pub(super) account: AccountSid,
    pub(super) name: String,
    pub(super) friendly_name: String,
    secure: bool,
    registers: bool,
    has_host: bool,
    on_accept: Option<String>,
    created: u64,
}

impl From<Domain> for Facts {
    fn from(domain: Domain) -> Self {
        Self {
            target: domain.sid.into(),
            account: domain.account,
            name: domain.name.to_string(),
            friendly_name: domain.friendly_name,
            secure: domain.secure,
            registers: domain.settings.sip_registration,
            has_host: true,
            on_accept: domain.on_accept.map(|answer| answer.to_string()),
            created: domain.dates.created,
        }
    }
}

impl From<Trunk> for Facts {
    fn from(trunk: Trunk) -> Self {
        let host = trunk.name.as_ref().map(ToString::to_string);
        Self {
            target: trunk.sid.into(),
            account: trunk.account,
            has_host: host.is_some(),
            name: host.unwrap_or_else(|| named(&trunk.friendly_name, trunk.sid)),
            friendly_name: trunk.friendly_name,
            secure: trunk.secure,
            registers: false,
            on_accept: trunk.on_accept.map(|answer| answer.to_string()),
            created: trunk.dates.created,
        }
    }
}

/// `GET /console/domains`.
async fn list<S: Store>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Problem> {
    let (mut domains, mut trunks, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    let (mut next_domains, mut next_trunks) = (String::new(), String::new());
    let after = |name: &str| {
        let target = super::advice::target_of(visit.query.get(name))?;
        Some(Cursor { since: 0, key: Key::Target(target) })
    };
    let (after_domain, after_trunk) = (after("after-domain"), after("after-trunk"));
    if let Some(account) = visit.account() {
        let (accepts, missing) = last_accepts(&app, &visit, account).await;
        silent = missing;
        let with = |name: &'static str, next: Option<Cursor>| match next.map(|next| next.key) {
            Some(Key::Target(target)) => {
                query(&[("account", &visit.chosen_sid()), (name, &target.to_string())])
            }
            _ => String::new(),
        };
        // the next page of one kind shows that kind alone
        if after_trunk.is_none() {
            let page = Page { after: after_domain, size: PAGE };
            let listing: Listing<Domain> = app.directory.domains(account, page).await?;
            next_domains = with("after-domain", listing.next);
            for domain in listing.rows {
                domains.push(row(&app, &domain.into(), &accepts).await?);
            }
        }
        if after_domain.is_none() {
            let page = Page { after: after_trunk, size: PAGE };
            let listing: Listing<Trunk> = app.directory.trunks(account, page).await?;
            next_trunks = with("after-trunk", listing.next);
            for trunk in listing.rows {
                trunks.push(row(&app, &trunk.into(), &accepts).await?);
            }
        }
    }
    let page = TargetsPage {
        frame: Frame::new(&app, &visit, View::Domains, "Domains and trunks").await?,
        domains,
        trunks,
        next_domains,
        next_trunks,
        is_first: after_domain.is_none() && after_trunk.is_none(),
        silent,
    };
    Ok(html(&page))
}

/// The last accepted call of each domain and trunk, as far as it is kept, and the edges that did not answer.
async fn last_accepts<S: Store>(
    app: &App<S>,
    visit: &Visit,
    account: AccountSid,
) -> (HashMap<String, Time>, Vec<SilentEdge>) {
    let Some(decisions) = app.console.options.kept_decisions() else {
        return (HashMap::new(), Vec::new());
    };
    let mut filter = Filter::default();
    filter.outcome = Some(Outcome::Accept);
    let asker = sip_authz_rest::decisions::Asker { account: Some(account), ..visit.asker() };
    let asked = Query { filter, limit: ACCEPTS, start: Start::Newest };
    let found = decisions.0.recent(asker, asked).await;
    let mut last = HashMap::new();
    for record in found.answered.rows {
        if let Some(target) = record.target {
            last.entry(target).or_insert_with(|| time(&record.time));
        }
    }
    (last, found.answered.silent)
}

pub(super) async fn row<S: Store>(
    app: &App<S>,
    facts: &Facts,
    accepts: &HashMap<String, Time>,
) -> Result<TargetRow, Problem> {
    let lists = names::mapped(app, facts.target).await?;
    let warnings = warnings(app, facts, &lists).await?;
    Ok(TargetRow {
        name: facts.name.clone(),
        friendly_name: facts.friendly_name.clone(),
        path: target_path(facts.target),
        last_accept: accepts.get(&facts.target.to_string()).cloned(),
        lists,
        warnings,
    })
}

/// The number of entries of a mapped list.
async fn size<S: Store>(app: &App<S>, mapping: &Mapping) -> Result<usize, Problem> {
    match *mapping {
        Mapping::IpAccessControlList(_, sid) => {
            names::count(app, Collection::IpAddresses(sid)).await
        }
        Mapping::CredentialList(_, sid) | Mapping::Registration(_, sid) => {
            names::count(app, Collection::Credentials(sid)).await
        }
    }
}

async fn warnings<S: Store>(
    app: &App<S>,
    facts: &Facts,
    lists: &[ListName],
) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    let is_registration = |list: &&ListName| matches!(list.mapping, Mapping::Registration(..));
    match lists.iter().filter(|list| !is_registration(list)).count() {
        0 if lists.is_empty() => {
            warnings.push("No list is mapped, so every call is refused.".to_owned());
        }
        0 => warnings
            .push("Lists are mapped for registrations only, so every call is refused.".to_owned()),
        _ => {}
    }
    for list in lists {
        if size(app, &list.mapping).await? == 0 {
            let effect = if list.is_users { "no user" } else { "no address" };
            warnings
                .push(format!("List \u{201c}{}\u{201d} is empty: it admits {effect}.", list.name));
        }
    }
    if facts.registers && !lists.iter().any(|list| is_registration(&list)) {
        let text =
            "Registrations are on, and no list is mapped for them: every REGISTER is refused.";
        warnings.push(text.to_owned());
    }
    let head = app.console.options.state.as_ref().map(|state| state.0.head());
    if facts.secure && head.is_some_and(|head| !head.has_tls) {
        let text = "Calls must arrive over TLS, and this edge has no TLS listener (--sips).";
        warnings.push(text.to_owned());
    }
    if !facts.has_host {
        warnings.push("The trunk has no host name, so no call reaches it.".to_owned());
    }
    Ok(warnings)
}

/// The domain or trunk with this SID, if the holder of the session may see it. The admin's page is then that of
/// its owner.
pub(super) async fn find<S: Store>(
    app: &App<S>,
    visit: &mut Visit,
    sid: &str,
) -> Result<Facts, Problem> {
    let unknown = || Problem::not_found("There is no such domain or trunk.");
    let key = Key::Target(super::advice::target_of(sid).ok_or_else(unknown)?);
    let facts: Facts = match names::record(app, key).await? {
        Some(Record::Domain(domain)) => domain.into(),
        Some(Record::Trunk(trunk)) => trunk.into(),
        _ => return Err(unknown()),
    };
    visit.open(app, facts.account, unknown).await?;
    Ok(facts)
}

/// `GET /console/domains/{sid}` and `GET /console/trunks/{sid}`.
async fn page<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let facts = find(&app, &mut visit, &sid).await?;
    answer(&app, &visit, facts, String::new()).await
}

pub(super) async fn answer<S: Store>(
    app: &App<S>,
    visit: &Visit,
    facts: Facts,
    error: String,
) -> Result<Response, Problem> {
    let (accepts, silent) = last_accepts(app, visit, facts.account).await;
    let row = row(app, &facts, &accepts).await?;
    let mut mapped = Vec::new();
    for list in &row.lists {
        mapped.push(MappedRow {
            name: list.name.clone(),
            path: list.path.clone(),
            purpose: purpose(&list.mapping),
            size: size(app, &list.mapping).await? as u64,
            unmap: query(&[("list", &candidates::value(&list.mapping))]),
        });
    }
    let record = app.directory.policy(facts.account, facts.target).await?;
    let is_trunk = matches!(facts.target, Target::Trunk(_));
    let kind = if is_trunk { "Trunk" } else { "Domain" };
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut shown = vec![
        ("TLS only", yes(facts.secure)),
        (
            "Answer to accepted calls",
            facts.on_accept.clone().unwrap_or_else(|| "default of the edge".to_owned()),
        ),
    ];
    if !is_trunk {
        shown.push(("Registrations", yes(facts.registers)));
    }
    let page = TargetPage {
        frame: Frame::new(app, visit, View::Domains, format!("{kind} {}", facts.name)).await?,
        kind,
        row,
        sid: facts.target.to_string(),
        mapped,
        candidates: candidates::candidates(app, facts.account, facts.target).await?,
        facts: shown,
        policy_is_default: record.policy == Policy::default(),
        policy: policy(&record.policy),
        created: date(facts.created),
        error,
        silent,
    };
    Ok(html(&page))
}

/// The fields of a policy with the names that TOML and the REST API use.
fn policy(policy: &Policy) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut add = |name: &str, value: Result<serde_json::Value, serde_json::Error>| {
        let text = match value {
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Bool(yes)) => if yes { "yes" } else { "no" }.to_owned(),
            Ok(serde_json::Value::Array(all)) => {
                let texts = all
                    .iter()
                    .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
                texts.collect::<Vec<_>>().join(", ")
            }
            Ok(other) => other.to_string(),
            Err(_) => return,
        };
        fields.push((name.to_owned(), text));
    };
    macro_rules! all {
        ($($(#[$doc:meta])* $field:ident: $type:ty = $parameter:literal [$($stored:meta)?];)*) => {
            $(add(stringify!($field), serde_json::to_value(&policy.$field));)*
        };
    }
    sip_authz::policy_fields!(all);
    let rate = |rate: sip_authz::digest::GuessRate| {
        format!("{} wrong, then one in {} ms", rate.burst, rate.refill_ms)
    };
    let guesses = &policy.guesses;
    fields.push(("guesses of a name from a source".to_owned(), rate(guesses.pair)));
    for (name, limit) in
        [("guesses of a name", guesses.name), ("guesses of a source", guesses.any_name)]
    {
        fields.push((name.to_owned(), limit.map_or_else(|| "no limit".to_owned(), rate)));
    }
    fields
}
