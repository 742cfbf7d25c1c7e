//! The users of a credential list.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use sip_authz::CredentialSid;
use sip_authz::model::{Credential, CredentialList, Key, Password, Record};
use sip_authz_directory::{CredentialChange, Cursor, Page, Secret};
use sip_authz_store::{Collection, ListKey, Store};
use zeroize::Zeroizing;

use super::confirm::{self, ConfirmPage, ListToDelete, Pair, back, used_by};
use crate::App;
use crate::fields::query;
use crate::frame::{Frame, View};
use crate::names::{self, TargetName, named};
use crate::problem::{Problem, html};
use crate::sessions::random;
use crate::texts::{date, grouped};
use crate::visit::{Change, Visit};

/// The users of a page.
const PAGE: usize = 100;
/// The users that one page of a search looks at.
const SEARCHED: usize = 20_000;
/// The users that a search reads from the store at once.
const READ: usize = 1_000;

struct UserRow {
    name: String,
    path: String,
    disabled: bool,
    has_role: bool,
    updated: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    name: String,
    path: String,
    realm: String,
    size: String,
    rows: Vec<UserRow>,
    search: String,
    next: String,
    is_first: bool,
    uses: Vec<TargetName>,
    error: String,
    /// The user name in the form.
    username: String,
    min_password: usize,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    list_name: String,
    list_path: String,
    realm: String,
    user: UserRow,
    uses: Vec<TargetName>,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
    list_name: String,
    user_path: String,
    name: String,
    error: String,
    /// The new password, shown once; empty before.
    made: Zeroizing<String>,
    min_password: usize,
}

/// The list with this SID, if the holder of the session may see it.
async fn list<S: Store>(
    app: &App<S>,
    visit: &mut Visit,
    sid: &str,
) -> Result<CredentialList, Problem> {
    let unknown = || Problem::not_found("There is no such credential list.");
    let sid = sid.parse().map_err(|_| unknown())?;
    let Some(Record::CredentialList(list)) = names::record(app, Key::CredentialList(sid)).await?
    else {
        return Err(unknown());
    };
    visit.open(app, list.account, unknown).await?;
    Ok(list)
}

/// The list and the user with these SIDs.
async fn list_and_user<S: Store>(
    app: &App<S>,
    visit: &mut Visit,
    (sid, user): (String, String),
) -> Result<(CredentialList, Credential), Problem> {
    let list = list(app, visit, &sid).await?;
    let user = user.parse().map_err(|_| Problem::not_found("There is no such user."))?;
    let user = app.directory.credential(list.account, list.sid, user).await?;
    Ok((list, user))
}

fn row(list: &CredentialList, user: &Credential) -> UserRow {
    UserRow {
        name: user.username.to_string(),
        path: format!("lists/users/{}/{}", list.sid, user.sid),
        disabled: user.disabled,
        has_role: user.role.is_some(),
        updated: date(user.dates.updated),
    }
}

/// `GET /console/lists/users/{list}`.
pub(super) async fn page<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let list = list(&app, &mut visit, &sid).await?;
    let add = visit.query.get("add").to_owned();
    answer(&app, &visit, &list, String::new(), add).await
}

async fn answer<S: Store>(
    app: &App<S>,
    visit: &Visit,
    list: &CredentialList,
    error: String,
    username: String,
) -> Result<Response, Problem> {
    let search = visit.query.get("q");
    let after = visit.query.get("after").parse().ok();
    let (found, next) = search_users(app, list, search, after).await?;
    let next = next.map(|sid| query(&[("q", search), ("after", &sid.to_string())]));
    let name = named(&list.friendly_name, list.sid);
    let size = names::count(app, Collection::Credentials(list.sid)).await?;
    let page = UsersPage {
        frame: Frame::new(app, visit, View::Lists, format!("Credential list {name}")).await?,
        name,
        path: format!("lists/users/{}", list.sid),
        realm: list.realm.to_string(),
        size: grouped(size as u64),
        rows: found.iter().map(|user| row(list, user)).collect(),
        search: search.to_owned(),
        next: next.unwrap_or_default(),
        is_first: after.is_none(),
        uses: names::users_of(app, ListKey::CredentialList(list.sid)).await?,
        error,
        username,
        min_password: app.directory.settings().limits.password,
    };
    Ok(html(&page))
}

