//! The addresses of next hops: A and AAAA records, and the system's file of hosts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::Instant;

/// The limits of the time for which an answer is used.
pub(super) const TTL: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3_600)];
/// The time for which an answer from the file of hosts is used.
const OF_FILE: Duration = Duration::from_secs(30);
/// The time after which a name without an answer is looked up again.
pub(super) const RETRY: Duration = Duration::from_secs(5);
/// The time limit for one query to a name server.
const QUERY: Duration = Duration::from_secs(2);
/// The time for which the last addresses stay in use once the name servers say that there are none.
pub(super) const GONE: Duration = Duration::from_secs(3_600);
/// The time for which dialogs can use an address that its name no longer has: that of a dialog's tokens.
pub(super) const FORMER: Duration = Duration::from_secs(12 * 3_600);
/// The maximum number of addresses of a name.
const MAX_ADDRESSES: usize = 16;
/// The maximum number of addresses that a name had before.
pub(super) const MAX_FORMER: usize = 64;

/// Looks up names at the name servers of the system, or at others.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    /// The name servers; those of the system if none.
    servers: Option<ResolverConfig>,
}

/// The answers for a name, for each kind of address.
#[derive(Debug)]
pub(super) struct Found {
    kinds: [Answer; 2],
}

#[cfg(test)]
impl Found {
    /// IPv4 addresses that are valid for this time.
    pub(super) fn of(ips: Vec<IpAddr>, valid: Duration) -> Self {
        let v4 = if ips.is_empty() { Answer::None } else { Answer::Records(ips, valid) };
        Self { kinds: [v4, Answer::None] }
    }

    /// Whether there was no usable answer.
    pub(super) fn has_failed(&self) -> bool {
        self.kinds.iter().any(|answer| matches!(answer, Answer::Failed(_)))
    }
}

/// The answer to a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<T = IpAddr> {
    /// These records, for this time.
    Records(Vec<T>, Duration),
    /// The name has no such record.
    None,
    /// There was no usable answer.
    Failed(String),
}

impl Resolver {
    /// A resolver that asks these name servers.
    #[cfg(test)]
    pub(super) fn at(servers: ResolverConfig) -> Self {
        Self { servers: Some(servers) }
    }

    /// Reads the settings of the system: changes of them count without a restart.
    pub(super) async fn open(&self) -> Session {
        let servers = self.servers.clone();
        let opened = tokio::task::spawn_blocking(move || open(servers)).await;
        let (hosts, resolver) = opened
            .unwrap_or_else(|error| (Hosts::default(), Err(NetError::from(error.to_string()))));
        Session { hosts: Arc::new(hosts), resolver: resolver.map_err(|error| error.to_string()) }
    }

    /// Looks up the addresses of a name.
    pub(super) async fn look_up(&self, host: &str) -> Found {
        self.open().await.addresses(host).await
    }
}

/// The name servers and the file of hosts at one time.
#[derive(Clone)]
pub(super) struct Session {
    hosts: Arc<Hosts>,
    resolver: Result<TokioResolver, String>,
}

impl Session {
    /// Looks up the addresses of a name.
    pub(super) async fn addresses(&self, host: &str) -> Found {
        let Some(name) = name_of(host, "") else {
            return Found { kinds: [Answer::None, Answer::None] };
        };
        if let Some(found) = self.in_file(&name) {
            return found;
        }
        let [v4, v6] = [RecordType::A, RecordType::AAAA]
            .map(|kind| self.query(name.clone(), kind, |data| data.ip_addr()));
        let (v4, v6) = tokio::join!(v4, v6);
        let of_one_machine = |answer| match answer {
            Answer::Records(mut ips, valid) => {
                ips.retain(|ip| is_of_one_machine(*ip));
                if ips.is_empty() { Answer::None } else { Answer::Records(ips, valid) }
            }
            other => other,
        };
        Found { kinds: [of_one_machine(v4), of_one_machine(v6)] }
    }

    /// The addresses of a name in the file of hosts, if it is there.
    pub(super) fn file_addresses(&self, host: &str) -> Option<Found> {
        self.in_file(&name_of(host, "")?)
    }

    fn in_file(&self, name: &Name) -> Option<Found> {
        let kinds = [RecordType::A, RecordType::AAAA].map(|kind| {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
            let records = lookup.iter().flat_map(Lookup::answers);
            let ips = records.filter_map(|record| record.data.ip_addr());
            let ips: Vec<_> = ips.filter(|ip| is_of_one_machine(*ip)).collect();
            if ips.is_empty() { Answer::None } else { Answer::Records(ips, OF_FILE) }
        });
        kinds.iter().any(|answer| *answer != Answer::None).then_some(Found { kinds })
    }

    /// Asks the name servers for records. The resolver follows aliases.
    pub(super) async fn query<T>(
        &self,
        name: Name,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Answer<T> {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Failed(why.clone()),
        };
        match resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let records = lookup.answers().iter().filter_map(|record| read(&record.data));
                let records: Vec<_> = records.collect();
                let now = std::time::Instant::now();
                let valid = lookup.valid_until().saturating_duration_since(now);
                if records.is_empty() { Answer::None } else { Answer::Records(records, valid) }
            }
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Answer::None,
            Err(error) => Answer::Failed(error.to_string()),
        }
    }
}

/// The name of a host, behind this prefix. Only a host of one label goes through the search list of the
/// system.
pub(super) fn name_of(host: &str, prefix: &str) -> Option<Name> {
    let mut name = Name::from_ascii(format!("{prefix}{host}")).ok()?;
    name.set_fqdn(host.contains('.'));
    Some(name)
}

