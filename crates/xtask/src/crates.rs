//! Commands that depend on the crates of the repository.

use std::path::Path;

use cargo_metadata::Package;

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// `cargo fmt --check` for each crate outside the workspace.
pub(crate) fn format_standalone(
    workspace: &Workspace,
    _: &[String],
) -> Result<Vec<Command>, Error> {
    let manifests = standalone_manifests(workspace)?;
    let format = |manifest| Command::words("cargo fmt --check --manifest-path").arg(manifest);
    Ok(manifests.into_iter().map(format).collect())
}

/// Clippy for each crate outside the workspace. They share a folder of build results.
pub(crate) fn lint_standalone(workspace: &Workspace, _: &[String]) -> Result<Vec<Command>, Error> {
    let target = format!("{}/standalone", workspace.target()?);
    let manifests = standalone_manifests(workspace)?;
    let lint =
        |manifest| {
            Command::words("cargo clippy --locked --bins --tests --manifest-path")
                .arg(manifest)
                .args(["--target-dir", &target, "--", "-D", "warnings"])
        };
    Ok(manifests.into_iter().map(lint).collect())
}

/// cargo-deny for the workspace and each crate outside it.
pub(crate) fn deny(workspace: &Workspace, _: &[String]) -> Result<Vec<Command>, Error> {
    const CHECK: &str = "--config deny.toml check licenses bans sources";
    let whole = Command::words("cargo deny --locked --workspace --manifest-path Cargo.toml");
    let standalone = standalone_manifests(workspace)?.into_iter();
    let others = standalone
        .map(|manifest| Command::words("cargo deny --locked --manifest-path").arg(manifest));
    let all = [whole].into_iter().chain(others);
    Ok(all.map(|command| command.args(CHECK.split_whitespace())).collect())
}

/// `cargo check` for each published crate without features, and with each of its features alone.
pub(crate) fn check_each_feature(
    workspace: &Workspace,
    _: &[String],
) -> Result<Vec<Command>, Error> {
    let published = workspace.published()?;
    Ok(published.into_iter().flat_map(|package| each_feature("check", package)).collect())
}

/// `cargo doc` for each published crate without features, and with each of its features alone.
pub(crate) fn doc_each_feature(workspace: &Workspace, _: &[String]) -> Result<Vec<Command>, Error> {
    let published = workspace.published()?;
    let commands = published.into_iter().flat_map(|package| each_feature("doc", package));
    let strict = |command: Command| command.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
    Ok(commands.map(strict).collect())
}

/// A cargo command for a package without features, and with each of its features alone.
fn each_feature(subcommand: &str, package: &Package) -> Vec<Command> {
    let bare = Command::words("cargo").arg(subcommand).args([
        "--locked",
        "-p",
        package.name.as_str(),
        "--no-default-features",
    ]);
    let features = package.features.keys().filter(|feature| *feature != "default");
    let alone = features.map(|feature| bare.clone().args(["--features", feature]));
    [bare.clone()].into_iter().chain(alone).collect()
}

/// The manifests outside the workspace, such as that of fuzz, relative to the root.
fn standalone_manifests(workspace: &Workspace) -> Result<Vec<String>, Error> {
    let listing = "git ls-files --cached --others --exclude-standard -- Cargo.toml */Cargo.toml";
    let listed = Command::words(listing).output(workspace)?;
    let members = workspace.metadata()?.workspace_packages();
    let is_member =
        |path: &Path| members.iter().any(|package| package.manifest_path.as_std_path() == path);
    let manifests = listed.lines().map(|line| (line, workspace.root().join(line)));
    let standalone = manifests.filter(|(_, path)| path.exists() && !is_member(path));
    Ok(standalone.map(|(line, _)| line.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_checked_with_each_feature_alone() {
        let workspace = Workspace::find().unwrap();
        let commands = check_each_feature(&workspace, &[]).unwrap();
        let lines: Vec<_> = commands.iter().map(Command::to_string).collect();
        let bare = "cargo check --locked -p sip-authz --no-default-features";
        assert!(lines.iter().any(|line| line == bare), "{lines:?}");
        assert!(lines.contains(&format!("{bare} --features tracing")), "{lines:?}");
        assert!(!lines.contains(&format!("{bare} --features default")), "{lines:?}");
    }

    #[test]
    fn crates_outside_the_workspace_are_linted() {
        let workspace = Workspace::find().unwrap();
        let commands = lint_standalone(&workspace, &[]).unwrap();
        let fuzz = |command: &Command| command.to_string().contains("fuzz/Cargo.toml");
        assert_eq!(commands.iter().filter(|command| fuzz(command)).count(), 1);
        assert!(!commands.iter().any(|command| command.to_string().contains("path Cargo.toml")));
    }
}
