//! The command lines of `sip-authz tail`, `why` and `limits`.

use clap::{ArgGroup, Subcommand};
use sip_authz::acl::Prefix;

use super::ServerArgs;

pub(super) const TAIL_HELP: &str = "\
Environment: SIP_AUTHZ_API is the URL of the server. SIP_AUTHZ_ADMIN_TOKEN is the admin token, and \
SIP_AUTHZ_ACCOUNT_SID and SIP_AUTHZ_AUTH_TOKEN are those of an account, which sees the decisions of its \
own domains and trunks. Without them the command reads the client's configuration file.

Exit code: 0 stopped by Ctrl-C, SIGTERM or the reader of its output, 1 the server refused or was \
unreachable at the start, 2 invalid command line or file.";

pub(super) const WHY_HELP: &str = "\
Environment: SIP_AUTHZ_API is the URL of the server. SIP_AUTHZ_ADMIN_TOKEN is the admin token, and \
SIP_AUTHZ_ACCOUNT_SID and SIP_AUTHZ_AUTH_TOKEN are those of an account, which sees the decisions of its \
own domains and trunks. Without them the command reads the client's configuration file.

Exit code: 0 found, 1 nothing found, or the server refused or is unreachable, 2 invalid command line or \
file.";

/// The decisions that a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct SelectionArgs {
    /// Only requests to this host, or to the domain or trunk with this SID
    #[arg(long, value_name = "HOST|SID")]
    pub(crate) domain: Option<String>,

    /// Only requests with this user name, proved or claimed; it is compared whole and by case
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Only requests from this address or prefix
    #[arg(long, value_name = "IP[/N]")]
    pub(crate) source: Option<Prefix>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Only refused requests and other messages that were answered with an error or dropped
    #[arg(long)]
    pub(crate) refused: bool,

    /// Print each decision as a line of JSON, with all its fields
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Only the call with this Call-ID
    #[arg(long, value_name = "ID")]
    pub(crate) call_id: Option<String>,

    /// Number of refusals to print, newest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) last: u16,

    /// Print the result as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Print the names and sources as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Option<LimitsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Forget the wrong passwords of a name or source, so that its next password is compared
    ///
    /// Name an ID that `sip-authz limits` prints, or a selection, which releases all that fit.
    #[command(group(ArgGroup::new("selected").args(["id", "domain", "user", "source"]).required(true).multiple(true)))]
    Release {
        /// ID of a held name or source
        #[arg(value_name = "ID", value_parser = id, conflicts_with_all = ["domain", "user", "source"])]
        id: Option<String>,
        #[command(flatten)]
        selection: SelectionArgs,
    },
}

/// Reads an ID, which becomes a part of a path.
fn id(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) && !text.bytes().all(|byte| byte == b'.') {
        true => Ok(text.to_owned()),
        false => Err("expected an ID as `sip-authz limits` prints it"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Args;

    #[test]
    fn a_release_names_an_id_or_a_selection() {
        let parse = |words: &[&str]| {
            Args::try_parse_from([&["", "limits"], words].concat())
                .map_err(|error| error.to_string())
        };
        for words in [
            &[][..],
            &["--json"],
            &["release", "a1"],
            &["release", "--user", "a", "--domain", "b"],
            &["release", "--source", "192.0.2.0/24", "--api", "http://localhost"],
        ] {
            assert!(parse(words).is_ok(), "{words:?}");
        }
        for words in [
            &["release"][..],
            &["release", ".."],
            &["release", "a/b"],
            &["release", "a1", "--user", "a"],
            &["release", "--source", "nowhere"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
