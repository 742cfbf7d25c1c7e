//! The command line.

mod advice;
mod bounds;
mod complete;
mod decision_log;
mod forward;
mod hops;
mod keys;
mod limits;
mod listen;
mod proxies;
mod reply_port;
mod serve;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sip_authz::model::{NextHop, OnAccept, Realm};
use sip_authz::{AccountSid, Transport};
use sip_authz_config::DomainSource;

pub(crate) use advice::parse;
pub(crate) use bounds::ApiBounds;
pub(crate) use complete::check_default_domain;
pub(crate) use keys::{KeysArgs, KeysCommand};
pub(crate) use reply_port::ReplyPort;
pub(crate) use serve::{Api, ServeArgs, StoreChoice};
#[cfg(feature = "etcd")]
pub(crate) use serve::{EtcdArgs, FleetArgs, StaleFor};

/// Authorizes SIP INVITEs by IP access control lists and digest credentials.
#[derive(Debug, Parser)]
#[command(name = "sip-authz", version, max_term_width = 100)]
#[command(after_help = "Try it: sip-authz serve --demo")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a SIP edge on UDP and TCP, with a REST API.
    ///
    /// The edge challenges an INVITE (407 or 401), rejects it (403, 404 and others, with an
    /// X-Authz-Error header if the reason has a code), or accepts it with the answer of --on-accept.
    /// It is a stateless user agent server: neither calls nor media pass through it.
    #[command(after_help = serve::HELP)]
    Serve(Box<ServeArgs>),
    /// Check a configuration file, or decide one INVITE from a file and explain each step.
    ///
    /// With --config alone: print all errors of the file with their lines and columns, or its warnings
    /// and a summary. Exit code: 0 valid, 2 invalid.
    ///
    /// With an INVITE and --source: print the decision. Exit code: 0 accepted, 1 challenged or
    /// rejected, 2 no decision: the command line, the configuration or the INVITE is invalid.
    Check(CheckArgs),
    /// Create, list, suspend and close accounts of a running server.
    #[command(after_help = ADMIN_HELP)]
    Account(AccountArgs),
    /// Import records from a file into a running server, all of them or none.
    ///
    /// Accepts a configuration file (TOML), the output of `sip-authz export` (JSON), or a dump of the
    /// table `subscriber` or `address` of Kamailio or OpenSIPS. A dump is CSV with a header line, or
    /// the output of `mysql -B`. A second import of the same file updates the records of the first.
    #[command(after_help = ADMIN_HELP)]
    Import(ImportArgs),
    /// Export all records of a running server as JSON.
    #[command(after_help = ADMIN_HELP)]
    Export(ExportArgs),
    /// Copy the database of `serve --data` to a new file, also while the server runs.
    ///
    /// The copy is a consistent snapshot. It is checked before the file appears, and only its owner
    /// can read it: it holds password hashes. To restore it, stop the server, put the file into an
    /// empty folder under the name sip-authz.db, and serve that folder.
    ///
    /// Exit code: 0 done, 1 failed; a failed backup leaves no file.
    Backup(BackupArgs),
    /// Make or rotate the key file of forwarded calls.
    ///
    /// The keys prove the routes that phones and next hops send back within a call. The file holds the
    /// current key and the previous one, and only its owner can read it. Machines that serve the same
    /// calls share it. After a rotation, copy the file to all of them and send each server SIGHUP.
    ///
    /// Exit code: 0 done, 1 the file cannot be written, 2 invalid command line or key file.
    Keys(KeysArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages of the program and of its commands to a folder.
    Man(ManArgs),
}

const ADMIN_HELP: &str = "\
Environment: SIP_AUTHZ_ADMIN_TOKEN is the admin token, the same as that of the running \
`sip-authz serve`.

