//! Quotas of accounts and sizes of memory tables.

use sip_authz::Capacity;
use sip_authz_directory::Limits;

/// Quotas of accounts and sizes of memory tables.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Set a quota, for example domains=500 (repeatable). Per account: domains (default 100),
    /// trunks (100), access-lists (1000), credential-lists (100), roles (1000). Per list: addresses
    /// (100), credentials (1000). Maximum length of a user name, up to 64: username (32). Minimum
    /// length of a password, from 8: password (12)
    #[arg(long, value_name = "NAME=N", value_parser = limit)]
    limit: Vec<(Limit, u32)>,

    /// Number of used nonces to remember against replay. With fewer than the calls of 30 seconds,
    /// nonces expire early; replays are still refused
    #[arg(long, value_name = "N", default_value_t = 131_072, value_parser = table())]
    nonces: u32,

    /// Number of accepted requests to remember, so that their retransmissions are accepted too
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = table())]
    repeats: u32,

    /// Number of sources to count wrong digests for, each for up to sixteen user names of an account
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = table())]
    guess_counters: u32,
}

/// Selects the field of [`Limits`] that an option sets.
type Limit = fn(&mut Limits) -> &mut usize;

const LIMITS: [(&str, Limit); 9] = [
    ("domains", |limits| &mut limits.domains),
    ("trunks", |limits| &mut limits.trunks),
    ("access-lists", |limits| &mut limits.ip_access_control_lists),
    ("addresses", |limits| &mut limits.ip_addresses),
    ("credential-lists", |limits| &mut limits.credential_lists),
    ("credentials", |limits| &mut limits.credentials),
    ("roles", |limits| &mut limits.roles),
    ("username", |limits| &mut limits.username),
    ("password", |limits| &mut limits.password),
];

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (limit, number) in &self.limit {
            *limit(&mut limits) = size(*number);
        }
        limits
    }

    pub(crate) fn capacity(&self) -> Capacity {
        Capacity::default()
            .with_nonces(size(self.nonces))
            .with_repeats(size(self.repeats))
            .with_guesses(size(self.guess_counters))
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Accepts the sizes that a table can have.
fn table() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(512..=134_217_728)
}

fn limit(text: &str) -> Result<(Limit, u32), String> {
    let (what, number) = text.split_once('=').ok_or("expected NAME=N, for example domains=500")?;
    let known = LIMITS.iter().find(|(name, _)| *name == what);
    let (_, limit) = known.ok_or_else(|| {
        let names: Vec<_> = LIMITS.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}, got `{what}`", names.join(", "))
    })?;
    let number: u32 = number.parse().map_err(|_| format!("expected a number, got `{number}`"))?;
    // a stored user name has at most 64 characters
    if what == "username" && !(1..=64).contains(&number) {
        return Err(format!("username must be 1 to 64, got {number}"));
    }
    if what == "password" && number < 8 {
        return Err(format!("password must be at least 8, got {number}"));
    }
    Ok((*limit, number))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parse(more: &[&str]) -> Result<(Limits, Capacity), String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok((args.limits.limits(), args.limits.capacity())),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn omitted_options_have_the_defaults_of_the_library() {
        assert_eq!(parse(&[]), Ok((Limits::default(), Capacity::default())));
    }

    #[test]
    fn each_limit_and_table_has_its_own_name() {
        for (place, (name, limit)) in LIMITS.iter().enumerate() {
            let number = 20 + place;
            let mut expected = Limits::default();
            *limit(&mut expected) = number;
            assert_ne!(expected, Limits::default());
            let (limits, _) = parse(&["--limit", &format!("{name}={number}")]).unwrap();
            assert_eq!(limits, expected, "{name}");
        }
        let (limits, capacity) = parse(&[
            "--limit=domains=5",
            "--limit=domains=0",
            "--nonces=1024",
            "--repeats=2048",
            "--guess-counters=4096",
        ])
        .unwrap();
        assert_eq!(limits.domains, 0);
        assert_eq!(
            capacity,
            Capacity::default().with_nonces(1_024).with_repeats(2_048).with_guesses(4_096)
        );
        for wrong in
            ["domains", "domains=", "domains=-1", "=5", "lists=5", "username=65", "password=7"]
        {
            assert!(parse(&["--limit", wrong]).is_err(), "{wrong}");
        }
        assert!(parse(&["--nonces", "0"]).is_err() && parse(&["--repeats", "999999999"]).is_err());
    }
}
