use futures_util::StreamExt as _;
use sip_authz::AccountSid;
use sip_authz_rest::decisions::{Outcome, Start};
use sip_authz_testing::kit::{
    self, ACL_HOST, HOST, INSIDE, OTHER_HOST, OUTSIDE, PASSWORD, Request, World,
};

use super::*;
use crate::observe::recent::RecentOptions;
use crate::observe::record::samples;

struct Kit {
    world: World,
    recent: Arc<Recent>,
    decisions: LocalDecisions,
}

const ADMIN: Asker = Asker { account: None, asks_fleet: true };

fn of(account: AccountSid) -> Asker {
    Asker { account: Some(account), asks_fleet: true }
}

impl Kit {
    fn new(records: usize) -> Self {
        let options = RecentOptions { records, names_for: Duration::from_secs(3_600) };
        let recent = Arc::new(Recent::new(options, 1).unwrap());
        // the snapshot of another authorizer has the same names
        let authorizer = Arc::new(World::new().authorizer);
        let decisions = LocalDecisions::new(Arc::clone(&recent), authorizer, "edge-1");
        Self { world: World::new(), recent, decisions }
    }

    fn send(&self, request: &Request, source: &str) {
        let now = SystemTime::now();
        let (_, record) = samples::decided(&self.world.authorizer, request, source, now);
        self.recent.write(1, true).unwrap().push(record);
    }

    async fn ask(&self, asker: Asker, filter: Filter) -> Vec<DecisionRecord> {
        let query = Query { filter, limit: 100, start: Start::Newest };
        let found = self.decisions.recent(asker, query).await;
        assert!(!found.has_more && found.answered.silent.is_empty());
        found.answered.rows
    }
}

fn filter(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
}

#[tokio::test]
async fn an_account_sees_its_own_domains_and_the_admin_all() {
    let kit = Kit::new(100);
    kit.send(&Request::to(ACL_HOST), OUTSIDE);
    kit.send(&Request::to("nowhere.example"), OUTSIDE);
    kit.send(&Request::to(OTHER_HOST), OUTSIDE);
    let other = samples::other(
        crate::observe::cause::Cause::Method,
        &Request::to(ACL_HOST),
        OUTSIDE,
        SystemTime::now(),
    );
    kit.recent.write(0, true).unwrap().push(other);
    let hosts = |rows: &[DecisionRecord]| {
        let mut hosts: Vec<_> = rows.iter().map(|row| row.host.clone().unwrap()).collect();
        hosts.sort_unstable();
        hosts
    };
    let all = kit.ask(ADMIN, Filter::default()).await;
    assert_eq!(hosts(&all), [ACL_HOST, ACL_HOST, "nowhere.example", OTHER_HOST]);
    assert!(all.iter().all(|row| row.edge == "edge-1"));
    let own = kit.ask(of(kit::account()), Filter::default()).await;
    assert!(own.iter().all(|row| row.account == Some(kit::account().to_string())));
    assert!(hosts(&own).contains(&ACL_HOST.to_owned()));
    assert!(!hosts(&own).contains(&"nowhere.example".to_owned()));
    let stranger = of(AccountSid::from_bytes([9; 16]));
    assert_eq!(kit.ask(stranger, Filter::default()).await, []);
    // a message without a decision belongs to no account
    assert!(own.iter().all(|row| row.outcome != "answered"));
    for row in &all {
        let sid = row.sid.parse().unwrap();
        let find = async |asker| kit.decisions.find(asker, sid).await.rows;
        assert_eq!(find(ADMIN).await, std::slice::from_ref(row));
        assert_eq!(find(of(kit::account())).await.len(), usize::from(own.contains(row)));
        assert_eq!(find(stranger).await, []);
    }
}

