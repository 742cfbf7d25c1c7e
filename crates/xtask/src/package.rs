//! The packages of the published crates.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// Folders at the root of the repository that the package must not hold.
const LEFT_OUT: [&str; 6] = [".cargo", ".ci", "crates", "examples", "fuzz", "tests"];

/// Fails if the package holds files that only the repository needs.
pub(crate) fn check_files(workspace: &Workspace, _: &[String]) -> Result<(), Error> {
    let words = "cargo package --locked --list --allow-dirty -p sip-authz";
    let count = judge(&Command::words(words).output(workspace)?)?;
    anstream::println!("files: {count}");
    Ok(())
}

/// Removes the copies of the published crates that cargo unpacked in an earlier run.
///
/// Cargo builds the packages against each other from a registry in the target folder. It does not unpack a
/// version again that it has unpacked once for the same path, although the package has changed.
pub(crate) fn remove_unpacked(workspace: &Workspace, _: &[String]) -> Result<(), Error> {
    let published = workspace.published()?;
    let names: Vec<_> =
        published.iter().map(|package| format!("{}-{}", package.name, package.version)).collect();
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(env::home_dir()?.join(".cargo"))) else {
        return Ok(());
    };
    let count = remove_from(&home.join("registry/src"), &names)
        .map_err(Error::io("remove unpacked copies"))?;
    anstream::println!("copies: {count}");
    Ok(())
}

/// Removes the folders `names` from each registry in a folder that has no host. Returns their number.
fn remove_from(registries: &Path, names: &[String]) -> io::Result<usize> {
    let entries = match fs::read_dir(registries) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for registry in entries {
        let registry = registry?;
        // the name is host, hyphen and hash; a registry in a folder has no host
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for copy in names.iter().map(|name| registry.path().join(name)) {
            if copy.is_dir() {
                fs::remove_dir_all(copy)?;
                count += 1;
            }
        }
    }
    Ok(count)
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
    fn unpacked_copies_of_registries_in_folders_are_removed() {
        let root = env::temp_dir().join(format!("unpacked-{}", std::process::id()));
        let folders =
            ["-1f/ours-0.1.0/src", "-1f/ours-0.2.0", "-2e/other-0.1.0", "host-3/ours-0.1.0"];
        for folder in folders {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let names = ["ours-0.1.0".to_owned(), "mine-0.1.0".to_owned()];
        let count = remove_from(&root, &names).unwrap();
        let left = folders.map(|folder| root.join(folder).exists());
        fs::remove_dir_all(&root).unwrap();
        assert_eq!((count, left), (1, [false, true, true, true]));
        assert_eq!(remove_from(&root, &names).unwrap(), 0);
    }

    #[test]
    fn files_of_the_repository_are_errors() {
        assert_eq!(judge(".cargo_vcs_info.json\nCargo.toml\nsrc/tests/a.rs\n").unwrap(), 3);
        for path in [
            "tests/a.rs",
            "crates/arch/src/lib.rs",
            "examples/ezk/src/main.rs",
            ".ci/run",
            ".cargo/config.toml",
        ] {
            let error = judge(&format!("Cargo.toml\n{path}\n")).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }

    #[test]
    fn the_image_is_built_with_the_pinned_toolchain() {
        let root = crate::workspace::Workspace::find().unwrap().root().to_owned();
        let read = |path| fs::read_to_string(root.join(path)).unwrap();
        let (pinned, image) = (read("rust-toolchain.toml"), read("packaging/Dockerfile"));
        let channel = pinned.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
        let version = image.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION="));
        assert_eq!(version, Some(channel.trim_matches('"')));
    }
}
