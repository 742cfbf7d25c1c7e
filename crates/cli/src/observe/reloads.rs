//! The result and the time of the last reload, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use metrics::{describe_gauge, gauge};

/// The last load of the configuration file and of each pair of certificate and key.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) config: LastLoad,
    pub(crate) sips: LastLoad,
    pub(crate) api: LastLoad,
}

/// The result of the last load of a file, and the time of the last one that succeeded. Not reported
/// until the first load.
#[derive(Debug, Default)]
pub(crate) struct LastLoad {
    is_loaded: AtomicBool,
    succeeded: AtomicBool,
    /// The time of the last success, in milliseconds since 1970.
    time_ms: AtomicU64,
}

impl LastLoad {
    /// Notes the result of a load that has just ended.
    pub(crate) fn note(&self, succeeded: bool) {
        if succeeded {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let ms = since.unwrap_or_default().as_millis();
            self.time_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.succeeded.store(succeeded, Ordering::Relaxed);
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Whether the last load succeeded, and the time of the last success in seconds since 1970.
    fn get(&self) -> Option<(f64, f64)> {
        let is_loaded = self.is_loaded.load(Ordering::Acquire);
        let succeeded = f64::from(u8::from(self.succeeded.load(Ordering::Relaxed)));
        // exact for times below 2^53
        #[expect(clippy::cast_precision_loss)]
        let seconds = self.time_ms.load(Ordering::Relaxed) as f64 / 1_000.0;
        is_loaded.then_some((succeeded, seconds))
    }
}

impl Reloads {
    /// Describes the metrics of reloads.
    pub(crate) fn describe() {
        describe_gauge!(
            "sip_authz_config_last_reload_successful",
            "Whether the last load of the configuration file succeeded"
        );
        describe_gauge!(
            "sip_authz_config_last_reload_success_timestamp_seconds",
            "Time of the last successful load of the configuration file, in Unix time"
        );
        describe_gauge!(
            "sip_authz_certificate_last_reload_successful",
            "Whether the last load of the certificate and its key succeeded, by listener"
        );
        describe_gauge!(
            "sip_authz_certificate_last_reload_success_timestamp_seconds",
            "Time of the last successful load of the certificate, in Unix time, by listener"
        );
    }

    /// Records the metrics of the files that the program has loaded.
    pub(crate) fn record(&self) {
        if let Some((succeeded, time)) = self.config.get() {
            gauge!("sip_authz_config_last_reload_successful").set(succeeded);
            gauge!("sip_authz_config_last_reload_success_timestamp_seconds").set(time);
        }
        for (listener, last) in [("sips", &self.sips), ("api", &self.api)] {
            if let Some((succeeded, time)) = last.get() {
                let label = [("listener", listener)];
                gauge!("sip_authz_certificate_last_reload_successful", &label).set(succeeded);
                gauge!("sip_authz_certificate_last_reload_success_timestamp_seconds", &label)
                    .set(time);
            }
        }
    }
}
