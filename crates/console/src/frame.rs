//! The parts that all pages share.

use sip_authz_directory::Page;
use sip_authz_store::Store;

use super::App;
use super::assets::{SCRIPT, STYLE};
use super::fields::query;
use super::problem::Problem;
use super::texts::{ago, grouped};
use super::visit::Visit;

/// The maximum number of accounts that the admin chooses from in a list. With more, the SID is typed.
const MAX_ACCOUNTS: usize = 500;

/// The views, in the order of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Decisions,
    Domains,
    Lists,
    Limits,
    Explain,
    State,
}

/// An entry of the navigation.
pub(crate) struct NavEntry {
    pub(crate) title: &'static str,
    pub(crate) link: String,
    pub(crate) is_current: bool,
}

/// An account that the admin can choose.
pub(crate) struct Choice {
    pub(crate) sid: String,
    pub(crate) name: String,
    pub(crate) is_chosen: bool,
}

/// The parts that all pages share.
pub(crate) struct Frame {
    pub(crate) root: String,
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) title: String,
    pub(crate) nav: Vec<NavEntry>,
    pub(crate) edge: String,
    /// The number of the snapshot or commit in force, and its age.
    pub(crate) number: String,
    pub(crate) age: String,
    pub(crate) decides: bool,
    pub(crate) is_admin: bool,
    /// The name of the account, for an account's session.
    pub(crate) who: String,
    pub(crate) choices: Vec<Choice>,
    /// The SID of the chosen account; empty if there is none.
    pub(crate) chosen: String,
    pub(crate) csrf: String,
    pub(crate) read_only: bool,
    /// The result of a change that has just been made.
    pub(crate) notice: String,
    /// The path of this view, for the choice of an account.
    pub(crate) here: &'static str,
}

impl Frame {
    pub(crate) async fn new<S: Store>(
        app: &App<S>,
        visit: &Visit,
        view: View,
        title: impl Into<String>,
    ) -> Result<Self, Problem> {
        let options = &app.console.options;
        let chosen = visit.chosen_sid();
        let with = query(&[("account", &chosen)]);
        let entry = |of: View, title, path: &str| NavEntry {
            title,
            link: format!("{}{path}{with}", visit.root),
            is_current: of == view,
        };
        let here = match view {
            View::Decisions => "./",
            View::Domains => "domains",
            View::Lists => "lists",
            View::Limits => "limits",
            View::Explain => "try",
            View::State => "state",
        };
        let nav = vec![
            entry(View::Decisions, "Decisions", "./"),
            entry(View::Domains, "Domains", "domains"),
            entry(View::Lists, "Lists", "lists"),
            entry(View::Limits, "Limits", "limits"),
            entry(View::Explain, "Try", "try"),
            entry(View::State, "State", "state"),
        ];
        let head = options.state.as_ref().map(|state| state.0.head()).unwrap_or_default();
        let choices = if visit.is_admin() { accounts(app, &chosen).await? } else { Vec::new() };
        let name = |account: &sip_authz::model::Account| match account.friendly_name.as_str() {
            "" => account.sid.to_string(),
            name => name.to_owned(),
        };
        Ok(Self {
            root: visit.root.clone(),
            style: STYLE.link(),
            script: SCRIPT.link(),
            title: title.into(),
            nav,
            edge: head.edge,
            number: if options.state.is_some() { grouped(head.number) } else { String::new() },
            age: head.confirmed.map(ago).unwrap_or_default(),
            decides: head.decides || options.state.is_none(),
            is_admin: visit.is_admin(),
            who: visit.own.as_ref().map(name).unwrap_or_default(),
            choices,
            chosen,
            csrf: visit.session.csrf.clone(),
            read_only: options.read_only,
            notice: notice(visit.query.get("done")).to_owned(),
            here,
        })
    }

    /// Whether the page shows one account.
    pub(crate) fn has_account(&self) -> bool {
        !self.is_admin || !self.chosen.is_empty()
    }

    /// The query that keeps the chosen account.
    pub(crate) fn with_account(&self) -> String {
        query(&[("account", &self.chosen)])
    }
}

/// The accounts to choose from; none if there are too many to show.
async fn accounts<S: Store>(app: &App<S>, chosen: &str) -> Result<Vec<Choice>, Problem> {
    let listing = app.directory.accounts(Page::first(MAX_ACCOUNTS)).await?;
    if listing.next.is_some() {
        return Ok(Vec::new());
    }
    let choice = |account: sip_authz::model::Account| {
        let sid = account.sid.to_string();
        let name = match account.friendly_name.as_str() {
            "" => sid.clone(),
            name => name.to_owned(),
        };
        Choice { is_chosen: sid == chosen, sid, name }
    };
    let mut choices: Vec<_> = listing.rows.into_iter().map(choice).collect();
    choices.sort_by_key(|choice| choice.name.to_lowercase());
    Ok(choices)
}

/// The text of a result in the query. Only known ones, so that a link cannot put words on a page.
fn notice(done: &str) -> &'static str {
    match done {
        "enabled" => "The user is enabled. The next call is decided with it.",
        "disabled" => "The user is disabled. Its next call is refused.",
        "password" => "The new password is in force.",
        "user-added" => "The user is added.",
        "user-deleted" => "The user is deleted.",
        "address-added" => "The address is added.",
        "address-deleted" => "The address is deleted.",
        "list-created" => "The list is created.",
        "list-deleted" => "The list is deleted.",
        "mapped" => "The list is mapped.",
        "unmapped" => "The mapping is removed.",
        "released" => "The wrong digests are forgotten.",
        "not-held" => "Nothing was held under this id any more.",
        _ => "",
    }
}
