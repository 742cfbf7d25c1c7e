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
pub(crate) use unix::{EarlySignals, Signals};

#[cfg(not(unix))]
pub(crate) use other::{EarlySignals, Signals};

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{self, SignalKind};

    use super::Signal;

    /// Keeps SIGHUP and SIGUSR1 from ending a program that is still starting. They wait for
    /// [`Signals::next`].
    pub(crate) struct EarlySignals {
        hang_up: unix::Signal,
        user: unix::Signal,
    }

    impl EarlySignals {
        /// Catches the signals from now on. Needs the context of a runtime.
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self {
                hang_up: unix::signal(SignalKind::hangup())?,
                user: unix::signal(SignalKind::user_defined1())?,
            })
        }
    }

    /// Catches SIGINT and SIGTERM too from its creation on.
    pub(crate) struct Signals {
        interrupt: unix::Signal,
        terminate: unix::Signal,
        early: EarlySignals,
    }

    impl Signals {
        pub(crate) fn new(early: EarlySignals) -> std::io::Result<Self> {
            Ok(Self {
                interrupt: unix::signal(SignalKind::interrupt())?,
                terminate: unix::signal(SignalKind::terminate())?,
                early,
            })
        }

        /// Waits for any signal.
        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::End,
                _ = self.terminate.recv() => Signal::End,
                _ = self.early.hang_up.recv() => Signal::Reload,
                _ = self.early.user.recv() => Signal::Reopen,
            }
        }

        /// Waits for any signal but SIGHUP, which waits for [`Self::next`].
        pub(crate) async fn next_but_reload(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::End,
                _ = self.terminate.recv() => Signal::End,
                _ = self.early.user.recv() => Signal::Reopen,
            }
        }

        /// Waits for a signal that ends the program. The others wait for [`Self::next`].
        pub(crate) async fn end(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::Signal;

    /// There is no reload signal here.
    pub(crate) struct EarlySignals(());

    impl EarlySignals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self(()))
        }
    }

    /// Catches Ctrl-C.
    pub(crate) struct Signals(());

    impl Signals {
        pub(crate) fn new(_: EarlySignals) -> std::io::Result<Self> {
            Ok(Self(()))
        }

        pub(crate) async fn next(&mut self) -> Signal {
            match tokio::signal::ctrl_c().await {
                Ok(()) => Signal::End,
                // without Ctrl-C only the system can end the program
                Err(_) => std::future::pending().await,
            }
        }

        pub(crate) async fn next_but_reload(&mut self) -> Signal {
            self.next().await
        }

        pub(crate) async fn end(&mut self) {
            self.next().await;
        }
    }
}
