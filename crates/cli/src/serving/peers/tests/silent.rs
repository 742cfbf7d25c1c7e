//! Edges that do not answer, or not as they should.

use super::*;
use crate::system::test_clock::wait_for_network;

/// Asks `this` and one other edge. Returns the reason why that one is silent.
async fn reason(other: Edge) -> String {
    let own = Kept::of(vec![row("this", 1)]);
    let found = peers(&own, vec![other]).recent(ADMIN, query(5, Start::Newest)).await;
    assert_eq!(times(&found).0, [1]);
    let [silent] = found.answered.silent.try_into().unwrap();
    assert_eq!(silent.edge, "two");
    silent.reason
}

#[tokio::test(start_paused = true)]
async fn edges_that_do_not_answer_are_named_and_hold_up_no_other() {
    wait_for_network();
    let own = Kept::of(vec![row("this", 1)]);
    let hangs = Odd::saying("").await;
    let drips = Odd::doing(|mut stream: TcpStream| async move {
        while stream.write_all(b"H").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let (answers, _keep) = real("answers", TOKEN, Kept::of(vec![row("answers", 2)])).await;
    let others = vec![hangs.edge("hangs"), drips.edge("drips"), answers];
    let peers = peers_with(&own, others, |options| options.limit = Duration::from_secs(3));
    let found = peers.recent(ADMIN, query(5, Start::Newest)).await;
    assert_eq!(times(&found), (vec![2, 1], false));
    let late = |edge: &str| SilentEdge {
        edge: edge.to_owned(),
        reason: "no answer within 3 s".to_owned(),
    };
    assert_eq!(found.answered.silent, [late("drips"), late("hangs")]);
}

#[tokio::test]
async fn an_edge_that_cannot_be_asked_is_named_with_the_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (api, why) in [
        (None, "it has no --api-advertise"),
        (Some(format!("http://{closed}")), "no connection to 127.0.0.1"),
        (Some("http://192.0.2.1:8080".to_owned()), "plain HTTP on another machine"),
        (Some("http://127.0.0.1:9".to_owned()), "it reports the --api-advertise of this"),
        (Some("gopher://a.example".to_owned()), "expected a URL"),
        (Some(format!("http://x@{closed}")), "expected a URL"),
    ] {
        let reason = reason(edge("two", api.as_deref())).await;
        assert!(reason.contains(why), "{api:?}: {reason}");
    }
    let own = Kept::of(vec![]);
    let peers = peers_with(&own, vec![edge("two", Some("http://127.0.0.1:1"))], |options| {
        options.key = None;
    });
    let found = peers.recent(ADMIN, query(5, Start::Newest)).await;
    assert_eq!(found.answered.silent[0].reason, "this has no admin token to ask it with");
}

#[tokio::test]
async fn answers_that_are_none_are_not_used() {
    let target = Odd::with("200 OK", &decisions_of("two", &[row("two", 5)])).await;
    let moved = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/edge/v1/question\r\n\
         Content-Length: 0\r\n\r\n",
        target.address
    );
    let long = "x".repeat(200_000);
    let rows: Vec<_> = (0..1_000).map(|n| row("two", n)).collect();
    let deep = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "[".repeat(20_000));
    let error = json!({"message": "the clocks\u{1b}[31m differ", "code": 20003});
    for (other, why) in [
        (Odd::saying(moved).await, "it redirects the question, which is not followed"),
        (Odd::saying("SSH-2.0-OpenSSH_9.2\r\n").await, "does not answer as an HTTP server"),
        (Odd::saying(format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n")).await, "head of its answer"),
        (Odd::saying(format!("HTTP/1.1 200 OK\r\n\r\n{long}")).await, "more than 24576 bytes"),
        (Odd::saying(deep).await, "not one of sip-authz"),
        (Odd::with("200 OK", &decisions_of("two", &rows)).await, "more than 24576 bytes"),
        (Odd::with("200 OK", &json!("garbage")).await, "not one of sip-authz"),
        (Odd::with("200 OK", &json!({"edge": "two"})).await, "not one of sip-authz"),
        (Odd::with("200 OK", &decisions_of("six", &[])).await, "the edge `six` answers at its URL"),
        (Odd::with("404 Not Found", &json!({})).await, "is it an earlier version"),
        (Odd::with("500 Oops", &json!({})).await, "it answers with status 500"),
        (Odd::with("403 Forbidden", &error).await, "refuses the question: the clocks[31m differ"),
        (
            Odd::with(
                "200 OK",
                &json!({"edge": "two", "now_us": 1, "rows": {"held": {"rows": []}}}),
            )
            .await,
            "it answers another question",
        ),
    ] {
        let reason = reason(other.edge("two")).await;
        assert!(reason.contains(why), "{why}: {reason}");
    }
    assert_eq!(target.requests.load(Ordering::Relaxed), 0);
    let (two, _keep) = real("two", "another token", Kept::of(vec![row("two", 5)])).await;
    let refused = reason(two).await;
    assert!(refused.contains("different admin tokens"), "{refused}");
}

#[tokio::test]
async fn rows_that_an_edge_must_not_send_are_left_out() {
    let own = Kept::of(vec![row("this", 10)]);
    let mut foreign = row("two", 5);
    foreign.account = Some(AccountSid::from_name(&["other"]).to_string());
    let mut unknown = row("two", 6);
    unknown.account = None;
    let (mut no_time, mut no_sid) = (row("two", 7), row("two", 8));
    no_time.time = "now".to_owned();
    no_sid.sid = "NO1".to_owned();
    // outside the page: it would make a client read the same page for ever
    let newer = row("two", 99);
    let sent = [row("two", 4), foreign.clone(), unknown, no_time, no_sid, row("six", 9), newer];
    let lies = Odd::with("200 OK", &decisions_of("two", &sent)).await;
    let peers = peers(&own, vec![lies.edge("two")]);
    let start = Start::Before(row("this", 50).place().unwrap());
    let found = peers.recent(tenant(), query(9, start)).await;
    assert_eq!(times(&found).0, [10, 4]);
    assert_eq!(names(&found.answered.silent), ["two"]);
    assert!(found.answered.silent[0].reason.starts_with("6 rows"), "{:?}", found.answered.silent);
    // the admin sees those of all accounts
    let found = peers.recent(ADMIN, query(9, start)).await;
    assert_eq!(times(&found).0, [10, 6, 5, 4]);
    for asker in [tenant(), ADMIN] {
        let found = peers.find(asker, foreign.sid.parse().unwrap()).await;
        assert_eq!(found.rows.len(), usize::from(asker == ADMIN));
    }
    // an edge that claims to have more than it sends does not keep a client asking
    let body = json!({"edge": "two", "now_us": 1,
                      "rows": {"decisions": {"rows": [], "has_more": true}}});
    let lies = Odd::with("200 OK", &body).await;
    let found = self::peers(&own, vec![lies.edge("two")]).recent(ADMIN, query(9, start)).await;
    assert_eq!(times(&found), (vec![10], false));
}

#[tokio::test]
async fn held_limits_of_other_accounts_and_edges_are_left_out() {
    let own = Kept::of(vec![]);
    let mut foreign = held("two", "2");
    foreign.account = AccountSid::from_name(&["other"]).to_string();
    let rows = [held("two", "1"), foreign, held("six", "3")];
    let body = json!({"edge": "two", "now_us": 1, "rows": {"held": {"rows": rows}}});
    let lies = Odd::with("200 OK", &body).await;
    let peers = peers(&own, vec![lies.edge("two")]);
    let listed = peers.held(tenant()).await;
    assert_eq!((listed.rows.len(), names(&listed.silent)), (1, vec!["two"]));
    assert_eq!(peers.held(ADMIN).await.rows.len(), 2);
}

#[tokio::test]
async fn an_account_learns_no_address_from_a_reason() {
    let own = Kept::of(vec![]);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let other = || edge("two", Some(&format!("http://{closed}")));
    let silent =
        vec![SilentEdge { edge: "two".to_owned(), reason: "it did not answer".to_owned() }];
    let peers = peers(&own, vec![other()]);
    let found = peers.recent(tenant(), query(5, Start::Newest)).await;
    assert_eq!(found.answered.silent, silent);
    assert_eq!(peers.held(tenant()).await.silent, silent);
    let found = peers.find(tenant(), row("two", 1).sid.parse().unwrap()).await;
    assert_eq!(found.silent, silent);
    let id = held_id::write("two", &hex_id("1"));
    assert_eq!(peers.release(tenant(), id).await, Released::Silent(silent));
}

#[tokio::test(start_paused = true)]
async fn open_questions_to_one_edge_are_bounded() {
    wait_for_network();
    let one = |_| AccountSid::from_bytes([7; 16]);
    let each = |number| AccountSid::from_bytes([number; 16]);
    // one account leaves room to the others
    for (account, most) in [(&one as &dyn Fn(u8) -> AccountSid, 3), (&each, 8)] {
        let own = Kept::of(vec![]);
        let hangs = Odd::saying("").await;
        // longer than the test, so no question ends and makes room for another
        let peers = peers_with(&own, vec![hangs.edge("two")], |options| {
            options.limit = Duration::from_secs(600);
        });
        let peers = Arc::new(peers);
        let mut asked = tokio::task::JoinSet::new();
        for number in 0..20 {
            let asker = Asker { account: Some(account(number)), asks_fleet: true };
            let peers = Arc::clone(&peers);
            asked.spawn(async move { peers.recent(asker, query(5, Start::Newest)).await });
        }
        let open = || hangs.requests.load(Ordering::Relaxed);
        let all_open = async {
            while open() < most {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_open).await.unwrap();
        // time for one too many
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(open(), most);
    }
}

#[tokio::test]
async fn questions_that_wait_for_others_end_in_time() {
    let own = Kept::of(vec![]);
    let hangs = Odd::saying("").await;
    let peers = peers_with(&own, vec![hangs.edge("two")], |options| {
        options.limit = Duration::from_secs(1);
    });
    let peers = Arc::new(peers);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let peers = Arc::clone(&peers);
        asked.spawn(async move { peers.recent(tenant(), query(5, Start::Newest)).await });
    }
    for found in asked.join_all().await {
        assert_eq!(names(&found.answered.silent), ["two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_known_edges_are_asked() {
    wait_for_network();
    let own = Kept::of(vec![]);
    let (two, _keep) = real("two", TOKEN, Kept::of(vec![row("two", 5)])).await;
    let reads = Arc::<AtomicUsize>::default();
    let read = Arc::clone(&reads);
    let peers = peers_with(&own, vec![], |options| {
        options.known = KnownEdges::new(move || {
            let (first, two) = (read.fetch_add(1, Ordering::Relaxed) == 0, two.clone());
            Box::pin(async move { if first { Ok(vec![two]) } else { Err("etcd is away".into()) } })
        });
    });
    let found = peers.recent(ADMIN, query(5, Start::Newest)).await;
    assert_eq!((times(&found).0, found.answered.silent), (vec![5], vec![]));
    let with_error = async {
        loop {
            let found = peers.recent(ADMIN, query(5, Start::Newest)).await;
            if !found.answered.silent.is_empty() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), with_error).await.unwrap();
    assert_eq!(times(&found).0, [5]);
    assert_eq!(names(&found.answered.silent), ["unknown edges"]);
    assert!(found.answered.silent[0].reason.contains("etcd is away"));
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}