Exit code: 0 done, 1 the server refused or is unreachable, 2 invalid command line or file.";

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Print the result as one line of JSON
    #[arg(long, conflicts_with = "invite")]
    pub(crate) json: bool,

    /// Allow `on_accept` of domains and trunks to name this next hop, as `serve` does (repeatable)
    #[arg(long, value_name = "HOST")]
    pub(crate) next_hop_allow: Vec<NextHop>,

    /// Allow `on_accept` of domains and trunks to name the targets or hops of this answer, as `serve` does
    #[arg(long, value_name = "ok|redirect:TARGET|forward:HOP")]
    pub(crate) on_accept: Option<OnAccept>,

    /// Source IP address of the INVITE
    #[arg(long, value_name = "IP", requires = "invite")]
    pub(crate) source: Option<IpAddr>,

    /// Source port of the INVITE
    #[arg(long, value_name = "PORT", default_value_t = 5060, requires = "invite")]
    pub(crate) port: u16,

    /// Transport of the INVITE
    #[arg(long, value_name = "TRANSPORT", value_enum, default_value_t = TransportName::Udp)]
    #[arg(requires = "invite")]
    pub(crate) transport: TransportName,

    /// Sources of the domain of a call whose Request-URI names none, as for `serve`
    /// [default: `default_domain` of the configuration file]
    #[arg(long, value_name = "route|to|NAME,…", value_delimiter = ',', requires = "invite")]
    pub(crate) default_domain: Vec<DomainSource>,

    /// File with the INVITE, from the start line to the end of the body; `-` is stdin. Without it,
    /// only the configuration file is checked
    #[arg(value_name = "FILE.sip", requires = "source")]
    pub(crate) invite: Option<PathBuf>,
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
    /// Create an account; print its SID and its auth token, which is shown only once
    Create {
        /// Display name of the account
        name: String,
    },
    /// Print the SID, status and name of each account
    List,
    /// Reject all calls to an account until `activate`
    Suspend {
        /// SID of the account
        sid: AccountSid,
    },
    /// Undo `suspend`
    Activate {
        /// SID of the account
        sid: AccountSid,
    },
    /// Close an account permanently and reject all calls to it
    Close {
        /// SID of the account
        sid: AccountSid,
    },
    /// Replace the auth token of an account and print the new one; the old one stops working
    RotateToken {
        /// SID of the account
        sid: AccountSid,
    },
}

/// The running server that a command sends its requests to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// URL of the running server's API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub(crate) api: String,

    /// Allow plain HTTP to another machine; the admin token is sent unencrypted
    #[arg(long, global = true)]
    pub(crate) insecure_api: bool,

    /// With an https URL, trust only the CA certificates in this PEM file [default: public CAs]
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// File to import; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Format of the file; `auto` detects it from the file name and the first line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = FileFormat::Auto)]
    pub(crate) format: FileFormat,

    /// Account that owns the imported records; required for tables, optional for TOML files without
    /// accounts
    #[arg(long, value_name = "SID")]
    pub(crate) account: Option<AccountSid>,

    /// Realm of the hashes in a subscriber table [default: the domain of each row]; for TOML, the
    /// realm of credential lists without one
    #[arg(long, value_name = "REALM")]
    pub(crate) realm: Option<Realm>,

    /// Import the column ha1b too: it adds a second user named user@domain for each row
    #[arg(long)]
    pub(crate) with_ha1b: bool,

    /// Import address rows that are limited to a port, transport or pattern, without that limit
    #[arg(long)]
    pub(crate) widen: bool,

    /// Import address rows with mask 0 too; they admit every address
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// Check the file and report the changes, but do not make them
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// Detect the format
    Auto,
    /// Configuration file
    Toml,
    /// Output of `sip-authz export`
    Json,
    /// Table `subscriber` of Kamailio or OpenSIPS
    #[value(
        name = "subscriber-csv",
        alias = "kamailio-subscriber-csv",
        alias = "opensips-subscriber-csv"
    )]
    Subscriber,
    /// Table `address` of Kamailio or OpenSIPS
    #[value(name = "address-csv", alias = "kamailio-address-csv", alias = "opensips-address-csv")]
    Address,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Write to this file, which appears once it is complete [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Include the hashes of passwords and auth tokens; the file is then readable only by its owner
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// Data folder of `serve --data`
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Shell of the script
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Existing folder for the pages
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
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
    fn an_etcd_url_with_a_password_is_refused() {
        let parse = |url| Args::try_parse_from(["", "serve", "--on-accept=ok", "--etcd", url]);
        assert!(parse("http://a:2379,http://b:2379").is_ok());
        let error = parse("http://a:2379,http://root:secret@b:2379").unwrap_err().to_string();
        assert!(error.contains("--etcd-user"), "{error}");
    }
}
