//! The options of the recent decisions.

use std::time::Duration;

use super::bounds::timeout;
use crate::observe::recent::RecentOptions;

/// The recent decisions that the API shows.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct RecentArgs {
    /// Number of recent decisions to keep in memory for the API, of up to 640 bytes each; 0 keeps none.
    /// The threads share it out among them
    #[arg(id = "recent", long = "recent", value_name = "N", default_value_t = 16_384)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    records: u32,

    /// Time after which addresses, user names and other texts of callers are erased from recent decisions
    #[arg(id = "recent_for", long = "recent-for", value_name = "TIME", default_value = "24h")]
    #[arg(value_parser = timeout)]
    names_for: Duration,
}

impl RecentArgs {
    /// The size and the age of the kept decisions.
    pub(crate) fn options(self) -> RecentOptions {
        let records = usize::try_from(self.records).unwrap_or(usize::MAX);
        RecentOptions { records, names_for: self.names_for }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn options(more: &[&str]) -> Result<RecentOptions, String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok(args.recent.options()),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn defaults_are_as_documented_and_options_change_them() {
        let seconds = Duration::from_secs;
        let expected = |records, names_for| Ok(RecentOptions { records, names_for });
        assert_eq!(options(&[]), expected(16_384, seconds(24 * 60 * 60)));
        assert_eq!(options(&["--recent=0", "--recent-for=1s"]), expected(0, seconds(1)));
        assert_eq!(options(&["--recent=1048576"]), expected(1 << 20, seconds(24 * 60 * 60)));
        for wrong in ["--recent=-1", "--recent=1048577", "--recent=", "--recent-for=0s"] {
            assert!(options(&[wrong]).is_err(), "{wrong}");
        }
    }
}
