//! The command line.

mod bounds;
mod limits;
mod serve;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sip_authz::model::Realm;
use sip_authz::{AccountSid, Transport};

pub(crate) use bounds::ApiBounds;
pub(crate) use serve::{Api, OnAccept, ServeArgs, StoreChoice};
#[cfg(feature = "etcd")]
pub(crate) use serve::{EtcdArgs, FleetArgs, StaleFor};

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
    #[command(after_help = serve::HELP)]
    Serve(Box<ServeArgs>),
    /// Decide one INVITE from a file and explain each step.
    ///
    /// Exit code: 0 accepted, 1 challenged or rejected, 2 neither, because something is wrong with
    /// the command line, the configuration or the file.
    Check(CheckArgs),
    /// Make, list, suspend and close the accounts of a running program.
    #[command(after_help = ADMIN_HELP)]
    Account(AccountArgs),
    /// Bring records from a file into a running program, all of them or none.
    ///
    /// A file is a configuration file (TOML), what `sip-authz export` wrote (JSON), or a dump of the
    /// tables `subscriber` or `address` that Kamailio and OpenSIPS keep (CSV with a header line, or
    /// what `mysql -B` prints). What is imported again replaces what it made the first time.
    #[command(after_help = ADMIN_HELP)]
    Import(ImportArgs),
    /// Write all records of a running program as JSON.
    #[command(after_help = ADMIN_HELP)]
    Export(ExportArgs),
    /// Copy what `serve --data` keeps to a new file, as of one moment, while it goes on.
    ///
    /// The copy is checked before the file appears; only its owner can read it, and hashes of
    /// passwords are in it. To go back to it, stop the program, and make the file the only one in a
    /// folder, under the name sip-authz.db.
    ///
    /// Exit code: 0 done, 1 failed, nothing is left behind then.
    Backup(BackupArgs),
}

const ADMIN_HELP: &str = "\
The admin token is taken from the environment variable SIP_AUTHZ_ADMIN_TOKEN, which must be that of \
the running `sip-authz serve`.

Exit code: 0 done, 1 the program refused or cannot be reached, 2 wrong command line or file.";

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

#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) command: AccountCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account and print its SID and its auth token, which is shown this once
    Create {
        /// A name for people
        name: String,
    },
    /// Print SID, status and name of each account
    List,
    /// Refuse every call to an account until it is active again
    Suspend {
        /// The account
        sid: AccountSid,
    },
    /// Undo `suspend`
    Activate {
        /// The account
        sid: AccountSid,
    },
    /// Refuse every call to an account for good
    Close {
        /// The account
        sid: AccountSid,
    },
    /// Give an account a new auth token and print it; the old one is no longer good
    RotateToken {
        /// The account
        sid: AccountSid,
    },
}

/// The running program that a command speaks to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where the running program answers HTTP
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub(crate) api: String,

    /// Speak to a program on another machine, though the admin token travels in clear
    #[arg(long, global = true)]
    pub(crate) insecure_api: bool,

    /// Trust certificates that lead to those in this file (PEM), and no others, with an https URL
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// The file; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What the file is; `auto` tells by its name and its first line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FileFormat::Auto)]
    pub(crate) format: FileFormat,

    /// The account that is to own what the file names no owner for
    #[arg(long, value_name = "SID")]
    pub(crate) account: Option<AccountSid>,

    /// The realm that the hashes of a subscriber table were made with, where it is not the domain;
    /// of a TOML file, that of credential lists that name none
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<Realm>,

    /// Import the column ha1b too: for each user another one called user@domain
    #[arg(long)]
    pub(crate) with_ha1b: bool,

    /// Import addresses that the table holds for one port, transport or pattern as addresses
    /// without that condition
    #[arg(long)]
    pub(crate) widen: bool,

    /// Import addresses with mask 0 too, which admit everybody
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// Check everything and tell what would change, but change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    Auto,
    Toml,
    Json,
    /// The table `subscriber` of Kamailio or OpenSIPS
    #[value(
        name = "subscriber-csv",
        alias = "kamailio-subscriber-csv",
        alias = "opensips-subscriber-csv"
    )]
    Subscriber,
    /// The table `address` of Kamailio or OpenSIPS
    #[value(name = "address-csv", alias = "kamailio-address-csv", alias = "opensips-address-csv")]
    Address,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// The file to write, instead of stdout; it appears when it is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write the hashes of passwords and auth tokens too; only you can read the file then
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The folder that `serve --data` keeps everything in
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// The file to write, which must not be there
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn passwords_do_not_stand_on_the_command_line() {
        let parse = |url| Args::try_parse_from(["", "serve", "--on-accept=ok", "--etcd", url]);
        assert!(parse("http://a:2379,http://b:2379").is_ok());
        let error = parse("http://a:2379,http://root:secret@b:2379").unwrap_err().to_string();
        assert!(error.contains("--etcd-user"), "{error}");
    }
}
