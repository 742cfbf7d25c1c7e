//! The entries of an access list.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use sip_authz::acl::Prefix;
use sip_authz::model::{IpAccessControlList, Key, Record};
use sip_authz_directory::{Cursor, Page};
use sip_authz_store::{ListKey, Store};

use super::confirm::{self, ConfirmPage, ListToDelete, Pair, back, used_by};
use crate::App;
use crate::fields::query;
use crate::frame::{Frame, View};
use crate::names::{self, TargetName, named};
use crate::problem::{Problem, html};
use crate::texts::date;
use crate::visit::{Change, Visit};

/// The entries of a page.
const PAGE: usize = 100;

struct EntryRow {
    prefix: String,
    name: String,
    path: String,
    created: String,
}

#[derive(Template)]
#[template(path = "entries.html")]
struct EntriesPage {
    frame: Frame,
    name: String,
    path: String,
    rows: Vec<EntryRow>,
    next: String,
    is_first: bool,
    uses: Vec<TargetName>,
    error: String,
    /// The address in the form.
    prefix: String,
    entry_name: String,
    /// Whether the form asks for the consent to admit every address.
    asks_all: bool,
}

/// The list with this SID, if the holder of the session may see it.
async fn list<S: Store>(
    app: &App<S>,
    visit: &mut Visit,
    sid: &str,
) -> Result<IpAccessControlList, Problem> {
    let unknown = || Problem::not_found("There is no such access list.");
    let sid = sid.parse().map_err(|_| unknown())?;
    let Some(Record::IpAccessControlList(list)) =
        names::record(app, Key::IpAccessControlList(sid)).await?
    else {
        return Err(unknown());
    };
    visit.open(app, list.account, unknown).await?;
    Ok(list)
}

/// `GET /console/lists/addresses/{list}`.
pub(super) async fn page<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let list = list(&app, &mut visit, &sid).await?;
    let add = visit.query.get("add").to_owned();
    answer(&app, &visit, &list, String::new(), add, String::new()).await
}

async fn answer<S: Store>(
    app: &App<S>,
    visit: &Visit,
    list: &IpAccessControlList,
    error: String,
    prefix: String,
    entry_name: String,
) -> Result<Response, Problem> {
    let path = format!("lists/addresses/{}", list.sid);
    let after = visit.query.get("after").parse().ok();
    let after = after.map(|sid| Cursor { since: 0, key: Key::IpAddress(sid) });
    let listing =
        app.directory.ip_addresses(list.account, list.sid, Page { after, size: PAGE }).await?;
    let next = match listing.next.map(|next| next.key) {
        Some(Key::IpAddress(sid)) => query(&[("after", &sid.to_string())]),
        _ => String::new(),
    };
    let row = |entry: sip_authz::model::IpAddress| EntryRow {
        prefix: entry.prefix.to_string(),
        path: format!("{path}/{}", entry.sid),
        name: entry.friendly_name,
        created: date(entry.dates.created),
    };
    let name = named(&list.friendly_name, list.sid);
    let asks_all = prefix.parse::<Prefix>().is_ok_and(Prefix::is_whole_internet);
    let page = EntriesPage {
        frame: Frame::new(app, visit, View::Lists, format!("Access list {name}")).await?,
        rows: listing.rows.into_iter().map(row).collect(),
        name,
        path: path.clone(),
        next,
        is_first: after.is_none(),
        uses: names::users_of(app, ListKey::IpAccessControlList(list.sid)).await?,
        error,
        prefix,
        entry_name,
        asks_all,
    };
    Ok(html(&page))
}

/// `POST /console/lists/addresses/{list}`: adds an entry.
pub(super) async fn add<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let list = list(&app, &mut change.visit, &sid).await?;
    let (text, name) = (change.form.get("prefix").to_owned(), change.form.get("name").to_owned());
    let allow_all = change.form.get("all") == "yes";
    let added = match text.parse() {
        Ok(prefix) => {
            let named = if name.is_empty() { text.as_str() } else { name.as_str() };
            let directory = &app.directory;
            let added =
                directory.create_ip_address(list.account, list.sid, named, prefix, allow_all).await;
            added.map(drop).map_err(Problem::from)
        }
        Err(error) => Err(Problem::bad(format!("Address: {error}."))),
    };
    match added {
        Ok(()) => Ok(back(&change, &format!("lists/addresses/{}", list.sid), "address-added")),
        Err(problem) if problem.is_of_input() => {
            answer(&app, &change.visit, &list, problem.text().to_owned(), text, name).await
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /console/lists/addresses/{list}/delete`.
pub(super) async fn ask_list<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let list = list(&app, &mut visit, &sid).await?;
    let to_delete = ListToDelete {
        key: ListKey::IpAccessControlList(list.sid),
        kind: "access list",
        name: named(&list.friendly_name, list.sid),
        entries: "all its entries".to_owned(),
        effect: "",
        path: format!("lists/addresses/{}", list.sid),
    };
    confirm::ask_list(&app, &visit, to_delete).await
}

/// `POST /console/lists/addresses/{list}/delete`.
pub(super) async fn delete_list<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let list = list(&app, &mut change.visit, &sid).await?;
    app.directory.delete_ip_access_control_list(list.account, list.sid).await?;
    Ok(confirm::to_lists(&change))
}

/// `GET /console/lists/addresses/{list}/{entry}/delete`.
pub(super) async fn ask_entry<S: Store>(
    State(app): State<App<S>>,
    Path((sid, entry)): Pair,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let list = list(&app, &mut visit, &sid).await?;
    let unknown = || Problem::not_found("There is no such entry.");
    let entry = entry.parse().map_err(|_| unknown())?;
    let entry = app.directory.ip_address(list.account, list.sid, entry).await?;
    let (name, prefix) = (named(&list.friendly_name, list.sid), entry.prefix);
    let uses = names::users_of(&app, ListKey::IpAccessControlList(list.sid)).await?;
    let page = ConfirmPage {
        frame: Frame::new(&app, &visit, View::Lists, format!("Delete {prefix}")).await?,
        question: format!("Delete {prefix} from access list \u{201c}{name}\u{201d}?"),
        effects: vec![
            format!(
                "Calls from {prefix} are refused, unless another entry or list has the address."
            ),
            used_by(&uses),
        ],
        label: format!("Delete {prefix}"),
        cancel: format!("lists/addresses/{}", list.sid),
    };
    Ok(html(&page))
}

/// `POST /console/lists/addresses/{list}/{entry}/delete`.
pub(super) async fn delete_entry<S: Store>(
    State(app): State<App<S>>,
    Path((sid, entry)): Pair,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let list = list(&app, &mut change.visit, &sid).await?;
    let entry = entry.parse().map_err(|_| Problem::not_found("There is no such entry."))?;
    app.directory.delete_ip_address(list.account, list.sid, entry).await?;
    Ok(back(&change, &format!("lists/addresses/{}", list.sid), "address-deleted"))
}
