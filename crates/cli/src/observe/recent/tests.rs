use sip_authz::{Authorizer, Snapshot};
use sip_authz_rest::decisions::{Filter, Outcome};
use sip_authz_testing::kit::{
    self, ACL_HOST, BOTH_HOST, HOST, INSIDE, OUTSIDE, PASSWORD, REALM, Request, World,
};

use super::*;
use crate::observe::record::samples::{at, decided, other};
use crate::observe::record::shown::Shown;

fn recent(records: usize, threads: usize) -> Recent {
    let names_for = Duration::from_secs(100);
    Recent::new(RecentOptions { records, names_for }, threads).unwrap()
}

/// A request with this Call-ID.
fn call(host: &str, id: &str) -> Request {
    Request { call_id: id.to_owned(), ..Request::to(host) }
}

fn keep(recent: &Recent, ring: usize, record: Record) {
    recent.write(ring, false).unwrap().push(record);
}

/// Keeps the record of a call that an access list refuses.
fn refuse(recent: &Recent, authorizer: &Authorizer, ring: usize, id: &str, seconds: u64) {
    keep(recent, ring, decided(authorizer, &call(ACL_HOST, id), OUTSIDE, at(seconds)).1);
}

fn shown(kept: &Kept, snapshot: &Snapshot) -> serde_json::Value {
    serde_json::to_value(Shown::of(&kept.record, kept.names, snapshot)).unwrap()
}

/// The Call-IDs of records.
fn ids(kept: &[Kept], snapshot: &Snapshot) -> Vec<String> {
    let id = |kept| shown(kept, snapshot)["call_id"].as_str().unwrap_or("none").to_owned();
    kept.iter().map(id).collect()
}

fn page(recent: &Recent, limit: usize, start: Start) -> (Vec<Kept>, bool) {
    recent.page(limit, start, at(10), |_, _| true)
}

fn all(recent: &Recent) -> Vec<Kept> {
    page(recent, 1_000, Start::Newest).0
}

#[test]
fn the_newest_records_of_all_rings_come_first_page_by_page() {
    let world = World::new();
    let (recent, snapshot) = (recent(90, 2), world.authorizer.snapshot());
    for number in 0..9 {
        let ring = number % 3;
        refuse(&recent, &world.authorizer, ring, &format!("c{number}"), number as u64);
    }
    // a thread without a ring of its own
    refuse(&recent, &world.authorizer, 77, "c9", 9);
    let down = |limit, start| {
        let (page, has_more) = page(&recent, limit, start);
        (ids(&page, &snapshot), page.last().map(|kept| Start::Before(kept.place)), has_more)
    };
    let (first, start, has_more) = down(4, Start::Newest);
    assert_eq!((first, has_more), (["c9", "c8", "c7", "c6"].map(str::to_owned).to_vec(), true));
    let (second, start, has_more) = down(4, start.unwrap());
    assert_eq!((second, has_more), (["c5", "c4", "c3", "c2"].map(str::to_owned).to_vec(), true));
    let (third, start, has_more) = down(4, start.unwrap());
    assert_eq!((third, has_more), (["c1", "c0"].map(str::to_owned).to_vec(), false));
    assert_eq!(down(4, start.unwrap()), (vec![], None, false));
    assert_eq!(down(0, Start::Newest), (vec![], None, true));
    // and back
    let all = all(&recent);
    let up = |limit, from: usize| {
        let (page, has_more) = page(&recent, limit, Start::After(all[from].place));
        (ids(&page, &snapshot), has_more)
    };
    assert_eq!(up(3, 9), (["c3", "c2", "c1"].map(str::to_owned).to_vec(), true));
    assert_eq!(up(3, 3), (["c9", "c8", "c7"].map(str::to_owned).to_vec(), false));
    assert_eq!(up(3, 0), (vec![], false));
    let mut sids: Vec<_> = all.iter().map(|kept| kept.place.sid).collect();
    for kept in &all {
        let found = recent.find(kept.place.sid, at(10)).unwrap();
        assert_eq!(ids(&[found], &snapshot), ids(std::slice::from_ref(kept), &snapshot));
    }
    sids.sort_unstable();
    sids.dedup();
    assert_eq!(sids.len(), 10);
    // of another process
    let mut bytes = *sids[0].as_bytes();
    bytes[0] ^= 1;
    assert!(recent.find(DecisionSid::from_bytes(bytes), at(10)).is_none());
    let mut bytes = *sids[0].as_bytes();
    bytes[15] ^= 64;
    assert!(recent.find(DecisionSid::from_bytes(bytes), at(10)).is_none());
}

