//! The result and the time of the last reload, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use metrics::{describe_gauge, gauge};
use tokio::time::{MissedTickBehavior, interval};

use crate::observe::expiry::{DAY, Expiry};
use crate::system::output::warn;

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
    /// The end of the certificate in use.
    expiry: ArcSwapOption<Expiry>,
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

    /// Sets the end of the certificate in use.
    #[cfg(feature = "tls")]
    pub(crate) fn set_expiry(&self, expiry: Expiry) {
        self.expiry.store(Some(Arc::new(expiry)));
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
        describe_gauge!(
            "sip_authz_certificate_expiration_timestamp_seconds",
            "Time at which the first certificate of the chain in use expires, in Unix time, by listener"
        );
    }

    /// Warns now, and then each day, of certificates that expire soon.
    pub(crate) async fn watch_certificates(self: Arc<Self>) {
        if self.expiries().next().is_none() {
            return;
        }
        let mut days = interval(DAY);
        days.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            days.tick().await;
            let reloads = Arc::clone(&self);
            // stderr may block
            let warned = move || reloads.warnings(SystemTime::now()).iter().for_each(warn);
            let _ = tokio::task::spawn_blocking(warned).await;
        }
    }

    /// The warnings about certificates that are due at this time.
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let all = self.expiries();
        all.filter_map(|(_, expiry)| expiry.warning(now).map(|it| it.to_string())).collect()
    }

    /// The ends of the certificates in use, by listener.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (&'static str, Arc<Expiry>)> {
        let all = [("sips", &self.sips), ("api", &self.api)];
        all.into_iter().filter_map(|(listener, last)| Some((listener, last.expiry.load_full()?)))
    }

    /// The last load of each file that the program has loaded: its name, whether it succeeded, and the time
    /// of the last success.
    pub(crate) fn loads(&self) -> Vec<(&'static str, bool, SystemTime)> {
        let all = [
            ("configuration", &self.config),
            ("certificate for SIP", &self.sips),
            ("certificate for the API", &self.api),
        ];
        let loaded = |(name, last): (&'static str, &LastLoad)| {
            let (succeeded, seconds) = last.get()?;
            let since = Duration::try_from_secs_f64(seconds).ok()?;
            Some((name, succeeded > 0.0, SystemTime::UNIX_EPOCH + since))
        };
        all.into_iter().filter_map(loaded).collect()
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
        for (listener, expiry) in self.expiries() {
            let since = expiry.at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            let Some(since) = since else { continue };
            let file = expiry.file.display().to_string();
            let labels = [("listener", listener.to_owned()), ("file", file)];
            gauge!("sip_authz_certificate_expiration_timestamp_seconds", &labels)
                .set(since.as_secs_f64());
        }
    }
}
