//! An INVITE that is decided without being sent.

use std::net::{IpAddr, SocketAddr};

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use sip_authz::Transport;
use sip_authz_rest::decisions::{
    ExplainError, Explained, ExplainedStep, Question, RequestParts, public_reason, with_line_ends,
};
use sip_authz_store::Store;

use super::steps::StepLine;
use crate::App;
use crate::fields::Fields;
use crate::frame::{Frame, View};
use crate::problem::{Problem, html};
use crate::texts::{Word, decided, grouped};
use crate::visit::{Change, Visit};

/// The longest message in bytes.
const MAX_MESSAGE: usize = 65_535;

/// The fields of the form.
#[derive(Default)]
struct TryFields {
    host: String,
    called: String,
    from: String,
    source: String,
    transport: String,
    message: String,
}

struct TryResult {
    word: Word,
    steps: Vec<StepLine>,
    answer: String,
    meaning: String,
    advice: String,
    snapshot: String,
    edge: String,
}

#[derive(Template)]
#[template(path = "try.html")]
struct TryPage {
    frame: Frame,
    fields: TryFields,
    error: String,
    result: Option<TryResult>,
    keeps: bool,
    transports: Vec<&'static str>,
}

pub(crate) fn routes<S: Store>() -> Router<App<S>> {
    Router::new().route("/console/try", get(page::<S>).post(submit::<S>))
}

/// `GET /console/try`: the form, filled from the query.
async fn page<S: Store>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Problem> {
    let fields = read(&visit.query);
    answer(&app, &visit, fields, String::new(), None).await
}

/// `POST /console/try`: decides. A form with a token, because a wrong response counts against the limits.
async fn submit<S: Store>(State(app): State<App<S>>, change: Change) -> Result<Response, Problem> {
    let Some(decisions) = app.console.options.decisions.clone() else {
        return Err(Problem::no_decisions());
    };
    let fields = read(&change.form);
    let (mut error, mut result) = (String::new(), None);
    match question(&fields) {
        Err(text) => error = text,
        Ok(asked) => match decisions.0.explain(change.visit.asker(), asked).await {
            Ok(explained) => result = Some(shown(explained)),
            Err(ExplainError::Message(text)) => {
                error = format!("The message is not decided: {text}.")
            }
            Err(ExplainError::NotYours) => {
                error = "No domain or trunk of this account has that host.".to_owned();
            }
            Err(_) => error = "The request cannot be explained.".to_owned(),
        },
    }
    answer(&app, &change.visit, fields, error, result).await
}

async fn answer<S: Store>(
    app: &App<S>,
    visit: &Visit,
    fields: TryFields,
    error: String,
    result: Option<TryResult>,
) -> Result<Response, Problem> {
    let page = TryPage {
        frame: Frame::new(app, visit, View::Explain, "Try an INVITE").await?,
        fields,
        error,
        result,
        keeps: app.console.options.decisions.is_some(),
        transports: Transport::ALL.iter().map(|transport| transport.via_name()).collect(),
    };
    Ok(html(&page))
}

fn read(fields: &Fields) -> TryFields {
    let text = |name| fields.get(name).to_owned();
    TryFields {
        host: text("host"),
        called: text("called"),
        from: text("from"),
        source: text("source"),
        transport: text("transport"),
        message: text("message"),
    }
}

/// The request of the form: the message if there is one, or else one made of the parts.
fn question(fields: &TryFields) -> Result<Question, String> {
    let source = match (fields.source.parse::<SocketAddr>(), fields.source.parse::<IpAddr>()) {
        (Ok(source), _) => source,
        (_, Ok(address)) => SocketAddr::new(address, 5060),
        _ => return Err("The source must be an IP address, with or without a port.".to_owned()),
    };
    let transport = fields.transport.parse().unwrap_or(Transport::Udp);
    let message = if fields.message.is_empty() {
        invite(fields, source, transport)?
    } else {
        with_line_ends(fields.message.as_bytes())
    };
    if message.len() > MAX_MESSAGE {
        return Err(format!("The message may have {MAX_MESSAGE} bytes at most."));
    }
    Ok(Question { message, source, transport })
}

/// An INVITE without credentials.
fn invite(fields: &TryFields, source: SocketAddr, transport: Transport) -> Result<Vec<u8>, String> {
    let plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
    let from = if fields.from.is_empty() { "caller" } else { &fields.from };
    if fields.host.is_empty() {
        return Err("Enter the host of the domain or trunk, or paste a message.".to_owned());
    }
    if ![fields.host.as_str(), &fields.called, from].into_iter().all(plain) {
        return Err(
            "Host, called user and From user may have no spaces, quotes or brackets.".to_owned()
        );
    }
    let mut parts = RequestParts::default();
    parts.domain = Some(&fields.host);
    parts.to = Some(&fields.called);
    parts.from = Some(from);
    parts.message(source, transport).map_err(|error| format!("{error}."))
}

fn shown(explained: Explained) -> TryResult {
    let step = |step: ExplainedStep| StepLine::new(step.passed, step.text);
    TryResult {
        word: decided(&explained.outcome),
        steps: explained.steps.into_iter().map(step).collect(),
        answer: format!("{} ({})", explained.status, public_reason(&explained.reason)),
        meaning: explained.meaning.or(explained.cause).unwrap_or_default(),
        advice: explained.advice.unwrap_or_default(),
        snapshot: grouped(explained.snapshot),
        edge: explained.edge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(host: &str, source: &str) -> TryFields {
        TryFields { host: host.to_owned(), source: source.to_owned(), ..TryFields::default() }
    }

    #[test]
    fn the_parts_make_an_invite() {
        let asked = question(&fields("sip.acme.example", "192.0.2.7")).unwrap();
        assert!(asked.message.starts_with(b"INVITE sip:sip.acme.example SIP/2.0\r\n"));
        assert_eq!(asked.source, "192.0.2.7:5060".parse().unwrap());
        assert_eq!(asked.transport, Transport::Udp);
        assert!(question(&fields("sip.acme.example", "[2001:db8::1]:99")).is_ok());
        for (host, source) in [
            ("", "192.0.2.7"),
            ("a.example", ""),
            ("a.example", "a.example"),
            ("a.example SIP/2.0\r\nX: y", "192.0.2.7"),
            ("<a>", "192.0.2.7"),
        ] {
            assert!(question(&fields(host, source)).is_err(), "{host} {source}");
        }
    }

    #[test]
    fn a_pasted_message_has_crlf_and_a_blank_line() {
        let message = |text: &str| {
            let fields = TryFields { message: text.to_owned(), ..fields("", "192.0.2.7") };
            question(&fields).unwrap().message
        };
        assert_eq!(message("INVITE a\nb: c"), b"INVITE a\r\nb: c\r\n\r\n");
        assert_eq!(message("INVITE a\r\n\r\nbody\r\n"), b"INVITE a\r\n\r\nbody\r\n");
    }
}
