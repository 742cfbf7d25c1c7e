//! Installs the tools that tasks need.

use crate::command::Command;
use crate::error::Error;
use crate::needs::{self, Need};
use crate::tasks;
use crate::workspace::Workspace;

/// Installs the tools of the named tasks, or of `ci` if none is named.
pub(crate) fn setup(workspace: &Workspace, names: &[String]) -> Result<(), Error> {
    let tasks = if names.is_empty() {
        vec![tasks::find("ci")?]
    } else {
        names.iter().map(|name| tasks::find(name)).collect::<Result<_, _>>()?
    };
    let needs = tasks::needs(&tasks)?;
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met(workspace)).collect();

    let mut packages: Vec<_> =
        missing.iter().flat_map(|need| need.debian_packages(workspace)).collect();
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        let root = Command::words("id -u").output(workspace)?.trim() == "0";
        let apt_get = |line: &str| {
            let words = format!("env DEBIAN_FRONTEND=noninteractive apt-get {line}");
            Command::words(&if root { words } else { format!("sudo {words}") })
        };
        apt_get("update -qq").run(workspace)?;
        apt_get("install -y -qq").args(packages).run(workspace)?;
    }
    for need in missing {
        // a toolchain is for the user to choose
        if let (Need::Plugin { .. }, Some(command)) = (need, need.install_command()) {
            command.run(workspace)?;
        }
    }
    let missing = needs::missing(workspace, &needs);
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingTools(missing)) }
}
