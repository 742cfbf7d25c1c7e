//! One edge of a fleet, which reports to the store that the fleet shares.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sip_authz_rest::edges::{EdgeAddress, EdgeKey};
use sip_authz_store::{Applied, Lease, LeaseEvent, SharedStore};

use crate::args::{ServeArgs, StaleFor};
use crate::hops::tls::Connector;
use crate::observe::http_errors::WarningLimit;
use crate::serving::follow;
use crate::serving::peers::{Fleet, KnownEdges, PeerOptions};
use crate::serving::resources::{Resources, Setup};
use crate::system::output::{ProgramError, say, warn};

/// The interval between two warnings about equal names.
const AGAIN: Duration = Duration::from_secs(60);
/// The wait after a load that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// The interval between two checks for other edges with this name.
const LOOK: Duration = Duration::from_secs(1);

/// The time limit of a question to all edges.
const ASK: Duration = Duration::from_secs(1);

/// Loads the records of a shared store, follows it, and reports to it.
pub(crate) async fn start<S: SharedStore>(
    store: S,
    args: &ServeArgs,
    mut setup: Setup,
) -> Result<Resources, ProgramError> {
    let wrong = |error: &dyn std::fmt::Display| ProgramError::Setup(error.to_string());
    let name = setup.edge.clone();
    if name.is_empty() || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(wrong(&format_args!(
            "--edge-name: expected a name without slashes and control characters, got `{name}`"
        )));
    }
    let StaleFor(length) = args.fleet.stale_for;
    let url = args.fleet.api_advertise.as_ref().map(|url| url.as_str().to_owned());
    let key = setup.options.admin.as_ref().map(EdgeKey::new);
    if key.is_none() && url.is_some() {
        warn(
            "warning: --api-advertise: without SIP_AUTHZ_ADMIN_TOKEN no edge asks or answers another",
        );
    }
    if let Some(url) = &url {
        say(format_args!("other edges ask this one at {url}"));
    }
    let address = |url: &String| EdgeAddress { name: name.clone(), url: url.clone() };
    setup.options = setup.options.with_edge(url.as_ref().map(address));
    let options = PeerOptions {
        name: name.clone(),
        url: url.clone(),
        key,
        insecure: args.insecure_api,
        known: KnownEdges::of(store.clone()),
        connector: Connector::new("--api-ca", args.fleet.api_ca.as_ref())
            .map_err(|error| wrong(&error))?,
        limit: ASK,
    };
    setup.fleet = Some(Arc::new(Fleet::new(options)));
    let (resources, applied) = load(&store, setup).await?;
    let authorizer = Arc::clone(&resources.authorizer);
    tokio::spawn(warn_of_name_conflicts(store.clone(), name.clone()));
    let (left, refusing) = (store.clone(), Arc::clone(&authorizer));
    let lease = Lease::new(store, authorizer, applied, name, length, &follow::Tokio);
    let lease = lease.with_api(url);
    let confirmed = lease.confirmed();
    resources.state.set_lease(confirmed.clone(), length);
    let (mut limit, state) = (WarningLimit::default(), resources.state.clone());
    let reporting = tokio::spawn(lease.run(follow::Tokio, move |event| match event {
        LeaseEvent::Unreported(error) if limit.due(Instant::now()).is_some() => {
            let age = confirmed.age(Instant::now()).as_secs();
            let then = match length {
                _ if !state.decides() => "calls are answered 503".to_owned(),
                Some(length) => format!("calls are answered 503 from {} s on", length.as_secs()),
                None => "calls are still decided by the last known state".to_owned(),
            };
            warn(format_args!("warning: the store has not confirmed the current state for {age} s: {error}; {then}"));
        }
        LeaseEvent::Reported => {
            limit.reset();
            warn("the store accepts the reports of this edge again");
        }
        _ => {}
    }));
    let leaving = async move {
        reporting.abort();
        let _ = reporting.await;
        // calls can still arrive over open connections until the process ends
        refusing.refuse_from(Some(Instant::now()));
        // if this fails, the next edge with this name or an operator removes the report
        let _ = left.withdraw_report().await;
    };
    *resources.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(leaving));
    Ok(resources)
}

/// Warns every minute while other processes report under the name of this edge.
async fn warn_of_name_conflicts<S: SharedStore>(store: S, name: String) {
    loop {
        if store.take_name_conflict() {
            warn(format_args!(
                "warning: another process also reports as edge `{name}`; give each its own \
                 --edge-name; until then a change that waits for all edges waits for both"
            ));
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Loads all records as soon as the store answers. The edge opens its sockets only after that.
async fn load<S: SharedStore>(
    store: &S,
    setup: Setup,
) -> Result<(Resources, Applied), ProgramError> {
    let begun = Instant::now();
    let mut limit = WarningLimit::default();
    let mut waiting = |error: &dyn std::fmt::Display| {
        if limit.due(Instant::now()).is_some() {
            let since = begun.elapsed().as_secs();
            warn(format_args!("warning: waiting for the store since {since} s: {error}"));
        }
    };
    loop {
        let ready = store.wait_until_ready(|error| waiting(error)).await;
        ready.map_err(|error| ProgramError::Setup(error.to_string()))?;
        match Resources::of_shared(store.clone(), setup.clone()).await {
            Ok(loaded) => return Ok(loaded),
            Err(error @ ProgramError::Setup(_)) => return Err(error),
            // the store failed again, or compacted its history during the load
            Err(error) => waiting(&error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
