//! The command line.

mod advice;
mod bounds;
mod check;
mod complete;
mod decide;
mod decision_log;
mod decisions;
mod forward;
mod hops;
mod keys;
mod limits;
mod listen;
mod proxies;
mod recent;
mod reply_port;
mod resources;
mod serve;
mod status;
mod upgrade;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sip_authz::model::Realm;
use sip_authz::{AccountSid, Transport};

pub(crate) use advice::parse;
pub(crate) use bounds::ApiBounds;
pub(crate) use check::{CheckArgs, RecordSource};
pub(crate) use complete::check_default_domain;
pub(crate) use decide::{DecideAddress, DecideArgs};
pub(crate) use decisions::{LimitsArgs, LimitsCommand, SelectionArgs, TailArgs, WhyArgs};
pub(crate) use keys::{KeysArgs, KeysCommand};
pub(crate) use reply_port::ReplyPort;
pub(crate) use resources::{
    ConfirmArgs, DomainArgs, DomainCommand, DomainSettings, ListArgs, ListCommand, ListKindArgs,
    MapArgs, MappingArgs, PasswordArgs, ResourceArgs, RoleArgs, RoleCommand, RoleType,
    TargetSettings, TrunkArgs, TrunkCommand, UserArgs, UserCommand,
};
pub(crate) use serve::{Api, ServeArgs, StoreChoice};
#[cfg(feature = "etcd")]
pub(crate) use serve::{EtcdArgs, StaleFor};
pub(crate) use status::StatusArgs;
pub(crate) use upgrade::{UpgradeArgs, UpgradeCommand};

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
    /// X-Authz-Error header if the reason has a code), or accepts it. --on-accept selects the answer to
    /// accepted calls, or forwards them to a PBX as a stateless proxy. Media never passes through it.
    #[command(after_help = serve::HELP)]
    Serve(Box<ServeArgs>),
    /// Check a configuration file, or decide one request from a file and explain each step.
    ///
    /// With --config alone: print all errors of the file with their lines and columns, or its warnings
    /// and a summary. Exit code: 0 valid, 2 invalid.
    ///
    /// With a request (INVITE, REGISTER or another that begins something) and --source: print the
    /// decision. Exit code: 0 accepted, 1 challenged or rejected, 2 no decision: the command line, the
    /// records or the request is invalid, or the records cannot be read.
    ///
    /// The records come from one source: a configuration file (--config), a running server (--api), the
    /// folder of `serve --data` (--data), an etcd (--etcd) or the output of `sip-authz export
    /// --with-secrets` (--export). The folder can be in use by a server.
    ///
    /// A running server decides by its snapshot. It uses up no nonce, but a wrong response counts against the
    /// guess limits of its user and source, as in a call.
    #[command(after_help = check::HELP)]
    Check(Box<CheckArgs>),
    /// Create, list, suspend and close accounts of a running server.
    #[command(after_help = ADMIN_HELP)]
    Account(AccountArgs),
    /// Create, show, change and delete domains of a running server, by name.
    #[command(after_help = resources::HELP)]
    Domain(DomainArgs),
    /// Create, show, change and delete trunks of a running server, by name.
    #[command(after_help = resources::HELP)]
    Trunk(TrunkArgs),
    /// Create, show, fill and delete IP access control lists and credential lists of a running server.
    #[command(after_help = resources::HELP)]
    List(ListArgs),
    /// Add, show, disable and delete users of credential lists of a running server.
    #[command(after_help = resources::HELP)]
    User(UserArgs),
    /// Create, show, change and delete roles of a running server.
    #[command(after_help = resources::HELP)]
    Role(RoleArgs),
    /// Map a list to a domain or trunk, so that it admits callers.
    #[command(after_help = resources::HELP)]
    Map(MapArgs),
    /// Undo `map`.
    #[command(after_help = resources::HELP)]
    Unmap(MappingArgs),
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
    /// Print the decisions of a running server as they are made, one on a line.
    ///
    /// Each line has the local time, the outcome, the domain, the user and the called number, the source,
    /// and the cause in words. Colours appear on a terminal only. If the connection ends, the command
    /// connects again.
    #[command(after_help = decisions::TAIL_HELP)]
    Tail(TailArgs),
    /// Explain the last refused calls: what happened, in which step, and what to do about it.
    ///
    /// Asks a running server, and the other edges of its fleet, for the decisions that they keep
    /// (`serve --recent`). Challenges that no accepted request followed count as refused.
    #[command(after_help = decisions::WHY_HELP)]
    Why(WhyArgs),
    /// Print the names and sources that guess limits hold, or release them.
    ///
    /// After too many wrong passwords the edge compares no more passwords of a user, from a source or from
    /// all, for a while. The policy of a domain sets the rate (`guesses`).
    #[command(after_help = ADMIN_OR_ACCOUNT_HELP)]
    Limits(LimitsArgs),
    /// Print the health of a running server, and of all edges of its fleet.
    ///
    /// The first line has the last commit of the store. Then each edge has a line: `ok`, `degraded` (a part
    /// fails, calls are decided), `refusing` (every call is answered 503), `no answer`, or `unknown`
    /// (`serve` runs without --api-advertise). Below it is a line for each part that fails.
    ///
    /// The command gets the list of edges from the server, and asks each edge at its --api-advertise URL for
    /// `/health`, without credentials.
    #[command(after_help = status::HELP)]
    Status(StatusArgs),
    /// End an upgrade: raise the format of the store of a running server.
    ///
    /// A new version of the program reads and writes the store of the version before, so edges can be upgraded
    /// one by one, and can go back. New kinds of records and fields wait until all edges have the new version.
    /// `finish` then raises the format of the store.
    #[command(after_help = ADMIN_HELP)]
    Upgrade(UpgradeArgs),
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
`sip-authz serve`. Without it the command reads `admin_token` of the client's configuration file. \
SIP_AUTHZ_API is the URL of the server.

