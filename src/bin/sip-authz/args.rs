//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sip_authz::Transport;
use sip_authz::uri::SipUri;

/// Decides whether SIP INVITEs may pass, by address lists and digest credentials.
#[derive(Debug, Parser)]
#[command(name = "sip-authz", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Listen for SIP on UDP and TCP, and answer.
    ///
    /// INVITEs are challenged (407 or 401), turned away (403, 404 and so on, with an X-Authz-Error
    /// header where the reason has a code), or accepted, which is answered as --on-accept says. It
    /// is a stateless user agent server: no call and no media goes through it.
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Decide one INVITE from a file and explain each step.
    ///
    /// Exit code: 0 accepted, 1 challenged or rejected, 2 neither, because something is wrong with
    /// the command line, the configuration or the file.
    Check(CheckArgs),
}

const SERVE_HELP: &str = "\
Signals: Ctrl-C and SIGTERM end it with a line of totals; SIGHUP reads --config again, and a file \
that cannot be used leaves the old state in force.

Exit code: 0 ended by a signal, 1 failed while running, 2 wrong command line or configuration, or \
the address is in use.

Try it: sip-authz serve --demo";

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what to serve").required(true).args(["demo", "config"])))]
pub(crate) struct ServeArgs {
    /// Where to listen for SIP, on UDP and on TCP; with port 0 on any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5060")]
    pub(crate) sip: SocketAddr,

    /// Serve an account made up for a try, and print commands that show what it does
    #[arg(long)]
    pub(crate) demo: bool,

    /// Serve what this TOML file says
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// What an accepted INVITE is answered with: `ok` (200, all media declined; the default with
    /// --demo) or `redirect:<sip-uri>` (302 with this Contact)
    #[arg(long, value_name = "ANSWER", required_unless_present = "demo", value_parser = on_accept)]
    pub(crate) on_accept: Option<OnAccept>,

    /// Write a line to stderr for each decision, without addresses and names of users
    #[arg(long, value_name = "WHAT")]
    pub(crate) log: Option<Log>,

    /// Write addresses and names of users in these lines too
    #[arg(long, requires = "log")]
    pub(crate) log_names: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The TOML file that the decision is made by
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The address that the INVITE came from
    #[arg(long, value_name = "IP")]
    pub(crate) source: IpAddr,

    /// The port that the INVITE came from
    #[arg(long, value_name = "PORT", default_value_t = 5060)]
    pub(crate) port: u16,

    /// How the INVITE came
    #[arg(long, value_name = "TRANSPORT", value_enum, default_value_t = TransportName::Udp)]
    pub(crate) transport: TransportName,

    /// The INVITE, from the start line to the end of the body; `-` is stdin
    #[arg(value_name = "FILE.sip")]
    pub(crate) invite: PathBuf,
}

/// What an accepted INVITE is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnAccept {
    /// 200, with all media declined.
    Ok,
    /// 302 with this Contact, a valid SIP URI.
    Redirect(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    /// One line for each INVITE that is decided
    Decisions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Self::Udp,
            TransportName::Tcp => Self::Tcp,
            TransportName::Tls => Self::Tls,
            TransportName::Ws => Self::Ws,
            TransportName::Wss => Self::Wss,
        }
    }
}

fn on_accept(text: &str) -> Result<OnAccept, String> {
    if text == "ok" {
        return Ok(OnAccept::Ok);
    }
    let uri = text.strip_prefix("redirect:").ok_or("neither `ok` nor `redirect:<sip-uri>`")?;
    // what is no SIP URI might not be fit to stand in a header either
    SipUri::parse(uri).map_err(|error| format!("not a SIP URI to redirect to: {error}"))?;
    Ok(OnAccept::Redirect(uri.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn answers_to_accepted_invites() {
        assert_eq!(on_accept("ok"), Ok(OnAccept::Ok));
        let redirect = OnAccept::Redirect("sip:gw.example:5080;lr".to_owned());
        assert_eq!(on_accept("redirect:sip:gw.example:5080;lr"), Ok(redirect));
        for text in ["", "OK", "redirect", "redirect:", "redirect:gw.example", "redirect:tel:+1"] {
            assert!(on_accept(text).is_err(), "{text}");
        }
        for text in ["redirect:sip:a\r\nX: y", "redirect:sip:a>b", "redirect:<sip:a>"] {
            assert!(on_accept(text).is_err(), "{text}");
        }
    }
}