fn open(servers: Option<ResolverConfig>) -> (Hosts, Result<TokioResolver, NetError>) {
    let hosts = Hosts::from_system().unwrap_or_default();
    let builder = match servers {
        None => TokioResolver::builder_tokio(),
        Some(servers) => {
            let provider = TokioRuntimeProvider::default();
            Ok(TokioResolver::builder_with_config(servers, provider))
        }
    };
    let resolver = builder.and_then(|mut builder| {
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = QUERY;
        builder.build()
    });
    (hosts, resolver)
}

fn is_of_one_machine(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || is_broadcast)
}

/// The addresses of a name, and those that it had.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    known: Vec<Known>,
    /// The time of the last answer with an address.
    confirmed: Option<Instant>,
    /// The reason why the last lookup failed.
    error: Option<String>,
    is_looked_up: bool,
}

#[derive(Clone, Debug)]
struct Known {
    ip: IpAddr,
    is_current: bool,
    seen: Instant,
}

/// The effect of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Learned {
    /// The time after which the name is to be looked up again.
    pub(super) again_in: Duration,
    /// Whether the addresses in use are others than before.
    pub(super) changed: bool,
    /// A line for the log.
    pub(super) news: Option<String>,
}

impl Addresses {
    /// The addresses of a host that is one.
    pub(super) fn literal(ip: IpAddr) -> Self {
        let known = vec![Known { ip, is_current: true, seen: Instant::now() }];
        Self { known, is_looked_up: true, ..Self::default() }
    }

    /// All addresses, each with whether the name has it now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, bool)> {
        self.known.iter().map(|known| (known.ip, known.is_current))
    }

    /// Whether there was an answer at all, with or without addresses.
    pub(super) fn is_looked_up(&self) -> bool {
        self.is_looked_up
    }

    /// The reason why the last lookup failed.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Takes over the answers of a lookup that ended `now`.
    pub(super) fn learn(&mut self, found: Found, now: Instant) -> Learned {
        let before = self.current();
        let none = found.kinds.iter().all(|answer| *answer == Answer::None);
        let any = found.kinds.iter().any(|answer| matches!(answer, Answer::Records(..)));
        let (mut again_in, mut error) = (TTL[1], None);
        for (answer, v4) in found.kinds.into_iter().zip([true, false]) {
            match answer {
                Answer::Records(ips, valid) => {
                    self.replace(v4, ips, now);
                    self.confirmed = Some(now);
                    again_in = again_in.min(valid.clamp(TTL[0], TTL[1]));
                }
                // the last addresses stay in use for a while
                Answer::None if none => error = Some("it has no address".to_owned()),
                Answer::None => self.replace(v4, Vec::new(), now),
                // many name servers fail for a kind that the name does not have
                Answer::Failed(_) if any && !before.iter().any(|ip| ip.is_ipv4() == v4) => {}
                Answer::Failed(why) => error = Some(why),
            }
        }
        if error.is_some() {
            again_in = again_in.min(RETRY);
        }
        let is_gone = |confirmed| now.duration_since(confirmed) >= GONE;
        if none && self.confirmed.is_some_and(is_gone) {
            self.replace(true, Vec::new(), now);
            self.replace(false, Vec::new(), now);
        }
        self.known.retain(|known| known.is_current || now.duration_since(known.seen) < FORMER);
        self.is_looked_up = true;
        let current = self.current();
        let news = match (&error, self.error.is_some()) {
            (Some(why), false) if current.is_empty() => Some(format!("cannot be resolved: {why}")),
            (Some(why), false) => {
                Some(format!("cannot be resolved: {why}; its last addresses stay in use"))
            }
            _ if current != before && current.is_empty() => {
                Some("has had no address for an hour; no address is in use".to_owned())
            }
            (None, true) => Some(format!("is resolved again: {}", listed(&current))),
            _ if current != before && !before.is_empty() => {
                Some(format!("has other addresses: {}", listed(&current)))
            }
            _ => None,
        };
        self.error = error;
        Learned { again_in, changed: current != before, news }
    }

    /// The addresses in use, sorted: name servers rotate them.
    pub(super) fn current(&self) -> Vec<IpAddr> {
        let mut current: Vec<_> =
            self.iter().filter_map(|(ip, is_current)| is_current.then_some(ip)).collect();
        current.sort_unstable();
        current
    }

    /// Forgets the lookups: the addresses in use are former ones `now`.
    pub(super) fn retire(&mut self, now: Instant) {
        self.replace(true, Vec::new(), now);
        self.replace(false, Vec::new(), now);
        self.known.retain(|known| now.duration_since(known.seen) < FORMER);
        (self.confirmed, self.error) = (None, None);
    }

    /// Whether there is an address in use.
    pub(super) fn has_current(&self) -> bool {
        self.known.iter().any(|known| known.is_current)
    }

    /// Replaces the addresses of one kind. The old ones stay known.
    fn replace(&mut self, v4: bool, mut ips: Vec<IpAddr>, now: Instant) {
        // of many addresses, all edges use the same
        ips.sort_unstable();
        for known in self.known.iter_mut().filter(|known| known.ip.is_ipv4() == v4) {
            known.is_current = false;
        }
        for ip in ips.into_iter().filter(|ip| ip.is_ipv4() == v4).take(MAX_ADDRESSES) {
            match self.known.iter_mut().find(|known| known.ip == ip) {
                Some(known) => (known.is_current, known.seen) = (true, now),
                None => self.known.push(Known { ip, is_current: true, seen: now }),
            }
        }
        // the last seen first
        self.known.sort_by_key(|known| (!known.is_current, now.duration_since(known.seen)));
        let current = self.known.iter().filter(|known| known.is_current).count();
        self.known.truncate(current + MAX_FORMER);
    }
}

/// A list for the log.
pub(super) fn listed(items: &[impl ToString]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests;
