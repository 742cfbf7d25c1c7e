//! The tasks that CI runs.

use crate::task::{Entry, entry};

/// The tasks that CI runs, in this order. Quick checks come first.
pub(crate) const ENTRIES: &[Entry] = &[
    entry("format"),
    entry("lint"),
    entry("cycles"),
    entry("deny"),
    entry("test"),
    entry("doc"),
    entry("public-api"),
    entry("public-types"),
    entry("hot-path"),
    entry("features"),
    entry("embed"),
    entry("package"),
    entry("replay"),
    entry("sqlite-faults"),
    entry("sqlite-sync"),
    entry("interleavings"),
    entry("simulation"),
    entry("etcd"),
    entry("docs-commands"),
    // packs the program of the task before
    Entry { args: "release --no-build", ..entry("deb") },
    entry("deb-docs"),
    entry("sipp"),
    entry("stack-rsipstack"),
    entry("prometheus"),
    // without a limit on the ratio, as the machine may be busy; a wrong answer still fails
    Entry {
        env: &[("FEATURES", "sip-authz-cli/etcd"), ("MIN_RATIO", "0")],
        args: "1 1",
        ..entry("kamailio")
    },
    Entry { env: &[("FEATURES", "sip-authz-cli/etcd")], args: "1 1", ..entry("kamailio-cost") },
    // the same holds for the limit on the requests that are answered late
    Entry {
        env: &[("FEATURES", "sip-authz-cli/etcd"), ("MAX_LOST", "100")],
        args: "20",
        ..entry("soak")
    },
    Entry { env: &[("FEATURES", "sip-authz-cli/etcd")], args: "0.5", ..entry("decide-cost") },
    entry("recent"),
    entry("second-client"),
    // linphone brings many packages
    Entry { args: "--check --without linphone", ..entry("clients") },
    Entry { args: "--check", ..entry("why") },
    entry("registrars"),
    entry("redirect"),
    entry("forward"),
    entry("registrations"),
    Entry { args: "1000 60 20 50", ..entry("registrations-load") },
    Entry {
        env: &[("FEATURES", "sip-authz-cli/etcd")],
        args: "200 1000 1",
        ..entry("forward-cost")
    },
    entry("behind-kamailio"),
    entry("capi"),
    entry("capi-sanitize"),
    entry("kamailio-module"),
    entry("console"),
    entry("rest-client"),
    entry("end-to-end"),
    entry("fleet"),
    entry("upgrade"),
    // with the program of the tasks before
    Entry { args: "1", ..entry("commits") },
    Entry { args: "--quick", ..entry("rest-bench") },
    entry("instructions"),
    // these two have no limits in CI, as the machine may be busy
    entry("targets"),
    Entry { args: "--quick", ..entry("timing") },
    // the same inputs in each run: `fuzz-long` looks for new ones
    Entry { env: &[("FUZZ_SEED", "1")], args: "12", ..entry("fuzz") },
];

#[cfg(test)]
mod unit_tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tasks;

    /// Tasks that take too long for CI, or that measure without a limit.
    const NOT_IN_CI: [&str; 9] = [
        "bench",
        "ci",
        "coverage",
        "deb-install",
        "fuzz-long",
        "load",
        "mutants",
        "setup",
        "stacks",
    ];

    #[test]
    fn ci_runs_every_task_but_the_listed_ones() {
        let ran: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.task).collect();
        let all: BTreeSet<_> = tasks::all().map(|task| task.name).collect();
        let left_out: BTreeSet<_> = all.difference(&ran).copied().collect();
        assert_eq!(left_out, NOT_IN_CI.into());
        assert!(ran.is_subset(&all));
        assert_eq!(ran.len(), ENTRIES.len());
    }
}
