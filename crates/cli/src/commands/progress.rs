//! Progress of long work on stderr: a bar on a terminal, a line every few seconds otherwise.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::system::output::warn;

/// The delay before a bar appears; shorter work shows none.
const QUIET: Duration = Duration::from_millis(500);
/// The interval between two drawings of a bar.
const REDRAW: Duration = Duration::from_millis(100);
/// The interval between two lines without a terminal, and the delay before the first.
const LINE: Duration = Duration::from_secs(5);
/// The width of the bar in characters.
const WIDTH: usize = 30;

/// The progress of one piece of work.
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    terminal: bool,
    /// The time of the next output.
    next: Instant,
    drawn: bool,
}

impl Progress {
    /// Starts at 0 of `total`; a total of 0 is unknown.
    pub(crate) fn begin(what: &'static str, total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            what,
            total,
            terminal,
            next: Instant::now() + if terminal { QUIET } else { LINE },
            drawn: false,
        }
    }

    /// Reports that `done` of the total is done; prints at most once per interval.
    pub(crate) fn at(&mut self, done: usize) {
        let (what, total, terminal) = (self.what, self.total, self.terminal);
        self.show(|| describe(what, done, total, terminal));
    }

    /// Prints a text at most once per interval.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let text = text();
        if self.terminal {
            self.next = now + REDRAW;
            self.drawn = true;
            let _ = write!(anstream::stderr().lock(), "\r{text}\u{1b}[K");
        } else {
            self.next = now + LINE;
            warn(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            // clears the line for the next output
            let _ = write!(anstream::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

fn describe(what: &str, done: usize, total: usize, bar: bool) -> String {
    if total == 0 {
        return format!("{what}: {done}");
    }
    let done = done.min(total);
    let percent = done.saturating_mul(100) / total;
    if !bar {
        return format!("{what}: {percent}%");
    }
    let filled = percent * WIDTH / 100;
    format!("{what} [{}{}] {percent}%", "#".repeat(filled), " ".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_lines() {
        assert_eq!(describe("x", 0, 7, false), "x: 0%");
        assert_eq!(describe("x", 7, 7, false), "x: 100%");
        assert_eq!(describe("x", 9, 0, true), "x: 9");
        assert_eq!(
            describe("x", 5, 10, true),
            format!("x [{}{}] 50%", "#".repeat(15), " ".repeat(15))
        );
        assert!(describe("x", 11, 10, true).ends_with("] 100%"));
    }
}
