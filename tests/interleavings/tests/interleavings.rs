//! Checks each property in every interleaving if there are few, else in thousands of random ones. A
//! failure prints its schedule.

use shuttle::{check_dfs, check_pct, check_random};
use sip_authz_interleavings as tables;

/// Number of random interleavings.
const DRAWN: usize = 3_000;
/// Maximum number of preemptions at chosen points in one schedule.
const DEPTH: usize = 3;

#[test]
fn one_count_is_accepted_once() {
    check_dfs(|| tables::one_count_is_accepted_once(2), None);
    check_random(|| tables::one_count_is_accepted_once(5), DRAWN);
    check_pct(|| tables::one_count_is_accepted_once(5), DRAWN, DEPTH);
}

#[test]
fn each_count_is_accepted_once() {
    check_random(|| tables::each_count_is_accepted_once(3), DRAWN);
    check_pct(|| tables::each_count_is_accepted_once(4), DRAWN, DEPTH);
}

#[test]
fn both_forms_are_accepted_once_in_total() {
    check_random(tables::both_forms_are_accepted_once_in_total, DRAWN);
}

#[test]
fn evicted_nonces_stay_rejected() {
    check_random(|| tables::evicted_nonces_stay_rejected(3), DRAWN);
    check_pct(|| tables::evicted_nonces_stay_rejected(3), DRAWN, DEPTH);
}

#[test]
fn identical_requests_insert_once() {
    check_dfs(|| tables::identical_requests_insert_once(2), None);
    check_random(|| tables::identical_requests_insert_once(4), DRAWN);
    check_pct(|| tables::identical_requests_insert_once(4), DRAWN, DEPTH);
}

/// The scheduler finds the bug that the single-step insertion prevents.
#[test]
#[should_panic(expected = "a retransmission was refused")]
fn two_step_insertion_refuses_a_retransmission() {
    check_random(tables::two_step_insertion_of_identical_requests, DRAWN);
}

#[test]
fn one_count_with_two_fingerprints_is_accepted_once() {
    check_random(tables::one_count_with_two_fingerprints_is_accepted_once, DRAWN);
    check_pct(tables::one_count_with_two_fingerprints_is_accepted_once, DRAWN, DEPTH);
}

#[test]
fn threads_exceed_a_burst_by_less_than_their_number() {
    check_random(|| tables::threads_exceed_a_burst_by_less_than_their_number(4), DRAWN);
    check_pct(|| tables::threads_exceed_a_burst_by_less_than_their_number(4), DRAWN, DEPTH);
}

#[test]
fn no_record_is_lost() {
    check_dfs(|| tables::no_record_is_lost(2), None);
    check_random(|| tables::no_record_is_lost(5), DRAWN);
}

#[test]
fn no_evicted_source_is_forgiven() {
    check_random(|| tables::no_evicted_source_is_forgiven(3), DRAWN);
    check_pct(|| tables::no_evicted_source_is_forgiven(3), DRAWN, DEPTH);
}
