//! `sip-authz status`: the health of all edges of a fleet, or of a single process.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sip_authz::escape_line;
use sip_authz_rest::decisions::quoted;
use sip_authz_rest::fleet::{EdgeList, EdgeReport, PATH, StoreHead};
use ureq::http::StatusCode;

use crate::args::StatusArgs;
use crate::commands::client::health::{Part, Status};
use crate::commands::client::{Client, Failure};
use crate::commands::resources::aligned;
use crate::system::json::json_line;
use crate::system::output::{ProgramError, print};

/// The maximum number of edges that are asked at the same time.
const THREADS: usize = 8;

/// The status of a fleet.
#[derive(Debug, Serialize)]
struct FleetStatus {
    /// The last commit of the store; none if the store did not answer.
    store: Option<StoreHead>,
    /// The reason why the store did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The name of the edge that answered.
    edge: Option<String>,
    edges: Vec<EdgeStatus>,
}

/// The report of an edge and its health.
#[derive(Debug, Serialize)]
struct EdgeStatus {
    name: String,
    status: Status,
    /// The last commit of its report; none without a report.
    commit: Option<u64>,
    behind: Option<u64>,
    lease_seconds: Option<u64>,
    api: Option<String>,
    /// The URL to ask if there is no `api`: that of the command line.
    #[serde(skip)]
    base: Option<String>,
    parts: BTreeMap<String, Part>,
    /// The reason why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    let status = FleetStatus::ask(&client)?;
    if args.json {
        print(json_line(&status)?)?;
    } else {
        print(status.lines().join("\n"))?;
    }
    Ok(if status.is_well() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl FleetStatus {
    fn ask(client: &Client) -> Result<Self, ProgramError> {
        let (store, error, edge, reports) = match client.ask(PATH) {
            Ok(EdgeList { store, edge, edges, .. }) => (Some(store), None, edge, edges),
            // the health of this process has the cause
            Err(Failure { status: Some(StatusCode::SERVICE_UNAVAILABLE), message, .. }) => {
                (None, Some(message), None, Vec::new())
            }
            Err(failure) => return Err(explained(failure).into()),
        };
        let mut edges: Vec<_> = reports.into_iter().map(EdgeStatus::of).collect();
        let own = |one: &EdgeStatus| edge.as_ref().is_none_or(|name| one.name == *name);
        match edges.iter_mut().filter(|one| own(one)).collect::<Vec<_>>().as_mut_slice() {
            // a single process has no report, and neither has an edge that could not write one
            [] => {
                let name = edge.clone().unwrap_or_else(|| client.base().to_owned());
                edges.push(EdgeStatus::new(name, Some(client.base().to_owned())));
                edges.sort_by(|a, b| a.name.cmp(&b.name));
            }
            // the edge that answered has a URL in any case
            [one] if edge.is_some() => one.base = Some(client.base().to_owned()),
            // several edges with one name, or an unknown name
            _ => {}
        }
        ask_all(&mut edges, |one| one.ask(client));
        Ok(Self { store, error, edge, edges })
    }

    fn is_well(&self) -> bool {
        self.store.is_some() && self.edges.iter().all(EdgeStatus::is_well)
    }

    /// The lines for people.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.store {
            Some(StoreHead { number, records, .. }) => {
                format!("commit {number}, {records} records")
            }
            None => {
                let error = self.error.as_deref().unwrap_or_default();
                format!("the store gives no answer: {}", escape_line(error))
            }
        }];
        let rows: Vec<_> = self.edges.iter().map(EdgeStatus::cells).collect();
        for (row, edge) in aligned(&rows).lines().zip(&self.edges) {
            lines.push(row.to_owned());
            lines.extend(edge.failing());
        }
        lines
    }
}

impl EdgeStatus {
    fn new(name: String, api: Option<String>) -> Self {
        let (commit, behind, lease_seconds) = (None, None, None);
        let (status, base, parts, error) = (Status::Unknown, None, BTreeMap::new(), None);
        Self { name, status, commit, behind, lease_seconds, api, base, parts, error }
    }

    /// An edge that was not asked yet.
    fn of(report: EdgeReport) -> Self {
        let EdgeReport { name, commit, behind, lease_seconds, api, .. } = report;
        Self { commit: Some(commit), behind, lease_seconds, ..Self::new(name, api) }
    }

    /// The URL to ask.
    fn url(&self) -> Option<&str> {
        self.api.as_deref().or(self.base.as_deref())
    }

    /// Asks for its health, if it has a URL.
    fn ask(&mut self, client: &Client) {
        let Some(url) = self.url() else { return };
        match client.health_of(url) {
            Ok(health) => (self.status, self.parts) = (health.status, health.parts),
            Err(reason) => (self.status, self.error) = (Status::NoAnswer, Some(reason)),
        }
    }

    fn is_well(&self) -> bool {
        match self.status {
            Status::Ok => true,
            Status::Unknown => self.behind == Some(0),
            Status::Degraded | Status::Refusing | Status::NoAnswer => false,
        }
    }

