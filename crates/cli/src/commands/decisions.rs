//! The parts that the commands about recent decisions share: their questions, and decisions in words.

pub(crate) mod line;
#[cfg(test)]
pub(crate) mod refusals;

use std::fmt::Display;

pub(crate) use sip_authz_rest::decisions::quoted;
use sip_authz_rest::decisions::{DecisionList, Filter, SilentEdge};
use ureq::http::StatusCode;

use crate::args::SelectionArgs;
use crate::commands::client::{Client, Failure};
use crate::system::output::warn;

/// The path of the questions about decisions.
pub(crate) const DECISIONS: &str = "/v1/Decisions";

/// The filter that the options of a command name.
pub(crate) fn filter(selection: &SelectionArgs) -> Filter {
    let mut filter = Filter::default();
    filter.domain.clone_from(&selection.domain);
    filter.user.clone_from(&selection.user);
    filter.source = selection.source;
    filter
}

/// The newest decisions that a filter selects, newest first.
pub(crate) fn recent(
    client: &Client,
    filter: &Filter,
    limit: usize,
) -> Result<DecisionList, Failure> {
    let query = filter.query();
    let separator = if query.is_empty() { "" } else { "&" };
    client.ask(&format!("{DECISIONS}?{query}{separator}PageSize={limit}")).map_err(explained)
}

/// Explains a 404 for a path that does not depend on any record.
pub(crate) fn explained(failure: Failure) -> Failure {
    if failure.status != Some(StatusCode::NOT_FOUND) {
        return failure;
    }
    let message = format!(
        "{}: the server has no path for recent decisions; is it older than this program?",
        failure.server
    );
    Failure { message, ..failure }
}

/// Prints a warning for each edge that did not answer.
pub(crate) fn warn_of_silent(edges: &[SilentEdge]) {
    for SilentEdge { edge, reason } in edges {
        warn(format_args!("warning: edge {}: no answer: {reason}", quoted(edge)));
    }
}

/// Joins the texts that are present.
pub(crate) fn joined<T: Display>(parts: impl IntoIterator<Item = Option<T>>, with: &str) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| part.to_string()).collect();
    parts.join(with)
}
