//! `GET /v1/Decisions/Stream`: decisions as they are made, as server-sent events.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use tokio::time::Instant;

use super::asker::may_still_ask;
use super::request::{Question, uncached};
use super::{Asker, Event, Followed, LeftOut};
use crate::Api;
use crate::error::{ApiError, BAD_PARAMETER, TOO_MANY};
use crate::form::Param;
use sip_authz_store::Store;

/// The longest time without a byte. Proxies close connections that are silent for longer, often after 30
/// or 60 seconds.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The interval between two checks that the caller may still follow: its token can be replaced meanwhile.
const CHECK: Duration = Duration::from_secs(60);

/// A comment, which clients ignore.
const COMMENT: &str = ":\n\n";

/// The query parameters of the stream, and those that only the list has.
pub(super) const PARAMS: &[Param] = &[
    Param::text("Domain"),
    Param::text("User"),
    Param::text("Source"),
    Param::text("Outcome"),
    Param::text("Reason"),
    Param::text("CallId"),
];
const READ: &[Param] = super::list::PARAMS;

pub(super) async fn follow<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, READ, request).await?;
    let filter = question.filter()?;
    for (parameter, time) in [("Since", filter.since), ("Until", filter.until)] {
        if time.is_some() {
            let message = format!("{parameter} must be absent: a stream begins now and has no end");
            return Err(ApiError::bad(BAD_PARAMETER, message));
        }
    }
    let followed = question.decisions.follow(question.asker, filter);
    let followed = followed.ok_or_else(|| {
        let message = "the caller follows as many streams as it may; close one first";
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY, message)
    })?;
    let event_stream = HeaderValue::from_static("text/event-stream");
    // nginx would collect the events in a buffer
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let headers = [(header::CONTENT_TYPE, event_stream), unbuffered];
    let follower = Follower {
        followed,
        asker: question.asker,
        seal: question.seal,
        checked: Instant::now(),
        api,
    };
    Ok(uncached((headers, body(follower)).into_response()))
}

/// A stream that is followed.
struct Follower<S: Store> {
    followed: Followed,
    asker: Asker,
    seal: [u8; 32],
    /// The time of the last check that the asker may follow.
    checked: Instant,
    api: Arc<Api<S>>,
}

impl<S: Store> Follower<S> {
    /// The next event or heartbeat; none at the end.
    async fn next(&mut self) -> Option<String> {
        let heartbeat = pin!(tokio::time::sleep(HEARTBEAT));
        let text = match select(self.followed.next(), heartbeat).await {
            Either::Left((event, _)) => frame(&event?),
            Either::Right(((), _)) => COMMENT.to_owned(),
        };
        if self.checked.elapsed() >= CHECK {
            self.checked = Instant::now();
            if !may_still_ask(&self.api, self.asker, self.seal).await {
                return None;
            }
        }
        Some(text)
    }
}

/// The events as text. The server asks for the next one once the client has room for it.
fn body<S: Store>(follower: Follower<S>) -> Body {
    // the first comment lets the client see that it is connected
    let first = stream::iter([Ok::<_, Infallible>(COMMENT.to_owned())]);
    let events = stream::unfold(follower, |mut follower| async move {
        Some((Ok(follower.next().await?), follower))
    });
    Body::from_stream(first.chain(events))
}

/// An event in the text form of server-sent events. JSON escapes line ends, so the data is one line.
fn frame(event: &Event) -> String {
    match event {
        Event::Decision(record) => named("decision", record),
        Event::LeftOut(count) => named("left-out", LeftOut { count: *count }),
        Event::Silent(edge) => named("silent-edge", edge),
    }
}

fn named(name: &str, data: impl Serialize) -> String {
    // these types have only texts and numbers, so they serialize
    let data = serde_json::to_string(&data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}
