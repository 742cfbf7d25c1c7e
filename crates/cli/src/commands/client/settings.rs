//! The server that a command talks to and the credentials that it sends, each with its origin.
//!
//! The address is that of `--api`, else of the environment, else of the client's configuration file, else the
//! default. The credentials are the admin token of the environment, else the account of the environment, else
//! those of the file.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::credentials::{Credentials, Origin, User, account_sid};
use super::file::ClientFile;
use super::{ADMIN_TOKEN, check_base};
use crate::args::ServerArgs;
use crate::system::api_url::DEFAULT_API;
use crate::system::output::ProgramError;
use crate::system::words::masked;

/// The environment variable with the URL of the server.
const API: &str = "SIP_AUTHZ_API";
/// The environment variable with the SID of an account.
const ACCOUNT_SID: &str = "SIP_AUTHZ_ACCOUNT_SID";
/// The environment variable with the auth token of that account.
const AUTH_TOKEN: &str = "SIP_AUTHZ_AUTH_TOKEN";

/// The address of a server.
#[derive(Debug)]
pub(super) struct Address {
    /// The URL without a slash at its end.
    pub(super) base: String,
    pub(super) origin: Origin,
    /// A PEM file with the only CA certificates to trust, and the name of the setting.
    pub(super) ca: Option<(PathBuf, String)>,
}

/// The settings of a command that talks to a running server.
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) credentials: Credentials,
}

impl Settings {
    /// Collects the settings from the command line, the environment and the configuration file.
    ///
    /// The file is read only if a setting is missing, or if the command line names it.
    pub(super) fn load(args: &ServerArgs) -> Result<Self, ProgramError> {
        let variable = |name| environment(name, std::env::var(name));
        Self::collect(args, &variable, &default_path).map_err(ProgramError::Setup)
    }

    fn collect(
        args: &ServerArgs,
        variable: &dyn Fn(&'static str) -> Result<Option<Zeroizing<String>>, String>,
        default_path: &dyn Fn() -> Option<PathBuf>,
    ) -> Result<Self, String> {
        let api = match &args.api {
            Some(api) => Some((api.clone(), Origin::Option)),
            None => variable(API)?.map(|api| (api.to_string(), Origin::Environment(API))),
        };
        let credentials = credentials(variable)?;
        let file = match &args.client_config {
            Some(path) => Some(ClientFile::load(path)?),
            None if api.is_some() && credentials.is_some() => None,
            None => match default_path() {
                Some(path) => ClientFile::load_if_present(&path)?,
                None => None,
            },
        };
        Ok(Self {
            address: address(args, api, file.as_ref())?,
            credentials: match credentials.or_else(|| file.and_then(ClientFile::credentials)) {
                Some(credentials) => credentials,
                None => return Err(no_credentials(args, default_path().as_deref())),
            },
        })
    }
}

/// The value of an environment variable; an empty one counts as absent.
pub(super) fn environment(
    name: &str,
    value: Result<String, std::env::VarError>,
) -> Result<Option<Zeroizing<String>>, String> {
    match value.map(Zeroizing::new) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}

/// The path of the configuration file if the command line names none (XDG Base Directory Specification).
fn default_path() -> Option<PathBuf> {
    // the specification ignores a relative path
    let folder =
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| {
        let home = std::env::home_dir().filter(|home| home.is_absolute())?;
        Some(home.join(".config"))
    })?;
    Some(folder.join("sip-authz").join("client.toml"))
}

