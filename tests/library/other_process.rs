//! An authorizer in a process that did not create it. The forks themselves are tested in
//! `crates/arch/tests/fork`.

use sip_authz::model::{Commit, Key, Policy};
use sip_authz::{
    ApplyError, Cause, Decision, GuessLimit, Invite, Reason, Reject, Snapshot, Step, Transport,
};
use sip_authz_testing::kit::*;

fn refusal() -> Decision {
    Decision::Reject(Reject::new(None, Reason::OtherProcess))
}

#[test]
fn another_process_refuses_what_its_maker_would_admit() {
    let world = World::new().over(Transport::Tcp);
    let right = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    accepted(world.send(&Request::to(ACL_HOST), INSIDE));
    let counted = world.authorizer.counts().total();
    let world = world.in_other_process();
    for request in [&right, &Request::to(HOST), &Request::to("unknown.example.com")] {
        assert_eq!(world.send(request, OUTSIDE), refusal());
    }
    assert_eq!(world.send(&Request::to(ACL_HOST), INSIDE), refusal());
    assert_eq!(world.send(&Request::register(HOST, "alice"), OUTSIDE), refusal());
    assert_eq!(refusal().cause(), Some(Cause::OtherProcess));
    assert_eq!((refusal().status(), refusal().reason()), (503, "other-process"));

    // a deadline makes no difference
    world.authorizer.refuse_from(Some(world.start));
    assert_eq!(world.send(&Request::to(ACL_HOST), INSIDE), refusal());
    let counts = world.authorizer.counts();
    assert!(counts.iter().any(|row| row == ("reject", "other-process", 6)));
    assert!(counts.causes().any(|row| row == ("reject", Cause::OtherProcess, 6)));
    assert_eq!(counts.total(), counted + 6);
}

#[test]
fn another_process_refuses_batches_of_any_length() {
    let world = World::new().in_other_process();
    let bytes = Request::to(ACL_HOST).bytes();
    let invite = Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let mut out = vec![refusal(); 3];
    let mut total = 0;
    for length in [0, 1, 2, 23, 24, 32, 33, 100] {
        let invites = vec![invite.clone(); length];
        let number = world.authorizer.authorize_batch(&invites, world.start, &mut out);
        assert_eq!(number, None);
        assert_eq!(out, vec![refusal(); length]);
        total += length as u64;
        let counts = world.authorizer.counts();
        assert!(counts.iter().any(|row| row == ("reject", "other-process", total)));
    }
}

#[test]
fn another_process_explains_its_refusal_alone() {
    let world = World::new().in_other_process();
    let bytes = Request::to(ACL_HOST).bytes();
    let invite = Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let explained = world.authorizer.explain(&invite, world.start);
    assert_eq!((&explained.decision, explained.snapshot), (&refusal(), None));
    assert_eq!(explained.steps, [Step::OtherProcess]);
    assert_eq!(explained.steps[0].passed(), Some(false));
    assert_eq!(
        explained.to_string(),
        "process: another one created the authorizer; create it after the fork, and after \
         daemonizing\n\
         cause: the process that decides did not create the authorizer, but was forked from the one \
         that did (other-process)\n\
         decision: reject 503 other-process"
    );
    assert_eq!(world.authorizer.counts().total(), 0);
}

#[test]
fn another_process_changes_nothing_and_reads_no_locked_table() {
    let world = World::new();
    for _ in 0..3 {
        let wrong = world.answered(&Request::to(HOST), OUTSIDE, "alice", "wrong");
        assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials);
    }
    accepted(world.send(&world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD), OUTSIDE));
    let (target, source) = (domain(HOST).into(), "198.51.100.7".parse().unwrap());
    assert_eq!(world.authorizer.guesses(target, "alice", source, world.start)[0].wrong, 3);
    assert_eq!(world.authorizer.remembered_nonces().0, 1);

    let world = world.in_other_process();
    let (authorizer, now) = (&world.authorizer, world.start);
    assert_eq!(authorizer.guesses(target, "alice", source, now), []);
    assert!(!authorizer.release(GuessLimit::NameFromSource, target, "alice", source, now));
    assert_eq!(authorizer.remembered_nonces(), (0, World::new().authorizer.remembered_nonces().1));

    let before = authorizer.snapshot();
    let mut commit = Commit::new();
    commit.put(policy_of(HOST, Policy::default()));
    for commit in [Commit::new(), commit] {
        let error = authorizer.apply(&commit).unwrap_err();
        assert_eq!((&error, error.key()), (&ApplyError::OtherProcess, None));
        let text = "this process did not create the authorizer; create it after the fork, and after \
                    daemonizing";
        assert_eq!((error.to_string(), error.message()), (text.to_owned(), text.to_owned()));
    }
    assert!(std::sync::Arc::ptr_eq(&authorizer.replace(Snapshot::empty()), &before));
    assert!(std::sync::Arc::ptr_eq(&authorizer.snapshot(), &before));
}

#[test]
fn an_error_about_a_record_has_its_key() {
    let mut commit = Commit::new();
    commit.delete(Key::Account(account()));
    let error = World::new().authorizer.apply(&commit).unwrap_err();
    assert_eq!(error.key(), Some(Key::Account(account())));
}
