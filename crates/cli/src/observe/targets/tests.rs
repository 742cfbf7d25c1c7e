use std::collections::HashSet;

use sip_authz::model::Commit;
use sip_authz::{AccountSid, DomainSid, Reason, Reject, TrunkSid};

use super::*;
use crate::observe::metrics::Page;

fn domain(number: usize) -> Target {
    Target::Domain(DomainSid::from_name(&[&number.to_string()]))
}

fn refused(target: Option<Target>) -> Decision {
    Decision::Reject(Reject::new(target, Reason::AddressNotListed))
}

fn counts(rows: u16) -> (TargetCounts, Instant) {
    let start = Instant::now();
    (TargetCounts::new(rows, start), start)
}

/// Counts this number of refusals for the domain.
fn count(counts: &TargetCounts, number: usize, times: usize) {
    let decision = refused(Some(domain(number)));
    (0..times).for_each(|_| counts.count(std::iter::once(&decision)));
}

/// The refusals in the rows, by target.
fn refusals(counts: &TargetCounts, now: Instant) -> HashMap<Target, u64> {
    let rows = counts.rows(|_| true, now);
    rows.into_iter().map(|(target, counts)| (target, counts[2])).collect()
}

fn other(counts: &TargetCounts) -> u64 {
    counts.other[2].load(Ordering::Relaxed)
}

#[test]
fn each_decision_is_counted_once() {
    let (all, start) = counts(20);
    let trunk = Target::Trunk(TrunkSid::from_name(&["t"]));
    // more targets than a batch merges, in turns
    let mut targets: Vec<_> = (0..11).map(|number| Some(domain(number))).collect();
    targets.extend([Some(trunk), None]);
    let decisions: Vec<_> = (0..5 * targets.len())
        .map(|at| match at % 2 {
            0 => refused(targets[at % targets.len()]),
            _ => Decision::Reject(Reject::new(targets[at % targets.len()], Reason::UnknownHost)),
        })
        .collect();
    all.count(decisions.iter());
    let rows = refusals(&all, start);
    assert_eq!(rows.len(), 12);
    assert!(rows.values().all(|count| *count == 5), "{rows:?}");
    assert_eq!(rows[&trunk], 5);
    assert_eq!((other(&all), all.unknown[2].load(Ordering::Relaxed)), (0, 5));
}

#[test]
fn no_number_of_targets_makes_more_rows() {
    let (all, start) = counts(5);
    for number in 0..10_000 {
        count(&all, number, 1 + number % 3);
        if number % 1_000 == 0 {
            let now = start + REVIEW * u32::try_from(number).unwrap();
            assert!(refusals(&all, now).len() <= 5);
        }
    }
    let rows = refusals(&all, start);
    assert_eq!(rows.len(), 5);
    let former: u64 = all.choice.lock().unwrap().former.values().map(|counts| counts[2]).sum();
    let sent: u64 = (0..10_000).map(|number| 1 + number % 3).sum();
    assert_eq!(rows.values().sum::<u64>() + former + other(&all), sent);
}

#[test]
fn rows_are_exact_while_others_come_and_go() {
    let (all, start) = counts(4);
    (0..4).for_each(|number| count(&all, number, 100));
    for number in 1_000..6_000 {
        count(&all, number, 1);
        count(&all, number % 4, 1);
    }
    let rows = refusals(&all, start);
    assert_eq!(rows, (0..4).map(|number| (domain(number), 100 + 1_250)).collect());
    assert_eq!(other(&all), 5_000);
    // none of them is busy enough for a row
    assert_eq!(refusals(&all, start + REVIEW), rows);
}

#[test]
fn a_busy_domain_gets_the_row_of_a_quiet_one() {
    let (all, start) = counts(4);
    (0..4).for_each(|number| count(&all, number, 10 + number));
    count(&all, 7, 36);
    assert_eq!(refusals(&all, start + REVIEW - Duration::from_secs(1)).len(), 4);
    // not twice as busy
    assert!(!refusals(&all, start + REVIEW).contains_key(&domain(7)));
    count(&all, 7, 100);
    count(&all, 8, 100);
    let before = refusals(&all, start + REVIEW);
    let rows = refusals(&all, start + 2 * REVIEW);
    // a quarter of the rows at a time, the busiest first
    let kept: HashSet<_> = rows.keys().filter(|target| before.contains_key(target)).collect();
    assert_eq!((rows.len(), kept.len()), (4, 3));
    assert_eq!(rows[&domain(7)], 0);
    assert!(!rows.contains_key(&domain(0)));
    let rows = refusals(&all, start + 3 * REVIEW);
    assert!(rows.contains_key(&domain(8)) && !rows.contains_key(&domain(1)));
    // and it keeps the row
    count(&all, 7, 5);
    count(&all, 1, 20);
    let rows = refusals(&all, start + 4 * REVIEW);
    assert_eq!((rows[&domain(7)], other(&all)), (5, 36 + 200 + 20));
}

