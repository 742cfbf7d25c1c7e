//! Streams of decisions as they are made.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sip_authz::AccountSid;
use sip_authz::model::Target;
use sip_authz_rest::decisions::{Asker, Event, Filter};
use tokio::sync::watch;

use super::{LocalDecisions, sees};
use crate::observe::recent::Position;
use crate::observe::record::Record;

/// The maximum number of streams of an account, and of the admin.
const MAX_OWN: usize = 4;
/// The maximum number of streams of all accounts. The admin has its own, so that accounts never take them.
const MAX_ACCOUNTS: usize = 32 - MAX_OWN;
/// The interval between two looks at the rings.
const LOOK: Duration = Duration::from_millis(250);
/// The maximum number of decisions of one look; the stream only counts further ones.
const MAX_NEWS: usize = 1_000;

/// The number of streams of each account; none is the admin.
#[derive(Default)]
pub(super) struct Followers(Mutex<HashMap<Option<AccountSid>, usize>>);

/// A counted stream.
pub(super) struct Permit {
    followers: Arc<Followers>,
    account: Option<AccountSid>,
}

impl Followers {
    /// Counts a stream until the permit is dropped. None if there are too many.
    pub(super) fn enter(self: &Arc<Self>, account: Option<AccountSid>) -> Option<Permit> {
        let mut counts = self.lock();
        let own = counts.get(&account).copied().unwrap_or_default();
        let of_accounts = counts.iter().filter(|(account, _)| account.is_some());
        let is_full = of_accounts.map(|(_, count)| count).sum::<usize>() >= MAX_ACCOUNTS;
        if own >= MAX_OWN || (is_full && account.is_some()) {
            return None;
        }
        counts.insert(account, own + 1);
        Some(Permit { followers: Arc::clone(self), account })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<AccountSid>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.followers.lock();
        match counts.get_mut(&self.account) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&self.account),
        }
    }
}

/// The state of a stream.
pub(super) struct Following {
    decisions: LocalDecisions,
    asker: Asker,
    filter: Filter,
    position: Position,
    waiting: VecDeque<Event>,
    ended: watch::Receiver<bool>,
    _permit: Permit,
}

impl Following {
    pub(super) fn new(
        decisions: LocalDecisions,
        asker: Asker,
        filter: Filter,
        permit: Permit,
        ended: watch::Receiver<bool>,
    ) -> Self {
        let (position, waiting) = (decisions.recent.position(), VecDeque::new());
        Self { decisions, asker, filter, position, waiting, ended, _permit: permit }
    }

    /// The next event; none at the end of the program.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if *self.ended.borrow() {
                return None;
            }
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            // the sender lives as long as `decisions`
            let ended = self.ended.wait_for(|ended| *ended);
            if tokio::time::timeout(LOOK, ended).await.is_ok() {
                return None;
            }
            self.look();
        }
    }

    /// Takes the new decisions.
    fn look(&mut self) {
        let Self { decisions, asker, filter, position, .. } = self;
        let snapshot = decisions.authorizer.snapshot();
        let fits = |record: &Record, names| {
            sees(*asker, record, &snapshot) && record.is_selected(filter, names, &snapshot)
        };
        let saw = |target: Option<Target>| {
            asker.account.is_none_or(|account| {
                let view = target.and_then(|target| snapshot.target_view(target));
                view.is_some_and(|view| view.account == account)
            })
        };
        let news = decisions.recent.news(position, MAX_NEWS, SystemTime::now(), fits, saw);
        if news.left_out > 0 {
            self.waiting.push_back(Event::LeftOut(news.left_out));
        }
        for kept in &news.kept {
            let answer = decisions.answer(kept, &snapshot);
            self.waiting.push_back(Event::Decision(Box::new(answer)));
        }
    }
}