    /// Name, status, commit and lease. The last two are empty without a report.
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![quoted(&self.name), self.status.as_str().to_owned()];
        if let Some(commit) = self.commit {
            let behind = match self.behind {
                Some(behind) => format!("{behind} behind"),
                None => "before a restore".to_owned(),
            };
            cells.push(format!("commit {commit}, {behind}"));
            cells.push(match self.lease_seconds {
                Some(seconds) => format!("lease {seconds} s"),
                None => "lease unlimited".to_owned(),
            });
        }
        cells
    }

    /// A line for each part that fails, or for the missing answer.
    fn failing(&self) -> Vec<String> {
        let failing = self.parts.iter().filter_map(|(part, Part { state, error })| {
            let error = error.as_ref()?;
            Some(format!("  {}", escape_line(&format!("{part}: {state}: {error}"))))
        });
        let silent = self.error.iter().map(|error| {
            let url = self.url().unwrap_or_default();
            format!("  {}", escape_line(&format!("{url}: {error}")))
        });
        failing.chain(silent).collect()
    }
}

/// Explains a 404 for a path that does not depend on any record.
fn explained(failure: Failure) -> Failure {
    if failure.status != Some(StatusCode::NOT_FOUND) {
        return failure;
    }
    let message = format!(
        "{}: the server has no path {PATH}; is it older than this program?",
        failure.server
    );
    Failure { message, ..failure }
}

/// Calls `ask` for each item, for several at the same time.
fn ask_all<T: Send>(items: &mut [T], ask: impl Fn(&mut T) + Sync) {
    let threads = items.len().min(THREADS);
    let queue = Mutex::new(items.iter_mut());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = next() {
                    ask(item);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str, status: Status, commit: Option<(u64, Option<u64>)>) -> EdgeStatus {
        let mut edge = EdgeStatus::new(name.to_owned(), Some(format!("http://{name}.example")));
        edge.status = status;
        (edge.commit, edge.behind) = commit.map_or((None, None), |(at, behind)| (Some(at), behind));
        edge
    }

    fn fleet(edges: Vec<EdgeStatus>) -> FleetStatus {
        let store = serde_json::from_str(r#"{"number": 189, "records": 20, "incarnation": "1-0"}"#);
        FleetStatus { store: Some(store.unwrap()), error: None, edge: None, edges }
    }

    #[test]
    fn each_edge_has_a_line_and_one_for_each_failing_part() {
        let mut east = edge("east", Status::Degraded, Some((189, Some(0))));
        let part = |error: Option<&str>| Part {
            state: "no-space".to_owned(),
            error: error.map(str::to_owned),
        };
        east.parts.insert("calls".to_owned(), part(None));
        east.parts.insert("store".to_owned(), part(Some("full\u{1b}[2J\nok")));
        let mut north = edge("north b", Status::NoAnswer, Some((100, Some(89))));
        north.lease_seconds = Some(30);
        north.error = Some("no answer within 2 s".to_owned());
        let edges = vec![
            edge("alone", Status::Ok, None),
            east,
            north,
            edge("old", Status::Unknown, Some((200, None))),
        ];
        assert_eq!(
            fleet(edges).lines(),
            [
                "commit 189, 20 records",
                "alone      ok",
                "east       degraded   commit 189, 0 behind          lease unlimited",
                "  store: no-space: full\\u{1b}[2J\\u{a}ok",
                "\"north b\"  no answer  commit 100, 89 behind         lease 30 s",
                "  http://north b.example: no answer within 2 s",
                "old        unknown    commit 200, before a restore  lease unlimited",
            ]
        );
        let mut away = fleet(vec![edge("a", Status::Ok, None)]);
        (away.store, away.error) = (None, Some("later\n".to_owned()));
        assert_eq!(away.lines()[0], "the store gives no answer: later\\u{a}");
        assert!(!away.is_well());
    }

    #[test]
    fn a_fleet_is_well_if_all_edges_are() {
        for (status, behind, well) in [
            (Status::Ok, Some(7), true),
            (Status::Unknown, Some(0), true),
            (Status::Unknown, Some(1), false),
            (Status::Unknown, None, false),
            (Status::Degraded, Some(0), false),
            (Status::Refusing, Some(0), false),
            (Status::NoAnswer, Some(0), false),
        ] {
            let edges =
                vec![edge("first", Status::Ok, None), edge("second", status, Some((9, behind)))];
            assert_eq!(fleet(edges).is_well(), well, "{status:?} {behind:?}");
        }
    }

    #[test]
    fn all_edges_are_asked_and_several_at_the_same_time() {
        let (running, most) = (Mutex::new(0), Mutex::new(0));
        let mut asked = vec![0; 40];
        ask_all(&mut asked, |item| {
            let now = {
                let mut running = running.lock().unwrap();
                *running += 1;
                *running
            };
            let mut most = most.lock().unwrap();
            *most = now.max(*most);
            drop(most);
            std::thread::sleep(std::time::Duration::from_millis(5));
            *running.lock().unwrap() -= 1;
            *item += 1;
        });
        assert_eq!(asked, vec![1; 40]);
        assert!((2..=THREADS).contains(&most.into_inner().unwrap()));
    }
}
