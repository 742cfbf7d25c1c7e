//! Each property in every interleaving where there are few, and in thousands drawn by chance where
//! there are more. A failure prints the schedule that led to it.

use shuttle::{check_dfs, check_pct, check_random};
use sip_authz_interleavings as tables;

/// How many interleavings are drawn.
const DRAWN: usize = 3_000;
/// How many changes of thread at bad moments are looked for together.
const DEPTH: usize = 3;

#[test]
fn one_count_serves_once() {
    check_dfs(|| tables::one_count_serves_once(2), None);
    check_random(|| tables::one_count_serves_once(5), DRAWN);
    check_pct(|| tables::one_count_serves_once(5), DRAWN, DEPTH);
}

#[test]
fn each_count_serves_once() {
    check_random(|| tables::each_count_serves_once(3), DRAWN);
    check_pct(|| tables::each_count_serves_once(4), DRAWN, DEPTH);
}

#[test]
fn both_forms_serve_once_in_all() {
    check_random(tables::both_forms_serve_once_in_all, DRAWN);
}

#[test]
fn floors_let_no_replay_in() {
    check_random(|| tables::floors_let_no_replay_in(3), DRAWN);
    check_pct(|| tables::floors_let_no_replay_in(3), DRAWN, DEPTH);
}

#[test]
fn of_copies_one_is_new() {
    check_dfs(|| tables::of_copies_one_is_new(2), None);
    check_random(|| tables::of_copies_one_is_new(4), DRAWN);
    check_pct(|| tables::of_copies_one_is_new(4), DRAWN, DEPTH);
}

/// The scheduler finds the fault that doing it in one step avoids.
#[test]
#[should_panic(expected = "a retransmission was refused")]
fn in_two_steps_a_copy_is_refused() {
    check_random(tables::of_copies_one_is_new_in_two_steps, DRAWN);
}

#[test]
fn one_count_under_two_fingerprints_serves_once() {
    check_random(tables::one_count_under_two_fingerprints_serves_once, DRAWN);
    check_pct(tables::one_count_under_two_fingerprints_serves_once, DRAWN, DEPTH);
}

#[test]
fn a_burst_is_passed_by_fewer_than_the_threads() {
    check_random(|| tables::a_burst_is_passed_by_fewer_than_the_threads(4), DRAWN);
    check_pct(|| tables::a_burst_is_passed_by_fewer_than_the_threads(4), DRAWN, DEPTH);
}

#[test]
fn no_record_is_lost() {
    check_dfs(|| tables::no_record_is_lost(2), None);
    check_random(|| tables::no_record_is_lost(5), DRAWN);
}
