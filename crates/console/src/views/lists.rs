//! The lists of an account.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use sip_authz::AccountSid;
use sip_authz_directory::Page;
use sip_authz_store::{Collection, ListKey, Store};

use super::{credentials, entries};
use crate::App;
use crate::frame::{Frame, View};
use crate::names::{self, TargetName, named};
use crate::problem::{Problem, html, redirect};
use crate::texts::grouped;
use crate::visit::{Change, Visit};

/// The lists of one kind that a page shows.
const PAGE: usize = 200;

/// A list as a row.
struct ListRow {
    name: String,
    path: String,
    size: String,
    is_empty: bool,
    /// The realm of a credential list.
    realm: String,
    uses: Vec<TargetName>,
}

#[derive(Template)]
#[template(path = "lists.html")]
struct ListsPage {
    frame: Frame,
    users: Vec<ListRow>,
    addresses: Vec<ListRow>,
    /// Whether there are more lists than the page shows.
    has_more: bool,
    error: String,
    name: String,
    realm: String,
}

pub(crate) fn routes<S: Store>() -> Router<App<S>> {
    Router::new()
        .route("/console/lists", get(page::<S>).post(create::<S>))
        .route("/console/lists/addresses/{list}", get(entries::page::<S>).post(entries::add::<S>))
        .route(
            "/console/lists/addresses/{list}/delete",
            get(entries::ask_list::<S>).post(entries::delete_list::<S>),
        )
        .route(
            "/console/lists/addresses/{list}/{entry}/delete",
            get(entries::ask_entry::<S>).post(entries::delete_entry::<S>),
        )
        .route(
            "/console/lists/users/{list}",
            get(credentials::page::<S>).post(credentials::add::<S>),
        )
        .route(
            "/console/lists/users/{list}/delete",
            get(credentials::ask_list::<S>).post(credentials::delete_list::<S>),
        )
        .route("/console/lists/users/{list}/{user}", get(credentials::user::<S>))
        .route("/console/lists/users/{list}/{user}/enable", post(credentials::enable::<S>))
        .route(
            "/console/lists/users/{list}/{user}/disable",
            get(credentials::ask_disable::<S>).post(credentials::disable::<S>),
        )
        .route(
            "/console/lists/users/{list}/{user}/password",
            get(credentials::ask_password::<S>).post(credentials::set_password::<S>),
        )
        .route(
            "/console/lists/users/{list}/{user}/delete",
            get(credentials::ask_delete::<S>).post(credentials::delete::<S>),
        )
}

/// `GET /console/lists`.
async fn page<S: Store>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Problem> {
    answer(&app, &visit, String::new(), String::new(), String::new()).await
}

async fn answer<S: Store>(
    app: &App<S>,
    visit: &Visit,
    error: String,
    name: String,
    realm: String,
) -> Result<Response, Problem> {
    let (mut users, mut addresses, mut has_more) = (Vec::new(), Vec::new(), false);
    if let Some(account) = visit.account() {
        let listing = app.directory.credential_lists(account, Page::first(PAGE)).await?;
        has_more |= listing.next.is_some();
        for list in listing.rows {
            let size = names::count(app, Collection::Credentials(list.sid)).await?;
            users.push(ListRow {
                name: named(&list.friendly_name, list.sid),
                path: format!("lists/users/{}", list.sid),
                size: grouped(size as u64),
                is_empty: size == 0,
                realm: list.realm.to_string(),
                uses: names::users_of(app, ListKey::CredentialList(list.sid)).await?,
            });
        }
        let listing = app.directory.ip_access_control_lists(account, Page::first(PAGE)).await?;
        has_more |= listing.next.is_some();
        for list in listing.rows {
            let size = names::count(app, Collection::IpAddresses(list.sid)).await?;
            addresses.push(ListRow {
                name: named(&list.friendly_name, list.sid),
                path: format!("lists/addresses/{}", list.sid),
                size: grouped(size as u64),
                is_empty: size == 0,
                realm: String::new(),
                uses: names::users_of(app, ListKey::IpAccessControlList(list.sid)).await?,
            });
        }
    }
    let page = ListsPage {
        frame: Frame::new(app, visit, View::Lists, "Lists").await?,
        users,
        addresses,
        has_more,
        error,
        name,
        realm,
    };
    Ok(html(&page))
}

/// `POST /console/lists`: creates a list.
async fn create<S: Store>(State(app): State<App<S>>, change: Change) -> Result<Response, Problem> {
    change.writes(&app)?;
    let visit = &change.visit;
    let account = visit.account().ok_or_else(|| Problem::bad("Choose an account first."))?;
    let (name, realm) = (change.form.get("name"), change.form.get("realm"));
    let created = if name.is_empty() {
        Err(Problem::bad("Enter a name."))
    } else if change.form.get("kind") == "addresses" {
        let created = app.directory.create_ip_access_control_list(account, name).await;
        created.map(|list| format!("lists/addresses/{}", list.sid)).map_err(Problem::from)
    } else {
        create_users(&app, account, name, realm).await
    };
    match created {
        Ok(path) => Ok(redirect(&format!("{}{path}?done=list-created", visit.root))),
        Err(problem) if problem.is_of_input() => {
            let (name, realm) = (name.to_owned(), realm.to_owned());
            answer(&app, visit, problem.text().to_owned(), name, realm).await
        }
        Err(problem) => Err(problem),
    }
}

async fn create_users<S: Store>(
    app: &App<S>,
    account: AccountSid,
    name: &str,
    realm: &str,
) -> Result<String, Problem> {
    let realm = match realm {
        "" => None,
        realm => Some(realm.parse().map_err(|error| Problem::bad(format!("Realm: {error}.")))?),
    };
    let list = app.directory.create_credential_list(account, name, realm).await?;
    Ok(format!("lists/users/{}", list.sid))
}
