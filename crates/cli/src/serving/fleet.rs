//! One edge of a fleet, which reports to the store that the fleet shares.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sip_authz_store::{Applied, Lease, LeaseEvent, SharedStore};

use crate::args::{FleetArgs, StaleFor};
use crate::serving::follow;
use crate::serving::resources::{Resources, Setup};
use crate::system::failure::{Failure, complain};

/// The interval between two warnings about one condition.
const AGAIN: Duration = Duration::from_secs(60);
/// The wait after a load that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// The interval between two checks for other edges with this name.
const LOOK: Duration = Duration::from_secs(1);

/// Loads the records of a shared store, follows it, and reports to it.
pub(crate) async fn start<S: SharedStore>(
    store: S,
    args: &FleetArgs,
    sip: SocketAddr,
    setup: Setup,
) -> Result<Resources, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Setup(error.to_string());
    let name = args.edge_name.clone().unwrap_or_else(|| format!("{}:{}", machine(), sip.port()));
    if name.is_empty() || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(wrong(&format_args!("--edge-name `{name}`: a name without slashes is needed")));
    }
    let (mut resources, applied) = load(&store, setup).await?;
    let StaleFor(length) = args.stale_for;
    let authorizer = Arc::clone(&resources.authorizer);
    tokio::spawn(warn_of_name_conflicts(store.clone(), name.clone()));
    let (left, refusing) = (store.clone(), Arc::clone(&authorizer));
    let lease = Lease::new(store, authorizer, applied, name, length, &follow::Tokio);
    let confirmed = lease.confirmed();
    resources.lease = Some((confirmed.clone(), length));
    let mut complained: Option<Instant> = None;
    let reporting = tokio::spawn(lease.run(follow::Tokio, move |event| match event {
        LeaseEvent::Unreported(error)
            if complained.is_none_or(|last| last.elapsed() >= AGAIN) =>
        {
            complained = Some(Instant::now());
            let age = confirmed.age(Instant::now()).as_secs();
            let then = match length {
                Some(length) => format!("calls are refused from {} s on", length.as_secs()),
                None => "calls are decided by it all the same".to_owned(),
            };
            complain(format_args!(
                "warning: the store has not confirmed the present state for {age} s: {error}; {then}"
            ));
        }
        LeaseEvent::Reported => {
            complained = None;
            complain("the store accepts the reports of this edge again");
        }
        _ => {}
    }));
    let leaving = async move {
        reporting.abort();
        let _ = reporting.await;
        // connections may still bring calls until the process ends
        refusing.refuse_from(Some(Instant::now()));
        // a report that stays is removed by the next edge with this name, or by an operator
        let _ = left.withdraw_report().await;
    };
    resources.leaving = Mutex::new(Some(Box::pin(leaving)));
    Ok(resources)
}

/// Warns every minute while other processes report under the name of this edge.
async fn warn_of_name_conflicts<S: SharedStore>(store: S, name: String) {
    loop {
        if store.take_name_conflict() {
            complain(format_args!(
                "warning: another process reports as the edge `{name}`, too: each needs an \
                 --edge-name of its own; until then a change that waits for all edges waits for both"
            ));
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Loads all records as soon as the store answers. Until then the edge has nothing to decide by, so it
/// opens no sockets.
async fn load<S: SharedStore>(store: &S, setup: Setup) -> Result<(Resources, Applied), Failure> {
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
        let ready = store.wait_until_ready(|error| waiting(error)).await;
        ready.map_err(|error| Failure::Setup(error.to_string()))?;
        match Resources::of_shared(store.clone(), setup.clone()).await {
            Ok(loaded) => return Ok(loaded),
            // the store failed again, or compacted its history during the load
            Err(failure) => waiting(&failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}
