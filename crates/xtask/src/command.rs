//! One command line: printed, run and timed.

use std::fmt;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::print;
use crate::workspace::Workspace;

/// A program with its arguments and additional environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    env: Vec<(String, String)>,
    program: String,
    args: Vec<String>,
}

impl Command {
    /// Makes a command without arguments.
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self { env: Vec::new(), program: program.into(), args: Vec::new() }
    }

    /// Makes a command from words that are separated by spaces. There is no quoting.
    pub(crate) fn words(line: &str) -> Self {
        let mut words = line.split_whitespace();
        Self::new(words.next().unwrap_or_default()).args(words)
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Prints the command, runs it in the root of the repository and prints the time it took.
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<(), Error> {
        print::command(self);
        let start = Instant::now();
        let status =
            self.process(workspace).status().map_err(Error::io(format!("run {}", self.program)))?;
        print::duration(start.elapsed());
        self.check(status)
    }

    /// Runs the command silently and returns its standard output. Standard error is inherited.
    pub(crate) fn output(&self, workspace: &Workspace) -> Result<String, Error> {
        let output = self
            .process(workspace)
            .stderr(Stdio::inherit())
            .output()
            .map_err(Error::io(format!("run {}", self.program)))?;
        self.check(output.status)?;
        String::from_utf8(output.stdout)
            .map_err(|_| Error::Check(format!("expected UTF-8 from: {self}")))
    }

    /// Runs the command without any output, and returns whether it succeeded.
    pub(crate) fn succeeds(&self, workspace: &Workspace) -> bool {
        let mut process = self.process(workspace);
        process.stdout(Stdio::null()).stderr(Stdio::null());
        process.status().is_ok_and(|status| status.success())
    }

    fn check(&self, status: std::process::ExitStatus) -> Result<(), Error> {
        if status.success() {
            return Ok(());
        }
        Err(Error::Command { command: self.to_string(), status: status.to_string() })
    }

    fn process(&self, workspace: &Workspace) -> Process {
        let mut process = Process::new(&self.program);
        process.args(&self.args).current_dir(workspace.root()).stdin(Stdio::null());
        workspace.prepare(&mut process);
        process.envs(self.env.iter().map(|(name, value)| (name, value)));
        process
    }
}

/// Writes the command as a line that can be pasted into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// Puts a word in quotes if a shell would split or change it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_with_its_environment_and_quotes() {
        let command = Command::words("cargo doc --no-deps").env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(command.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
        assert_eq!(Command::new("echo").arg("it's").to_string(), r"echo 'it'\''s'");
        assert_eq!(Command::new("echo").arg("").to_string(), "echo ''");
    }
}
