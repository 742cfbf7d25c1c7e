//! The recent decisions of this process, for the API.

mod followers;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream;
use sip_authz::{Authorizer, DecisionSid, Snapshot};
use sip_authz_config::{DomainSource, Names};
use sip_authz_rest::decisions::{
    Answered, Asker, DecisionRecord, Decisions, Event, ExplainError, Explained, Filter, Followed,
    Found, Held, Later, Query, Question, Released, SilentEdge,
};
use tokio::sync::watch;

use self::followers::{Followers, Following};
use crate::observe::recent::{Kept, Recent};
use crate::observe::record::Record;
use crate::observe::record::shown::Shown;
use crate::serving::explain::Explainer;
use crate::serving::limits::Limits;

/// The longest interval between two rounds that erase personal fields.
const SWEEP: Duration = Duration::from_secs(60);
/// The shortest interval between them.
const MIN_SWEEP: Duration = Duration::from_secs(1);

/// Answers questions about the recent decisions of this process. Clones share everything.
#[derive(Clone)]
pub(crate) struct LocalDecisions {
    recent: Arc<Recent>,
    /// Its snapshot has the names and the owners of domains and trunks.
    authorizer: Arc<Authorizer>,
    /// The name of this edge.
    edge: Arc<str>,
    /// The sources of the domain of a call whose Request-URI names none.
    default_domain: Arc<[DomainSource]>,
    followers: Arc<Followers>,
    /// Ends the streams.
    ended: Arc<watch::Sender<bool>>,
}

impl LocalDecisions {
    pub(crate) fn new(recent: Arc<Recent>, authorizer: Arc<Authorizer>, edge: &str) -> Self {
        let (followers, ended) = (Arc::default(), Arc::new(watch::Sender::new(false)));
        let (edge, default_domain) = (edge.into(), Arc::default());
        Self { recent, authorizer, edge, default_domain, followers, ended }
    }

    /// Sets the sources of the domain of a call whose Request-URI names none, for explanations.
    pub(crate) fn with_default_domain(self, sources: &[DomainSource]) -> Self {
        Self { default_domain: sources.into(), ..self }
    }

    fn limits(&self) -> Limits<'_> {
        Limits { authorizer: &self.authorizer, recent: &self.recent, edge: &self.edge }
    }

    /// Ends all streams, and those that begin later.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Erases personal fields that are too old, until the program ends.
    pub(crate) async fn keep_forgetting(self) {
        if !self.recent.is_on() {
            return;
        }
        let interval = (self.recent.names_for() / 10).clamp(MIN_SWEEP, SWEEP);
        loop {
            tokio::time::sleep(interval).await;
            let recent = Arc::clone(&self.recent);
            // on a thread of its own: many records take some milliseconds
            let swept =
                tokio::task::spawn_blocking(move || recent.forget_callers(SystemTime::now()));
            let _ = swept.await;
        }
    }

    fn answer(&self, kept: &Kept, snapshot: &Snapshot) -> DecisionRecord {
        let shown = Shown::of(&kept.record, kept.names, snapshot);
        shown.answer(kept.place.sid, &self.edge)
    }

    /// This edge, if it keeps no decisions.
    fn silent(&self) -> Option<SilentEdge> {
        let reason = "keeps no recent decisions (`--recent 0`)".to_owned();
        (!self.recent.is_on()).then(|| SilentEdge { edge: self.edge.to_string(), reason })
    }

    /// Answers a question on a thread of its own: many records take some milliseconds.
    fn blocking<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Later<'static, T> {
        let this = self.clone();
        Box::pin(async move {
            let answered = tokio::task::spawn_blocking(move || work(&this)).await;
            answered.unwrap_or_default()
        })
    }

    fn page(&self, asker: Asker, query: &Query) -> (Vec<DecisionRecord>, bool) {
        let snapshot = self.authorizer.snapshot();
        let fits = |record: &Record, names| {
            sees(asker, record, &snapshot) && record.is_selected(&query.filter, names, &snapshot)
        };
        let (kept, has_more) = self.recent.page(query.limit, query.start, SystemTime::now(), fits);
        (kept.iter().map(|kept| self.answer(kept, &snapshot)).collect(), has_more)
    }
}

/// Whether a record is visible to the sender of a question.
fn sees(asker: Asker, record: &Record, snapshot: &Snapshot) -> bool {
    asker.account.is_none_or(|account| record.owner(snapshot) == Some(account))
}

impl Decisions for LocalDecisions {
    fn keeps(&self) -> bool {
        self.recent.is_on()
    }

    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        let silent = self.silent().into_iter().collect();
        let found = self.blocking(move |this| this.page(asker, &query));
        Box::pin(async move {
            let (rows, has_more) = found.await;
            Found { answered: Answered { rows, silent }, has_more }
        })
    }

    fn find(&self, asker: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>> {
        let silent = self.silent().into_iter().collect();
        let found = self.blocking(move |this| {
            let snapshot = this.authorizer.snapshot();
            let kept = this.recent.find(sid, SystemTime::now())?;
            sees(asker, &kept.record, &snapshot).then(|| this.answer(&kept, &snapshot))
        });
        Box::pin(async move { Answered { rows: found.await.into_iter().collect(), silent } })
    }

    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed> {
        let permit = self.followers.enter(asker.account)?;
        let following = Following::new(self.clone(), asker, filter, permit, self.ended.subscribe());
        let first = self.silent().map(Event::Silent);
        Some(Box::pin(stream::unfold((following, first), |(mut following, first)| async move {
            let event = match first {
                Some(first) => first,
                None => following.next().await?,
            };
            Some((event, (following, None)))
        })))
    }

    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>> {
        Box::pin(async move {
            let explainer = Explainer {
                authorizer: &self.authorizer,
                default_domain: &self.default_domain,
                account: asker.account,
                counts_guesses: true,
                edge: &self.edge,
            };
            explainer.explain(&question, &mut Names::default())
        })
    }

    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>> {
        let silent = self.silent().into_iter().collect();
        let held = self.blocking(move |this| this.limits().held(asker));
        Box::pin(async move { Answered { rows: held.await, silent } })
    }

    fn release(&self, asker: Asker, id: String) -> Later<'_, Released> {
        let released = self.blocking(move |this| this.limits().release(asker, &id));
        Box::pin(async move {
            match (released.await, self.silent()) {
                (true, _) => Released::Done,
                (false, None) => Released::NotHeld,
                (false, Some(silent)) => Released::Silent(vec![silent]),
            }
        })
    }
}

#[cfg(test)]
mod tests;
