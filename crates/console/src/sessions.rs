//! The open sessions, in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sip_authz::AccountSid;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::RandomError;

/// The time without a request after which a session ends.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// The maximum duration of a session.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// The maximum number of sessions. A further one ends the least recently used session, of any holder.
const MAX_SESSIONS: usize = 1_024;
/// The maximum number of sessions of one holder: a further one ends its least recently used session. So a
/// single account cannot fill the table and end the sessions of others.
const MAX_OF_HOLDER: usize = 32;

/// The person or account behind a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The admin.
    Admin,
    /// An account, with the hash of its token at the login.
    Account(AccountSid, [u8; 32]),
}

impl Holder {
    /// Whether both are the same account, or both the admin.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Admin, Self::Admin) => true,
            (Self::Account(one, _), Self::Account(other, _)) => one == other,
            _ => false,
        }
    }
}

/// The name of a session in the table: the hash of the id in the cookie. So the time of a look-up reveals
/// nothing about an id.
pub(crate) type SessionKey = [u8; 32];

/// A session as a request sees it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) holder: Holder,
    /// The token that each form of the session carries.
    pub(crate) csrf: String,
}

impl Session {
    /// Whether `token` is that of the session's forms.
    pub(crate) fn owns_token(&self, token: &str) -> bool {
        self.csrf.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

struct Kept {
    holder: Holder,
    csrf: String,
    since: Instant,
    used: Instant,
}

impl Kept {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE
            || now.saturating_duration_since(self.since) >= MAX_AGE
    }
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionKey, Kept>>);

impl Sessions {
    /// Opens a session. Returns the id for the cookie.
    pub(crate) fn open(&self, holder: Holder) -> Result<String, RandomError> {
        let (id, csrf) = (hex::encode(random()?), hex::encode(random()?));
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, kept| !kept.is_over(now));
        let of_one = all.values().filter(|kept| kept.holder.is_same(&holder)).count();
        if of_one >= MAX_OF_HOLDER {
            end_oldest(&mut all, |kept| kept.holder.is_same(&holder));
        } else if all.len() >= MAX_SESSIONS {
            end_oldest(&mut all, |_| true);
        }
        all.insert(key_of(&id), Kept { holder, csrf, since: now, used: now });
        Ok(id)
    }

    /// The session with this id. With `uses`, its idle time starts again.
    pub(crate) fn find(&self, id: &str, uses: bool) -> Option<Session> {
        let (key, now) = (key_of(id), Instant::now());
        let mut all = self.lock();
        let kept = all.get_mut(&key)?;
        if kept.is_over(now) {
            all.remove(&key);
            return None;
        }
        if uses {
            kept.used = now;
        }
        Some(Session { key, holder: kept.holder, csrf: kept.csrf.clone() })
    }

    /// Whether the session is still open.
    pub(crate) fn is_open(&self, key: &SessionKey) -> bool {
        let now = Instant::now();
        self.lock().get(key).is_some_and(|kept| !kept.is_over(now))
    }

    /// Ends a session.
    pub(crate) fn end(&self, key: &SessionKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_oldest(all: &mut HashMap<SessionKey, Kept>, of: impl Fn(&Kept) -> bool) {
    let oldest = all.iter().filter(|(_, kept)| of(kept)).min_by_key(|(_, kept)| kept.used);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        all.remove(&key);
    }
}

fn key_of(id: &str) -> SessionKey {
    Sha256::digest(id).into()
}

/// Random bytes of the operating system.
pub(crate) fn random() -> Result<[u8; 32], RandomError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| RandomError(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> Holder {
        Holder::Account(AccountSid::from_time(1, [number; 10]), [0; 32])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_idle_and_after_half_a_day() {
        let sessions = Sessions::default();
        let id = sessions.open(Holder::Admin).unwrap();
        let step = IDLE.checked_sub(Duration::from_secs(1)).unwrap();
        let mut passed = Duration::ZERO;
        while passed + step < MAX_AGE {
            tokio::time::advance(step).await;
            passed += step;
            assert!(sessions.find(&id, true).is_some(), "{passed:?}");
        }
        tokio::time::advance(step).await;
        assert!(sessions.find(&id, true).is_none(), "longer than the longest");

        let id = sessions.open(Holder::Admin).unwrap();
        tokio::time::advance(step).await;
        // a look that is no use does not keep the session alive
        assert!(sessions.find(&id, false).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sessions.find(&id, true).is_none(), "idle");
    }

    #[tokio::test(start_paused = true)]
    async fn many_sessions_of_one_account_end_its_own_oldest() {
        let sessions = Sessions::default();
        let other = sessions.open(account(2)).unwrap();
        let mut ids = Vec::new();
        for _ in 0..=MAX_OF_HOLDER {
            tokio::time::advance(Duration::from_millis(1)).await;
            ids.push(sessions.open(account(1)).unwrap());
        }
        assert!(sessions.find(&other, true).is_some());
        assert!(sessions.find(&ids[0], true).is_none() && sessions.find(&ids[1], true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_all_sessions_is_bounded() {
        let sessions = Sessions::default();
        for number in 0..=MAX_SESSIONS {
            tokio::time::advance(Duration::from_millis(1)).await;
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            let sid = AccountSid::from_time(1, [high, low, 0, 0, 0, 0, 0, 0, 0, 0]);
            sessions.open(Holder::Account(sid, [0; 32])).unwrap();
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
    }

    #[tokio::test]
    async fn ids_and_form_tokens_are_long_and_differ() {
        let sessions = Sessions::default();
        let (one, other) =
            (sessions.open(Holder::Admin).unwrap(), sessions.open(Holder::Admin).unwrap());
        let (first, second) =
            (sessions.find(&one, true).unwrap(), sessions.find(&other, true).unwrap());
        assert_eq!((one.len(), first.csrf.len()), (64, 64));
        assert!(one != other && first.csrf != second.csrf && one != first.csrf);
        assert!(first.owns_token(&first.csrf) && !first.owns_token(&second.csrf));
        assert!(!first.owns_token(""));
    }
}
