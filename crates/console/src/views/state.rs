//! The state of store, snapshot, certificates, reloads and edges.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sip_authz_directory::DirectoryError;
use sip_authz_store::Store;

use crate::App;
use crate::frame::{Frame, View};
use crate::problem::{Problem, html};
use crate::state::{Level, Row, Section};
use crate::texts::grouped;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "state.html")]
struct StatePage {
    frame: Frame,
    sections: Vec<SectionView>,
}

struct SectionView {
    title: String,
    rows: Vec<RowView>,
}

struct RowView {
    name: String,
    value: String,
    sign: &'static str,
    word: &'static str,
    class: &'static str,
}

/// `GET /console/state`.
pub(crate) async fn page<S: Store>(
    State(app): State<App<S>>,
    visit: Visit,
) -> Result<Response, Problem> {
    let mut sections = Vec::new();
    if let Some(state) = &app.console.options.state {
        sections = state.0.sections().await;
    }
    sections.push(store(&app).await);
    if let Some(edges) = edges(&app).await {
        sections.push(edges);
    }
    sections.retain(|section| visit.is_admin() || !section.admin_only);
    let page = StatePage {
        frame: Frame::new(&app, &visit, View::State, "State").await?,
        sections: sections.into_iter().map(view).collect(),
    };
    Ok(html(&page))
}

/// The head of the store.
async fn store<S: Store>(app: &App<S>) -> Section {
    let rows = match app.directory.store().head().await {
        Ok(head) => vec![
            Row::new("Answers", "yes").with_level(Level::Good),
            Row::new("Last commit", grouped(head.number)),
            Row::new("Records of all accounts", grouped(head.records)),
        ],
        Err(_) => vec![
            Row::new("Answers", "no; calls are decided by the records that were loaded last")
                .with_level(Level::Bad),
        ],
    };
    Section::new("Store", rows).for_admin()
}

/// The edges that report to the store; none for a store of one process.
async fn edges<S: Store>(app: &App<S>) -> Option<Section> {
    let store = app.directory.store();
    let edges = store.edges().await.map_err(DirectoryError::from).ok()?;
    if edges.is_empty() {
        return None;
    }
    let head = store.head().await.unwrap_or_default();
    let rows = edges.into_iter().map(|edge| {
        let behind = head.number.saturating_sub(edge.applied.number);
        let (level, text) = match behind {
            _ if edge.applied.incarnation != head.incarnation => {
                (Level::Warning, "has commits from before a restore".to_owned())
            }
            0 => (Level::Good, "has the last commit".to_owned()),
            1 => (Level::Warning, "1 commit behind".to_owned()),
            behind => (Level::Warning, format!("{} commits behind", grouped(behind))),
        };
        Row::new(edge.name, format!("{text} ({})", grouped(edge.applied.number))).with_level(level)
    });
    Some(Section::new("Edges", rows.collect()).for_admin())
}

fn view(section: Section) -> SectionView {
    let row = |row: Row| {
        let (sign, word, class) = match row.level {
            Level::Plain => ("", "", ""),
            Level::Good => ("\u{2713}", "good", "good"),
            Level::Warning => ("!", "warning", "warn"),
            Level::Bad => ("\u{2717}", "fault", "bad"),
        };
        RowView { name: row.name, value: row.value, sign, word, class }
    };
    SectionView { title: section.title, rows: section.rows.into_iter().map(row).collect() }
}
