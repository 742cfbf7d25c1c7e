//! The lines of the report, and how two things are measured beside each other.

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How many rounds a ratio is the median of.
const ROUNDS: usize = 41;
/// How often both are measured in a round, in turn; the fastest of each counts.
const TURNS: usize = 3;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) check: bool,
    pub(crate) full: bool,
    pub(crate) help: bool,
    list: bool,
    /// Not by `cargo bench`: everything is small, to see that it works.
    pub(crate) small: bool,
    only: Vec<String>,
    parts: Vec<String>,
}

impl Options {
    /// # Errors
    ///
    /// The argument that is not known.
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
                    None => return Err("--only without a name".to_owned()),
                },
                other if other.starts_with('-') => return Err(other.to_owned()),
                _ => options.parts.push(argument),
            }
        }
        Ok(options)
    }
}

/// What must hold of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// What a figure is counted in; also how it is written.
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

/// Two things measured in turn.
pub(crate) struct Beside {
    /// The median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// Nanoseconds of the first and of the second, medians too.
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

    /// Whether one of these is asked for. With `--list` they are printed, and none is.
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

    /// The line of a figure.
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

    /// The line of what cannot be measured here.
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

    /// The first beside the second, which give the nanoseconds that one piece of theirs took.
    pub(crate) fn beside(
        &self,
        mut first: impl FnMut() -> f64,
        mut second: impl FnMut() -> f64,
    ) -> Beside {
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
        Beside { ratio: median(ratios), first: median(firsts), second: median(seconds) }
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

/// Nanoseconds for each of `count`.
pub(crate) fn ns_each(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count.max(1) as f64
}
