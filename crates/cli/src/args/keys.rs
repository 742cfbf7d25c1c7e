//! The command line of `sip-authz keys`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Write a new key file with a random key
    New {
        /// File to write; it must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Replace the current key of a key file by a random one, and keep it as the previous key
    Rotate {
        /// Key file; it is replaced as a whole and keeps its owner
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
