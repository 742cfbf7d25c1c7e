//! The next hops of forwarded calls: their addresses, their health, and connections to them.
//!
//! Calls read one immutable table, which background tasks replace. Nothing here waits for a name server
//! or a hop on the path of a call.

mod connection;
mod names;
mod peer;
mod plan;
mod probe;
mod services;
mod state;
mod table;
pub(crate) mod tls;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sip_authz::model::Forward;
use sip_authz::uri::Host;
use sip_authz_proxy::{Candidate, Leg, choose};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::hops::connection::Shared;
use crate::hops::names::{Found, Learned, Resolver};
use crate::hops::peer::{Item, Peer};
use crate::hops::plan::Plan;
use crate::hops::probe::Prober;
use crate::hops::services::Services;
use crate::hops::table::{Place, Running, Table, Target, Task};
use crate::hops::tls::Connector;

pub(crate) use crate::hops::peer::Receive;
pub(crate) use crate::hops::state::HopState;

/// The time to wait for the response to an OPTIONS.
pub(crate) const PROBE_WAIT: Duration = Duration::from_secs(2);

/// The settings of [`Hops`].
#[derive(Clone, Debug)]
pub(crate) struct HopOptions {
    /// The time between two probes of a hop. Zero: no probes, and all hops are up.
    pub(crate) probe: Duration,
    /// The time to wait for the response to a probe.
    pub(crate) probe_wait: Duration,
    /// The file of certificates to trust for TLS; those of the system if none.
    pub(crate) ca: Option<PathBuf>,
    /// The host and port of this side, in the Via of probes over streams.
    pub(crate) sent_by: String,
    /// Whether NAPTR records can choose TLS: the hop needs a listener for its own requests.
    pub(crate) tls: bool,
}

/// The next hops. Dropping it ends all tasks and connections.
pub(crate) struct Hops {
    inner: Arc<Inner>,
    _receiver: Task,
}

struct Inner {
    prober: Arc<Prober>,
    shared: Arc<Shared>,
    resolver: Resolver,
    tls: bool,
    runtime: Handle,
    table: ArcSwap<Table>,
    /// Only for changes and for operators.
    plan: Mutex<Plan>,
    /// The number of names that were not looked up yet.
    pending: watch::Sender<usize>,
}

impl Hops {
    /// Starts without hops. Its tasks run on the current runtime.
    ///
    /// # Errors
    ///
    /// A line about the file of certificates.
    pub(crate) fn new(options: HopOptions, receive: Arc<dyn Receive>) -> Result<Self, String> {
        Self::with_resolver(options, receive, Resolver::default())
    }

    fn with_resolver(
        options: HopOptions,
        receive: Arc<dyn Receive>,
        resolver: Resolver,
    ) -> Result<Self, String> {
        let HopOptions { probe, probe_wait, ca, sent_by, tls } = options;
        let connector = Connector::new("--hop-ca", ca.as_ref())?;
        let prober = Arc::new(Prober::new(probe, probe_wait, sent_by));
        let receiver = Task(probe::start(&prober).abort_handle());
        let inner = Inner {
            prober,
            shared: Arc::new(Shared { connector, receive }),
            resolver,
            tls,
            runtime: Handle::current(),
            table: ArcSwap::default(),
            plan: Mutex::default(),
            pending: watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner), _receiver: receiver })
    }

    /// Replaces the hops by those of all forwards in force. Addresses count at once, names once they are
    /// resolved; hops that stay keep their state and connections.
    pub(crate) fn set<'a>(&self, forwards: impl IntoIterator<Item = &'a Forward>) {
        let mut seen = HashSet::new();
        let places = forwards.into_iter().flat_map(Forward::hops).map(Place::of);
        let places: Vec<_> = places.filter(|place| seen.insert(place.clone())).collect();
        let mut plan = self.inner.plan();
        plan.set(places);
        self.inner.apply(&mut plan);
    }

    /// Waits until each name was looked up once, for this time at most. Before that, a forward whose hops
    /// are all names has none.
    pub(crate) async fn resolved(&self, within: Duration) {
        let mut pending = self.inner.pending.subscribe();
        // the sender lives as long as this
        let _ = tokio::time::timeout(within, pending.wait_for(|count| *count == 0)).await;
    }

    /// The next hop for a call: among the hops that are up, those with the lowest priority, by weight and
    /// Call-ID. None if no hop is up.
    ///
    /// Hops without a transport get calls over that of their NAPTR or SRV records; without these over TCP
    /// if the call came over a stream, else over UDP. Calls that came over a stream go over streams to such
    /// hops. `only_tls` leaves out ways without TLS.
    pub(crate) fn choose(
        &self,
        forward: &Forward,
        over_stream: bool,
        only_tls: bool,
        call_id: &[u8],
    ) -> Option<Leg> {
        let table = self.inner.table.load();
        let targets = forward.hops().iter().filter_map(|hop| {
            let target = table.target(&Place::of(hop))?;
            let rank = target.rank(over_stream, only_tls)?;
            let (id, priority, weight) = (target.id(over_stream), hop.priority(), hop.weight());
            Some((Candidate { id, priority, weight, is_up: true }, (target, rank)))
        });
        let (target, rank) = choose(call_id, targets)?;
        target.choose(rank, over_stream, only_tls, call_id)
    }

    /// Whether a configured hop has this transport, address and port, or had them in the last 12 hours.
    pub(crate) fn is_hop(&self, leg: &Leg) -> bool {
        leg.is_hop() && !self.inner.table.load().peers_at(leg).is_empty()
    }

    /// The hop of these that has the transport and IP address of a leg, on any port.
    pub(crate) fn behind(&self, forward: &Forward, leg: &Leg) -> Option<Leg> {
        if leg.is_hop() {
            return Some(*leg);
        }
        self.inner.table.load().peer_behind(forward, leg)
    }

    /// The hop at a leg as in logs.
    pub(crate) fn name(&self, leg: &Leg) -> String {
        let table = self.inner.table.load();
        let peer = table.peers_at(leg).first().map(|running| running.peer.to_string());
        peer.unwrap_or_else(|| format!("hop {} {}", leg.transport.as_str(), leg.address))
    }

    /// Sends over the kept connection to a hop, which is opened if there is none. Never waits: bytes that
    /// do not fit in the queue are dropped and counted. Datagrams go over a socket of the caller.
    pub(crate) fn send(&self, leg: &Leg, bytes: Vec<u8>) {
        let table = self.inner.table.load();
        let all = table.peers_at(leg);
        let up = all.iter().find(|running| running.peer.is_up());
        if let Some(Running { peer, .. }) = up.or(all.first())
            && peer.is_stream()
        {
            peer.send(Item::Message(bytes));
        }
    }

    /// The state of each hop at each address, in the order of the configuration.
    pub(crate) fn states(&self) -> Vec<HopState> {
        let plan = self.inner.plan();
        let table = self.inner.table.load();
        let mut states = Vec::new();
        for place in plan.places() {
            let host = place.host.as_str().to_owned();
            let peers = table.target(place).map(Target::peers).unwrap_or_default();
            if peers.is_empty() {
                let reason = plan.error(place).map(str::to_owned);
                states.extend(place.transports().iter().map(|transport| {
                    HopState::unresolved(host.clone(), *transport, reason.clone())
                }));
                continue;
            }
            states.extend(peers.into_iter().map(|peer| HopState::of(host.clone(), peer)));
        }
        states
    }

    /// Describes and records the metrics of all hops.
    pub(crate) fn record(&self) {
        state::describe();
        for state in self.states() {
            state.record();
        }
    }
}

