//! How `serve` forwards accepted calls.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sip_authz_proxy::{IdentityFields, Settings};

use crate::system::output::ProgramError;

/// The file with the keys in the folder of `--data`.
const KEY_FILE: &str = "forward.keys";

/// Options of `--on-accept forward:`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ForwardArgs {
    /// Keys of the tokens in forwarded calls (`sip-authz keys new FILE`); SIGHUP reloads them. Edges of a
    /// fleet share the file [default: forward.keys in --data, which is created; else new keys at each
    /// start, and calls in progress end with the program]
    #[arg(long, value_name = "FILE")]
    pub(crate) forward_keys: Option<PathBuf>,

    /// Time for which a forwarded call can go on after its last INVITE, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 43_200)]
    #[arg(value_parser = clap::value_parser!(u32).range(60..=2_592_000))]
    pub(crate) dialog_life: u32,

    /// Time for which calls reach a phone after its last REGISTER, in seconds. Must be longer than the
    /// registrations that the PBX grants
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    #[arg(value_parser = clap::value_parser!(u32).range(60..=2_592_000))]
    pub(crate) flow_life: u32,

    /// Names of the header fields that tell the next hop who calls: `account`, `domain`, `user` and
    /// `permits` [default: account=X-Authz-Account,domain=X-Authz-Domain,user=X-Authz-User,
    /// permits=X-Authz-Permits]
    #[arg(long, value_name = "KIND=NAME,…", value_delimiter = ',')]
    pub(crate) identity_header: Vec<IdentityHeader>,

    /// Also tell the next hop the user in P-Asserted-Identity (RFC 3325)
    #[arg(long)]
    pub(crate) assert_identity: bool,
}

/// The name of one identity field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityHeader {
    /// The index in [`KINDS`].
    kind: usize,
    name: String,
}

/// The kinds of identity fields, in the order of [`IdentityFields::new`].
const KINDS: [&str; 4] = ["account", "domain", "user", "permits"];

impl FromStr for IdentityHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.split_once('=').and_then(|(kind, name)| {
            let kind = KINDS.iter().position(|known| *known == kind)?;
            Some(Self { kind, name: name.to_owned() })
        });
        found.ok_or_else(|| {
            "expected account=NAME, domain=NAME, user=NAME or permits=NAME".to_owned()
        })
    }
}

impl ForwardArgs {
    /// The file of the keys, and whether it is created if it is missing.
    pub(crate) fn key_file(&self, data: Option<&Path>) -> Option<(PathBuf, bool)> {
        let given = self.forward_keys.clone().map(|path| (path, false));
        given.or_else(|| Some((data?.join(KEY_FILE), true)))
    }

    /// The settings of the proxy.
    pub(crate) fn settings(&self) -> Result<Settings, ProgramError> {
        let default = IdentityFields::default();
        let mut names = [default.account(), default.domain(), default.user(), default.permits()];
        for header in &self.identity_header {
            if let Some(name) = names.get_mut(header.kind) {
                *name = &header.name;
            }
        }
        let [account, domain, user, permits] = names;
        let identity = IdentityFields::new(account, domain, user, permits)
            .map_err(|error| ProgramError::Setup(format!("--identity-header: {error}")))?;
        let identity = identity.with_asserted(self.assert_identity);
        let (life, flow_life) = (self.dialog_life, self.flow_life);
        Ok(Settings { identity, life, flow_life, ..Settings::default() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn forward(more: &[&str]) -> Result<ForwardArgs, String> {
        let args = Args::try_parse_from([&["sip-authz", "serve", "--demo"], more].concat());
        match args.map_err(|error| error.to_string())?.command {
            Command::Serve(args) => Ok(args.forward),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn identity_headers_have_names_of_their_own() {
        let settings = forward(&[]).unwrap().settings().unwrap();
        assert_eq!(settings.identity.user(), "X-Authz-User");
        assert_eq!((settings.life, settings.identity.is_asserted()), (43_200, false));
        let options = ["--identity-header=user=X-Caller,account=X-Customer", "--assert-identity"];
        let settings = forward(&options).unwrap().settings().unwrap();
        let names = &settings.identity;
        assert_eq!(
            [names.account(), names.domain(), names.user(), names.permits()],
            ["X-Customer", "X-Authz-Domain", "X-Caller", "X-Authz-Permits"]
        );
        assert!(names.is_asserted());
        for wrong in ["", "user", "caller=X-Caller", "User=X-Caller"] {
            assert!(forward(&["--identity-header", wrong]).is_err(), "{wrong}");
        }
        for wrong in ["user=", "user=From", "user=f", "user=a b", "user=X-Authz-Account"] {
            let args = forward(&["--identity-header", wrong]).unwrap();
            assert!(args.settings().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_in_the_named_file_or_beside_the_records() {
        let data = Path::new("/var/lib/sip-authz");
        let beside = data.join("forward.keys");
        assert_eq!(forward(&[]).unwrap().key_file(None), None);
        assert_eq!(forward(&[]).unwrap().key_file(Some(data)), Some((beside, true)));
        let given = forward(&["--forward-keys", "k"]).unwrap();
        assert_eq!(given.key_file(Some(data)), Some(("k".into(), false)));
        for wrong in ["--dialog-life=59", "--flow-life=59", "--flow-life=2592001"] {
            assert!(forward(&[wrong]).is_err(), "{wrong}");
        }
        let lives = forward(&["--dialog-life=60", "--flow-life=61"]).unwrap().settings().unwrap();
        assert_eq!((lives.life, lives.flow_life), (60, 61));
    }
}
