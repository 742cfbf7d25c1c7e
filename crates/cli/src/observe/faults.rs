//! What the operator is told of errors that requests by HTTP meet: at once, then once a minute at most.

use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sip_authz_rest::OnFault;

use crate::observe::writer::Writer;
use crate::system::failure::{Failure, complain};

/// How long errors are only counted after one was told.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// How many errors there were since.
    untold: u64,
}

impl Told {
    /// How many errors went untold before this one, if this one is to be told.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < AGAIN) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Tells the operator on stderr, by a thread of its own: no request waits for whoever reads that.
pub(crate) fn to_stderr() -> Result<OnFault, Failure> {
    let (lines, due) = sync_channel::<String>(1);
    Writer::start("faults", move || due.into_iter().for_each(complain))?;
    let told = Mutex::new(Told::default());
    Ok(OnFault::new(move |error| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(untold) = told.due(Instant::now()) else { return };
        let others = match untold {
            0 => String::new(),
            untold => format!(", as did {untold} since this was last said"),
        };
        // if nobody took the last one, there is nobody to tell
        let _ = lines.try_send(format!("warning: a request by HTTP met an error{others}: {error}"));
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_and_then_once_a_minute_with_their_number() {
        let begun = Instant::now();
        let mut told = Told::default();
        let mut due = |seconds| told.due(begun + Duration::from_secs(seconds));
        assert_eq!(due(0), Some(0));
        assert_eq!([due(0), due(30), due(59)], [None; 3]);
        assert_eq!(due(60), Some(3));
        assert_eq!(due(61), None);
        assert_eq!(due(600), Some(1));
        assert_eq!(due(900), Some(0));
    }
}
