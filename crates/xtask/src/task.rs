//! The parts that tasks are made of.

use std::fmt;

use crate::command::Command;
use crate::error::Error;
use crate::needs::Need;
use crate::workspace::Workspace;

/// One task of `cargo xtask`.
pub(crate) struct Task {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// The arguments as a usage line shows them; empty if the task takes none.
    pub(crate) usage: &'static str,
    /// The arguments if none are given, separated by spaces.
    pub(crate) default: &'static str,
    /// A description that fits on a line, as an imperative.
    pub(crate) about: &'static str,
    /// More for `cargo xtask help TASK`; may be empty.
    pub(crate) details: &'static str,
    /// The tools beyond Rust and a C compiler.
    pub(crate) needs: &'static [Need],
    /// The steps, in the order in which they run.
    pub(crate) steps: &'static [Step],
}

/// One step of a task.
pub(crate) enum Step {
    /// A fixed command line. `{target}` stands for the folder of build results, `{args}` for the
    /// arguments of the task.
    Run {
        /// Additional environment variables.
        env: &'static [(&'static str, &'static str)],
        /// The words, separated by spaces.
        words: &'static str,
    },
    /// Command lines that depend on the crates of the workspace or on the arguments.
    RunEach(fn(&Workspace, &[String]) -> Result<Vec<Command>, Error>),
    /// Work of this program itself.
    Check {
        /// A description, as an imperative.
        about: &'static str,
        /// The work.
        work: fn(&Workspace, &[String]) -> Result<(), Error>,
    },
    /// Other tasks, one after the other, with a table of their times at the end.
    Sequence(&'static [Entry]),
}

/// A task in a sequence, with its arguments.
pub(crate) struct Entry {
    /// Additional environment variables.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// The name of the task.
    pub(crate) task: &'static str,
    /// The arguments, separated by spaces.
    pub(crate) args: &'static str,
}

impl Task {
    /// A task without arguments, needs and details, to be completed in a table.
    pub(crate) const BARE: Self =
        Self { name: "", usage: "", default: "", about: "", details: "", needs: &[], steps: &[] };

    /// The arguments, or the task's default ones if there are none.
    pub(crate) fn or_default(&self, args: &[String]) -> Vec<String> {
        if args.is_empty() {
            return self.default.split_whitespace().map(str::to_owned).collect();
        }
        args.to_vec()
    }
}

/// Makes a step that runs a command line.
pub(crate) const fn run(words: &'static str) -> Step {
    Step::Run { env: &[], words }
}

/// Makes an entry for a task with its default arguments.
pub(crate) const fn entry(task: &'static str) -> Entry {
    Entry { env: &[], task, args: "" }
}

impl Step {
    /// The command lines that the step runs.
    pub(crate) fn commands(
        &self,
        workspace: &Workspace,
        args: &[String],
    ) -> Result<Vec<Command>, Error> {
        match self {
            Self::Run { env, words } => Ok(vec![fill(words, env, workspace, args)?]),
            Self::RunEach(make) => make(workspace, args),
            Self::Check { .. } | Self::Sequence(_) => Ok(Vec::new()),
        }
    }
}

/// Makes a command from a line of a table.
fn fill(
    words: &str,
    env: &[(&str, &str)],
    workspace: &Workspace,
    args: &[String],
) -> Result<Command, Error> {
    let mut filled = Vec::new();
    for word in words.split_whitespace() {
        if word == "{args}" {
            filled.extend(args.iter().cloned());
        } else if word.contains("{target}") {
            filled.push(word.replace("{target}", &workspace.target()?));
        } else {
            filled.push(word.to_owned());
        }
    }
    // without arguments there is nothing to separate
    filled.pop_if(|last| last == "--");
    let mut filled = filled.into_iter();
    let command = Command::new(filled.next().unwrap_or_default()).args(filled);
    Ok(env.iter().fold(command, |command, (name, value)| command.env(*name, *value)))
}

/// Writes the entry as a command line.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.env {
            write!(f, "{name}={value} ")?;
        }
        write!(f, "cargo xtask {}", self.task)?;
        if self.args.is_empty() { Ok(()) } else { write!(f, " {}", self.args) }
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_separator_without_arguments_is_left_out() {
        let workspace = Workspace::find().unwrap();
        let words = "cargo bench --bench timing -- {args}";
        let bare = fill(words, &[], &workspace, &[]).unwrap().to_string();
        assert_eq!(bare, "cargo bench --bench timing");
        let quick = fill(words, &[], &workspace, &["--quick".to_owned()]).unwrap().to_string();
        assert_eq!(quick, "cargo bench --bench timing -- --quick");
    }

    #[test]
    fn the_target_folder_is_filled_in() {
        let workspace = Workspace::find().unwrap();
        let target = workspace.target().unwrap();
        let command = fill("run {target}/release/x", &[("A", "b c")], &workspace, &[]).unwrap();
        assert_eq!(command.to_string(), format!("A='b c' run {target}/release/x"));
    }
}
