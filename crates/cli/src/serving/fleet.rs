//! `serve --etcd`: one edge of a fleet.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sip_authz_store::{Applied, Lease, LeaseEvent};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};

use crate::args::{FleetArgs, StaleFor};
use crate::serving::follow;
use crate::serving::resources::{Resources, Setup};
use crate::system::failure::{Failure, complain};

/// Where the password of `--etcd-user` is.
const PASSWORD: &str = "SIP_AUTHZ_ETCD_PASSWORD";
/// How often an edge that cannot report, or cannot start, complains about it.
const AGAIN: Duration = Duration::from_mins(1);
/// How long an edge that could not load waits before it tries again.
const PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether others go by this edge's name.
const LOOK: Duration = Duration::from_secs(1);

/// Loads what the etcd at `urls` holds, and follows it.
pub(crate) async fn start(
    urls: &[String],
    args: &FleetArgs,
    sip: SocketAddr,
    setup: Setup,
) -> Result<Resources, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Setup(error.to_string());
    let store = EtcdStore::new(&etcd_options(urls, args)?).map_err(|error| wrong(&error))?;
    let name = args.edge_name.clone().unwrap_or_else(|| format!("{}:{}", machine(), sip.port()));
    if name.is_empty() || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(wrong(&format_args!("--edge-name `{name}`: a name without slashes is needed")));
    }
    let (mut resources, applied) = load(&store, setup).await?;
    let StaleFor(length) = args.stale_for;
    let authorizer = Arc::clone(&resources.authorizer);
    tokio::spawn(warn_of_namesakes(store.clone(), name.clone()));
    let (left, refusing) = (store.clone(), Arc::clone(&authorizer));
    let lease = Lease::new(store, authorizer, applied, name, length, &follow::Tokio);
    let confirmed = lease.confirmed();
    resources.lease = Some((confirmed.clone(), length));
    let mut complained: Option<Instant> = None;
    let reporting = tokio::spawn(lease.run(follow::Tokio, move |event| match event {
        LeaseEvent::Unreported(error) => {
            if complained.is_none_or(|last| last.elapsed() >= AGAIN) {
                complained = Some(Instant::now());
                let age = confirmed.age(Instant::now()).as_secs();
                let then = match length {
                    Some(length) => format!("calls are refused from {} s on", length.as_secs()),
                    None => "calls are decided by it all the same".to_owned(),
                };
                complain(format_args!(
                    "warning: etcd has not confirmed the present state for {age} s: {error}; {then}"
                ));
            }
        }
        LeaseEvent::Reported => {
            complained = None;
            complain("etcd can be told again how far this edge has come");
        }
    }));
    let leaving = async move {
        reporting.abort();
        let _ = reporting.await;
        // a connection may still ask until the process is gone
        refusing.refuse_from(Some(Instant::now()));
        // else the next of its name, or an operator, forgets this one
        let _ = left.leave().await;
    };
    resources.leaving = Mutex::new(Some(Box::pin(leaving)));
    Ok(resources)
}

/// Complains for as long as others go by the name of this edge, too.
async fn warn_of_namesakes(store: EtcdStore, name: String) {
    loop {
        if store.shares_its_name() {
            complain(format_args!(
                "warning: another process reports as the edge `{name}`, too: each needs an \
                 --edge-name of its own; until then a change that waits for all edges waits for both"
            ));
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Loads as soon as etcd answers. An edge that starts while etcd is away has nothing to decide by, so it
/// waits, and listens to nobody.
async fn load(store: &EtcdStore, setup: Setup) -> Result<(Resources, Applied), Failure> {
    let begun = Instant::now();
    let mut complained: Option<Instant> = None;
    let mut waiting = |error: &dyn std::fmt::Display| {
        if complained.is_none_or(|last| last.elapsed() >= AGAIN) {
            complained = Some(Instant::now());
            let since = begun.elapsed().as_secs();
            complain(format_args!("warning: nothing is served yet, since {since} s: {error}"));
        }
    };
    loop {
        let arrived = store.arrive(|error| waiting(error)).await;
        arrived.map_err(|error| Failure::Setup(error.to_string()))?;
        match Resources::of_store(store.clone(), EtcdStore::read, setup.clone()).await {
            Ok(loaded) => return Ok(loaded),
            // it went away again, or history was compacted under the load
            Err(failure) => waiting(&failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn etcd_options(urls: &[String], args: &FleetArgs) -> Result<EtcdOptions, Failure> {
    let read = |path: &Path| {
        let failed = |error| Failure::Setup(format!("{}: {error}", path.display()));
        std::fs::read(path).map_err(failed)
    };
    // edges begin at different nodes
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
        let password =
            password.map_err(|_| Failure::Setup(format!("--etcd-user needs {PASSWORD}")))?;
        options = options.with_user(user, password);
    }
    Ok(options)
}

/// The name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}