#[test]
fn no_series_goes_backwards() {
    let (all, start) = counts(2);
    let mut last: HashMap<Target, u64> = HashMap::new();
    let mut returned = 0;
    for round in 0..200_usize {
        // two busy domains of six, which change
        for busy in [round / 7 % 6, round / 11 % 6] {
            count(&all, busy, 400);
        }
        (0..6).for_each(|number| count(&all, number, 3));
        let now = start + REVIEW * u32::try_from(round).unwrap();
        let rows = refusals(&all, now);
        for (target, count) in rows {
            let before = last.insert(target, count).unwrap_or_default();
            assert!(count >= before, "{target}: {count} after {before}");
            returned += usize::from(count > before && before > 0);
        }
    }
    assert_eq!(last.len(), 6);
    assert!(returned > 20, "{returned}");
}

#[test]
fn a_deleted_domain_frees_its_row_and_finds_its_count_when_it_returns() {
    let (all, start) = counts(2);
    count(&all, 0, 5);
    count(&all, 1, 6);
    count(&all, 2, 7);
    let without = |gone: usize| all.rows(|target| target != domain(gone), start);
    assert_eq!(without(0), [(domain(1), [0, 0, 6])]);
    count(&all, 2, 3);
    let rows: HashMap<_, _> = without(0).into_iter().collect();
    assert_eq!(rows, HashMap::from([(domain(1), [0, 0, 6]), (domain(2), [0, 0, 3])]));
    assert_eq!(without(2), [(domain(1), [0, 0, 6])]);
    count(&all, 0, 4);
    assert_eq!(refusals(&all, start)[&domain(0)], 9);
    assert_eq!(other(&all), 7);
}

#[test]
fn threads_lose_no_count_while_rows_change() {
    let (all, start) = counts(3);
    let decisions: Vec<_> = (0..12).map(|number| refused(Some(domain(number)))).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (all, decisions) = (&all, &decisions);
            scope.spawn(move || {
                for round in 0..2_000 {
                    let first = (thread + round / 100) % 9;
                    all.count(decisions[first..first + 3].iter());
                }
            });
        }
        for review in 1..200_u32 {
            let gone = domain((review % 20) as usize);
            let rows = all.rows(|target| target != gone, start + REVIEW * review);
            assert!(rows.len() <= 3);
        }
    });
    let rows: u64 = refusals(&all, start).values().sum();
    let former: u64 = all.choice.lock().unwrap().former.values().map(|counts| counts[2]).sum();
    assert_eq!(rows + former + other(&all), 4 * 2_000 * 3);
}

#[test]
fn the_page_has_names_and_sids() {
    use sip_authz::model::{Account, Domain};

    let (all, start) = counts(2);
    let account = AccountSid::from_name(&["a"]);
    let mut commit = Commit::new();
    commit.put(Account::new(account).into());
    for number in 0..3 {
        let Target::Domain(sid) = domain(number) else { panic!("no domain") };
        let name = format!("d{number}.example").parse().unwrap();
        commit.put(Domain::new(sid, account, name).into());
    }
    let snapshot = Snapshot::empty().apply(&commit).unwrap();
    count(&all, 0, 1);
    count(&all, 1, 2);
    count(&all, 2, 3);
    all.count(std::iter::once(&refused(None)));
    let page = Page::default();
    metrics::with_local_recorder(&page, || {
        TargetCounts::describe();
        all.record(&snapshot, start);
    });
    let text = page.text();
    for (number, expected) in [(0, 1), (1, 2)] {
        let series = format!(
            "{METRIC}{{domain=\"d{number}.example\",sid=\"{}\",account=\"{account}\",\
             outcome=\"reject\"}} {expected}",
            domain(number)
        );
        assert!(text.lines().any(|line| line == series), "{series} in {text}");
    }
    for (row, expected) in [("other", 3), ("unknown", 1)] {
        let series = format!("{METRIC}{{domain=\"{row}\",outcome=\"reject\"}} {expected}");
        assert!(text.lines().any(|line| line == series), "{series} in {text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with(METRIC)).count(), 12);
}
