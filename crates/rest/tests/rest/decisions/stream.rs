//! Decisions as server-sent events.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use sip_authz_rest::decisions::{DecisionRecord, Event, SilentEdge};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const PATH: &str = "/v1/Decisions/Stream";

/// The time within which something happens on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// The events of a stream as text, one at a time.
struct Reader(axum::body::BodyDataStream);

impl Reader {
    async fn next(&mut self) -> String {
        let bytes = self.0.next().await.unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

async fn follow(kept: &Kept, login: &(String, String), query: &str) -> Reader {
    let request = Request::get(format!("{PATH}?{query}"))
        .header(header::AUTHORIZATION, basic(&login.0, &login.1))
        .body(Body::empty());
    let response = kept.site.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let mut reader = Reader(response.into_body().into_data_stream());
    assert_eq!(reader.next().await, ":\n\n");
    reader
}

/// The decision of an event.
fn decision(event: &str) -> DecisionRecord {
    let data = event.strip_prefix("event: decision\ndata: ").unwrap_or_else(|| panic!("{event}"));
    serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
}

#[tokio::test]
async fn an_account_follows_its_own_decisions_by_filters() {
    let kept = Kept::new().await;
    let Site { login, stranger, admin, .. } = &kept.site;
    let before = kept.add(0);
    let mut own = follow(&kept, login, "User=alice").await;
    let mut strange = follow(&kept, stranger, "").await;
    let mut all = follow(&kept, admin, "").await;
    kept.add_for(Some(&login.0), 1, |row| row.claimed_user = Some("bob".to_owned()));
    kept.add_for(Some(&stranger.0), 2, |_| {});
    kept.add_for(None, 3, |_| {});
    kept.add_for(Some(&login.0), 4, |row| row.user_agent = Some("a\r\n\r\ndata: b".to_owned()));
    let event = own.next().await;
    assert_eq!(event.lines().count(), 3, "{event}");
    assert_eq!(decision(&event).sid, sid(4));
    assert_eq!(decision(&event).user_agent.as_deref(), Some("a\r\n\r\ndata: b"));
    assert_eq!(decision(&strange.next().await).sid, sid(2));
    for n in 1..5 {
        assert_eq!(decision(&all.next().await).sid, sid(n), "not {before}");
    }
}

#[tokio::test]
async fn left_out_decisions_and_silent_edges_are_events() {
    let kept = Kept::new().await;
    let mut own = follow(&kept, &kept.site.login, "").await;
    kept.tell(&Event::LeftOut(12));
    kept.tell(&Event::Silent(SilentEdge { edge: "edge-2".to_owned(), reason: "gone".to_owned() }));
    assert_eq!(own.next().await, "event: left-out\ndata: {\"count\":12}\n\n");
    let silent = "event: silent-edge\ndata: {\"edge\":\"edge-2\",\"reason\":\"gone\"}\n\n";
    assert_eq!(own.next().await, silent);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_comes_after_fifteen_seconds_of_silence() {
    let kept = Kept::new().await;
    let mut own = follow(&kept, &kept.site.login, "").await;
    for _ in 0..3 {
        let start = tokio::time::Instant::now();
        assert_eq!(own.next().await, ":\n\n");
        assert_eq!(start.elapsed().as_secs(), 15);
    }
    // an event counts as one
    tokio::time::sleep(Duration::from_secs(10)).await;
    kept.add(1);
    assert_eq!(decision(&own.next().await).sid, sid(1));
    let start = tokio::time::Instant::now();
    assert_eq!(own.next().await, ":\n\n");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_soon_after_its_account_lost_the_token() {
    let kept = Kept::new().await;
    let Site { login, stranger, admin, sid, .. } = &kept.site;
    let account = format!("/2010-04-01/Accounts/{sid}");
    let suspended = format!("/2010-04-01/Accounts/{}.json", stranger.0);
    for (login, path, form) in [
        (login, format!("{account}/AuthToken.json"), ""),
        (stranger, suspended, "Status=suspended"),
    ] {
        let mut own = follow(&kept, login, "").await;
        let mut all = follow(&kept, admin, "").await;
        // both go on for minutes
        for _ in 0..12 {
            assert_eq!((own.next().await, all.next().await), (":\n\n".into(), ":\n\n".into()));
        }
        let answer = kept.site.call_as(admin, "POST", &path, form).await;
        assert!(answer.status < 300, "{}", answer.text);
        let start = tokio::time::Instant::now();
        while own.0.next().await.is_some() {}
        assert!(start.elapsed().as_secs() <= 75, "{:?}", start.elapsed());
        assert_eq!(all.next().await, ":\n\n");
    }
}

#[tokio::test]
async fn a_caller_follows_a_bounded_number_of_streams() {
    let kept = Kept::new().await;
    let first = follow(&kept, &kept.site.login, "").await;
    let _second = follow(&kept, &kept.site.login, "User=bob").await;
    refused(&kept.site, "GET", PATH, "", 429, 20429).await;
    assert!(kept.site.get("/errors/20429").await.text.contains("streams"));
    let _other = follow(&kept, &kept.site.stranger, "").await;
    drop(first);
    let _third = follow(&kept, &kept.site.login, "").await;
    refused(&kept.site, "GET", PATH, "", 429, 20429).await;
}

#[tokio::test]
async fn a_stream_over_a_socket_begins_at_once_and_ends_with_its_client() {
    let kept = Kept::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = kept.site.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let login = &kept.site.login;
    let head = format!(
        "GET {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
        basic(&login.0, &login.1)
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut until = async |end: &str| {
        let mut buffer = [0; 4_096];
        while !text.contains(end) {
            let length = timeout(SOON, client.read(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(length, 0, "{text}");
            text.push_str(str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    until(":\n\n").await;
    kept.add(5);
    until(&sid(5)).await;
    assert_eq!(kept.fake.open_streams.load(Ordering::SeqCst), 1);
    drop(client);
    let dropped = async {
        while kept.fake.open_streams.load(Ordering::SeqCst) != 0 {
            // events to a client that has gone
            kept.add(6);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, dropped).await.unwrap();
}