#[tokio::test]
async fn each_filter_selects() {
    let kit = Kit::new(100);
    let id = |host: &str, id: &str| Request { call_id: id.to_owned(), ..Request::to(host) };
    let long = "x".repeat(300);
    kit.send(&id(HOST, "challenged"), OUTSIDE);
    let answered =
        |id: Request, name: &str, password: &str| kit.world.answered(&id, OUTSIDE, name, password);
    kit.send(&answered(id(HOST, "proved"), "alice", PASSWORD), OUTSIDE);
    kit.send(&answered(id(HOST, "wrong"), "alice", "other"), OUTSIDE);
    kit.send(&answered(id(HOST, "unknown"), "Alice", "other"), OUTSIDE);
    kit.send(&id(ACL_HOST, "listed"), INSIDE);
    kit.send(&id(ACL_HOST, &long), OUTSIDE);
    let other = samples::other(
        crate::observe::cause::Cause::Method,
        &id("Else.example", "other"),
        INSIDE,
        SystemTime::now(),
    );
    kit.recent.write(0, true).unwrap().push(other);
    let cases: [(Filter, &[&str]); 16] = [
        (filter(|it| it.user = Some("alice".into())), &["proved", "wrong"]),
        (filter(|it| it.user = Some("ali".into())), &[]),
        (filter(|it| it.domain = Some(ACL_HOST.to_uppercase())), &["listed", &long]),
        (filter(|it| it.domain = Some(kit::domain(ACL_HOST).to_string())), &["listed", &long]),
        (filter(|it| it.domain = Some("else.EXAMPLE".into())), &["other"]),
        (filter(|it| it.source = Some("192.0.2.0/24".parse().unwrap())), &["listed", "other"]),
        (filter(|it| it.outcome = Some(Outcome::Accept)), &["proved", "listed"]),
        (filter(|it| it.outcome = Some(Outcome::Challenge)), &["challenged"]),
        (filter(|it| it.outcome = Some(Outcome::Reject)), &["wrong", "unknown", &long]),
        (filter(|it| it.outcome = Some(Outcome::Refused)), &["wrong", "unknown", &long, "other"]),
        (filter(|it| it.outcome = Some(Outcome::Alert)), &["wrong", "unknown", &long]),
        (filter(|it| it.reason = Some("user-unknown".into())), &["unknown"]),
        (filter(|it| it.reason = Some("method not allowed".into())), &["other"]),
        (filter(|it| it.call_id = Some(long.clone())), &[&long]),
        (filter(|it| it.since = Some(SystemTime::now() + Duration::from_secs(900))), &[]),
        (filter(|it| it.until = Some(SystemTime::now() - Duration::from_secs(900))), &[]),
    ];
    let everything = kit.ask(ADMIN, Filter::default()).await;
    for (filter, expected) in cases {
        let rows = kit.ask(ADMIN, filter.clone()).await;
        // the API defines the meaning of each filter
        let defined = everything.iter().filter(|row| filter.selects(row)).cloned();
        assert_eq!(rows, defined.collect::<Vec<_>>(), "{filter:?}");
        let mut found: Vec<_> = rows.iter().map(|row| row.call_id.clone().unwrap()).collect();
        found.reverse();
        assert_eq!(found.len(), expected.len(), "{filter:?} {found:?}");
        for expected in expected {
            assert!(
                found.iter().any(|id| expected.starts_with(id.as_str())),
                "{filter:?} {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    let kit = Kit::new(100);
    (0..25).for_each(|_| kit.send(&Request::to(ACL_HOST), OUTSIDE));
    let (mut start, mut sids) = (Start::Newest, Vec::new());
    for has_more in [true, true, false] {
        let query = Query { filter: Filter::default(), limit: 10, start };
        let found = kit.decisions.recent(ADMIN, query).await;
        assert_eq!(found.has_more, has_more);
        sids.extend(found.answered.rows.iter().map(|row| row.sid.clone()));
        start = Start::Before(found.answered.rows.last().unwrap().place().unwrap());
    }
    assert_eq!(sids.len(), 25);
    sids.sort_unstable();
    sids.dedup();
    assert_eq!(sids.len(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_selected_decisions_from_its_start() {
    let kit = Kit::new(100);
    kit.send(&Request::to(ACL_HOST), OUTSIDE);
    let own = of(kit::account());
    let refused = filter(|it| it.reason = Some("address-not-listed".into()));
    let mut stream = kit.decisions.follow(own, refused).unwrap();
    kit.send(&Request::to(HOST), OUTSIDE);
    kit.send(&Request::to("nowhere.example"), OUTSIDE);
    kit.send(&Request { call_id: "mine".to_owned(), ..Request::to(ACL_HOST) }, OUTSIDE);
    match stream.next().await.unwrap() {
        Event::Decision(row) => assert_eq!(row.call_id.as_deref(), Some("mine")),
        event => panic!("{event:?}"),
    }
    // more than fit: the stream says how many it lacks
    (0..2_000).for_each(|_| kit.send(&Request::to(ACL_HOST), OUTSIDE));
    match stream.next().await.unwrap() {
        Event::LeftOut(count) => assert!((1..2_000).contains(&count), "{count}"),
        event => panic!("{event:?}"),
    }
    kit.decisions.end();
    assert!(stream.next().await.is_none());
    // so do streams that begin later
    let mut late = kit.decisions.follow(ADMIN, Filter::default()).unwrap();
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn streams_are_limited_for_each_account_and_in_all() {
    let kit = Kit::new(100);
    let follow = |asker| kit.decisions.follow(asker, Filter::default());
    let mut own: Vec<_> = (0..4).map(|_| follow(of(kit::account())).unwrap()).collect();
    assert!(follow(of(kit::account())).is_none());
    let account = |number| of(AccountSid::from_bytes([number; 16]));
    let others: Vec<_> = (0..24).map(|number| follow(account(number / 4 + 1)).unwrap()).collect();
    assert!(follow(account(77)).is_none());
    // the accounts leave its own to the admin
    assert!(follow(ADMIN).is_some());
    own.pop();
    assert!(follow(account(77)).is_some());
    drop((own, others));
    let held: Vec<_> = (0..5).map(|_| follow(ADMIN)).collect();
    assert_eq!(held.iter().filter(|stream| stream.is_some()).count(), 4);
}

#[tokio::test]
async fn an_edge_that_keeps_nothing_says_so() {
    let kit = Kit::new(0);
    let query = Query { filter: Filter::default(), limit: 9, start: Start::Newest };
    let found = kit.decisions.recent(ADMIN, query).await;
    assert!(found.answered.rows.is_empty() && !found.has_more);
    assert_eq!(found.answered.silent[0].edge, "edge-1");
    let mut stream = kit.decisions.follow(ADMIN, Filter::default()).unwrap();
    match stream.next().await.unwrap() {
        Event::Silent(silent) => assert!(silent.reason.contains("--recent 0")),
        event => panic!("{event:?}"),
    }
    let found = kit.decisions.find(ADMIN, DecisionSid::from_bytes([0; 16])).await;
    assert_eq!((found.rows.len(), found.silent.len()), (0, 1));
}
