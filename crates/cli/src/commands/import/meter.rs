//! The progress of an import: what is sent, and what the server has applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sip_authz_rest::bulk::ImportProgress;

use crate::commands::client::upload::Watch;
use crate::commands::progress::Progress;

/// Shows the progress of one request.
pub(super) struct Meter {
    progress: Progress,
    begin: Instant,
    total: usize,
    /// The number of bytes that are sent.
    pub(super) sent: Arc<AtomicUsize>,
    /// The last progress that the server has reported.
    pub(super) applied: Option<ImportProgress>,
}

impl Meter {
    /// Starts to send a document of this size in bytes; 0 is unknown.
    pub(super) fn new(total: usize) -> Self {
        Self {
            progress: Progress::begin("sending", total),
            begin: Instant::now(),
            total,
            sent: Arc::default(),
            applied: None,
        }
    }
}

impl Watch for Meter {
    fn applied(&mut self, progress: ImportProgress) {
        self.applied = Some(progress);
        self.tick();
    }

    fn tick(&mut self) {
        let sent = self.sent.load(Ordering::Relaxed);
        let applied = self.applied.as_ref();
        let counts = applied.map(|it| (it.applied, it.new + it.changed + it.unchanged));
        let (seconds, total) = (self.begin.elapsed().as_secs_f64(), self.total);
        self.progress.show(|| describe(sent, total, counts, seconds));
    }
}

/// `counts` are the records that are applied, and those of them that this request has applied.
#[allow(clippy::cast_precision_loss, reason = "a rate is rounded")]
fn describe(sent: usize, total: usize, counts: Option<(u64, usize)>, seconds: f64) -> String {
    const MB: f64 = 1_000_000.0;
    let sent_mb = sent as f64 / MB;
    let of = if total == 0 { String::new() } else { format!(" of {:.1}", total as f64 / MB) };
    let rate = sent_mb / seconds;
    let mut text = format!("sent {sent_mb:.1}{of} MB ({rate:.1} MB/s)");
    if let Some((applied, now)) = counts {
        let rate = now as f64 / seconds;
        text.push_str(&format!(", applied {applied} records ({rate:.0}/s)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_count_and_rate() {
        assert_eq!(describe(5_000_000, 0, None, 2.0), "sent 5.0 MB (2.5 MB/s)");
        assert_eq!(
            describe(5_000_000, 40_000_000, Some((900, 300)), 2.0),
            "sent 5.0 of 40.0 MB (2.5 MB/s), applied 900 records (150/s)"
        );
    }
}
