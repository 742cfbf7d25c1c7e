//! The next hops of forwarded calls: their addresses, their health, and connections to them.
//!
//! Calls read one immutable table, which background tasks replace. Nothing here waits for a name server
//! or a hop on the path of a call.

mod connection;
mod names;
mod peer;
mod probe;
mod state;
mod table;
mod tls;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sip_authz::Transport;
use sip_authz::model::Forward;
use sip_authz::uri::Host;
use sip_authz_proxy::{Candidate, Leg, choose};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::hops::connection::Shared;
use crate::hops::names::{Addresses, Found, Resolver};
use crate::hops::peer::{Item, Peer};
use crate::hops::probe::Prober;
use crate::hops::table::{Place, Running, Table, Task};
use crate::hops::tls::Connector;
use crate::system::output::warn;

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
    runtime: Handle,
    table: ArcSwap<Table>,
    /// Only for changes and for operators.
    plan: Mutex<Plan>,
    /// The number of names that were not looked up yet.
    pending: watch::Sender<usize>,
}

#[derive(Default)]
struct Plan {
    /// In the order of the configuration, without repeats.
    places: Vec<Place>,
    hosts: HashMap<Host, Known>,
}

struct Known {
    addresses: Addresses,
    /// Looks the name up again and again.
    _task: Option<Task>,
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
        let HopOptions { probe, probe_wait, ca, sent_by } = options;
        let connector = Connector::new(ca.as_ref())?;
        let prober = Arc::new(Prober::new(probe, probe_wait, sent_by));
        let receiver = Task(probe::start(&prober).abort_handle());
        let inner = Inner {
            prober,
            shared: Arc::new(Shared { connector, receive }),
            resolver,
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
        let hops = forwards.into_iter().flat_map(Forward::hops);
        let places: Vec<_> =
            hops.flat_map(Place::all).filter(|place| seen.insert(place.clone())).collect();
        let mut plan = self.inner.plan();
        let hosts: HashSet<&Host> = places.iter().map(|place| &place.host).collect();
        plan.hosts.retain(|host, _| hosts.contains(host));
        for host in hosts {
            if !plan.hosts.contains_key(host) {
                plan.hosts.insert(host.clone(), Inner::known(&self.inner, host));
            }
        }
        plan.places = places;
        self.inner.rebuild(&plan);
    }

    /// Waits until each name was looked up once, for this time at most. Before that, a forward whose hops
    /// are all names has none.
    pub(crate) async fn resolved(&self, within: Duration) {
        let mut pending = self.inner.pending.subscribe();
        // the sender lives as long as this
        let _ = tokio::time::timeout(within, pending.wait_for(|count| *count == 0)).await;
    }

    /// The next hop for a call: of those that are up the ones with the lowest priority, by weight and
    /// Call-ID. None if no hop is up.
    ///
    /// Hops without a transport get calls over TCP if the call came over a stream, else over UDP.
    /// `only_tls` leaves out hops without `transport=tls`.
    pub(crate) fn choose(
        &self,
        forward: &Forward,
        over_stream: bool,
        only_tls: bool,
        call_id: &[u8],
    ) -> Option<Leg> {
        let table = self.inner.table.load();
        let targets = forward.hops().iter().filter_map(|hop| {
            let place = Place::of(hop, over_stream);
            let is_excluded = only_tls && place.transport != Transport::Tls;
            let target = table.target(&place).filter(|_| !is_excluded)?;
            let is_up = target.peers.iter().any(|(_, peer)| peer.is_up());
            let (id, priority, weight) = (&*target.id, hop.priority(), hop.weight());
            Some((Candidate { id, priority, weight, is_up }, target))
        });
        // the addresses of a name share its weight
        let peers = choose(call_id, targets)?.peers.iter().map(|(id, peer)| {
            (Candidate { id, priority: 0, weight: 1, is_up: peer.is_up() }, peer.leg)
        });
        choose(call_id, peers)
    }

    /// Whether a configured hop has this transport, address and port, or had them in the last 12 hours.
    pub(crate) fn is_hop(&self, leg: &Leg) -> bool {
        leg.is_hop() && !self.inner.table.load().peers_at(leg).is_empty()
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
        for place in &plan.places {
            let host = place.host.as_str().to_owned();
            let peers = table.target(place).map_or(&[][..], |target| &target.peers);
            if peers.is_empty() {
                let addresses = plan.hosts.get(&place.host).map(|known| &known.addresses);
                let reason = addresses.and_then(Addresses::error).map(str::to_owned);
                states.push(HopState::unresolved(host, place.transport, reason));
                continue;
            }
            states.extend(peers.iter().map(|(_, peer)| HopState::of(host.clone(), peer)));
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

    /// Begins to look a host up, unless it is an address.
    fn known(this: &Arc<Self>, host: &Host) -> Known {
        let text = host.as_str().trim_matches(['[', ']']);
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Known { addresses: Addresses::literal(ip.to_canonical()), _task: None };
        }
        let (weak, resolver, host) = (Arc::downgrade(this), this.resolver.clone(), host.clone());
        let task = this.runtime.spawn(async move {
            loop {
                let found = resolver.look_up(host.as_str()).await;
                let Some(inner) = weak.upgrade() else { return };
                let again_in = inner.learn(&host, found);
                drop(inner);
                sleep(again_in).await;
            }
        });
        let task = Some(Task(task.abort_handle()));
        Known { addresses: Addresses::default(), _task: task }
    }

    /// Takes over the answer for a name. Returns the time after which to look it up again.
    fn learn(&self, host: &Host, found: Found) -> Duration {
        let mut plan = self.plan();
        // no longer configured: the task is about to end
        let Some(known) = plan.hosts.get_mut(host) else { return names::RETRY };
        let is_first = !known.addresses.is_looked_up();
        let learned = known.addresses.learn(found, Instant::now());
        if let Some(news) = learned.news {
            warn(format_args!("hop {} {news}", host.as_str()));
        }
        if learned.changed || is_first {
            self.rebuild(&plan);
        }
        learned.again_in
    }

    /// Replaces the table.
    fn rebuild(&self, plan: &Plan) {
        let old = self.table.load_full();
        let addresses = |host: &Host| plan.hosts.get(host).map(|known| &known.addresses);
        let start = |leg, host: &Host| self.start(leg, host);
        let table = Table::build(&old, plan.places.iter(), addresses, start);
        self.table.store(Arc::new(table));
        let pending = plan.hosts.values().filter(|known| !known.addresses.is_looked_up());
        self.pending.send_replace(pending.count());
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