/// The credentials in the environment.
fn credentials(
    variable: &dyn Fn(&'static str) -> Result<Option<Zeroizing<String>>, String>,
) -> Result<Option<Credentials>, String> {
    if let Some(token) = variable(ADMIN_TOKEN)? {
        let origin = Origin::Environment(ADMIN_TOKEN);
        return Ok(Some(Credentials { user: User::Admin, token, origin }));
    }
    let missing = |set, other| Err(format!("{set} is set without {other}; set both or none"));
    let (sid, token) = match (variable(ACCOUNT_SID)?, variable(AUTH_TOKEN)?) {
        (Some(sid), Some(token)) => (sid, token),
        (None, None) => return Ok(None),
        (Some(_), None) => return missing(ACCOUNT_SID, AUTH_TOKEN),
        (None, Some(_)) => return missing(AUTH_TOKEN, ACCOUNT_SID),
    };
    let sid = account_sid(&sid).map_err(|why| format!("{ACCOUNT_SID}: {why}"))?;
    let origin = Origin::Environment(AUTH_TOKEN);
    Ok(Some(Credentials { user: User::Account(sid), token, origin }))
}

fn address(
    args: &ServerArgs,
    api: Option<(String, Origin)>,
    file: Option<&ClientFile>,
) -> Result<Address, String> {
    let file_api = || file.and_then(ClientFile::api);
    let (url, origin) =
        api.or_else(file_api).unwrap_or_else(|| (DEFAULT_API.to_owned(), Origin::Default));
    let base = url.trim_end_matches('/').to_owned();
    // these settings of the file belong to its own address
    let file = file.filter(|_| matches!(origin, Origin::File(..)));
    let insecure = args.insecure_api || file.is_some_and(|file| file.insecure_api);
    check_base(&base, insecure).map_err(|why| format!("{origin} {}: {why}", masked(&base)))?;
    #[cfg(feature = "tls")]
    let option = args.ca.clone().map(|path| (path, "--ca".to_owned()));
    #[cfg(not(feature = "tls"))]
    let option = None;
    let ca = option.or_else(|| file.and_then(ClientFile::ca));
    Ok(Address { base, origin, ca })
}

fn no_credentials(args: &ServerArgs, default: Option<&Path>) -> String {
    let place = match (&args.client_config, default) {
        (Some(path), _) => format!(", or add them to {}", path.display()),
        (None, Some(path)) => format!(", or write them to {}", path.display()),
        (None, None) => String::new(),
    };
    format!(
        "no credentials: set {ADMIN_TOKEN} to the same token as for `sip-authz serve`, or {ACCOUNT_SID} \
         and {AUTH_TOKEN} to those of an account{place}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AC0123456789abcdef0123456789abcdef";

    fn args(words: &[&str]) -> ServerArgs {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            server: ServerArgs,
        }
        Only::try_parse_from([&["test"], words].concat()).unwrap().server
    }

    fn file(text: &str) -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("client-{}-{number}.toml", std::process::id());
        let path = sip_authz_testing::folder::temporary().join(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        path
    }

    fn collect(
        words: &[&str],
        variables: &[(&str, &str)],
        default: Option<&Path>,
    ) -> Result<Settings, String> {
        let variable = |name: &'static str| {
            let value = variables.iter().find(|(other, _)| *other == name);
            let value = value.map(|(_, value)| (*value).to_owned());
            environment(name, value.ok_or(std::env::VarError::NotPresent))
        };
        Settings::collect(&args(words), &variable, &|| default.map(Path::to_owned))
    }

    fn error(words: &[&str], variables: &[(&str, &str)], default: Option<&Path>) -> String {
        collect(words, variables, default).err().unwrap()
    }

    #[test]
    fn each_setting_comes_from_the_first_place_that_has_it() {
        let path = file("api = 'http://localhost:3/'\nadmin_token = 'from-file'\n");
        let (file, place) = (Some(path.as_path()), |key| Origin::File(path.clone(), key));
        let address = [(API, "http://localhost:2")];
        let admin = [(ADMIN_TOKEN, "admin"), (ACCOUNT_SID, SID)];
        let account = [(ACCOUNT_SID, SID), (AUTH_TOKEN, "token"), (ADMIN_TOKEN, "")];
        let option = ["--api", "http://localhost:1"];
        for (words, variables, base, origin) in [
            (&option[..], &address[..], "http://localhost:1", Origin::Option),
            (&[], &address, "http://localhost:2", Origin::Environment(API)),
            (&[], &[(API, "")], "http://localhost:3", place("api")),
        ] {
            let found = collect(words, variables, file).unwrap().address;
            assert_eq!((found.base.as_str(), found.origin), (base, origin));
        }
        let found = collect(&[], &admin, None).unwrap().address;
        assert_eq!((found.base.as_str(), found.origin), (DEFAULT_API, Origin::Default));

        let sid = SID.parse().unwrap();
        for (variables, user, token, origin) in [
            (&admin[..], User::Admin, "admin", Origin::Environment(ADMIN_TOKEN)),
            (&account, User::Account(sid), "token", Origin::Environment(AUTH_TOKEN)),
            (&[], User::Admin, "from-file", place("admin_token")),
        ] {
            let found = collect(&[], variables, file).unwrap().credentials;
            assert_eq!((found.user, found.token.as_str(), found.origin), (user, token, origin));
        }
    }

    #[test]
    fn a_file_is_read_only_if_a_setting_is_missing_or_the_command_line_names_it() {
        let path = file("nonsense");
        let variables = [(API, "http://localhost:2"), (ADMIN_TOKEN, "admin")];
        assert!(collect(&[], &variables, Some(&path)).is_ok());
        let text = error(&[], &variables[..1], Some(&path));
        assert!(text.starts_with(&format!("{}:1: ", path.display())), "{text}");
        let named = ["--client-config", path.to_str().unwrap()];
        assert_eq!(error(&named, &variables, None), text);
        let absent = path.with_extension("absent");
        assert!(collect(&[], &variables[1..], Some(&absent)).is_ok());
        let named = ["--client-config", absent.to_str().unwrap()];
        assert_eq!(error(&named, &variables, None), format!("{}: no such file", absent.display()));
    }

    #[test]
    fn half_of_the_credentials_is_an_error_that_names_the_other_half() {
        let one = error(&[], &[(ACCOUNT_SID, SID)], None);
        assert_eq!(one, format!("{ACCOUNT_SID} is set without {AUTH_TOKEN}; set both or none"));
        let other = error(&[], &[(AUTH_TOKEN, "secret")], None);
        assert_eq!(other, format!("{AUTH_TOKEN} is set without {ACCOUNT_SID}; set both or none"));
        // the two values are swapped
        let swapped = error(&[], &[(ACCOUNT_SID, "secret"), (AUTH_TOKEN, SID)], None);
        assert!(swapped.starts_with(ACCOUNT_SID) && !swapped.contains("secret"), "{swapped}");
        let none = error(&[], &[], Some(Path::new("/nowhere/client.toml")));
        assert!(none.contains("/nowhere/client.toml") && none.contains(AUTH_TOKEN), "{none}");
    }

    #[test]
    fn an_error_of_an_address_names_its_origin() {
        let admin = (ADMIN_TOKEN, "admin");
        let text = error(&[], &[admin, (API, "ftp://x")], None);
        assert!(text.starts_with("SIP_AUTHZ_API ftp://x: expected a URL"), "{text}");
        let path = file("api = 'http://192.0.2.1'\n");
        let text = error(&[], &[admin], Some(&path));
        assert!(text.starts_with(&format!("{}: api http://192.0.2.1: ", path.display())), "{text}");
    }

    #[test]
    fn the_file_allows_plain_http_for_its_own_address_only() {
        let path = file("api = 'http://192.0.2.1'\ninsecure_api = true\nca = 'ca.pem'\n");
        let found = collect(&[], &[(ADMIN_TOKEN, "admin")], Some(&path)).unwrap().address;
        let ca = path.with_file_name("ca.pem");
        assert_eq!(found.ca, Some((ca, format!("{}: ca", path.display()))));
        let named = ["--client-config", path.to_str().unwrap(), "--api", "http://192.0.2.2"];
        let text = error(&named, &[(ADMIN_TOKEN, "admin")], None);
        assert!(text.starts_with("--api http://192.0.2.2: plain HTTP"), "{text}");
        let named = ["--client-config", path.to_str().unwrap(), "--api", "http://localhost"];
        assert_eq!(collect(&named, &[(ADMIN_TOKEN, "a")], None).unwrap().address.ca, None);
    }
}
