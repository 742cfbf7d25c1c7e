//! Pages that ask before a change, and where a change leads to.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use sip_authz_store::{ListKey, Store};

use crate::App;
use crate::fields::query;
use crate::frame::{Frame, View};
use crate::names::{self, TargetName};
use crate::problem::{Problem, html, redirect};
use crate::visit::{Change, Visit};

/// A page that asks once before something is deleted or disabled.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct ConfirmPage {
    pub(crate) frame: Frame,
    /// The question, which names the object.
    pub(crate) question: String,
    /// The calls that will be refused, in words.
    pub(crate) effects: Vec<String>,
    /// The label of the button, which names the object.
    pub(crate) label: String,
    /// The path below `/console/` to return to.
    pub(crate) cancel: String,
}

/// The domains and trunks that use a list, in words.
pub(super) fn used_by(uses: &[TargetName]) -> String {
    let names: Vec<_> = uses.iter().take(5).map(|target| target.name.as_str()).collect();
    let more = match uses.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match uses.len() {
        0 => "No domain or trunk uses the list.".to_owned(),
        1 => format!("1 domain or trunk uses it: {}.", names.join(", ")),
        count => format!("{count} domains and trunks use it: {}{more}.", names.join(", ")),
    }
}

/// A list that is to be deleted.
pub(super) struct ListToDelete {
    pub(super) key: ListKey,
    /// `credential list` or `access list`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// The entries in words, such as `its 3 users`.
    pub(super) entries: String,
    /// A further effect; empty if there is none.
    pub(super) effect: &'static str,
    /// The page of the list below `/console/`.
    pub(super) path: String,
}

/// The page that asks before a list is deleted.
pub(super) async fn ask_list<S: Store>(
    app: &App<S>,
    visit: &Visit,
    list: ListToDelete,
) -> Result<Response, Problem> {
    let ListToDelete { key, kind, name, entries, effect, path } = list;
    let uses = names::users_of(app, key).await?;
    let mut effects = vec![match uses.as_slice() {
        [] => "No domain or trunk uses the list, so no call is affected.".to_owned(),
        uses => {
            format!("{} Remove it from them first: a list in use is not deleted.", used_by(uses))
        }
    }];
    effects.extend(Some(effect.to_owned()).filter(|effect| !effect.is_empty()));
    let page = ConfirmPage {
        frame: Frame::new(app, visit, View::Lists, format!("Delete {kind} {name}")).await?,
        question: format!("Delete {kind} \u{201c}{name}\u{201d} with {entries}?"),
        effects,
        label: format!("Delete list {name}"),
        cancel: path,
    };
    Ok(html(&page))
}

/// The way after a list was deleted: to all lists.
pub(super) fn to_lists(change: &Change) -> Response {
    let with = query(&[("account", &change.visit.chosen_sid()), ("done", "list-deleted")]);
    redirect(&format!("{}lists{with}", change.visit.root))
}

/// The path parameters of a list and an entry.
pub(super) type Pair = Path<(String, String)>;

/// The way after a change: to the page that the form names, if it is one of the console.
pub(super) fn back(change: &Change, otherwise: &str, done: &str) -> Response {
    let named = crate::login::safe_next(change.form.get("back"));
    let to = if named.is_empty() || named.contains('?') { otherwise } else { named };
    redirect(&format!("{}{to}{}", change.visit.root, query(&[("done", done)])))
}