#[test]
fn floods_of_a_domain_and_of_strangers_leave_the_refusals_of_others() {
    let world = World::new();
    let recent = recent(60, 0);
    let own = |kept: &[Kept]| {
        let target = Some(kit::domain(BOTH_HOST).into());
        kept.iter().filter(|kept| kept.record.target() == target).count()
    };
    let quiet = decided(&world.authorizer, &call(BOTH_HOST, "quiet"), OUTSIDE, at(0)).1;
    assert!(quiet.target().is_some());
    (0..10).for_each(|_| keep(&recent, 0, quiet.clone()));
    let noisy = [
        decided(&world.authorizer, &call(ACL_HOST, "noisy"), OUTSIDE, at(1)).1,
        decided(&world.authorizer, &call("nowhere.example", "stranger"), OUTSIDE, at(1)).1,
        other(OtherCause::Method, &call(HOST, "other"), OUTSIDE, at(1)),
        decided(&world.authorizer, &call(HOST, "first"), OUTSIDE, at(1)).1,
    ];
    for record in &noisy {
        (0..1_000).for_each(|_| keep(&recent, 0, record.clone()));
        let kept = all(&recent);
        assert_eq!((kept.len(), own(&kept)), (60, 10));
    }
    // all have their share in the end
    let kept = all(&recent);
    for record in &noisy {
        let holder = Holder::of(record);
        let count = kept.iter().filter(|kept| Holder::of(&kept.record) == holder).count();
        assert!((12..=13).contains(&count), "{holder:?} {count}");
    }
}

#[test]
fn accepted_calls_and_first_challenges_are_samples_and_others_are_complete() {
    let world = World::new();
    let recent = recent(1_000, 1);
    let sampling = recent.sampling(1, recent.start).unwrap();
    let decision = |request: &Request, source| decided(&world.authorizer, request, source, at(0)).0;
    let taken = |decision: &Decision| (0..100).filter(|_| sampling.takes(decision)).count();
    let first = decision(&call(HOST, "a"), OUTSIDE);
    let accepted = decision(&call(ACL_HOST, "a"), INSIDE);
    assert!(first.status() == 407 && accepted.is_accept());
    assert_eq!((taken(&first), taken(&accepted)), (5, 5));
    let stale = {
        let header = format!(
            "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{}\", uri=\"sip:{HOST}\", \
             response=\"0\"",
            "0".repeat(48)
        );
        decision(&call(HOST, "a").with(&header), OUTSIDE)
    };
    let other_realm = "Digest username=\"a\", realm=\"b\", nonce=\"c\", uri=\"d\", response=\"e\"";
    let odd = decision(&call(HOST, "a").with(other_realm), OUTSIDE);
    assert!(matches!(&odd, Decision::Challenge(it) if !it.stale));
    let refused = decision(&call(ACL_HOST, "a"), OUTSIDE);
    let unknown = decision(&call("nowhere.example", "a"), OUTSIDE);
    assert!(matches!(&stale, Decision::Challenge(it) if it.stale), "{stale:?}");
    // 64 of the second, and each sixteenth
    assert_eq!(taken(&stale) + taken(&odd), 64 + 8);
    assert_eq!([&refused, &unknown].map(taken), [64 + 2; 2]);
    // a flood is sampled too; in the next second all are kept again
    let flood = |second| {
        let sampling = recent.sampling(1, recent.start + Duration::from_secs(second)).unwrap();
        (0..1_664).filter(|_| sampling.takes(&unknown)).count()
    };
    assert_eq!((flood(1), flood(2)), (64 + 100, 64 + 100));
    assert_eq!((0..40).filter(|_| sampling.takes_other(OtherCause::Method)).count(), 32);
}

