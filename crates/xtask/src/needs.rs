//! The tools that tasks need beyond Rust and a C compiler.

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// A tool that a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A program of a Debian package.
    Debian {
        /// The name of the program.
        program: &'static str,
        /// The name of the package.
        package: &'static str,
    },
    /// Python with the modules `venv` and `ensurepip`.
    PythonVenv,
    /// `llvm-cov` of the LLVM version that rustc has.
    LlvmCov,
    /// A subcommand of cargo from crates.io.
    Plugin {
        /// The name of the crate.
        name: &'static str,
        /// The name of its program.
        program: &'static str,
        /// The version to install; the newest if there is none.
        version: Option<&'static str>,
        /// Whether to compile it without optimisation, which takes far less time.
        is_debug: bool,
    },
    /// The nightly toolchain.
    Nightly,
    /// Packages that the task itself downloads from PyPI.
    Pypi,
    /// Packages that the task itself downloads from the registry of npm.
    Npm,
}

/// A SIP phone for the command line.
pub(crate) const BARESIP: Need = debian("baresip", "baresip-core");
/// Drives Chromium.
pub(crate) const CHROMEDRIVER: Need = debian("chromedriver", "chromium-driver");
/// A browser.
pub(crate) const CHROMIUM: Need = debian("chromium", "chromium");
/// The C++ compiler, for the runtime of the fuzzer.
pub(crate) const CXX: Need = debian("c++", "g++");
/// An HTTP client.
pub(crate) const CURL: Need = debian("curl", "curl");
/// Unpacks source packages of Debian, and knows their compiler flags.
pub(crate) const DPKG_DEV: Need = debian("dpkg-source", "dpkg-dev");
/// A name server.
pub(crate) const DNSMASQ: Need = debian("dnsmasq", "dnsmasq-base");
/// The etcd server.
pub(crate) const ETCD: Need = debian("etcd", "etcd-server");
/// The etcd client.
pub(crate) const ETCDCTL: Need = debian("etcdctl", "etcd-client");
/// Network namespaces and links.
pub(crate) const IP: Need = debian("ip", "iproute2");
/// Address translation, as a NAT does it.
pub(crate) const IPTABLES: Need = debian("iptables", "iptables");
/// Another SIP server, to compare with.
pub(crate) const KAMAILIO: Need = debian("kamailio", "kamailio");
/// Runs Makefiles.
pub(crate) const MAKE: Need = debian("make", "make");
/// A runtime of JavaScript.
pub(crate) const NODE: Need = debian("node", "nodejs");
/// The package manager of that runtime.
pub(crate) const NPM: Need = debian("npm", "npm");
/// The header files of OpenSSL.
pub(crate) const LIBSSL: Need = debian("/usr/include/openssl/evp.h", "libssl-dev");
/// Certificates.
pub(crate) const OPENSSL: Need = debian("openssl", "openssl");
/// The flags of installed libraries.
pub(crate) const PKG_CONFIG: Need = debian("pkg-config", "pkgconf");
/// Prometheus and its tool for rules.
pub(crate) const PROMETHEUS: Need = debian("promtool", "prometheus");
/// The protocol buffer compiler, to build the etcd store.
pub(crate) const PROTOC: Need = debian("protoc", "protobuf-compiler");
/// Python without virtual environments.
pub(crate) const PYTHON: Need = debian("python3", "python3");
/// Checks Debian packages.
pub(crate) const LINTIAN: Need = debian("lintian", "lintian");
/// Makes a new Debian system in a folder.
pub(crate) const MMDEBSTRAP: Need = debian("mmdebstrap", "mmdebstrap");
/// A SIP load generator.
pub(crate) const SIPP: Need = debian("sipp", "sip-tester");
/// A SIP command line client.
pub(crate) const SIPSAK: Need = debian("sipsak", "sipsak");
/// A tracer of system calls.
pub(crate) const STRACE: Need = debian("strace", "strace");
/// Pins processes to processor cores.
pub(crate) const TASKSET: Need = debian("taskset", "util-linux");
/// Callgrind, which counts instructions, and Memcheck.
pub(crate) const VALGRIND: Need = debian("valgrind", "valgrind");
/// Builds and installs the C library. It needs the files of OpenSSL.
pub(crate) const CARGO_C: Need = Need::Plugin {
    name: "cargo-c",
    program: "cargo-cinstall",
    version: Some("=0.10.24"),
    is_debug: true,
};
/// Makes Debian packages.
pub(crate) const CARGO_DEB: Need = plugin("cargo-deb", Some("=3.8.0"));
/// Checks licences and sources.
pub(crate) const CARGO_DENY: Need = plugin("cargo-deny", Some("=0.20.2"));
/// Runs fuzz targets.
pub(crate) const CARGO_FUZZ: Need = plugin("cargo-fuzz", None);
/// Measures coverage.
pub(crate) const CARGO_LLVM_COV: Need = plugin("cargo-llvm-cov", None);
/// Makes mutants.
pub(crate) const CARGO_MUTANTS: Need = plugin("cargo-mutants", None);
/// Lists the public interface.
pub(crate) const CARGO_PUBLIC_API: Need = plugin("cargo-public-api", Some("0.52.0"));

const fn debian(program: &'static str, package: &'static str) -> Need {
    Need::Debian { program, package }
}

const fn plugin(name: &'static str, version: Option<&'static str>) -> Need {
    Need::Plugin { name, program: name, version, is_debug: false }
}

