//! Warns the operator of errors in HTTP requests: at once, then at most once a minute.

use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sip_authz_rest::OnFault;

use crate::observe::writer::Writer;
use crate::system::output::{ProgramError, warn};

/// The time after a warning in which errors are only counted.
const AGAIN: Duration = Duration::from_secs(60);

/// Limits warnings to one per [`AGAIN`].
#[derive(Default)]
pub(crate) struct WarningLimit {
    last: Option<Instant>,
    /// The number of errors since the last warning.
    suppressed: u64,
}

impl WarningLimit {
    /// The number of errors suppressed before this one if a warning is due; `None` counts this one.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < AGAIN) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Begins anew once the condition has ended. Returns whether there was a warning of it.
    pub(crate) fn reset(&mut self) -> bool {
        std::mem::take(self).last.is_some()
    }
}

/// Prints the warnings to stderr on a thread of its own, so that a blocked stderr delays no request.
pub(crate) fn to_stderr() -> Result<OnFault, ProgramError> {
    let (lines, due) = sync_channel::<String>(1);
    Writer::start("http errors", move || due.into_iter().for_each(warn))?;
    let limit = Mutex::new(WarningLimit::default());
    Ok(OnFault::new(move |error| {
        let mut limit = limit.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(suppressed) = limit.due(Instant::now()) else { return };
        let others = match suppressed {
            0 => String::new(),
            suppressed => format!(" ({suppressed} more since the last warning)"),
        };
        // dropped if stderr has not taken the last warning
        let _ = lines.try_send(format!("warning: HTTP request failed{others}: {error}"));
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_at_most_one_a_minute_and_count_the_errors_between() {
        let begun = Instant::now();
        let mut limit = WarningLimit::default();
        let mut due = |seconds| limit.due(begun + Duration::from_secs(seconds));
        assert_eq!(due(0), Some(0));
        assert_eq!([due(0), due(30), due(59)], [None; 3]);
        assert_eq!(due(60), Some(3));
        assert_eq!(due(61), None);
        assert_eq!(due(600), Some(1));
        assert_eq!(due(900), Some(0));
        assert_eq!([limit.reset(), limit.reset()], [true, false]);
        assert_eq!(limit.due(begun + Duration::from_secs(901)), Some(0));
    }
}