#[test]
fn personal_fields_are_erased_in_time_and_hidden_before() {
    let world = World::new();
    let (recent, snapshot) = (recent(100, 1), world.authorizer.snapshot());
    let proved = world.answered(&call(HOST, "secret-id"), OUTSIDE, "alice", PASSWORD);
    keep(&recent, 0, decided(&world.authorizer, &proved, OUTSIDE, at(0)).1);
    keep(&recent, 1, decided(&world.authorizer, &call("secret.example", "b"), OUTSIDE, at(0)).1);
    keep(&recent, 1, other(OtherCause::Method, &call("secret.example", "c"), OUTSIDE, at(0)));
    refuse(&recent, &world.authorizer, 1, "later", 50);
    let texts = |now| {
        let (kept, _) = recent.page(9, Start::Newest, now, |_, _| true);
        let texts = kept.iter().map(|kept| shown(kept, &snapshot).to_string());
        texts.collect::<Vec<_>>()
    };
    let personal = ["secret", "198.51", "alice", "call_id", "\"host\""];
    let has_any = |text: &String| personal.iter().any(|part| text.contains(part));
    assert!(texts(at(100)).iter().all(has_any));
    let selected = |filter: &Filter, now| {
        let fits = |record: &Record, names| record.is_selected(filter, names, &snapshot);
        recent.page(9, Start::Newest, now, fits).0.len()
    };
    let mut user = Filter::default();
    user.user = Some("alice".to_owned());
    let mut host = Filter::default();
    host.domain = Some("Secret.Example".to_owned());
    let mut source = Filter::default();
    source.source = Some("198.51.100.0/24".parse().unwrap());
    assert_eq!([&user, &host, &source].map(|it| selected(it, at(100))), [1, 2, 4]);
    // hidden, and still in memory
    let late = at(101);
    assert_eq!(texts(late).iter().filter(|text| has_any(text)).count(), 1);
    assert_eq!([&user, &host, &source].map(|it| selected(it, late)), [0, 0, 1]);
    let in_memory = || {
        let kept = all(&recent);
        kept.iter().filter(|kept| kept.record.is_personal()).count()
    };
    assert_eq!(in_memory(), 4);
    recent.forget_callers(at(100));
    assert_eq!(in_memory(), 4);
    recent.forget_callers(late);
    assert_eq!(in_memory(), 1);
    // a clock that is set back brings nothing back
    let early = texts(at(60));
    assert_eq!(early.iter().filter(|text| has_any(text)).count(), 1, "{early:?}");
    let mut refused = Filter::default();
    refused.outcome = Some(Outcome::Refused);
    assert_eq!(selected(&refused, late), 3);
    assert!(early.iter().any(|text| text.contains(&kit::domain(HOST).to_string())));
}

#[test]
fn a_reader_gets_each_record_once_and_the_number_of_those_it_missed() {
    let world = World::new();
    let (recent, snapshot) = (recent(20, 1), world.authorizer.snapshot());
    refuse(&recent, &world.authorizer, 1, "before", 0);
    let mut position = recent.position();
    let mut read = |most, admin: bool| {
        let saw = |target: Option<Target>| admin || target == Some(kit::domain(ACL_HOST).into());
        let news = recent.news(&mut position, most, at(10), |_, _| true, saw);
        (ids(&news.kept, &snapshot), news.left_out)
    };
    assert_eq!(read(9, true), (vec![], 0));
    for (number, ring) in [(1, 1), (2, 0), (3, 1)] {
        refuse(&recent, &world.authorizer, ring, &format!("c{number}"), number);
    }
    let all = ["c1", "c2", "c3"].map(str::to_owned).to_vec();
    assert_eq!((read(9, true), read(9, true)), ((all, 0), (vec![], 0)));
    (0..10).for_each(|at| refuse(&recent, &world.authorizer, 0, "more", at));
    assert_eq!(read(4, true), (vec!["more".to_owned(); 4], 6));
    // the ring has ten slots
    let flood = |count| (0..count).for_each(|_| refuse(&recent, &world.authorizer, 0, "flood", 1));
    flood(25);
    assert_eq!(read(99, true), (vec!["flood".to_owned(); 10], 15));
    // of a domain of its own, an account misses those whose holder is known
    flood(15);
    let unknown = decided(&world.authorizer, &call("nowhere.example", "x"), OUTSIDE, at(1)).1;
    keep(&recent, 0, unknown);
    assert_eq!(read(99, false), ([vec!["flood".to_owned(); 9], vec!["x".to_owned()]].concat(), 0,));
    flood(3);
    (0..5).for_each(|_| {
        let unknown = decided(&world.authorizer, &call("nowhere.example", "x"), OUTSIDE, at(1)).1;
        keep(&recent, 0, unknown);
    });
    let (kept, left_out) = read(99, false);
    assert_eq!(kept.iter().filter(|id| *id == "x").count(), 5);
    assert_eq!((kept.len() as u64 + left_out, left_out), (8, 0));
}

#[test]
fn a_reader_delays_a_record_and_no_thread() {
    let world = World::new();
    let recent = recent(20, 1);
    let record = decided(&world.authorizer, &call(HOST, "a"), OUTSIDE, at(0)).1;
    let reading = recent.rings[1].lock();
    assert!(recent.write(1, false).is_none());
    drop(reading);
    keep(&recent, 1, record);
    assert_eq!(all(&recent).len(), 1);
}

#[test]
fn rings_share_out_the_records_and_none_is_without() {
    for (records, threads, expected) in [(10, 2, 10), (7, 2, 7), (1, 3, 4), (0, 3, 0)] {
        let world = World::new();
        let recent = recent(records, threads);
        for ring in 0..=threads {
            for _ in 0..records {
                match recent.write(ring, true) {
                    Some(mut ring) => {
                        ring.push(decided(&world.authorizer, &call(HOST, "a"), OUTSIDE, at(0)).1);
                    }
                    None => assert!(!recent.is_on()),
                }
            }
        }
        assert_eq!(all(&recent).len(), expected);
        assert_eq!(recent.sampling(0, recent.start).is_some(), records > 0);
    }
}
