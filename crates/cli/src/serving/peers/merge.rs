//! Merges the answers of edges. The rows of another edge are used as far as they can be checked.

use jiff::Timestamp;
use sip_authz::{AccountSid, Transport};
use sip_authz_rest::decisions::{
    Answered, DecisionRecord, Filter, Found, Held, Place, Query, SilentEdge, Start,
};
use sip_authz_rest::edges::EdgeRows;

use super::ask::{Answers, Given};
use super::held_id;

/// The decisions of this edge and of the others, by their places.
pub(super) fn decisions(
    account: Option<AccountSid>,
    query: &Query,
    own: Found,
    others: Answers,
) -> Found {
    let mut silent = own.answered.silent;
    silent.extend(others.silent);
    let place = |row: DecisionRecord| Some((row.place()?, row));
    let mut all: Vec<_> = own.answered.rows.into_iter().filter_map(place).collect();
    let mut has_more = own.has_more;
    for Given { edge, answer, .. } in others.given {
        let EdgeRows::Decisions { rows, has_more: more } = answer.rows else {
            silent.push(other_answer(edge));
            continue;
        };
        let (before, sent) = (all.len(), rows.len());
        // without as many rows, the rest could not be asked for
        has_more |= more && sent >= query.limit;
        for row in rows {
            let admitted = row.place().filter(|place| query.start.admits(*place));
            if let Some(place) = admitted.filter(|_| fits(account, &query.filter, &edge, &row)) {
                all.push((place, row));
            }
        }
        let left = sent - (all.len() - before);
        if left > 0 {
            silent.push(left_out(edge, left));
        }
    }
    has_more |= all.len() > query.limit;
    let rows = merge(all, query);
    Found { answered: Answered { rows, silent }, has_more }
}

/// Sorts the rows from the start of the question on, and takes as many as it asks for. Every edge with more
/// rows than these has sent as many, so none between them is missing.
fn merge(mut rows: Vec<(Place, DecisionRecord)>, query: &Query) -> Vec<DecisionRecord> {
    // newest first, or oldest first after a place
    let ascending = matches!(query.start, Start::After(_));
    rows.sort_by(|(a, _), (b, _)| if ascending { a.cmp(b) } else { b.cmp(a) });
    // one edge can report under two names
    rows.dedup_by(|(a, _), (b, _)| a == b);
    rows.truncate(query.limit);
    if ascending {
        rows.reverse();
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The outcomes of records.
const OUTCOMES: [&str; 6] = ["accept", "challenge", "reject", "answered", "dropped", "forwarded"];

/// Whether an edge may send this decision for the question of this account. Fields that are shown without
/// quotes must have one of their values.
pub(super) fn fits(
    account: Option<AccountSid>,
    filter: &Filter,
    edge: &str,
    row: &DecisionRecord,
) -> bool {
    let owns = |account: AccountSid| row.account.as_deref() == Some(account.as_str().as_str());
    let is_plain = OUTCOMES.contains(&row.outcome.as_str())
        && Transport::ALL.iter().any(|transport| row.transport == transport.as_str());
    row.edge == edge && account.is_none_or(owns) && is_plain && filter.selects(row)
}

/// Whether the id and the times of a held name or source have their forms.
fn is_well_formed(row: &Held) -> bool {
    let is_hex = row.id.len() == 32 && row.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex && [&row.since, &row.until].iter().all(|time| time.parse::<Timestamp>().is_ok())
}

/// The held names and sources of this edge and of the others, the longest held first.
pub(super) fn held(
    account: Option<AccountSid>,
    own_name: &str,
    own: Answered<Held>,
    others: Answers,
) -> Answered<Held> {
    let Answered { rows: own_rows, mut silent } = own;
    silent.extend(others.silent);
    let named = |edge: &str, row: Held| Held { id: held_id::write(edge, &row.id), ..row };
    let mut rows: Vec<_> = own_rows.into_iter().map(|row| named(own_name, row)).collect();
    for Given { edge, answer, .. } in others.given {
        let EdgeRows::Held { rows: sent } = answer.rows else {
            silent.push(other_answer(edge));
            continue;
        };
        let (before, count) = (rows.len(), sent.len());
        let owns = |row: &Held| account.is_none_or(|account| row.account == account.to_string());
        let kept =
            sent.into_iter().filter(|row| row.edge == edge && owns(row) && is_well_formed(row));
        rows.extend(kept.map(|row| named(&edge, row)));
        let left = count - (rows.len() - before);
        if left > 0 {
            silent.push(left_out(edge, left));
        }
    }
    // other edges can write the fraction of a second with fewer digits
    rows.sort_by_cached_key(|row| {
        let since = row.since.parse::<Timestamp>().ok();
        (since.is_none(), since)
    });
    Answered { rows, silent }
}

fn left_out(edge: String, count: usize) -> SilentEdge {
    let reason = format!("{count} rows of its answer do not belong there and are left out");
    SilentEdge { edge, reason }
}

fn other_answer(edge: String) -> SilentEdge {
    SilentEdge { edge, reason: "it answers another question".to_owned() }
}
