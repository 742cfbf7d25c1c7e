//! The configuration file of the commands that talk to a running server (TOML).

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::credentials::{Credentials, Origin, User, account_sid};
use crate::system::private_file;

/// The maximum number of bytes of a file.
const MAX_FILE: u64 = 64 << 10;
/// The keys of the file.
const KEYS: &str = "api, ca, insecure_api, admin_token, account_sid, auth_token";

/// The content of a configuration file.
pub(super) struct ClientFile {
    path: PathBuf,
    api: Option<String>,
    ca: Option<PathBuf>,
    /// Whether `api` may be plain HTTP to another machine.
    pub(super) insecure_api: bool,
    credentials: Option<Credentials>,
}

impl ClientFile {
    /// Reads a file. The error begins with the path.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("{}: {why}", path.display());
        let (file, metadata) = private_file::open(path).map_err(failed)?;
        let text = private_file::text(&file, &metadata, MAX_FILE, "a configuration file");
        let read = parse(path, &text.map_err(failed)?)?;
        match refusal(&metadata, read.credentials.is_some()) {
            Some(why) => Err(failed(why)),
            None => Ok(read),
        }
    }

    /// Reads a file; returns none if there is none.
    pub(super) fn load_if_present(path: &Path) -> Result<Option<Self>, String> {
        // another error than an absent file is one of the user's
        if std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        Self::load(path).map(Some)
    }

    /// The address of the server.
    pub(super) fn api(&self) -> Option<(String, Origin)> {
        self.api.clone().map(|api| (api, Origin::File(self.path.clone(), "api")))
    }

    /// The file of CA certificates, relative to the folder of this file, and the name of the setting.
    pub(super) fn ca(&self) -> Option<(PathBuf, String)> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.ca.as_ref().map(|ca| (folder.join(ca), format!("{}: ca", self.path.display())))
    }

    /// The credentials.
    pub(super) fn credentials(self) -> Option<Credentials> {
        self.credentials
    }
}

/// The reason to refuse a file of these permissions.
#[cfg(unix)]
fn refusal(metadata: &Metadata, holds_token: bool) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    #[cfg(target_os = "linux")]
    if ![0, nix::unistd::geteuid().as_raw()].contains(&owner) {
        let why = "the file belongs to another user, who could send your token elsewhere";
        return Some(format!("{why} (uid {owner}); copy it"));
    }
    if mode & 0o022 != 0 {
        let why = "other users can write the file and could send your token elsewhere";
        return Some(format!("{why} (mode {mode:04o}); remove the permission (chmod 600)"));
    }
    (holds_token && mode & 0o044 != 0).then(|| {
        let why = "the file holds a token, and other users can read it";
        format!(
            "{why} (mode {mode:04o}); remove the permission (chmod 600), then replace the token"
        )
    })
}

/// Other systems have access control lists, which std does not read.
#[cfg(not(unix))]
fn refusal(_: &Metadata, _: bool) -> Option<String> {
    None
}

/// Reads the text of a file. Errors name a line and a key, and never show a value.
fn parse(path: &Path, text: &str) -> Result<ClientFile, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    };
    let wrong = |at: usize, why: &str| format!("{}:{}: {why}", path.display(), line(at));
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, &format!("expected TOML: {}", error.message().replace('\n', " ")))
    })?;

    let (mut api, mut ca, mut insecure_api) = (None, None, false);
    let (mut admin, mut sid, mut token) = (None, None, None);
    for (key, value) in root.get_ref() {
        let at = key.span().start;
        let name = key.get_ref().as_ref();
        let mistyped = |expected: &str| wrong(at, &format!("{name}: expected {expected}"));
        let string = || string(value).ok_or_else(|| mistyped("a string in quotes, not empty"));
        match name {
            "api" => api = Some(string()?.to_owned()),
            "ca" => ca = Some(PathBuf::from(string()?)),
            "insecure_api" => {
                insecure_api =
                    value.get_ref().as_bool().ok_or_else(|| mistyped("true or false"))?;
            }
            "admin_token" => admin = Some((at, Zeroizing::new(string()?.to_owned()))),
            "account_sid" => {
                let sid_text = string()?;
                let read =
                    account_sid(sid_text).map_err(|why| wrong(at, &format!("{name}: {why}")))?;
                sid = Some((at, read));
            }
            "auth_token" => token = Some((at, Zeroizing::new(string()?.to_owned()))),
            _ => return Err(wrong(at, &format!("unknown key `{name}`; expected one of {KEYS}"))),
        }
    }

    let file = |key| Origin::File(path.to_owned(), key);
    let credentials = match (admin, sid, token) {
        (None, None, None) => None,
        (Some((_, token)), None, None) => {
            Some(Credentials { user: User::Admin, token, origin: file("admin_token") })
        }
        (None, Some((_, sid)), Some((_, token))) => {
            Some(Credentials { user: User::Account(sid), token, origin: file("auth_token") })
        }
        (None, Some((at, _)), None) => {
            return Err(wrong(at, "account_sid: expected auth_token beside it"));
        }
        (None, None, Some((at, _))) => {
            return Err(wrong(at, "auth_token: expected account_sid beside it"));
        }
        (Some((at, _)), ..) => {
            let why = "admin_token: expected either it, or account_sid and auth_token";
            return Err(wrong(at, why));
        }
    };
    Ok(ClientFile { path: path.to_owned(), api, ca, insecure_api, credentials })
}

