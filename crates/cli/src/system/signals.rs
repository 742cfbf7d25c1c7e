//! The signals that end the program, reload its configuration or reopen its logs.

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, SIGTERM or Ctrl-C: end the program.
    End,
    /// SIGHUP: reload the configuration and the certificates.
    Reload,
    /// SIGUSR1: reopen the log files.
    Reopen,
}

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(not(unix))]
pub(crate) use other::Signals;

impl Signals {
    /// Waits for a signal that ends the program.
    pub(crate) async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{self, SignalKind};

    use super::Signal;

    /// Catches SIGINT, SIGTERM, SIGHUP and SIGUSR1 from its creation on.
    pub(crate) struct Signals {
        interrupt: unix::Signal,
        terminate: unix::Signal,
        hang_up: unix::Signal,
        user: unix::Signal,
    }

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self {
                interrupt: unix::signal(SignalKind::interrupt())?,
                terminate: unix::signal(SignalKind::terminate())?,
                hang_up: unix::signal(SignalKind::hangup())?,
                user: unix::signal(SignalKind::user_defined1())?,
            })
        }

        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::End,
                _ = self.terminate.recv() => Signal::End,
                _ = self.hang_up.recv() => Signal::Reload,
                _ = self.user.recv() => Signal::Reopen,
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::Signal;

    /// Catches Ctrl-C; there is no reload signal here.
    pub(crate) struct Signals(());

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self(()))
        }

        pub(crate) async fn next(&mut self) -> Signal {
            match tokio::signal::ctrl_c().await {
                Ok(()) => Signal::End,
                // without Ctrl-C only the system can end the program
                Err(_) => std::future::pending().await,
            }
        }
    }
}
