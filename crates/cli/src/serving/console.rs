//! The console for operators: its options, and the state that it shows of this program.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use sip_authz::Authorizer;
use sip_authz_console::{
    Console, ConsoleOptions, ConsoleState, Head, Level, Row, Section, SharedState,
};
use sip_authz_rest::RestOptions;
use sip_authz_store::FollowerState;

use crate::args::ServeArgs;
use crate::observe::reloads::Reloads;
use crate::serving::state::State;
use crate::system::output::ProgramError;

/// Facts of the command line for the console.
#[derive(Clone)]
pub(crate) struct ConsoleSetup {
    /// Whether the API listens on loopback only.
    local: bool,
    has_tls: bool,
    /// The place of the records in words.
    records: String,
    reloads: Arc<Reloads>,
}

impl ConsoleSetup {
    pub(crate) fn new(args: &ServeArgs, api: Option<SocketAddr>, reloads: &Arc<Reloads>) -> Self {
        #[cfg(feature = "tls")]
        let has_tls = !args.tls.sips.is_empty();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        let records = match (&args.config, args.store()) {
            (Some(path), _) => format!("the records in {}", path.display()),
            (None, Some(store)) => store.to_string(),
            (None, None) => "in memory; they are lost at exit".to_owned(),
        };
        Self {
            local: api.is_some_and(|api| api.ip().to_canonical().is_loopback()),
            has_tls,
            records,
            reloads: Arc::clone(reloads),
        }
    }

    /// The console, with the same admin, decisions and limits as the API.
    pub(crate) fn open(
        &self,
        api: &RestOptions,
        edge: &str,
        authorizer: &Arc<Authorizer>,
        state: &State,
    ) -> Result<Arc<Console>, ProgramError> {
        let state = ProgramState {
            setup: self.clone(),
            edge: edge.to_owned(),
            authorizer: Arc::clone(authorizer),
            state: state.clone(),
            started: SystemTime::now(),
        };
        let options = ConsoleOptions::default()
            .with_admin(api.admin.clone())
            .with_decisions(api.decisions.clone())
            .with_local(self.local)
            .with_on_failed_login(api.on_failed_login.clone())
            .with_public_base(api.public_base.clone())
            .with_read_only(api.read_only)
            .with_state(Some(SharedState(Arc::new(state))));
        let console = Console::new(options);
        console.map(Arc::new).map_err(|error| ProgramError::Runtime(error.to_string()))
    }
}

/// The state of this program.
struct ProgramState {
    setup: ConsoleSetup,
    edge: String,
    authorizer: Arc<Authorizer>,
    state: State,
    started: SystemTime,
}

impl ProgramState {
    /// The time since the store confirmed the records, and whether that is longer than the limit.
    fn confirmed(&self) -> Option<(Duration, bool)> {
        let (confirmed, length) = self.state.lease()?;
        let age = confirmed.age(Instant::now());
        Some((age, length.is_some() && !self.state.decides()))
    }

    fn records(&self) -> Section {
        let snapshot = self.authorizer.snapshot();
        let mut rows = vec![
            Row::new("Records", self.setup.records.clone()),
            Row::new("Snapshot", snapshot.number().to_string()),
        ];
        if let Some(applied) = self.state.applied() {
            let behind = applied.seen().saturating_sub(applied.number());
            let (text, level) = match (applied.state(), behind) {
                (FollowerState::Following, 0) => ("follows the store".to_owned(), Level::Good),
                (FollowerState::Following, behind) => {
                    (format!("{behind} commits behind the store"), Level::Warning)
                }
                (_, _) => ("does not follow the store".to_owned(), Level::Bad),
            };
            rows.push(Row::new("Commit in force", applied.number().to_string()));
            rows.push(Row::new("Store", text).with_level(level));
        }
        if let Some((age, is_over)) = self.confirmed() {
            let level = if is_over { Level::Bad } else { Level::Good };
            let text = format!("{} s ago", age.as_secs());
            rows.push(Row::new("Confirmed by the store", text).with_level(level));
        }
        Section::new("Snapshot", rows).for_admin()
    }

    fn certificates(&self) -> Option<Section> {
        let now = SystemTime::now();
        let row = |(listener, expiry): (&str, Arc<crate::observe::expiry::Expiry>)| {
            let level = match expiry.warning(now) {
                None => Level::Good,
                Some(_) if expiry.at.is_some_and(|at| at <= now) => Level::Bad,
                Some(_) => Level::Warning,
            };
            let until = expiry.at.map_or_else(|| "unknown".to_owned(), written);
            let text = format!("{}: expires {until}", expiry.file.display());
            Row::new(format!("Listener {listener}"), text).with_level(level)
        };
        let rows: Vec<_> = self.setup.reloads.expiries().map(row).collect();
        (!rows.is_empty()).then(|| Section::new("Certificates", rows).for_admin())
    }

    fn loads(&self) -> Option<Section> {
        let row = |(name, succeeded, at): (&str, bool, SystemTime)| {
            let (text, level) = match succeeded {
                true => (format!("loaded {}", written(at)), Level::Good),
                false => {
                    let text = format!("the last load failed; in force is that of {}", written(at));
                    (text, Level::Bad)
                }
            };
            Row::new(name, text).with_level(level)
        };
        let rows: Vec<_> = self.setup.reloads.loads().into_iter().map(row).collect();
        (!rows.is_empty()).then(|| Section::new("Files", rows).for_admin())
    }

    fn program(&self) -> Section {
        let rows = vec![
            Row::new("Version", env!("CARGO_PKG_VERSION")),
            Row::new("Edge", self.edge.clone()),
            Row::new("Started", written(self.started)),
            Row::new("SIP over TLS", if self.setup.has_tls { "yes" } else { "no" }),
        ];
        Section::new("Program", rows)
    }
}

impl ConsoleState for ProgramState {
    fn head(&self) -> Head {
        let snapshot = || self.authorizer.snapshot().number();
        Head {
            edge: self.edge.clone(),
            number: self.state.applied().map_or_else(snapshot, |applied| applied.number()),
            confirmed: self.confirmed().map(|(age, _)| age),
            decides: self.state.decides(),
            has_tls: self.setup.has_tls,
        }
    }

    fn sections(&self) -> Pin<Box<dyn Future<Output = Vec<Section>> + Send + '_>> {
        let sections =
            [Some(self.program()), Some(self.records()), self.certificates(), self.loads()];
        Box::pin(std::future::ready(sections.into_iter().flatten().collect()))
    }
}

/// A time in UTC, without a fraction.
fn written(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.0}"))
}
