//! The decisions and limits of all edges: a question at one edge is answered by all.
//!
//! An edge asks the others at the same time and waits one second. It names those that did not answer. An
//! edge that is asked answers for itself alone, so questions never go in circles. All edges decide by the
//! same records, so this edge explains requests by itself.

mod ask;
mod follow;
mod held_id;
mod http;
mod known;
mod merge;

use std::sync::Arc;

use sip_authz::DecisionSid;
use sip_authz_rest::decisions::{
    Answered, Asker, DecisionRecord, Decisions, ExplainError, Explained, Filter, Followed, Found,
    Held, Later, Query, Question, Released,
};
use sip_authz_rest::edges::{EdgeQuestion, EdgeQuestionKind, EdgeRows, MAX_ROWS};

use self::ask::{Answers, Given, hide};

pub(crate) use self::ask::{Fleet, PeerOptions};
pub(crate) use self::known::KnownEdges;

/// The decisions of this edge and of the others.
pub(crate) struct Peers {
    own: Arc<dyn Decisions>,
    fleet: Arc<Fleet>,
}

impl Peers {
    /// The decisions of this edge, `own`, and of the others.
    pub(crate) fn new(own: Arc<dyn Decisions>, fleet: Arc<Fleet>) -> Self {
        Self { own, fleet }
    }

    /// Asks the other edges, or those with the name `only`.
    async fn ask(&self, asker: Asker, what: EdgeQuestionKind, only: Option<&str>) -> Answers {
        let question = EdgeQuestion { account: asker.account, what };
        let mut answers = self.fleet.ask(asker.account, only, |_| question.clone()).await;
        if asker.account.is_some() {
            answers.silent.iter_mut().for_each(hide);
        }
        answers
    }
}

impl Decisions for Peers {
    /// True even if this edge keeps none: the others may.
    fn keeps(&self) -> bool {
        true
    }

    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        if !asker.asks_fleet {
            return self.own.recent(asker, query);
        }
        Box::pin(async move {
            let query = Query { limit: query.limit.min(MAX_ROWS), ..query };
            let what = EdgeQuestionKind::Recent {
                filter: Box::new(query.filter.clone()),
                limit: query.limit,
                start: query.start,
            };
            let own = self.own.recent(asker, query.clone());
            let (own, others) = tokio::join!(own, self.ask(asker, what, None));
            merge::decisions(asker.account, &query, own, others)
        })
    }

    fn find(&self, asker: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>> {
        if !asker.asks_fleet {
            return self.own.find(asker, sid);
        }
        Box::pin(async move {
            let mut own = self.own.find(asker, sid).await;
            if !own.rows.is_empty() {
                return own;
            }
            // the SID does not tell the edge
            let Answers { given, silent } =
                self.ask(asker, EdgeQuestionKind::Find(sid), None).await;
            let wanted = sid.to_string();
            let found =
                given.into_iter().find_map(|Given { edge, answer, .. }| match answer.rows {
                    EdgeRows::Decisions { rows, .. } => rows.into_iter().find(|row| {
                        row.sid == wanted
                            && row.place().is_some()
                            && merge::fits(asker.account, &Filter::default(), &edge, row)
                    }),
                    _ => None,
                });
            if let Some(found) = found {
                return Answered { rows: vec![found], silent: Vec::new() };
            }
            own.silent.extend(silent);
            own
        })
    }

    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed> {
        let own = self.own.follow(asker, filter.clone())?;
        if !asker.asks_fleet {
            return Some(own);
        }
        Some(follow::all(own, Arc::clone(&self.fleet), asker.account, filter))
    }

    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>> {
        self.own.explain(asker, question)
    }

    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>> {
        if !asker.asks_fleet {
            return self.own.held(asker);
        }
        Box::pin(async move {
            let asked = self.ask(asker, EdgeQuestionKind::Held, None);
            let (own, others) = tokio::join!(self.own.held(asker), asked);
            merge::held(asker.account, &self.fleet.name, own, others)
        })
    }

    fn release(&self, asker: Asker, id: String) -> Later<'_, Released> {
        if !asker.asks_fleet {
            return self.own.release(asker, id);
        }
        Box::pin(async move {
            let Some((edge, id)) = held_id::read(&id) else { return Released::NotHeld };
            let mut silent = Vec::new();
            if edge == self.fleet.name {
                match self.own.release(asker, id.to_owned()).await {
                    Released::Done => return Released::Done,
                    Released::NotHeld => {}
                    Released::Silent(edges) => silent = edges,
                }
            }
            // another process can have the name of this one
            let what = EdgeQuestionKind::Release(id.to_owned());
            let answers = self.ask(asker, what, Some(&edge)).await;
            let is_done =
                |given: &Given| matches!(given.answer.rows, EdgeRows::Released { done: true });
            if answers.given.iter().any(is_done) {
                return Released::Done;
            }
            silent.extend(answers.silent);
            if silent.is_empty() { Released::NotHeld } else { Released::Silent(silent) }
        })
    }
}

#[cfg(test)]
mod tests;
