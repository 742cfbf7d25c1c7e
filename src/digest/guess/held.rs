//! The questions and the release of an operator: the debt of a key, and how to forget it.

use super::{Counter, GuessKey, GuessLimiter, RANK, Source};

/// The tokens that a key owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Debt {
    /// The time at which all tokens are back; the key owes nothing from then on.
    pub(crate) idle_from_ms: u64,
    /// Whether wrong digests of this key made the debt. False for a key without a counter, which owes
    /// what forgotten keys of its source owed.
    pub(crate) is_own: bool,
}

impl GuessLimiter {
    /// The debt of a key. Changes nothing.
    pub(crate) fn debt(&self, key: GuessKey) -> Debt {
        let bucket = self.sources.lock(key.source);
        let Some(source) = bucket.find(&key.source) else {
            return Debt { idle_from_ms: self.evicted.until_ms(key.source), is_own: false };
        };
        let is_own = source.names.iter().any(|counter| counter.name == key.name);
        Debt { idle_from_ms: source.idle_from_ms(key.name), is_own }
    }

    /// Forgets the debt of a key, and returns whether it owed a token. Other keys of its source keep
    /// theirs, and so does the floor of those without a counter: the key gets a counter that owes
    /// nothing. If fifteen other names of the source take the counters later, the key owes the floor
    /// again.
    ///
    /// `is_alone` is true for a key that has a place of its own ([`name_key`](Self::name_key)). Its floor
    /// is its own debt, and goes too.
    pub(crate) fn release(&self, key: GuessKey, is_alone: bool, now_ms: u64) -> bool {
        let owes = self.debt(key).idle_from_ms > now_ms;
        if !owes {
            return false;
        }
        let mut bucket = self.sources.lock(key.source);
        if is_alone {
            self.evicted.forget(key.source);
        }
        if let Some(source) = bucket.find_mut(&key.source) {
            source.release(key.name, is_alone);
            return true;
        }
        let mut source = Source::new(key, self.evicted.until_ms(key.source));
        source.release(key.name, is_alone);
        // as a source with one wrong digest, so that the next new source does not replace it
        source.rank_ms = RANK.take(0, now_ms);
        self.add(&mut bucket, source, now_ms);
        true
    }
}

impl Source {
    /// Sets the debt of a name to zero. A name without a counter takes one as [`record`](Self::record)
    /// does.
    fn release(&mut self, name: u64, is_alone: bool) {
        if is_alone {
            self.floor_ms = 0;
        }
        if let Some(counter) = self.names.iter_mut().find(|counter| counter.name == name) {
            counter.idle_from_ms = 0;
        } else {
            self.put(Counter { name, idle_from_ms: 0 });
        }
    }
}
