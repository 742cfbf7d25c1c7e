//! The help texts.

use anstyle::Style;

use crate::error::Error;
use crate::needs;
use crate::task::{Step, Task};
use crate::tasks::{self, GROUPS};
use crate::workspace::Workspace;

const BOLD: Style = Style::new().bold();

/// Prints one line for each task.
pub(crate) fn overview() {
    anstream::println!("Runs a task of the repository, from its root.\n");
    anstream::println!("Usage: cargo xtask TASK [ARGS]...");
    anstream::println!("       cargo xtask help TASK     the commands of a task");
    let names = GROUPS.iter().flat_map(|(_, tasks)| tasks.iter().map(|task| task.name.len()));
    let width = names.max().unwrap_or_default();
    for (heading, tasks) in GROUPS {
        anstream::println!("\n{BOLD}{heading}{BOLD:#}");
        for task in tasks {
            anstream::println!("{}", line(task, width));
        }
    }
    anstream::println!("\nIn brackets: needs beyond Rust and a C compiler; `setup` installs them.");
}

/// The name of a task, what it does, and what it needs.
fn line(task: &Task, width: usize) -> String {
    let needs = needs::list(task.needs);
    let needs = if needs.is_empty() { needs } else { format!("  [{needs}]") };
    format!("  {:<width$}  {}{needs}", task.name, task.about)
}

/// Prints a task with its exact commands.
pub(crate) fn task(workspace: &Workspace, name: &str) -> Result<(), Error> {
    let task = tasks::find(name)?;
    let space = if task.usage.is_empty() { "" } else { " " };
    anstream::println!("{}.\n\nUsage: cargo xtask {}{space}{}", task.about, task.name, task.usage);
    if !task.details.is_empty() {
        anstream::println!("\n{}", task.details);
    }
    let needs = needs::list(&tasks::needs(&[task])?);
    let needs = if needs.is_empty() { "nothing beyond Rust and a C compiler" } else { &needs };
    anstream::println!("\nNeeds: {needs}\n\nRuns:");
    let args = task.or_default(&[]);
    for step in task.steps {
        match step {
            Step::Check { about, .. } => anstream::println!("    ({about})"),
            Step::Sequence(entries) => {
                entries.iter().for_each(|entry| anstream::println!("    {entry}"));
            }
            Step::Run { .. } | Step::RunEach(_) => {
                for command in step.commands(workspace, &args)? {
                    anstream::println!("    {command}");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn every_task_has_help_with_its_commands() {
        let workspace = Workspace::find().unwrap();
        for each in tasks::all() {
            task(&workspace, each.name).unwrap();
        }
        assert_eq!(task(&workspace, "no-such").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_overview_names_what_a_task_needs() {
        let replay = line(tasks::find("replay").unwrap(), 13);
        assert!(replay.starts_with("  replay         Test with a million"), "{replay}");
        assert!(!replay.contains('['), "{replay}");
        let fuzz = line(tasks::find("fuzz").unwrap(), 13);
        assert!(fuzz.ends_with("  [Debian: g++; nightly; cargo-fuzz]"), "{fuzz}");
    }
}