/// A page of the users whose names contain `search` in any case, and the user to continue after. A page looks
/// at a bounded number of users, so it may be short or empty and still have a next one.
async fn search_users<S: Store>(
    app: &App<S>,
    list: &CredentialList,
    search: &str,
    mut after: Option<CredentialSid>,
) -> Result<(Vec<Credential>, Option<CredentialSid>), Problem> {
    let wanted = search.to_lowercase();
    let size = if wanted.is_empty() { PAGE } else { READ };
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let cursor = after.map(|sid| Cursor { since: 0, key: Key::Credential(sid) });
        let page = Page { after: cursor, size };
        let listing = app.directory.credentials(list.account, list.sid, page).await?;
        looked_at += listing.rows.len();
        let count = listing.rows.len();
        for (at, user) in listing.rows.into_iter().enumerate() {
            after = Some(user.sid);
            if wanted.is_empty() || user.username.as_str().to_lowercase().contains(&wanted) {
                found.push(user);
                if found.len() == PAGE {
                    let has_more = at + 1 < count || listing.next.is_some();
                    return Ok((found, after.filter(|_| has_more)));
                }
            }
        }
        if listing.next.is_none() {
            return Ok((found, None));
        }
        if looked_at >= SEARCHED {
            return Ok((found, after));
        }
    }
}

