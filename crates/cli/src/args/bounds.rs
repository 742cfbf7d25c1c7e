//! Connection and time limits of the HTTP server.

use std::time::Duration;

/// The limits of one HTTP listener; `--api` and `--metrics` each have their own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct ApiBounds {
    /// Maximum number of open HTTP connections of --api, and of --metrics; further ones wait
    #[arg(id = "api_connections", long = "api-connections", value_name = "N")]
    #[arg(default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,

    /// Time limit to receive the head of an HTTP request, which includes the idle time of a
    /// connection, and to deliver an answer; for example 30s or 1m
    #[arg(id = "api_head_timeout", long = "api-head-timeout", value_name = "TIME")]
    #[arg(default_value = "30s", value_parser = timeout)]
    pub(crate) head: Duration,

    /// Time limit to receive and process a whole HTTP request; imports take long
    #[arg(id = "api_request_timeout", long = "api-request-timeout", value_name = "TIME")]
    #[arg(default_value = "10m", value_parser = timeout)]
    pub(crate) request: Duration,
}

/// Parses a time of one second or more.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match time(text).ok_or("expected a time such as 30s, 5m or 1h")? {
        Duration::ZERO => Err("expected at least 1s".to_owned()),
        time => Ok(time),
    }
}

/// Parses a whole number of seconds, minutes or hours.
pub(super) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let number: u32 = number.parse().ok()?;
    let unit = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return None,
    };
    Some(unit.saturating_mul(number))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn bounds(more: &[&str]) -> Result<ApiBounds, String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok(args.api_bounds),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn defaults_are_as_documented_and_options_change_them() {
        let seconds = Duration::from_secs;
        let documented = ApiBounds { connections: 512, head: seconds(30), request: seconds(600) };
        assert_eq!(bounds(&[]), Ok(documented));
        let given = ["--api-connections=1", "--api-head-timeout=1s", "--api-request-timeout=2h"];
        let expected = ApiBounds { connections: 1, head: seconds(1), request: seconds(7_200) };
        assert_eq!(bounds(&given), Ok(expected));
        for wrong in ["", "30", "s", "0s", "1 s", "-1s", "1d", "1.5s", "99999999999s", "1é"] {
            assert!(bounds(&["--api-head-timeout", wrong]).is_err(), "{wrong}");
        }
        assert!(bounds(&["--api-connections", "0"]).is_err());
    }
}
