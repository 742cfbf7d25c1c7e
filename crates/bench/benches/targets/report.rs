//! The lines of the report, and the comparison of two measurements.

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The number of rounds, of which a ratio is the median.
const ROUNDS: usize = 41;
/// The measurements of each subject in a round, in turn. The fastest counts.
const TURNS: usize = 3;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) check: bool,
    pub(crate) full: bool,
    pub(crate) help: bool,
    list: bool,
    /// Whether to use small sizes, as a test without `cargo bench`.
    pub(crate) small: bool,
    only: Vec<String>,
    parts: Vec<String>,
}

impl Options {
    /// # Errors
    ///
    /// The unknown argument.
    pub(crate) fn read(arguments: Vec<String>) -> Result<Self, String> {
        let mut options = Self { small: true, ..Self::default() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--check" => options.check = true,
                "--full" => options.full = true,
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                "--bench" => options.small = false,
                "--only" => match arguments.next() {
                    Some(name) => options.only.push(name),
                    None => return Err("--only needs a name".to_owned()),
                },
                other if other.starts_with('-') => return Err(other.to_owned()),
                _ => options.parts.push(argument),
            }
        }
        Ok(options)
    }
}

/// The condition for a value.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// The unit of a value, which determines its format.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Ratio,
    Ns,
    Us,
    Seconds,
    Bytes,
    Count,
}

impl Unit {
    fn write(self, figure: f64) -> String {
        match self {
            Self::Ratio => format!("{figure:.2}x"),
            Self::Ns => format!("{figure:.1}ns"),
            Self::Us => format!("{figure:.1}us"),
            Self::Seconds => format!("{figure:.2}s"),
            Self::Bytes => format!("{figure:.0}B"),
            Self::Count => format!("{figure:.0}"),
        }
    }
}

/// The comparison of two measurements.
pub(crate) struct Comparison {
    /// The median of the ratios of all rounds.
    pub(crate) ratio: f64,
    /// The median nanoseconds of the first and of the second.
    pub(crate) first: f64,
    pub(crate) second: f64,
}

pub(crate) struct Report {
    pub(crate) options: Options,
    missed: Vec<String>,
    colour: bool,
    began: Instant,
}

impl Report {
    pub(crate) fn new(options: Options) -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { options, missed: Vec::new(), colour, began: Instant::now() }
    }

    /// Whether to measure one of these. With `--list` it prints the names and returns false.
    pub(crate) fn wants(&self, names: &[&str]) -> bool {
        let asked: Vec<_> = names.iter().filter(|name| self.is_asked_for(name)).collect();
        if self.options.list {
            asked.iter().for_each(|name| println!("{name}"));
            return false;
        }
        if let Some(first) = asked.first()
            && stderr().is_terminal()
        {
            eprint!("\r\x1b[K{:>4} s  {first}", self.began.elapsed().as_secs());
        } else if let Some(first) = asked.first() {
            eprintln!("{:>4} s  {first}", self.began.elapsed().as_secs());
        }
        !asked.is_empty()
    }

    pub(crate) fn is_listing(&self) -> bool {
        self.options.list
    }

    pub(crate) fn is_asked_for(&self, name: &str) -> bool {
        let Options { only, parts, .. } = &self.options;
        (only.is_empty() || only.iter().any(|it| it == name))
            && (parts.is_empty() || parts.iter().any(|part| name.contains(part)))
    }

    /// Prints the line of a measured value.
    pub(crate) fn line(&mut self, name: &str, unit: Unit, figure: f64, target: Target, note: &str) {
        let (is_met, sign, limit) = match target {
            Target::AtMost(limit) => (figure <= limit, "<=", limit),
            Target::AtLeast(limit) => (figure >= limit, ">=", limit),
        };
        let verdict = if is_met { "ok" } else { "MISS" };
        if !is_met && self.is_asked_for(name) {
            self.missed.push(name.to_owned());
        }
        let target = format!("{sign}{}", unit.write(limit));
        self.print(name, &unit.write(figure), &target, verdict, note);
    }

    /// Prints the line of a target that cannot be measured here.
    pub(crate) fn absent(&self, name: &str, why: &str) {
        self.print(name, "not-measured", "", "-", why);
    }

    fn print(&self, name: &str, measured: &str, target: &str, verdict: &str, note: &str) {
        if !self.is_asked_for(name) {
            return;
        }
        if stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let (on, off) = match verdict {
            "ok" if self.colour => ("\x1b[32m", "\x1b[0m"),
            "MISS" if self.colour => ("\x1b[1;31m", "\x1b[0m"),
            _ => ("", ""),
        };
        let line = format!("{name:<30} {measured:>12} {target:>11} {on}{verdict:<4}{off}  {note}");
        println!("{}", line.trim_end());
    }

    /// Compares two measurements, which return nanoseconds per operation.
    pub(crate) fn compare(
        &self,
        mut first: impl FnMut() -> f64,
        mut second: impl FnMut() -> f64,
    ) -> Comparison {
        let rounds = if self.options.small { 1 } else { ROUNDS };
        let (mut ratios, mut firsts, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
        first();
        second();
        for _ in 0..rounds {
            let mut fastest = [f64::INFINITY; 2];
            for _ in 0..TURNS {
                fastest[0] = fastest[0].min(first());
                fastest[1] = fastest[1].min(second());
            }
            ratios.push(fastest[0] / fastest[1]);
            firsts.push(fastest[0]);
            seconds.push(fastest[1]);
        }
        Comparison { ratio: median(ratios), first: median(firsts), second: median(seconds) }
    }

    pub(crate) fn finish(&self) -> ExitCode {
        if self.options.list {
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "measured in {} s; missed: {}",
            self.began.elapsed().as_secs(),
            self.missed.len()
        );
        let fails = self.options.check && !self.missed.is_empty();
        if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds per operation, for `count` operations.
pub(crate) fn ns_each(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count.max(1) as f64
}
