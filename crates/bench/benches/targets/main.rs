//! Measures every target of speed, memory and allocation in one run: `cargo bench --bench targets`.
//!
//! Prints a line for each: name, measured value, target, `ok` or `MISS`, and a note. Ratios compare
//! with a primitive measured in turn with the subject, so they hold on other and on busy machines.
//! Times that depend on memory are compared with a cache miss measured in the same run.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

mod address;
mod digest;
mod prefix;
mod probes;
mod report;
mod size;

use std::process::ExitCode;

use report::{Options, Report};

const HELP: &str = "\
Measures every target, and prints `name measured target ok|MISS` for each.

Usage: cargo bench --bench targets -- [OPTIONS] [PART OF A NAME]...

Options:
  --check      exit with 1 if a target is missed
  --full       publish with 10,000,000 credentials in force instead of 1,000,000 (4 GB, some minutes)
  --only NAME  measure only the target with this name (repeatable)
  --list       print the names and exit
  --help       print this help
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = &arguments[..]
        && first == "--probe"
    {
        return probes::run(name);
    }
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("unknown argument: {unknown}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let report = &mut Report::new(options);
    digest::measure(report);
    prefix::measure(report);
    probes::measure(report);
    size::measure(report);
    if report.wants(&["kamailio"]) {
        report.absent("kamailio", "measured by crates/bench/kamailio/run.sh");
    }
    report.finish()
}
