//! A decision as one line.

use anstyle::{AnsiColor, Style};
use sip_authz_rest::decisions::DecisionRecord;

use super::quoted;
use crate::system::local_time::local;

/// A field without a value.
const NONE: &str = "-";

/// The line of a decision: time, outcome and status, domain, user and called number, source, and the cause
/// in words. Its colours are for a terminal.
pub(crate) fn line(record: &DecisionRecord) -> String {
    let style = style(record);
    let outcome = outcome(record);
    let text = |value: &Option<String>| value.as_deref().map_or(NONE.to_owned(), quoted);
    let domain = text(if record.name.is_some() { &record.name } else { &record.host });
    let user =
        text(if record.username.is_some() { &record.username } else { &record.claimed_user });
    let method = match record.method.as_deref() {
        None | Some("INVITE") => String::new(),
        Some(method) => format!("{} ", quoted(method)),
    };
    format!(
        "{}  {style}{outcome:<13}{style:#}  {domain}  {method}{user} -> {}  from {}  {}",
        local(&record.time),
        text(&record.called),
        text(&record.source),
        record.cause_in_words().meaning,
    )
}

/// The outcome with the status of the answer.
pub(crate) fn outcome(record: &DecisionRecord) -> String {
    match record.status {
        Some(status) => format!("{} {status}", record.outcome),
        None => record.outcome.clone(),
    }
}

fn style(record: &DecisionRecord) -> Style {
    let colour = match record.outcome.as_str() {
        "accept" => AnsiColor::Green,
        "challenge" => AnsiColor::Yellow,
        "reject" | "dropped" => AnsiColor::Red,
        _ if record.status.is_some_and(|status| status >= 400) => AnsiColor::Red,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> DecisionRecord {
        let text = |text: &str| Some(text.to_owned());
        let mut record = DecisionRecord::default();
        record.time = "not a time".to_owned();
        record.outcome = "reject".to_owned();
        record.status = Some(403);
        (record.name, record.host) = (text("sip.example.com"), text("SIP.example.com"));
        (record.claimed_user, record.called) = (text("alice"), text("+4930123"));
        (record.source, record.method) = (text("192.0.2.7:5060"), text("INVITE"));
        record.cause = text("wrong-password");
        record
    }

    fn plain(record: &DecisionRecord) -> String {
        anstream::adapter::strip_str(&line(record)).to_string()
    }

    #[test]
    fn a_line_has_the_fields_in_their_order() {
        assert_eq!(
            plain(&record()),
            "not a time  reject 403     sip.example.com  alice -> +4930123  from 192.0.2.7:5060  \
             the user exists, and the digest is wrong"
        );
        let mut bare = DecisionRecord::default();
        (bare.outcome, bare.reason) = ("dropped".to_owned(), "not sip".to_owned());
        assert_eq!(plain(&bare), "  dropped        -  - -> -  from -  the message is not SIP");
        let mut register = record();
        register.method = Some("REGISTER".to_owned());
        assert!(plain(&register).contains("  REGISTER alice -> "), "{}", plain(&register));
    }

    #[test]
    fn names_cannot_change_the_line_or_the_terminal() {
        let mut hostile = record();
        hostile.claimed_user = Some("a -> b  from 1\u{1b}[2J\n\u{202e}".to_owned());
        hostile.called = Some("\u{9b}31m".to_owned());
        hostile.method = Some("IN\rVITE".to_owned());
        let shown = plain(&hostile);
        assert!(shown.chars().all(|c| (' '..='~').contains(&c)), "{shown:?}");
        assert!(
            shown.contains(r#""a -> b  from 1\u{1b}[2J\u{a}\u{202e}" -> "\u{9b}31m""#),
            "{shown}"
        );
    }

    #[test]
    fn each_outcome_has_its_colour() {
        let style_of = |outcome: &str, status| {
            let mut record = DecisionRecord::default();
            (record.outcome, record.status) = (outcome.to_owned(), status);
            style(&record)
        };
        let red = style_of("reject", Some(403));
        assert_eq!(style_of("answered", Some(405)), red);
        assert_eq!(style_of("dropped", None), red);
        assert_eq!(style_of("answered", Some(200)), Style::new());
        assert_ne!(style_of("accept", Some(200)), red);
        assert_ne!(style_of("challenge", Some(407)), red);
    }
}
