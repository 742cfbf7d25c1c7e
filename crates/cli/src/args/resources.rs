//! The command line of `sip-authz domain`, `trunk`, `list`, `user`, `role`, `map` and `unmap`.

use clap::{Subcommand, ValueEnum};
use sip_authz::ServiceSid;

use super::ServerArgs;

pub(super) const HELP: &str = "\
Names: a domain or trunk by its SID, host name or friendly name; a list, user or role by its SID or \
name. A name that fits several records is an error that lists them.

Exit code: 0 done, 1 the server refused or is unreachable, or a name is unknown or ambiguous, 2 \
invalid command line.";

/// The options that all commands on resources share.
#[derive(Debug, clap::Args)]
pub(crate) struct ResourceArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Account of the records, by SID or name; only with the admin token [default: the only account]
    #[arg(long, value_name = "ACCOUNT", global = true)]
    pub(crate) account: Option<String>,

    /// Print one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The confirmation of a change that cannot be undone.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfirmArgs {
    /// Do not ask; required if there is no terminal to ask on
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DomainArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    #[command(subcommand)]
    pub(crate) command: DomainCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Create a domain
    Create {
        /// Host name of the domain, which calls have in their Request-URI
        host: String,
        /// Friendly name [default: none]
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        settings: TargetSettings,
        #[command(flatten)]
        domain_settings: DomainSettings,
        /// List that admits callers, by name or SID (repeatable)
        #[arg(long = "list", value_name = "LIST")]
        lists: Vec<String>,
    },
    /// Print all domains
    List,
    /// Print a domain with its lists, policy and warnings
    Show {
        /// Host name, friendly name or SID
        domain: String,
    },
    /// Change settings of a domain
    Set {
        /// Host name, friendly name or SID
        domain: String,
        /// New host name
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// New friendly name
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        settings: TargetSettings,
        #[command(flatten)]
        domain_settings: DomainSettings,
    },
    /// Delete a domain with its mappings and policy; its lists stay
    Delete {
        /// Host name, friendly name or SID
        domain: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

/// The settings that domains and trunks share.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetSettings {
    /// Refuse calls that do not come over TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) secure: Option<bool>,

    /// Answer to accepted calls; an empty value selects the default of the server
    #[arg(long, value_name = "ok|redirect:TARGET|forward:HOP")]
    pub(crate) on_accept: Option<String>,

    /// Field of the policy, as `show --json` prints it, such as nonce_lifetime=300 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) policy: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DomainSettings {
    /// Allow phones to register, if a list is mapped for registrations
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) registration: Option<bool>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrunkArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    #[command(subcommand)]
    pub(crate) command: TrunkCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrunkCommand {
    /// Create a trunk
    Create {
        /// Friendly name
        #[arg(value_name = "TEXT")]
        name: String,
        /// Host name, which calls have in their Request-URI; without one no call reaches the trunk
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        #[command(flatten)]
        settings: TargetSettings,
        /// List that admits callers, by name or SID (repeatable)
        #[arg(long = "list", value_name = "LIST")]
        lists: Vec<String>,
    },
    /// Print all trunks
    List,
    /// Print a trunk with its lists, policy and warnings
    Show {
        /// Friendly name, host name or SID
        trunk: String,
    },
    /// Change settings of a trunk
    Set {
        /// Friendly name, host name or SID
        trunk: String,
        /// New host name
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// New friendly name
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        settings: TargetSettings,
    },
    /// Delete a trunk with its mappings and policy; its lists stay
    Delete {
        /// Friendly name, host name or SID
        trunk: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

/// The kind of a list, where a name may be that of either.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct ListKindArgs {
    /// An IP access control list
    #[arg(long)]
    pub(crate) ip: bool,
    /// A credential list
    #[arg(long)]
    pub(crate) credentials: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    #[command(subcommand)]
    pub(crate) command: ListCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Create an empty list
    #[command(group = clap::ArgGroup::new("kind").required(true).args(["ip", "credentials"]))]
    Create {
        /// Name of the list
        #[arg(value_name = "TEXT")]
        name: String,
        #[command(flatten)]
        kind: ListKindArgs,
        /// Realm of a credential list, which never changes [default: `--realm` of the server]
        #[arg(long, value_name = "REALM", conflicts_with = "ip")]
        realm: Option<String>,
    },
    /// Print all lists
    List {
        #[command(flatten)]
        kind: ListKindArgs,
    },
    /// Print a list with its entries, and the domains and trunks that use it
    Show {
        /// Name or SID
        list: String,
        #[command(flatten)]
        kind: ListKindArgs,
    },
    /// Rename a list
    Set {
        /// Name or SID
        list: String,
        #[command(flatten)]
        kind: ListKindArgs,
        /// New name
        #[arg(long, value_name = "TEXT")]
        name: String,
    },
    /// Delete a list with its entries; a list that is mapped cannot be deleted
    Delete {
        /// Name or SID
        list: String,
        #[command(flatten)]
        kind: ListKindArgs,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Add addresses or prefixes to an access list
    Add {
        /// Name or SID
        list: String,
        /// Addresses, or prefixes such as 192.0.2.0/24
        #[arg(value_name = "ADDRESS", required = true)]
        addresses: Vec<String>,
        /// Name of the entries [default: the address]
        #[arg(long = "as", value_name = "TEXT")]
        name: Option<String>,
        /// Allow a prefix of length 0, which admits every address
        #[arg(long)]
        allow_all: bool,
    },
    /// Remove entries from an access list
    Remove {
        /// Name or SID
        list: String,
        /// Addresses, prefixes, names or SIDs of entries
        #[arg(value_name = "ENTRY", required = true)]
        entries: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// The source of a password that a command needs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of stdin instead of the terminal
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user to a credential list; asks for the password
    #[command(visible_alias = "create")]
    Add {
        /// User name
        user: String,
        /// Credential list, by name or SID
        #[arg(long, value_name = "LIST")]
        list: String,
        /// Deployment role, by name or SID
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// Refuse the calls of the user until `user set --enable`
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Print the users of a list, or of all lists
    List {
        /// Credential list, by name or SID [default: all]
        #[arg(long, value_name = "LIST")]
        list: Option<String>,
    },
    /// Print a user
    Show {
        /// User name or SID
        user: String,
        /// Credential list, by name or SID [default: the only one that has the user]
        #[arg(long, value_name = "LIST")]
        list: Option<String>,
    },
    /// Change a user
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
        .args(["enable", "disable", "password", "password_stdin", "role", "no_role"]))]
    Set {
        /// User name or SID
        user: String,
        /// Credential list, by name or SID [default: the only one that has the user]
        #[arg(long, value_name = "LIST")]
        list: Option<String>,
        /// Accept the user's calls again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Refuse the user's calls, and keep the password
        #[arg(long)]
        disable: bool,
        /// Ask for a new password
        #[arg(long)]
        password: bool,
        #[command(flatten)]
        source: PasswordArgs,
        /// New deployment role, by name or SID
        #[arg(long, value_name = "ROLE", conflicts_with = "no_role")]
        role: Option<String>,
        /// Remove the role
        #[arg(long)]
        no_role: bool,
    },
    /// Delete a user with the password
    Delete {
        /// User name or SID
        user: String,
        /// Credential list, by name or SID [default: the only one that has the user]
        #[arg(long, value_name = "LIST")]
        list: Option<String>,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    /// Service of the roles, which is only a name space [default: the SID of zeros]
    #[arg(long, value_name = "SID", global = true)]
    pub(crate) service: Option<ServiceSid>,
    #[command(subcommand)]
    pub(crate) command: RoleCommand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleType {
    /// For users
    Deployment,
    /// For mappings of credential lists
    Channel,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Create a role
    Create {
        /// Name of the role
        #[arg(value_name = "TEXT")]
        name: String,
        /// Type of the role
        #[arg(long = "type", value_name = "TYPE", value_enum)]
        kind: RoleType,
        /// Permission (repeatable)
        #[arg(long = "permission", value_name = "PERMISSION", required = true)]
        permissions: Vec<String>,
    },
    /// Print all roles of the service
    List,
    /// Print a role
    Show {
        /// Name or SID
        role: String,
    },
    /// Replace the permissions of a role
    Set {
        /// Name or SID
        role: String,
        /// Permission (repeatable)
        #[arg(long = "permission", value_name = "PERMISSION", required = true)]
        permissions: Vec<String>,
    },
    /// Delete a role; a role that a user or mapping has cannot be deleted
    Delete {
        /// Name or SID
        role: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    pub(crate) mapping: MappingArgs,
    /// Channel role of the list's callers, by name or SID
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["registrations", "ip"])]
    pub(crate) role: Option<String>,
}

/// A list and the domain or trunk that it is mapped to.
#[derive(Debug, clap::Args)]
pub(crate) struct MappingArgs {
    #[command(flatten)]
    pub(crate) common: ResourceArgs,
    /// List, by name or SID
    pub(crate) list: String,
    /// Domain or trunk, by host name, friendly name or SID
    pub(crate) target: String,
    /// For REGISTER instead of for calls; a credential list and a domain only
    #[arg(long, conflicts_with = "ip")]
    pub(crate) registrations: bool,
    #[command(flatten)]
    pub(crate) kind: ListKindArgs,
}
