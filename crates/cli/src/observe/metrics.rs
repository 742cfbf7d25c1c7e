//! `GET /metrics`: the metrics of the program in the Prometheus text format.
//!
//! Each scrape records all counters into a recorder of its own and renders them. No call waits for a
//! scrape.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use metrics::atomics::AtomicU64;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, counter,
    describe_counter, describe_gauge, gauge, with_local_recorder,
};
use sip_authz::Authorizer;

use crate::decide::counts::DecideCounts;
use crate::observe::audit::Audit;
use crate::observe::logins::FailedLogins;
use crate::observe::method::MethodCounts;
use crate::observe::reloads::Reloads;
use crate::observe::targets::TargetCounts;
use crate::serving::resources::Resources;
use crate::serving::state::State;
use crate::sip::edge::Edge;

/// The content type of version 0.0.4 of the text format, which every scraper supports.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The time for which a page is cached, so that frequent scrapes do not load the tables.
const FRESH: Duration = Duration::from_millis(250);

/// The sources of the metrics, and the cached page.
pub(crate) struct Scraped {
    edge: Arc<Edge>,
    authorizer: Arc<Authorizer>,
    state: State,
    reloads: Arc<Reloads>,
    logins: Arc<FailedLogins>,
    /// Counts of the decision service, if there is one.
    decide: Option<Arc<DecideCounts>>,
    started: SystemTime,
    last: Mutex<Option<(Instant, String)>>,
}

impl Scraped {
    pub(crate) fn new(
        edge: Arc<Edge>,
        resources: &Resources,
        reloads: Arc<Reloads>,
        logins: Arc<FailedLogins>,
    ) -> Self {
        Self {
            edge,
            authorizer: Arc::clone(&resources.authorizer),
            state: resources.state.clone(),
            reloads,
            logins,
            decide: None,
            started: SystemTime::now(),
            last: Mutex::new(None),
        }
    }

    /// Adds the counts of the decision service.
    pub(crate) fn with_decide(self, decide: Option<Arc<DecideCounts>>) -> Self {
        Self { decide, ..self }
    }

    /// The router for scrapes.
    ///
    /// On a loopback address (`local`) the Host header must be an IP address or `localhost`. This
    /// prevents DNS rebinding: a web page could otherwise read the metrics under its own host name.
    pub(crate) fn router(self, local: bool) -> Router {
        let scraped = Arc::new(self);
        let answer = move |headers: HeaderMap| {
            let scraped = Arc::clone(&scraped);
            async move {
                if local && !is_asked_as_local(&headers) {
                    let why = "Host: expected an IP address or localhost\n";
                    return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
                }
                ([(CONTENT_TYPE, TEXT)], scraped.page()).into_response()
            }
        };
        Router::new().route("/metrics", get(answer))
    }

    fn page(&self) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &*last {
            Some((made, page)) if now.saturating_duration_since(*made) < FRESH => page.clone(),
            _ => {
                let page = self.make(now);
                *last = Some((now, page.clone()));
                page
            }
        }
    }

    fn make(&self, now: Instant) -> String {
        let page = Page::default();
        with_local_recorder(&page, || {
            sip_authz::metrics::describe();
            sip_authz_store::metrics::describe();
            sip_authz::metrics::record(&self.authorizer, now);
            sip_authz::metrics::record_latencies(&self.edge.observers.latencies);
            if let Some(applied) = self.state.applied() {
                sip_authz_store::metrics::record_follower(&applied);
            }
            if let Some(checked) = self.state.checked() {
                sip_authz_store::metrics::record_health(&checked);
            }
            if let Some((confirmed, length)) = self.state.lease() {
                sip_authz_store::metrics::record_lease(confirmed, *length, now);
            }
            describe();
            self.record(now);
        });
        page.text()
    }

    fn record(&self, now: Instant) {
        if let Some(forwarding) = self.edge.forwarding() {
            forwarding.hops().record();
        }
        let totals = &self.edge.totals;
        for (outcome, count) in totals.messages() {
            counter!("sip_authz_messages_total", "outcome" => outcome).absolute(count);
        }
        for (cause, count) in totals.others() {
            let (outcome, reason) = (cause.handling().as_str(), cause.as_str());
            let labels = [("outcome", outcome), ("reason", reason)];
            counter!("sip_authz_other_messages_total", &labels).absolute(count);
        }
        self.edge.observers.methods.record();
        if let Some(targets) = &self.edge.observers.targets {
            targets.record(&self.authorizer.snapshot(), now);
        }
        counter!("sip_authz_answers_unsent_total").absolute(totals.unsent());
        counter!("sip_authz_connections_closed_total").absolute(totals.connections_closed());
        if let Some(audit) = &self.edge.observers.audit {
            audit.record();
        }
        self.reloads.record();
        self.logins.record();
        if let Some(decide) = &self.decide {
            decide.record();
        }
        gauge!("sip_authz_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge!("process_start_time_seconds").set(started.as_secs_f64());
    }
}

