//! Tests beyond those that plain `cargo test` runs.

use crate::needs::{
    CARGO_FUZZ, CARGO_LLVM_COV, CARGO_MUTANTS, CURL, CXX, DNSMASQ, ETCD, ETCDCTL, Need, OPENSSL,
    PROTOC, PYTHON, SIPSAK, STRACE,
};
use crate::readme;
use crate::task::{Step, Task, run};

/// The tasks of this group.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "test",
        about: "Run the test command of README.md, then the other quick tests",
        details:
            "The others are those of the library without features, and of crates that are no default
members of the workspace.",
        needs: &[CURL, DNSMASQ, OPENSSL, SIPSAK],
        steps: &[
            Step::RunEach(readme::test_command),
            run("cargo test --locked -p sip-authz --no-default-features --lib --quiet"),
            run("cargo test --locked -p sip-authz-testing -p xtask --quiet"),
        ],
        ..Task::BARE
    },
    Task {
        name: "replay",
        about: "Test with a million forged requests and ten thousand replays",
        steps: &[run(
            "cargo test --locked --release -p sip-authz --test replay_run -- --nocapture",
        )],
        ..Task::BARE
    },
    Task {
        name: "sqlite-faults",
        about: "Test SQLite with 200 kills, full disks and failed syncs",
        steps: &[run(
            "cargo test --locked --release -p sip-authz-store-sqlite --test faults --test store",
        )],
        needs: &[STRACE],
        ..Task::BARE
    },
    Task {
        name: "sqlite-sync",
        usage: "[COMMITS]",
        default: "300",
        about: "Check that SQLite syncs each commit before its answer",
        needs: &[STRACE, PYTHON],
        steps: &[
            run("cargo build --locked --release -p sip-authz-store-sqlite --example sqlite_load"),
            run("crates/acceptance/sqlite_sync.py {target}/release/examples/sqlite_load {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "interleavings",
        about: "Test the nonce and guess tables under a scheduler of threads",
        steps: &[run("cargo test --locked --manifest-path tests/interleavings/Cargo.toml \
             --target-dir {target}/interleavings")],
        ..Task::BARE
    },
    Task {
        name: "simulation",
        about: "Simulate a thousand fleets under virtual time",
        steps: &[run("cargo test --locked --release -p sip-authz-acceptance --test simulation \
             -- --nocapture")],
        ..Task::BARE
    },
    Task {
        name: "etcd",
        about: "Test the etcd store; kill its writers and nodes",
        needs: &[ETCD, ETCDCTL, PROTOC],
        steps: &[
            run("cargo test --locked -p sip-authz-store-etcd -- --nocapture"),
            run("cargo test --locked -p sip-authz-cli --features tls,etcd --bin sip-authz --quiet"),
        ],
        ..Task::BARE
    },
    Task {
        name: "fuzz",
        usage: "[SECONDS] [TARGET]...",
        default: "60",
        about: "Run each fuzz target for a short time",
        details: "SECONDS: the time for each target (default: 60).",
        needs: &[Need::Nightly, CARGO_FUZZ, CXX],
        steps: &[run("fuzz/run.sh {args}")],
    },
    Task {
        name: "fuzz-long",
        usage: "[HOURS] [TARGET]...",
        default: "8",
        about: "Run all fuzz targets for hours in turns, and print a table",
        details: "HOURS: the time for all targets together (default: 8). fuzz/README.md has the results.",
        needs: &[Need::Nightly, CARGO_FUZZ, CXX],
        steps: &[run("fuzz/long.sh {args}")],
    },
    Task {
        name: "coverage",
        usage: "[OUTPUT.lcov]",
        about: "List the lines of the hot path that the quick tests run",
        needs: &[CARGO_LLVM_COV, Need::LlvmCov, PYTHON],
        steps: &[run("crates/xtask/scripts/coverage.sh {args}")],
        ..Task::BARE
    },
    Task {
        name: "mutants",
        usage: "MODULE [SHARD/OF]",
        about: "List the mutants of a module that its tests do not notice",
        details: "MODULE: digest, acl, model, snapshot, authorizer or directory, or a source file.
Takes from half an hour to hours. crates/xtask/scripts/mutants.md has the results.",
        needs: &[CARGO_MUTANTS],
        steps: &[run("crates/xtask/scripts/mutants.sh {args}")],
        ..Task::BARE
    },
];
