//! The services of next hops without a port: NAPTR and SRV records (RFC 3263 §4.1, §4.2).

use std::cmp::Reverse;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RData, RecordType};
use sip_authz::Transport;
use sip_authz::uri::Host;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hops::names::{
    Addresses, Answer, FORMER, Found, GONE, Learned, MAX_FORMER, RETRY, Session, TTL, listed,
    name_of,
};

/// The maximum number of services that NAPTR records name.
const MAX_SERVICES: usize = 6;
/// The maximum number of SRV records of a service.
const MAX_RECORDS: usize = 16;
/// The maximum number of SRV records of all services of a hop.
const MAX_ROUTES: usize = 32;

/// The maximum number of aliases in a row that lead to SRV records.
const MAX_ALIASES: usize = 8;

/// The hop whose services are to be found.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) host: Host,
    /// The transport, unless the records choose it.
    pub(super) transport: Option<Transport>,
    /// Whether NAPTR records count.
    pub(super) naptr: bool,
    /// Whether NAPTR records can choose TLS.
    pub(super) tls: bool,
}

/// A transport and the name of its SRV records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    transport: Transport,
    name: Name,
}

/// The NAPTR record of a service.
#[derive(Clone, Debug)]
struct Naptr {
    order: u16,
    preference: u16,
    service: Service,
}

/// The services that the last NAPTR records named.
#[derive(Clone, Debug, Default)]
enum Offer {
    /// There are no such records.
    #[default]
    None,
    /// These, the preferred one first.
    Services(Vec<Service>),
    /// None that this side has.
    Unsupported,
}

/// An SRV record.
#[derive(Clone, Debug)]
struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    /// None: there is no service (RFC 2782).
    target: Option<Host>,
}

/// A service and its SRV records.
#[derive(Clone, Debug)]
struct Set {
    rank: u16,
    service: Service,
    /// Empty: there is no service.
    records: Vec<Srv>,
}

/// A target of SRV records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The place of its service in the order of preference.
    pub(super) rank: u16,
    pub(super) transport: Transport,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: Host,
}

impl Route {
    fn is_same_place(&self, other: &Self) -> bool {
        (self.transport, self.port, &self.target) == (other.transport, other.port, &other.target)
    }
}

/// The services of a hop, and those that it had.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    offer: Offer,
    sets: Vec<Set>,
    /// The time of the last answer with SRV records.
    confirmed: Option<Instant>,
    routes: Vec<Route>,
    former: Vec<(Route, Instant)>,
    /// The transports to the addresses of the name itself, the preferred one first.
    transports: Vec<Transport>,
    /// The addresses of the name itself: in use while it has no SRV record.
    addresses: Addresses,
    /// The reason why the last lookup failed, or why the hop takes no calls.
    error: Option<String>,
    is_looked_up: bool,
}

/// The results of one round of lookups.
struct Round {
    again_in: Duration,
    failure: Option<String>,
}

impl Round {
    fn note(&mut self, valid: Duration) {
        self.again_in = self.again_in.min(valid.clamp(TTL[0], TTL[1]));
    }

    fn fail(&mut self, why: String) {
        self.again_in = self.again_in.min(RETRY);
        self.failure.get_or_insert(why);
    }
}

impl Services {
    /// The targets in use, each service after those that are preferred.
    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The targets that dialogs can still use.
    pub(super) fn former(&self) -> impl Iterator<Item = &Route> {
        self.former.iter().map(|(route, _)| route)
    }

    /// The addresses of the name itself.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The transports to the addresses of the name itself, the preferred one first.
    pub(super) fn transports(&self) -> &[Transport] {
        &self.transports
    }

    /// Whether the transport is that of the caller: no record chooses it.
    pub(super) fn follows_caller(&self) -> bool {
        !matches!(self.offer, Offer::Services(_))
    }

    /// Whether there was an answer at all.
    pub(super) fn is_looked_up(&self) -> bool {
        self.is_looked_up
    }

