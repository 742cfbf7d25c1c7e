//! The lines of the text log. A line begins with the time or, in the journal, with its priority.

use std::fmt::Write as _;

use sip_authz::escape_name;

use crate::observe::record::Verdict;
use crate::observe::record::shown::{Personal, Shown};
use crate::system::journal::{self, Priority};

/// Appends the line of a record.
pub(super) fn push(text: &mut String, shown: &Shown<'_>) {
    if journal::is_stderr() {
        let is_refused = matches!(shown.verdict, Verdict::Reject(_));
        text.push_str(if is_refused { Priority::Notice } else { Priority::Info }.mark());
    } else {
        text.extend([shown.time.as_str(), " "]);
    }
    // writing to a String does not fail
    let _ = write(text, shown);
    text.push('\n');
}

fn write(text: &mut String, shown: &Shown<'_>) -> std::fmt::Result {
    let target = shown.target.as_deref().unwrap_or("-");
    text.push_str(shown.outcome);
    match shown.verdict {
        Verdict::Accept { .. } => write!(text, " target={target}")?,
        Verdict::Challenge { stale, .. } => {
            write!(text, " target={target}")?;
            push_status(text, shown);
            write!(text, " stale={stale}")?;
        }
        Verdict::Reject(_) => {
            write!(text, " target={target}")?;
            push_status(text, shown);
            write!(text, " reason={}", shown.reason)?;
        }
        Verdict::Other(_) => {
            push_status(text, shown);
            write!(text, " reason=\"{}\"", shown.reason)?;
        }
    }
    write!(text, " transport={}", shown.transport)?;
    if let Some(method) = shown.method.filter(|method| *method != "INVITE") {
        write!(text, " method={method}")?;
    }
    if let (Some(list), Some(entry)) = (&shown.access_list, &shown.address) {
        write!(text, " list={list} entry={entry}")?;
    }
    if let (Some(list), Some(user)) = (&shown.credential_list, &shown.credential) {
        write!(text, " list={list} user={user}")?;
    }
    if !shown.permissions.is_empty() {
        write!(text, " permits={}", shown.permissions.join(","))?;
    }
    if shown.repeat == Some(true) {
        text.push_str(" repeat");
    }
    // filters of log readers look for the source here, before any text that the caller wrote
    if let Some(source) = &shown.personal.source {
        write!(text, " source={source}")?;
    }
    if let Some(name) = &shown.personal.username {
        write!(text, " username=\"{}\"", escape_name(name))?;
    }
    let rest = [
        // unless the line has the text already
        ("cause", shown.cause.filter(|cause| *cause != shown.reason)),
        ("defect", shown.defect.as_deref()),
        ("claimed", shown.claimed.as_deref()),
        ("domain", shown.name.as_deref()),
        ("algorithm", shown.algorithm),
        ("qop", shown.qop),
    ];
    for (key, value) in rest {
        if let Some(value) = value {
            write!(text, " {key}={value}")?;
        }
    }
    push_texts(text, &shown.personal)
}

fn push_status(text: &mut String, shown: &Shown<'_>) {
    if let Some(status) = shown.status {
        let _ = write!(text, " status={status}");
    }
}

/// Appends the texts that the caller wrote. A shortened one ends in three dots behind its quotes.
fn push_texts(text: &mut String, personal: &Personal<'_>) -> std::fmt::Result {
    for (key, value) in [
        ("host", &personal.host),
        ("called", &personal.called),
        ("from", &personal.from),
        ("claimed_user", &personal.claimed_user),
        ("realm", &personal.realm),
        ("call_id", &personal.call_id),
        ("user_agent", &personal.user_agent),
    ] {
        if let Some(value) = value {
            let dots = if personal.shortened.contains(&key) { "..." } else { "" };
            write!(text, " {key}=\"{}\"{dots}", escape_name(value))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use sip_authz::message::Message;
    use sip_authz::{Snapshot, Transport};

    use super::*;
    use crate::observe::cause::Cause;
    use crate::observe::record::{Moment, Record};
    use crate::sip::peer::{Caller, Source};

    fn line(message: &str, names: bool) -> String {
        let source = Source::Known("192.0.2.1:5060".parse().unwrap());
        let caller = Caller { source, transport: Transport::Udp };
        let moment = Moment { time: SystemTime::UNIX_EPOCH, took: None, snapshot: None };
        let message = Message::scan(message.as_bytes());
        let record = Record::other(&moment, caller, Cause::Method, message.as_ref());
        let mut text = String::new();
        push(&mut text, &Shown::of(&record, names, &Snapshot::empty()));
        text
    }

    #[test]
    fn texts_of_the_caller_stand_in_quotes_at_the_end() {
        let (long, call_id) = ("x".repeat(300), "a\" source=198.51.100.1:1 b=\"\u{202e}");
        let message = format!(
            "PUBLISH sip:bob@x.example SIP/2.0\r\nFrom: <sip:a@b>\r\n\
             Call-ID: {call_id}\r\nUser-Agent: {long}\r\n\r\n"
        );
        let begin = "1970-01-01T00:00:00.000000Z answered status=405 \
                     reason=\"method not allowed\" transport=udp method=PUBLISH";
        assert_eq!(line(&message, false), format!("{begin}\n"));
        // the texts have 296 bytes together
        let others = "x.example".len() + "bob".len() + "a".len() + call_id.len();
        let kept = "x".repeat(296 - others);
        assert_eq!(
            line(&message, true),
            format!(
                "{begin} source=192.0.2.1:5060 host=\"x.example\" called=\"bob\" from=\"a\" \
                 call_id=\"a\\\" source=198.51.100.1:1 b=\\\"\\u{{202e}}\" \
                 user_agent=\"{kept}\"...\n"
            )
        );
    }
}
