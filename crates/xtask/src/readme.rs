//! The commands of README.md.

use std::fs;

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// The test command of README.md.
pub(crate) fn test_command(workspace: &Workspace, _: &[String]) -> Result<Vec<Command>, Error> {
    let path = workspace.root().join("README.md");
    let text = fs::read_to_string(path).map_err(Error::io("read README.md"))?;
    let line = first_test_line(&text).ok_or_else(|| {
        let expected = "expected a line that begins with `cargo test` in an sh block";
        Error::Check(format!("{expected} of README.md, found none"))
    })?;
    if line.contains(['\'', '"', '\\', '$', '&', '|', ';']) {
        return Err(Error::Check(format!("expected words without shell syntax, got `{line}`")));
    }
    Ok(vec![Command::words(line)])
}

/// The first line of an `sh` block that begins with `cargo test`, without its comment.
fn first_test_line(text: &str) -> Option<&str> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let is_test = |line: &&str| line.split_whitespace().take(2).eq(["cargo", "test"]);
    let line = blocks.flat_map(str::lines).find(is_test)?;
    Some(line.split(" #").next().unwrap_or(line).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_test_command_counts() {
        let text = "# A\n\n```sh\ncargo run -- serve   # an edge\ncargo test --all   # quick\n```\n\
                    ```sh\ncargo test --other\n```\n";
        assert_eq!(first_test_line(text), Some("cargo test --all"));
        let later = "```sh\nls\n```\n\ncargo test --no\n\n```sh\ncargo test\n```\n";
        assert_eq!(first_test_line(later), Some("cargo test"));
        for none in ["cargo test", "```rust\ncargo test\n```\n", "```sh\ncargo tests\n```\n"] {
            assert_eq!(first_test_line(none), None, "{none}");
        }
    }

    #[test]
    fn the_readme_of_this_repository_has_one() {
        assert_eq!(test_command(&Workspace::find().unwrap(), &[]).unwrap().len(), 1);
    }
}
