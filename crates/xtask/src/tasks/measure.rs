//! Measurements of time, instructions and memory.

use crate::bench;
use crate::needs::{ETCD, ETCDCTL, PROTOC, PYTHON, VALGRIND};
use crate::task::{Step, Task, run};

/// The tasks of this group.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "bench",
        usage: "[NAME] [ARGS]...",
        about: "Run all benches in full length, or one",
        details:
            "NAME: authorize, batch, datagram, fleet, forward, hash, instructions, memory, observe,
prefix, publish, rest, targets or timing. ARGS go to the bench.",
        needs: &[VALGRIND, ETCD, ETCDCTL, PROTOC, PYTHON],
        steps: &[Step::RunEach(bench::commands)],
        ..Task::BARE
    },
    Task {
        name: "targets",
        usage: "[ARGS]...",
        about: "Measure every target of speed and size",
        details: "ARGS: --check (fail if a target is missed), --full, --only NAME, --list, --help.",
        needs: &[VALGRIND, PROTOC],
        steps: &[run("cargo bench --locked -p sip-authz-bench --bench targets -- {args}")],
        ..Task::BARE
    },
    Task {
        name: "instructions",
        about: "Count the instructions of decisions and of a forwarded call",
        needs: &[VALGRIND],
        steps: &[
            run("cargo bench --locked -p sip-authz --bench instructions"),
            run("cargo bench --locked -p sip-authz-proxy --bench forward"),
        ],
        ..Task::BARE
    },
    Task {
        name: "timing",
        usage: "[--quick]",
        about: "Measure whether the answer time reveals which users exist",
        details: "Takes two minutes, with --quick under 20 s.",
        steps: &[run("cargo bench --locked -p sip-authz --bench timing -- {args}")],
        ..Task::BARE
    },
    Task {
        name: "rest-bench",
        usage: "[--quick]",
        about: "Measure REST requests, and the time until an INVITE sees them",
        needs: &[PROTOC],
        steps: &[run("cargo bench --locked -p sip-authz-bench --bench rest -- {args}")],
        ..Task::BARE
    },
    Task {
        name: "commits",
        usage: "[SECONDS] [PROGRAM]...",
        default: "5",
        about: "Measure how fast the API commits, at 1 to 256 requests at once",
        details:
            "On SQLite, on etcd, and with four servers on one etcd. SECONDS: length of each row.
PROGRAM: other builds of sip-authz with etcd, measured in turn. Fails if a record is missing.",
        needs: &[ETCD, PROTOC, PYTHON],
        steps: &[
            run("cargo build --locked --release -p sip-authz-cli --features tls,etcd"),
            run("cargo build --locked --release -p sip-authz-bench --bin commits"),
            run(
                "crates/bench/commits/run.py {target}/release/commits {target}/release/sip-authz {args}",
            ),
        ],
    },
    Task {
        name: "load",
        usage: "[ARGS]...",
        default: "--help",
        about: "Saturate a SIP server over UDP",
        needs: &[PROTOC],
        steps: &[run("cargo run --locked --release -p sip-authz-bench --bin load -- {args}")],
        ..Task::BARE
    },
];