Exit code: 0 done, 1 the server refused or is unreachable, 2 invalid command line or file.";

/// The last part of the help of a command that the admin and accounts may use.
const ADMIN_OR_ACCOUNT_HELP: &str = "\
Environment: SIP_AUTHZ_API is the URL of the server. SIP_AUTHZ_ADMIN_TOKEN is the admin token, and \
SIP_AUTHZ_ACCOUNT_SID and SIP_AUTHZ_AUTH_TOKEN identify an account, which acts on its own records. \
Without them the command reads the client's configuration file.

Exit code: 0 done, 1 the server refused or is unreachable, 2 invalid command line or file.";

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
    /// URL of the running server's API [default: SIP_AUTHZ_API, else `api` of the client's
    /// configuration file, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) api: Option<String>,

    /// Allow plain HTTP to another machine; the token is sent unencrypted
    #[arg(long, global = true)]
    pub(crate) insecure_api: bool,

    /// Configuration file of the client (TOML) [default: sip-authz/client.toml in $XDG_CONFIG_HOME,
    /// else in ~/.config]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) client_config: Option<PathBuf>,

    /// With an https URL, trust only the CA certificates in this PEM file [default: public CAs, or `ca` of
    /// the configuration file for its own URL]
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
}

impl ServerArgs {
    /// Whether the command line has an option that is only for a running server, besides its URL.
    pub(crate) fn has_client_options(&self) -> bool {
        #[cfg(feature = "tls")]
        let has_ca = self.ca.is_some();
        #[cfg(not(feature = "tls"))]
        let has_ca = false;
        self.insecure_api || self.client_config.is_some() || has_ca
    }
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
    #[arg(long, conflicts_with = "resume")]
    pub(crate) dry_run: bool,

    /// Go on with an import that failed, after the records that it applied; the error names the token
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume: Option<String>,
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
    Sctp,
    TlsSctp,
    Ws,
    Wss,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Self::Udp,
            TransportName::Tcp => Self::Tcp,
            TransportName::Tls => Self::Tls,
            TransportName::Sctp => Self::Sctp,
            TransportName::TlsSctp => Self::TlsSctp,
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
