//! The tables of tasks. To add a task, add a [`Task`] to the table of its group.

mod checks;
mod ci;
mod everything;
mod interop;
mod measure;
mod tests;

use crate::error::Error;
use crate::needs::Need;
use crate::task::{Step, Task};

/// The groups of tasks, with their headings.
pub(crate) const GROUPS: [(&str, &[Task]); 5] = [
    ("Everything", everything::TASKS),
    ("Checks", checks::TASKS),
    ("Tests", tests::TASKS),
    ("Other programs", interop::TASKS),
    ("Measurements", measure::TASKS),
];

/// All tasks.
pub(crate) fn all() -> impl Iterator<Item = &'static Task> {
    GROUPS.iter().flat_map(|(_, tasks)| tasks.iter())
}

/// Finds a task, or names the nearest one.
pub(crate) fn find(name: &str) -> Result<&'static Task, Error> {
    all().find(|task| task.name == name).ok_or_else(|| {
        let nearest = all().min_by_key(|task| distance(task.name, name));
        let nearest = nearest.map_or("help", |task| task.name);
        Error::Usage(format!("unknown task `{name}`; the nearest is `{nearest}`"))
    })
}

/// The needs of tasks and of the tasks that these run, each once.
pub(crate) fn needs(tasks: &[&'static Task]) -> Result<Vec<Need>, Error> {
    let mut needs = Vec::new();
    for task in tasks {
        needs.extend_from_slice(task.needs);
        for step in task.steps {
            if let Step::Sequence(entries) = step {
                for entry in *entries {
                    needs.extend_from_slice(find(entry.task)?.needs);
                }
            }
        }
    }
    needs.sort_unstable();
    needs.dedup();
    Ok(needs)
}

/// The Levenshtein distance of two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.windows(2)) {
            let [diagonal, up] = above else { continue };
            left = (diagonal + usize::from(x != *y)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod unit_tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::needs::{CARGO_DENY, CARGO_MUTANTS, STRACE};
    use crate::workspace::Workspace;

    #[test]
    fn an_unknown_task_names_the_nearest() {
        assert_eq!(distance("lint", "lint"), 0);
        assert_eq!(distance("lint", "lnit"), 2);
        assert_eq!(distance("", "abc"), 3);
        let error = find("fromat").err().unwrap();
        assert_eq!(error.to_string(), "unknown task `fromat`; the nearest is `format`");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn tasks_have_distinct_names_and_texts() {
        let names: BTreeSet<_> = all().map(|task| task.name).collect();
        assert_eq!(names.len(), all().count());
        for task in all() {
            assert!(!task.about.is_empty() && task.about.len() < 70, "{}", task.name);
            assert!(!task.about.ends_with('.'), "{}", task.name);
            assert!(!task.steps.is_empty(), "{}", task.name);
            assert!(task.default.is_empty() || !task.usage.is_empty(), "{}", task.name);
        }
    }

    #[test]
    fn arguments_replace_the_default_ones() {
        let workspace = Workspace::find().unwrap();
        let fuzz = find("fuzz").unwrap();
        let line = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let step = fuzz.steps.first().unwrap();
            let commands = step.commands(&workspace, &fuzz.or_default(&args)).unwrap();
            commands.first().unwrap().to_string()
        };
        assert_eq!(line(&[]), "fuzz/run.sh 60");
        assert_eq!(line(&["5", "request"]), "fuzz/run.sh 5 request");
    }

    #[test]
    fn ci_needs_the_tools_of_its_tasks() {
        let needs_of = |name| needs(&[find(name).unwrap()]).unwrap();
        let ci = needs_of("ci");
        assert!(ci.contains(&CARGO_DENY) && ci.contains(&STRACE));
        assert!(!ci.contains(&CARGO_MUTANTS));
        assert_eq!(needs_of("mutants"), [CARGO_MUTANTS]);
    }
}
