//! Edges that answer.

use super::*;

#[tokio::test]
async fn a_question_is_answered_by_all_edges_in_the_order_of_time() {
    let own = Kept::of(vec![row("this", 10), row("this", 40), row("this", 70)]);
    let (two, three) = (
        Kept::of(vec![row("two", 20), row("two", 50), row("two", 80)]),
        Kept::of(vec![row("three", 30), row("three", 60), row("three", 90)]),
    );
    let (second, _keep) = real("two", TOKEN, Arc::clone(&two)).await;
    let (third, _keep) = real("three", TOKEN, Arc::clone(&three)).await;
    let peers = peers(&own, vec![second, third]);
    let ask = async |limit, start| {
        let found = peers.recent(ADMIN, query(limit, start)).await;
        assert_eq!(found.answered.silent, []);
        found
    };
    let all = ask(100, Start::Newest).await;
    assert_eq!(times(&all), (vec![90, 80, 70, 60, 50, 40, 30, 20, 10], false));
    let first = ask(4, Start::Newest).await;
    assert_eq!(times(&first), (vec![90, 80, 70, 60], true));
    // page by page, no decision is missing or comes twice
    let place = |found: &Found| found.answered.rows.last().unwrap().place().unwrap();
    let second = ask(4, Start::Before(place(&first))).await;
    assert_eq!(times(&second), (vec![50, 40, 30, 20], true));
    let third = ask(4, Start::Before(place(&second))).await;
    assert_eq!(times(&third), (vec![10], false));
    let back = ask(4, Start::After(place(&third))).await;
    assert_eq!(times(&back), (vec![50, 40, 30, 20], true));
    // the edges that are asked ask no others
    let askers = two.askers.lock().unwrap().clone();
    assert_eq!(askers, [Asker { account: None, asks_fleet: false }; 5]);
    // a question of another edge is answered by this edge alone
    let alone = Asker { asks_fleet: false, ..ADMIN };
    assert_eq!(times(&peers.recent(alone, query(100, Start::Newest)).await).0, [70, 40, 10]);
}

#[tokio::test]
async fn one_decision_is_found_at_the_edge_that_made_it() {
    let (own, other) = (Kept::of(vec![row("this", 1)]), Kept::of(vec![row("two", 2)]));
    let (two, _keep) = real("two", TOKEN, other).await;
    let peers = peers(&own, vec![two]);
    for wanted in [row("this", 1), row("two", 2)] {
        let found = peers.find(ADMIN, wanted.sid.parse().unwrap()).await;
        assert_eq!((found.rows, found.silent), (vec![wanted], vec![]));
    }
    let unknown = peers.find(ADMIN, row("two", 3).sid.parse().unwrap()).await;
    assert_eq!((unknown.rows, unknown.silent), (vec![], vec![]));
    let alone = Asker { asks_fleet: false, ..ADMIN };
    assert_eq!(peers.find(alone, row("two", 2).sid.parse().unwrap()).await.rows, []);
}

#[tokio::test]
async fn held_limits_of_all_edges_are_in_the_order_of_time() {
    let (own, other) = (Kept::of(vec![]), Kept::of(vec![]));
    let at = |edge, since: &str| Held { since: since.to_owned(), ..held(edge, "1") };
    *own.held.lock().unwrap() = vec![
        at("this", "2026-11-29T14:03:00.000001Z"),
        at("this", "2026-11-29T14:03:00.500000Z"),
        at("this", "never"),
    ];
    *other.held.lock().unwrap() = vec![
        at("two", "2026-11-29T14:03:00Z"),
        // as text this comes after the next
        at("two", "2026-11-29T14:03:00.4Z"),
        at("two", "2026-11-29T14:03:00.45Z"),
        at("two", "2026-11-29T14:03:01Z"),
    ];
    let (two, _keep) = real("two", TOKEN, Arc::clone(&other)).await;
    let listed = peers(&own, vec![two]).held(tenant()).await;
    let times: Vec<_> = listed.rows.iter().map(|held| held.since.as_str()).collect();
    assert_eq!(
        times,
        [
            "2026-11-29T14:03:00Z",
            "2026-11-29T14:03:00.000001Z",
            "2026-11-29T14:03:00.4Z",
            "2026-11-29T14:03:00.45Z",
            "2026-11-29T14:03:00.500000Z",
            "2026-11-29T14:03:01Z",
            "never",
        ]
    );
}

#[tokio::test]
async fn a_limit_is_released_at_the_edge_that_holds_it() {
    let (own, other) = (Kept::of(vec![]), Kept::of(vec![]));
    *own.held.lock().unwrap() = vec![held("this", "1")];
    *other.held.lock().unwrap() = vec![held("b/ü:5060", "1"), held("b/ü:5060", "23")];
    let (two, _keep) = real("b/ü:5060", TOKEN, Arc::clone(&other)).await;
    let peers = peers(&own, vec![two]);
    let list = async || {
        let listed = peers.held(tenant()).await;
        assert_eq!(listed.silent, []);
        listed.rows.into_iter().map(|held| (held.edge, held.id)).collect::<Vec<_>>()
    };
    let ids = list().await;
    assert_eq!(
        ids.iter().map(|(edge, _)| edge.as_str()).collect::<Vec<_>>(),
        ["this", "b/ü:5060", "b/ü:5060"]
    );
    assert!(
        ids.iter()
            .all(|(_, id)| id.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)))
    );
    assert_eq!(peers.release(tenant(), ids[2].1.clone()).await, Released::Done);
    assert_eq!(other.held.lock().unwrap().len(), 1);
    // the same number at another edge is another limit
    assert_eq!(peers.release(tenant(), ids[0].1.clone()).await, Released::Done);
    assert_eq!((own.held.lock().unwrap().len(), other.held.lock().unwrap().len()), (0, 1));
    for id in [ids[0].1.as_str(), ids[2].1.as_str(), "1", "", ".1", "dW5rbm93bg.1"] {
        assert_eq!(peers.release(tenant(), id.to_owned()).await, Released::NotHeld, "{id}");
    }
    assert_eq!(list().await, ids[1..2]);
}

#[tokio::test]
async fn an_account_sees_its_own_decisions_of_all_edges() {
    let mut foreign = row("two", 2);
    foreign.account = Some(AccountSid::from_name(&["other"]).to_string());
    let mut none = row("two", 3);
    none.account = None;
    let own = Kept::of(vec![row("this", 1)]);
    let (two, _keep) = real("two", TOKEN, Kept::of(vec![foreign, none, row("two", 4)])).await;
    let peers = peers(&own, vec![two]);
    let found = peers.recent(tenant(), query(9, Start::Newest)).await;
    assert_eq!((times(&found).0, found.answered.silent), (vec![4, 1], vec![]));
    assert_eq!(times(&peers.recent(ADMIN, query(9, Start::Newest)).await).0, [4, 3, 2, 1]);
}

#[tokio::test]
async fn an_edge_that_keeps_no_decisions_is_named() {
    let off = Arc::new(Kept { off: true, ..Kept::default() });
    let (two, _keep) = real("two", TOKEN, Arc::clone(&off)).await;
    let peers = peers(&off, vec![two]);
    let found = peers.recent(ADMIN, query(9, Start::Newest)).await;
    assert_eq!(names(&found.answered.silent), ["this", "two"]);
    assert_eq!(found.answered.silent[1].reason, "keeps none");
    assert_eq!(names(&peers.held(ADMIN).await.silent), ["this", "two"]);
}
