//! The benches and their commands.

use crate::command::Command;
use crate::error::Error;
use crate::workspace::Workspace;

/// A bench of the workspace.
struct Bench {
    name: &'static str,
    package: &'static str,
    /// Whether criterion has measured rows that `ratios.py` compares with their bare hashing.
    ratios: bool,
}

impl Bench {
    const fn new(package: &'static str, name: &'static str) -> Self {
        Self { name, package, ratios: false }
    }
}

/// The package of the library.
const LIBRARY: &str = "sip-authz";
/// The package of the benches that cross crates.
const CROSSING: &str = "sip-authz-bench";
/// The package of the rules of forwarding.
const PROXY: &str = "sip-authz-proxy";

/// All benches.
const BENCHES: [Bench; 14] = [
    Bench { ratios: true, ..Bench::new(LIBRARY, "authorize") },
    Bench { ratios: true, ..Bench::new(LIBRARY, "batch") },
    Bench::new(LIBRARY, "datagram"),
    Bench::new(LIBRARY, "hash"),
    Bench::new(LIBRARY, "instructions"),
    Bench::new(LIBRARY, "memory"),
    Bench::new(LIBRARY, "timing"),
    Bench::new(PROXY, "forward"),
    Bench::new(CROSSING, "fleet"),
    Bench::new(CROSSING, "observe"),
    Bench::new(CROSSING, "prefix"),
    Bench::new(CROSSING, "publish"),
    Bench::new(CROSSING, "rest"),
    Bench::new(CROSSING, "targets"),
];

/// The commands of all benches, or of the one that the first argument names.
pub(crate) fn commands(_: &Workspace, args: &[String]) -> Result<Vec<Command>, Error> {
    let Some((name, args)) = args.split_first() else {
        return Ok(BENCHES.iter().flat_map(|bench| command(bench, &[])).collect());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name).ok_or_else(|| {
        let names: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        Error::Usage(format!("unknown bench `{name}`; expected one of {}", names.join(", ")))
    })?;
    Ok(command(bench, args))
}

fn command(bench: &Bench, args: &[String]) -> Vec<Command> {
    let mut command = Command::words("cargo bench --locked -p").arg(bench.package);
    command = command.args(["--bench", bench.name]);
    if !args.is_empty() {
        command = command.arg("--").args(args.iter().cloned());
    }
    let ratios = bench.ratios.then(|| Command::words("python3 benches/ratios.py"));
    [command].into_iter().chain(ratios).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(args: &[&str]) -> Result<Vec<String>, Error> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let commands = commands(&Workspace::find()?, &args)?;
        Ok(commands.iter().map(Command::to_string).collect())
    }

    #[test]
    fn one_bench_gets_the_arguments() {
        let observe = lines(&["observe", "--quick"]).unwrap();
        let expected = "cargo bench --locked -p sip-authz-bench --bench observe -- --quick";
        assert_eq!(observe, [expected]);
        let error = lines(&["speed"]).unwrap_err();
        assert!(error.to_string().starts_with("unknown bench `speed`; expected one of authorize"));
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn ratios_follow_the_benches_with_bare_hashing() {
        let all = lines(&[]).unwrap();
        assert_eq!(all.len(), BENCHES.len() + 2);
        assert_eq!(all.iter().filter(|line| line.ends_with("benches/ratios.py")).count(), 2);
    }
}
