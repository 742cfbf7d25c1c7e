//! An authorizer that was created before a fork.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use sip_authz::model::{Commit, Key, Policy, Target};
use sip_authz::{
    ApplyError, Capacity, Cause, Decision, ExplainOptions, GuessLimit, Invite, Reason, Snapshot,
    Transport,
};
use sip_authz_testing::kit::*;

use crate::children::{Child, Way, first_failure, run};

/// A world whose copies are small.
fn world() -> World {
    let capacity = Capacity::default().with_nonces(512).with_repeats(512).with_guesses(512);
    World::with(Policy::default(), capacity, &[7; 32]).over(Transport::Tcp)
}

fn invite(bytes: &[u8]) -> Invite<'_> {
    Invite::from_datagram(bytes, OUTSIDE.parse().unwrap(), Transport::Tcp).unwrap()
}

fn is_other_process(decision: &Decision) -> bool {
    matches!(decision, Decision::Reject(reject)
        if reject.reason == Reason::OtherProcess && reject.cause == Cause::OtherProcess
            && reject.reason.status() == 503 && reject.target.is_none())
}

/// The checks in a child on the authorizer of its parent: every method that decides or takes a lock.
/// The checks allocate nothing.
struct Probe<'a> {
    world: &'a World,
    invites: Vec<Invite<'a>>,
    out: Vec<Decision>,
    commit: Commit,
    target: Target,
    source: IpAddr,
}

impl<'a> Probe<'a> {
    fn new(world: &'a World, bytes: &'a [u8]) -> Self {
        // the first use of the snapshot in a thread allocates
        drop(world.authorizer.snapshot());
        let mut commit = Commit::new();
        commit.delete(Key::IpAddress(address("192.0.2.0/24")));
        let invites = vec![invite(bytes); 40];
        let (target, source) = (domain(HOST).into(), invites[0].source().ip());
        Self { world, out: Vec::with_capacity(invites.len()), invites, commit, target, source }
    }

    /// 0 if everything is refused, and the refusals are counted.
    fn run(&mut self) -> u8 {
        let (authorizer, now) = (&self.world.authorizer, self.world.start + self.world.now);
        let (before, number) = (authorizer.counts(), authorizer.snapshot().number());
        let single = authorizer.authorize(&self.invites[0], now);
        let few = authorizer.authorize_batch(&self.invites[..3], now, &mut self.out);
        let few_refused = self.out.len() == 3 && self.out.iter().all(is_other_process);
        let many = authorizer.authorize_batch(&self.invites, now, &mut self.out);
        let all_refused = self.out.len() == 40 && self.out.iter().all(is_other_process);
        let after = authorizer.counts();
        let grown = |row: ((&str, &str, u64), (&str, &str, u64))| {
            let expected = if row.0.1 == "other-process" { 44 } else { 0 };
            row.1.2 - row.0.2 == expected
        };
        let (target, source, limit) = (self.target, self.source, GuessLimit::NameFromSource);
        first_failure([
            is_other_process(&single),
            few.is_none() && few_refused,
            many.is_none() && all_refused,
            before.iter().zip(after.iter()).all(grown),
            after.causes().any(|(outcome, cause, count)| {
                outcome == "reject" && cause == Cause::OtherProcess && count >= 44
            }),
            matches!(authorizer.apply(&self.commit), Err(ApplyError::OtherProcess)),
            authorizer.snapshot().number() == number,
            authorizer.guesses(target, "alice", source, now).is_empty(),
            !authorizer.release(limit, target, "alice", source, now),
            authorizer.remembered_nonces().0 == 0,
            !authorizer.is_stale(now),
        ])
    }
}

#[test]
fn a_refusal_allocates_nothing_in_a_child_of_any_kind() {
    let world = world().in_other_process();
    let bytes = Request::to(HOST).bytes();
    let (mut probe, mut code) = (Probe::new(&world, &bytes), 1);
    let count = allocation_counter::measure(|| code = probe.run());
    assert_eq!((code, count.count_total, count.count_current), (0, 0, 0));
}

#[test]
fn only_the_process_that_created_an_authorizer_decides() {
    let world = world();
    for way in Way::all() {
        let right = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
        let bytes = right.bytes();
        // outside of the children, which must not free it
        let mut probe = Probe::new(&world, &bytes);
        assert_eq!(run(way, || probe.run()), 0, "{way:?}");
        assert_eq!(run(way, || u8::from(run(way, || probe.run()) != 0)), 0, "{way:?}, twice");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut probe = Probe::new(&world, &bytes);
                assert_eq!(run(way, || probe.run()), 0, "{way:?}, of a thread");
            });
        });
        accepted(world.send(&right, OUTSIDE));
        world.put(policy_of(ACL_HOST, Policy::default()));
    }
    assert!(
        world
            .authorizer
            .counts()
            .iter()
            .all(|(_, reason, count)| { count == 0 || reason == "passed" || reason == "asked" })
    );
}

#[test]
fn an_explanation_in_a_child_says_what_to_do_and_replaces_nothing() {
    let world = world();
    let bytes = Request::to(HOST).bytes();
    let code = run(Way::Fork, || {
        let authorizer = &world.authorizer;
        let (now, number) = (world.start, authorizer.snapshot().number());
        let counting = ExplainOptions::default().with_counts_guesses(true);
        let explained = authorizer.explain_with(&invite(&bytes), now, counting);
        let text = explained.to_string();
        first_failure([
            is_other_process(&explained.decision) && explained.snapshot.is_none(),
            text.contains("create it after the fork, and after daemonizing"),
            text.ends_with("decision: reject 503 other-process"),
            authorizer.explain(&invite(&bytes), now).to_string() == text,
            authorizer.counts().total() == 0,
            authorizer.replace(Snapshot::empty()).number() == number,
            authorizer.snapshot().target_view(domain(HOST).into()).is_some(),
            authorizer.authorize_now(&invite(&bytes)).status() == 503,
        ])
    });
    assert_eq!(code, 0);
    assert_eq!(world.challenge(&Request::to(HOST), OUTSIDE).status(), 407);
}

