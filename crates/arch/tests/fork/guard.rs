//! The guard alone.

use sip_authz_arch::ForkGuard;

use crate::children::{Way, first_failure, run};

#[test]
fn a_guard_knows_its_copies_in_each_kind_of_child() {
    let guard = ForkGuard::of_this_process();
    assert!(guard.is_maker() && guard.is_kept_by_kernel());
    assert!(Way::all().len() >= 2);
    for way in Way::all() {
        let code = run(way, || {
            let own = ForkGuard::of_this_process();
            first_failure([!guard.is_maker(), own.is_maker(), own.is_kept_by_kernel()])
        });
        assert_eq!(code, 0, "{way:?}");
        assert!(guard.is_maker());
    }
}

#[test]
fn a_guard_knows_its_copies_in_children_of_children() {
    let guard = ForkGuard::of_this_process();
    for way in Way::all() {
        for next in Way::all().into_iter().filter(|next| way.precedes(*next)) {
            let code = run(way, || {
                let own = ForkGuard::of_this_process();
                let code = run(next, || first_failure([!guard.is_maker(), !own.is_maker()]));
                first_failure([code == 0, !guard.is_maker(), own.is_maker()])
            });
            assert_eq!(code, 0, "{way:?}, {next:?}");
        }
    }
}

#[test]
fn a_fork_handler_serves_where_the_kernel_keeps_no_mark() {
    let guard = ForkGuard::by_fork_handler();
    assert!(guard.is_maker() && !guard.is_kept_by_kernel());
    let code = run(Way::Fork, || {
        let own = ForkGuard::by_fork_handler();
        let code = run(Way::Fork, || first_failure([!guard.is_maker(), !own.is_maker()]));
        first_failure([code == 0, !guard.is_maker(), own.is_maker()])
    });
    assert_eq!(code, 0);
    assert!(guard.is_maker());
    assert!(ForkGuard::by_fork_handler().is_maker());
}

#[test]
fn all_threads_of_a_process_are_its_maker() {
    for guard in [ForkGuard::of_this_process(), ForkGuard::by_fork_handler()] {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert!(guard.is_maker());
                    assert_eq!(run(Way::Fork, || guard.is_maker().into()), 0);
                    assert!(guard.is_maker());
                });
            }
        });
    }
}

#[test]
fn a_guard_of_no_process_has_no_maker() {
    let guard = ForkGuard::of_no_process();
    assert!(!guard.is_maker() && !guard.is_kept_by_kernel());
    assert_eq!(run(Way::Fork, || guard.is_maker().into()), 0);
}

#[test]
fn a_copy_that_is_dropped_leaves_the_mark_of_the_maker() {
    let guard = ForkGuard::of_this_process();
    let (kept, copy) = (&guard, ForkGuard::of_this_process());
    for way in Way::all() {
        let at = &raw const copy;
        let code = run(way, || {
            // SAFETY: in the child, nothing else uses or drops this value.
            drop(unsafe { at.read() });
            first_failure([!kept.is_maker(), ForkGuard::of_this_process().is_maker()])
        });
        assert_eq!(code, 0, "{way:?}");
    }
    assert!(copy.is_maker() && guard.is_maker());
}

/// The size of the address space of this process, in pages.
fn pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_dropped_guard_leaves_no_page() {
    // in a child, so that no other test changes the number
    let code = run(Way::Fork, || {
        let before = pages();
        for _ in 0..10_000 {
            assert!(ForkGuard::of_this_process().is_maker());
        }
        u8::from(pages() > before + 1_000)
    });
    assert_eq!(code, 0);
}
