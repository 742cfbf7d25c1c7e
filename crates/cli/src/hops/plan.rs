//! The configured hops, and the records of their names.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sip_authz::uri::Host;
use tokio::time::Instant;

use crate::hops::names::{Addresses, Found, Learned, RETRY};
use crate::hops::services::Services;
use crate::hops::table::{Place, Task, Way, literal};
use crate::system::output::warn;

/// The configured hops, and the known state of their names and of the targets of their SRV records.
#[derive(Default)]
pub(super) struct Plan {
    /// In the order of the configuration, without repeats.
    places: Vec<Place>,
    /// For names without a port.
    services: HashMap<Place, Known<Services>>,
    hosts: HashMap<Host, Known<Addresses>>,
}

/// The known records of a name.
#[derive(Default)]
struct Known<T> {
    state: T,
    /// Whether it is to be looked up again and again.
    is_wanted: bool,
    /// Looks it up.
    task: Option<Task>,
}

impl<T> Known<T> {
    fn lacks_task(&self) -> bool {
        self.is_wanted && self.task.is_none()
    }
}

/// The effect of an answer.
pub(super) struct Effect {
    /// The time after which to look the name up again.
    pub(super) again_in: Duration,
    /// Whether the table is to be built again.
    pub(super) changed: bool,
}

impl Plan {
    /// The hops, in the order of the configuration.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Replaces the hops. Those that stay keep their records.
    pub(super) fn set(&mut self, places: Vec<Place>) {
        let kept: HashSet<&Place> = places.iter().collect();
        self.services.retain(|place, _| kept.contains(place));
        for place in places.iter().filter(|place| place.has_services()) {
            self.services.entry(place.clone()).or_default().is_wanted = true;
        }
        self.places = places;
        self.set_hosts();
    }

    /// Takes over which hosts the hops and the targets of their records are.
    fn set_hosts(&mut self) {
        let of_places = self.places.iter().filter(|place| !place.has_services());
        let services = || self.services.values().map(|known| &known.state);
        let targets = services().flat_map(Services::routes).map(|route| &route.target);
        let mut wanted: HashSet<Host> = of_places.map(|place| place.host.clone()).collect();
        wanted.extend(targets.cloned());
        // addresses of former targets are known, but not looked up
        let former = services().flat_map(Services::former).map(|route| route.target.clone());
        let former: HashSet<Host> = former.collect();
        self.hosts.retain(|host, _| wanted.contains(host) || former.contains(host));
        for host in &wanted {
            if !self.hosts.contains_key(host) {
                let state = literal(host).map(Addresses::literal).unwrap_or_default();
                self.hosts.insert(host.clone(), Known { state, is_wanted: false, task: None });
            }
        }
        for (host, known) in &mut self.hosts {
            known.is_wanted = wanted.contains(host) && literal(host).is_none();
            if !known.is_wanted {
                known.task = None;
            }
        }
    }

    /// Starts the lookups of hosts that lack it.
    pub(super) fn start_hosts(&mut self, start: impl Fn(&Host) -> Task) {
        for (host, known) in self.hosts.iter_mut().filter(|(_, known)| known.lacks_task()) {
            known.task = Some(start(host));
        }
    }

    /// Starts the lookups of services that lack it.
    pub(super) fn start_services(&mut self, start: impl Fn(&Place) -> Task) {
        for (place, known) in self.services.iter_mut().filter(|(_, known)| known.lacks_task()) {
            known.task = Some(start(place));
        }
    }

    /// Takes over the answer for the addresses of a host.
    pub(super) fn learn_addresses(&mut self, host: &Host, found: Found) -> Effect {
        let is_hop = self.places.iter().any(|place| place.host == *host && !place.has_services());
        let Some(known) = self.hosts.get_mut(host) else { return Effect::NONE };
        let is_first = !known.state.is_looked_up();
        let learned = known.state.learn(found, Instant::now());
        let name = if is_hop { "hop" } else { "hop target" };
        Effect::of(format_args!("{name} {}", host.as_str()), learned, is_first)
    }

    /// Takes over the services of a hop.
    pub(super) fn learn_services(
        &mut self,
        place: &Place,
        services: &Services,
        learned: Learned,
    ) -> Effect {
        let Some(known) = self.services.get_mut(place) else { return Effect::NONE };
        let is_first = !known.state.is_looked_up();
        known.state = services.clone();
        self.set_hosts();
        Effect::of(format_args!("hop {}", place.host.as_str()), learned, is_first)
    }

    /// The number of names that were not looked up yet.
    pub(super) fn pending(&self) -> usize {
        let services = self.services.values().filter(|known| !known.state.is_looked_up());
        let is_pending = |known: &&Known<Addresses>| known.is_wanted && !known.state.is_looked_up();
        services.count() + self.hosts.values().filter(is_pending).count()
    }

    /// The reason why a hop has no address.
    pub(super) fn error(&self, place: &Place) -> Option<&str> {
        let of_host = |host: &Host| self.hosts.get(host)?.state.error();
        let Some(known) = self.services.get(place) else { return of_host(&place.host) };
        let mut targets = known.state.routes().iter().map(|route| &route.target);
        known.state.error().or_else(|| targets.find_map(of_host))
    }

    /// The ways to a hop, for new calls and for dialogs.
    pub(super) fn ways(&self, place: &Place) -> Vec<Way<'_>> {
        let of_host = |host: &Host| self.hosts.get(host).map(|known| &known.state);
        let Some(Known { state: services, .. }) = self.services.get(place) else {
            let to_host = |found| Way::to_host(place, place.transports(), true, found);
            return of_host(&place.host).map(to_host).unwrap_or_default();
        };
        let current = services.routes().iter().map(|route| (route, true));
        let former = services.former().map(|route| (route, false));
        let mut ways: Vec<_> = current
            .chain(former)
            .filter_map(|(route, is_current)| {
                Some(Way::to_target(place, route, of_host(&route.target)?, is_current))
            })
            .collect();
        let mut transports = services.transports().to_vec();
        let follows_caller = services.follows_caller();
        let in_use = transports.len();
        // for dialogs: the transports before there were records
        let before = place.transports().iter().filter(|it| !services.transports().contains(it));
        transports.extend(before);
        let to_host = Way::to_host(place, &transports, follows_caller, services.addresses());
        for (at, way) in to_host.into_iter().enumerate() {
            ways.push(Way { is_current: at < in_use, ..way });
        }
        ways
    }
}

impl Effect {
    /// The name is no longer configured: the task is about to end.
    const NONE: Self = Self { again_in: RETRY, changed: false };

    fn of(name: std::fmt::Arguments<'_>, learned: Learned, is_first: bool) -> Self {
        if let Some(news) = learned.news {
            warn(format_args!("{name} {news}"));
        }
        Self { again_in: learned.again_in, changed: learned.changed || is_first }
    }
}
