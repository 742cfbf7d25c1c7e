//! Runs tasks.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::needs;
use crate::print;
use crate::task::{Entry, Step, Task};
use crate::tasks;
use crate::workspace::Workspace;

/// Checks the arguments and the tools of a task, and runs its steps.
pub(crate) fn task(workspace: &Workspace, task: &Task, args: &[String]) -> Result<(), Error> {
    if task.usage.is_empty()
        && let Some(arg) = args.first()
    {
        return Err(Error::Usage(format!("task `{}` takes no arguments, got `{arg}`", task.name)));
    }
    needs::require(workspace, task.needs, task.name)?;
    let args = task.or_default(args);
    task.steps.iter().try_for_each(|each| step(workspace, each, &args))
}

fn step(workspace: &Workspace, step: &Step, args: &[String]) -> Result<(), Error> {
    match step {
        Step::Check { about, work } => {
            print::check(about);
            let start = Instant::now();
            work(workspace, args)?;
            print::duration(start.elapsed());
            Ok(())
        }
        Step::Sequence(entries) => sequence(workspace, entries, args),
        Step::Run { .. } | Step::RunEach(_) => {
            let commands = step.commands(workspace, args)?;
            commands.iter().try_for_each(|command| command.run(workspace))
        }
    }
}

/// Runs the tasks of a sequence. The arguments may be `--from TASK`.
fn sequence(
    workspace: &Workspace,
    entries: &'static [Entry],
    args: &[String],
) -> Result<(), Error> {
    let mut left = Vec::new();
    for entry in from(entries, args)? {
        left.push((entry, tasks::find(entry.task)?));
    }
    let skipped = entries.len() - left.len();
    // a missing tool must not end the run after half an hour
    let all: Vec<_> = left.iter().map(|(_, task)| *task).collect();
    needs::require(workspace, &tasks::needs(&all)?, "ci")?;

    let mut times = Vec::new();
    for (number, (entry, each)) in (skipped + 1..).zip(&left) {
        print::heading(format!("{number}/{} {}: {}", entries.len(), each.name, each.about));
        let args: Vec<_> = entry.args.split_whitespace().map(str::to_owned).collect();
        let start = Instant::now();
        let result = task(&workspace.with_env(entry.env), each, &args);
        times.push((each.name, start.elapsed()));
        if result.is_err() {
            table(&times);
            print::error(format!(
                "`{entry}` failed; to resume: cargo xtask ci --from {}",
                each.name
            ));
            return result;
        }
    }
    table(&times);
    print::heading(format!("all tasks passed: {}", times.len()));
    Ok(())
}

/// Leaves out the entries before the task that the arguments name.
fn from(entries: &'static [Entry], args: &[String]) -> Result<&'static [Entry], Error> {
    let name = match args {
        [] => return Ok(entries),
        [option, name] if option == "--from" => name,
        _ => {
            let got = args.join(" ");
            return Err(Error::Usage(format!("expected no arguments or --from TASK, got `{got}`")));
        }
    };
    let task = tasks::find(name)?;
    let at = entries.iter().position(|entry| entry.task == task.name);
    at.and_then(|at| entries.get(at..))
        .ok_or_else(|| Error::Usage(format!("CI does not run the task `{name}`")))
}

/// Prints how long each task took.
fn table(times: &[(&str, Duration)]) {
    print::heading("times");
    for (name, time) in times {
        anstream::println!("{name:<16}{:>14}", print::seconds(*time));
    }
    let sum = times.iter().map(|(_, time)| *time).sum();
    anstream::println!("{:<16}{:>14}", "sum", print::seconds(sum));
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use crate::task::{entry, run};

    const ENTRIES: &[Entry] =
        &[entry("format"), Entry { args: "--quick", ..entry("timing") }, entry("fuzz")];

    #[test]
    fn a_sequence_starts_at_the_named_task() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(from(ENTRIES, &[]).unwrap().len(), ENTRIES.len());
        let left = from(ENTRIES, &words("--from timing")).unwrap();
        let lines: Vec<_> = left.iter().map(Entry::to_string).collect();
        assert_eq!(lines, ["cargo xtask timing --quick", "cargo xtask fuzz"]);
        for wrong in ["--from", "timing", "--from load", "--from nothing"] {
            assert_eq!(from(ENTRIES, &words(wrong)).err().unwrap().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn arguments_for_a_task_without_any_are_an_error() {
        let workspace = Workspace::find().unwrap();
        let format = tasks::find("format").unwrap();
        let error = task(&workspace, format, &["x".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "task `format` takes no arguments, got `x`");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_failed_command_ends_the_task_and_is_named() {
        let workspace = Workspace::find().unwrap();
        const STEPS: &[Step] = &[run("true"), run("false {args}"), run("no-such-program-here")];
        let failing = Task { name: "failing", usage: "[ARGS]", steps: STEPS, ..Task::BARE };
        let error = task(&workspace, &failing, &["a b".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "command failed (exit status: 1): false 'a b'");
        assert_eq!(error.exit_code(), 1);
    }
}