impl Need {
    /// Whether the tool is there. Packages from PyPI and npm count as there, as pip and npm report them.
    pub(crate) fn is_met(&self, workspace: &Workspace) -> bool {
        match self {
            Self::Debian { program, .. } => workspace.program(program).is_some(),
            Self::PythonVenv => {
                Command::words("python3 -c").arg("import ensurepip, venv").succeeds(workspace)
            }
            Self::LlvmCov => {
                std::env::var_os("LLVM_COV").is_some()
                    || workspace.program(&format!("llvm-cov-{}", llvm_version(workspace))).is_some()
                    || Command::words("rustup component list --installed")
                        .output(workspace)
                        .is_ok_and(|list| list.contains("llvm-tools"))
            }
            Self::Plugin { program, .. } => workspace.program(program).is_some(),
            Self::Nightly => Command::words("cargo +nightly --version").succeeds(workspace),
            Self::Pypi | Self::Npm => true,
        }
    }

    /// The Debian packages that bring the tool.
    pub(crate) fn debian_packages(&self, workspace: &Workspace) -> Vec<String> {
        match self {
            Self::Debian { package, .. } => vec![(*package).to_owned()],
            Self::PythonVenv => vec!["python3".to_owned(), "python3-venv".to_owned()],
            Self::LlvmCov => vec![format!("llvm-{}", llvm_version(workspace))],
            Self::Plugin { .. } | Self::Nightly | Self::Pypi | Self::Npm => Vec::new(),
        }
    }

    /// The command that installs a tool that is no Debian package.
    pub(crate) fn install_command(&self) -> Option<Command> {
        match self {
            Self::Plugin { name, version, is_debug, .. } => {
                let command = Command::words("cargo install --locked --quiet").arg(*name);
                let version = version.iter().flat_map(|version| ["--version", version]);
                Some(command.args(version).args(is_debug.then_some("--debug")))
            }
            Self::Nightly => Some(Command::words("rustup toolchain install nightly")),
            Self::Debian { .. } | Self::PythonVenv | Self::LlvmCov | Self::Pypi | Self::Npm => None,
        }
    }

    /// The tool and where it comes from, on one line.
    fn describe(&self, workspace: &Workspace) -> String {
        let name = match self {
            Self::Debian { program, .. } => (*program).to_owned(),
            Self::PythonVenv => "python3 with venv and ensurepip".to_owned(),
            Self::LlvmCov => format!("llvm-cov-{}", llvm_version(workspace)),
            Self::Plugin { name, .. } => (*name).to_owned(),
            Self::Nightly => "the nightly toolchain".to_owned(),
            Self::Pypi => "PyPI".to_owned(),
            Self::Npm => "npm".to_owned(),
        };
        let from = match self.install_command() {
            Some(command) => command.to_string(),
            None => format!("Debian: {}", self.debian_packages(workspace).join(", ")),
        };
        format!("{name} ({from})")
    }
}

/// Lists needs as a help text does: `Debian: a, b; cargo-c; nightly; PyPI`.
pub(crate) fn list(needs: &[Need]) -> String {
    let mut packages = Vec::new();
    let mut others = Vec::new();
    for need in needs {
        match need {
            Need::Debian { package, .. } => packages.push(*package),
            Need::PythonVenv => packages.push("python3-venv"),
            Need::LlvmCov => packages.push("llvm-22"),
            Need::Plugin { name, .. } => others.push(*name),
            Need::Nightly => others.push("nightly"),
            Need::Pypi => others.push("PyPI"),
            Need::Npm => others.push("npm"),
        }
    }
    let debian = (!packages.is_empty()).then(|| format!("Debian: {}", packages.join(", ")));
    debian.into_iter().chain(others.into_iter().map(str::to_owned)).collect::<Vec<_>>().join("; ")
}

/// Fails with a line for each tool that is missing.
pub(crate) fn require(workspace: &Workspace, needs: &[Need], task: &str) -> Result<(), Error> {
    let lines = missing(workspace, needs);
    if lines.is_empty() {
        return Ok(());
    }
    let hint = format!("`cargo xtask setup {task}` installs all but toolchains");
    Err(Error::MissingTools(format!("{lines}\n{hint}")))
}

/// Lists the tools that are missing, one on each line.
pub(crate) fn missing(workspace: &Workspace, needs: &[Need]) -> String {
    let missing = needs.iter().filter(|need| !need.is_met(workspace));
    let lines: Vec<_> = missing.map(|need| format!("    {}", need.describe(workspace))).collect();
    lines.join("\n")
}

/// The major version of the LLVM that rustc has, or an empty text.
fn llvm_version(workspace: &Workspace) -> String {
    let about = Command::words("rustc -vV").output(workspace).unwrap_or_default();
    let line = about.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    line.and_then(|version| version.split('.').next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_listed_by_source() {
        let needs = [CXX, CARGO_FUZZ, Need::Nightly, VALGRIND];
        assert_eq!(list(&needs), "Debian: g++, valgrind; cargo-fuzz; nightly");
        assert_eq!(list(&[]), "");
    }

    #[test]
    fn a_plugin_is_installed_with_its_version() {
        let command = CARGO_DENY.install_command().unwrap().to_string();
        assert_eq!(command, "cargo install --locked --quiet cargo-deny --version =0.20.2");
        let command = CARGO_C.install_command().unwrap().to_string();
        assert_eq!(command, "cargo install --locked --quiet cargo-c --version =0.10.24 --debug");
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let workspace = Workspace::find().unwrap();
        let need = debian("no-such-program-here", "no-such-package");
        let error = require(&workspace, &[PYTHON, need], "sipp").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no-such-program-here (Debian: no-such-package)"), "{text}");
        assert!(text.contains("cargo xtask setup sipp"), "{text}");
        assert!(!text.contains("python3"), "{text}");
        assert_eq!(error.exit_code(), 1);
    }
}
