//! `sip-authz limits`: lists and releases the names and sources that guess limits hold.

use std::process::ExitCode;

use sip_authz::acl::Prefix;
use sip_authz::escape_line;
use sip_authz_rest::decisions::{Held, HeldList, SilentEdge};
use ureq::http::StatusCode;

use crate::args::{LimitsArgs, LimitsCommand, SelectionArgs};
use crate::commands::client::Client;
use crate::commands::decisions::{self, DECISIONS, explained, quoted};
use crate::system::json::json_line;
use crate::system::local_time::local;
use crate::system::output::{ProgramError, print};

pub(crate) fn run(args: &LimitsArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    match &args.command {
        None => return list(&client, args.json),
        Some(LimitsCommand::Release { id: Some(id), .. }) => {
            release(&client, id)?;
            print(format_args!("released {id}"))?;
        }
        Some(LimitsCommand::Release { id: None, selection }) => release_all(&client, selection)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(client: &Client) -> Result<HeldList, ProgramError> {
    Ok(client.ask(&format!("{DECISIONS}/Limits")).map_err(explained)?)
}

/// Prints the held names and sources. The exit code is 1 if none is known and an edge gave no answer.
fn list(client: &Client, json: bool) -> Result<ExitCode, ProgramError> {
    let held = ask(client)?;
    if json {
        print(json_line(&held)?)?;
    } else {
        decisions::warn_of_silent(&held.silent_edges);
        if held.limits.is_empty() {
            print(nothing(&held.silent_edges))?;
        }
        held.limits.iter().try_for_each(|held| print(line(held)))?;
    }
    let is_unknown = held.limits.is_empty() && !held.silent_edges.is_empty();
    Ok(if is_unknown { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The text for an empty list. An edge that gave no answer may hold names and sources.
fn nothing(silent: &[SilentEdge]) -> String {
    if silent.is_empty() {
        return "no guess limit holds a name or source".to_owned();
    }
    let mut lines = vec!["no held name or source is known".to_owned()];
    for SilentEdge { edge, reason } in silent {
        let reason = escape_line(reason);
        lines.push(format!("- edge {} may hold some, and gives no answer: {reason}", quoted(edge)));
    }
    lines.join("\n")
}

/// A held name or source as one line, with its ID first.
fn line(held: &Held) -> String {
    let Held { id, edge, since, wrong, until, .. } = held;
    format!(
        "{}  {}  {wrong} wrong since {}, held until {}, edge {}",
        quoted(id),
        name(held),
        local(since),
        local(until),
        quoted(edge)
    )
}

/// The name or source in words.
fn name(held: &Held) -> String {
    let named = |name: &str, value: &Option<String>| {
        value.as_deref().map(|value| format!("{name} {}", quoted(value)))
    };
    let domain = held.domain.as_ref().unwrap_or(&held.target);
    let parts = [
        named("user", &held.user),
        named(if held.user.is_some() { "from" } else { "source" }, &held.source),
        Some(format!("at {}", quoted(domain))),
    ];
    let all = if held.source.is_none() { " from all sources" } else { "" };
    format!("{}{all}", decisions::joined(parts, " "))
}

fn release(client: &Client, id: &str) -> Result<(), ProgramError> {
    Ok(client.delete(&format!("{DECISIONS}/Limits/{id}"))?)
}

/// Releases all names and sources that fit.
fn release_all(client: &Client, selection: &SelectionArgs) -> Result<(), ProgramError> {
    let held = ask(client)?;
    decisions::warn_of_silent(&held.silent_edges);
    let chosen: Vec<_> = held.limits.iter().filter(|held| fits(held, selection)).collect();
    if chosen.is_empty() {
        let others = held.limits.len();
        let of = if held.silent_edges.is_empty() { "" } else { " of the edges that answer" };
        let message =
            format!("no guess limit{of} holds it; {others} others are held (`sip-authz limits`)");
        return Err(ProgramError::Runtime(message));
    }
    for held in chosen {
        match client.delete(&format!("{DECISIONS}/Limits/{}", held.id)) {
            Ok(()) => print(format_args!("released {}", name(held)))?,
            // its time ended in between
            Err(failure) if failure.status == Some(StatusCode::NOT_FOUND) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(())
}

/// Whether each option that is given fits.
fn fits(held: &Held, selection: &SelectionArgs) -> bool {
    let domain = selection.domain.as_ref().is_none_or(|domain| {
        let name = held.domain.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(domain));
        name || held.target == *domain
    });
    let user = selection.user.as_ref().is_none_or(|user| held.user.as_ref() == Some(user));
    let source = selection.source.is_none_or(|source| {
        let held = held.source.as_ref().and_then(|held| held.parse::<Prefix>().ok());
        held.is_some_and(|held| source.contains(held.addr()) || held.contains(source.addr()))
    });
    domain && user && source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(user: Option<&str>, source: Option<&str>) -> Held {
        Held {
            id: "a1".to_owned(),
            edge: "edge-1".to_owned(),
            kind: "name-from-source".to_owned(),
            account: "AC01".to_owned(),
            target: "SD01".to_owned(),
            domain: Some("sip.example.com".to_owned()),
            user: user.map(str::to_owned),
            source: source.map(str::to_owned),
            since: "then".to_owned(),
            wrong: 5,
            until: "soon".to_owned(),
        }
    }

    #[test]
    fn a_selection_fits_by_each_of_its_options() {
        let both = held(Some("alice"), Some("192.0.2.7"));
        let selection = |domain: &str, user: &str, source: &str| SelectionArgs {
            domain: Some(domain.to_owned()).filter(|text| !text.is_empty()),
            user: Some(user.to_owned()).filter(|text| !text.is_empty()),
            source: source.parse().ok(),
        };
        for (domain, user, source, fit) in [
            ("SIP.example.com", "", "", true),
            ("SD01", "alice", "192.0.2.7", true),
            ("", "", "192.0.2.0/24", true),
            ("", "Alice", "", false),
            ("other.example", "alice", "", false),
            ("", "alice", "192.0.3.0/24", false),
        ] {
            assert_eq!(
                fits(&both, &selection(domain, user, source)),
                fit,
                "{domain} {user} {source}"
            );
        }
        // a limit of a name has no source, so a source never fits
        assert!(!fits(&held(Some("alice"), None), &selection("", "", "192.0.2.7")));
        assert!(fits(&held(None, Some("2001:db8::/64")), &selection("", "", "2001:db8::7")));
    }

    #[test]
    fn a_line_tells_what_is_held() {
        let tail = "5 wrong since then, held until soon, edge edge-1";
        for (held, name) in [
            (
                held(Some("alice"), Some("192.0.2.7")),
                "user alice from 192.0.2.7 at sip.example.com",
            ),
            (held(Some("a b"), None), "user \"a b\" at sip.example.com from all sources"),
            (held(None, Some("192.0.2.7")), "source 192.0.2.7 at sip.example.com"),
        ] {
            assert_eq!(line(&held), format!("a1  {name}  {tail}"));
        }
    }
}
