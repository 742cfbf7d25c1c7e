//! The command line of `sip-authz upgrade`.

use super::ServerArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    #[command(subcommand)]
    pub(crate) command: UpgradeCommand,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(crate) enum UpgradeCommand {
    /// Print the format of the store, and the newest one that each edge supports
    Status {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Raise the format of the store, once all edges support the new one.
    ///
    /// Earlier versions of the program then refuse to start with this store. There is no way back.
    Finish {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
}