    /// The reason why the last lookup failed, or why the hop takes no calls.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Looks all records up again.
    pub(super) async fn refresh(&mut self, session: &Session, wanted: &Wanted) -> Learned {
        let before = self.clone();
        let mut round = Round { again_in: TTL[1], failure: None };
        let host = wanted.host.as_str();
        // the file of hosts comes before the name servers
        if let Some(found) = session.file_addresses(host) {
            self.offer = Offer::None;
            self.sets.clear();
            self.transports = defaults(wanted).map(|(transport, _)| transport).collect();
            round.note(self.addresses.learn(found, Instant::now()).again_in);
            return self.conclude(&before, round);
        }
        if wanted.naptr {
            let answer = match name_of(host, "") {
                Some(name) => session.query(name, RecordType::NAPTR, read_naptr).await,
                None => Answer::None,
            };
            self.learn_naptr(answer, wanted, &mut round);
        }
        let services = self.services(wanted);
        let answers = ask_all(session, &services).await;
        self.learn_srv(services, answers, &mut round);
        if self.sets.is_empty() && !self.transports.is_empty() {
            self.learn_addresses(session.addresses(host).await, &before, &mut round);
        } else {
            self.addresses.retire(Instant::now());
        }
        self.conclude(&before, round)
    }

    fn learn_naptr(&mut self, answer: Answer<Naptr>, wanted: &Wanted, round: &mut Round) {
        match answer {
            Answer::Records(records, valid) => {
                round.note(valid);
                self.offer = select(records, wanted);
            }
            Answer::None => self.offer = Offer::None,
            // the last ones stay in use
            Answer::Failed(why) => round.fail(format!("its NAPTR records: {why}")),
        }
    }

    /// The services to look up, the preferred one first.
    fn services(&self, wanted: &Wanted) -> Vec<Service> {
        match &self.offer {
            Offer::Services(services) => services.clone(),
            Offer::Unsupported => Vec::new(),
            Offer::None => {
                let named = defaults(wanted).filter_map(|(transport, prefix)| {
                    let name = name_of(wanted.host.as_str(), prefix)?;
                    Some(Service { transport, name })
                });
                named.collect()
            }
        }
    }

    fn learn_srv(&mut self, services: Vec<Service>, answers: Vec<Answer<Srv>>, round: &mut Round) {
        let old = std::mem::take(&mut self.sets);
        self.transports.clear();
        let mut has_failed = false;
        for ((rank, service), answer) in (0..).zip(services).zip(answers) {
            if !self.transports.contains(&service.transport) {
                self.transports.push(service.transport);
            }
            match answer {
                Answer::Records(records, valid) => {
                    round.note(valid);
                    self.confirmed = Some(Instant::now());
                    self.sets.push(Set::new(rank, service, records));
                }
                Answer::None => {}
                Answer::Failed(why) => {
                    round.fail(format!("{}: {why}", shown(&service.name)));
                    has_failed = true;
                    let kept = old.iter().find(|set| set.service == service);
                    self.sets.extend(kept.map(|set| Set { rank, ..set.clone() }));
                }
            }
        }
        // for example under a new name, for which no name server answers yet
        if has_failed && self.sets.is_empty() {
            self.sets = old;
        }
    }

    /// Takes over the addresses of a name that has no SRV record. The last such records stay in use for a
    /// while if it has no address either.
    fn learn_addresses(&mut self, found: Found, before: &Self, round: &mut Round) {
        let now = Instant::now();
        round.note(self.addresses.learn(found, now).again_in);
        if let Some(why) = self.addresses.error() {
            round.fail(why.to_owned());
        }
        let is_recent = |confirmed| now.duration_since(confirmed) < GONE;
        if !self.addresses.has_current() && self.confirmed.is_some_and(is_recent) {
            self.sets.clone_from(&before.sets);
        }
    }

