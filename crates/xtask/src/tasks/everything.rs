//! Tasks that concern all the others.

use super::ci;
use crate::setup;
use crate::task::{Step, Task};

/// The tasks of this group.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "setup",
        usage: "[TASK]...",
        about: "Install the tools that `ci`, or the named tasks, need",
        details:
            "Installs Debian packages by apt-get, with sudo if not run as root, and cargo plugins
from crates.io. Does not change installed tools. A missing nightly toolchain is an
error.",
        steps: &[Step::Check { about: "install missing tools", work: setup::setup }],
        ..Task::BARE
    },
    Task {
        name: "ci",
        usage: "[--from TASK]",
        about: "Run all tasks of CI (after `setup`) and print a table of times",
        details: "Stops at the first task that fails. --from TASK: start at this task.",
        steps: &[Step::Sequence(ci::ENTRIES)],
        ..Task::BARE
    },
];
