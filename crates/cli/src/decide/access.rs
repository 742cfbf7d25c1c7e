//! The rights to connect: the users of Unix sockets, and the token of TCP and HTTP.

use std::path::Path;

use sip_authz_rest::AdminToken;
use zeroize::Zeroizing;

use crate::args::{DecideAddress, DecideArgs};
use crate::commands::client;
use crate::system::output::ProgramError;
use crate::system::private_file;

/// The environment variable with the token.
const TOKEN: &str = "SIP_AUTHZ_DECIDE_TOKEN";
/// The maximum length of a file with a token in bytes.
const MAX_FILE: u64 = 4 << 10;
/// The minimum length of a token in bytes.
const MIN_TOKEN: usize = 16;

/// The users and the token that may connect.
pub(super) struct Access {
    /// The ids of the users that may connect to Unix sockets.
    pub(super) users: Vec<u32>,
    /// The token of TCP and HTTP; without one no such connection is admitted.
    token: Option<AdminToken>,
}

impl Access {
    /// Reads the options, and the token from its file or from the environment.
    pub(super) fn of(args: &DecideArgs) -> Result<Self, ProgramError> {
        let is_unix = |it: &DecideAddress| matches!(it, DecideAddress::Unix(_));
        let loopback = args.decide.iter().find(|it| !is_unix(it));
        let has_unix = args.decide.iter().any(is_unix);
        for (option, is_given) in [
            ("--decide-user", !args.decide_user.is_empty()),
            ("--decide-group", args.decide_group.is_some()),
        ] {
            if is_given && !has_unix {
                return Err(setup(format!("{option} needs a --decide with `unix:`")));
            }
        }
        let token = match (&args.decide_token_file, loopback) {
            (Some(_), None) => {
                let what = "--decide-token-file needs a --decide with `tcp:` or `http:`";
                return Err(setup(what.to_owned()));
            }
            (Some(path), Some(_)) => Some(read(path)?),
            (None, Some(_)) => client::token_of(TOKEN)?,
            (None, None) => None,
        };
        if let Some(address) = loopback {
            let Some(token) = &token else {
                return Err(setup(format!(
                    "--decide {address}: expected a token in --decide-token-file or {TOKEN}: every user \
                     of this machine can connect to a loopback address"
                )));
            };
            if token.len() < MIN_TOKEN {
                return Err(setup(format!(
                    "--decide {address}: expected a token of at least {MIN_TOKEN} bytes, found {}; make \
                     one with: openssl rand -hex 32",
                    token.len()
                )));
            }
        }
        let token = token.as_deref().and_then(|token| AdminToken::new(token));
        Ok(Self { users: users(args)?, token })
    }

    /// Admits a token over TCP alone.
    #[cfg(test)]
    pub(super) fn with_token(token: &str) -> Self {
        Self { users: Vec::new(), token: AdminToken::new(token) }
    }

    /// Whether this is the token of TCP and HTTP, compared in constant time.
    pub(super) fn admits(&self, token: Option<&[u8]>) -> bool {
        let given = token.and_then(|token| str::from_utf8(token).ok());
        self.token.as_ref().zip(given).is_some_and(|(token, given)| token.matches(given))
    }
}

fn setup(message: String) -> ProgramError {
    ProgramError::Setup(message)
}

#[cfg(unix)]
fn users(args: &DecideArgs) -> Result<Vec<u32>, ProgramError> {
    if args.decide_user.is_empty() {
        return Ok(vec![super::unix::own_user()]);
    }
    args.decide_user.iter().map(|name| super::unix::user(name)).collect()
}

/// There are no Unix sockets.
#[cfg(not(unix))]
fn users(_: &DecideArgs) -> Result<Vec<u32>, ProgramError> {
    Ok(Vec::new())
}

/// Reads a token from a file that only its owner can read. White space around it does not count.
fn read(path: &Path) -> Result<Zeroizing<String>, ProgramError> {
    let failed = |why: String| setup(format!("--decide-token-file {}: {why}", path.display()));
    let (file, metadata) = private_file::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(failed(format!(
                "other users can read or write the file (mode {mode:04o}); remove the permission \
                 (chmod 600), then replace the token"
            )));
        }
    }
    let text = private_file::text(&file, &metadata, MAX_FILE, "a token").map_err(failed)?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        return Err(failed("expected a token, found nothing".to_owned()));
    }
    Ok(token)
}