/// `POST /console/lists/users/{list}`: adds a user.
pub(super) async fn add<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let list = list(&app, &mut change.visit, &sid).await?;
    let name = change.form.get("username").to_owned();
    let password = Password::new(change.form.raw("password").to_owned());
    let added = match name.parse() {
        Ok(username) => {
            let secret = Secret::Password(password);
            let directory = &app.directory;
            let added = directory
                .create_credential(list.account, list.sid, username, secret, false, None)
                .await;
            added.map(drop).map_err(Problem::from)
        }
        Err(error) => Err(Problem::bad(format!("User name: {error}."))),
    };
    match added {
        Ok(()) => Ok(back(&change, &format!("lists/users/{}", list.sid), "user-added")),
        Err(problem) if problem.is_of_input() => {
            answer(&app, &change.visit, &list, problem.text().to_owned(), name).await
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /console/lists/users/{list}/{user}`.
pub(super) async fn user<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let (list, user) = list_and_user(&app, &mut visit, pair).await?;
    let page = UserPage {
        frame: Frame::new(&app, &visit, View::Lists, format!("User {}", user.username)).await?,
        list_name: named(&list.friendly_name, list.sid),
        list_path: format!("lists/users/{}", list.sid),
        realm: list.realm.to_string(),
        user: row(&list, &user),
        uses: names::users_of(&app, ListKey::CredentialList(list.sid)).await?,
    };
    Ok(html(&page))
}

/// `POST …/enable`.
pub(super) async fn enable<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    change: Change,
) -> Result<Response, Problem> {
    set_disabled(&app, pair, change, false).await
}

/// `POST …/disable`.
pub(super) async fn disable<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    change: Change,
) -> Result<Response, Problem> {
    set_disabled(&app, pair, change, true).await
}

async fn set_disabled<S: Store>(
    app: &App<S>,
    pair: (String, String),
    mut change: Change,
    disabled: bool,
) -> Result<Response, Problem> {
    change.writes(app)?;
    let (list, user) = list_and_user(app, &mut change.visit, pair).await?;
    let what = CredentialChange::default().with_disabled(Some(disabled));
    app.directory.update_credential(list.account, list.sid, user.sid, what).await?;
    let done = if disabled { "disabled" } else { "enabled" };
    Ok(back(&change, &row(&list, &user).path, done))
}

/// `GET …/disable`.
pub(super) async fn ask_disable<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let (list, user) = list_and_user(&app, &mut visit, pair).await?;
    let (name, user_name) = (named(&list.friendly_name, list.sid), &user.username);
    let effect =
        format!("Calls and registrations of {user_name} are refused until it is enabled again.");
    ask(&app, &visit, &list, &user, "Disable", "in", &name, effect).await
}

/// `GET …/delete`.
pub(super) async fn ask_delete<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let (list, user) = list_and_user(&app, &mut visit, pair).await?;
    let (name, user_name) = (named(&list.friendly_name, list.sid), &user.username);
    let effect = format!(
        "Calls and registrations of {user_name} are refused. The stored password cannot be restored."
    );
    ask(&app, &visit, &list, &user, "Delete", "from", &name, effect).await
}

#[expect(clippy::too_many_arguments, reason = "the words of one sentence")]
async fn ask<S: Store>(
    app: &App<S>,
    visit: &Visit,
    list: &CredentialList,
    user: &Credential,
    verb: &str,
    preposition: &str,
    name: &str,
    effect: String,
) -> Result<Response, Problem> {
    let user_name = &user.username;
    let uses = names::users_of(app, ListKey::CredentialList(list.sid)).await?;
    let title = format!("{verb} user {user_name}");
    let page = ConfirmPage {
        frame: Frame::new(app, visit, View::Lists, title).await?,
        question: format!("{verb} user {user_name} {preposition} list \u{201c}{name}\u{201d}?"),
        effects: vec![effect, format!("List \u{201c}{name}\u{201d}: {}", used_by(&uses))],
        label: format!("{verb} user {user_name}"),
        cancel: row(list, user).path,
    };
    Ok(html(&page))
}

/// `POST …/delete`.
pub(super) async fn delete<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let (list, user) = list_and_user(&app, &mut change.visit, pair).await?;
    app.directory.delete_credential(list.account, list.sid, user.sid).await?;
    Ok(back(&change, &format!("lists/users/{}", list.sid), "user-deleted"))
}

/// `GET …/password`.
pub(super) async fn ask_password<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut visit: Visit,
) -> Result<Response, Problem> {
    if app.console.options.read_only {
        return Err(Problem::read_only());
    }
    let (list, user) = list_and_user(&app, &mut visit, pair).await?;
    password_page(&app, &visit, &list, &user, String::new(), Zeroizing::default()).await
}

async fn password_page<S: Store>(
    app: &App<S>,
    visit: &Visit,
    list: &CredentialList,
    user: &Credential,
    error: String,
    made: Zeroizing<String>,
) -> Result<Response, Problem> {
    let title = format!("Password of {}", user.username);
    let page = PasswordPage {
        frame: Frame::new(app, visit, View::Lists, title).await?,
        list_name: named(&list.friendly_name, list.sid),
        user_path: row(list, user).path,
        name: user.username.to_string(),
        error,
        made,
        min_password: app.directory.settings().limits.password,
    };
    Ok(html(&page))
}

/// `POST …/password`: sets the password of the form, or makes one and shows it once.
pub(super) async fn set_password<S: Store>(
    State(app): State<App<S>>,
    Path(pair): Pair,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let (list, user) = list_and_user(&app, &mut change.visit, pair).await?;
    let makes = change.form.get("make") == "yes";
    let text = if makes {
        made_password(app.directory.settings().limits.password)?
    } else {
        Zeroizing::new(change.form.raw("password").to_owned())
    };
    let secret = Secret::Password(Password::new(text.as_str().to_owned()));
    let what = CredentialChange::default().with_secret(Some(secret));
    let changed = app.directory.update_credential(list.account, list.sid, user.sid, what).await;
    match changed.map_err(Problem::from) {
        Ok(_) if makes => {
            password_page(&app, &change.visit, &list, &user, String::new(), text).await
        }
        Ok(_) => Ok(back(&change, &row(&list, &user).path, "password")),
        Err(problem) if problem.is_of_input() => {
            let error = problem.text().to_owned();
            password_page(&app, &change.visit, &list, &user, error, Zeroizing::default()).await
        }
        Err(problem) => Err(problem),
    }
}

/// A random password of letters and digits, with at least 24 characters and at most 64: each character has
/// almost six random bits.
fn made_password(least: usize) -> Result<Zeroizing<String>, Problem> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    loop {
        let bytes = [random()?, random()?, random()?, random()?].concat();
        // values beyond the last whole set of letters are left out, so that all are as likely
        let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 63)));
        let made: String =
            letters.take(least.clamp(24, 64)).map(|letter| char::from(*letter)).collect();
        let has = |of: fn(&char) -> bool| made.chars().any(|c| of(&c));
        if has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
            && has(char::is_ascii_digit)
        {
            return Ok(Zeroizing::new(made));
        }
    }
}

/// `GET /console/lists/users/{list}/delete`.
pub(super) async fn ask_list<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut visit: Visit,
) -> Result<Response, Problem> {
    let list = list(&app, &mut visit, &sid).await?;
    let size = names::count(&app, Collection::Credentials(list.sid)).await?;
    let to_delete = ListToDelete {
        key: ListKey::CredentialList(list.sid),
        kind: "credential list",
        name: named(&list.friendly_name, list.sid),
        entries: format!("its {} users", grouped(size as u64)),
        effect: "The stored passwords cannot be restored.",
        path: format!("lists/users/{}", list.sid),
    };
    confirm::ask_list(&app, &visit, to_delete).await
}

/// `POST /console/lists/users/{list}/delete`.
pub(super) async fn delete_list<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    mut change: Change,
) -> Result<Response, Problem> {
    change.writes(&app)?;
    let list = list(&app, &mut change.visit, &sid).await?;
    app.directory.delete_credential_list(list.account, list.sid).await?;
    Ok(confirm::to_lists(&change))
}
