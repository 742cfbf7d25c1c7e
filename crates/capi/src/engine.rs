//! An engine: decides in this process by a configuration.

mod changes;

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sip_authz::{Authorizer, Transport};
use sip_authz_config::{Config, Options, load, parse};
use sip_authz_decide::engine::{Question, decided, read, text_of, undecided};
use sip_authz_decide::{Frame, Request, split};

use self::changes::Keys;
use crate::codes::{SIP_AUTHZ_CONFIG, SIP_AUTHZ_SYSTEM};
use crate::failure::Failure;

/// An engine. It does not watch its file: only `replace` and `apply` change its records.
pub(crate) struct Engine {
    authorizer: Authorizer,
    /// The keys of the records in force. Changes hold the lock; decisions never take it.
    keys: Mutex<Keys>,
}

impl Engine {
    /// An engine from the text of a configuration.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, Failure> {
        Self::new(config_of(text)?)
    }

    /// An engine from a configuration file.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Failure> {
        if let Err(error) = File::open(path) {
            let detail = format!("{}: {error}", path.display());
            return Err(Failure::new(SIP_AUTHZ_SYSTEM, detail));
        }
        Self::new(load(path, &Options::new()).map_err(wrong)?)
    }

    fn new(config: Config) -> Result<Self, Failure> {
        let keys = Keys::of(&config.commit);
        let authorizer = Authorizer::new(config.snapshot)
            .map_err(|error| Failure::new(SIP_AUTHZ_SYSTEM, error.to_string()))?;
        Ok(Self { authorizer, keys: Mutex::new(keys) })
    }

    /// Replaces all records.
    pub(crate) fn replace(&self, text: &[u8]) -> Result<(), Failure> {
        let config = config_of(text)?;
        let mut keys = self.keys();
        *keys = Keys::of(&config.commit);
        self.authorizer.replace(config.snapshot);
        Ok(())
    }

    /// Adds or replaces the records of a text, and removes others by their SIDs; all or nothing.
    pub(crate) fn apply(&self, text: &[u8], removed: &[&[u8]]) -> Result<(), Failure> {
        // an empty text would be a configuration with the account `default`
        let config = if text.is_empty() { None } else { Some(config_of(text)?) };
        let writes = config.as_ref().map(|config| config.commit.writes()).unwrap_or_default();
        let mut keys = self.keys();
        let commit = keys.change(writes, removed).map_err(wrong)?;
        self.authorizer.apply(&commit).map_err(wrong)?;
        keys.apply(&commit);
        Ok(())
    }

    /// The frame of the answer to the frame of a question.
    pub(crate) fn answer(&self, question: &[u8]) -> Result<Vec<u8>, Failure> {
        let (request, transport) = request_of(question)?;
        let text = text_of(&request);
        Ok(match read(&request, transport, text.as_deref()) {
            Ok(Question { invite, .. }) => {
                let decision = self.authorizer.authorize(&invite, Instant::now());
                decided(request.id, &decision, &self.authorizer, &self.authorizer.snapshot())
            }
            Err(not) => undecided(request.id, &not),
        })
    }

    /// Explains the decision on the frame of a question, and changes nothing.
    pub(crate) fn explain(&self, question: &[u8]) -> Result<String, Failure> {
        let (request, transport) = request_of(question)?;
        let text = text_of(&request);
        Ok(match read(&request, transport, text.as_deref()) {
            Ok(Question { invite, .. }) => {
                self.authorizer.explain(&invite, Instant::now()).to_string()
            }
            Err(not) => format!("not decided: {}", not.reason()),
        })
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // a panic poisons the handle too, which then refuses
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::new(SIP_AUTHZ_CONFIG, error.to_string())
}

fn config_of(text: &[u8]) -> Result<Config, Failure> {
    let text = str::from_utf8(text).map_err(|_| wrong("expected TOML in UTF-8"))?;
    parse(text, &Options::new()).map_err(wrong)
}

/// The request in a frame that this library has written.
fn request_of(question: &[u8]) -> Result<(Request<'_>, Transport), Failure> {
    let frame = split(question).ok().flatten().map(|(frame, _)| Frame::decode(frame));
    let Some(Ok(Frame::Request(request))) = frame else {
        return Err(Failure::request("the request cannot be read"));
    };
    let transport = request.transport.parse().map_err(|_| Failure::request("unknown transport"))?;
    Ok((request, transport))
}
