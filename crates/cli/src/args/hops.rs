//! Health and certificates of the next hops of forwarded calls.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::time::Duration;

use crate::hops::{HopOptions, PROBE_WAIT};

/// Options of the next hops of `--on-accept forward:`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HopArgs {
    /// Time between two OPTIONS to each next hop, in seconds. A hop that leaves two in a row
    /// unanswered gets no calls until it answers; 0 sends none and uses all hops
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=3_600))]
    pub(crate) hop_probe: u16,

    /// Trust only the CA certificates in this PEM file for next hops over TLS [default: those of the
    /// system]
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) hop_ca: Option<PathBuf>,
}

impl HopArgs {
    /// The options of the hops; `sent_by` is the host and port of this side, and `tls` whether it has a
    /// listener for TLS.
    pub(crate) fn options(&self, sent_by: String, tls: bool) -> HopOptions {
        HopOptions {
            probe: Duration::from_secs(self.hop_probe.into()),
            probe_wait: PROBE_WAIT,
            #[cfg(feature = "tls")]
            ca: self.hop_ca.clone(),
            #[cfg(not(feature = "tls"))]
            ca: None,
            sent_by,
            tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn hops(more: &[&str]) -> Result<HopArgs, String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok(args.hops),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn the_probe_interval_has_a_default_and_bounds() {
        for (more, seconds) in
            [(&[][..], 10), (&["--hop-probe=0"], 0), (&["--hop-probe=3600"], 3_600)]
        {
            let options = hops(more).unwrap().options("edge.example:5060".to_owned(), false);
            assert_eq!(options.probe, Duration::from_secs(seconds));
            assert_eq!((options.ca, options.sent_by.as_str()), (None, "edge.example:5060"));
        }
        for wrong in ["", "-1", "3601", "10s", "1.5", "off"] {
            assert!(hops(&["--hop-probe", wrong]).is_err(), "{wrong}");
        }
    }
}