    /// Puts the results of the lookups into use.
    fn conclude(&mut self, before: &Self, round: Round) -> Learned {
        let now = Instant::now();
        self.is_looked_up = true;
        let records = self.sets.iter().flat_map(Set::routes);
        self.routes = records.take(MAX_ROUTES).collect();
        let gone = before.routes.iter().filter(|old| !self.has(old));
        let gone: Vec<_> = gone.map(|route| (route.clone(), now)).collect();
        self.former.splice(..0, gone);
        let mut former = std::mem::take(&mut self.former);
        former.retain(|(route, since)| !self.has(route) && now.duration_since(*since) < FORMER);
        former.truncate(MAX_FORMER);
        self.former = former;
        self.error = round.failure.or_else(|| self.refusal());
        let (old, current) = (before.in_use(), self.in_use());
        let way = |it: &Self| (it.transports.clone(), it.follows_caller());
        let changed = old != current || way(before) != way(self);
        let news = match (&self.error, before.error.is_some()) {
            (Some(why), false) if current.is_empty() => Some(format!("cannot be resolved: {why}")),
            (Some(why), false) => {
                Some(format!("cannot be resolved: {why}; in use: {}", listed(&current)))
            }
            (Some(why), true) if changed && current.is_empty() => {
                Some(format!("has no address in use: {why}"))
            }
            (None, true) => Some(format!("is resolved again: {}", listed(&current))),
            _ if changed && !old.is_empty() => {
                let kind = if self.routes.is_empty() { "addresses" } else { "targets" };
                Some(format!("has other {kind}: {}", listed(&current)))
            }
            _ => None,
        };
        Learned { again_in: round.again_in, changed, news }
    }

    fn has(&self, route: &Route) -> bool {
        self.routes.iter().any(|other| other.is_same_place(route))
    }

    /// The reason why a hop whose records were found takes no calls.
    fn refusal(&self) -> Option<String> {
        if matches!(self.offer, Offer::Unsupported) {
            return Some(
                "its NAPTR records name only TLS, and there is no --sips listener".to_owned(),
            );
        }
        let set = self.sets.first().filter(|_| self.routes.is_empty())?;
        Some(format!("the target of {} is `.`: there is no service", shown(&set.service.name)))
    }

    /// The targets or addresses in use, for comparisons and logs.
    fn in_use(&self) -> Vec<String> {
        if self.routes.is_empty() {
            return self.addresses.current().iter().map(ToString::to_string).collect();
        }
        let shown = |route: &Route| {
            let Route { transport, priority, weight, port, target, .. } = route;
            let (target, transport) = (target.as_str(), transport.as_str());
            format!("{target}:{port} ({transport}, priority {priority}, weight {weight})")
        };
        self.routes.iter().map(shown).collect()
    }
}

impl Set {
    /// Takes the first records in an order that is the same on all edges.
    fn new(rank: u16, service: Service, mut records: Vec<Srv>) -> Self {
        records.retain(|record| record.target.is_some());
        let name = |record: &Srv| record.target.as_ref().map(|host| host.as_str().to_owned());
        records.sort_by_cached_key(|record| {
            (record.priority, Reverse(record.weight), name(record), record.port)
        });
        let mut kept: Vec<Srv> = Vec::new();
        for record in records {
            let is_same =
                |other: &Srv| (&other.target, other.port) == (&record.target, record.port);
            if kept.len() < MAX_RECORDS && !kept.iter().any(is_same) {
                kept.push(record);
            }
        }
        Self { rank, service, records: kept }
    }

    fn routes(&self) -> impl Iterator<Item = Route> {
        let (rank, transport) = (self.rank, self.service.transport);
        self.records.iter().filter_map(move |record| {
            let target = record.target.clone()?;
            let Srv { priority, weight, port, .. } = *record;
            Some(Route { rank, transport, priority, weight, port, target })
        })
    }
}

/// The transports of a hop without NAPTR records, each with the prefix of its SRV records.
fn defaults(wanted: &Wanted) -> impl Iterator<Item = (Transport, &'static str)> {
    let all = [
        (Transport::Udp, "_sip._udp."),
        (Transport::Tcp, "_sip._tcp."),
        (Transport::Tls, "_sips._tcp."),
    ];
    let named = wanted.transport;
    // without a transport the hop is a `sip:` URI, which has no `_sips` records
    let is_wanted =
        move |transport| named.map_or(transport != Transport::Tls, |is| is == transport);
    all.into_iter().filter(move |(transport, _)| is_wanted(*transport))
}

