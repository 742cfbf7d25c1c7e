//! The repository that the tasks work on.

use std::cell::OnceCell;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::error::Error;

/// Variables that `cargo run` sets for this program. Children must not inherit them: build scripts
/// watch some of them, and would run again.
const SET_BY_CARGO_RUN: [&str; 6] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
];

/// The folders where Debian keeps programs that are not on every user's path.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The repository, its crates and the environment of the commands.
pub(crate) struct Workspace {
    root: PathBuf,
    path: OsString,
    metadata: OnceCell<Metadata>,
    env: Vec<(String, String)>,
}

impl Workspace {
    /// Finds the repository from the folder of this crate, `crates/xtask`.
    pub(crate) fn find() -> Result<Self, Error> {
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = here.join("../..");
        let root = root
            .canonicalize()
            .map_err(Error::io(format!("find the folder {}", root.display())))?;
        let mut folders: Vec<PathBuf> =
            env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        for folder in SYSTEM_FOLDERS.map(PathBuf::from) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        let path = env::join_paths(folders)
            .map_err(|source| Error::Check(format!("cannot read PATH: {source}")))?;
        Ok(Self { root, path, metadata: OnceCell::new(), env: Vec::new() })
    }

    /// The same repository with additional environment variables for all commands.
    pub(crate) fn with_env(&self, env: &[(&str, &str)]) -> Self {
        let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            root: self.root.clone(),
            path: self.path.clone(),
            metadata: self.metadata.clone(),
            env: self.env.iter().cloned().chain(own).collect(),
        }
    }

    /// The root of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The output of `cargo metadata` for the crates of the workspace, without dependencies.
    pub(crate) fn metadata(&self) -> Result<&Metadata, Error> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let mut command = MetadataCommand::new();
        command.manifest_path(self.root.join("Cargo.toml")).no_deps();
        let found = command.exec()?;
        Ok(self.metadata.get_or_init(|| found))
    }

    /// The folder of build results, relative to the root where possible.
    pub(crate) fn target(&self) -> Result<String, Error> {
        let target = self.metadata()?.target_directory.as_std_path();
        Ok(target.strip_prefix(&self.root).unwrap_or(target).display().to_string())
    }

    /// The crates that are published, in the order of their names.
    pub(crate) fn published(&self) -> Result<Vec<&Package>, Error> {
        let metadata = self.metadata()?;
        let mut packages: Vec<_> = metadata.workspace_packages();
        packages.retain(|package| package.publish.as_ref().is_none_or(|to| !to.is_empty()));
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(packages)
    }

    /// Finds a program as the commands would.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// Sets the environment of a child process.
    pub(crate) fn prepare(&self, process: &mut Process) {
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if SET_BY_CARGO_RUN.contains(&&*name) || name.starts_with("CARGO_PKG_") {
                process.env_remove(&*name);
            }
        }
        process.env("PATH", &self.path);
        // a relative folder counts from where this program was started
        let target = env::var_os("CARGO_TARGET_DIR").map(std::path::absolute);
        if let Some(Ok(target)) = target {
            process.env("CARGO_TARGET_DIR", target);
        }
        process.envs(self.env.iter().map(|(name, value)| (name, value)));
    }
}
