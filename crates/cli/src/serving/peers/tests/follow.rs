//! The decisions of all edges as they are made.

use super::*;

/// The time now in microseconds.
fn now() -> u64 {
    sip_authz_rest::decisions::micros(SystemTime::now())
}

/// Waits for a condition, and fails after 20 s.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

async fn next(stream: &mut Followed) -> Event {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap()
}

async fn decision(stream: &mut Followed) -> (String, u64) {
    match next(stream).await {
        Event::Decision(row) => (row.edge.clone(), row.micros().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn decisions_of_all_edges_arrive_once_and_in_order() {
    let own = Kept::of(vec![]);
    let own_row = row("this", now());
    own.events.lock().unwrap().push_back(Event::Decision(Box::new(own_row.clone())));
    // made before: not followed
    let other = Kept::of(vec![row("two", now() - 5_000_000)]);
    let (two, _keep) = real("two", TOKEN, Arc::clone(&other)).await;
    let peers = peers(&own, vec![two]);
    let mut stream = peers.follow(ADMIN, Filter::default()).unwrap();
    assert_eq!(decision(&mut stream).await, ("this".to_owned(), own_row.micros().unwrap()));
    let mut sent = Vec::new();
    for round in 0..3 {
        // more than one answer holds
        for _ in 0..if round == 1 { 700 } else { 2 } {
            let row = row("two", now().max(sent.last().map_or(0, |(_, last)| last + 1)));
            sent.push(("two".to_owned(), row.micros().unwrap()));
            other.rows.lock().unwrap().push(row);
        }
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.push(decision(&mut stream).await);
        }
        assert_eq!(got, sent);
        sent.clear();
    }
    // one that is kept later than a newer one
    let newer = row("two", now() + 30_000_000);
    other.rows.lock().unwrap().push(newer.clone());
    assert_eq!(decision(&mut stream).await.1, newer.micros().unwrap());
    let late = row("two", now());
    other.rows.lock().unwrap().push(late.clone());
    assert_eq!(decision(&mut stream).await.1, late.micros().unwrap());
    assert!(peers.own.follow(ADMIN, Filter::default()).is_some());
}

#[tokio::test]
async fn a_silent_edge_is_named_once_and_a_lying_one_does_not_reach_an_account() {
    let own = Kept::of(vec![]);
    let mut foreign = row("two", now() + 60_000_000);
    foreign.account = Some(AccountSid::from_name(&["other"]).to_string());
    let rows = [row("two", now() + 50_000_000), foreign, row("six", now() + 70_000_000)];
    let lies = Odd::with("200 OK", &decisions_of("two", &rows)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = edge("gone", Some(&format!("http://{closed}")));
    let peers = peers(&own, vec![lies.edge("two"), gone]);
    let mut stream = peers.follow(tenant(), Filter::default()).unwrap();
    match next(&mut stream).await {
        Event::Silent(silent) => {
            assert_eq!(
                (silent.edge.as_str(), silent.reason.as_str()),
                ("gone", "it did not answer")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(decision(&mut stream).await.1, rows[0].micros().unwrap());
    // nothing else, however often they are asked
    let asked = lies.requests.load(Ordering::Relaxed);
    tokio::select! {
        event = stream.next() => panic!("{event:?}"),
        () = until(|| lies.requests.load(Ordering::Relaxed) >= asked + 3) => {}
    }
}

#[tokio::test]
async fn the_questions_end_with_the_stream() {
    let own = Kept::of(vec![]);
    let other = Odd::with("200 OK", &decisions_of("two", &[])).await;
    let peers = peers(&own, vec![other.edge("two")]);
    let stream = peers.follow(ADMIN, Filter::default()).unwrap();
    until(|| other.requests.load(Ordering::Relaxed) >= 2).await;
    drop(stream);
    until(|| Arc::strong_count(&peers.fleet) == 1).await;
    // connections are accepted in order: those from before the end are counted with the next one
    let last = TcpStream::connect(other.address).await.unwrap();
    let last = last.local_addr().unwrap();
    until(|| *other.last.lock().unwrap() == Some(last)).await;
    let asked = other.requests.load(Ordering::Relaxed);
    // longer than the interval of the questions
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(other.requests.load(Ordering::Relaxed), asked);
    // an edge whose follower limit is reached follows nothing
    let full = Arc::new(Kept { off: true, ..Kept::default() });
    assert!(self::peers(&full, vec![]).follow(ADMIN, Filter::default()).is_none());
}
