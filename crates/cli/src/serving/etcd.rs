//! `serve --etcd`: the shared store that its options describe.

use std::path::Path;

use sip_authz_store_etcd::{EtcdOptions, EtcdStore};

use crate::args::EtcdArgs;
use crate::system::output::ProgramError;

/// The environment variable with the password of `--etcd-user`.
const PASSWORD: &str = "SIP_AUTHZ_ETCD_PASSWORD";

/// The store in the etcd at `urls`. Sends no request yet.
pub(crate) fn open(urls: &[String], args: &EtcdArgs) -> Result<EtcdStore, ProgramError> {
    let store = EtcdStore::new(&options(urls, args)?);
    store.map_err(|error| ProgramError::Setup(error.to_string()))
}

fn options(urls: &[String], args: &EtcdArgs) -> Result<EtcdOptions, ProgramError> {
    let read = |path: &Path| {
        let failed = |error| ProgramError::Setup(format!("{}: {error}", path.display()));
        std::fs::read(path).map_err(failed)
    };
    // a random first node spreads the edges over the nodes
    let mut random = [0; 2];
    let _ = getrandom::fill(&mut random);
    let first = usize::from(u16::from_le_bytes(random));
    let mut options = EtcdOptions::new(urls)
        .with_root(&args.etcd_prefix)
        .with_first_node(first % urls.len().max(1));
    if let Some(ca) = &args.etcd_ca {
        options = options.with_ca(read(ca)?);
    }
    if let (Some(certificate), Some(key)) = (&args.etcd_cert, &args.etcd_key) {
        options = options.with_identity(read(certificate)?, read(key)?);
    }
    if let Some(user) = &args.etcd_user {
        let password = std::env::var(PASSWORD);
        let password = password
            .map_err(|_| ProgramError::Setup(format!("--etcd-user: {PASSWORD} is not set")))?;
        options = options.with_user(user, password);
    }
    Ok(options)
}
