//! Mapping lists to domains and trunks.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use sip_authz::model::Mapping;
use sip_authz_store::Store;

use super::candidates::read;
use super::confirm::{ConfirmPage, back};
use super::targets::{answer, find};
use crate::App;
use crate::frame::{Frame, View};
use crate::names::{self, purpose, target_path};
use crate::problem::{Problem, html};
use crate::visit::{Change, Visit};

pub(crate) fn routes<S: Store>() -> Router<App<S>> {
    Router::new()
        .route("/console/domains/{sid}", post(map::<S>))
        .route("/console/domains/{sid}/unmap", get(ask::<S>).post(unmap::<S>))
        .route("/console/trunks/{sid}", post(map::<S>))
        .route("/console/trunks/{sid}/unmap", get(ask::<S>).post(unmap::<S>))
}

/// `POST /console/domains/{sid}`: maps a list.
async fn map<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let facts = find(&app, &mut change.visit, &sid).await?;
    let mapping = read(facts.target, change.form.get("list"));
    let mapped = match mapping {
        Some(mapping) => {
            let mapped = app.directory.map(facts.account, mapping, None).await;
            mapped.map(drop).map_err(Problem::from)
        }
        None => Err(Problem::bad("Choose a list.")),
    };
    match mapped {
        Ok(()) => Ok(back(&change, &target_path(facts.target), "mapped")),
        Err(problem) if problem.is_of_input() => {
            answer(&app, &change.visit, facts, problem.text().to_owned()).await
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /console/domains/{sid}/unmap?list=…`.
async fn ask<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let facts = find(&app, &mut visit, &sid).await?;
    let mapping = read(facts.target, visit.query.get("list"));
    let mapping = mapping.ok_or_else(|| Problem::not_found("There is no such mapping."))?;
    app.directory.mapping(facts.account, mapping).await?;
    let lists = names::mapped(&app, facts.target).await?;
    let list = lists.iter().find(|list| list.mapping == mapping);
    let list = list.ok_or_else(|| Problem::not_found("There is no such mapping."))?;
    let same = |one: &Mapping| std::mem::discriminant(one) == std::mem::discriminant(&mapping);
    let others = lists.iter().filter(|list| same(&list.mapping)).count() - 1;
    let name = &facts.name;
    let effect = match (mapping, others) {
        (Mapping::CredentialList(..), 0) => {
            format!(
                "It is the only list with users for calls at {name}: no user is asked for a password any \
                     more. Calls are then decided by source address alone, or all refused."
            )
        }
        (Mapping::IpAccessControlList(..), 0) => {
            format!(
                "It is the only list of source addresses at {name}: calls from every address are then \
                     decided by password alone, or all refused."
            )
        }
        (Mapping::Registration(..), 0) => format!("Every registration at {name} is then refused."),
        _ => format!("Callers at {name} that are in this list alone are then refused."),
    };
    let page = ConfirmPage {
        frame: Frame::new(&app, &visit, View::Domains, format!("Remove {} from {name}", list.name))
            .await?,
        question: format!(
            "Remove list \u{201c}{}\u{201d} ({}) from {name}?",
            list.name,
            purpose(&mapping)
        ),
        effects: vec![effect, "The list itself stays.".to_owned()],
        label: format!("Remove {} from {name}", list.name),
        cancel: target_path(facts.target),
    };
    Ok(html(&page))
}

/// `POST /console/domains/{sid}/unmap?list=…`.
async fn unmap<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let facts = find(&app, &mut change.visit, &sid).await?;
    let mapping = read(facts.target, change.visit.query.get("list"));
    let mapping = mapping.ok_or_else(|| Problem::not_found("There is no such mapping."))?;
    app.directory.unmap(facts.account, mapping).await?;
    Ok(back(&change, &target_path(facts.target), "unmapped"))
}
