//! The live rows, as server-sent events.

use std::pin::Pin;
use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use sip_authz_rest::decisions::{Event, Followed};
use sip_authz_store::Store;
use tokio::time::{Instant, sleep_until};

use super::decisions::{DecisionRow, FilterFields, RowAlone};
use crate::App;
use crate::fields::query;
use crate::problem::Problem;
use crate::sessions::{Holder, Session};
use crate::visit::{Visit, holder};

/// The interval of heartbeats, at each of which the session is checked again.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// An open stream.
struct Live<S: Store> {
    app: App<S>,
    session: Session,
    followed: Followed,
    next_check: Instant,
    with: String,
    is_over: bool,
}

/// `GET /console/stream`.
pub(crate) async fn stream<S: Store>(
    State(app): State<App<S>>,
    visit: Visit,
) -> Result<Response, Problem> {
    let Some(decisions) = app.console.options.kept_decisions() else {
        return Err(Problem::no_decisions());
    };
    let (fields, filter) = FilterFields::read(&visit.query);
    let filter = filter.ok_or_else(|| Problem::bad(fields.error))?;
    let Some(followed) = decisions.0.follow(visit.asker(), filter) else {
        let text =
            "Too many live views are open for this account. Close one, then reload the page.";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many live views", text);
        return Err(problem.retry_after(10));
    };
    let live = Live {
        app,
        with: query(&[("account", &visit.chosen_sid())]),
        session: visit.session,
        followed,
        next_check: Instant::now() + HEARTBEAT,
        is_over: false,
    };
    let events = stream::unfold(live, |mut live| async move {
        let text = live.next().await?;
        Some((Ok::<_, std::convert::Infallible>(text), live))
    });
    // the first bytes make the browser report the stream as open
    let events = stream::once(std::future::ready(Ok("retry: 3000\n\n".to_owned()))).chain(events);
    let mut response = Body::from_stream(events).into_response();
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    // tells proxies such as nginx not to hold events back
    let unbuffered = HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", unbuffered);
    Ok(response)
}

impl<S: Store> Live<S> {
    /// The next event as text; none at the end.
    async fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        loop {
            // before the events: otherwise a busy stream would skip the check
            if Instant::now() >= self.next_check {
                self.next_check = Instant::now() + HEARTBEAT;
                if is_valid(&self.app, &self.session).await {
                    return Some(": still here\n\n".to_owned());
                }
                self.is_over = true;
                return Some(event("end", "The session has ended."));
            }
            let wait: Pin<Box<_>> = Box::pin(sleep_until(self.next_check));
            match select(self.followed.next(), wait).await {
                Either::Left((None, _)) => return None,
                Either::Left((Some(event), _)) => {
                    if let Some(text) = self.text(event) {
                        return Some(text);
                    }
                }
                Either::Right(_) => {}
            }
        }
    }

    fn text(&self, event: Event) -> Option<String> {
        Some(match event {
            Event::Decision(record) => {
                let row = DecisionRow::of(&record, &self.with);
                let page = RowAlone { root: "", row };
                self::event("row", &page.render().ok()?)
            }
            Event::LeftOut(count) => self::event("left-out", &count.to_string()),
            Event::Silent(silent) => {
                self::event("silent", &format!("{}: {}", silent.edge, silent.reason))
            }
        })
    }
}

/// Whether the session is open and its holder may still log in.
async fn is_valid<S: Store>(app: &App<S>, session: &Session) -> bool {
    let open = app.console.sessions.is_open(&session.key);
    match session.holder {
        Holder::Admin => open,
        // a store that does not answer ends no stream: the lists in force stay the same, too
        Holder::Account(sid, token) => open && !matches!(holder(app, sid, &token).await, Ok(None)),
    }
}

/// An event. Line ends in the text would end its line, so each becomes a space.
fn event(name: &str, text: &str) -> String {
    let text = text.replace(['\r', '\n', '\0'], " ");
    format!("event: {name}\ndata: {text}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_line_of_data() {
        assert_eq!(
            event("row", "a\r\ndata: b\n\nevent: end\rc"),
            "event: row\ndata: a  data: b  event: end c\n\n"
        );
    }
}
