//! The command line of `sip-authz status`.

use super::ServerArgs;

pub(super) const HELP: &str = "\
Environment: SIP_AUTHZ_ADMIN_TOKEN is the admin token, the same as that of the running \
`sip-authz serve`. Without it the command reads `admin_token` of the client's configuration file. \
SIP_AUTHZ_API is the URL of the server.

Exit code: 0 all edges are `ok`, or `unknown` with all commits applied, 1 an edge is not, or the server \
refused or is unreachable, 2 invalid command line or file.";

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Print the status as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