/// The services of NAPTR records that this side has.
fn select(mut records: Vec<Naptr>, wanted: &Wanted) -> Offer {
    // of equal ones, all edges take the same
    let place = |transport| [Transport::Tls, Transport::Tcp].iter().position(|it| *it == transport);
    records.sort_by_cached_key(|record| {
        let Service { transport, name } = &record.service;
        let place = place(*transport).unwrap_or(2);
        (record.order, record.preference, place, name.to_ascii())
    });
    let mut services: Vec<Service> = Vec::new();
    for Naptr { service, .. } in records {
        let is_tls = service.transport == Transport::Tls;
        let is_had = match wanted.transport {
            Some(transport) => service.transport == transport,
            None => !is_tls || wanted.tls,
        };
        // no failure of TLS makes calls go unencrypted
        let is_less = !is_tls && services.iter().any(|it| it.transport == Transport::Tls);
        if is_had && !is_less && services.len() < MAX_SERVICES && !services.contains(&service) {
            services.push(service);
        }
    }
    match wanted.transport {
        _ if !services.is_empty() => Offer::Services(services),
        Some(_) => Offer::None,
        None => Offer::Unsupported,
    }
}

/// Looks up the SRV records of all services at the same time.
async fn ask_all(session: &Session, services: &[Service]) -> Vec<Answer<Srv>> {
    let mut tasks = JoinSet::new();
    for (at, service) in services.iter().enumerate() {
        let (session, name) = (session.clone(), service.name.clone());
        tasks.spawn(async move { (at, ask_srv(&session, name).await) });
    }
    let mut answers: Vec<_> =
        services.iter().map(|_| Answer::Failed("the lookup ended".to_owned())).collect();
    while let Some(ended) = tasks.join_next().await {
        if let Ok((at, answer)) = ended
            && let Some(place) = answers.get_mut(at)
        {
            *place = answer;
        }
    }
    answers
}

/// Looks up the SRV records of a name. The resolver does not find those behind an alias.
async fn ask_srv(session: &Session, mut name: Name) -> Answer<Srv> {
    let read_alias = |data: &RData| match data {
        RData::CNAME(alias) => Some(alias.0.clone()),
        _ => None,
    };
    let mut valid = TTL[1];
    for _ in 0..MAX_ALIASES {
        match session.query(name.clone(), RecordType::SRV, read_srv).await {
            Answer::Records(records, ttl) => return Answer::Records(records, valid.min(ttl)),
            Answer::None => {}
            answer @ Answer::Failed(_) => return answer,
        }
        match session.query(name, RecordType::CNAME, read_alias).await {
            Answer::Records(mut aliases, ttl) => {
                let Some(alias) = aliases.pop() else { return Answer::None };
                (name, valid) = (alias, valid.min(ttl));
            }
            Answer::None => return Answer::None,
            Answer::Failed(why) => return Answer::Failed(why),
        }
    }
    Answer::None
}

/// Reads the NAPTR record of a SIP service (RFC 3263 §4.1); others are for other uses.
fn read_naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(record) = data else { return None };
    let transports: [(&[u8], _); 3] =
        [(b"SIP+D2U", Transport::Udp), (b"SIP+D2T", Transport::Tcp), (b"SIPS+D2T", Transport::Tls)];
    let is_named = |(name, _): &&(&[u8], _)| record.services.eq_ignore_ascii_case(name);
    let (_, transport) = *transports.iter().find(is_named)?;
    let leads_to_srv = record.flags.eq_ignore_ascii_case(b"s") && record.regexp.is_empty();
    if !leads_to_srv || record.replacement.is_root() {
        return None;
    }
    let mut name = record.replacement.to_lowercase();
    name.set_fqdn(true);
    let service = Service { transport, name };
    Some(Naptr { order: record.order, preference: record.preference, service })
}

/// Reads an SRV record. One without a port or with a target that is no host name is none.
fn read_srv(data: &RData) -> Option<Srv> {
    let RData::SRV(record) = data else { return None };
    let (priority, weight, port) = (record.priority, record.weight, record.port);
    if record.target.is_root() {
        return Some(Srv { priority, weight, port, target: None });
    }
    let mut name = record.target.clone();
    // an address is no host name; Host::parse knows by the dot
    name.set_fqdn(true);
    let target = Host::parse(&name.to_ascii()).ok().filter(|_| port > 0)?;
    Some(Srv { priority, weight, port, target: Some(target) })
}

fn shown(name: &Name) -> String {
    let mut name = name.clone();
    name.set_fqdn(false);
    name.to_ascii()
}

#[cfg(test)]
mod tests;