/// The attack: workers that were forked after the authorizer was created share a socket, and a
/// captured digest reaches each of them.
#[test]
fn a_captured_digest_is_accepted_by_no_child_and_once_by_the_maker() {
    const CHILDREN: usize = 5;
    let world = world();
    for way in Way::all() {
        let captured = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
        let (captured_bytes, bare_bytes) = (captured.bytes(), Request::to(HOST).bytes());
        let (attack, bare) = (invite(&captured_bytes), invite(&bare_bytes));
        let (now, authorizer) = (world.start, &world.authorizer);
        let children: Vec<_> = (0..CHILDREN)
            .map(|_| {
                Child::start(way, || {
                    let refused = |invite| is_other_process(&authorizer.authorize(invite, now));
                    let no_challenge = (0..20).all(|_| refused(&bare));
                    let counts = authorizer.counts();
                    first_failure([
                        refused(&attack) && refused(&attack),
                        no_challenge,
                        counts.iter().any(|row| row == ("reject", "other-process", 20)),
                    ])
                })
            })
            .collect();
        assert!(children.into_iter().all(|child| child.wait() == 0), "{way:?}");
        accepted(world.send(&captured, OUTSIDE));
        assert!(challenged(world.send(&captured, OUTSIDE)), "{way:?}: used");
    }
}

#[test]
fn a_fork_between_decisions_and_changes_never_hangs() {
    const FORKS: usize = 150;
    let world = world();
    let (stop, ways) = (AtomicBool::new(false), Way::all());
    let bytes = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD).bytes();
    let decide = || {
        let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
        assert!(world.send(&request, OUTSIDE).is_accept());
        assert!(!world.send(&request, OUTSIDE).is_accept());
    };
    // holds the lock of the writer nearly all the time
    let change = || world.put(policy_of(ACL_HOST, Policy::default()));
    let look = || {
        let (authorizer, target, now) = (&world.authorizer, domain(HOST).into(), world.start);
        let source = invite(&bytes).source().ip();
        assert!(authorizer.remembered_nonces().0 <= authorizer.remembered_nonces().1);
        assert_eq!(authorizer.guesses(target, "alice", source, now).len(), 1);
        assert!(!authorizer.release(GuessLimit::NameFromSource, target, "alice", source, now));
    };
    let work: [&(dyn Fn() + Sync); 3] = [&decide, &change, &look];
    let codes = std::thread::scope(|scope| {
        for work in work {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            });
        }
        let mut codes = Vec::new();
        for way in ways.iter().cycle().take(FORKS) {
            let mut probe = Probe::new(&world, &bytes);
            codes.push(run(*way, || probe.run()));
            if codes.last() != Some(&0) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        codes
    });
    assert_eq!(codes, [0; FORKS]);
    accepted(world.send(&world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD), OUTSIDE));
}

#[test]
fn a_daemon_that_detaches_after_creation_is_refused_with_advice() {
    let world = world();
    let bytes = Request::to(HOST).bytes();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let code = run(Way::Fork, || {
        // SAFETY: the call has no arguments; a child of a fork leads no process group.
        let session = unsafe { libc::setsid() };
        let code = run(Way::Fork, || {
            let decision = world.authorizer.authorize(&invite(&bytes), world.start);
            let cause = decision.cause().unwrap();
            let error = world.authorizer.apply(&Commit::new()).unwrap_err();
            let text = format!("{} {cause}; {}; {error}", decision.status(), cause.advice());
            u8::from(writer.write_all(text.as_bytes()).is_err())
        });
        first_failure([session > 0, code == 0])
    });
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(code, 0);
    assert_eq!(
        text,
        "503 other-process; create the `Authorizer` in each process after the fork, and after \
         daemonizing; this process did not create the authorizer; create it after the fork, and after \
         daemonizing"
    );
}

#[test]
fn a_child_with_an_authorizer_of_its_own_decides_and_shares_no_nonce() {
    let request = Request::to(HOST);
    let parent = world();
    let of_parent = parent.answered(&request, OUTSIDE, "alice", PASSWORD);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let foreign = |decision: Decision| {
        matches!(decision, Decision::Challenge(challenge)
            if challenge.stale && challenge.cause == Cause::NonceOfOtherProcess)
    };
    let code = run(Way::Fork, || {
        let seed = [8; 32];
        let child = World::with(Policy::default(), Capacity::default(), &seed).over(Transport::Tcp);
        let own = child.answered(&request, OUTSIDE, "alice", PASSWORD);
        let sent = child.answered(&request, OUTSIDE, "alice", PASSWORD);
        child.put(policy_of(ACL_HOST, Policy::default()));
        first_failure([
            child.send(&own, OUTSIDE).is_accept(),
            foreign(child.send(&of_parent, OUTSIDE)),
            is_other_process(&parent.send(&own, OUTSIDE)),
            is_other_process(&parent.send(&of_parent, OUTSIDE)),
            writer.write_all(&sent.bytes()).is_ok(),
        ])
    });
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(code, 0);
    assert!(foreign(parent.try_send(&bytes, OUTSIDE).unwrap()));
    accepted(parent.send(&of_parent, OUTSIDE));
}
