//! Checks of the sources, the dependencies and the interface.

use crate::needs::{
    CARGO_DEB, CARGO_DENY, CARGO_PUBLIC_API, CURL, CXX, LINTIAN, MMDEBSTRAP, Need, OPENSSL, PROTOC,
    PYTHON, SIPSAK,
};
use crate::task::{Step, Task, run};
use crate::{crates, cycles, hot_path, package};

/// Warnings of rustdoc are errors.
const STRICT_DOC: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];

/// The tasks of this group.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "format",
        about: "Check the formatting of all crates",
        details: "Covers the workspace and each crate outside it, such as fuzz.",
        steps: &[run("cargo fmt --all --check"), Step::RunEach(crates::format_standalone)],
        ..Task::BARE
    },
    Task {
        name: "lint",
        about: "Run clippy with all features and with the default ones",
        details: "Warnings are errors, also for an API that is newer than rust-version. Covers the
workspace and each crate outside it, such as fuzz.",
        needs: &[PROTOC, CXX],
        steps: &[
            run("cargo clippy --locked --workspace --all-targets --all-features -- -D warnings"),
            run("cargo clippy --locked --all-targets -- -D warnings"),
            Step::RunEach(crates::lint_standalone),
        ],
        ..Task::BARE
    },
    Task {
        name: "cycles",
        usage: "[PATH]",
        about: "Fail on circular imports between source files",
        details: "Follows re-exports to the file that defines the item. Leaves out #[cfg(test)] items, and
imports between a module and the modules inside it.
PATH: the root file of a crate, or a folder with a Cargo.toml, lib.rs or main.rs
(default: all crates of the workspace).",
        steps: &[Step::Check { about: "look for circular imports", work: cycles::cycles }],
        ..Task::BARE
    },
    Task {
        name: "deny",
        about: "Check the licences and sources of all dependencies",
        details: "The rules are in deny.toml. Known vulnerabilities are left out, as they need the network:
cargo deny check advisories",
        needs: &[CARGO_DENY],
        steps: &[Step::RunEach(crates::deny)],
        ..Task::BARE
    },
    Task {
        name: "doc",
        about: "Build the documentation with no, each and all features",
        details: "Warnings are errors.",
        needs: &[PROTOC],
        steps: &[
            Step::RunEach(crates::doc_each_feature),
            Step::Run {
                env: STRICT_DOC,
                words: "cargo doc --locked --no-deps --workspace --all-features",
            },
        ],
        ..Task::BARE
    },
    Task {
        name: "public-api",
        usage: "[--renew]",
        about: "Compare the public interface with docs/public-api.txt",
        details: "--renew: write the list.",
        needs: &[Need::Nightly, CARGO_PUBLIC_API],
        steps: &[run("crates/xtask/scripts/public_api.sh {args}")],
        ..Task::BARE
    },
    Task {
        name: "public-types",
        about: "Compare public enums and structs with docs/public-types.md",
        details: "Every type needs a row with its decision, and is `#[non_exhaustive]` if the row says so.",
        needs: &[PROTOC],
        steps: &[run("crates/xtask/scripts/public_types.sh")],
        ..Task::BARE
    },
    Task {
        name: "hot-path",
        about: "Check the dependencies of the library without its features",
        details: "Only crates of the list in crates/xtask/src/hot_path.rs are allowed, and at most 28.",
        steps: &[
            run("cargo build --locked -p sip-authz --no-default-features"),
            // the features that `cargo run` of README.md uses: development dependencies add none
            run("cargo check --locked"),
            run("cargo tree --locked -p sip-authz --no-default-features --edges normal"),
            Step::Check { about: "compare with the allowed crates", work: hot_path::check },
        ],
        ..Task::BARE
    },
    Task {
        name: "features",
        about: "Build each published crate with each of its features alone",
        needs: &[PROTOC],
        steps: &[Step::RunEach(crates::check_each_feature)],
        ..Task::BARE
    },
    Task {
        name: "embed",
        about: "Build tests/embed, a crate that depends on the library alone",
        steps: &[run(
            "cargo build --locked --manifest-path tests/embed/Cargo.toml --target-dir {target}/embed",
        )],
        ..Task::BARE
    },
    Task {
        name: "package",
        about: "Package the published crates and build them from their packages",
        details: "The package sip-authz must hold no tests, examples, fuzz targets, other crates or CI files.
Uploads nothing. Needs the index of crates.io.",
        needs: &[PROTOC],
        steps: &[
            Step::Check { about: "list the files of sip-authz", work: package::check_files },
            Step::Check { about: "remove unpacked copies", work: package::remove_unpacked },
            run("cargo publish --locked --workspace --dry-run --allow-dirty"),
        ],
        ..Task::BARE
    },
    Task {
        name: "deb",
        usage: "[PROFILE [--no-build]]",
        default: "dist",
        about: "Build the Debian package and compare its files with the list",
        details: "The package is in debian/ of the folder of build results, the list in packaging/debian.
PROFILE: a profile of Cargo.toml (default: dist, which compiles for minutes). --no-build: pack
the program that was built last with this profile.",
        needs: &[CARGO_DEB, LINTIAN],
        steps: &[run("packaging/debian/build.sh {target} {args}")],
    },
    Task {
        name: "deb-docs",
        usage: "[--list]",
        about: "Run the commands of the docs with the package that `deb` built",
        details: "Program, pages and examples are those of the newest package. It is unpacked, not installed:
deb-install does that.",
        needs: &[SIPSAK, CURL, OPENSSL, PYTHON],
        steps: &[run("crates/acceptance/docs-commands.py --package {target}/debian {args}")],
        ..Task::BARE
    },
    Task {
        name: "deb-install",
        usage: "PACKAGE [FOLDER]",
        about: "Install, upgrade, remove and purge a package in a new Debian system",
        details: "Needs root and a mirror of Debian. FOLDER keeps the new system for the next run.",
        needs: &[MMDEBSTRAP],
        steps: &[run("packaging/debian/try-install.sh {args}")],
        ..Task::BARE
    },
];
