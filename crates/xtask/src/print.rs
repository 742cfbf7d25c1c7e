//! Headings, commands and times, printed between the outputs of commands.

use std::fmt::Display;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Prints the heading of a step.
pub(crate) fn heading(text: impl Display) {
    anstream::println!("\n{BOLD}=== {text}{BOLD:#}");
}

/// Prints a command before it runs.
pub(crate) fn command(text: impl Display) {
    anstream::println!("{BOLD}$ {text}{BOLD:#}");
}

/// Prints what a check without a command does.
pub(crate) fn check(text: impl Display) {
    anstream::println!("{BOLD}* {text}{BOLD:#}");
}

/// Prints how long a command or check took.
pub(crate) fn duration(time: Duration) {
    anstream::println!("{DIM}  {}{DIM:#}", seconds(time));
}

/// Prints an error on standard error.
pub(crate) fn error(text: impl Display) {
    anstream::eprintln!("{RED}error{RED:#}: {text}");
}

/// Formats a time with one decimal place, and with minutes from one minute on.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 60 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_minutes_from_one_minute_on() {
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(59)), "59.0 s");
        assert_eq!(seconds(Duration::from_secs(605)), "10 min 05 s");
    }
}