fn string<'t>(value: &'t Spanned<DeValue<'_>>) -> Option<&'t str> {
    value.get_ref().as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AC0123456789abcdef0123456789abcdef";

    fn error(text: &str) -> String {
        parse(Path::new("client.toml"), text).err().unwrap()
    }

    #[test]
    fn a_file_names_a_server_and_an_account() {
        let text = format!("api = 'https://a.example'\naccount_sid = '{SID}'\nauth_token = 't'\n");
        let file = parse(Path::new("/x/client.toml"), &text).unwrap();
        assert_eq!(file.api().unwrap().0, "https://a.example");
        assert_eq!(file.ca(), None);
        let credentials = file.credentials().unwrap();
        assert_eq!(credentials.user, User::Account(SID.parse().unwrap()));
        assert_eq!(credentials.token.as_str(), "t");
        assert!(
            parse(Path::new("client.toml"), "# nothing yet\n").unwrap().credentials().is_none()
        );
    }

    #[test]
    fn an_error_names_the_line_and_never_shows_a_value() {
        for (text, expected) in [
            ("\nadmin_token = secret", "client.toml:2: expected TOML: "),
            ("admin_token = 'secret", "client.toml:1: expected TOML: "),
            ("admin_token = 0x5ec4e7", "client.toml:1: admin_token: expected a string"),
            ("admin_token = ['secret']", "client.toml:1: admin_token: expected a string"),
            ("\n\nauth_token = ''", "client.toml:3: auth_token: expected a string"),
            ("auth_token = 'secret'", "client.toml:1: auth_token: expected account_sid beside it"),
            (
                "account_sid = 'secret'",
                "client.toml:1: account_sid: expected the SID of an account",
            ),
            ("insecure_api = 1", "client.toml:1: insecure_api: expected true or false"),
            ("token = 'secret'", "client.toml:1: unknown key `token`; expected one of api, "),
            ("admin_token = 'secret'\nadmin_token = 'secret'", "client.toml:2: expected TOML: "),
        ] {
            let found = error(text);
            assert!(found.starts_with(expected), "{found}");
            assert!(!found.contains("secret") && !found.contains("6210791"), "{found}");
        }
        let sid = format!("account_sid = '{SID}'");
        assert_eq!(error(&sid), "client.toml:1: account_sid: expected auth_token beside it");
        let both = error(&format!("admin_token = 'a'\n{sid}\nauth_token = 'secret'"));
        assert!(both.starts_with("client.toml:1: admin_token: expected either it, or "), "{both}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_a_token_must_be_private_and_any_file_safe_from_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let name = format!("client-mode-{}.toml", std::process::id());
        let path = sip_authz_testing::folder::temporary().join(name);
        for (text, mode, expected) in [
            ("api = 'http://localhost'", 0o644, None),
            ("api = 'http://localhost'", 0o664, Some("other users can write")),
            ("api = 'http://localhost'", 0o602, Some("other users can write")),
            ("admin_token = 'secret'", 0o600, None),
            ("admin_token = 'secret'", 0o400, None),
            ("admin_token = 'secret'", 0o640, Some("other users can read")),
            ("admin_token = 'secret'", 0o604, Some("other users can read")),
            ("admin_token = 'secret'", 0o620, Some("other users can write")),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = ClientFile::load(&path).err();
            let fits = match (&refused, expected) {
                (None, None) => true,
                (Some(refused), Some(expected)) => refused.contains(expected),
                _ => false,
            };
            assert!(fits, "{text} {mode:o}: {refused:?}");
            std::fs::remove_file(&path).unwrap();
        }
        let folder = sip_authz_testing::folder::temporary();
        let refused = ClientFile::load(&folder).err().unwrap();
        assert!(refused.ends_with("expected a file, found a directory"), "{refused}");
    }
}