fn is_asked_as_local(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

fn describe() {
    describe_counter!("sip_authz_messages_total", "Messages received, by outcome");
    describe_counter!(
        "sip_authz_other_messages_total",
        "Messages answered otherwise than by a decision, ignored or dropped, by reason"
    );
    MethodCounts::describe();
    TargetCounts::describe();
    describe_counter!("sip_authz_answers_unsent_total", "Answers that could not be sent");
    describe_counter!(
        "sip_authz_connections_closed_total",
        "Connections refused, evicted, or closed after an error"
    );
    Audit::describe();
    Reloads::describe();
    FailedLogins::describe();
    DecideCounts::describe();
    describe_gauge!("sip_authz_build_info", "Always 1");
    describe_gauge!("process_start_time_seconds", "Start time of the program, in Unix time");
}

/// A recorder for one page; keeps the order of registration.
#[derive(Default)]
pub(crate) struct Page {
    described: Mutex<Vec<(String, &'static str, SharedString)>>,
    series: Mutex<AllSeries>,
}

#[derive(Default)]
struct AllSeries {
    list: Vec<Series>,
    /// The places in the list, by name and labels.
    index: HashMap<(String, String), usize>,
}

struct Series {
    name: String,
    /// The rendered labels with their braces.
    labels: String,
    gauge: bool,
    value: Arc<AtomicU64>,
}

impl Series {
    /// Whether the series belongs to the family of this name and kind.
    fn is_of(&self, family: &str, kind: &str) -> bool {
        match self.name.strip_prefix(family) {
            Some("") => true,
            Some("_bucket" | "_count" | "_sum") => kind == "histogram",
            _ => false,
        }
    }

    fn write(&self, out: &mut String) {
        let bits = self.value.load(Ordering::Relaxed);
        let Self { name, labels, .. } = self;
        // writing to a String does not fail
        let _ = match self.gauge {
            true => writeln!(out, "{name}{labels} {}", f64::from_bits(bits)),
            false => writeln!(out, "{name}{labels} {bits}"),
        };
    }
}

impl Page {
    fn describe(&self, kind: &'static str, name: &KeyName, text: SharedString) {
        locked(&self.described).push((name.as_str().to_owned(), kind, text));
    }

    fn value(&self, key: &Key, gauge: bool) -> Arc<AtomicU64> {
        let id = (key.name().to_owned(), written(key));
        let AllSeries { list, index } = &mut *locked(&self.series);
        if let Some(known) = index.get(&id).and_then(|at| list.get(*at)) {
            return Arc::clone(&known.value);
        }
        let value = Arc::new(AtomicU64::new(0));
        let (name, labels) = id.clone();
        index.insert(id, list.len());
        list.push(Series { name, labels, gauge, value: Arc::clone(&value) });
        value
    }

    /// Renders the described families that have a series.
    pub(crate) fn text(&self) -> String {
        let (described, series) = (locked(&self.described), locked(&self.series));
        let mut out = String::new();
        for (family, kind, help) in described.iter() {
            let mut members = series.list.iter().filter(|one| one.is_of(family, kind)).peekable();
            if members.peek().is_some() {
                let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
                members.for_each(|one| one.write(&mut out));
            }
        }
        out
    }
}

impl Recorder for Page {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe("counter", &name, text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe("gauge", &name, text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.describe("histogram", &name, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key, false))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key, true))
    }

    /// Unused: histograms are recorded as counters of their buckets.
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Renders the labels of a series.
fn written(key: &Key) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value())))
        .collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_prometheus_text_format() {
        let page = Page::default();
        with_local_recorder(&page, || {
            metrics::describe_histogram!("t_seconds", "time");
            describe_counter!("a_total", "how many");
            describe_gauge!("unused", "never set");
            describe_gauge!("g", "a gauge");
            counter!("a_total", "b" => "q\"\\\n").absolute(3);
            gauge!("g").set(0.5);
            counter!("t_seconds_bucket", "le" => "+Inf").absolute(2);
            counter!("t_seconds_count").absolute(2);
            gauge!("t_seconds_sum").set(1e-6);
            counter!("a_total", "b" => "q\"\\\n").absolute(4);
            counter!("a_total_other").absolute(1);
        });
        let expected = "# HELP t_seconds time\n# TYPE t_seconds histogram\n\
            t_seconds_bucket{le=\"+Inf\"} 2\nt_seconds_count 2\nt_seconds_sum 0.000001\n\
            # HELP a_total how many\n# TYPE a_total counter\na_total{b=\"q\\\"\\\\\\n\"} 4\n\
            # HELP g a gauge\n# TYPE g gauge\ng 0.5\n";
        assert_eq!(page.text(), expected);
    }
}
