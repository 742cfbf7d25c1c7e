//! `sip-authz why`: the last refused calls, each with its steps, its cause and the advice.

mod calls;

use std::process::ExitCode;

use serde::Serialize;
use sip_authz::escape_line;
use sip_authz_rest::decisions::{
    CauseInWords, DecisionRecord, Filter, Outcome, RecordStep, SilentEdge, StepNames, public_reason,
};

use self::calls::{MAX_PAGE, Refusal};
use crate::args::WhyArgs;
use crate::commands::client::{Client, User};
use crate::commands::decisions::{self, line::outcome, quoted};
use crate::system::json::json_line;
use crate::system::local_time::local_with_offset;
use crate::system::output::{ProgramError, print};

pub(crate) fn run(args: &WhyArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    let mut filter = decisions::filter(&args.selection);
    filter.call_id.clone_from(&args.call_id);
    let found = Found::ask(&client, &filter, usize::from(args.last))?;
    let text = if args.json {
        json_line(&Answer::of(&found))?
    } else {
        decisions::warn_of_silent(&found.silent);
        found.text(&client, &filter)
    };
    print(text)?;
    Ok(if found.refusals.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The answer of the server.
struct Found {
    /// The refusals, newest first.
    refusals: Vec<Refusal>,
    /// The newest accepted request of the same selection.
    accepted: Option<DecisionRecord>,
    silent: Vec<SilentEdge>,
}

impl Found {
    /// Asks for the refused requests, the challenges and the accepted requests of a selection.
    fn ask(client: &Client, filter: &Filter, last: usize) -> Result<Self, ProgramError> {
        let mut silent = Vec::<SilentEdge>::new();
        let mut ask = |wanted| -> Result<_, ProgramError> {
            let mut filter = filter.clone();
            filter.outcome = Some(wanted);
            let list = decisions::recent(client, &filter, MAX_PAGE)?;
            for edge in list.silent_edges {
                if silent.iter().all(|known| known.edge != edge.edge) {
                    silent.push(edge);
                }
            }
            Ok(list.decisions)
        };
        // in this order: a challenge that is answered in between is then not taken for the end of a call
        let challenged = ask(Outcome::Challenge)?;
        let refused = ask(Outcome::Refused)?;
        let accepted = ask(Outcome::Accept)?;
        let refusals = calls::last_refusals(refused, challenged, &accepted, last);
        Ok(Self { refusals, accepted: accepted.into_iter().next(), silent })
    }

    fn text(&self, client: &Client, filter: &Filter) -> String {
        match self.refusals.as_slice() {
            [] => self.nothing(client, filter),
            some => some.iter().map(explain).collect::<Vec<_>>().join("\n\n"),
        }
    }

    /// The possible reasons for an empty answer.
    fn nothing(&self, client: &Client, filter: &Filter) -> String {
        let mut lines = vec![
            format!("no refusal is kept for {}", selection(filter)),
            format!("asked {} as {}", client.server(), user(client.user())),
            "this may mean:".to_owned(),
        ];
        if let Some(accepted) = &self.accepted {
            let time = local_with_offset(&accepted.time);
            lines.push(format!("- the call was accepted: the last accepted request was at {time}"));
        } else {
            lines.push(
                "- the call was accepted; of many accepted calls not each one is kept".to_owned(),
            );
        }
        lines.push(
            "- the call did not reach the edge: see whether `sip-authz tail` shows it when it is \
             tried again"
                .to_owned(),
        );
        lines.push(
            "- it is no longer kept: the edge keeps a number of decisions (--recent), and their names \
             for a time (--recent-for)"
                .to_owned(),
        );
        if filter.user.is_some() {
            lines.push(
                "- the client claimed another name, or none: names are compared whole and by case; ask \
                 without --user"
                    .to_owned(),
            );
        }
        if filter.domain.is_some() {
            lines.push(
                "- the client asked for another host: hosts are compared whole; ask with --source"
                    .to_owned(),
            );
        }
        if matches!(client.user(), User::Account(_)) {
            lines.push(
                "- the host belongs to no domain or trunk of the account: only the admin sees requests \
                 for other hosts"
                    .to_owned(),
            );
        }
        for SilentEdge { edge, reason } in &self.silent {
            let reason = escape_line(reason);
            lines.push(format!(
                "- edge {} decided it, which does not answer: {reason}",
                quoted(edge)
            ));
        }
        lines.join("\n")
    }
}

/// The selection in words.
fn selection(filter: &Filter) -> String {
    let named =
        |name: &str, value: Option<String>| value.map(|value| format!("{name} {}", quoted(&value)));
    let parts = decisions::joined(
        [
            named("domain", filter.domain.clone()),
            named("user", filter.user.clone()),
            named("source", filter.source.map(|source| source.to_string())),
            named("Call-ID", filter.call_id.clone()),
        ],
        ", ",
    );
    if parts.is_empty() { "any request".to_owned() } else { parts }
}

fn user(user: User) -> String {
    match user {
        User::Admin => "the admin".to_owned(),
        User::Account(sid) => format!("account {sid}"),
    }
}

/// A refusal as a paragraph.
fn explain(refusal: &Refusal) -> String {
    let Refusal { record, times } = refusal;
    let words = record.cause_in_words();
    let mut lines = vec![format!("{}  {}", local_with_offset(&record.time), headline(record))];
    let mut add = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
    add("call", call(record));
    if let Some(client) = client(record) {
        add("client", client);
    }
    add("answer", answer(record));
    if *times > 1 {
        add("repeated", format!("{times} times with this Call-ID; this is the last"));
    }
    for (at, step) in record.steps(&StepNames::default()).iter().enumerate() {
        let mark = if step.passed { "passed" } else { "FAILED" };
        add(if at == 0 { "steps" } else { "" }, format!("{mark}  {}", step.text));
    }
    add("cause", format!("{} ({})", words.meaning, words.name));
    if let Some(advice) = words.advice {
        add("to do", advice.to_owned());
    }
    add("record", format!("{} of edge {}", quoted(&record.sid), quoted(&record.edge)));
    lines.join("\n")
}

fn headline(record: &DecisionRecord) -> String {
    let host = record.name.as_ref().or(record.host.as_ref());
    decisions::joined([Some(outcome(record)), host.map(|host| quoted(host))], "  ")
}

/// The line of the caller, the called number and the source.
fn call(record: &DecisionRecord) -> String {
    let name = |value: &Option<String>| value.as_deref().map(quoted);
    let user = name(&record.claimed_user).or(name(&record.username));
    let caller = match (user, name(&record.from)) {
        (Some(user), Some(from)) => format!("user {user}, From {from},"),
        (Some(user), None) => format!("user {user}"),
        (None, Some(from)) => format!("From {from}, no user claimed,"),
        (None, None) => "an unnamed caller".to_owned(),
    };
    let method = name(&record.method).unwrap_or("a message".to_owned());
    let called = match (name(&record.called), name(&record.host)) {
        (Some(called), Some(host)) => Some(format!("for {called} at {host}")),
        (Some(called), None) => Some(format!("for {called}")),
        (None, Some(host)) => Some(format!("for {host}")),
        (None, None) => None,
    };
    let source = name(&record.source).map(|source| format!("from {source}"));
    let over = Some(format!("over {}", record.transport));
    decisions::joined([Some(caller), Some(format!("sent {method}")), called, source, over], " ")
}

fn client(record: &DecisionRecord) -> Option<String> {
    let named = |name: &str, value: &Option<String>| {
        value.as_deref().map(|value| format!("{name} {}", quoted(value)))
    };
    let cseq = record.cseq.map(|cseq| format!("CSeq {cseq}"));
    let parts = [named("User-Agent", &record.user_agent), named("Call-ID", &record.call_id), cseq];
    Some(decisions::joined(parts, ", ")).filter(|text| !text.is_empty())
}

/// The answer that the caller got: its status, and the reason as far as callers learn it.
fn answer(record: &DecisionRecord) -> String {
    let Some(status) = record.status else { return "none".to_owned() };
    let code = record.code.map(|code| format!(", code {code}"));
    let code = code.unwrap_or_default();
    match (record.outcome.as_str(), record.reason.as_str()) {
        ("challenge", "stale") => format!("{status} with a new challenge and stale=true"),
        ("challenge", _) => format!("{status} with a challenge"),
        ("reject", reason) => format!("{status} ({}{code})", escape_line(public_reason(reason))),
        (_, reason) => format!("{status} ({})", escape_line(reason)),
    }
}

/// The result as JSON.
#[derive(Serialize)]
struct Answer<'f> {
    refusals: Vec<Explained<'f>>,
    silent_edges: &'f [SilentEdge],
}

#[derive(Serialize)]
struct Explained<'f> {
    decision: &'f DecisionRecord,
    times: usize,
    steps: Vec<RecordStep>,
    cause: String,
    meaning: String,
    advice: Option<&'static str>,
}