impl Inner {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts changes of the plan into force.
    fn apply(self: &Arc<Self>, plan: &mut Plan) {
        plan.start_hosts(|host| self.look_up_host(host.clone()));
        plan.start_services(|place| self.look_up_services(place.clone()));
        self.rebuild(plan);
    }

    /// Looks up the addresses of a host again and again.
    fn look_up_host(self: &Arc<Self>, host: Host) -> Task {
        let (weak, resolver) = (Arc::downgrade(self), self.resolver.clone());
        let task = self.runtime.spawn(async move {
            loop {
                let found = resolver.look_up(host.as_str()).await;
                let Some(inner) = weak.upgrade() else { return };
                let again_in = inner.learn(&host, found);
                drop(inner);
                sleep(again_in).await;
            }
        });
        Task(task.abort_handle())
    }

    /// Looks up the services of a hop again and again.
    fn look_up_services(self: &Arc<Self>, place: Place) -> Task {
        let (weak, resolver) = (Arc::downgrade(self), self.resolver.clone());
        let wanted = place.wanted(self.tls);
        let task = self.runtime.spawn(async move {
            let mut services = Services::default();
            loop {
                let learned = services.refresh(&resolver.open().await, &wanted).await;
                let Some(inner) = weak.upgrade() else { return };
                let again_in = inner.learn_services(&place, &services, learned);
                drop(inner);
                sleep(again_in).await;
            }
        });
        Task(task.abort_handle())
    }

    /// Takes over the answer for a host. Returns the time after which to look it up again.
    fn learn(self: &Arc<Self>, host: &Host, found: Found) -> Duration {
        let mut plan = self.plan();
        let effect = plan.learn_addresses(host, found);
        if effect.changed {
            self.rebuild(&plan);
        }
        effect.again_in
    }

    /// Takes over the services of a hop. Returns the time after which to look them up again.
    fn learn_services(
        self: &Arc<Self>,
        place: &Place,
        services: &Services,
        learned: Learned,
    ) -> Duration {
        let mut plan = self.plan();
        let effect = plan.learn_services(place, services, learned);
        if effect.changed {
            self.apply(&mut plan);
        }
        effect.again_in
    }

    /// Replaces the table.
    fn rebuild(&self, plan: &Plan) {
        let old = self.table.load_full();
        let start = |leg, host: &Host| self.start(leg, host);
        let table = Table::build(&old, plan.places().iter(), |place| plan.ways(place), start);
        self.table.store(Arc::new(table));
        self.pending.send_replace(plan.pending());
    }

    /// Starts the tasks of a peer.
    fn start(&self, leg: Leg, host: &Host) -> Running {
        let (peer, queue) = Peer::new(leg, host.clone(), self.prober.is_on());
        let peer = Arc::new(peer);
        let (prober, shared) = (Arc::clone(&self.prober), Arc::clone(&self.shared));
        let of_task = Arc::clone(&peer);
        let task = self.runtime.spawn(async move {
            let probe = async {
                if prober.is_on() {
                    prober.watch(&of_task).await;
                }
            };
            let keep = async {
                if of_task.is_stream() {
                    connection::keep(&shared, &of_task, queue).await;
                }
            };
            tokio::join!(probe, keep);
        });
        Running::new(peer, task.abort_handle())
    }
}

#[cfg(test)]
mod tests;
