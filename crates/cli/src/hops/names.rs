//! The addresses of next hops: A and AAAA records, and the system's file of hosts.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::Instant;

/// The limits of the time for which an answer is used.
const TTL: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3_600)];
/// The time for which an answer from the file of hosts is used.
const OF_FILE: Duration = Duration::from_secs(30);
/// The time after which a name without an answer is looked up again.
pub(super) const RETRY: Duration = Duration::from_secs(5);
/// The time limit for one query to a name server.
const QUERY: Duration = Duration::from_secs(2);
/// The time for which the last addresses stay in use once the name servers say that there are none.
const GONE: Duration = Duration::from_secs(3_600);
/// The time for which dialogs can use an address that its name no longer has: that of a dialog's tokens.
const FORMER: Duration = Duration::from_secs(12 * 3_600);
/// The maximum number of addresses of a name.
const MAX_ADDRESSES: usize = 16;
/// The maximum number of addresses that a name had before.
const MAX_FORMER: usize = 64;

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
        Self { kinds: [Answer::Addresses(ips, valid), Answer::None] }
    }
}

/// The answer to a query.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// These addresses, for this time.
    Addresses(Vec<IpAddr>, Duration),
    /// The name has no such address.
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

    /// Looks up the addresses of a name.
    pub(super) async fn look_up(&self, host: &str) -> Found {
        let both = |answer: fn(String) -> Answer, why: &str| Found {
            kinds: [answer(why.to_owned()), answer(why.to_owned())],
        };
        let Ok(mut name) = Name::from_ascii(host) else {
            return both(|_| Answer::None, "");
        };
        // only a name of one label goes through the search list of the system
        name.set_fqdn(host.contains('.'));
        let servers = self.servers.clone();
        // reads files: changes of them count without a restart
        let opened = tokio::task::spawn_blocking(move || open(servers)).await;
        let (hosts, resolver) = match opened {
            Ok(opened) => opened,
            Err(error) => return both(Answer::Failed, &error.to_string()),
        };
        let kinds = [RecordType::A, RecordType::AAAA];
        let of_file = kinds.map(|kind| {
            let lookup = hosts.lookup_static_host(&Query::query(name.clone(), kind));
            lookup.map_or(Answer::None, |lookup| {
                let ips = addresses(&lookup);
                if ips.is_empty() { Answer::None } else { Answer::Addresses(ips, OF_FILE) }
            })
        });
        if of_file.iter().any(|answer| *answer != Answer::None) {
            return Found { kinds: of_file };
        }
        let resolver = match resolver {
            Ok(resolver) => resolver,
            Err(error) => return both(Answer::Failed, &error.to_string()),
        };
        let [v4, v6] = kinds.map(|kind| query(&resolver, name.clone(), kind));
        Found { kinds: tokio::join!(v4, v6).into() }
    }
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

async fn query(resolver: &TokioResolver, name: Name, kind: RecordType) -> Answer {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let ips = addresses(&lookup);
            let valid = lookup.valid_until().saturating_duration_since(std::time::Instant::now());
            if ips.is_empty() { Answer::None } else { Answer::Addresses(ips, valid) }
        }
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Answer::None,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let ips = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    ips.filter(|ip| is_of_one_machine(*ip)).collect()
}

fn is_of_one_machine(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || is_broadcast)
}

/// The addresses of a name, and those that it had.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: Vec<Known>,
    /// The time of the last answer with an address.
    confirmed: Option<Instant>,
    /// The reason why the last lookup failed.
    error: Option<String>,
    is_looked_up: bool,
}

#[derive(Debug)]
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
        let any = found.kinds.iter().any(|answer| matches!(answer, Answer::Addresses(..)));
        let (mut again_in, mut error) = (TTL[1], None);
        for (answer, v4) in found.kinds.into_iter().zip([true, false]) {
            match answer {
                Answer::Addresses(ips, valid) => {
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
    fn current(&self) -> Vec<IpAddr> {
        let mut current: Vec<_> =
            self.iter().filter_map(|(ip, is_current)| is_current.then_some(ip)).collect();
        current.sort_unstable();
        current
    }

    /// Replaces the addresses of one kind. The old ones stay known.
    fn replace(&mut self, v4: bool, ips: Vec<IpAddr>, now: Instant) {
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

fn listed(ips: &[IpAddr]) -> String {
    let ips: Vec<_> = ips.iter().map(ToString::to_string).collect();
    ips.join(", ")
}

#[cfg(test)]
mod tests;