impl<'f> Answer<'f> {
    fn of(found: &'f Found) -> Self {
        let explained = |Refusal { record, times }: &'f Refusal| {
            let CauseInWords { name, meaning, advice, .. } = record.cause_in_words();
            let (decision, steps) = (record, record.steps(&StepNames::default()));
            Explained { decision, times: *times, steps, cause: name, meaning, advice }
        };
        Self {
            refusals: found.refusals.iter().map(explained).collect(),
            silent_edges: &found.silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::commands::decisions::refusals::refusals;

    #[test]
    fn no_two_causes_print_the_same_text() {
        let mut known = BTreeMap::new();
        for record in refusals() {
            // only the line with the cause
            let text = explain(&Refusal { record: record.clone(), times: 1 });
            let causes: Vec<_> = text.lines().filter(|line| line.starts_with("  cause ")).collect();
            assert_eq!(causes.len(), 1, "{text}");
            assert!(text.contains("\n  to do     "), "{text}");
            let without_name = causes.concat().rsplit_once(" (").unwrap().0.to_owned();
            assert_eq!(known.insert(without_name, record), None, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_explained_line_by_line() {
        let text = |text: &str| Some(text.to_owned());
        let mut record = DecisionRecord::default();
        (record.sid, record.edge) = ("NO01".to_owned(), "edge-1".to_owned());
        (record.time, record.transport) = ("then".to_owned(), "udp".to_owned());
        (record.outcome, record.reason) = ("reject".to_owned(), "unknown-host".to_owned());
        (record.status, record.snapshot, record.cseq) = (Some(404), Some(7), Some(1));
        (record.host, record.called) = (text("other.example"), text("100"));
        (record.from, record.source) = (text("b\"ob"), text("192.0.2.7:5060"));
        (record.method, record.cause) = (text("INVITE"), text("unknown-host"));
        (record.user_agent, record.call_id) = (text("baresip v3"), text("a1"));
        assert_eq!(
            explain(&Refusal { record, times: 2 }),
            "then  reject 404  other.example\n  \
             call      From \"b\\\"ob\", no user claimed, sent INVITE for 100 at other.example from \
             192.0.2.7:5060 over udp\n  \
             client    User-Agent \"baresip v3\", Call-ID a1, CSeq 1\n  \
             answer    404 (unknown-host)\n  \
             repeated  2 times with this Call-ID; this is the last\n  \
             steps     passed  snapshot 7 is in force\n  \
             \u{20}         passed  the Request-URI names the host other.example\n  \
             \u{20}         FAILED  no domain or trunk has the host name: other.example\n  \
             cause     no domain or trunk has the host name: other.example (unknown-host)\n  \
             to do     correct the host in the client, or create the domain; the whole name is \
             compared. For calls to the edge's own address name a default domain (`--default-domain`)\n  \
             record    NO01 of edge edge-1"
        );
    }

    #[test]
    fn the_answer_has_what_the_caller_learns() {
        let mut record = DecisionRecord::default();
        (record.outcome, record.reason) = ("reject".to_owned(), "too-many-guesses".to_owned());
        (record.status, record.code) = (Some(403), Some(32_202));
        assert_eq!(answer(&record), "403 (wrong-credentials, code 32202)");
        (record.outcome, record.reason) = ("challenge".to_owned(), "stale".to_owned());
        (record.status, record.code) = (Some(407), None);
        assert_eq!(answer(&record), "407 with a new challenge and stale=true");
        assert_eq!(answer(&DecisionRecord::default()), "none");
    }

    #[test]
    fn hostile_texts_stay_in_their_line() {
        let mut record = DecisionRecord::default();
        let hostile = || Some("x\u{1b}[2J\n  cause     nothing\u{202e}".to_owned());
        (record.claimed_user, record.from, record.called) = (hostile(), hostile(), hostile());
        (record.host, record.user_agent, record.call_id) = (hostile(), hostile(), hostile());
        (record.realm, record.source, record.method) = (hostile(), hostile(), hostile());
        record.reason = hostile().unwrap();
        record.status = Some(400);
        let text = explain(&Refusal { record, times: 1 });
        assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text}");
        let causes = text.lines().filter(|line| line.starts_with("  cause "));
        assert_eq!(causes.count(), 1, "{text}");
    }
}
