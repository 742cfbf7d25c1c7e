//! The options of the decision log.

use std::convert::Infallible;

use sip_authz::Sampling;

use crate::observe::audit::{AuditOptions, LogSink, Rotation};
use crate::observe::limits::Rates;

/// The options of the decision log.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DecisionLogArgs {
    /// Append each decision to this file as a line of JSON; `-` is stdout, SIGUSR1 reopens the file
    #[arg(id = "decision_log", long = "decision-log", value_name = "FILE", value_parser = sink)]
    sink: Option<LogSink>,

    /// Include the personal fields in the decision log: addresses, user names and other texts of callers
    #[arg(id = "decision_log_names", long = "decision-log-names", requires = "decision_log")]
    names: bool,

    /// Log all decisions (`decisions`), only rejections (`refused`), or one of N (`1/N`)
    #[arg(id = "decision_log_sampling", long = "decision-log-sampling", requires = "decision_log")]
    #[arg(value_name = "decisions|refused|1/N", default_value = "decisions", value_parser = sampling)]
    sampling: Sampling,

    /// Maximum number of lines a second for each reason of a challenge, rejection or retransmission;
    /// further ones are counted in a line a second
    #[arg(id = "decision_log_rate", long = "decision-log-rate", requires = "decision_log")]
    #[arg(value_name = "N|unlimited", default_value = "10", value_parser = rate)]
    rate: Limit<u32>,

    /// Maximum number of lines a second for the accepted calls of each account, after a burst of as many
    /// as in a minute; further ones are counted in a line a second
    #[arg(id = "decision_log_account_rate", long = "decision-log-account-rate")]
    #[arg(requires = "decision_log")]
    #[arg(value_name = "N|unlimited", default_value = "100", value_parser = rate)]
    account_rate: Limit<u32>,

    /// Maximum size of the file, for example 512M, at least 64K. A full file is renamed to
    /// FILE.old.1, that one to FILE.old.2 and so on. Pipes and devices have no limit
    #[arg(id = "decision_log_size", long = "decision-log-size", requires = "decision_log")]
    #[arg(value_name = "SIZE|unlimited", default_value = "256M", value_parser = size)]
    size: Limit<u64>,

    /// Number of full files to keep; the oldest one is replaced
    #[arg(id = "decision_log_keep", long = "decision-log-keep", requires = "decision_log")]
    #[arg(value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=999))]
    keep: u32,

    /// Number of decisions that may wait to be written, of 512 bytes each; further ones are dropped and
    /// counted
    #[arg(id = "decision_log_queue", long = "decision-log-queue", requires = "decision_log")]
    #[arg(value_name = "N", default_value_t = 32_768)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    queue: u32,
}

/// A number or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit<T>(pub(crate) Option<T>);

impl DecisionLogArgs {
    /// The settings of the decision log, if there is one.
    pub(crate) fn options(&self) -> Option<AuditOptions> {
        let sink = self.sink.clone()?;
        let keep = self.keep;
        Some(AuditOptions {
            sink,
            queue: usize::try_from(self.queue).unwrap_or(usize::MAX),
            names: self.names,
            sampling: self.sampling,
            rates: Rates { reason: self.rate.0, account: self.account_rate.0 },
            rotation: self.size.0.map(|size| Rotation { size, keep }),
        })
    }
}

fn sink(text: &str) -> Result<LogSink, Infallible> {
    Ok(if text == "-" { LogSink::Stdout } else { LogSink::File(text.into()) })
}

/// Reads a number of lines a second.
pub(super) fn rate(text: &str) -> Result<Limit<u32>, &'static str> {
    match text {
        "unlimited" => Ok(Limit(None)),
        _ => match text.parse() {
            Ok(rate @ 1..) => Ok(Limit(Some(rate))),
            _ => Err("expected `unlimited` or a number of 1 or more"),
        },
    }
}

/// The minimum size of a file in bytes. A write is shorter, so that it fits into an empty file.
const MIN_SIZE: u64 = 64 << 10;

fn size(text: &str) -> Result<Limit<u64>, &'static str> {
    const EXPECTED: &str = "expected `unlimited` or a size such as 64K, 512M or 2G, at least 64K";
    if text == "unlimited" {
        return Ok(Limit(None));
    }
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
    let found = units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = found.ok_or(EXPECTED)?;
    let number: u32 = number.parse().map_err(|_| EXPECTED)?;
    match u64::from(number) * unit {
        size @ MIN_SIZE.. => Ok(Limit(Some(size))),
        _ => Err(EXPECTED),
    }
}

/// Reads which decisions a log has.
pub(super) fn sampling(text: &str) -> Result<Sampling, &'static str> {
    if text == "decisions" {
        return Ok(Sampling::All);
    }
    text.parse().map_err(|_| "expected `decisions`, `refused`, `1/N` or `none`")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parse(more: &[&str]) -> Result<Option<AuditOptions>, String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok(args.decision_log.options()),
            _ => panic!("another command"),
        }
    }

    fn rates(reason: Option<u32>, account: Option<u32>) -> Rates {
        Rates { reason, account }
    }

    #[test]
    fn defaults_are_as_documented_and_options_change_them() {
        assert!(parse(&[]).unwrap().is_none());
        let options = parse(&["--decision-log=-"]).unwrap().unwrap();
        assert_eq!(
            (&options.sink, options.queue, options.names),
            (&LogSink::Stdout, 32_768, false)
        );
        assert_eq!((options.sampling, options.rates), (Sampling::All, rates(Some(10), Some(100))));
        assert_eq!(options.rotation, Some(Rotation { size: 256 << 20, keep: 8 }));
        let given = [
            "--decision-log=a.json",
            "--decision-log-names",
            "--decision-log-sampling=refused",
            "--decision-log-rate=7",
            "--decision-log-account-rate=8",
            "--decision-log-size=64K",
            "--decision-log-keep=2",
            "--decision-log-queue=9",
        ];
        let options = parse(&given).unwrap().unwrap();
        assert_eq!(options.sink, LogSink::File("a.json".into()));
        assert_eq!((options.queue, options.names), (9, true));
        assert_eq!((options.sampling, options.rates), (Sampling::Refused, rates(Some(7), Some(8))));
        assert_eq!(options.rotation, Some(Rotation { size: 64 << 10, keep: 2 }));
        for option in given.iter().skip(1) {
            assert!(parse(&[option]).is_err(), "{option} without --decision-log");
        }
        let unlimited = [
            "--decision-log=-",
            "--decision-log-rate=unlimited",
            "--decision-log-account-rate=unlimited",
            "--decision-log-size=unlimited",
        ];
        let options = parse(&unlimited).unwrap().unwrap();
        assert_eq!((options.rates, options.rotation), (rates(None, None), None));
    }

    #[test]
    fn sizes_and_rates_are_numbers_or_unlimited() {
        assert_eq!(size("2G"), Ok(Limit(Some(2 << 30))));
        assert_eq!(size("4294967295G"), Ok(Limit(Some(4_294_967_295 << 30))));
        for wrong in ["", "K", "64", "63K", "0M", "-1M", "64k", "1.5M", "64KB", "4294967296G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate("4294967295"), Ok(Limit(Some(u32::MAX))));
        for wrong in ["", "0", "-1", "1.5", "4294967296", "none"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
