//! The contents of the package `sip-authz`.

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// Folders at the root of the repository that the package must not hold.
const LEFT_OUT: [&str; 5] = [".cargo", ".ci", "crates", "fuzz", "tests"];

/// Fails if the package holds files that only the repository needs.
pub(crate) fn check_files(workspace: &Workspace, _: &[String]) -> Result<(), Error> {
    let words = "cargo package --locked --list --allow-dirty -p sip-authz";
    let count = judge(&Command::words(words).output(workspace)?)?;
    anstream::println!("files: {count}");
    Ok(())
}

/// Counts the files of a listing.
fn judge(listing: &str) -> Result<usize, Error> {
    let is_left_out =
        |path: &&str| LEFT_OUT.iter().any(|folder| path.split('/').next() == Some(folder));
    let wrong: Vec<_> = listing.lines().filter(is_left_out).collect();
    match wrong.first() {
        None => Ok(listing.lines().count()),
        Some(first) => Err(Error::Check(format!(
            "the package sip-authz must not hold {first} ({} such files); \
             see `include` and `exclude` in Cargo.toml",
            wrong.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_repository_are_errors() {
        assert_eq!(judge(".cargo_vcs_info.json\nCargo.toml\nsrc/tests/a.rs\n").unwrap(), 3);
        for path in ["tests/a.rs", "crates/arch/src/lib.rs", ".ci/run", ".cargo/config.toml"] {
            let error = judge(&format!("Cargo.toml\n{path}\n")).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }
}
