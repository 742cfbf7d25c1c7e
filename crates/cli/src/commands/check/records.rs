//! The records that `check` decides by: those of a file, of a data folder, of an etcd or of an export.

use std::path::Path;

use sip_authz::Snapshot;
use sip_authz::model::{Record, Vocabulary};
use sip_authz_config::{DomainSource, Names, Options};
use sip_authz_directory::{Directory, Settings};
use sip_authz_store::{MemoryStore, Store, StoreError, StoreSnapshot};
use tokio::runtime::Runtime;

use crate::args::{CheckArgs, RecordSource};
use crate::commands::import;
#[cfg(feature = "etcd")]
use crate::serving::etcd;
use crate::system::output::{ProgramError, warn_all};

/// A snapshot to decide by.
pub(super) struct Records {
    pub(super) snapshot: Snapshot,
    /// The names of records by SID, as far as they are known before the decision.
    pub(super) names: Names,
    pub(super) default_domain: Vec<DomainSource>,
}

/// Reads the records of a source other than a running server.
pub(super) fn load(
    source: RecordSource<'_>,
    args: &CheckArgs,
    options: Options,
) -> Result<Records, ProgramError> {
    let default_domain = args.default_domain.clone();
    let found = match source {
        RecordSource::Config(path) => return of_config(path, &options, default_domain),
        RecordSource::Folder(folder) => {
            sip_authz_store_sqlite::read(folder).map_err(|error| failed(&error))?
        }
        #[cfg(feature = "etcd")]
        RecordSource::Etcd(urls, access) => {
            let store = etcd::open(urls, access)?;
            runtime()?.block_on(store.load()).map_err(|error| failed(&error))?
        }
        RecordSource::Export(path) => {
            let vocabulary = vocabulary(args)?;
            runtime()?.block_on(of_export(path, vocabulary))?
        }
        RecordSource::Api(_) => {
            return Err(ProgramError::Setup("expected records, found --api".to_owned()));
        }
    };
    let StoreSnapshot { head, records } = found;
    let names = names(&records);
    let builder = Snapshot::builder().vocabulary(vocabulary(args)?).number(head.number);
    let built = builder.records(records).build();
    let snapshot = built.map_err(|error| ProgramError::Setup(format!("{source}: {error}")))?;
    Ok(Records { snapshot, names, default_domain })
}

fn of_config(
    path: &Path,
    options: &Options,
    mut default_domain: Vec<DomainSource>,
) -> Result<Records, ProgramError> {
    let config = sip_authz_config::load(path, options).map_err(ProgramError::Config)?;
    warn_all(config.warnings());
    if default_domain.is_empty() {
        default_domain.clone_from(&config.edge.default_domain);
    }
    Ok(Records { snapshot: config.snapshot, names: config.names, default_domain })
}

/// The records of an export, by the code of an import.
async fn of_export(
    path: &Path,
    vocabulary: &'static Vocabulary,
) -> Result<StoreSnapshot, ProgramError> {
    let mut document = import::document(path)?;
    let wrong = |why: String| ProgramError::Setup(format!("{}: {why}", path.display()));
    let lacks_secret = |user: &sip_authz_rest::bulk::CredentialEntry| {
        user.ha1.is_none() && user.password.is_none()
    };
    if document.credentials.iter().any(lacks_secret) {
        let why = "users have no hashes; expected the output of `sip-authz export --with-secrets`";
        return Err(wrong(why.to_owned()));
    }
    // the answer to accepted calls has no part in the decision, and this program may not allow its hops
    document.domains.iter_mut().for_each(|domain| domain.on_accept = None);
    document.trunks.iter_mut().for_each(|trunk| trunk.on_accept = None);
    let incoming = document.into_incoming();
    let incoming =
        incoming.map_err(|error| wrong(format!("{}: {}", error.place, error.message)))?;
    let realm = "sip-authz".parse();
    let realm = realm.map_err(|error| ProgramError::Runtime(format!("{error}")))?;
    let store = MemoryStore::new();
    let settings = Settings::new(realm).with_vocabulary(vocabulary);
    let directory = Directory::new(store.clone(), settings, None);
    directory.merge(incoming, false).await.map_err(|error| wrong(error.to_string()))?;
    store.load().await.map_err(|error| failed(&error))
}

fn vocabulary(args: &CheckArgs) -> Result<&'static Vocabulary, ProgramError> {
    let vocabulary = Vocabulary::with(args.permission.iter().map(String::as_str));
    vocabulary.map_err(|error| ProgramError::Setup(format!("--permission: {error}")))
}

fn runtime() -> Result<Runtime, ProgramError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| ProgramError::Runtime(error.to_string()))
}

/// Without records there is no decision, so the code is that of a source that cannot be read.
fn failed(error: &StoreError) -> ProgramError {
    ProgramError::Setup(error.reason().to_owned())
}

/// The names of accounts, lists and trunks. The snapshot itself has the names of domains and users.
fn names(records: &[Record]) -> Names {
    let mut names = Names::default();
    for record in records {
        match record {
            Record::Account(it) if !it.friendly_name.is_empty() => {
                names.insert(it.sid, &it.friendly_name);
            }
            Record::IpAccessControlList(it) if !it.friendly_name.is_empty() => {
                names.insert(it.sid, &it.friendly_name);
            }
            Record::CredentialList(it) if !it.friendly_name.is_empty() => {
                names.insert(it.sid, &it.friendly_name);
            }
            Record::Trunk(it) if !it.friendly_name.is_empty() => {
                names.insert(it.sid, &it.friendly_name);
            }
            _ => {}
        }
    }
    names
}
